"""Providers with OTLP exporters in one call, for an application that has none (extra ``otlp``)."""

from __future__ import annotations

import atexit
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from opentelemetry import metrics, trace

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

Protocol = Literal["grpc", "http/protobuf"]

DEFAULT_ENDPOINTS = {"grpc": "http://localhost:4317", "http/protobuf": "http://localhost:4318"}


class ConfigurationError(RuntimeError):
    """Providers cannot be set up as asked; says what was found and what to do."""


@dataclass(frozen=True)
class Telemetry:
    """The providers that :func:`configure` set, to flush or to shut down early."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider

    def flush(self, timeout: float = 5.0) -> bool:
        """Export what there is; whether both signals were taken within ``timeout`` seconds."""
        milliseconds = int(timeout * 1000)
        spans = self.tracer_provider.force_flush(milliseconds)
        return self.meter_provider.force_flush(milliseconds) and spans

    def shutdown(self) -> None:
        """Export what there is and stop; done at exit by itself."""
        atexit.unregister(self.shutdown)
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


def configure(
    *,
    service_name: str | None = None,
    endpoint: str | None = None,
    protocol: Protocol = "grpc",
    metric_export_interval: float = 60.0,
    span_export_delay: float = 5.0,
) -> Telemetry:
    """Set global tracer and meter providers that export over OTLP.

    Args:
        service_name: ``service.name``; else ``OTEL_SERVICE_NAME`` decides.
        endpoint: base URL of a Collector; else ``OTEL_EXPORTER_OTLP_ENDPOINT``, else
            localhost with the protocol's port.
        protocol: ``grpc`` or ``http/protobuf``.
        metric_export_interval: seconds between two exports of metrics.
        span_export_delay: seconds that a span waits at most.

    Returns:
        The providers; they are flushed at exit.

    Raises:
        ConfigurationError: the extra ``otlp`` is not installed, a provider is set already, or
            an argument is not allowed.

    ``service.instance.id`` is a new UUID for each process, also after a fork, so that workers
    never overwrite each other's metrics.
    """
    _check(protocol, endpoint)
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # The SDK adds a service.instance.id and makes a new one in a forked child.
    resource = Resource.create({"service.name": service_name} if service_name else {})
    spans, points = _exporters(protocol, endpoint)
    tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracer_provider.add_span_processor(
        BatchSpanProcessor(spans, schedule_delay_millis=span_export_delay * 1000)
    )
    reader = PeriodicExportingMetricReader(
        points, export_interval_millis=metric_export_interval * 1000
    )
    meter_provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    trace.set_tracer_provider(tracer_provider)
    metrics.set_meter_provider(meter_provider)
    telemetry = Telemetry(tracer_provider, meter_provider)
    atexit.register(telemetry.shutdown)
    return telemetry


def _exporters(protocol: str, endpoint: str | None) -> tuple[SpanExporter, MetricExporter]:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(endpoint=endpoint), OTLPMetricExporter(endpoint=endpoint)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
        OTLPMetricExporter as HttpMetricExporter,
    )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
        OTLPSpanExporter as HttpSpanExporter,
    )

    if endpoint is None:
        return HttpSpanExporter(), HttpMetricExporter()
    base = endpoint.rstrip("/")
    return HttpSpanExporter(f"{base}/v1/traces"), HttpMetricExporter(f"{base}/v1/metrics")


def _check(protocol: str, endpoint: str | None) -> None:
    if protocol not in DEFAULT_ENDPOINTS:
        message = f"protocol is {protocol!r}; allowed: {', '.join(DEFAULT_ENDPOINTS)}"
        raise ConfigurationError(message)
    if endpoint is not None and (
        urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname
    ):
        message = f"endpoint is {endpoint!r}; allowed: a URL such as {DEFAULT_ENDPOINTS[protocol]}"
        raise ConfigurationError(message)
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter.otlp") is None:
        message = "OTLP needs the extra otlp: pip install 'otel-redis-cache[otlp]'"
        raise ConfigurationError(message)
    for kind, provider in (
        ("tracer", trace.get_tracer_provider()),
        ("meter", metrics.get_meter_provider()),
    ):
        # Until one is set, the API hands out stand-ins of its own.
        if not type(provider).__module__.startswith(
            ("opentelemetry.trace", "opentelemetry.metrics")
        ):
            message = (
                f"a {kind} provider is set already: call RedisCacheInstrumentor().instrument() "
                "alone and it is used, or call configure() before anything sets one"
            )
            raise ConfigurationError(message)
