"""``invalidate()`` on three primaries: all of them are gone through, each key is removed once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio.cluster
import valkey.asyncio.cluster
from opentelemetry.instrumentation.utils import suppress_instrumentation
from redis.cluster import RedisCluster
from redis.exceptions import NoPermissionError
from valkey.cluster import ValkeyCluster

from otel_redis_cache import Invalidation, invalidate, invalidate_async
from tests.real.clusters import Cluster
from tests.recording import Recording, attributes_of

CLIENTS = {
    "redis": RedisCluster,
    "valkey": ValkeyCluster,
    "redis.asyncio": redis.asyncio.cluster.RedisCluster,
    "valkey.asyncio": valkey.asyncio.cluster.ValkeyCluster,
}


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[Any]:
    """A client of the whole cluster that is empty."""
    with RedisCluster(host=cluster.host, port=cluster.ports[0]) as client:
        client.flushall(target_nodes="primaries")
        yield client


@pytest.fixture(params=CLIENTS)
def way(request: pytest.FixtureRequest, cluster: Cluster) -> Any:
    make: Any = CLIENTS[request.param]
    target = {"host": cluster.host, "port": cluster.ports[0]}

    def remove(pattern: Any, client_options: Any = None, **options: Any) -> Invalidation:
        if "asyncio" not in request.param:
            with make(**target, **(client_options or {})) as client:
                return invalidate(client, pattern, **options)

        async def run() -> Invalidation:
            async with make(**target, **(client_options or {})) as client:
                return await invalidate_async(client, pattern, **options)

        return asyncio.run(run())

    return remove


def sizes(cluster: Cluster) -> int:
    """Keys on all nodes, as each of them says."""
    total = 0
    for port in cluster.ports:
        with redis.Redis(port=port) as node, suppress_instrumentation():
            total += int(node.dbsize())
    return total


def test_every_primary_is_gone_through(
    way: Any, cluster: Cluster, nodes: Any, recording: Recording
) -> None:
    for i in range(300):
        nodes.set(f"user:{i}", "x")
        nodes.set(f"cart:{i}", "x")
    recording.instrument()
    done = way("user:*", reason="deploy")

    assert (done.matched, done.removed, done.outcome, done.error) == (300, 300, "success", None)
    assert done.batches >= 3
    assert sizes(cluster) == 300
    assert recording.counts("cache.invalidations") == {("user", "deploy"): 300}
    assert recording.counts("cache.invalidation.requests") == {("user", "deploy", "removed"): 1}
    span = recording.span()
    assert span.name == "cache.invalidate"
    assert attributes_of(span)["server.address"].startswith("127.0.0.1")
    assert recording.points("otel_redis_cache.errors") == []


def test_keys_are_bytes_whatever_the_client_decodes(way: Any, nodes: Any) -> None:
    nodes.set(b"\xff:1", "x")
    nodes.set("größe:1", "x")

    assert way(b"\xff:*", {"decode_responses": True}).removed == 1
    assert way("größe:*", {"decode_responses": True}).removed == 1


def test_overlapping_invalidators_report_each_entry_once(
    cluster: Cluster, nodes: Any, recording: Recording
) -> None:
    for i in range(300):
        nodes.set(f"user:{i}", "x")
    recording.instrument()

    async def run() -> list[Invalidation]:
        async with redis.asyncio.cluster.RedisCluster(
            host=cluster.host, port=cluster.ports[0]
        ) as client:
            return await asyncio.gather(
                *(invalidate_async(client, "user:*", batch_size=10) for _ in range(4))
            )

    results = asyncio.run(run())
    assert sum(result.removed for result in results) == 300
    assert sum(result.matched for result in results) > 300
    assert recording.counts("cache.invalidations") == {("user", "delete"): 300}


def test_a_node_that_denies_leaves_a_partial_result(
    cluster: Cluster, nodes: Any, recording: Recording
) -> None:
    for i in range(300):
        nodes.set(f"user:{i}", "x")
    denying = cluster.ports[-1]
    with redis.Redis(port=denying) as node:
        node.execute_command("ACL", "SETUSER", "default", "-unlink")
        try:
            recording.instrument()
            with RedisCluster(host=cluster.host, port=cluster.ports[0]) as client:
                done = invalidate(client, "user:*")
        finally:
            node.execute_command("ACL", "SETUSER", "default", "+unlink")
        left = node.dbsize()

    assert isinstance(done.error, NoPermissionError)
    assert done.outcome in ("partial", "failure")
    assert left > 0
    assert done.removed == 300 - sizes(cluster)
    entries = sum(recording.counts("cache.invalidations").values())
    assert entries == done.removed
