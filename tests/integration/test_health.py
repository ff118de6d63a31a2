"""`health()` and outages on real servers: killed, paused, revived, and never asked."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.instrumentation.redis import RedisInstrumentor
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff

from otel_redis_cache import RedisCacheInstrumentor, checkup, health, snapshot, tallies
from otel_redis_cache import conventions as names
from otel_redis_cache.facts import Contact, Target
from tests.real.servers import RedisServer
from tests.recording import Recording
from tests.safety.application import NO_RETRY

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    with redis.Redis(host=server.host, port=server.port) as client:
        yield client


@pytest.fixture
def impatient(valkey_server: RedisServer) -> Iterator[Any]:
    """A client that neither retries nor waits."""
    valkey_server.revive()
    with redis.Redis(
        host=valkey_server.host, port=valkey_server.port, retry=NO_RETRY, socket_timeout=0.2
    ) as client:
        yield client
    valkey_server.revive()


def test_a_killed_server_is_an_outage_until_it_answers_again(
    valkey_server: RedisServer, impatient: Any, recording: Recording
) -> None:
    recording.instrument()
    impatient.get("user:1")
    assert health() == {"status": "healthy", "reasons": []}
    valkey_server.kill()
    killed = time.perf_counter()
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            impatient.get("user:1")
    ill = health()
    (going_on,) = snapshot()["outages"]
    valkey_server.restart()
    assert health()["status"] == "unhealthy"
    impatient.get("user:1")
    took = time.perf_counter() - killed
    (over,) = snapshot()["outages"]

    server = f"127.0.0.1:{valkey_server.port}/0"
    (reason,) = ill["reasons"]
    assert ill["status"] == "unhealthy"
    assert (reason["code"], reason["since"]) == ("outage", going_on["began_at"])
    assert server in reason["text"]
    assert going_on["ended_at"] is None
    assert 0 < going_on["seconds"] < over["seconds"] < took
    assert over["server"] == server
    assert over["error_type"] == "redis.exceptions.ConnectionError"
    assert over["began_at"] == going_on["began_at"]
    assert over["ended_at"] is not None
    assert health() == {"status": "healthy", "reasons": []}


def test_a_silent_server_is_an_outage_at_the_third_timeout(
    valkey_server: RedisServer, impatient: Any, recording: Recording
) -> None:
    recording.instrument()
    impatient.get("user:1")
    valkey_server.pause()
    seen: list[tuple[str, list[str]]] = []
    for _ in range(3):
        with pytest.raises(redis.TimeoutError):
            impatient.get("user:1")
        found = health()
        seen.append((found["status"], [reason["code"] for reason in found["reasons"]]))
    valkey_server.resume()
    impatient.get("user:1")
    (over,) = snapshot()["outages"]

    assert seen == [
        ("degraded", ["timeouts"]),
        ("degraded", ["timeouts"]),
        ("unhealthy", ["outage"]),
    ]
    assert over["error_type"] == "redis.exceptions.TimeoutError"
    assert over["seconds"] >= 0.2
    assert health()["status"] == "healthy"


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get("user:1"),
        lambda client: client.pipeline(transaction=False).get("user:1").execute(),
        lambda client: client.pipeline().get("user:1").get("user:2").execute(),
        lambda client: client.register_script("return 1")(),
        lambda client: client.blpop(["queue:1"], timeout=1),
        lambda client: client.ping(),
    ],
    ids=["command", "pipeline", "transaction", "script", "blocking", "ping"],
)
def test_any_call_that_finds_no_server_begins_an_outage(
    recording: Recording, call: Callable[[Any], Any]
) -> None:
    recording.instrument(metrics="operations", traces=False)
    with (
        redis.Redis(host="127.0.0.1", port=1, retry=NO_RETRY) as nobody,
        pytest.raises(redis.ConnectionError),
    ):
        call(nobody)

    assert [outage["server"] for outage in snapshot()["outages"]] == ["127.0.0.1:1/0"]
    assert health()["status"] == "unhealthy"


async def test_asyncio_clients_see_outages_and_no_cancelled_call_is_one(
    valkey_server: RedisServer, recording: Recording
) -> None:
    valkey_server.revive()
    recording.instrument()
    retry = AsyncRetry(NoBackoff(), 0)
    async with redis.asyncio.Redis(
        host=valkey_server.host, port=valkey_server.port, retry=retry
    ) as client:
        await client.get("user:1")
        valkey_server.pause()
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.get("user:1"), 0.05)
        assert health() == {"status": "healthy", "reasons": []}
        valkey_server.kill()
        with pytest.raises(redis.ConnectionError):
            await client.get("user:1")
        assert health()["status"] == "unhealthy"
        valkey_server.restart()
        await client.get("user:1")

    assert health()["status"] == "healthy"
    (outage,) = snapshot()["outages"]
    assert outage["ended_at"] is not None


def test_reasons_are_bounded(recording: Recording) -> None:
    counts = recording.instrument()._tallies
    assert counts is not None
    now = time.perf_counter_ns()
    for port in range(100):
        counts.outages.follow(
            Target("redis", "cache", port, "0"),
            Contact.UNREACHED,
            "redis.exceptions.ConnectionError",
            started=now + port,
            attempted=now + port,
            started_unix=time.time_ns(),
            ended=now + port,
        )
    found = health()

    assert found["status"] == "unhealthy"
    assert len(found["reasons"]) == 20
    assert "cache:1/0" in found["reasons"][1]["text"]  # the longest first
    assert len(snapshot()["outages"]) == 50


def test_a_blocking_command_that_waits_too_long_is_no_sign_of_an_outage(
    impatient: Any, recording: Recording
) -> None:
    recording.instrument()
    for _ in range(3):
        with pytest.raises(redis.TimeoutError):
            impatient.blpop(["queue:1"], timeout=5)

    assert health()["status"] == "healthy"
    assert snapshot()["outages"] == []


def test_a_call_that_fails_after_later_ones_were_answered_is_no_sign_of_an_outage(
    valkey_server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with (
        redis.Redis(
            host=valkey_server.host, port=valkey_server.port, client_name="waits", retry=NO_RETRY
        ) as waits,
        redis.Redis(host=valkey_server.host, port=valkey_server.port) as client,
    ):
        waits.ping()
        (own,) = [c["id"] for c in client.client_list() if c["name"] == "waits"]
        failures: list[Exception] = []

        def wait() -> None:
            try:
                waits.blpop(["queue:1"], timeout=20)
            except redis.ConnectionError as failure:
                failures.append(failure)

        thread = threading.Thread(target=wait)
        thread.start()
        deadline = time.monotonic() + 10
        while client.info("clients")["blocked_clients"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        client.get("user:1")
        client.client_kill_filter(_id=own)
        thread.join()

    assert len(failures) == 1
    assert health()["status"] == "healthy"
    assert snapshot()["outages"] == []


def test_health_is_asked_for_while_clients_are_instrumented_one_by_one(
    recording: Recording,
) -> None:
    recording.instrument()
    done = threading.Event()
    kept = [redis.Redis(port=1) for _ in range(200)]
    for client in kept:
        RedisCacheInstrumentor.instrument_client(client, **recording.providers)

    def instrument() -> None:
        while not done.is_set():
            RedisCacheInstrumentor.instrument_client(redis.Redis(port=1), **recording.providers)

    threads = [threading.Thread(target=instrument) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        until = time.monotonic() + 1.5
        seen = [health() for _ in iter(lambda: time.monotonic() < until, False)]
    finally:
        done.set()
        for thread in threads:
            thread.join()

    assert all(found == {"status": "healthy", "reasons": []} for found in seen)


def test_an_error_reply_and_an_exhausted_pool_are_no_outage(
    valkey_server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    pool = redis.ConnectionPool(host=valkey_server.host, port=valkey_server.port, max_connections=1)
    with redis.Redis(connection_pool=pool) as client:
        client.set("user:1", "x")
        with pytest.raises(redis.ResponseError):
            client.lpush("user:1", "x")
        with client.pipeline() as holds_the_connection:
            holds_the_connection.watch("user:1")
            with pytest.raises(redis.ConnectionError):
                client.get("user:1")
    pool.disconnect()

    assert health()["status"] == "healthy"
    assert snapshot()["outages"] == []


def test_one_server_of_several_that_is_down_degrades(
    valkey_server: RedisServer, impatient: Any, recording: Recording
) -> None:
    recording.instrument()
    impatient.get("user:1")
    with (
        redis.Redis(host="127.0.0.1", port=1, retry=NO_RETRY) as nobody,
        pytest.raises(redis.ConnectionError),
    ):
        nobody.get("user:1")
    found = health()

    assert found["status"] == "degraded"
    assert [reason["code"] for reason in found["reasons"]] == ["outage"]
    assert "127.0.0.1:1/0" in found["reasons"][0]["text"]


def test_a_server_that_nobody_used_for_ten_minutes_is_no_concern(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.instrument()
    with (
        redis.Redis(host="127.0.0.1", port=1, retry=NO_RETRY) as nobody,
        pytest.raises(redis.ConnectionError),
    ):
        nobody.get("user:1")
    assert health()["status"] == "unhealthy"
    later = time.perf_counter_ns() + 601 * 10**9
    monkeypatch.setattr(checkup.time, "perf_counter_ns", lambda: later)

    assert health() == {"status": "healthy", "reasons": []}


def test_every_answer_tells_that_a_server_is_in_use(impatient: Any, recording: Recording) -> None:
    counts = recording.instrument()._tallies
    assert counts is not None
    impatient.get("user:1")
    (known,) = counts.outages.servers.values()
    known.used -= 601 * 10**9  # as if that had been long ago
    with (
        redis.Redis(host="127.0.0.1", port=1, retry=NO_RETRY) as nobody,
        pytest.raises(redis.ConnectionError),
    ):
        nobody.get("user:1")
    assert health()["status"] == "unhealthy"
    impatient.get("user:1")

    assert health()["status"] == "degraded"


def test_neither_makes_any_traffic(server: RedisServer, client: Any, recording: Recording) -> None:
    recording.instrument(snapshot=True)
    client.get("user:1")
    before = server.commandstats(), server.info("stats")["total_connections_received"]
    for _ in range(20):
        snapshot()
        health()
    stats = server.commandstats()

    assert stats == before[0]
    assert stats["get"] == 1
    # The questions above made one connection each: commandstats and info, before and now.
    received = int(server.info("stats")["total_connections_received"])
    assert received - int(before[1]) == 2
    assert len(recording.spans()) == 1


def test_health_tells_when_nothing_is_watched(client: Any, recording: Recording) -> None:
    instrumentor = recording.instrument()
    client.get("user:1")
    assert health()["status"] == "healthy"
    instrumentor.uninstrument()
    found = health()

    assert found["status"] == "degraded"
    assert [reason["code"] for reason in found["reasons"]] == ["not_instrumented"]
    assert found["reasons"][0]["since"] is None
    recording.instrument(traces=False, metrics="none")
    assert health() == found


def test_health_tells_when_another_instrumentation_has_switched_us_off(
    client: Any, recording: Recording
) -> None:
    other = RedisInstrumentor()
    other.instrument(tracer_provider=Recording().tracer_provider)
    try:
        recording.instrument(on_conflict="off")
        client.get("user:1")
        found = health()
    finally:
        RedisCacheInstrumentor().uninstrument()
        other.uninstrument()

    assert [reason["code"] for reason in found["reasons"]] == ["switched_off"]
    assert found["status"] == "degraded"


def test_health_tells_when_telemetry_is_incomplete(
    client: Any, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.instrument()

    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("user:secret")

    with monkeypatch.context() as patch:
        patch.setattr(tallies.Tallies, "take", broken)
        client.get("user:1")
    found = health()

    assert [reason["code"] for reason in found["reasons"]] == ["faults"]
    assert found["status"] == "degraded"
    assert snapshot()["faults"]["count"] == 1
    assert "count" in found["reasons"][0]["text"]
    assert "secret" not in json.dumps(found)


def test_every_code_of_a_reason_is_in_the_fixed_list() -> None:
    codes = {names.OUTAGE, names.TIMEOUTS, names.FAULTS, names.NOT_INSTRUMENTED, names.SWITCHED_OFF}

    assert set(names.HEALTH_CODES) == codes
