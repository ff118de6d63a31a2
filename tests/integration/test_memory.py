"""Memory that is really used, freed and run out of: S4 of `docs/scenarios.md`."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import redis

from otel_redis_cache import invalidate
from tests.integration.watching import PERIOD, told, watched
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.recording import Recording

ENTRIES, SIZE = 500, 10_240
PAYLOAD = ENTRIES * SIZE


BUFFERS = 65_536
"""Memory of the connections that come and go, beside what is stored: one of them asks."""


def client_of(server: RedisServer) -> redis.Redis:
    return redis.Redis(host=server.host, port=server.port)


def fill(client: Any, entries: int = ENTRIES) -> int:
    """Pages of random bytes; how many of them were refused."""
    dice, refused = random.Random(1), 0
    for i in range(entries):
        try:
            client.set(f"page:{i}", dice.randbytes(SIZE))
        except redis.ResponseError:
            refused += 1
    return refused


def used(server: RedisServer) -> int:
    return int(server.info("memory")["used_memory"])


def steady(recording: Recording, server: RedisServer) -> int:
    """Memory as we tell of it, once that is what the server says."""

    def is_the_same() -> int | None:
        ours = told(recording, "redis.memory.used")
        return ours if ours and abs(ours - used(server)) <= BUFFERS else None

    return wait_until(is_the_same, timeout=10, what="redis.memory.used is what INFO says")


def test_memory_grows_with_what_is_written_and_shrinks_with_what_is_removed(
    new_server: RedisServer, recording: Recording
) -> None:
    """A4.1 to A4.3."""
    recording.instrument(metrics="all")
    with watched(recording, new_server), client_of(new_server) as client:
        client.ping()
        steady(recording, new_server)
        time.sleep(4 * PERIOD)  # connections have the buffers that they will have
        before = told(recording, "redis.memory.used")
        assert fill(client) == 0
        grown = steady(recording, new_server) - before
        (sizes,) = recording.metrics()["cache.item.size"].data.data_points
        assert invalidate(client, "page:*").removed == ENTRIES
        wait_until(
            lambda: told(recording, "redis.memory.used") - before < BUFFERS,
            timeout=10,
            what=f"memory is back to {before}",
        )

    assert 1.0 <= grown / PAYLOAD <= 1.35
    assert (sizes.count, sizes.sum) == (ENTRIES, PAYLOAD)
    assert dict(sizes.attributes)["cache.io.direction"] == "write"


def test_what_memory_grows_by_is_the_memory_of_the_cache(
    new_server: RedisServer, recording: Recording
) -> None:
    """A4.1: and `MEMORY USAGE` of each entry says the same."""
    with watched(recording, new_server, sample_memory=True), client_of(new_server) as client:
        before = steady(recording, new_server)
        assert fill(client) == 0
        grown = steady(recording, new_server) - before
        keys = [f"page:{i}" for i in range(ENTRIES)]
        usage = sum(int(str(new_server.call("MEMORY", "USAGE", key))) for key in keys)
        wait_until(
            lambda: recording.counts("cache.entries") == {"page": ENTRIES},
            timeout=10,
            what="all entries are found",
        )
        size = recording.counts("cache.estimated_size")
        error = recording.counts("cache.estimated_size.error")

    assert size == {"page": pytest.approx(usage, rel=0.001)}
    assert error == {"page": 0}
    assert grown == pytest.approx(usage, rel=0.03)


def test_what_is_evicted_and_what_is_there_is_what_was_written(
    new_server: RedisServer, recording: Recording
) -> None:
    """A4.4: an eviction is neither an invalidation nor an expiration."""
    new_server.call("CONFIG", "SET", "notify-keyspace-events", "Exe")
    recording.instrument()
    with watched(recording, new_server, listen_events=True), client_of(new_server) as client:
        client.ping()
        wait_until(
            lambda: new_server.call("PUBSUB", "CHANNELS"), timeout=10, what="somebody listens"
        )
        limit = used(new_server) + 2 * 1024 * 1024
        new_server.call("CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", "allkeys-lru")
        assert fill(client) == 0
        pages = new_server.call("EXISTS", *(f"page:{i}" for i in range(ENTRIES)))
        assert isinstance(pages, int)
        evicted = {("page", "evicted"): ENTRIES - pages}
        wait_until(
            lambda: recording.counts("cache.evictions") == evicted,
            timeout=10,
            what="each eviction is counted",
        )
        wait_until(
            lambda: told(recording, "redis.keys.evicted") >= ENTRIES - pages,
            timeout=10,
            what="the server's own count is told",
        )
        told_limit, told_used = told(recording, "redis.maxmemory"), steady(recording, new_server)
        stats = new_server.info("stats")

    assert pages > 100
    assert ENTRIES - pages > 100
    # What the watch itself keeps there may be evicted, too.
    assert 0 <= int(stats["evicted_keys"]) - (ENTRIES - pages) <= 20
    assert stats["expired_keys"] == "0"
    assert told_limit == limit
    assert 0.9 < told_used / told_limit <= 1.0
    assert recording.counts("cache.invalidations") == {}
    assert recording.counts("cache.invalidation.requests") == {}
    assert recording.counts("cache.writes") == {("page", "none", "stored"): ENTRIES}


def test_writes_that_a_full_server_refuses_are_failures_with_oom(
    new_server: RedisServer, recording: Recording
) -> None:
    """A4.5."""
    recording.instrument()
    limit = used(new_server)
    new_server.call("CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", "noeviction")
    with client_of(new_server) as client:
        refused = fill(client, 50)
    durations = [
        (attributes["error.type"], attributes["db.response.status_code"], count)
        for attributes, count in recording.points("db.client.operation.duration")
        if attributes["db.operation.name"] == "SET"
    ]

    assert refused == 50
    assert durations == [("OOM", "OOM", 50)]
    assert recording.counts("cache.writes") == {("page", "none", "error"): 50}
    assert new_server.info("errorstats")["errorstat_OOM"] == "count=50"
    assert new_server.call("DBSIZE") == 0
