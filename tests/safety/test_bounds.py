"""However many names, reasons, servers and series there are: bounded, and with exact totals."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from otel_redis_cache import conventions as names
from otel_redis_cache import invalidate, invalidation, snapshot
from tests.real.servers import RedisServer
from tests.recording import Recording

MANY = 10_000
FILLED = 1_600
"""Caches by rule, more than one instrument may have series."""


@pytest.fixture
def server(valkey_server: RedisServer) -> RedisServer:
    """One kind is enough: what is bounded is in this process."""
    valkey_server.flush()
    valkey_server.reset_stats()
    return valkey_server


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    with redis.Redis(host=server.host, port=server.port) as client:
        yield client


def word(number: int) -> str:
    """A name without digits, as a programmer may have chosen it."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return "c" + "".join(letters[number // 26**power % 26] for power in range(3))


def test_ten_thousand_prefixes_and_reasons_leave_few_names_and_little_memory(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    recording.instrument(traces=False)
    used: list[int] = []
    tracemalloc.start()
    try:
        for i in range(MANY):
            client.get(f"{word(i)}:1")
            with invalidation(reason=f"because of {i}"):
                client.delete(f"{word(i)}:1")
            if i + 1 in (MANY // 2, MANY):
                used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    requests = recording.counts("cache.requests")
    removals = recording.counts("cache.invalidation.requests")
    caches = {cache for cache, _ in requests} | {cache for cache, *_ in removals}
    reasons = {reason for _, reason, _ in removals}
    stats = server.commandstats()

    assert caches == {*map(word, range(20)), "_other"}
    assert reasons == {*(f"because of {i}" for i in range(10)), "_other"}
    assert sum(requests.values()) == stats["get"] == MANY
    assert sum(removals.values()) == stats["del"] == MANY
    assert recording.counts("otel_redis_cache.overflows") == {
        "names": 2 * (MANY - 20),
        "reasons": MANY - 10,
    }
    assert used[1] - used[0] < 256 * 1024


def test_an_application_that_runs_on_grows_by_nothing(client: Any, recording: Recording) -> None:
    recording.instrument(traces=False)
    used: list[int] = []
    tracemalloc.start()
    try:
        for i in range(3 * MANY):
            client.get(f"{word(i)}:{i}")
            if i + 1 in (MANY, 2 * MANY, 3 * MANY):
                used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()

    assert used[2] - used[1] < 32 * 1024


def fill_by_rules(client: Any) -> None:
    """Every instrument about caches has a series of each of them."""
    with ThreadPoolExecutor(1) as other_caller:
        for i in range(FILLED):
            key = f"cache-{i}:1"
            client.pipeline(transaction=False).get(key).get(key).execute()
            other_caller.submit(client.get, key).result()
            client.set(key, "x", ex=60)
            client.get(key)
            with invalidation(reason="refill"):
                client.delete(key)
            invalidate(client, key, reason="sweep")


def test_every_instrument_filled_to_its_bound_has_exact_totals(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    rules = {f"cache-{i}": f"cache-{i}:*" for i in range(FILLED)}
    recording.instrument(
        caches=rules, metrics="all", traces=False, duration_by_cache=True, snapshot=True
    )
    fill_by_rules(client)
    found = recording.metrics()
    points = {name: list(metric.data.data_points) for name, metric in found.items()}
    stats = server.commandstats()

    for name, series in points.items():
        assert len(series) < names.MAX_SERIES, name
        for point in series:
            assert "otel.metric.overflow" not in point.attributes
    totals = {
        name: sum(p.count if hasattr(p, "count") else p.value for p in series)
        for name, series in points.items()
        if name not in ("cache.hit_ratio", "redis.client.up", "otel_redis_cache.overflows")
        and not name.startswith("db.client.connection.")  # of one pool
    }
    assert totals == {
        # The SCAN and the pipeline of each invalidation are calls too; nothing matched, so no UNLINK.
        "db.client.operation.duration": 6 * FILLED,
        "cache.requests": 4 * FILLED,
        "cache.writes": FILLED,
        "cache.invalidations": FILLED,
        "cache.invalidation.requests": 2 * FILLED,
        "cache.invalidation.duration": FILLED,
        "cache.ttl": FILLED,
        "cache.load.duration": FILLED,
        "cache.stampedes": FILLED,
        "cache.item.size": 2 * FILLED,
    }
    assert (stats["get"], stats["set"], stats["del"]) == (4 * FILLED, FILLED, FILLED)
    assert sum(recording.counts("otel_redis_cache.overflows").values()) > 0
    assert snapshot()["totals"]["requests"] == 4 * FILLED
    assert snapshot()["totals"]["stampedes"] == FILLED
