"""A process whose garbage is collected at every line of OpenTelemetry's SDK and of this package.

At each line, once, what an application has thrown away dies in a reference cycle: a transaction that
watches, a client, a subscriber, a consumer at work, and an object that calls Redis in its `__del__`. All series of a metric
are one, so that whatever is recorded there waits for what was interrupted. It says what was done, and
what telemetry has of it.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import redis
from opentelemetry.sdk import metrics as sdk_metrics
from opentelemetry.sdk.metrics import Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_redis_cache
from otel_redis_cache import RedisCacheInstrumentor, consumed, conventions, health, snapshot

DELTA = AggregationTemporality.DELTA
METRICS = str(Path(sdk_metrics.__file__).parent)
SDK = str(Path(METRICS).parent)
OURS = str(Path(otel_redis_cache.__file__).parent)
PEER = "network.peer.address"

HEAP = 250
"""Cycles that are made at a time: each has a connection."""

CALLS, USES = "db.client.operation.duration", "db.client.connection.use_time"
LOOKUPS, WRITES, REMOVED = "cache.requests", "cache.writes", "cache.invalidations"
CONSUMED = "process"
"""The name of a span; the others are those of metrics."""
WATCHED = (CALLS, USES, LOOKUPS, WRITES, REMOVED, CONSUMED)


class Telemetry:
    """Counters, and histograms by how often they took a measurement, each with all of its series."""

    def __init__(self, temporality: str) -> None:
        self._is_delta = temporality == "delta"
        preferred: dict[type, AggregationTemporality] = {Histogram: DELTA, ObservableCounter: DELTA}
        self._reader = InMemoryMetricReader(preferred if self._is_delta else {})
        self._spans = InMemorySpanExporter()
        self._seen: Counter[str] = Counter()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        # Ends of spans wake its thread, under a lock.
        tracers.add_span_processor(
            BatchSpanProcessor(InMemorySpanExporter(), max_export_batch_size=4)
        )
        meters = MeterProvider(
            [self._reader],
            shutdown_on_exit=False,
            views=[View(instrument_name="*", attribute_keys=set())],
        )
        groups = {metric.group for metric in conventions.METRICS if metric.group}
        RedisCacheInstrumentor().instrument(
            tracer_provider=tracers,
            meter_provider=meters,
            metrics=",".join(groups),
            snapshot=True,
        )
        self.tracer = tracers.get_tracer("application")
        self.histogram = meters.get_meter("application").create_histogram("work")

    def counts(self) -> Counter[str]:
        data = self._reader.get_metrics_data()
        scopes = [s for r in (data.resource_metrics if data else ()) for s in r.scope_metrics]
        for metric in (metric for scope in scopes for metric in scope.metrics):
            found: Any = metric.data
            if hasattr(found, "aggregation_temporality"):
                values = [getattr(p, "count", getattr(p, "value", 0)) for p in found.data_points]
                self._seen[metric.name] *= found.aggregation_temporality is DELTA
                self._seen[metric.name] += sum(values)
        names = Counter(span.name for span in self._spans.get_finished_spans())
        return Counter({**self._seen, CONSUMED: names[CONSUMED]})

    def peers(self) -> Counter[str]:
        """How many spans say so: who is called, and who answers."""
        found = [dict(span.attributes or {}) for span in self._spans.get_finished_spans()]
        ours = [attributes for attributes in found if "db.system.name" in attributes]
        return Counter(f"{of['server.address']} {of.get(PEER)}" for of in ours)


class Litter:
    """What dies; all of it calls another address than the living."""

    def __init__(self, path: str) -> None:
        self._options: Any = {"unix_socket_path": path, "protocol": 2}
        self._shared: Any = redis.Redis(**self._options, max_connections=4 * HEAP)
        self._made = 0
        self.deaths = 0
        self.done: Counter[str] = Counter()
        """What telemetry is to have of it."""

    def make(self) -> list[Any]:
        """A reference cycle that nothing else holds."""
        self._made += 1
        transaction = self._shared.pipeline()
        transaction.watch("late:1")
        copy_context().run(next, consumer := consume())
        cycle: list[Any] = [transaction, consumer, Held(self)]
        self.done.update({CALLS: 1, USES: 1, CONSUMED: 1})
        if self._made % 8 == 0:
            client = redis.Redis(**self._options)
            client.ping()
            subscriber = self._shared.pubsub()
            subscriber.subscribe("news:1")
            cycle += [client, subscriber]
            self.done.update({CALLS: 1, USES: 2})
        cycle.append(cycle)
        return cycle

    def call(self) -> None:
        """What an object does when it dies."""
        self._shared.get("late:1")
        self._shared.pipeline().set("late:1", "x", ex=60).get("late:2").execute()
        self.done.update({CALLS: 2, USES: 2, LOOKUPS: 2, WRITES: 1})
        self.deaths += 1


def consume() -> Iterator[None]:
    """A consumer that is thrown away at work."""
    with consumed({"type": "message", "channel": b"news", "data": b"x"}):
        yield


class Held:
    """An application's object that gives something back when it dies."""

    def __init__(self, litter: Litter) -> None:
        self._litter = litter

    def __del__(self) -> None:
        self._litter.call()


