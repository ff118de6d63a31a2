"""The least that a span and a duration cost: what this package says of a call, by the SDK alone."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, set_span_in_context

from benchmarks.cases import Operation
from benchmarks.telemetry import DURATIONS
from otel_redis_cache import RedisCacheInstrumentor
from otel_redis_cache.conventions import OPERATION_DURATION


class Said(NamedTuple):
    """What this package says of one call."""

    name: str
    attributes: dict[str, Any]
    series: dict[str, Any]
    """Attributes of the duration."""


def learn(operate: Callable[[], object]) -> Said:
    """Watch a call with this package, once; it leaves again."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
    RedisCacheInstrumentor().instrument(
        tracer_provider=tracer_provider,
        meter_provider=MeterProvider([reader], shutdown_on_exit=False),
    )
    try:
        operate()
    finally:
        RedisCacheInstrumentor().uninstrument()
    (span,) = spans.get_finished_spans()
    data = reader.get_metrics_data()
    assert data is not None
    (series,) = (
        dict(point.attributes or {})
        for of_resource in data.resource_metrics
        for scope in of_resource.scope_metrics
        for metric in scope.metrics
        if metric.name == DURATIONS
        for point in metric.data.data_points
    )
    return Said(span.name, dict(span.attributes or {}), series)


def wrap(operate: Operation, said: Said, *, spans: bool, is_async: bool) -> Operation:
    """The operation with a duration around it, and a span if asked for."""
    tracer = trace.get_tracer("floor") if spans else trace.NoOpTracer()
    histogram = metrics.get_meter("floor").create_histogram(
        DURATIONS, "s", explicit_bucket_boundaries_advisory=OPERATION_DURATION.buckets
    )

    def begin() -> Any:
        if spans:
            return tracer.start_span(said.name, kind=SpanKind.CLIENT, attributes=said.attributes)
        return None

    def finish(span: Any, started: float) -> None:
        elapsed = perf_counter() - started
        if span is None:
            histogram.record(elapsed, said.series)
        else:
            span.end()
            histogram.record(elapsed, said.series, set_span_in_context(span))

    def call() -> Any:
        span, started = begin(), perf_counter()
        reply = operate()
        finish(span, started)
        return reply

    async def call_async() -> Any:
        span, started = begin(), perf_counter()
        reply = await operate()
        finish(span, started)
        return reply

    return call_async if is_async else call
