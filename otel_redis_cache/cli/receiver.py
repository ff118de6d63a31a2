"""A small OTLP receiver: gRPC in, points and spans out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

from otel_redis_cache.cli.measurements import Distribution, Level, Measurements, Point
from otel_redis_cache.cli.protocol import (
    ACCEPTED,
    METRICS,
    SPANS,
    MetricsRequest,
    SpansRequest,
)
from otel_redis_cache.cli.relay import Relay
from otel_redis_cache.cli.traces import Span, Traces

Request = TypeVar("Request", MetricsRequest, SpansRequest)


@contextmanager
def receive(
    measurements: Measurements, traces: Traces, relay: Relay | None = None
) -> Generator[str]:
    """Listen on a free loopback port; gives the endpoint to send to.

    What arrives goes into `measurements` and `traces`, and on through `relay` if there is one.
    """

    def take_metrics(request: MetricsRequest) -> None:
        measurements.record(read_points(request))
        measurements.note(read_levels(request))
        if relay:
            relay.send(METRICS, request)

    def take_spans(request: SpansRequest) -> None:
        traces.record(read_spans(request))
        if relay:
            relay.send(SPANS, request)

    server = grpc.server(ThreadPoolExecutor(max_workers=4, thread_name_prefix="otlp-receiver"))
    server.add_generic_rpc_handlers(
        (
            _serve(METRICS, MetricsRequest.FromString, take_metrics),
            _serve(SPANS, SpansRequest.FromString, take_spans),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(grace=1).wait()


def _serve(
    service: str, parse: Callable[[bytes], Request], take: Callable[[Request], None]
) -> grpc.GenericRpcHandler:
    """One service, as the generated servicers do it, which have no types."""

    def export(request: Request, _: grpc.ServicerContext) -> bytes:
        take(request)
        return ACCEPTED

    handler: grpc.RpcMethodHandler[Request, bytes] = grpc.unary_unary_rpc_method_handler(
        export, request_deserializer=parse
    )
    return grpc.method_handlers_generic_handler(service, {"Export": handler})


def read_points(request: MetricsRequest) -> Iterator[Point]:
    """Every sum and explicit-bucket histogram of an export: what adds up."""
    for of_resource in request.resource_metrics:
        process = _identify(of_resource.resource)
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                yield from _read_metric(metric, process)


def _read_metric(metric: metrics.Metric, process: str) -> Iterator[Point]:
    # A field that is not set reads as an empty message: one of the two loops has nothing to do.
    for number in metric.sum.data_points:
        value = number.as_int or round(number.as_double)
        yield Point(
            metric=metric.name,
            attributes=_read_attributes(number.attributes),
            value=Distribution(counts=(value,)),
            start=number.start_time_unix_nano / 1e9,
            time=number.time_unix_nano / 1e9,
            cumulative=_is_cumulative(metric.sum.aggregation_temporality),
            process=process,
        )
    for histogram in metric.histogram.data_points:
        yield Point(
            metric=metric.name,
            attributes=_read_attributes(histogram.attributes),
            value=Distribution(
                tuple(histogram.explicit_bounds),
                tuple(histogram.bucket_counts),
                histogram.max if histogram.HasField("max") else None,
            ),
            start=histogram.start_time_unix_nano / 1e9,
            time=histogram.time_unix_nano / 1e9,
            cumulative=_is_cumulative(metric.histogram.aggregation_temporality),
            process=process,
        )


def read_levels(request: MetricsRequest) -> Iterator[Level]:
    """Every gauge of an export."""
    for of_resource in request.resource_metrics:
        process = _identify(of_resource.resource)
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                for number in metric.gauge.data_points:
                    value = number.as_double or float(number.as_int)
                    attributes = _read_attributes(number.attributes)
                    yield Level(metric.name, attributes, value, process)


def read_spans(request: SpansRequest) -> Iterator[Span]:
    """Every span of an export."""
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Span(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    name=span.name,
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    attributes=_read_attributes(span.attributes),
                    failed=span.status.code == trace.Status.STATUS_CODE_ERROR,
                )


def _is_cumulative(temporality: metrics.AggregationTemporality.ValueType) -> bool:
    return temporality != metrics.AGGREGATION_TEMPORALITY_DELTA


def _identify(resource: Resource) -> str:
    """What tells one process from another."""
    attributes = _read_attributes(resource.attributes)
    return "/".join(attributes.get(name, "") for name in ("service.name", "service.instance.id"))


def _read_attributes(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Attributes as text, which is what tables and waterfalls show; lists are passed over."""
    found: dict[str, str] = {}
    for attribute in attributes:
        match attribute.value.WhichOneof("value"):
            case "string_value":
                found[attribute.key] = attribute.value.string_value
            case "bool_value":
                found[attribute.key] = str(attribute.value.bool_value).lower()
            case "int_value":
                found[attribute.key] = str(attribute.value.int_value)
            case "double_value":
                found[attribute.key] = str(attribute.value.double_value)
            case _:
                pass
    return found
