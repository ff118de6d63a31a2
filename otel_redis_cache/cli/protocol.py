"""The part of OTLP that is spoken here: two services, each with one method, `Export`.

`The specification <https://opentelemetry.io/docs/specs/otlp/>`_ says what the answers are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # of googleapis
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest as MetricsRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest as SpansRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

GRPC_PORT, HTTP_PORT = 4317, 4318
"""Where OTLP is sent to, unless somebody says otherwise."""

METRICS = "opentelemetry.proto.collector.metrics.v1.MetricsService"
SPANS = "opentelemetry.proto.collector.trace.v1.TraceService"

LARGEST_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message, unpacked; a Collector takes 4 MiB unless it is told otherwise."""

# What the services answer when all went well has no fields that are set: no bytes.
ACCEPTED = b""

IDS = frozenset({"traceId", "spanId", "parentSpanId"})
"""What OTLP writes in hexadecimal where it writes JSON; protobuf's own JSON has base64."""

TRACE_ID_BYTES, SPAN_ID_BYTES = 16, 8


class NotOtlpError(Exception):
    """A message is none; the text is one line that says what is expected."""


@dataclass(frozen=True)
class Export:
    """One message, parsed and counted."""

    service: str
    body: bytes
    """As protobuf has it, also where it came as JSON."""
    request: MetricsRequest | SpansRequest
    count: int
    """Spans or points."""


def parse(service: str, body: bytes) -> Export:
    """A message in protobuf.

    Raises:
        NotOtlpError: it is none.
    """
    try:
        return _PARSERS[service](body)
    except DecodeError:
        raise _foreign(service, "protobuf") from None


def parse_json(service: str, text: bytes) -> Export:
    """A message in OTLP's JSON.

    Raises:
        NotOtlpError: it is none.
    """
    kind = MetricsRequest if service == METRICS else SpansRequest
    try:
        document = json.loads(text, object_hook=_with_ids_as_protobuf_has_them)
        message = json_format.ParseDict(document, kind(), ignore_unknown_fields=True)
        body = message.SerializeToString()
    except _NO_JSON_OF_OURS:
        raise _foreign(service, "JSON") from None
    return parse(service, body)


def reject(export: Export, reason: str) -> Message:
    """The answer to a message of which nothing was taken."""
    if export.service == SPANS:
        lost = ExportTracePartialSuccess(rejected_spans=export.count, error_message=reason)
        return ExportTraceServiceResponse(partial_success=lost)
    missed = ExportMetricsPartialSuccess(rejected_data_points=export.count, error_message=reason)
    return ExportMetricsServiceResponse(partial_success=missed)


def accept(export: Export) -> Message:
    """The answer where all went well."""
    of_spans = export.service == SPANS
    return ExportTraceServiceResponse() if of_spans else ExportMetricsServiceResponse()


def _parse_metrics(body: bytes) -> Export:
    request = MetricsRequest.FromString(body)
    count = sum(
        _points_of(metric)
        for of_resource in request.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    )
    return Export(METRICS, body, request, count)


def _points_of(metric: Metric) -> int:
    match metric.WhichOneof("data"):
        case "sum":
            return len(metric.sum.data_points)
        case "gauge":
            return len(metric.gauge.data_points)
        case "histogram":
            return len(metric.histogram.data_points)
        case "exponential_histogram":
            return len(metric.exponential_histogram.data_points)
        case "summary":
            return len(metric.summary.data_points)
        case _:
            return 0


def _parse_spans(body: bytes) -> Export:
    request = SpansRequest.FromString(body)
    count = 0
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            count += len(of_scope.spans)
            for span in of_scope.spans:
                # Whatever has the same shape, as metrics do, would pass for spans otherwise.
                if len(span.trace_id) != TRACE_ID_BYTES or len(span.span_id) != SPAN_ID_BYTES:
                    raise NotOtlpError(
                        "not an OTLP message: a span's trace_id has 16 bytes and its span_id 8, "
                        f"not {len(span.trace_id)} and {len(span.span_id)}"
                    )
    return Export(SPANS, body, request, count)


# With a name that is half of a surrogate pair protobuf fails with a SystemError.
_NO_JSON_OF_OURS = (
    *(ValueError, TypeError, AttributeError, RecursionError, SystemError),
    json_format.ParseError,
)
_PARSERS: dict[str, Callable[[bytes], Export]] = {METRICS: _parse_metrics, SPANS: _parse_spans}


def _foreign(service: str, encoding: str) -> NotOtlpError:
    expected = "ExportTraceServiceRequest" if service == SPANS else "ExportMetricsServiceRequest"
    return NotOtlpError(f"not an OTLP message: an {expected} in {encoding} is expected")


def _with_ids_as_protobuf_has_them(found: dict[str, Any]) -> dict[str, Any]:
    for name in IDS & found.keys():
        if isinstance(found[name], str):
            found[name] = base64.b64encode(bytes.fromhex(cast("str", found[name]))).decode()
    return found


__all__ = [
    "ACCEPTED",
    "LARGEST_MESSAGE",
    "METRICS",
    "SPANS",
    "Export",
    "MetricsRequest",
    "NotOtlpError",
    "SpansRequest",
    "Status",
    "accept",
    "parse",
    "parse_json",
    "reject",
]
