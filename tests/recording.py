"""What a test sees of the telemetry: real SDK providers that keep everything in memory.

All of it is held against the registry when the test is over, whoever made the recording.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import StatusCode

from otel_redis_cache import RedisCacheInstrumentor
from tests.conformance import audit
from tests.conformance.audit import Audit

SCOPE = "otel_redis_cache"
TARGET = {"db.system.name", "db.namespace", "server.address", "server.port"}


class Recording:
    """One pair of providers, and questions about what reached them."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._audit = Audit()
        self._exporter = InMemorySpanExporter()
        self._starts = Starts(self._exporter)
        self.tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(self._starts)
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer = self.tracer_provider.get_tracer("application")
        made.append(self)

    def instrument(self, **settings: Any) -> RedisCacheInstrumentor:
        self.opt_in(**settings)
        instrumentor = RedisCacheInstrumentor()
        instrumentor.instrument(**self.providers, **settings)
        return instrumentor

    def opt_in(self, **settings: Any) -> None:
        """Say what was asked for by other means than `instrument`."""
        self._audit.opt_in(settings)

    def excuse(self, *faults: str) -> None:
        """Say what is not as the registry says because the test wants it so."""
        self._audit.excused.update(faults)

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
        self._look_at_spans()
        found = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        self._starts.forget(found)
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
        scopes = [
            scope
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
        ]
        for scope in scopes:
            if scope.scope.name == SCOPE:
                self._audit.look_at_scope(SCOPE, scope.scope.schema_url)
                for metric in scope.metrics:
                    self._audit.look_at_metric(_audited_metric(metric))
        return {scope.scope.name: {m.name: m for m in scope.metrics} for scope in scopes}

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

    def findings(self) -> list[str]:
        """What was exported up to now, and is not as the registry says."""
        self._look_at_spans()
        self.metrics()
        return list(self._audit.findings)

    def _look_at_spans(self) -> None:
        for span in self.spans():
            scope = span.instrumentation_scope
            self._audit.look_at_scope(SCOPE, scope and scope.schema_url)
            self._audit.look_at_span(
                audit.Span(
                    span.name,
                    span.kind.name.lower(),
                    span.status.status_code is StatusCode.ERROR,
                    attributes_of(span),
                    self._starts.attributes_of(span),
                    tuple(_others_of(span)),
                )
            )

    def everything(self) -> str:
        """All that was exported, as text, to search it for what must not be there."""
        spans = "\n".join(span.to_json() for span in self._exporter.get_finished_spans())
        data = self._reader.get_metrics_data()
        return spans + (data.to_json() if data is not None else "")


class Starts(SimpleSpanProcessor):
    """Exports spans, and keeps what a sampler saw of each: its attributes at the start."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        super().__init__(exporter)
        self._attributes: dict[tuple[int, int], dict[str, Any]] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._attributes[_ids_of(span)] = dict(span.attributes or {})

    def attributes_of(self, span: ReadableSpan) -> dict[str, Any]:
        return self._attributes.get(_ids_of(span), {})

    def forget(self, spans: Iterable[ReadableSpan]) -> None:
        for span in spans:
            self._attributes.pop(_ids_of(span), None)


def _others_of(span: ReadableSpan) -> Iterator[str]:
    yield from (f"the event {event.name!r}" for event in span.events)
    if span.status.description:
        yield f"the description {span.status.description!r}"
    yield from (f"a link with {dict(link.attributes)}" for link in span.links if link.attributes)


def _audited_metric(metric: Any) -> audit.Metric:
    instrument = type(metric.data).__name__.lower()
    if instrument == "sum":
        instrument = "counter" if metric.data.is_monotonic else "updowncounter"
    points = [
        (dict(point.attributes or {}), point.sum if instrument == "histogram" else point.value)
        for point in metric.data.data_points
    ]
    return audit.Metric(metric.name, instrument, metric.unit, metric.description, points)


def _ids_of(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


made: list[Recording] = []
"""By the test that runs, or by the program that a test runs."""


@pytest.fixture(autouse=True)
def conformance() -> Iterator[None]:
    """Fails a test whose telemetry is not as the registry says."""
    made.clear()
    yield
    findings = _findings_of_all()
    assert not findings, findings


@atexit.register
def end_badly_where_telemetry_differs() -> None:
    """A program that a test runs fails the test by its return code."""
    if findings := _findings_of_all():
        sys.stdout.flush()
        sys.stderr.write(f"{findings}\n")
        sys.stderr.flush()
        os._exit(70)


def _findings_of_all() -> str:
    found = [finding for recording in made for finding in recording.findings()]
    made.clear()
    return "\n".join(["not as docs/registry says:", *found]) if found else ""


@pytest.fixture
def recording() -> Iterator[Recording]:
    """Providers of a test's own; whatever it instrumented is put back."""
    yield Recording()
    RedisCacheInstrumentor().uninstrument()


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})
