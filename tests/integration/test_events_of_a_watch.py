"""Events that waited while this process stood still: another one may have counted them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from otel_redis_cache.server import duties, readings
from otel_redis_cache.server.duties import Events, Site
from otel_redis_cache.server.nodes import Connections, Nodes
from otel_redis_cache.server.sources import sources_of
from tests.real.servers import RedisServer
from tests.recording import Recording

PERIOD = 0.1


async def until(so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_what_expired_while_the_lease_was_over_is_not_counted(
    new_server: RedisServer, recording: Recording, monkeypatch: Any
) -> None:
    monkeypatch.setattr(duties, "SECONDS", 0.2)
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
        return new_server.call("PUBSUB", "NUMSUB", "__keyevent@0__:expired")

    await events.attend(PERIOD)
    await until(lambda: subscribers() == ["__keyevent@0__:expired", 1])
    await expire(5)
    await until(lambda: counted() == 5)
    await asyncio.sleep(3 * PERIOD + 0.3)  # nobody renews the lease
    await expire(7)
    await asyncio.sleep(0.3)
    assert counted() == 5

    await events.attend(PERIOD)
    await until(lambda: subscribers() == ["__keyevent@0__:expired", 1])
    await events.attend(100)
    await expire(2)
    await until(lambda: counted() == 7)
    await events.stop()
    await connections.keep()
    assert [fault for fault in faults if fault] == []


def expired(server: RedisServer) -> int:
    told = str(server.call("INFO", "stats"))
    return int(told.partition("expired_keys:")[2].split()[0])
