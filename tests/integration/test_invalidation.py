"""``invalidate()`` on real servers: exactly what it removed, and what telemetry says of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import get_current_span

from otel_redis_cache import RedisCacheInstrumentor, invalidate, invalidation
from tests.integration.removing import Way, fill
from tests.real.sentinels import Sentinels
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    with redis.Redis(host=server.host, port=server.port) as client:
        yield client


def span_id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


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
    assert exemplar.span_id == span_id_of(span)


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
    assert parents == {span_id_of(recording.spans()[-1])}
    durations = recording.counts("db.client.operation.duration")
    assert set(durations) == {"SCAN", "PIPELINE UNLINK"}
    assert recording.counts("cache.invalidations") == {
        ("user", "delete"): 11,
        ("cart", "delete"): 11,
    }
    assert recording.counts("cache.invalidation.requests") == {("_mixed", "delete", "removed"): 1}
    assert recording.lookups() == {}
    assert "cache.name" not in attributes_of(recording.spans()[-1])


def test_its_commands_carry_its_own_reason_and_trigger(
    way: Way, client: Any, recording: Recording
) -> None:
    fill(client, user=3)
    recording.instrument()
    with invalidation("model_update", trigger="admin"):
        way("user:*", reason="deploy", trigger="ci", trace_commands=True)

    told = [s for s in map(attributes_of, recording.spans()) if "cache.invalidation.reason" in s]
    assert len(told) == 2
    for attributes in told:
        assert attributes["cache.invalidation.reason"] == "deploy"
        assert attributes["cache.invalidation.trigger"] == "ci"


@pytest.mark.parametrize("trace_commands", [False, True])
def test_a_key_whose_automatic_name_came_too_late_is_counted_so_once(
    way: Way, client: Any, recording: Recording, trace_commands: bool
) -> None:
    fill(client, user=3, cart=5)
    recording.instrument(max_auto_caches=1)
    client.get("user:1")
    way("cart:*", trace_commands=trace_commands)

    assert recording.counts("otel_redis_cache.overflows") == {"names": 5}
    assert recording.counts("cache.invalidations") == {("_other", "delete"): 5}


def test_the_durations_of_its_commands_tell_their_cache_where_that_is_asked_for(
    way: Way, client: Any, recording: Recording
) -> None:
    fill(client, user=3)
    recording.instrument(duration_by_cache=True)
    way("user:*")

    durations = recording.counts("db.client.operation.duration")
    assert durations == {"SCAN": 1, ("UNLINK", "user"): 1}


def test_what_the_application_sends_meanwhile_is_a_call_of_its_own(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    class Audited(redis.Redis):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            reply = super().execute_command(*args, **options)
            if args[0] == "SCAN":
                super().execute_command("DEL", "audit:1")
            return reply

    fill(client, user=3, audit=2)
    recording.instrument()
    with Audited(host=server.host, port=server.port) as audited:
        assert invalidate(audited, "user:*").removed == 3

    assert recording.operations() == ["DEL", "cache.invalidate"]
    assert recording.counts("cache.invalidations") == {
        ("audit", "delete"): 1,
        ("user", "delete"): 3,
    }


def test_a_callback_of_the_application_does_not_change_what_is_said(
    way: Way, server: RedisServer, client: Any, recording: Recording
) -> None:
    fill(client, user=30)
    recording.instrument()
    done = way("user:*", prepare=lambda other: other.set_response_callback("UNLINK", bool))

    assert (done.removed, done.outcome) == (30, "success")
    assert recording.counts("cache.invalidations") == {("user", "delete"): 30}


def test_an_entry_that_it_removes_is_loaded_no_more(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.get("user:1")
    client.set("user:1", "x", ex=60)
    client.get("user:2")
    with suppress_instrumentation():
        client.set("user:2", "x")  # by another process
    invalidate(client, "user:*")
    client.set("user:2", "x", ex=60)

    assert recording.counts("cache.load.duration") == {"user": 1}


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
    attributes = attributes_of(recording.span())
    assert attributes["cache.invalidation.removed"] == 0
    assert "cache.name" not in attributes


def test_one_cache_beside_keys_that_are_none_is_that_one_cache(
    way: Way, client: Any, recording: Recording
) -> None:
    fill(client, locks=3, user=2)
    recording.instrument(caches="locks:*=-", auto_caches=True)

    assert way("*", everything=True).removed == 5
    assert recording.counts("cache.invalidations") == {("user", "delete"): 2}
    key = ("user", "delete", "removed")
    assert recording.counts("cache.invalidation.requests") == {key: 1}
    attributes = attributes_of(recording.span())
    assert attributes["cache.invalidation.removed"] == 2
    assert attributes["cache.name"] == "user"


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
    sentinels: Sentinels, recording: Recording
) -> None:
    recording.instrument()
    finder: Any = redis.Sentinel(sentinels.addresses)
    with finder.master_for(sentinels.service) as master, suppress_instrumentation():
        fill(master, user=3)
    with finder.master_for(sentinels.service) as master:
        assert invalidate(master, "user:*").removed == 3
    for sentinel in finder.sentinels:
        sentinel.close()

    known = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
    address = f"{known}/{sentinels.service}"
    assert attributes_of(recording.span())["server.address"] == address
    assert sentinels.call("DBSIZE") == 0
