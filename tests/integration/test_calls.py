"""Single commands of every kind of client on real servers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from tests.integration.kinds import Kind, Place, only, outside_clusters
from tests.integration.waiting import EventLoop
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of
from tests.safety.application import NO_RETRY


def test_a_missing_key_counts_as_one_miss(client: Any, recording: Recording) -> None:
    recording.instrument()

    assert client.get("user:1") is None
    assert recording.lookups() == {("user", "miss"): 1}
    assert attributes_of(recording.span())["cache.hit"] is False


def test_a_present_key_counts_as_one_hit(client: Any, recording: Recording) -> None:
    client.set("user:1", "")
    recording.instrument()

    assert client.get("user:1") == b""
    assert recording.lookups() == {("user", "hit"): 1}
    assert attributes_of(recording.span())["cache.hit"] is True


def test_a_key_of_another_type_counts_as_one_error(
    kind: Kind, client: Any, recording: Recording
) -> None:
    client.lpush("user:1", "x")
    recording.instrument()
    with pytest.raises(kind.library.ResponseError, match="WRONGTYPE"):
        client.get("user:1")
    span = recording.span()

    assert recording.lookups() == {("user", "error"): 1}
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert attributes_of(span)["error.type"] == "WRONGTYPE"
    assert attributes_of(span)["db.response.status_code"] == "WRONGTYPE"
    assert "cache.hit" not in attributes_of(span)
    assert recording.counts("db.client.operation.duration") == {
        ("GET", "WRONGTYPE", "WRONGTYPE"): 1
    }


def test_a_partly_hit_mget_counts_both_in_their_caches(client: Any, recording: Recording) -> None:
    client.set("user:{1}", "x")
    recording.instrument()
    client.mget("user:{1}", "user:{1}", "user:{1}:2", "cart:{1}")

    assert recording.lookups() == {("user", "hit"): 2, ("user", "miss"): 1, ("cart", "miss"): 1}
    attributes = attributes_of(recording.span())
    assert (attributes["cache.hits"], attributes["cache.misses"]) == (2, 2)
    assert "cache.name" not in attributes


def test_one_call_is_one_client_span_with_its_target(
    kind: Kind, place: Place, event_loop_of_clients: EventLoop, recording: Recording
) -> None:
    recording.instrument()
    with kind.connected(place, event_loop_of_clients) as client:
        client.get("user:1")
    span = recording.span()

    assert (span.name, span.kind) == ("GET", SpanKind.CLIENT)
    attributes = attributes_of(span)
    peer = {k: v for k, v in attributes.items() if k.startswith("network.peer.")}
    assert attributes == {
        **kind.target(place),
        **peer,
        "db.operation.name": "GET",
        "db.query.text": "GET ?",
        "cache.name": "user",
        "cache.hit": False,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert not span.events


def test_the_duration_recorded_is_the_length_of_the_span(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.get("user:1")
    span = recording.span()
    (point,) = recording.metrics()["db.client.operation.duration"].data.data_points

    assert span.end_time is not None
    assert span.start_time is not None
    assert point.sum == pytest.approx((span.end_time - span.start_time) / 1e9, abs=1e-12)
    assert 0 < point.sum < 5


def test_an_exemplar_leads_from_the_duration_to_the_span(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.get("user:1")
    (point,) = recording.metrics()["db.client.operation.duration"].data.data_points

    context = recording.span().get_span_context()
    assert context is not None
    assert [exemplar.span_id for exemplar in point.exemplars] == [context.span_id]


def test_a_span_is_the_child_of_the_current_one_and_leaves_it_current(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    with recording.tracer.start_as_current_span("request") as parent:
        client.get("user:1")
        assert get_current_span() is parent
    span = recording.span()

    assert span.parent == parent.get_span_context()


def test_writes_tell_what_became_of_the_time_to_live(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.set("user:1", "x", ex=60)
    client.set("user:1", "x")
    client.set("user:1", "x", keepttl=True)
    client.set("user:1", "x", nx=True)
    client.hset("cart:1", "a", "1")

    assert recording.counts("cache.writes") == {
        ("user", "set", "stored"): 1,
        ("user", "none", "stored"): 1,
        ("user", "kept", "stored"): 1,
        ("user", "none", "refused"): 1,
        ("cart", "kept", "stored"): 1,
    }


def test_removals_are_counted_as_the_server_replies(client: Any, recording: Recording) -> None:
    client.mset({"user:{1}": 1, "user:{1}:2": 2, "cart:{1}": 1})
    recording.instrument()
    client.delete("user:{1}", "user:{1}", "user:{1}:9")
    client.unlink("user:{1}:2", "cart:{1}")
    client.delete("user:{1}")

    assert recording.counts("cache.invalidations") == {
        ("user", "delete"): 2,
        ("cart", "delete"): 1,
    }
    assert recording.counts("cache.invalidation.requests") == {
        ("user", "delete", "partial"): 1,
        ("_mixed", "delete", "removed"): 1,
        ("user", "delete", "none"): 1,
    }
    assert [attributes_of(s)["cache.invalidation.removed"] for s in recording.spans()] == [1, 2, 0]


def test_a_reply_that_cannot_be_decoded_was_asked_for(
    server: RedisServer, recording: Recording
) -> None:
    with redis.Redis(host=server.host, port=server.port, decode_responses=True) as client:
        client.set("user:1", b"\xff\xfe")
        recording.instrument()
        with pytest.raises(UnicodeDecodeError):
            client.get("user:1")

    assert recording.lookups() == {("user", "error"): 1}
    assert attributes_of(recording.span())["error.type"] == "UnicodeDecodeError"


def test_what_the_client_refuses_is_a_span_and_no_lookup(
    kind: Kind, client: Any, recording: Recording
) -> None:
    recording.instrument()
    with pytest.raises(kind.library.DataError):
        client.get({"not": "a key"})

    assert recording.lookups() == {}
    error = kind.error("DataError")
    assert attributes_of(recording.span())["error.type"] == error
    assert recording.counts("db.client.operation.duration") == {("GET", error): 1}


@only(outside_clusters, because="a cluster client refuses a command that it cannot route")
def test_an_unknown_command_is_a_span_and_a_duration(
    kind: Kind, client: Any, recording: Recording
) -> None:
    recording.instrument()
    with pytest.raises(kind.library.ResponseError):
        client.execute_command("NO.SUCH thing", "secret")

    assert recording.span().name == "NO.SUCH"
    assert recording.counts("db.client.operation.duration") == {("_OTHER", "ERR", "ERR"): 1}
    assert recording.lookups() == {}
    assert recording.counts("cache.writes") == {}


def test_a_server_that_is_down_is_an_error_and_no_miss(recording: Recording) -> None:
    recording.instrument()
    client = redis.Redis(host="127.0.0.1", port=1, retry=NO_RETRY)
    with pytest.raises(redis.ConnectionError):
        client.get("user:1")

    assert recording.lookups() == {("user", "error"): 1}
    assert attributes_of(recording.span())["error.type"] == "redis.exceptions.ConnectionError"
    assert "db.response.status_code" not in attributes_of(recording.span())
    assert "cache.hit_ratio" not in recording.metrics() or not recording.points("cache.hit_ratio")


def test_blocking_commands_have_a_duration_of_their_own(client: Any, recording: Recording) -> None:
    client.rpush("queue:1", "job")
    recording.instrument()
    client.blpop("queue:1", timeout=1)

    assert recording.counts("redis.client.blocked.duration") == {"BLPOP": 1}
    assert recording.counts("db.client.operation.duration") == {}
    assert recording.operations() == ["BLPOP"]


def test_an_idle_poll_without_a_parent_makes_no_span(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.blpop("queue:1", timeout=0.01)
    assert recording.spans() == []
    with recording.tracer.start_as_current_span("worker"):
        client.blpop("queue:1", timeout=0.01)

    assert recording.operations() == ["BLPOP"]
    assert recording.counts("redis.client.blocked.duration") == {"BLPOP": 2}


def test_an_idle_poll_of_a_stream_waits_only_with_block(client: Any, recording: Recording) -> None:
    recording.instrument()
    assert not client.xread({"stream:1": "$"}, block=5)
    assert recording.operations() == []
    client.xread({"stream:1": "$"})

    assert recording.operations() == ["XREAD"]
    assert recording.counts("redis.client.blocked.duration") == {"XREAD": 1}
    assert recording.counts("db.client.operation.duration") == {"XREAD": 1}


@only(outside_clusters, because="a cluster client asks all primaries, and adds up what they say")
def test_waiting_for_replicas_is_no_poll(client: Any, recording: Recording) -> None:
    recording.instrument()
    assert client.wait(0, 5) >= 0

    assert recording.operations() == ["WAIT"]
    assert recording.counts("redis.client.blocked.duration") == {"WAIT": 1}


def test_a_poll_that_finds_something_without_a_parent_is_as_long_as_it_waited(
    place: Place, client: Any, recording: Recording
) -> None:
    recording.instrument()
    pusher = threading.Timer(0.1, lambda: place.call("RPUSH", "queue:1", "job"))
    pusher.start()
    client.blpop("queue:1", timeout=5)
    pusher.join()
    span = recording.span()

    assert span.end_time is not None
    assert span.start_time is not None
    assert (span.end_time - span.start_time) / 1e9 > 0.05


def test_suppressed_calls_leave_no_trace(client: Any, recording: Recording) -> None:
    recording.instrument()
    with suppress_instrumentation():
        client.get("user:1")

    assert recording.spans() == []
    assert recording.lookups() == {}
    assert recording.counts("db.client.operation.duration") == {}


class RememberingSampler(Sampler):
    """Drops everything, and remembers what it was asked with."""

    def __init__(self) -> None:
        self.attributes: list[dict[str, Any]] = []

    def should_sample(  # type: ignore[override]
        self,
        parent: Any,
        trace_id: Any,
        name: Any,
        kind: Any = None,
        attributes: Any = None,
        *_: Any,
        **__: Any,
    ) -> SamplingResult:
        self.attributes.append(dict(attributes))
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        return "remembering"


def test_a_sampler_sees_what_is_known_at_the_start(
    kind: Kind, place: Place, event_loop_of_clients: EventLoop
) -> None:
    sampler = RememberingSampler()
    recording = Recording(sampler)
    instrumentor = recording.instrument()
    with kind.connected(place, event_loop_of_clients) as client:
        client.set("user:1", "x", ex=5)
        client.pipeline(transaction=False).get("a:1").get("b:1").execute()
    instrumentor.uninstrument()
    target = kind.target(place)

    assert sampler.attributes == [
        {**target, "db.operation.name": "SET", "db.query.text": "SET ? ? EX ?"},
        {**target, "db.operation.name": "PIPELINE GET", "db.operation.batch.size": 2},
    ]


def test_metrics_are_exact_without_sampling(client: Any) -> None:
    recording = Recording(ALWAYS_OFF)
    instrumentor = recording.instrument()
    client.get("user:1")
    instrumentor.uninstrument()

    assert recording.spans() == []
    assert recording.lookups() == {("user", "miss"): 1}
    assert recording.counts("db.client.operation.duration") == {"GET": 1}


@only(lambda kind: kind.is_for_threads, because="one connection is for one thread")
def test_lookups_of_eight_threads_equal_what_the_server_was_asked(
    place: Place, client: Any, recording: Recording
) -> None:
    for i in range(0, 50, 2):
        client.set(f"user:{i}", i)
    place.reset_stats()
    recording.instrument()

    def read() -> None:
        for i in range(50):
            client.get(f"user:{i}")

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert recording.lookups() == {("user", "hit"): 200, ("user", "miss"): 200}
    assert place.commandstats()["get"] == 400
    assert len(recording.spans()) == 400
    assert recording.counts("db.client.operation.duration") == {"GET": 400}
    assert recording.counts("cache.hit_ratio") == {"user": 0.5}


async def test_asyncio_calls_are_counted_and_traced_alike(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    async with redis.asyncio.Redis(host=server.host, port=server.port) as client:
        await client.set("user:1", "x", ex=60)

        async def request(number: int) -> tuple[int, int]:
            with recording.tracer.start_as_current_span(f"request {number}") as parent:
                await client.get("user:1")
                await client.get(f"user:none{number}")
            return number, parent.get_span_context().span_id

        parents = dict(await asyncio.gather(*(request(i) for i in range(50))))

    assert recording.lookups() == {("user", "hit"): 50, ("user", "miss"): 50}
    gets = [span for span in recording.spans() if span.name == "GET"]
    assert sorted(span.parent.span_id for span in gets if span.parent) == sorted(
        list(parents.values()) * 2
    )


async def test_a_cancelled_call_ends_its_span_as_an_error(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    async with redis.asyncio.Redis(host=server.host, port=server.port) as client:
        await client.ping()
        server.pause()
        try:
            task = asyncio.ensure_future(client.get("user:1"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        finally:
            server.resume()
    span = recording.spans()[-1]

    assert recording.lookups() == {("user", "error"): 1}
    assert attributes_of(span)["error.type"] == "asyncio.exceptions.CancelledError"
    assert span.status.status_code is StatusCode.ERROR
