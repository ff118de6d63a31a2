"""Client-side caching: what the client answers by itself is a hit of the named cache all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import valkey
import valkey.asyncio
import valkey.asyncio.cluster
import valkey.cluster

from tests.integration.waiting import EventLoop, Waiting
from tests.real.clusters import Cluster
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of

CSC = "redis.client.csc.requests"


@pytest.fixture
def redis_client(redis_8_server: RedisServer) -> Iterator[Any]:
    """redis-py refuses to cache what a Redis before 7.4, or a Valkey, replies."""
    redis_cache = pytest.importorskip("redis.cache", reason="redis-py caches replies since 5.1")
    redis_8_server.flush()
    config = redis_cache.CacheConfig(max_size=100)
    with redis.Redis(port=redis_8_server.port, protocol=3, cache_config=config) as client:
        client.ping()
        yield client


@pytest.fixture
def valkey_client(valkey_server: RedisServer) -> Iterator[Any]:
    valkey_server.revive()
    valkey_server.flush()
    with valkey.Valkey(port=valkey_server.port, protocol=3, cache_enabled=True) as client:
        yield client


@pytest.fixture
def async_valkey_client(
    valkey_server: RedisServer, event_loop_of_clients: EventLoop
) -> Iterator[Any]:
    valkey_server.revive()
    valkey_server.flush()

    async def make() -> Any:
        return valkey.asyncio.Valkey(port=valkey_server.port, protocol=3, cache_enabled=True)

    with Waiting(event_loop_of_clients.result_of(make()), event_loop_of_clients) as client:
        yield client


@pytest.fixture(params=["redis_client", "valkey_client", "async_valkey_client"])
def client(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def asked(request: pytest.FixtureRequest, client: Any) -> Callable[[], int]:
    """How often the server was asked: GETs that it counted."""
    name = "redis_8_server" if type(client).__module__.startswith("redis") else "valkey_server"
    server: RedisServer = request.getfixturevalue(name)
    server.reset_stats()
    return lambda: server.commandstats().get("get", 0)


def test_a_local_answer_is_a_hit_of_its_cache(
    client: Any, recording: Recording, asked: Callable[[], int]
) -> None:
    client.set("user:1", "x")
    recording.instrument()
    replies = [client.get("user:1") for _ in range(3)]
    first, second, third = (attributes_of(span) for span in recording.spans())

    assert replies == [b"x"] * 3
    assert asked() == 1
    assert recording.lookups() == {("user", "hit"): 3}
    assert recording.counts(CSC) == {"miss": 1, "hit": 2}
    assert "network.peer.address" in first
    for local in (second, third):
        assert local["cache.hit"] is True
        assert "network.peer.address" not in local


def test_a_key_that_is_not_there_is_never_answered_locally(
    client: Any, recording: Recording, asked: Callable[[], int]
) -> None:
    recording.instrument()
    assert [client.get("user:1") for _ in range(2)] == [None, None]

    assert asked() == 2
    assert recording.counts(CSC) == {"miss": 2}
    assert recording.lookups() == {("user", "miss"): 2}


def test_what_cannot_be_cached_is_not_counted(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.set("user:1", "x")
    client.incr("count:1")
    client.ping()

    assert recording.counts(CSC) == {}
    assert all("network.peer.address" in attributes_of(span) for span in recording.spans())


def test_a_key_that_somebody_writes_is_asked_for_again(
    request: pytest.FixtureRequest,
    redis_client: Any,
    redis_8_server: RedisServer,
    recording: Recording,
) -> None:
    redis_client.set("user:1", "x")
    recording.instrument()
    redis_client.get("user:1")
    redis_8_server.call("SET", "user:1", "y")
    redis_8_server.call("PING")

    assert redis_client.get("user:1") == b"y"
    assert recording.counts(CSC) == {"miss": 2}


def test_clients_without_a_cache_count_nothing(
    valkey_server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    for library in (redis.Redis, valkey.Valkey):
        with library(port=valkey_server.port, protocol=3) as client:
            client.get("user:1")

    assert recording.points(CSC) == []


def test_a_cluster_client_answers_locally_too(
    valkey_cluster: Cluster, recording: Recording
) -> None:
    valkey_cluster.revive()
    valkey_cluster.flush()
    valkey_cluster.reset_stats()
    recording.instrument()
    with valkey.cluster.ValkeyCluster(
        host=valkey_cluster.host, port=valkey_cluster.nodes[0].port, protocol=3, cache_enabled=True
    ) as client:
        client.set("user:1", "x")
        replies = [client.get("user:1") for _ in range(3)]

    assert replies == [b"x"] * 3
    assert valkey_cluster.commandstats()["get"] == 1
    assert recording.counts(CSC) == {"miss": 1, "hit": 2}
    assert recording.lookups() == {("user", "hit"): 3}
