"""The receiver and the relay, over real gRPC, with the exporters that applications use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode

from otel_redis_cache.cli.measurements import Measurements
from otel_redis_cache.cli.protocol import METRICS
from otel_redis_cache.cli.receiver import receive
from otel_redis_cache.cli.relay import UnreachableError, open_relay
from otel_redis_cache.cli.traces import Traces
from tests.real.processes import free_ports

DELTA: dict[type[Any], AggregationTemporality] = dict.fromkeys(
    (Counter, ObservableCounter, Histogram), AggregationTemporality.DELTA
)


@pytest.fixture
def measurements() -> Measurements:
    return Measurements()


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture
def endpoint(measurements: Measurements, traces: Traces) -> Iterator[str]:
    with receive(measurements, traces) as endpoint:
        yield endpoint


@pytest.mark.parametrize("temporality", [None, DELTA], ids=["cumulative", "delta"])
def test_metrics_arrive(
    measurements: Measurements,
    endpoint: str,
    temporality: dict[type[Any], AggregationTemporality] | None,
) -> None:
    provider = _meter_provider(endpoint, temporality)
    meter = provider.get_meter("test")
    requests = meter.create_counter("cache.requests")
    duration = meter.create_histogram(
        "db.client.operation.duration", explicit_bucket_boundaries_advisory=[0.001, 0.01]
    )
    for _ in range(3):
        requests.add(4, {"cache.name": "product", "cache.request.type": "hit"})
        requests.add(1, {"cache.name": "product", "cache.request.type": "miss"})
        duration.record(0.005, {"db.operation.name": "GET", "server.port": 6380})
        provider.force_flush()
    provider.shutdown()
    [cache] = measurements.caches(time.monotonic())
    [operation] = measurements.operations()
    assert (cache.name, cache.hits, cache.misses) == ("product", 12, 3)
    assert (operation.name, operation.latency.counts) == ("GET", (0, 3, 0))


def test_gauges_arrive(measurements: Measurements, endpoint: str) -> None:
    provider = _meter_provider(endpoint)
    meter = provider.get_meter("test")
    meter.create_gauge("redis.memory.used").set(5_000_000)
    meter.create_gauge("redis.maxmemory").set(6e6)
    provider.force_flush()
    provider.shutdown()
    server = measurements.server()
    assert (server.memory, server.limit) == (5e6, 6e6)


def test_the_largest_value_of_a_histogram_arrives(
    measurements: Measurements, endpoint: str
) -> None:
    provider = _meter_provider(endpoint)
    meter = provider.get_meter("test")
    meter.create_counter("cache.requests").add(1, {"cache.name": "product"})
    ttl = meter.create_histogram("cache.ttl", explicit_bucket_boundaries_advisory=[10, 60])
    for seconds in (15, 12):
        ttl.record(seconds, {"cache.name": "product"})
    provider.shutdown()
    [cache] = measurements.caches(time.monotonic())
    assert cache.ttl.ceiling(0.5) == 15


def test_two_processes_stay_apart(measurements: Measurements, endpoint: str) -> None:
    for process in ("a", "b"):
        provider = _meter_provider(endpoint, process=process)
        counter = provider.get_meter("test").create_counter("cache.requests")
        counter.add(5, {"cache.name": "product", "cache.request.type": "hit"})
        provider.shutdown()
    [cache] = measurements.caches(time.monotonic())
    assert cache.hits == 10


def test_kinds_that_are_not_shown_are_passed_over(
    measurements: Measurements, endpoint: str
) -> None:
    def observe(_: metrics.CallbackOptions) -> list[metrics.Observation]:
        return [metrics.Observation(0.8, {"cache.name": "product", "lists": ["a", "b"]})]

    provider = _meter_provider(endpoint)
    provider.get_meter("test").create_observable_gauge("cache.hit_ratio", [observe])
    provider.shutdown()
    assert measurements.caches(time.monotonic()) == []


def test_spans_arrive(traces: Traces, endpoint: str) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint, insecure=True)))
    tracer = provider.get_tracer("test")
    with (
        tracer.start_as_current_span("GET /"),
        tracer.start_as_current_span(
            "GET", attributes={"cache.hit": True, "n": 2, "x": 0.5}
        ) as get,
    ):
        get.set_status(Status(StatusCode.ERROR))
    provider.shutdown()
    root = traces.choose()
    assert root
    [child] = root.children
    assert (root.span.name, root.span.failed) == ("GET /", False)
    assert (child.span.name, child.span.failed) == ("GET", True)
    assert child.span.attributes == {"cache.hit": "true", "n": "2", "x": "0.5"}
    assert 0 < child.span.seconds < root.span.seconds


def test_what_is_not_otlp_is_refused_and_the_receiver_goes_on(
    measurements: Measurements, endpoint: str
) -> None:
    with grpc.insecure_channel(endpoint.removeprefix("http://")) as channel:
        export = channel.unary_unary(f"/{METRICS}/Export")
        with pytest.raises(grpc.RpcError) as refused:
            export(b"\xff\xff\xff", timeout=5)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    test_two_processes_stay_apart(measurements, endpoint)


class TestRelay:
    def test_what_arrives_goes_on(self, measurements: Measurements, endpoint: str) -> None:
        nearer = Measurements()
        with (
            open_relay(endpoint) as relay,
            receive(nearer, Traces(), relay) as first,
        ):
            test_two_processes_stay_apart(nearer, first)
        assert nearer.caches(time.monotonic()) == measurements.caches(time.monotonic())
        assert (relay.sent, relay.refused) == (2, 0)

    def test_a_collector_that_went_away_is_counted_and_disturbs_nothing(self) -> None:
        nearer = Measurements()
        with receive(Measurements(), Traces()) as further:
            relaying = open_relay(further)
            relay = relaying.__enter__()
        with receive(nearer, Traces(), relay) as first:
            test_two_processes_stay_apart(nearer, first)
        relaying.__exit__(None, None, None)
        assert (relay.sent, relay.refused, relay.reason) == (0, 2, "UNAVAILABLE")

    def test_an_endpoint_where_nobody_listens_is_said_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("otel_redis_cache.cli.relay.CONNECT_SECONDS", 0.3)
        (port,) = free_ports(1)
        with (
            pytest.raises(
                UnreachableError, match=f"nothing at localhost:{port} speaks OTLP over gRPC"
            ),
            open_relay(f"localhost:{port}"),
        ):
            pass

    def test_a_password_that_cannot_be_sent_is_said_so_and_not_shown(self) -> None:
        with pytest.raises(UnreachableError, match="which gRPC does not send") as said:
            open_relay("http://user:secret@localhost:4317").__enter__()
        assert "secret" not in str(said.value)

    @pytest.mark.parametrize("endpoint", ["", "http://[", "http:///", "ftp://localhost:4317"])
    def test_what_is_no_endpoint_is_said_so(self, endpoint: str) -> None:
        with pytest.raises(UnreachableError, match="which is no URL of an endpoint: it looks like"):
            open_relay(endpoint).__enter__()


def _meter_provider(
    endpoint: str,
    temporality: dict[type[Any], AggregationTemporality] | None = None,
    process: str = "a",
) -> MeterProvider:
    exporter = OTLPMetricExporter(endpoint, insecure=True, preferred_temporality=temporality)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    return MeterProvider([reader], resource=Resource({"service.instance.id": process}))