class Application:
    """The living: calls in spans of its own, beside a histogram of its own; and collections."""

    def __init__(self, host: str, port: int, telemetry: Telemetry) -> None:
        self._client: Any = redis.Redis(host=host, port=port)
        self._telemetry = telemetry

    def run(self) -> None:
        self._client.delete("user:1", "cart:1", "list:1")
        for _ in range(2):
            with self._telemetry.tracer.start_as_current_span("request"):
                self._call()
            snapshot()
            health()
            self._telemetry.counts()

    def _call(self) -> None:
        client = self._client
        client.get("user:1")
        client.set("user:1", "x", ex=600)
        client.mget("user:1", "cart:1")
        self._telemetry.histogram.record(1)
        client.hset("cart:1", mapping={"a": 1})
        client.hgetall("cart:1")
        client.pipeline().set("list:1", 1).get("list:1").execute()
        with client.pipeline() as transaction:
            transaction.watch("list:1")
            transaction.multi()
            transaction.get("list:1")
            transaction.execute()
        with suppress(redis.ResponseError):
            client.lpush("list:1", 1)
        client.delete("user:1", "cart:1")


class Collector:
    """Strikes at each line of some files, once."""

    def __init__(self, *places: str) -> None:
        self._places = places
        self._lines: dict[CodeType, set[int | None]] = {}
        self.heap: list[list[Any]] = []
        self.strikes = 0

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        left = self._lines.get(code)
        if left is None:
            is_wanted = code.co_filename.startswith(self._places)
            left = {line for *_, line in code.co_lines()} if is_wanted else set()
            self._lines[code] = left
        if event == "line" and self.heap and frame.f_lineno in left:
            left.remove(frame.f_lineno)
            self.heap.pop()
            self.strikes += 1
            gc.collect()
        return self.trace if left else None


def main(host: str, port: str, path: str, temporality: str) -> None:
    telemetry, litter = Telemetry(temporality), Litter(path)
    application = Application(host, int(port), telemetry)
    # With delta temporality it is the SDK's metrics that take other ways.
    places = (METRICS,) if temporality == "delta" else (SDK, OURS, threading.__file__)
    collector = Collector(*places)
    application.run()
    before = telemetry.counts()
    application.run()
    once = telemetry.counts() - before
    gc.disable()
    runs, strikes = 1, -1
    while strikes != collector.strikes:
        strikes = collector.strikes
        gc.freeze()  # what lives is not gone through at each strike
        collector.heap += [litter.make() for _ in range(HEAP - len(collector.heap))]
        sys.settrace(collector.trace)
        try:
            application.run()
        finally:
            sys.settrace(None)
        runs += 1
    gc.unfreeze()
    collector.heap.clear()
    gc.collect()
    expected = {name: before[name] + runs * once[name] + litter.done[name] for name in WATCHED}
    snapshot()  # a collection alone ends no spans
    seen = telemetry.counts()
    sys.stdout.write(
        json.dumps(
            {
                "strikes": strikes,
                "deaths": litter.deaths,
                "expected": expected,
                "seen": {name: seen[name] for name in WATCHED},
                "errors": seen["otel_redis_cache.errors"],
                "peers": telemetry.peers(),
            }
        )
    )


if __name__ == "__main__":
    faulthandler.dump_traceback_later(100, exit=True)
    main(*sys.argv[1:])
