"""Keys that move in a cluster: what the client follows by itself is one call, and no error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.kinds import only
from tests.real.clusters import Cluster, Migration, Node
from tests.recording import Recording, attributes_of

in_clusters = only(lambda kind: kind.is_cluster, because="keys move in clusters alone")

KEY, OTHER = "user:{moving}:1", "user:{moving}:2"


def told_moved(place: Cluster) -> int:
    """How often the nodes said so."""
    said = [node.info("errorstats").get("errorstat_MOVED", "count=0") for node in place.nodes]
    return sum(int(count.partition("=")[2]) for count in said)


@pytest.fixture
def migration(place: Cluster, client: Any) -> Iterator[Migration]:
    """The slot of the keys is on its way; the client knows where it was."""
    client.set(KEY, "x")
    client.set(OTHER, "y")
    source = place.owner(KEY)
    target: Node = next(node for node in place.primaries if node is not source)
    migration = place.begin_migration(KEY, target)
    yield migration
    migration.finish()


@in_clusters
def test_an_answer_ask_is_followed_in_the_same_call(
    client: Any, migration: Migration, recording: Recording
) -> None:
    recording.instrument()
    migration.move(KEY)
    assert client.get(KEY) == b"x"
    assert client.get(OTHER) == b"y"
    moved, stayed = (attributes_of(span) for span in recording.spans())

    assert moved["redis.client.redirection.count"] == 1
    assert moved["network.peer.port"] == migration.target.port
    assert moved["cache.hit"] is True
    assert "error.type" not in moved
    assert "redis.client.redirection.count" not in stayed
    assert stayed["network.peer.port"] == migration.source.port
    assert recording.counts("redis.client.redirections") == {"ask": 1}
    assert recording.counts("redis.client.retries") == {}
    assert recording.lookups() == {("user", "hit"): 2}


@in_clusters
def test_an_answer_moved_is_followed_and_learnt(
    client: Any, migration: Migration, recording: Recording
) -> None:
    recording.instrument()
    migration.finish()
    assert client.get(KEY) == b"x"
    assert client.get(KEY) == b"x"
    first, second = (attributes_of(span) for span in recording.spans())

    assert first["redis.client.redirection.count"] == 1
    assert "redis.client.redirection.count" not in second
    assert first["network.peer.port"] == second["network.peer.port"] == migration.target.port
    assert recording.counts("redis.client.redirections") == {"moved": 1}
    assert recording.counts("redis.client.retries") == {}
    assert recording.lookups() == {("user", "hit"): 2}
    assert recording.counts("db.client.operation.duration") == {"GET": 2}


@in_clusters
def test_commands_of_a_pipeline_that_are_sent_again_are_not_counted_again(
    client: Any, migration: Migration, recording: Recording, place: Cluster
) -> None:
    stays = next(f"cart:{i}" for i in range(1_000) if place.owner(f"cart:{i}") is migration.source)
    migration.finish()
    place.reset_stats()
    recording.instrument()
    pipeline = client.pipeline()
    pipeline.get(KEY)
    pipeline.get(stays)
    pipeline.get(OTHER)
    replies = pipeline.execute()
    attributes = attributes_of(recording.span())

    assert replies == [b"x", None, b"y"]
    assert recording.span().name == "PIPELINE GET"
    # The first of them is told twice: the client does not learn from an answer within a batch.
    assert attributes["redis.client.redirection.count"] == told_moved(place) == 3
    assert recording.counts("redis.client.redirections") == {"moved": 3}
    assert "redis.client.retry.count" not in attributes
    assert (attributes["cache.hits"], attributes["cache.misses"]) == (2, 1)
    assert recording.lookups() == {("user", "hit"): 2, ("cart", "miss"): 1}
    assert recording.counts("db.client.operation.duration") == {"PIPELINE GET": 1}
    assert place.commandstats()["get"] == 3


@only(
    lambda kind: kind.is_cluster and kind.has_transactions,
    because="clusters have none in valkey-py and in old redis-py",
)
def test_a_transaction_that_is_sent_elsewhere_is_one_call(
    client: Any, migration: Migration, recording: Recording, place: Cluster
) -> None:
    migration.finish()
    recording.instrument()
    pipeline = client.pipeline(transaction=True)
    pipeline.get(KEY)
    pipeline.set(OTHER, "z")
    place.reset_stats()
    replies = pipeline.execute()
    attributes = attributes_of(recording.span())

    assert replies[0] == b"x"
    assert replies[1] in (True, b"OK")  # redis-py's synchronous client leaves it as it came
    assert attributes["redis.client.redirection.count"] == told_moved(place) > 0
    assert "redis.client.retry.count" not in attributes
    assert "error.type" not in attributes
    assert recording.lookups() == {("user", "hit"): 1}
