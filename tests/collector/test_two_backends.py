"""`two-backends.yaml`: who looks at Jaeger and who looks at Tempo see the same traces."""

from __future__ import annotations

from pathlib import Path

from tests.collector.test_collector_config import application
from tests.real.collector import CONFIGURATION, Collector
from tests.real.processes import free_ports


def test_both_backends_are_sent_every_trace(collector_binary: Path) -> None:
    overlay = CONFIGURATION / "two-backends.yaml"
    with Collector(collector_binary) as first, Collector(collector_binary) as second:
        addresses = {
            "TRACING_BACKEND": first.grpc_endpoint.removeprefix("http://"),
            "SECOND_TRACING_BACKEND": second.grpc_endpoint.removeprefix("http://"),
        }
        with (
            Collector(collector_binary, overlay, **addresses) as collector,
            application(collector) as app,
        ):
            app.tracer.start_span("GET").end()
            app.flush()
            for backend in (first, second):
                backend.wait_for(lambda it: [span.name for span in it.spans()] == ["GET"])


def test_a_second_backend_that_is_not_there_takes_nothing_from_the_first(
    collector_binary: Path,
) -> None:
    overlay = CONFIGURATION / "two-backends.yaml"
    with Collector(collector_binary) as first:
        addresses = {
            "TRACING_BACKEND": first.grpc_endpoint.removeprefix("http://"),
            "SECOND_TRACING_BACKEND": f"127.0.0.1:{free_ports(1)[0]}",
        }
        with (
            Collector(collector_binary, overlay, **addresses) as collector,
            application(collector) as app,
        ):
            for _ in range(100):
                app.tracer.start_span("GET").end()
            app.flush()
            first.wait_for(lambda it: len(it.spans()) == 100)
