from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_redis_cache import otlp
from otel_redis_cache.otlp import ConfigurationError, Telemetry, configure
from tests.real.collector import Collector


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Telemetry]]:
    """The global providers stay as they are; what was made is shut down."""
    made: list[Telemetry] = []
    monkeypatch.setattr(trace, "set_tracer_provider", lambda _: None)
    monkeypatch.setattr(metrics, "set_meter_provider", lambda _: None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    yield made
    for telemetry in made:
        telemetry.shutdown()


def exporter_of(telemetry: Telemetry) -> Any:
    (processor,) = telemetry.tracer_provider._active_span_processor._span_processors
    return processor.span_exporter  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("protocol", "kind", "endpoint", "shown"),
    [
        ("grpc", GrpcExporter, "http://127.0.0.1:1", "127.0.0.1:1"),
        ("http/protobuf", HttpExporter, "http://127.0.0.1:1/", "http://127.0.0.1:1/v1/traces"),
        ("http/protobuf", HttpExporter, None, "http://localhost:4318/v1/traces"),
    ],
)
def test_each_protocol_has_its_exporter(
    configured: list[Telemetry], protocol: Any, kind: type, endpoint: str | None, shown: str
) -> None:
    telemetry = configure(service_name="shop", endpoint=endpoint, protocol=protocol)
    configured.append(telemetry)
    exporter = exporter_of(telemetry)

    assert isinstance(exporter, kind)
    assert exporter._endpoint == shown
    assert telemetry.tracer_provider.resource.attributes["service.name"] == "shop"
    assert telemetry.tracer_provider.resource.attributes["service.instance.id"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "udp"}, "protocol is 'udp'; allowed: grpc, http/protobuf"),
        ({"endpoint": "localhost:4317"}, "endpoint is 'localhost:4317'; allowed: a URL such as"),
        ({"endpoint": "http://"}, "endpoint is 'http://'; allowed: a URL such as"),
    ],
)
def test_a_wrong_argument_names_it_and_what_is_allowed(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configure(**arguments)


@pytest.mark.parametrize(
    ("kind", "module", "provider"),
    [
        ("tracer", trace, TracerProvider(shutdown_on_exit=False)),
        ("meter", metrics, MeterProvider(shutdown_on_exit=False)),
    ],
)
def test_providers_that_are_set_already_are_respected(
    monkeypatch: pytest.MonkeyPatch, kind: str, module: Any, provider: object
) -> None:
    monkeypatch.setattr(module, f"get_{kind}_provider", lambda: provider)
    with pytest.raises(ConfigurationError, match=f"a {kind} provider is set already"):
        configure()


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'otel-redis-cache\[otlp\]'"):
        configure()


FORKING = """
import os, sys
from opentelemetry import metrics, trace
from otel_redis_cache.otlp import configure

telemetry = configure(service_name="forking", endpoint=sys.argv[1], protocol=sys.argv[2])
requests = metrics.get_meter("test").create_counter("requests")
pid = os.fork()
with trace.get_tracer("test").start_as_current_span("child" if pid == 0 else "parent"):
    requests.add(1)
if pid == 0:
    assert telemetry.flush()
    os._exit(0)
_, status = os.waitpid(pid, 0)
sys.exit(status)  # what waits for its export goes out at exit
"""


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_forked_child_has_an_instance_of_its_own_and_all_is_flushed(
    collector: Collector, protocol: str
) -> None:
    endpoint = collector.grpc_endpoint if protocol == "grpc" else collector.http_endpoint
    environment = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "1"}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, endpoint, protocol],
        check=True,
        timeout=60,
        env=environment,
    )
    collector.wait_for(lambda seen: len(seen.spans()) >= 2)
    collector.stop()
    spans = {span.name: span.resource["service.instance.id"] for span in collector.spans()}
    points = {str(point.resource["service.instance.id"]) for point in collector.latest("requests")}

    assert spans.keys() == {"child", "parent"}
    assert spans["child"] != spans["parent"]
    assert points == set(spans.values())
