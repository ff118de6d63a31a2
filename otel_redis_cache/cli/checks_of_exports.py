"""Whether what an application emits would arrive: its resource, the endpoint, a test span and metric."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse as MetricsResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse as SpansResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace
from opentelemetry.sdk.resources import Resource as ResourceOfSdk

from otel_redis_cache.cli.exports import (
    SPOKEN,
    Destination,
    check,
    destination_of,
    one_line,
    send,
)
from otel_redis_cache.cli.findings import Finding, TroubleError
from otel_redis_cache.cli.protocol import MetricsRequest, SpansRequest

TEST_SPAN = "otel-redis-cache doctor"
TEST_METRIC = "otel_redis_cache.doctor"

_SCOPE = InstrumentationScope(name="otel_redis_cache.cli")
_EXPORTERS = {"traces": "OTEL_TRACES_EXPORTER", "metrics": "OTEL_METRICS_EXPORTER"}
_TESTS = {"traces": "test span", "metrics": "test metric"}


def check_exports(
    endpoint: str | None, protocol: str | None, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """From who we say that we are to what the receiver says of a span and a metric."""
    attributes = {name: str(value) for name, value in ResourceOfSdk.create().attributes.items()}
    yield _check_name(attributes)
    yield _check_instance(attributes)
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Finding(
            "OpenTelemetry SDK",
            "warning",
            "OTEL_SDK_DISABLED is true: nothing is emitted",
            "unset it",
        )
    reached: dict[tuple[str, str], bool] = {}
    for signal, make in _MAKERS.items():
        yield from _check_exporter(signal, environ)
        try:
            destination = destination_of(signal, endpoint, protocol, environ)
        except TroubleError as trouble:
            yield trouble.as_finding(f"OTLP endpoint, {signal}")
            yield _skipped(signal)
            continue
        # Of OTLP over HTTP each signal has a path of its own, and the port is the same.
        place = (destination.protocol, f"{destination.host}:{destination.port}")
        if place not in reached:
            found = _check_endpoint(destination)
            reached[place] = found.state == "ok"
            yield found
        yield _check_sending(destination, make(attributes)) if reached[place] else _skipped(signal)


def _check_name(attributes: Mapping[str, str]) -> Finding:
    name = attributes.get("service.name", "")
    if not name or name.startswith("unknown_service"):
        return Finding(
            "service.name",
            "warning",
            "not set: all services would be one",
            "set OTEL_SERVICE_NAME, or give service_name to configure()",
        )
    return Finding("service.name", "ok", name)


def _check_instance(attributes: Mapping[str, str]) -> Finding:
    if "service.instance.id" not in attributes:
        return Finding(
            "service.instance.id",
            "warning",
            "not set: the processes of a service overwrite each other's metrics",
            "pip install -U 'opentelemetry-sdk>=1.45', which sets it for each process",
        )
    if "service.instance.id=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").replace(" ", ""):
        return Finding(
            "service.instance.id",
            "ok",
            "set by OTEL_RESOURCE_ATTRIBUTES: right where this environment is for one process",
        )
    return Finding("service.instance.id", "ok", "set by the SDK, for each process")


def _check_exporter(signal: str, environ: Mapping[str, str]) -> Iterator[Finding]:
    variable = _EXPORTERS[signal]
    exporters = [name.strip() for name in environ.get(variable, "otlp").split(",") if name.strip()]
    if exporters and not any(name.startswith("otlp") for name in exporters):
        yield Finding(
            f"exporter, {signal}",
            "warning",
            f"{variable} is {','.join(exporters)}: no {signal} go out by OTLP",
            f"set {variable}=otlp, unless that is meant",
        )


def _check_endpoint(destination: Destination) -> Finding:
    name = "OTLP endpoint"
    try:
        check(destination)
    except TroubleError as trouble:
        return trouble.as_finding(name)
    said_by = "" if destination.source == "--endpoint" else f" ({destination.source})"
    return Finding(
        name, "ok", f"{destination.shown}{said_by} speaks {SPOKEN[destination.protocol]}"
    )


def _skipped(signal: str) -> Finding:
    return Finding(_TESTS[signal], "skipped", "the endpoint is not reached")


def _check_sending(destination: Destination, message: bytes) -> Finding:
    name = _TESTS[destination.signal]
    try:
        answer = send(destination, message)
        rejected, said = _READERS[destination.signal](answer)
    except TroubleError as trouble:
        return trouble.as_finding(name)
    except DecodeError:
        return Finding(
            name,
            "broken",
            f"{destination.shown} answers, but not as OTLP does",
            "name a receiver for OTLP",
        )
    said = one_line(said)
    if rejected:
        return Finding(name, "broken", f"rejected: {said}", "see the receiver's log")
    if said:
        return Finding(
            name, "warning", f"accepted, with a remark: {said}", "see the receiver's log"
        )
    return Finding(name, "ok", "accepted")


def _make_span(attributes: Mapping[str, str]) -> bytes:
    now = time.time_ns()
    span = trace.Span(
        trace_id=os.urandom(16),
        span_id=os.urandom(8),
        name=TEST_SPAN,
        kind=trace.Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=now - 1_000_000,
        end_time_unix_nano=now,
    )
    of_scope = trace.ScopeSpans(scope=_SCOPE, spans=[span])
    of_resource = trace.ResourceSpans(resource=_resource(attributes), scope_spans=[of_scope])
    return SpansRequest(resource_spans=[of_resource]).SerializeToString()


def _make_metric(attributes: Mapping[str, str]) -> bytes:
    point = metrics.NumberDataPoint(time_unix_nano=time.time_ns(), as_int=1)
    metric = metrics.Metric(name=TEST_METRIC, unit="1", gauge=metrics.Gauge(data_points=[point]))
    of_scope = metrics.ScopeMetrics(scope=_SCOPE, metrics=[metric])
    of_resource = metrics.ResourceMetrics(resource=_resource(attributes), scope_metrics=[of_scope])
    return MetricsRequest(resource_metrics=[of_resource]).SerializeToString()


def _resource(attributes: Mapping[str, str]) -> Resource:
    return Resource(
        attributes=[
            KeyValue(key=name, value=AnyValue(string_value=value))
            for name, value in attributes.items()
        ]
    )


def _read_spans(answer: bytes) -> tuple[int, str]:
    partial = SpansResponse.FromString(answer).partial_success
    return partial.rejected_spans, partial.error_message


def _read_metrics(answer: bytes) -> tuple[int, str]:
    partial = MetricsResponse.FromString(answer).partial_success
    return partial.rejected_data_points, partial.error_message


_MAKERS: dict[str, Callable[[Mapping[str, str]], bytes]] = {
    "traces": _make_span,
    "metrics": _make_metric,
}
_READERS: dict[str, Callable[[bytes], tuple[int, str]]] = {
    "traces": _read_spans,
    "metrics": _read_metrics,
}
