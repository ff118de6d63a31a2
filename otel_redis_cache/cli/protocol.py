"""The part of OTLP that is spoken here: two services, each with one method, `Export`."""

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest as MetricsRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest as SpansRequest,
)

METRICS = "opentelemetry.proto.collector.metrics.v1.MetricsService"
SPANS = "opentelemetry.proto.collector.trace.v1.TraceService"

# What the services answer when all went well has no fields that are set: no bytes.
ACCEPTED = b""

__all__ = ["ACCEPTED", "METRICS", "SPANS", "MetricsRequest", "SpansRequest"]
