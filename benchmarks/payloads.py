"""What applications send, made once by the real thing and then sent again and again as if by many.

Spans and points come from this package at work on a real server. In the bytes of their OTLP request stand marks, which
are replaced at each sending: traces get new ids, points the time of now and another process of the service.
"""

from __future__ import annotations

import itertools
import random
import time

import redis
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from otel_redis_cache import RedisCacheInstrumentor

TRACES, CALLS = 100, 4
"""In one request, and in one trace beside the span around them."""
PROCESSES = 100
"""Of which points are sent in turn."""

_TRACE = b"\xfamark\xfa"
_PROCESS = "marked-process-000000"
_CACHES = ("book", "author", "review", "session", "price")


class Spans:
    """A request of the trace service."""

    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    items = TRACES * (1 + CALLS)
    name = "spans"

    def __init__(self, template: bytes) -> None:
        """`template`: with marks."""
        assert template.count(_TRACE) == self.items
        self.template = template
        self.size = len(template)

    def fresh(self, number: int) -> bytes:
        """As no other before."""
        return self.template.replace(_TRACE, random.randbytes(2) + number.to_bytes(4, "big"))


class Points:
    """A request of the metrics service: all that one process exports at a time."""

    service = "opentelemetry.proto.collector.metrics.v1.MetricsService"
    name = "points"

    def __init__(self, template: bytes, when: int, items: int) -> None:
        """`when`: the time of its points; `items`: how many they are."""
        self._when = when.to_bytes(8, "little")
        assert template.count(self._when) >= items
        assert template.count(_PROCESS.encode()) == 1
        self.template, self.items = template, items
        self.size = len(template)

    def fresh(self, number: int) -> bytes:
        """Of now, and of one process after the other."""
        process = f"{number % PROCESSES:0{len(_PROCESS)}d}".encode()
        now = time.time_ns().to_bytes(8, "little")
        return self.template.replace(_PROCESS.encode(), process).replace(self._when, now)


class _Marked(RandomIdGenerator):
    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def generate_trace_id(self) -> int:
        # What is fresh stands in the right half: by that alone a sampler remembers what it has decided.
        right = _TRACE + next(self._numbers).to_bytes(2, "big")
        return int.from_bytes(random.randbytes(8) + right, "big")


def make(url: str) -> tuple[Spans, Points]:
    """Both, by a process at work on the server there."""
    resource = Resource.create({"service.name": "shop", "service.instance.id": _PROCESS})
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    traces = TracerProvider(resource=resource, id_generator=_Marked(), shutdown_on_exit=False)
    traces.add_span_processor(SimpleSpanProcessor(exporter))
    metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    instrumentor = RedisCacheInstrumentor()
    instrumentor.instrument(tracer_provider=traces, meter_provider=metrics)
    try:
        _work(url, traces)
        data = reader.get_metrics_data()
        assert data
    finally:
        instrumentor.uninstrument()
    points = [
        point
        for of in data.resource_metrics
        for scope in of.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]
    when = max(point.time_unix_nano for point in points)
    request = encode_metrics(data)
    for of in request.resource_metrics:
        for scope in of.scope_metrics:
            for metric in scope.metrics:
                for point in getattr(metric, metric.WhichOneof("data") or "").data_points:
                    point.time_unix_nano = when
                    del getattr(point, "exemplars", [])[:]
    spans = encode_spans(exporter.get_finished_spans()).SerializeToString()
    return Spans(spans), Points(request.SerializeToString(), when, len(points))


def _work(url: str, traces: TracerProvider) -> None:
    """As many visits as traces, each of as many calls; several kinds of them, in five caches."""
    tracer = traces.get_tracer("shop")
    with redis.Redis.from_url(url) as client:
        for number in range(TRACES):
            cache = _CACHES[number % len(_CACHES)]
            key, other = f"{cache}:{number}", f"{cache}:hash:{number}"
            with tracer.start_as_current_span("GET /books/{id}"):
                client.get(key)
                if number % 3 == 0:
                    client.set(key, "x" * 500, ex=600)
                    client.mget(key, f"{key}:none")
                    client.delete(key)
                elif number % 3 == 1:
                    client.hset(other, "title", "a book")
                    client.hget(other, "title")
                    client.expire(other, 600)
                else:
                    client.incr(f"{cache}:visits")
                    client.exists(key)
                    client.hgetall(other)
