"""The SDK as an application has it, in front of exporters that discard, or that send to an OTLP sink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON, ParentBased

DURATIONS = "db.client.operation.duration"
LOOKUPS = "cache.requests"
HOUR = 3_600_000
"""Milliseconds: no export of metrics by itself during a round."""


class Spans(SpanExporter):
    """Counts spans that were taken."""

    def __init__(self, onward: SpanExporter | None) -> None:
        """Discard, or send onward."""
        self.exported = 0
        self._onward = onward

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._onward.export(spans) if self._onward else SpanExportResult.SUCCESS
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
        return result

    def shutdown(self) -> None:
        if self._onward:
            self._onward.shutdown()


class Points(MetricExporter):
    """Keeps what the last export that was taken said."""

    def __init__(self, onward: MetricExporter | None) -> None:
        """Discard, or send onward."""
        super().__init__()
        self.values: dict[str, float] = {}
        """The sum over all points, of a histogram of their counts."""
        self.series = 0
        self._onward = onward

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        onward = self._onward
        result = MetricExportResult.SUCCESS
        if onward:
            result = onward.export(metrics_data, timeout_millis, **kwargs)
        if result is MetricExportResult.SUCCESS:
            self._read(metrics_data)
        return result

    def _read(self, data: MetricsData) -> None:
        self.values, self.series = {}, 0
        scopes = [scope for of in data.resource_metrics for scope in of.scope_metrics]
        for metric in [metric for scope in scopes for metric in scope.metrics]:
            points: list[Any] = list(metric.data.data_points)
            counts = (p.count if hasattr(p, "count") else p.value for p in points)
            self.values[metric.name] = self.values.get(metric.name, 0) + sum(counts)
            self.series += len(points)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._onward.force_flush(timeout_millis) if self._onward else True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        if self._onward:
            self._onward.shutdown(timeout_millis, **kwargs)


class Telemetry:
    """The global providers of this process: a batch processor and a periodic reader, as they come."""

    def __init__(self, *, sampled: bool, endpoint: str | None) -> None:
        """Send to the endpoint, by OTLP over gRPC, or discard."""
        spans, points = _otlp(endpoint) if endpoint else (None, None)
        self.spans, self.points = Spans(spans), Points(points)
        sampler = DEFAULT_ON if sampled else ParentBased(ALWAYS_OFF)
        self._tracer_provider = TracerProvider(sampler=sampler)
        self._tracer_provider.add_span_processor(BatchSpanProcessor(self.spans))
        reader = PeriodicExportingMetricReader(self.points, export_interval_millis=HOUR)
        self._meter_provider = MeterProvider([reader])
        trace.set_tracer_provider(self._tracer_provider)
        metrics.set_meter_provider(self._meter_provider)

    def flush_spans(self) -> None:
        self._tracer_provider.force_flush()

    def export_metrics(self) -> None:
        self._meter_provider.force_flush()


def _otlp(endpoint: str) -> tuple[SpanExporter, MetricExporter]:
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint), OTLPMetricExporter(endpoint)
