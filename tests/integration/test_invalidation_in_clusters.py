"""``invalidate()`` on three primaries: all of them are gone through, each key is removed once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
import redis.asyncio.cluster
import valkey.asyncio.cluster
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import NoPermissionError, RedisClusterException
from redis.retry import Retry
from valkey.cluster import ValkeyCluster

from otel_redis_cache import Invalidation, invalidate, invalidate_async
from tests.real.clusters import Cluster
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of

CLIENTS = {
    "redis": RedisCluster,
    "valkey": ValkeyCluster,
    "redis.asyncio": redis.asyncio.cluster.RedisCluster,
    "valkey.asyncio": valkey.asyncio.cluster.ValkeyCluster,
}


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[Any]:
    """A client of the whole cluster."""
    with RedisCluster(host=cluster.host, port=cluster.ports[0]) as client:
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
    """Keys on all primaries, as each of them says."""
    return sum(int(str(node.call("DBSIZE"))) for node in cluster.primaries)


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


@pytest.fixture
def grown(server: RedisServer) -> Iterator[tuple[Cluster, Callable[[], None]]]:
    """A cluster whose third node has no slots yet, and what gives it some."""
    with Cluster(server.kind, server.binary, 3) as cluster:
        first, second, third = cluster.nodes
        (slots,) = next(place.slots for place in first.places() if place.port == third.port)
        start, _, end = slots.partition("-")
        third.call("CLUSTER", "DELSLOTSRANGE", start, end)

        def take() -> bool:
            """Again where the third one's word came late, that it has them."""
            for node in (first, second):
                with suppress(RuntimeError):  # which has none of them
                    node.call("CLUSTER", "DELSLOTSRANGE", start, end)
            with suppress(RuntimeError):  # they are the third one's again
                first.call("CLUSTER", "ADDSLOTSRANGE", start, end)
                return True
            return False

        wait_until(take, timeout=10, what="the first node has the slots of the third")
        first.call("CLUSTER", "BUMPEPOCH")
        cluster.wait_until_healthy()

        def scale_out() -> None:
            name = third.name
            # First, as otherwise one that has not heard of it yet may take the slots back.
            third.call("CLUSTER", "BUMPEPOCH")
            for node in (third, first, second):
                with redis.Redis(port=node.port) as client:
                    pipeline = client.pipeline(transaction=False)
                    for slot in range(int(start), int(end) + 1):
                        pipeline.execute_command("CLUSTER SETSLOT", slot, "NODE", name)
                    pipeline.execute()
            cluster.wait_until_healthy()

        yield cluster, scale_out


async def test_a_client_made_before_the_cluster_grew_reaches_the_new_primaries(
    grown: tuple[Cluster, Callable[[], None]],
) -> None:
    cluster, scale_out = grown
    target = {"host": cluster.host, "port": cluster.ports[0]}
    made: dict[str, Any] = {name: CLIENTS[name](**target) for name in CLIENTS}
    for name, client in made.items():
        if "asyncio" in name:
            await client.initialize()
        assert len(client.get_primaries()) == 2
    scale_out()
    with RedisCluster(**target) as other:
        for name, client in made.items():
            for i in range(300):
                other.set(f"user:{i}", "x")
            if "asyncio" in name:
                done = await invalidate_async(client, "user:*")
                await client.aclose()
            else:
                done = invalidate(client, "user:*")
                client.close()
            assert (name, done.removed, sizes(cluster)) == (name, 300, 0)
            assert done.outcome == "success"


@pytest.mark.parametrize("library", ["redis.asyncio", "valkey.asyncio"])
async def test_commands_of_the_application_go_on_meanwhile(
    cluster: Cluster, nodes: Any, library: str
) -> None:
    stopped = asyncio.Event()
    make: Any = CLIENTS[library]
    async with make(host=cluster.host, port=cluster.ports[0]) as client:

        async def use(name: str) -> None:
            while not stopped.is_set():
                await client.set(name, "x")

        users = [asyncio.create_task(use(f"cart:{i}")) for i in range(20)]
        for _ in range(10):
            nodes.set("user:1", "x")
            assert (await invalidate_async(client, "user:*")).removed == 1
        stopped.set()
        await asyncio.gather(*users)


def test_a_cluster_s_callback_of_the_application_does_not_change_what_is_said(
    cluster: Cluster, nodes: Any
) -> None:
    for make in (RedisCluster, ValkeyCluster):
        for i in range(30):
            nodes.set(f"user:{i}", "x")
        client: Any = make(host=cluster.host, port=cluster.ports[0])
        with client:
            client.set_response_callback("UNLINK", lambda _, **__: 7)
            assert invalidate(client, "user:*").removed == 30


def test_a_cluster_of_which_nobody_answers_is_a_failure_and_not_raised(
    server: RedisServer,
) -> None:
    with Cluster(server.kind, server.binary, 1) as cluster:
        client = RedisCluster(host=cluster.host, port=cluster.ports[0], retry=Retry(NoBackoff(), 0))
    with client:
        done = invalidate(client, "user:*")

    assert (done.outcome, done.removed) == ("failure", 0)
    assert isinstance(done.error, RedisClusterException)  # which is no RedisError


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
