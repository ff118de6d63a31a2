"""Each guarded function of the package, found in its code, fails at its first line, and no application notices."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from contextvars import copy_context
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import valkey

from otel_redis_cache import payload_of, propagation, watch_server
from otel_redis_cache.guard import harmless
from tests.real.clusters import Cluster
from tests.real.servers import RedisServer
from tests.recording import Recording
from tests.safety.application import Memory, run
from tests.safety.guards import Guard, guards
from tests.safety.test_fail_open import STEPS, broken

TESTS = Path(__file__).parents[1]

IN_PLACE = {
    ("Observer.open", "open"): "suppression",
    ("Judge.judge", "outcome"): "judge",
    ("Observer.begin", "describe"): "describe",
    ("Observer.begin", "target"): "target",
    ("Observer.begin", "start"): "start",
    ("Observer.end", "count"): "tallies",
    ("Observer.end", "duration"): "duration",
    ("Observer.end_span", "finish"): "end",
    ("otel_redis_cache.messages.context_of", "consume"): "reading a context",
}
"""Functions that guard a part of themselves, and the step of `test_fail_open.py` that breaks it."""

ELSEWHERE = {
    ("otel_redis_cache.messages.payload_of", "consume"): (
        "test_a_payload_that_cannot_be_read_is_what_came"
    ),
    ("otel_redis_cache.checkup.health", "health"): "test_neither_raises_whatever_of_it_breaks",
    (
        "otel_redis_cache.snapshots.snapshot",
        "snapshot",
    ): "test_neither_raises_whatever_of_it_breaks",
    ("Rounds._note", "watch"): "test_a_fault_of_ours_is_counted_and_the_watch_goes_on",
}
"""The same, and a test that breaks it."""

INSIDE = {"Running._live": "_watch"}
"""Functions that close what was opened for them, and what fails inside of them instead."""

DECORATED = [guard for guard in guards() if guard.is_decorated]


def everything(server: RedisServer, cluster: redis.Redis) -> Memory:
    """What an application remembers that does all that reaches a guard."""
    memory = run(server.host, server.port)
    memory += _answers_of_nodes(server)
    memory += _with_a_client_side_cache(server)
    memory += _a_pool_of_one(server)
    memory += asyncio.run(_a_pool_of_one_awaited(server))
    port = cluster.connection_pool.connection_kwargs["port"]
    memory += _on_a_cluster(port)
    memory += asyncio.run(_on_a_cluster_awaited(port))
    return memory


def _result_of(call: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "reply", call()
    except Exception as error:
        return "error", (type(error), str(error))


def _answers_of_nodes(server: RedisServer) -> Memory:
    """A server may say whatever a node of a cluster says."""
    with redis.Redis(port=server.port) as client:
        return [
            _result_of(lambda text=text: client.eval(f"return redis.error_reply('{text}')", 0))
            for text in ("MOVED 1 127.0.0.1:1", "TRYAGAIN later")
        ]


def _with_a_client_side_cache(server: RedisServer) -> Memory:
    with valkey.Valkey(port=server.port, protocol=3, cache_enabled=True) as client:
        return [("set", client.set("user:1", "x")), *(("get", client.get("user:1")),) * 2]


def _a_pool_of_one(server: RedisServer) -> Memory:
    """Two threads share a connection, one waits; and a pool that has none left says so."""
    pool: Any = redis.BlockingConnectionPool(1, timeout=5, port=server.port)
    got: list[tuple[str, Any]] = []
    with redis.Redis(connection_pool=pool) as client:
        waiting = threading.Thread(target=lambda: got.append(_result_of(lambda: client.get("a:9"))))
        connection = pool.get_connection()
        waiting.start()
        time.sleep(0.05)
        pool.release(connection)
        waiting.join(10)
    pool.disconnect()
    full: Any = redis.ConnectionPool(max_connections=1, port=server.port)
    connection = full.get_connection()
    got.append(_result_of(lambda: redis.Redis(connection_pool=full).get("a:9")))
    full.release(connection)
    full.disconnect()
    return got


async def _a_pool_of_one_awaited(server: RedisServer) -> Memory:
    pool = redis.asyncio.BlockingConnectionPool(max_connections=1, timeout=5, port=server.port)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    together = await asyncio.gather(client.get("a:9"), client.get("a:9"))
    await pool.disconnect()
    return [("together", together)]


def _on_a_cluster(port: int) -> Memory:
    client: Any
    with redis.RedisCluster("127.0.0.1", port) as client:
        client.flushall()
        memory = [("get", client.get("user:1")), ("set", client.set("user:1", "x"))]
        memory.append(("pipeline", client.pipeline().get("user:1").get("user:2").execute()))
        with client.pubsub(ignore_subscribe_messages=True) as subscriber:
            subscriber.ssubscribe("news:1")
            client.spublish("news:1", "x")
            deadline = time.monotonic() + 5
            message = None
            while message is None and time.monotonic() < deadline:
                message = subscriber.get_sharded_message(timeout=0.1)
        memory.append(("message", payload_of(message)))
    return memory


async def _on_a_cluster_awaited(port: int) -> Memory:
    client: Any
    async with redis.asyncio.RedisCluster("127.0.0.1", port) as client:
        memory = [("get", await client.get("user:1")), ("set", await client.set("user:1", "y"))]
        memory.append(("pipeline", await client.pipeline().get("user:1").get("user:2").execute()))
    return memory


@pytest.fixture(scope="module")
def cluster_of_one(valkey_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of the only node."""
    with (
        Cluster("valkey", valkey_server.binary, 1) as cluster,
        redis.Redis(port=cluster.ports[0]) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def undisturbed(valkey_server: RedisServer, cluster_of_one: redis.Redis) -> Memory:
    """What the application remembers without the package."""
    return everything(valkey_server, cluster_of_one)


@pytest.mark.parametrize("guard", DECORATED, ids=str)
def test_a_guarded_function_that_fails_costs_telemetry_and_nothing_else(
    guard: Guard,
    valkey_server: RedisServer,
    cluster_of_one: redis.Redis,
    recording: Recording,
    undisturbed: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    owner = getattr(import_module(guard.module), guard.owner)
    if (inner := INSIDE.get(str(guard))) is None:
        monkeypatch.setattr(owner, guard.function, harmless(guard.step)(broken))
    else:
        monkeypatch.setattr(owner, inner, broken)
    recording.excuse("cache.invalidation.removed is missing")
    recording.instrument(
        snapshot=True,
        metrics="default,size,pubsub,streams,pool_times",
        propagate_context=True,
        request_hook=lambda *_: None,
        response_hook=lambda *_: None,
    )
    with (
        watch_server(valkey_server.url, meter_provider=recording.meter_provider)
        if guard.step == "watch"
        else nullcontext()
    ):
        remembered = copy_context().run(everything, valkey_server, cluster_of_one)
    recording.metrics()
    monkeypatch.undo()

    assert remembered == undisturbed
    assert recording.counts("otel_redis_cache.errors")[guard.step] > 0
    ours = [record for record in caplog.records if record.name == "otel_redis_cache"]
    assert ours
    assert "secret" not in caplog.text


def test_a_payload_that_cannot_be_read_is_what_came(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.instrument()
    monkeypatch.setattr(propagation, "payload_in", broken)

    message = {"type": "message", "pattern": None, "channel": b"news:1", "data": b"x"}

    assert payload_of(message) == b"x"
    assert recording.counts("otel_redis_cache.errors") == {"consume": 1}


def test_what_is_guarded_in_place_is_broken_too() -> None:
    found = {(str(guard), guard.step) for guard in guards() if not guard.is_decorated}
    sources = (path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    defined = {name for text in sources for name in re.findall(r"def (test_\w+)\(", text)}

    assert found == IN_PLACE.keys() | ELSEWHERE.keys()
    assert all(STEPS[step][2] == counted_as for (_, counted_as), step in IN_PLACE.items())
    assert set(ELSEWHERE.values()) <= defined
