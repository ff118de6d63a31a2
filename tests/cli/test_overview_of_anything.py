"""Whatever is OTLP makes a view, and no number in it is beyond sense."""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_redis_cache import conventions as names
from otel_redis_cache.cli.inbox import Arrival
from otel_redis_cache.cli.overview import Overview
from otel_redis_cache.cli.protocol import METRICS, SPANS, MetricsRequest, SpansRequest, parse

NOW = 1_800_000_000.0
KEYS = (
    *(names.CACHE_NAME, names.CACHE_REQUEST_TYPE, names.INVALIDATION_REASON, names.CACHE_WRITE_TTL),
    *(names.CACHE_WRITE_RESULT, names.SERVER_ADDRESS, names.SERVER_PORT, names.POOL_NAME),
    *(names.CONNECTION_STATE, names.DB_SYSTEM_NAME, names.ERROR_TYPE, ""),
)
METRICS_LOOKED_AT = [
    metric.name
    for metric in (
        *(names.CACHE_REQUESTS, names.CACHE_INVALIDATIONS, names.OPERATION_DURATION),
        *(names.CACHE_ENTRIES, names.KEYS_EVICTED, names.CONNECTION_COUNT),
    )
]
TEXTS = st.sampled_from(["", "a", "hit", "miss", "redis", "used", "none", "stored"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=3
)
UINT64 = st.sampled_from([0, 1, 2**64 - 1]) | st.integers(0, 2**64 - 1)
INT64 = st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]) | st.integers(0, 100)


@st.composite
def attributes(draw: st.DrawFn) -> list[KeyValue]:
    found: list[KeyValue] = []
    for key in draw(st.lists(st.sampled_from(KEYS), max_size=4)):
        attribute = KeyValue(key=key)
        match draw(st.sampled_from(["text", "text", "number", "list", "nothing"])):
            case "text":
                attribute.value.string_value = draw(TEXTS)
            case "number":
                attribute.value.int_value = draw(INT64)
            case "list":
                attribute.value.array_value.values.add(string_value="a")
            case _:
                pass
        found.append(attribute)
    return found


@st.composite
def points(draw: st.DrawFn) -> MetricsRequest:
    request = MetricsRequest()
    for _ in range(draw(st.integers(1, 3))):
        of_resource = request.resource_metrics.add()
        of_resource.resource.attributes.extend(draw(attributes()))
        metric = of_resource.scope_metrics.add().metrics.add(
            name=draw(st.sampled_from(METRICS_LOOKED_AT))
        )
        point = draw_point(draw, metric)
        point.attributes.extend(draw(attributes()))
        point.start_time_unix_nano = draw(UINT64)
        point.time_unix_nano = draw(UINT64)
        point.flags = draw(st.integers(0, 3))
    return request


def draw_point(draw: st.DrawFn, metric: Metric) -> Any:
    kind = draw(st.sampled_from(["sum", "gauge", "histogram", "exponential_histogram", "summary"]))
    data = getattr(metric, kind)
    if hasattr(data, "aggregation_temporality"):
        data.aggregation_temporality = draw(st.integers(0, 2))
    if kind == "sum":
        data.is_monotonic = draw(st.booleans())
    point = data.data_points.add()
    if kind in ("sum", "gauge") and draw(st.booleans()):
        point.as_int = draw(INT64)
    elif kind in ("sum", "gauge"):
        point.as_double = draw(st.floats())
    elif kind == "histogram":
        point.explicit_bounds.extend(draw(st.lists(st.floats(), max_size=2)))
        point.bucket_counts.extend(draw(st.lists(UINT64, max_size=3)))
        point.max = draw(st.floats())
    elif kind == "exponential_histogram":
        point.scale = draw(st.integers(-30, 30))
        point.positive.offset = draw(st.integers(-(2**31), 2**31 - 1))
        point.positive.bucket_counts.extend(draw(st.lists(UINT64, max_size=3)))
    return point


@st.composite
def spans(draw: st.DrawFn) -> SpansRequest:
    request = SpansRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.extend(draw(attributes()))
    for number in range(draw(st.integers(1, 3))):
        span = Span(trace_id=b"t" * 16, span_id=bytes([number]) * 8, name=draw(TEXTS))
        span.parent_span_id = draw(st.sampled_from([b"", b"\0" * 8, b"\1" * 8, b"short"]))
        span.start_time_unix_nano, span.end_time_unix_nano = draw(UINT64), draw(UINT64)
        span.attributes.extend(draw(attributes()))
        span.status.code = draw(st.sampled_from(Status.StatusCode.values()))
        of_resource.scope_spans.add().spans.append(span)
    return request


@given(
    st.lists(st.tuples(points() | spans(), st.sampled_from([0.0, 0.5, 60.0, 1_000.0])), max_size=8)
)
def test_whatever_is_otlp_makes_a_view(
    sent: list[tuple[MetricsRequest | SpansRequest, float]],
) -> None:
    now = NOW
    overview = Overview(lambda: now)
    for request, after in sent:
        now += after
        service = METRICS if isinstance(request, MetricsRequest) else SPANS
        export = parse(service, request.SerializeToString())
        overview.note(export, is_dropped=False)
        overview.read(Arrival(now, export))
        view = overview.view()
        assert all(math.isfinite(number) for number in numbers_in(astuple(view)))
        assert all(
            ratio is None or 0 <= ratio <= 1 for ratio in (row.hit_ratio for row in view.caches)
        )
        assert all(
            rate >= 0 for row in view.caches for rate in row.invalidations_per_second.values()
        )
    overview.trace((b"t" * 16).hex())


def numbers_in(thing: Any) -> list[float]:
    if isinstance(thing, dict):
        return numbers_in(list(thing.values()))
    if isinstance(thing, (list, tuple)):
        return [number for each in thing for number in numbers_in(each)]
    return [thing] if isinstance(thing, (int, float)) else []
