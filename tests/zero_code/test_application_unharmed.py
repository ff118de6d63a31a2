"""Whatever is missing, wrong or down: the application does what it does without us."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.collector import Collector
from tests.real.processes import free_ports
from tests.real.servers import RedisServer

from .applications import (
    CONTRIB,
    SHELF,
    SHELF_RESULT,
    Environment,
    durations,
    exporting_to,
    lookups,
    spans_by_scope,
)

SHELF_LOOKUPS = {("user", "hit"): 1, ("user", "miss"): 1}


def test_with_nothing_wrong_every_call_is_seen_and_nothing_is_said(
    environment: Environment, server: RedisServer, collector: Collector
) -> None:
    ended = environment.run(SHELF, {"REDIS_URL": server.url, **exporting_to(collector)})
    collector.stop()
    assert (ended.result, ended.stderr) == (SHELF_RESULT, "")
    assert spans_by_scope(collector) == {"otel_redis_cache": 4}
    assert (durations(collector), lookups(collector)) == (4, SHELF_LOOKUPS)
    stats = server.commandstats()
    assert {name: stats[name] for name in ("get", "set", "del")} == {"get": 2, "set": 1, "del": 1}


def test_without_a_client_library_the_application_runs_and_nothing_is_said(
    collector: Collector, tmp_path: Path
) -> None:
    environment = Environment(tmp_path / "venv", without=("redis", "valkey", CONTRIB))
    looks_around = """
import importlib.metadata, importlib.util, sys
from opentelemetry import trace

print([importlib.util.find_spec(name) for name in ("redis", "valkey")])
print(len(importlib.metadata.entry_points(group="opentelemetry_instrumentor", name="redis_cache")))
trace.get_tracer("app").start_span("work").end()
sys.exit(3)
"""
    ended = environment.run(looks_around, exporting_to(collector))
    collector.stop()
    assert (ended.result, ended.stderr) == (("[None, None]\n1\n", 3), "")
    assert spans_by_scope(collector) == {"app": 1}


def test_with_valkey_alone_its_calls_are_seen(
    server: RedisServer, collector: Collector, tmp_path: Path
) -> None:
    pytest.importorskip("valkey")
    environment = Environment(tmp_path / "venv", without=("redis", CONTRIB))
    shelf = SHELF.replace("import redis", "import valkey").replace("redis.Redis", "valkey.Valkey")
    ended = environment.run(shelf, {"REDIS_URL": server.url, **exporting_to(collector)})
    collector.stop()
    assert (ended.result, ended.stderr) == (SHELF_RESULT, "")
    assert lookups(collector) == SHELF_LOOKUPS
    assert [span.attributes["db.system.name"] for span in collector.spans()] == ["valkey"] * 4


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("OTEL_REDIS_CACHE_QUERY_TEXT", "everything", "sanitized, keys or off"),
        ("OTEL_REDIS_CACHE_KEY_ATTRIBUTE", "hash", "key_secret"),
    ],
)
def test_a_wrong_setting_is_one_line_and_the_default_is_used(
    variable: str,
    value: str,
    allowed: str,
    environment: Environment,
    server: RedisServer,
    collector: Collector,
) -> None:
    settings = {"REDIS_URL": server.url, **exporting_to(collector), variable: value}
    ended = environment.run(SHELF, settings)
    collector.stop()
    assert ended.result == SHELF_RESULT
    (line,) = ended.own_lines
    assert ended.stderr == f"{line}\n"
    field = variable.removeprefix("OTEL_REDIS_CACHE_").lower()
    assert all(part in line for part in (field, repr(value), allowed, "using the default"))
    texts = {str(span.attributes["db.query.text"]) for span in collector.spans()}
    assert texts == {"SET ? ? EX ?", "GET ?", "DEL ? ?"}
    assert not any("cache.key" in span.attributes for span in collector.spans())


def test_with_the_sdk_disabled_nothing_is_sent_and_nothing_is_said(
    environment: Environment, server: RedisServer, collector: Collector
) -> None:
    settings = {"REDIS_URL": server.url, **exporting_to(collector), "OTEL_SDK_DISABLED": "true"}
    ended = environment.run(SHELF, settings)
    collector.stop()
    assert (ended.result, ended.stderr) == (SHELF_RESULT, "")
    assert (collector.spans(), collector.metrics()) == ([], [])


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_with_the_collector_down_the_application_ends_in_time_and_we_say_nothing(
    protocol: str, environment: Environment, server: RedisServer
) -> None:
    (nobody,) = free_ports(1)
    timeout = 1
    settings = {
        "REDIS_URL": server.url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{nobody}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_TIMEOUT": str(timeout),
        "NO_PROXY": "127.0.0.1",
    }
    ended = environment.run(SHELF, settings)
    assert ended.result == SHELF_RESULT
    assert ended.own_lines == []
    assert "Failed to export" in ended.stderr, "the SDK did try"
    # Traces and metrics wait once each for the exporter; the rest is a machine that is busy.
    assert ended.seconds < 2 * timeout + 20
