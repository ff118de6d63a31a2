"""What a Collector wrote, as records that are pleasant to compare: spans and metric points from OTLP JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from otel_redis_cache.conventions import SCOPE
from tests.conformance.audit import Audit
from tests.conformance.audit import Metric as AuditedMetric
from tests.conformance.audit import Span as AuditedSpan

AttributeValue: TypeAlias = (
    "str | bool | int | float | bytes | list[AttributeValue] | dict[str, AttributeValue] | None"
)
Attributes = dict[str, AttributeValue]

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUSES = ("UNSET", "OK", "ERROR")
_TEMPORALITIES = ("unspecified", "delta", "cumulative")
_METRIC_TYPES = {
    "sum": "sum",
    "gauge": "gauge",
    "histogram": "histogram",
    "exponentialHistogram": "exponential",
}


@dataclass(frozen=True)
class Span:
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_span_id: str  # empty: a root
    start: int  # nanoseconds since the epoch
    end: int
    attributes: Attributes
    status: str  # UNSET, OK, ERROR
    status_message: str
    events: list[str]
    resource: Attributes
    scope: str


@dataclass(frozen=True)
class Exemplar:
    value: float
    trace_id: str
    span_id: str


@dataclass(frozen=True)
class Point:
    """One data point. `value` belongs to sums and gauges; `count`, `sum`, `bounds`, `buckets` to histograms."""

    metric: str
    unit: str
    description: str
    type: str  # sum, gauge, histogram, exponential
    temporality: Literal["", "unspecified", "delta", "cumulative"]
    monotonic: bool
    attributes: Attributes
    start: int
    time: int
    value: float
    is_whole: bool
    count: int
    sum: float
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    exemplars: tuple[Exemplar, ...]
    resource: Attributes
    scope: str

    @property
    def instrument(self) -> str:
        """What it was made with."""
        if self.type == "sum":
            return "counter" if self.monotonic else "updowncounter"
        return self.type

    @property
    def number(self) -> float:
        """The value as what it was sent."""
        return int(self.value) if self.is_whole else self.value

    @property
    def series(self) -> tuple[str, str, str]:
        """What makes two points successive states of one thing."""
        return (
            self.metric,
            json.dumps(self.attributes, sort_keys=True),
            json.dumps(self.resource, sort_keys=True),
        )


class TelemetryFiles:
    """The file exporters' output, parsed as it grows; a line that is only half written waits."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.spans: list[Span] = []
        self.points: list[Point] = []
        self._read_up_to = {"traces.jsonl": 0, "metrics.jsonl": 0}

    def read(self) -> None:
        for document in self._new_documents():
            self.spans += spans_of(document)
            self.points += _points(document)

    def findings(self) -> list[str]:
        """What is ours of it, and is not as `docs/registry` says."""
        audit = Audit()
        audit.opt_in_to_all()
        for span in self.spans:
            if span.scope == SCOPE:
                audit.look_at_span(
                    AuditedSpan(
                        span.name,
                        span.kind.lower(),
                        span.status == "ERROR",
                        _hashable(span.attributes),
                        _hashable(span.attributes),
                    )
                )
        for point in self.points:
            if point.scope == SCOPE:
                audit.look_at_metric(
                    AuditedMetric(
                        point.metric,
                        point.instrument,
                        point.unit,
                        point.description,
                        # The protocol's sums of histograms are always fractions.
                        [
                            (
                                _hashable(point.attributes),
                                None if point.type == "histogram" else point.number,
                            )
                        ],
                    )
                )
        return list(audit.findings)

    def _new_documents(self) -> Iterator[dict[str, Any]]:
        for name, start in self._read_up_to.items():
            path = self.directory / name
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(start)
                whole = file.read()
            whole = whole[: whole.rfind(b"\n") + 1]
            self._read_up_to[name] = start + len(whole)
            yield from map(json.loads, whole.splitlines())


def spans_of(document: dict[str, Any]) -> Iterator[Span]:
    """Those of one OTLP JSON document."""
    for resource, scope, span in _leaves(document, "resourceSpans", "scopeSpans", "spans"):
        status = span.get("status", {})
        yield Span(
            name=span["name"],
            kind=_KINDS[span.get("kind", 0)],
            trace_id=span["traceId"],
            span_id=span["spanId"],
            parent_span_id=span.get("parentSpanId", ""),
            start=int(span["startTimeUnixNano"]),
            end=int(span["endTimeUnixNano"]),
            attributes=_attributes(span.get("attributes")),
            status=_STATUSES[status.get("code", 0)],
            status_message=status.get("message", ""),
            events=[event["name"] for event in span.get("events", [])],
            resource=resource,
            scope=scope,
        )


def _points(document: dict[str, Any]) -> Iterator[Point]:
    for resource, scope, metric in _leaves(document, "resourceMetrics", "scopeMetrics", "metrics"):
        field = next(field for field in _METRIC_TYPES if field in metric)
        data = metric[field]
        for point in data.get("dataPoints", []):
            yield Point(
                metric=metric["name"],
                unit=metric.get("unit", ""),
                description=metric.get("description", ""),
                type=_METRIC_TYPES[field],
                temporality=_TEMPORALITIES[data["aggregationTemporality"]]
                if field != "gauge"
                else "",
                monotonic=data.get("isMonotonic", False),
                attributes=_attributes(point.get("attributes")),
                start=int(point.get("startTimeUnixNano", 0)),
                time=int(point.get("timeUnixNano", 0)),
                value=_number(point),
                is_whole="asInt" in point,
                count=int(point.get("count", 0)),
                sum=float(point.get("sum", 0)),
                bounds=tuple(float(bound) for bound in point.get("explicitBounds", ())),
                buckets=tuple(int(count) for count in point.get("bucketCounts", ())),
                exemplars=tuple(
                    Exemplar(_number(one), one.get("traceId", ""), one.get("spanId", ""))
                    for one in point.get("exemplars", ())
                ),
                resource=resource,
                scope=scope,
            )


def _leaves(
    document: dict[str, Any], resources: str, scopes: str, leaves: str
) -> Iterator[tuple[Attributes, str, dict[str, Any]]]:
    for by_resource in document.get(resources, []):
        resource = _attributes(by_resource.get("resource", {}).get("attributes"))
        for by_scope in by_resource.get(scopes, []):
            scope = by_scope.get("scope", {}).get("name", "")
            for leaf in by_scope.get(leaves, []):
                yield resource, scope, leaf


def _attributes(pairs: list[dict[str, Any]] | None) -> Attributes:
    return {pair["key"]: _value(pair.get("value", {})) for pair in pairs or []}


def _value(value: dict[str, Any]) -> AttributeValue:
    """OTLP JSON writes 64-bit integers as strings, 60.0 as 60, and every value as a one-field object."""
    for field, content in value.items():
        if field == "intValue":
            return int(content)
        if field == "doubleValue":
            return float(content)
        if field == "arrayValue":
            return [_value(one) for one in content.get("values", [])]
        if field == "kvlistValue":
            return _attributes(content.get("values"))
        return content  # stringValue, boolValue, bytesValue
    return None


def _hashable(attributes: Attributes) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in attributes.items()
    }


def _number(point: dict[str, Any]) -> float:
    return float(point["asInt"]) if "asInt" in point else float(point.get("asDouble", 0))
