"""Who makes the spans of cluster clients, with the packages really around them."""

from __future__ import annotations

import json

import pytest
import redis

from .packages import PACKAGES
from .processes import run

PROGRAM = """
import asyncio, json, sys
import redis, redis.asyncio, redis.cluster
from otel_redis_cache.neighbours import Neighbours
from tests.coexistence.packages import PACKAGES

package, host, port = sys.argv[1:]
neighbours, other = Neighbours(matter=True), PACKAGES[package]()
told = {}

def tell(name, client, is_batch):
    told[name] = [
        neighbours.span_maker(client, is_batch=is_batch),
        neighbours.are_absent(client, is_batch=is_batch),
    ]

def clients(stage):
    with redis.cluster.RedisCluster(host=host, port=int(port)) as client:
        tell(stage + " commands", client, False)
        tell(stage + " batches", client.pipeline(), True)

async def clients_async(stage):
    async with redis.asyncio.RedisCluster(host=host, port=int(port)) as client:
        tell(stage + " asyncio commands", client, False)
        tell(stage + " asyncio batches", client.pipeline(), True)

for stage in ("before", "beside"):
    clients(stage)
    asyncio.run(clients_async(stage))
    other.switch_on()
with redis.cluster.RedisCluster(host=host, port=int(port)) as client:
    other.spans()
    with other.trace():
        client.get("user:1")
    told["spans"] = len(other.spans())
print(json.dumps(told))
"""
KINDS = ("commands", "batches", "asyncio commands", "asyncio batches")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_spans_of_cluster_clients_are_known_to_be_made(
    valkey_cluster: redis.Redis, package: str
) -> None:
    port = valkey_cluster.connection_pool.connection_kwargs["port"]
    told = json.loads(run("-c", PROGRAM, package, "127.0.0.1", str(port)))
    assert told.pop("spans") == 1
    assert told == {
        **{f"before {kind}": [None, True] for kind in KINDS},
        **{f"beside {kind}": [PACKAGES[package].name, False] for kind in KINDS},
    }
