"""Stories of measurements, told to a provider of the SDK through either way."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from opentelemetry import context, trace
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Histogram,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    LastValueAggregation,
    SumAggregation,
    View,
)

from otel_redis_cache.histograms import FastHistogram, PublicSeries, Series

SCOPE = "otel_redis_cache"
NAME = "db.client.operation.duration"
ATTRIBUTES: list[dict[str, str | int | float | bool]] = [
    {},
    {"db.operation.name": "GET", "server.address": "localhost", "server.port": 6379},
    {"db.operation.name": "GET", "server.address": "localhost", "server.port": "6379"},
    {"db.operation.name": "SET", "server.address": "localhost", "server.port": 6379},
    {"db.operation.name": "GET", "server.address": "other", "error.type": "OOM"},
    {"db.operation.name": "GET", "server.port": 1},
    {"db.operation.name": "GET", "server.port": True},
    {"db.operation.name": "GET", "server.port": 1.0},
]

VIEWS: dict[str, Callable[[], View]] = {
    "another": lambda: View(instrument_name="somebody.else", aggregation=DropAggregation()),
    "one attribute": lambda: View(instrument_name=NAME, attribute_keys={"db.operation.name"}),
    "no attribute": lambda: View(instrument_name=NAME, name="bare", attribute_keys=set()),
    "buckets": lambda: View(
        instrument_name="db.*",
        aggregation=ExplicitBucketHistogramAggregation([0.1, 10], record_min_max=False),
    ),
    "exponential": lambda: View(
        instrument_type=Histogram,
        meter_name=SCOPE,
        name="exponential",
        aggregation=ExponentialBucketHistogramAggregation(max_size=4),
    ),
    "few attributes": lambda: View(
        instrument_name=NAME,
        name="few",
        attribute_keys={"server.port", "error.type"},
        aggregation=ExponentialBucketHistogramAggregation(),
    ),
    "dropped": lambda: View(instrument_name=NAME, aggregation=DropAggregation()),
    "sum": lambda: View(instrument_name=NAME, name="sum", aggregation=SumAggregation()),
    "last": lambda: View(instrument_name=NAME, name="last", aggregation=LastValueAggregation()),
}

FILTERS: dict[str, Callable[[], Any]] = {
    "always": AlwaysOnExemplarFilter,
    "never": AlwaysOffExemplarFilter,
    "traced": TraceBasedExemplarFilter,
}


class Reader(NamedTuple):
    is_delta: bool = False
    is_exponential: bool = False

    def make(self) -> InMemoryMetricReader:
        temporality = AggregationTemporality.CUMULATIVE
        if self.is_delta:
            temporality = AggregationTemporality.DELTA
        aggregation = ExponentialBucketHistogramAggregation() if self.is_exponential else None
        return InMemoryMetricReader(
            {Histogram: temporality}, {Histogram: aggregation} if aggregation else {}
        )


class Shape(NamedTuple):
    """What somebody may set up."""

    readers: list[Reader]
    views: list[str]
    filter: str = "traced"


class Record(NamedTuple):
    series: int
    value: float
    span: int = 0
    """The trace id; 0 for none, negative for one that is not sampled."""


class Collect(NamedTuple):
    reader: int


class Add(NamedTuple):
    reader: Reader


class Remove(NamedTuple):
    reader: int


class Switch(NamedTuple):
    is_on: bool


Step = Record | Collect | Add | Remove | Switch


class Stage:
    """A provider of this shape, to which a story is told in one of the two ways."""

    def __init__(self, shape: Shape, *, is_fast: bool) -> None:
        self.shapes = list(shape.readers)
        self.readers = [reader.make() for reader in shape.readers]
        self.provider: Any = MeterProvider(
            self.readers,
            views=[VIEWS[name]() for name in shape.views],
            exemplar_filter=FILTERS[shape.filter](),
            shutdown_on_exit=False,
        )
        self.histogram: Any = self.provider.get_meter(SCOPE, "1").create_histogram(
            NAME, "s", "How long", explicit_bucket_boundaries_advisory=[0.5, 1.0, 5.0]
        )
        fast = FastHistogram(self.histogram)
        self.series: list[Series] = [
            fast.bind(attributes) if is_fast else PublicSeries(self.histogram, attributes)
            for attributes in ATTRIBUTES
        ]
        self.points: list[object] = []
        self.fast_measurements = 0

    @property
    def has_delta(self) -> bool:
        return any(reader.is_delta for reader in self.shapes)

    def tell(self, story: list[Step]) -> list[object]:
        """What the readers have seen, and see at the end."""
        for number, step in enumerate(story):
            random.seed(number)  # reservoirs draw lots
            self.take(step)
        for reader in range(len(self.readers)):
            self.take(Collect(reader))
        return self.points

    def take(self, step: Step) -> None:
        match step:
            case Record(series, value, span):
                self.fast_measurements += getattr(self.series[series], "is_resolved", False)
                try:
                    record_in_span(self.series[series], value, span)
                except ValueError as error:  # NaN in an exponential histogram, before 1.43
                    self.points.append(repr(error))
            case Collect(reader) if reader < len(self.readers):
                self.points.append(points_of(self.readers[reader]))
            case Add(reader) if hasattr(self.provider, "add_metric_reader"):
                self.shapes.append(reader)
                self.readers.append(reader.make())
                self.provider.add_metric_reader(self.readers[-1])
            case Remove(reader) if reader < len(self.readers) and hasattr(
                self.provider, "remove_metric_reader"
            ):
                del self.shapes[reader]
                self.provider.remove_metric_reader(self.readers.pop(reader))
            case Switch(is_on):
                switch(self.provider, is_on=is_on)
            case _:
                pass


def record_in_span(series: Series, value: float, trace_id: int) -> None:
    found = context.Context()
    if trace_id:
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if trace_id > 0 else 0)
        parts = trace.SpanContext(abs(trace_id), 7, is_remote=False, trace_flags=flags)
        found = trace.set_span_in_context(trace.NonRecordingSpan(parts), found)
    token = context.attach(found)
    try:
        series.record(value)
    finally:
        context.detach(token)


def switch(provider: MeterProvider, *, is_on: bool) -> None:
    """Where meters can be switched off."""
    configure: Any = getattr(provider, "_set_meter_configurator", None)
    if configure is not None:
        from opentelemetry.sdk.metrics._internal import _MeterConfig

        configure(meter_configurator=lambda _: _MeterConfig(is_enabled=is_on))


def points_of(reader: InMemoryMetricReader) -> list[object]:
    """All that a reader sees of the histogram, without the times, as text: NaN equals NaN.

    The SDK cannot merge every exponential histogram that begins with zeros, and raises.
    """
    try:
        return [repr(without_times(dataclasses.asdict(metric))) for metric in metrics_of(reader)]
    except Exception as error:
        return [repr(error)]


def metrics_of(reader: InMemoryMetricReader) -> list[Any]:
    data = reader.get_metrics_data()
    return [
        metric
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        if scope.scope.name == SCOPE  # 1.41 has metrics of its own
        for metric in scope.metrics
    ]


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if "time_unix_nano" not in k}
    if isinstance(value, list | tuple):
        return [without_times(part) for part in value]
    return value
