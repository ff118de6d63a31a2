"""Messages through the clients of clusters: their contexts, their counts, the age of entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan

from otel_redis_cache import context_of, payload_of
from tests.integration.kinds import Kind, only, with_transactions
from tests.real.clusters import Cluster
from tests.recording import Recording

in_clusters = only(lambda kind: kind.is_cluster, because="this is about clusters")

STREAMS = [f"orders:{i}" for i in range(6)]  # on every node
CHANNEL = "news:1"
MOVING = "orders:{moving}"


def ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


def ids_in(message: Any) -> tuple[int, int]:
    context = trace.get_current_span(context_of(message)).get_span_context()
    return context.trace_id, context.span_id


def only_entry(client: Any, stream: str) -> Any:
    with suppress_instrumentation():
        (entry,) = client.xrange(stream)
    return entry


@pytest.fixture
def pubsub(place: Cluster) -> Iterator[Any]:
    """A subscriber of the node that a shard channel is on, which is not watched."""
    node = place.owner(CHANNEL)
    with redis.Redis(host=node.host, port=node.port) as client, client.pubsub() as pubsub:
        pubsub.execute_command("SSUBSCRIBE", CHANNEL)
        pubsub.execute_command("SUBSCRIBE", "news:all")
        for _ in range(2):
            assert data_of(pubsub) in (1, 2)
        yield pubsub


def data_of(pubsub: Any) -> Any:
    return pubsub.parse_response(timeout=5)[2]


@in_clusters
def test_what_is_sent_alone_carries_its_span(
    client: Any, pubsub: Any, recording: Recording
) -> None:
    recording.instrument(propagate_context=True, metrics="default,pubsub")
    client.xadd("orders:1", {"total": 5})
    client.execute_command("PUBLISH", "news:all", "all")
    client.execute_command("SPUBLISH", CHANNEL, "shard")
    with suppress_instrumentation():
        got = [data_of(pubsub), data_of(pubsub)]
    entry = only_entry(client, "orders:1")
    spans = recording.spans()

    assert [span.name for span in spans] == ["XADD", "PUBLISH", "SPUBLISH"]
    assert [ids_in(message) for message in (entry, *got)] == [ids(span) for span in spans]
    assert [payload_of(message) for message in (entry, *got)] == [
        {b"total": b"5"},
        b"all",
        b"shard",
    ]
    assert recording.counts("redis.client.pubsub.messages")["publish"] == 2


@in_clusters
def test_what_a_batch_sends_to_several_nodes_carries_its_span(
    client: Any, pubsub: Any, recording: Recording
) -> None:
    recording.instrument(propagate_context=True, metrics="default,pubsub")
    pipe = client.pipeline(transaction=False)
    for stream in STREAMS:
        pipe.xadd(stream, {"total": 5})
    pipe.get("user:1")
    pipe.execute_command("SPUBLISH", CHANNEL, "shard")
    replies = pipe.execute()
    span = recording.span()
    with suppress_instrumentation():
        messages = [data_of(pubsub), *(only_entry(client, stream) for stream in STREAMS)]

    assert (replies[6], replies[7]) == (None, 1)
    assert {ids_in(message) for message in messages} == {ids(span)}
    assert [payload_of(message) for message in messages] == [b"shard", *[{b"total": b"5"}] * 6]
    assert recording.counts("redis.client.pubsub.messages")["publish"] == 1


@only(with_transactions, because="clusters have none in valkey-py and in old redis-py")
def test_a_transaction_carries_its_span(client: Any, recording: Recording) -> None:
    recording.instrument(propagate_context=True)
    pipe = client.pipeline(transaction=True)
    pipe.xadd(MOVING, {"total": 5})
    pipe.get(MOVING + ":no")
    pipe.execute()
    entry = only_entry(client, MOVING)

    assert recording.span().name == "MULTI"
    assert ids_in(entry) == ids(recording.span())
    assert payload_of(entry) == {b"total": b"5"}


@in_clusters
def test_what_a_pipeline_sends_again_to_another_node_carries_the_same_span(
    client: Any, place: Cluster, recording: Recording
) -> None:
    client.set(MOVING + ":known", "x")
    source = place.owner(MOVING)
    target = next(node for node in place.primaries if node is not source)
    place.begin_migration(MOVING, target).finish()
    recording.instrument(propagate_context=True)
    pipe = client.pipeline(transaction=False)
    pipe.xadd(MOVING, {"total": 5})
    pipe.xadd(MOVING, {"total": 6})
    pipe.execute()
    with suppress_instrumentation():
        entries = client.xrange(MOVING)

    assert recording.counts("redis.client.redirections")["moved"] >= 2
    assert [payload_of(entry) for entry in entries] == [{b"total": b"5"}, {b"total": b"6"}]
    assert {ids_in(entry) for entry in entries} == {ids(recording.span())}


@in_clusters
def test_an_error_names_the_command_as_it_was_queued(
    client: Any, kind: Kind, recording: Recording
) -> None:
    client.set(MOVING, "no stream")

    def said(*, transaction: bool) -> str:
        pipe = client.pipeline(transaction=transaction)
        pipe.get(MOVING)
        pipe.xadd(MOVING, {"a": "b"}, id="5-1")
        with pytest.raises(Exception, match="WRONGTYPE") as failed:
            pipe.execute()
        return str(failed.value)

    ways = {False, kind.has_transactions}
    undisturbed = [said(transaction=way) for way in ways]
    recording.instrument(propagate_context=True)

    assert [said(transaction=way) for way in ways] == undisturbed
    assert all(f"XADD {MOVING} 5-1 a b" in error for error in undisturbed)


@in_clusters
def test_what_was_queued_stays_as_it_was(client: Any, recording: Recording) -> None:
    seen: list[Any] = []

    def keep(_: Any, __: Any, args: Any, ___: Any) -> None:
        seen.extend(args)

    recording.instrument(propagate_context=True, request_hook=keep, query_text="sanitized")
    pipe = client.pipeline(transaction=False)
    pipe.xadd(MOVING, {"a": "b"}, id="5-1")
    pipe.execute()

    assert seen == [("XADD", MOVING, "5-1", "a", "b")]
    assert dict(recording.span().attributes or {})["db.query.text"] == "XADD ? ? ? ?"
    assert only_entry(client, MOVING)[1].keys() == {b"a", b"traceparent"}


@in_clusters
def test_entries_that_are_read_for_a_group_have_an_age(client: Any, recording: Recording) -> None:
    client.xgroup_create("orders:1", "billing", id="0", mkstream=True)
    client.xadd("orders:1", {"total": 5})
    client.xadd("orders:1", {"total": 6})
    recording.instrument(metrics="streams", streams="orders=orders:*")
    client.xreadgroup("billing", "worker-1", {"orders:1": ">"})
    pipe = client.pipeline(transaction=False)
    pipe.xreadgroup("billing", "worker-1", {"orders:1": "0"})
    replies = pipe.execute()
    ((attributes, point),) = recording.points("redis.client.stream.lag")

    assert replies[0]
    assert point == 4
    assert attributes["messaging.destination.name"] == "orders"
    assert attributes["messaging.consumer.group.name"] == "billing"
