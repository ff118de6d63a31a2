"""Cluster clients beside the packages: their calls have one span too, before us and after us."""

from __future__ import annotations

import json

import pytest

from tests.real.clusters import Cluster

from .packages import PACKAGES
from .processes import run

PROGRAM = """
import asyncio, json, sys
import redis.asyncio.cluster, redis.cluster
from otel_redis_cache import RedisCacheInstrumentor
from tests.coexistence.packages import PACKAGES
from tests.recording import Recording

package, way, host, port = sys.argv[1:]
other, told = PACKAGES[package](), {}

def count(recording, name, stage):
    told[name].append([stage, len(recording.take()), len(other.spans())])

def use(recording, stage):
    with redis.cluster.RedisCluster(host=host, port=int(port)) as client:
        client.get("{user}:1")
        other.spans(), recording.take()
        with other.trace():
            client.get("{user}:1")
        count(recording, "get", stage)
        with other.trace():
            client.pipeline().get("{user}:1").get("{user}:1").execute()
        count(recording, "pipeline", stage)

async def use_asyncio(recording, stage):
    async with redis.asyncio.cluster.RedisCluster(host=host, port=int(port)) as client:
        await client.get("{user}:1")
        other.spans(), recording.take()
        with other.trace():
            await client.get("{user}:1")
        count(recording, "asyncio get", stage)
        with other.trace():
            await client.pipeline().get("{user}:1").get("{user}:1").execute()
        count(recording, "asyncio pipeline", stage)

told = {name: [] for name in ("get", "pipeline", "asyncio get", "asyncio pipeline")}
if way == "theirs first":
    other.switch_on()
for mode in ("yield", "both", "off"):
    recording = Recording()
    recording.instrument(on_conflict=mode)
    if way == "ours first" and mode == "yield":
        use(recording, "alone")
        asyncio.run(use_asyncio(recording, "alone"))
        other.switch_on()
    use(recording, mode)
    asyncio.run(use_asyncio(recording, mode))
    RedisCacheInstrumentor().uninstrument()
print(json.dumps(told))
"""
KINDS = ("get", "pipeline", "asyncio get", "asyncio pipeline")


@pytest.mark.parametrize("way", ["theirs first", "ours first"])
@pytest.mark.parametrize("package", PACKAGES)
def test_calls_of_cluster_clients_are_seen_as_the_mode_says(
    valkey_cluster: Cluster, package: str, way: str
) -> None:
    port = str(valkey_cluster.ports[0])
    told = json.loads(run("-c", PROGRAM, package, way, valkey_cluster.host, port))
    alone = [["alone", 1, 0]] if way == "ours first" else []
    each = [*alone, ["yield", 0, 1], ["both", 1, 1], ["off", 0, 1]]
    assert told == dict.fromkeys(KINDS, each)
