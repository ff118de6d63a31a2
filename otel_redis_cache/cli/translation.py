"""OTLP as the models have it: points and spans."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import pairwise
from typing import TypeVar

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

from otel_redis_cache import conventions as names
from otel_redis_cache.cli.measurements import Distribution, Point
from otel_redis_cache.cli.protocol import MetricsRequest, SpansRequest
from otel_redis_cache.cli.traces import Span

SERVICE = "service.name"
LONGEST_VALUE = 1_000
"""Characters of an attribute; nobody reads more of it."""
LARGEST_POINT = 16_384
"""Bytes of a point with its attributes and exemplars."""
GRID = 8
"""Buckets that exponential histograms are given for each power of two: within 9 %."""
LOWEST_POWER, HIGHEST_POWER = -20, 12
"""From a microsecond to an hour."""
GRID_BOUNDS = tuple(
    2.0 ** (step / GRID) for step in range(LOWEST_POWER * GRID, HIGHEST_POWER * GRID + 1)
)

SHOWN = frozenset(
    metric.name
    for metric in (
        *(names.CACHE_REQUESTS, names.CACHE_WRITES, names.CACHE_INVALIDATIONS),
        *(names.OPERATION_DURATION, names.CACHE_LOAD_DURATION, names.CACHE_STAMPEDES),
        *(names.CACHE_TTLS, names.CACHE_ENTRIES, names.CACHE_ESTIMATED_SIZE),
        *(names.CONNECTION_COUNT, names.CONNECTION_MAX, names.CONNECTION_PENDING),
        *(names.CLIENT_UP, names.UPTIME, names.MEMORY_USED, names.MAX_MEMORY),
        *(names.KEYS_EVICTED, names.KEYS_EXPIRED, names.CLIENTS_CONNECTED),
    )
)
"""Metrics that somebody looks at; what else applications send is only counted."""


P = TypeVar(
    "P",
    metrics.NumberDataPoint,
    metrics.HistogramDataPoint,
    metrics.ExponentialHistogramDataPoint,
)


class Reading:
    """The points of one export, and how many of them make no sense."""

    def __init__(self, request: MetricsRequest, shown: Container[str] | None = None) -> None:
        """Nothing is read until somebody asks for points, of all metrics unless told otherwise."""
        self.senseless = 0
        self._request = request
        self._shown = shown

    def points(self) -> Iterator[Point]:
        """What each process says of itself; summaries are passed over."""
        for of_resource in self._request.resource_metrics:
            process = identify(of_resource.resource)
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    if self._shown is None or metric.name in self._shown:
                        yield from self._read(metric, process)

    def _read(self, metric: metrics.Metric, process: str) -> Iterator[Point]:
        make = partial(Point, metric=metric.name, process=process)
        match metric.WhichOneof("data"):
            case "sum":
                counted = _is_cumulative(metric.sum.aggregation_temporality)
                make = partial(make, cumulative=counted, is_level=not metric.sum.is_monotonic)
                yield from self._make(metric.sum.data_points, _number, make)
            case "gauge":
                make = partial(make, is_level=True)
                for point in self._make(metric.gauge.data_points, _number, make):
                    yield replace(point, start=0.0)  # it counts nothing that could have begun
            case "histogram":
                counted = _is_cumulative(metric.histogram.aggregation_temporality)
                make = partial(make, cumulative=counted)
                yield from self._make(metric.histogram.data_points, _histogram, make)
            case "exponential_histogram":
                counted = _is_cumulative(metric.exponential_histogram.aggregation_temporality)
                make = partial(make, cumulative=counted)
                yield from self._make(metric.exponential_histogram.data_points, _on_grid, make)
            case _:
                pass

    def _make(
        self,
        points: Iterable[P],
        value_of: Callable[[P], Distribution | None],
        make: Callable[..., Point],
    ) -> Iterator[Point]:
        for point in points:
            if point.flags & metrics.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
                continue
            value = value_of(point) if point.ByteSize() <= LARGEST_POINT else None
            if value is None:
                self.senseless += 1
                continue
            yield make(
                attributes=read_attributes(point.attributes),
                value=value,
                start=point.start_time_unix_nano / 1e9,
                time=point.time_unix_nano / 1e9,
            )


def _number(point: metrics.NumberDataPoint) -> Distribution | None:
    if point.WhichOneof("value") == "as_int":
        return Distribution(counts=(point.as_int,))
    return (
        Distribution(counts=(round(point.as_double),)) if math.isfinite(point.as_double) else None
    )


def _histogram(point: metrics.HistogramDataPoint) -> Distribution | None:
    bounds, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts)
    if not bounds and not counts:
        counts = (point.count,)
    if len(counts) != len(bounds) + 1 or not _is_rising(bounds):
        return None
    return Distribution(bounds, counts, point.max if point.HasField("max") else None)


@lru_cache(maxsize=64)
def _is_rising(bounds: tuple[float, ...]) -> bool:
    return all(lower < upper for lower, upper in pairwise(bounds)) and all(
        map(math.isfinite, bounds)
    )


def _on_grid(point: metrics.ExponentialHistogramDataPoint) -> Distribution | None:
    """An exponential histogram with the buckets that all of them are given here."""
    counts = [0] * (len(GRID_BOUNDS) + 1)
    counts[0] = point.zero_count + sum(point.negative.bucket_counts)
    finer = point.scale - (GRID.bit_length() - 1)
    if not -20 <= finer <= 20:
        return None
    lowest = LOWEST_POWER * GRID
    for index, count in enumerate(point.positive.bucket_counts, start=point.positive.offset):
        # A coarser bucket counts in its middle.
        step = index >> finer if finer >= 0 else ((2 * index + 1) << -finer) >> 1
        counts[min(max(step + 1 - lowest, 0), len(GRID_BOUNDS))] += count
    return Distribution(GRID_BOUNDS, tuple(counts), point.max if point.HasField("max") else None)


def read_spans(request: SpansRequest) -> Iterator[Span]:
    """Every span of an export."""
    for of_resource in request.resource_spans:
        service = service_of(of_resource.resource)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield read_span(span, service)


def read_span(span: trace.Span, service: str) -> Span:
    """A span of a service."""
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=read_attributes(span.attributes),
        failed=span.status.code == trace.Status.STATUS_CODE_ERROR,
        service=service,
    )


def identify(resource: Resource) -> str:
    """What tells one process from another: all that it says of itself, which may be long."""
    told = sorted(read_attributes(resource.attributes).items())
    return blake2b(repr(told).encode(), digest_size=16).hexdigest()


def service_of(resource: Resource) -> str:
    """What the process calls itself; empty where it does not."""
    for attribute in resource.attributes:
        if attribute.key == SERVICE:
            return attribute.value.string_value[:LONGEST_VALUE]
    return ""


def read_attributes(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Attributes as text, which is what tables and waterfalls show; lists are passed over."""
    found: dict[str, str] = {}
    for attribute in attributes:
        match attribute.value.WhichOneof("value"):
            case "string_value":
                found[attribute.key] = attribute.value.string_value[:LONGEST_VALUE]
            case "bool_value":
                found[attribute.key] = str(attribute.value.bool_value).lower()
            case "int_value":
                found[attribute.key] = str(attribute.value.int_value)
            case "double_value":
                found[attribute.key] = str(attribute.value.double_value)
            case _:
                pass
    return found


def _is_cumulative(temporality: metrics.AggregationTemporality.ValueType) -> bool:
    return temporality != metrics.AGGREGATION_TEMPORALITY_DELTA
