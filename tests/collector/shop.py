"""A service that does with its caches, twice the same, all that dashboards and alerts tell about.

What a total counts before Prometheus has seen it is in no `increase()`: so the first day only makes the series, and
what the second one does is what panels have to show.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from redis.backoff import NoBackoff
from redis.cache import CacheConfig
from redis.retry import Retry

from otel_redis_cache import RedisCacheInstrumentor, invalidate, invalidation, watch_server
from otel_redis_cache.server import watch
from tests.real.clusters import Cluster
from tests.real.collector import RunningCollector
from tests.real.processes import wait_until
from tests.real.servers import RedisServer

NAME = "shop"
LOAD = 0.02
"""Seconds that it takes at least to load what the cache does not have."""

WaitingPool: Any = redis.BlockingConnectionPool
"""Its time-out may be a part of a second, whatever its types say."""

POOL = 3
"""Connections that the pool of the day's requests may have."""

MOVING = "page:{moving}"
"""A key of a slot that goes from one node of the cluster to the other."""

GROWN = 130_000_000
"""Bytes that the server holds at least when the second day is over."""

MAX_MEMORY = 400 * 1024 * 1024


class Shop:
    """The service; `server` is its cache, `unstable` a server that is killed, `cluster` one that redirects."""

    def __init__(self, server: RedisServer, unstable: RedisServer, cluster: Cluster):
        self._server, self._unstable, self._cluster = server, unstable, cluster
        self._days = 0
        self._pool = WaitingPool(
            max_connections=POOL, timeout=0.1, host=server.host, port=server.port
        )
        self._client = redis.Redis(connection_pool=self._pool)

    def close(self) -> None:
        self._client.close()
        self._pool.disconnect()

    def live_a_day(self) -> None:
        self._days += 1
        self._look_up()
        self._write()
        self._remove()
        self._load_twice_at_once()
        self._use_too_many_connections()
        self._lose_a_server()
        self._work()
        self._grow()

    def _look_up(self) -> None:
        """Ten misses that are loaded, thirty hits, and one lookup that fails."""
        for book in range(10):
            key = self._key(book)
            assert self._client.get(key) is None
            time.sleep(LOAD)
            self._client.set(key, "x" * 100, ex=60 * (book + 1))
            for _ in range(3):
                assert self._client.get(key)
        self._server.call("RPUSH", "book:list", "x")
        with pytest.raises(redis.ResponseError):
            self._client.get("book:list")

    def _write(self) -> None:
        """Two entries that never expire, one that is there already, one in place, and one that expires soon."""
        for book in (20, 21):
            self._client.set(self._key(book), "x")
        assert self._client.set(self._key(20), "x", nx=True) is None
        self._client.incr(f"book:{self._days}:sold")
        self._client.set(self._key(30), "x", px=50)

    def _remove(self) -> None:
        """Four by name, two that are not there, and the other six by pattern; then more reasons than there may be."""
        for book in range(4):
            assert self._client.delete(self._key(book)) == 1
        for book in (98, 99):
            assert self._client.delete(self._key(book)) == 0
        invalidate(self._client, f"{self._key('?')[:-1]}[4-9]", reason="deploy")
        for number in range(11):
            with invalidation(reason=f"reason-{number}"):
                self._client.delete("page:1")

    def _load_twice_at_once(self) -> None:
        """A stampede: another thread misses what is being loaded."""
        key = self._key(40)
        assert self._client.get(key) is None
        other = threading.Thread(target=self._client.get, args=(key,))
        other.start()
        other.join()
        self._client.set(key, "x", ex=60)

    def _use_too_many_connections(self) -> None:
        held = [self._pool.get_connection() for _ in range(POOL)]
        with pytest.raises(redis.ConnectionError):
            self._client.get("page:1")
        for connection in held:
            self._pool.release(connection)

    def _lose_a_server(self) -> None:
        with redis.Redis(port=self._unstable.port, retry=Retry(NoBackoff(), 1)) as client:
            client.get("page:1")
            self._unstable.kill()
            with pytest.raises(redis.ConnectionError):
                client.get("page:1")
            self._unstable.restart()
            client.get("page:1")

    def _work(self) -> None:
        """What only some services do: messages, streams, commands that wait, a cache in the process, a cluster."""
        client = self._client
        client.blpop(["queue"], timeout=0.05)
        with client.pubsub() as messages:
            messages.subscribe("news")
            client.publish("news", "x")
            wait_until(lambda: messages.get_message(timeout=0.1), timeout=5, what="the message")
            messages.get_message(timeout=1)
        client.xadd("orders", {"book": 1})
        if self._days == 1:
            client.xgroup_create("orders", "billing", id="0")
        client.xreadgroup("billing", "me", {"orders": ">"})
        with redis.Redis(
            port=self._server.port, protocol=3, cache_config=CacheConfig(max_size=10)
        ) as caching:
            caching.set("page:2", "x")
            for _ in range(4):
                caching.get("page:2")
        self._follow_a_slot()

    def _follow_a_slot(self) -> None:
        """A key moves from one node to the other while it is asked for: ASK."""
        source = self._cluster.owner(MOVING)
        (target,) = (node for node in self._cluster.primaries if node is not source)
        with redis.RedisCluster(host=source.host, port=source.port) as client:
            client.set(MOVING, "x")
            migration = self._cluster.begin_migration(MOVING, target)
            migration.move(MOVING)
            assert client.get(MOVING)
        migration.finish()

    def _grow(self) -> None:
        """To 100 MiB on the first day, from where on fragmentation is told, and by 20 MiB on the second."""
        values = 220 if self._days == 1 else 40
        self._server.call("DEBUG", "POPULATE", values, f"ballast:{self._days}", 500_000)

    def _key(self, book: object) -> str:
        return f"book:{self._days}:{book}"


