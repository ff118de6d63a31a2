"""``invalidate()`` on real servers: exactly what it removed, and what telemetry says of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio
import valkey
import valkey.asyncio
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import INVALID_SPAN, get_current_span

from otel_redis_cache import (
    Invalidation,
    RedisCacheInstrumentor,
    invalidate,
    invalidate_async,
    invalidation,
)
from tests.real.clusters import Sentinel
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of

Way = Callable[..., Invalidation]
CLIENTS = {
    "redis": redis.Redis,
    "valkey": valkey.Valkey,
    "redis.asyncio": redis.asyncio.Redis,
    "valkey.asyncio": valkey.asyncio.Valkey,
}


@pytest.fixture(params=CLIENTS)
def way(request: pytest.FixtureRequest, server: RedisServer) -> Way:
    """Invalidates by a client of one of the libraries, synchronous or not."""
    make: Any = CLIENTS[request.param]
    target = {"host": server.host, "port": server.port}

    def remove(pattern: Any, client_options: Any = None, **options: Any) -> Invalidation:
        if "asyncio" not in request.param:
            with make(**target, **(client_options or {})) as client:
                return invalidate(client, pattern, **options)

        async def run() -> Invalidation:
            client = make(**target, **(client_options or {}))
            try:
                return await invalidate_async(client, pattern, **options)
            finally:
                await client.aclose()

        return asyncio.run(run())

    return remove


@pytest.fixture
def client(server: RedisServer) -> Any:
    with redis.Redis(host=server.host, port=server.port) as client:
        yield client


def fill(client: Any, **counts: int) -> None:
    client.mset({f"{name}:{i}": "x" for name, count in counts.items() for i in range(count)})


def test_it_removes_what_matches_and_says_how_much(
    way: Way, client: Any, server: RedisServer, recording: Recording
) -> None:
    fill(client, user=25, session=10)
    recording.instrument()
    started = time.perf_counter()
    done = way("user:*", reason="model_update", trigger="admin")
    took = time.perf_counter() - started

    assert (done.matched, done.removed, done.outcome, done.error) == (25, 25, "success", None)
    assert done.batches >= 1
    assert 0 < done.duration <= took
    assert client.dbsize() == client.exists(*[f"session:{i}" for i in range(10)]) == 10
    assert recording.counts("cache.invalidations") == {("user", "model_update"): 25}
    key = ("user", "model_update", "removed")
    assert recording.counts("cache.invalidation.requests") == {key: 1}
    assert recording.counts("cache.invalidation.duration") == {key: 1}
    assert "keys" not in server.commandstats()
    assert recording.points("otel_redis_cache.errors") == []


def test_it_makes_one_span_as_long_as_the_result_says(
    way: Way, client: Any, recording: Recording
) -> None:
    fill(client, user=3)
    recording.instrument()
    with recording.tracer.start_as_current_span("request") as parent:
        done = way("user:*", reason="deploy", trigger="admin")
        assert get_current_span() is parent

    span = recording.span()
    assert (span.name, span.kind.name, span.status.status_code.name) == (
        "cache.invalidate",
        "INTERNAL",
        "UNSET",
    )
    assert span.parent is not None
    assert span.parent.span_id == parent.get_span_context().span_id
    attributes = attributes_of(span)
    assert attributes.pop("db.system.name") in ("redis", "valkey")
    assert attributes.keys() >= {"server.address", "server.port", "db.namespace"}
    assert {k: v for k, v in attributes.items() if k.startswith("cache.")} == {
        "cache.name": "user",
        "cache.invalidation.reason": "deploy",
        "cache.invalidation.trigger": "admin",
        "cache.invalidation.removed": 3,
    }
    assert span.start_time is not None
    assert span.end_time is not None
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(done.duration, abs=1e-6)
    metric = recording.metrics()["cache.invalidation.duration"]
    (point,) = metric.data.data_points
    assert point.sum == pytest.approx(done.duration)
    (exemplar,) = point.exemplars
    assert exemplar.span_id == span.context.span_id


def test_its_commands_have_durations_and_are_not_counted_again(
    way: Way, client: Any, recording: Recording
) -> None:
    fill(client, user=30, cart=20)
    recording.instrument(metrics="all")
    assert way("*:1*", trace_commands=True).removed == 11 + 11

    operations = recording.operations()
    assert operations[-1] == "cache.invalidate"
    assert set(operations) == {"SCAN", "PIPELINE UNLINK", "cache.invalidate"}
    parents = {span.parent.span_id for span in recording.spans() if span.parent}
    assert parents == {recording.spans()[-1].context.span_id}
    durations = recording.counts("db.client.operation.duration")
    assert set(durations) == {"SCAN", "PIPELINE UNLINK"}
    assert recording.counts("cache.invalidations") == {
        ("user", "delete"): 11,
        ("cart", "delete"): 11,
    }
    assert recording.counts("cache.invalidation.requests") == {("_mixed", "delete", "removed"): 1}
    assert recording.lookups() == {}
    assert "cache.name" not in attributes_of(recording.spans()[-1])


def test_a_pattern_that_matches_nothing_is_a_request_in_vain(
    way: Way, client: Any, recording: Recording
) -> None:
    fill(client, user=3)
    recording.instrument()
    done = way("cart:*")

    assert (done.matched, done.removed, done.batches, done.outcome) == (0, 0, 0, "success")
    assert recording.counts("cache.invalidation.requests") == {("cart", "delete", "none"): 1}
    assert recording.counts("cache.invalidations") == {}
    assert attributes_of(recording.span())["cache.invalidation.removed"] == 0
    assert client.dbsize() == 3


def test_each_call_is_one_whatever_comes_between(
    way: Way, client: Any, recording: Recording
) -> None:
    recording.instrument()
    for turn in range(1, 5):
        fill(client, user=5)
        way("user:*", reason=f"turn{turn}")
        requests = recording.counts("cache.invalidation.requests")
        assert requests == {("user", f"turn{t}", "removed"): 1 for t in range(1, turn + 1)}
        assert sum(recording.counts("cache.invalidations").values()) == 5 * turn


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        (b"\xff\xfe:*", b"\xff\xfe:\x00\r\n"),
        ("ключ:*", "ключ:1".encode()),
        ("\udcff:*", b"\xff:1"),
        ("\ud800:*", "\ud800:1".encode("utf-8", "surrogatepass")),
        ("\udcff\ud800*", "\udcff\ud800:1".encode("utf-8", "surrogatepass")),
        (r"a\*b", b"a*b"),
        ("x" * 10_000 + "*", b"x" * 10_001),
        ("🦔*", "🦔".encode()),
        ("\x00*", b"\x00"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"decode_responses": True}], ids=["bytes", "decoded"])
def test_any_pattern_removes_exactly_the_keys_with_its_bytes(
    way: Way, client: Any, recording: Recording, pattern: Any, key: bytes, options: Any
) -> None:
    fill(client, other=3)
    client.set(key, "x")
    recording.instrument()
    done = way(pattern, options)

    assert (done.removed, done.outcome) == (1, "success")
    assert client.dbsize() == 3
    assert recording.points("otel_redis_cache.errors") == []
    recording.everything().encode()  # nothing that an exporter could not send


def test_a_lossy_client_does_not_turn_a_character_into_a_wildcard(way: Way, client: Any) -> None:
    fill(client, user=3)
    for errors in ("replace", "ignore"):
        assert way("\ud800*", {"encoding_errors": errors}).matched == 0
        assert way("user:\ud800", {"encoding_errors": errors}).matched == 0
    assert client.dbsize() == 3


def test_a_client_s_own_encoding_is_that_of_its_patterns(way: Way, client: Any) -> None:
    client.set("größe:1".encode("latin-1"), "x")

    assert way("größe:*", {"encoding": "latin-1"}).removed == 1


def test_neither_a_pattern_nor_a_key_leaves_the_process(
    way: Way, client: Any, recording: Recording
) -> None:
    client.mset({"alice@example.com:1": "x", "alice@example.com:2": "x"})
    recording.instrument()
    assert way("alice@example.com:*", trace_commands=True).removed == 2
    assert way("alice@example.com:*").matched == 0

    assert recording.counts("cache.invalidations") == {("_default", "delete"): 2}
    assert "alice" not in recording.everything()


@pytest.mark.parametrize("pattern", ["", b"", "*", b"**"])
def test_all_keys_are_only_removed_when_everything_is_said(
    way: Way, client: Any, pattern: Any
) -> None:
    fill(client, user=3, cart=2)
    with pytest.raises(ValueError, match="say everything=True"):
        way(pattern)
    assert client.dbsize() == 5
    assert way(pattern, everything=True).removed == 5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pattern": 7}, TypeError, "a pattern is str or bytes, not int"),
        ({"pattern": None}, TypeError, "a pattern is str or bytes, not NoneType"),
        ({"reason": ""}, ValueError, "reason must be text that is not empty, not ''"),
        ({"trigger": 7}, ValueError, "trigger must be text that is not empty, not int"),
        ({"batch_size": 0}, ValueError, "a whole number, 1 to 10000, not 0"),
        ({"batch_size": True}, ValueError, "a whole number, 1 to 10000, not True"),
        ({"batch_size": 10_001}, ValueError, "a whole number, 1 to 10000, not 10001"),
    ],
)
def test_a_wrong_argument_is_one_clear_error(
    way: Way, arguments: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        way(**{"pattern": "user:*", **arguments})


async def test_only_the_right_kind_of_client_is_taken(client: Any) -> None:
    function: Any
    for make in CLIENTS.values():
        one: Any = make()
        right, wrong = invalidate, invalidate_async
        if "asyncio" in make.__module__:
            right, wrong = wrong, right
        for function in (invalidate, invalidate_async):
            with pytest.raises(TypeError, match="not a pipeline"):
                await function(one.pipeline(), "user:*")
        with pytest.raises(TypeError, match=rf"use .*{right.__name__}\(\.\.\.\) for it"):
            await wrong(one, "user:*")
        with pytest.raises(TypeError, match="takes a client of redis-py or valkey-py, not"):
            await right(one.pubsub(), "user:*")
    for nobody in (None, "redis://localhost", object()):
        with pytest.raises(TypeError, match="takes a client of redis-py or valkey-py, not"):
            invalidate(nobody, "user:*")


def test_without_a_reason_the_block_around_says_why(
    way: Way, client: Any, recording: Recording
) -> None:
    recording.instrument()
    with invalidation(reason="deploy", trigger="hook"):
        way("user:*")
        way("user:*", trigger="admin")
        way("user:*", reason="own")

    assert [
        (s["cache.invalidation.reason"], s.get("cache.invalidation.trigger"))
        for s in map(attributes_of, recording.spans())
    ] == [("deploy", "hook"), ("deploy", "admin"), ("own", None)]


def test_keys_that_are_no_cache_are_removed_and_not_counted(
    way: Way, client: Any, recording: Recording
) -> None:
    fill(client, locks=3)
    recording.instrument(caches="locks:*=-")

    assert way("locks:*").removed == 3
    assert recording.counts("cache.invalidations") == {}
    assert recording.counts("cache.invalidation.requests") == {}
    assert attributes_of(recording.span())["cache.invalidation.removed"] == 3


def test_it_works_where_nothing_is_instrumented_or_all_is_suppressed(
    way: Way, client: Any, recording: Recording
) -> None:
    fill(client, user=3)
    assert way("user:*").removed == 3
    fill(client, user=3)
    recording.instrument()
    with suppress_instrumentation():
        assert way("user:*").removed == 3

    assert recording.spans() == []
    assert recording.counts("cache.invalidation.requests") == {}


@pytest.mark.parametrize(
    ("settings", "spans", "metrics"),
    [
        ({"traces": False}, 0, {"requests", "duration"}),
        ({"metrics": "none"}, 1, set[str]()),
        ({"metrics": "operations"}, 1, set[str]()),
        ({"require_parent_span": True}, 0, {"requests", "duration"}),
    ],
)
def test_settings_hold_for_it_too(
    way: Way,
    client: Any,
    recording: Recording,
    settings: Any,
    spans: int,
    metrics: set[str],
) -> None:
    fill(client, user=3)
    recording.instrument(**settings)

    assert way("user:*").removed == 3
    assert len(recording.spans()) == spans
    seen = recording.metrics()
    assert {f"cache.invalidation.{name}" for name in metrics} == {
        name for name in seen if name.startswith("cache.invalidation.")
    }


def test_a_client_of_its_own_observer_tells_that_one(client: Any, recording: Recording) -> None:
    own = Recording()
    fill(client, user=3)
    recording.instrument()
    RedisCacheInstrumentor.instrument_client(client, **own.providers)
    assert invalidate(client, "user:*").removed == 3
    RedisCacheInstrumentor.uninstrument_client(client)

    assert own.operations() == ["cache.invalidate"]
    assert own.counts("cache.invalidations") == {("user", "delete"): 3}
    assert recording.spans() == []


def test_a_client_by_sentinel_reaches_the_master(
    sentinel: Sentinel, client: Any, recording: Recording
) -> None:
    fill(client, user=3)
    recording.instrument()
    finder: Any = redis.Sentinel([(sentinel.host, sentinel.port)])
    with finder.master_for("mymaster") as master:
        assert invalidate(master, "user:*").removed == 3
    finder.sentinels[0].close()

    address = f"{sentinel.host}:{sentinel.port}/mymaster"
    assert attributes_of(recording.span())["server.address"] == address
    assert client.dbsize() == 0


def test_overlapping_invalidators_in_threads_report_each_entry_once(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    fill(client, user=300)
    recording.instrument()
    with ThreadPoolExecutor(4) as pool:
        futures = [
            pool.submit(invalidate, client, "user:*", batch_size=10, reason=f"r{i}")
            for i in range(4)
        ]
        results = [future.result() for future in futures]

    assert sum(result.removed for result in results) == 300
    assert sum(result.matched for result in results) >= 300
    entries = recording.counts("cache.invalidations")
    assert {reason: count for (_, reason), count in entries.items()} == {
        f"r{i}": result.removed for i, result in enumerate(results) if result.removed
    }
    assert sum(recording.counts("cache.invalidation.requests").values()) == 4


async def test_overlapping_invalidators_in_tasks_report_each_entry_once(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    fill(client, user=300)
    recording.instrument()
    async with redis.asyncio.Redis(host=server.host, port=server.port) as other:
        results = await asyncio.gather(
            *(invalidate_async(other, "user:*", batch_size=10) for _ in range(4))
        )

    assert sum(result.removed for result in results) == 300
    assert sum(result.matched for result in results) > 300  # they did overlap
    assert recording.counts("cache.invalidations") == {("user", "delete"): 300}
    assert len(recording.spans()) == 4
    assert get_current_span() is INVALID_SPAN


def test_two_hundred_thousand_keys_never_keep_the_server_busy(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    server.call("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    fill(client, cart=5)
    recording.instrument()
    slow: Any = None
    total = 0
    for _ in range(3):  # a machine that is busy with other things may stop the server
        client.execute_command("DEBUG", "POPULATE", 200_000, "user", 10)
        server.reset_stats()
        server.call("SLOWLOG", "RESET")
        done = invalidate(client, "user:*")
        total += done.removed
        slow = server.call("SLOWLOG", "GET")
        if not slow:
            break

    assert slow == []
    assert (done.matched, done.removed, done.outcome) == (200_000, 200_000, "success")
    assert client.dbsize() == 5
    assert recording.counts("cache.invalidations") == {("user", "delete"): total}
    assert server.commandstats().keys() >= {"scan", "unlink"}
    assert "keys" not in server.commandstats()
