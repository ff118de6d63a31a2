"""OTLP as the models have it: exponential histograms, and points that make no sense."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from otel_redis_cache.cli.measurements import Distribution, Point
from otel_redis_cache.cli.protocol import METRICS, MetricsRequest, parse
from otel_redis_cache.cli.translation import LARGEST_POINT, SHOWN, Reading

DURATION = "db.client.operation.duration"


def exponential(values: list[float], max_size: int) -> Distribution:
    """As the SDK sends it."""
    aggregation = ExponentialBucketHistogramAggregation(max_size=max_size)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], views=[View(instrument_name="*", aggregation=aggregation)])
    histogram = provider.get_meter("test").create_histogram(DURATION)
    for value in values:
        histogram.record(value)
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data
    body = encode_metrics(data).SerializeToString()
    [point] = read(MetricsRequest.FromString(body))
    return point.value


def read(request: MetricsRequest) -> list[Point]:
    return list(Reading(request).points())


@pytest.mark.parametrize(("max_size", "width"), [(160, 1), (160, 0.1), (40, 1)])
def test_an_exponential_histogram_keeps_its_quantiles(max_size: int, width: float) -> None:
    chance = random.Random(1)
    values = sorted(chance.lognormvariate(math.log(0.001), width) for _ in range(5_000))
    found = exponential(values, max_size)
    assert found.count == len(values)
    for share in (0.5, 0.95, 0.99):
        assert found.quantile(share) == pytest.approx(values[int(share * 5_000)], rel=0.25)


def test_exponential_histograms_of_any_scale_add_up() -> None:
    total = exponential([0.001, 0.001], 160) + exponential([1e-9, 0.001, 1.0, 1e6, 0.0], 4)
    assert total.count == 7
    assert total.largest == 1e6


def metric(request: MetricsRequest, name: str = DURATION) -> Metric:
    return request.resource_metrics.add().scope_metrics.add().metrics.add(name=name)


def senseless() -> dict[str, Callable[[Metric], object]]:
    return {
        "too few buckets": lambda it: it.histogram.data_points.add(
            explicit_bounds=[1, 2], bucket_counts=[1, 2]
        ),
        "bounds that fall": lambda it: it.histogram.data_points.add(
            explicit_bounds=[2, 1], bucket_counts=[1, 2, 3]
        ),
        "a bound that is no number": lambda it: it.histogram.data_points.add(
            explicit_bounds=[math.nan], bucket_counts=[1, 2]
        ),
        "no number": lambda it: it.sum.data_points.add(as_double=math.nan),
        "infinity": lambda it: it.gauge.data_points.add(as_double=math.inf),
        "a scale beyond all": lambda it: it.exponential_histogram.data_points.add(scale=2**30),
        "a megabyte of attributes": lambda it: it.sum.data_points.add(as_int=1).attributes.add(
            key="k" * LARGEST_POINT
        ),
    }


@pytest.mark.parametrize("kind", senseless())
def test_a_point_that_makes_no_sense_is_counted_and_harms_no_other(kind: str) -> None:
    request = MetricsRequest()
    senseless()[kind](metric(request))
    metric(request).sum.data_points.add(as_int=7)
    reading = Reading(request)
    [point] = reading.points()
    assert (point.value.count, reading.senseless) == (7, 1)


def test_a_value_that_was_not_recorded_is_passed_over() -> None:
    request = MetricsRequest()
    metric(request).gauge.data_points.add(flags=1)
    reading = Reading(request)
    assert (list(reading.points()), reading.senseless) == ([], 0)


def test_a_histogram_without_buckets_counts() -> None:
    request = MetricsRequest()
    metric(request).histogram.data_points.add(count=5, sum=0.1)
    [point] = read(request)
    assert (point.value.count, point.value.quantile(0.5)) == (5, None)


def test_metrics_that_nobody_looks_at_are_counted_only() -> None:
    request = MetricsRequest()
    metric(request, "http.server.request.duration").histogram.data_points.add(count=5)
    assert not list(Reading(request, SHOWN).points())
    assert parse(METRICS, request.SerializeToString()).count == 1


@given(st.integers(-25, 25), st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**63))
def test_any_exponential_bucket_is_somewhere(scale: int, offset: int, count: int) -> None:
    request = MetricsRequest()
    point = metric(request).exponential_histogram.data_points.add(scale=scale)
    point.positive.offset = offset
    point.positive.bucket_counts.append(count)
    reading = Reading(request)
    assert [it.value.count for it in reading.points()] == [count] or reading.senseless == 1
