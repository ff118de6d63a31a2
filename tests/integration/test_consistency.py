"""Counts agree with what was asked and with the server, at every collection, while it goes on."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.sdk.metrics import Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_redis_cache import RedisCacheInstrumentor
from tests.real.servers import RedisServer

DELTA = {
    ObservableCounter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}
THREADS = 8
TASKS = 200
CACHES = ("user", "cart", "page", "item", "rate")


class Asked:
    """What workers have asked for: before each call, and once it has ended."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self._lock = threading.Lock()

    def begin(self, keys: int) -> None:
        with self._lock:
            self.begun += keys

    def end(self, keys: int) -> None:
        with self._lock:
            self.ended += keys


class Collections:
    """A cumulative and a delta reader of one provider, and the sums that they have seen."""

    def __init__(self) -> None:
        self._cumulative = InMemoryMetricReader()
        self._delta = InMemoryMetricReader(preferred_temporality=DELTA)
        readers = [self._cumulative, self._delta]
        self.provider = MeterProvider(readers, shutdown_on_exit=False)
        self.by_delta: Counter[tuple[str, str]] = Counter()

    def lookups(self) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
        """(cache, kind) -> lookups so far, as either reader tells it."""
        self.by_delta += _requests(self._delta)
        return _requests(self._cumulative), self.by_delta

    def durations(self) -> int:
        data: Any = self._cumulative.get_metrics_data()
        return sum(
            point.count
            for metric in data.resource_metrics[0].scope_metrics[0].metrics
            if metric.name == "db.client.operation.duration"
            for point in metric.data.data_points
        )


def _requests(reader: InMemoryMetricReader) -> Counter[tuple[str, str]]:
    data: Any = reader.get_metrics_data()
    found: Counter[tuple[str, str]] = Counter()
    for resource in data.resource_metrics if data is not None else ():
        for metric in resource.scope_metrics[0].metrics:
            if metric.name == "cache.requests":
                for point in metric.data.data_points:
                    cache, kind = (point.attributes[f"cache.{n}"] for n in ("name", "request.type"))
                    found[cache, kind] += point.value
    return found


def plan(seed: int, calls: int) -> list[tuple[str, list[str]]]:
    """What one worker asks for; of the keys 0 to 9 half are there, and 9 is no string."""
    dice = random.Random(seed)

    def key() -> str:
        return f"{dice.choice(CACHES)}:{dice.randrange(10)}"

    return [
        ("get", [key()]) if dice.random() < 0.7 else ("mget", [key() for _ in range(5)])
        for _ in range(calls)
    ]


def fill(server: RedisServer) -> None:
    for cache in CACHES:
        for i in range(0, 9, 2):
            server.call("SET", f"{cache}:{i}", "x")
        server.call("LPUSH", f"{cache}:9", "x")
    server.reset_stats()


def run_threads(server: RedisServer, asked: Asked) -> int:
    with redis.Redis(host=server.host, port=server.port) as client:

        def work(seed: int) -> None:
            for command, keys in plan(seed, 400):
                asked.begin(len(keys))
                with suppress(redis.ResponseError):
                    getattr(client, command)(*keys)
                asked.end(len(keys))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return THREADS * 400


def run_tasks(server: RedisServer, asked: Asked) -> int:
    async def run() -> None:
        async with redis.asyncio.Redis(
            host=server.host, port=server.port, max_connections=50
        ) as client:
            gate = asyncio.Semaphore(50)

            async def work(seed: int) -> None:
                for command, keys in plan(seed, 15):
                    async with gate:
                        asked.begin(len(keys))
                        with suppress(redis.ResponseError):
                            await getattr(client, command)(*keys)
                        asked.end(len(keys))

            await asyncio.gather(*(work(seed) for seed in range(TASKS)))

    asyncio.run(run())
    return TASKS * 15


@pytest.mark.parametrize("run", [run_threads, run_tasks], ids=["8 threads", "200 tasks"])
def test_what_was_asked_for_is_counted_at_every_collection(
    server: RedisServer, run: Callable[[RedisServer, Asked], int]
) -> None:
    """A6.3 and A6.4: never more than was begun, never less than has ended, in either temporality."""
    fill(server)
    asked, collections, done = Asked(), Collections(), threading.Event()
    tracers = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    looks: list[tuple[int, int, int, int]] = []

    def look() -> None:
        while not done.is_set():
            ended = asked.ended
            cumulative, delta = collections.lookups()
            looks.append((ended, cumulative.total(), delta.total(), asked.begun))
            time.sleep(0.005)

    looker = threading.Thread(target=look)
    instrumentor = RedisCacheInstrumentor()
    instrumentor.instrument(tracer_provider=tracers, meter_provider=collections.provider)
    try:
        looker.start()
        calls = run(server, asked)
    finally:
        done.set()
        looker.join()
        instrumentor.uninstrument()
    cumulative, delta = collections.lookups()
    by_kind: Counter[str] = Counter()
    for (_, kind), count in cumulative.items():
        by_kind[kind] += count
    stats = server.info("stats")

    assert len(looks) > 10
    for ended, by_cumulative, by_delta, begun in looks:
        assert ended <= by_cumulative <= begun
        assert ended <= by_delta <= begun
    assert cumulative == delta
    assert cumulative.total() == asked.ended == asked.begun
    assert {cache for cache, _ in cumulative} == set(CACHES)
    # The server has looked a key of another type up before it refuses it; MGET makes nil of it.
    wrong_types = wrong_type_replies(server)
    assert by_kind["error"] == wrong_types > 0
    assert by_kind["hit"] + by_kind["miss"] + wrong_types == asked.ended
    assert by_kind["miss"] >= int(stats["keyspace_misses"])
    assert int(stats["keyspace_hits"]) + int(stats["keyspace_misses"]) == asked.ended
    assert collections.durations() == calls
    collections.provider.shutdown()


def wrong_type_replies(server: RedisServer) -> int:
    return int(server.info("errorstats").get("errorstat_WRONGTYPE", "count=0").partition("=")[2])


def test_collecting_again_without_a_call_adds_nothing(server: RedisServer) -> None:
    """A6.4."""
    fill(server)
    collections = Collections()
    instrumentor = RedisCacheInstrumentor()
    instrumentor.instrument(meter_provider=collections.provider, traces=False)
    try:
        with redis.Redis(host=server.host, port=server.port) as client:
            client.mget("user:0", "user:1", "cart:0")
        first, second = collections.lookups(), collections.lookups()
    finally:
        instrumentor.uninstrument()
        collections.provider.shutdown()

    assert (
        first[0]
        == second[0]
        == second[1]
        == {
            ("user", "hit"): 1,
            ("user", "miss"): 1,
            ("cart", "hit"): 1,
        }
    )
