"""What a test sees of the telemetry: real SDK providers that keep everything in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from otel_redis_cache import RedisCacheInstrumentor, conventions

SCOPE = "otel_redis_cache"
TARGET = {"db.system.name", "db.namespace", "server.address", "server.port"}


class Recording:
    """One pair of providers, and questions about what reached them."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer = self.tracer_provider.get_tracer("application")

    def instrument(self, **settings: Any) -> RedisCacheInstrumentor:
        instrumentor = RedisCacheInstrumentor()
        instrumentor.instrument(**self.providers, **settings)
        return instrumentor

    @property
    def providers(self) -> dict[str, Any]:
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    def spans(self) -> list[ReadableSpan]:
        """Our spans, in the order in which they ended."""
        return [
            span
            for span in self._exporter.get_finished_spans()
            if span.instrumentation_scope and span.instrumentation_scope.name == SCOPE
        ]

    def take(self) -> list[ReadableSpan]:
        """The spans of all scopes since this was asked last."""
        found = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return found

    def span(self) -> ReadableSpan:
        """The only span there is."""
        (span,) = self.spans()
        return span

    def operations(self) -> list[str]:
        return [span.name for span in self.spans()]

    def metrics_by_scope(self) -> dict[str, dict[str, Any]]:
        """The metrics of each scope by name, ours and those of others."""
        data = self._reader.get_metrics_data()
        return {
            scope.scope.name: {metric.name: metric for metric in scope.metrics}
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
        }

    def metrics(self) -> dict[str, Any]:
        return self.metrics_by_scope().get(SCOPE, {})

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Attributes and value of each point; of a histogram, its count."""
        metric = self.metrics().get(name)
        if metric is None:
            return []
        return [
            (dict(point.attributes), point.count if hasattr(point, "count") else point.value)
            for point in metric.data.data_points
        ]

    def counts(self, name: str) -> dict[Any, Any]:
        """Values by what tells the points apart beside the target: one text, or several."""
        found: dict[Any, Any] = {}
        for attributes, value in self.points(name):
            rest = tuple(v for k, v in attributes.items() if k not in TARGET)
            key = rest[0] if len(rest) == 1 else rest
            found[key] = found.get(key, 0) + value
        return found

    def lookups(self) -> dict[tuple[str, str], int]:
        return self.counts("cache.requests")

    def hold_against_the_contract(self) -> None:
        allowed = {*conventions.SPAN_ATTRIBUTES, "request", "response"}  # the last two by hooks
        for span in self.spans():
            assert attributes_of(span).keys() <= allowed
        rows = (*conventions.METRICS, *conventions.SERVER_METRICS)
        contract = {metric.name: metric for metric in rows}
        for name, metric in self.metrics().items():
            row = contract[name]
            assert (metric.unit, metric.description) == (row.unit, row.description)
            for point in metric.data.data_points:
                assert set(point.attributes) <= set(row.attributes)
            assert len(metric.data.data_points) <= conventions.MAX_SERIES

    def everything(self) -> str:
        """All that was exported, as text, to search it for what must not be there."""
        spans = "\n".join(span.to_json() for span in self._exporter.get_finished_spans())
        data = self._reader.get_metrics_data()
        return spans + (data.to_json() if data is not None else "")


@pytest.fixture
def recording() -> Iterator[Recording]:
    """Providers of a test's own; whatever it instrumented is put back.

    Whatever was exported is held against the contract: nothing is emitted that is not in it.
    """
    made = Recording()
    yield made
    RedisCacheInstrumentor().uninstrument()
    made.hold_against_the_contract()


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})
