"""Clients of a cluster; what they send by themselves must not look like calls."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import valkey
from redis.cluster import ClusterNode, RedisCluster
from valkey.cluster import ValkeyCluster

from otel_redis_cache import RedisCacheInstrumentor
from tests.real.clusters import Cluster
from tests.recording import Recording, attributes_of


@pytest.mark.parametrize("cluster_class", [RedisCluster, ValkeyCluster])
def test_a_cluster_client_makes_nothing_of_its_topology(
    one_node_cluster: redis.Redis, recording: Recording, cluster_class: Any
) -> None:
    port = one_node_cluster.connection_pool.connection_kwargs["port"]
    recording.instrument()
    with cluster_class(host="127.0.0.1", port=port) as cluster:
        cluster.set("{user}:1", "x")
        cluster.execute_command("SORT", "{user}:list", "STORE", "{user}:sorted")
        cluster.pipeline().get("{user}:1").execute()

    assert recording.operations() == ["SET", "SORT", "GET"]
    assert recording.counts("db.client.operation.duration") == {"SET": 1, "SORT": 1, "GET": 1}
    assert recording.points("otel_redis_cache.errors") == []


def test_a_client_that_an_application_connects_its_own_way_is_observed(
    one_node_cluster: redis.Redis, recording: Recording
) -> None:
    port = one_node_cluster.connection_pool.connection_kwargs["port"]
    recording.instrument()

    def on_connect(connection: Any) -> None:
        connection.on_connect()

    own_way: Any = {"redis_connect_func": on_connect}
    with redis.Redis(port=port, **own_way) as client:
        client.get("user:1")
    with valkey.Valkey(port=port) as other:
        other.get("user:1")

    assert recording.operations() == ["GET", "GET"]


@pytest.mark.parametrize("cluster_class", [RedisCluster, ValkeyCluster])
def test_one_cluster_client_is_watched_alone(
    valkey_cluster: Cluster, recording: Recording, cluster_class: Any
) -> None:
    valkey_cluster.revive()
    valkey_cluster.flush()
    target = {"host": valkey_cluster.host, "port": valkey_cluster.nodes[0].port}
    with cluster_class(**target) as watched, cluster_class(**target) as other:
        RedisCacheInstrumentor.instrument_client(watched, **recording.providers)
        for client in (watched, other):
            client.set("user:1", "x")
            client.pipeline().get("user:1").get("user:2").execute()
            client.delete("user:1", "user:2")
        RedisCacheInstrumentor.uninstrument_client(watched)
        watched.get("user:1")

    assert recording.operations() == ["SET", "PIPELINE GET", "DEL"]
    assert recording.counts("cache.invalidations") == {("user", "delete"): 1}


@pytest.mark.parametrize("cluster_class", [RedisCluster, ValkeyCluster])
def test_what_a_client_splits_over_slots_is_the_command_that_was_given(
    cluster: Cluster, recording: Recording, cluster_class: Any
) -> None:
    cluster.revive()
    cluster.flush()
    cluster.reset_stats()
    keys = [f"user:{i}" for i in range(50)]
    with cluster_class(host=cluster.host, port=cluster.nodes[0].port) as client:
        client.mset_nonatomic(dict.fromkeys(keys[:30], "x"))
        recording.instrument(count_probes=True)
        assert client.exists(*keys) == 30
        assert client.touch(*keys) == 30
        assert client.unlink(*keys[20:]) == 10
        assert client.delete(*keys) == 20

    assert recording.operations() == ["EXISTS", "TOUCH", "UNLINK", "DEL"]
    assert recording.counts("cache.invalidations") == {("user", "delete"): 30}
    assert recording.counts("cache.invalidation.requests") == {("user", "delete", "partial"): 2}
    assert cluster.commandstats()["del"] > 10  # one for each slot
    assert recording.counts("db.client.operation.duration") == dict.fromkeys(
        recording.operations(), 1
    )


def test_what_a_client_asks_of_several_nodes_is_one_call(
    cluster: Cluster, recording: Recording
) -> None:
    cluster.revive()
    cluster.flush()
    client: Any
    with RedisCluster(host=cluster.host, port=cluster.nodes[0].port) as client:
        recording.instrument()
        client.mset_nonatomic({f"user:{i}": "x" for i in range(20)})
        assert client.dbsize(target_nodes="primaries") == 20
        assert len(client.keys("user:*", target_nodes="primaries")) == 20
        client.flushall()

    assert recording.operations() == ["PIPELINE MSET", "DBSIZE", "KEYS", "FLUSHALL"]
    assert recording.counts("cache.writes") == {("user", "none", "stored"): 20}


def test_the_way_to_a_cluster_is_told_as_it_was_configured(
    cluster: Cluster, recording: Recording
) -> None:
    cluster.revive()
    recording.instrument()
    nodes = [ClusterNode(node.host, node.port) for node in cluster.nodes]
    client: Any
    with RedisCluster(startup_nodes=nodes) as client:
        client.get("user:1")
        client.nodes_manager.initialize()
        client.pipeline().get("user:1").execute()
    addresses = {attributes_of(span)["server.address"] for span in recording.spans()}

    assert addresses == {",".join(sorted(f"{n.host}:{n.port}" for n in cluster.nodes)[:5])}
    assert all("server.port" not in attributes_of(span) for span in recording.spans())