class Telemetry:
    """The shop's SDK; nothing is exported but by `flush()`, so that all totals are of one moment."""

    def __init__(self, collector: RunningCollector):
        resource = Resource.create({"service.name": NAME, "service.instance.id": "1"})
        spans = OTLPSpanExporter(collector.grpc_endpoint, insecure=True)
        self.traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.traces.add_span_processor(SimpleSpanProcessor(spans))
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(collector.grpc_endpoint, insecure=True),
            export_interval_millis=3_600_000,
        )
        self.metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)

    def flush(self) -> None:
        assert self.metrics.force_flush()

    def shutdown(self) -> None:
        self.traces.shutdown()
        self.metrics.shutdown()


@contextmanager
def observed(server: RedisServer, telemetry: Telemetry) -> Iterator[None]:
    """With all groups and settings that make metrics; the server is watched, and asked often."""
    server.call("CONFIG", "SET", "notify-keyspace-events", "Exe")
    server.call("CONFIG", "SET", "maxmemory", MAX_MEMORY)
    instrumentor = RedisCacheInstrumentor()
    instrumentor.instrument(
        tracer_provider=telemetry.traces,
        meter_provider=telemetry.metrics,
        metrics="all",
        duration_by_cache=True,
        streams="orders=orders",
        response_hook=_fail,
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(watch, "PERIOD", 0.3)
            watching = watch_server(
                server.url,
                meter_provider=telemetry.metrics,
                sample_memory=True,
                listen_events=True,
                watch_commands=True,
            )
        with watching:
            wait_until(
                lambda: server.call("PUBSUB", "CHANNELS"), timeout=20, what="it is listened to"
            )
            yield
    finally:
        instrumentor.uninstrument()


def _fail(span: Any, instance: Any, response: Any) -> None:
    """A hook that is wrong: a fault that is contained, and counted."""
    raise ValueError


@contextmanager
def waiting_request(server: RedisServer) -> Iterator[None]:
    """A request that waits for a connection of its pool as long as this lasts."""
    pool = WaitingPool(max_connections=1, timeout=60, host=server.host, port=server.port, db=1)
    held = pool.get_connection()
    request = threading.Thread(target=redis.Redis(connection_pool=pool).get, args=("page:1",))
    request.start()
    try:
        yield
    finally:
        pool.release(held)
        request.join()
        pool.disconnect()
