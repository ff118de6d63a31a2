"""Our Collector configuration, run by a real Collector: nothing here needs the package itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcMetricExporter,
)
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpMetricExporter,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpSpanExporter,
)
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Tracer

from tests.real.collector import CONFIGURATION, CONFIGURATION_FILES, Collector, RunningCollector

DELTA = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}


class Application:
    """An application's SDK that exports over one protocol; `flush()` sends all that there is."""

    def __init__(
        self,
        collector: RunningCollector,
        protocol: str,
        *,
        instance: str = "1",
        delta: bool = False,
    ):
        temporality = DELTA if delta else {}
        if protocol == "grpc":
            spans = GrpcSpanExporter(collector.grpc_endpoint, insecure=True)
            metrics = GrpcMetricExporter(
                collector.grpc_endpoint, insecure=True, preferred_temporality=temporality
            )
        else:
            spans = HttpSpanExporter(f"{collector.http_endpoint}/v1/traces")
            metrics = HttpMetricExporter(
                f"{collector.http_endpoint}/v1/metrics", preferred_temporality=temporality
            )
        resource = Resource.create(
            {
                "service.name": "shop",
                "service.instance.id": instance,
                "process.command_args": ["python", "shop.py"],
            }
        )
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._traces.add_span_processor(SimpleSpanProcessor(spans))
        # An hour: only `flush()` exports, so a test knows what was sent when.
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=3_600_000)
        self._metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self.tracer: Tracer = self._traces.get_tracer("test")
        self.meter: Meter = self._metrics.get_meter("test")

    def flush(self) -> None:
        assert self._traces.force_flush()
        assert self._metrics.force_flush()

    def shutdown(self) -> None:
        self._traces.shutdown()
        self._metrics.shutdown()


@contextmanager
def application(
    collector: RunningCollector, protocol: str = "grpc", *, instance: str = "1", delta: bool = False
) -> Iterator[Application]:
    running = Application(collector, protocol, instance=instance, delta=delta)
    try:
        yield running
    finally:
        running.shutdown()


