"""Clients of a cluster; what they send by themselves must not look like calls."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import valkey
from redis.cluster import RedisCluster
from valkey.cluster import ValkeyCluster

from tests.recording import Recording


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
