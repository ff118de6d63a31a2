"""Events that came when the lease was over: another process may have counted them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from otel_redis_cache.server import readings
from otel_redis_cache.server.duties import Events, Site
from otel_redis_cache.server.nodes import Connections, Nodes
from otel_redis_cache.server.sources import sources_of
from tests.integration.watching import watched
from tests.real.clusters import Cluster
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.recording import Recording

PERIOD, LEASED = 0.1, 0.5

LEASE = "otel_redis_cache:{lease}:listen:0"

EXPIRED = "__keyevent@0__:expired"


async def until(so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_what_expired_while_the_lease_was_over_is_not_counted(
    new_server: RedisServer, recording: Recording
) -> None:
    new_server.call("CONFIG", "SET", "notify-keyspace-events", "Exe")
    (source,) = sources_of(new_server.url)
    connections = Connections(source)
    nodes = Nodes(source, connections)
    await nodes.find()
    counts = readings.of(recording.meter_provider)
    faults: list[object] = []
    site = Site(source, connections, nodes, counts, lambda _: "user", faults.extend, faults.append)
    events = Events(site)

    def counted() -> int:
        return sum(count for _, count in counts.evictions.items())

    async def expire(keys: int) -> None:
        before = expired(new_server)
        for key in range(keys):
            new_server.call("SET", f"user:{key}", "x", "PX", "1")
        await until(lambda: expired(new_server) == before + keys)

    def subscribers() -> object:
        return new_server.call("PUBSUB", "NUMSUB", EXPIRED)

    await events.attend(PERIOD, time.monotonic() + LEASED)
    await until(lambda: subscribers() == [EXPIRED, 1])
    await expire(5)
    await until(lambda: counted() == 5)
    await asyncio.sleep(LEASED)  # nobody renews the lease
    await expire(7)
    await asyncio.sleep(0.3)
    assert counted() == 5

    await events.attend(PERIOD, time.monotonic() + LEASED)
    await until(lambda: subscribers() == [EXPIRED, 1])
    await events.attend(PERIOD, time.monotonic() + 100)
    await expire(2)
    await until(lambda: counted() == 7)
    await events.stop()
    await connections.keep()
    assert [fault for fault in faults if fault] == []


def test_what_expires_at_other_nodes_while_nobody_can_renew_the_lease_is_not_counted(
    redis_server: RedisServer, recording: Recording
) -> None:
    with Cluster("redis", redis_server.binary, 2) as cluster:
        lessor = cluster.owner(LEASE)
        (other,) = [node for node in cluster.nodes if node is not lessor]
        keys = [key for key in map("user:{}".format, range(100)) if cluster.owner(key) is other]
        counts = readings.of(recording.meter_provider).evictions

        def counted() -> int:
            return sum(count for _, count in counts.items())

        def is_heard() -> bool:
            return other.call("PUBSUB", "NUMSUB", EXPIRED) == [EXPIRED, 1]

        other.call("CONFIG", "SET", "notify-keyspace-events", "Exe")
        with watched(recording, other, listen_events=True):
            wait_until(is_heard, timeout=10, what="it listens")
            for key in keys[:5]:
                other.call("SET", key, "x", "PX", 1)
            wait_until(lambda: counted() == 5, timeout=10, what="all are counted")
            for key in keys[5:12]:
                other.call("SET", key, "x", "PX", 5_000)
            lessor.pause()  # it takes longer to find than the lease lasts
            wait_until(lambda: expired(other) == 12, timeout=20, what="the others expire")
            time.sleep(0.3)
            assert counted() == 5

            lessor.resume()
            cluster.wait_until_healthy()
            wait_until(is_heard, timeout=10, what="it listens again")
            time.sleep(1)  # a round or two
            for key in keys[12:14]:
                other.call("SET", key, "x", "PX", 1)
            wait_until(lambda: counted() == 7, timeout=10, what="these are counted")


def expired(server: RedisServer) -> int:
    told = str(server.call("INFO", "stats"))
    return int(told.partition("expired_keys:")[2].split()[0])