@pytest.mark.parametrize(
    "files",
    [CONFIGURATION_FILES[:1], CONFIGURATION_FILES, (CONFIGURATION_FILES[0], "redis-receiver.yaml")],
    ids=["production", "testing", "redis"],
)
def test_the_configuration_is_valid(
    collector_binary: Path, files: tuple[str, ...], tmp_path: Path
) -> None:
    configs = [f"--config={CONFIGURATION / name}" for name in files]
    environment = os.environ | {"TELEMETRY_DIRECTORY": str(tmp_path)}
    done = subprocess.run(
        [collector_binary, "validate", *configs],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_span_sent_over_either_protocol_reaches_the_file(
    collector: Collector, protocol: str
) -> None:
    with application(collector, protocol) as app:
        with app.tracer.start_as_current_span("request"):
            app.tracer.start_span("GET", kind=SpanKind.CLIENT, attributes={"cache.hit": True}).end()
        app.flush()
    child, root = collector.wait_for(lambda it: it.spans() if len(it.spans()) == 2 else None)
    assert (child.name, child.kind, child.attributes, child.scope) == (
        "GET",
        "CLIENT",
        {"cache.hit": True},
        "test",
    )
    assert (child.trace_id, child.parent_span_id) == (root.trace_id, root.span_id)
    assert (root.parent_span_id, root.status, root.resource["service.name"]) == (
        "",
        "UNSET",
        "shop",
    )
    assert root.start <= child.start <= child.end <= root.end


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_metric_sent_over_either_protocol_reaches_the_file_and_prometheus(
    collector: Collector, protocol: str
) -> None:
    with application(collector, protocol) as app:
        app.meter.create_counter("cache.requests", unit="{request}").add(3, {"cache.name": "users"})
        app.flush()
    (point,) = collector.wait_for(lambda it: it.latest("cache.requests"))
    assert (point.value, point.type, point.monotonic, point.unit) == (3, "sum", True, "{request}")
    assert point.attributes == {"cache.name": "users"}
    (sample,) = collector.wait_for(lambda it: it.prometheus_samples("cache_requests_total"))
    assert sample.value == 3
    assert sample.labels["cache_name"] == "users"
    assert sample.labels["job"] == "shop"


def test_workers_of_one_service_stay_apart_in_prometheus(collector: Collector) -> None:
    for instance, requests in (("worker-1", 2), ("worker-2", 5)):
        with application(collector, instance=instance) as app:
            app.meter.create_counter("cache.requests").add(requests)
            app.flush()
    found = collector.wait_for(
        lambda it: both if len(both := it.prometheus_samples("cache_requests_total")) == 2 else None
    )
    assert {one.labels["service_instance_id"]: one.value for one in found} == {
        "worker-1": 2,
        "worker-2": 5,
    }


def test_what_nobody_groups_by_is_on_target_info_alone(collector: Collector) -> None:
    with application(collector) as app:
        app.meter.create_counter("cache.requests").add(1)
        app.flush()
    (sample,) = collector.wait_for(lambda it: it.prometheus_samples("cache_requests_total"))
    (target,) = collector.prometheus_samples("target_info")
    assert {
        "process_command_args",
        "telemetry_sdk_version",
    } <= target.labels.keys() - sample.labels.keys()
    assert {"job", "instance", "service_name", "service_instance_id"} <= sample.labels.keys()


def test_delta_metrics_become_running_totals(collector: Collector) -> None:
    with application(collector, delta=True) as app:
        requests = app.meter.create_counter("cache.requests")
        duration = app.meter.create_histogram("db.client.operation.duration", unit="s")
        for increase in (1, 10, 100):
            requests.add(increase)
            duration.record(0.002)
            app.flush()
    collector.wait_for(lambda it: len(it.metrics("cache.requests")) == 3)
    assert [point.value for point in collector.metrics("cache.requests")] == [1, 11, 111]
    assert {point.temporality for point in collector.metrics()} == {"cumulative"}
    (histogram,) = collector.latest("db.client.operation.duration")
    assert (histogram.count, sum(histogram.buckets), round(histogram.sum, 6)) == (3, 3, 0.006)
    (sample,) = collector.prometheus_samples("db_client_operation_duration_seconds_count")
    assert sample.value == 3


def test_without_a_tracing_backend_metrics_still_flow(collector: Collector) -> None:
    with application(collector) as app:
        requests = app.meter.create_counter("cache.requests")
        for total in range(1, 6):
            for _ in range(100):
                app.tracer.start_span("GET").end()
            requests.add(1)
            app.flush()
            collector.wait_for(
                lambda it, total=total: [
                    it for p in it.metrics("cache.requests") if p.value == total
                ]
            )
    collector.wait_for(lambda it: len(it.spans()) == 500)
    assert "connection refused" in collector.log()


def test_an_exemplar_leads_from_a_bucket_to_its_trace(collector: Collector) -> None:
    with application(collector) as app:
        duration = app.meter.create_histogram("db.client.operation.duration", unit="s")
        with app.tracer.start_as_current_span("GET") as span:
            duration.record(0.002)
        app.flush()
        # Before the shutdown: it exports once more, and an exemplar belongs to one export only.
        trace_id = f"{span.get_span_context().trace_id:032x}"
        (point,) = collector.wait_for(lambda it: it.metrics("db.client.operation.duration"))
        assert [exemplar.trace_id for exemplar in point.exemplars] == [trace_id]
        buckets = collector.wait_for(
            lambda it: it.prometheus_samples("db_client_operation_duration_seconds_bucket")
        )
        assert [one.exemplar.labels["trace_id"] for one in buckets if one.exemplar] == [trace_id]


def test_what_was_sent_before_the_end_is_written_at_the_end(collector: Collector) -> None:
    with application(collector) as app:
        for _ in range(1000):
            app.tracer.start_span("GET").end()
        app.flush()
    collector.stop()
    assert len(collector.spans()) == 1000


def test_a_collector_in_a_container_takes_spans_and_metrics(
    collector_container: RunningCollector,
) -> None:
    with (
        application(collector_container, "grpc") as grpc,
        application(collector_container, "http") as http,
    ):
        grpc.tracer.start_span("over grpc").end()
        http.tracer.start_span("over http").end()
        http.meter.create_counter("cache.requests").add(7)
        grpc.flush()
        http.flush()
    collector_container.wait_for(lambda it: len(it.spans()) == 2)
    assert {span.name for span in collector_container.spans()} == {"over grpc", "over http"}
    (sample,) = collector_container.wait_for(
        lambda it: it.prometheus_samples("cache_requests_total")
    )
    assert sample.value == 7
