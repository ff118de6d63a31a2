"""Settings in the declarative configuration file that `OTEL_CONFIG_FILE` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.collector import Collector
from tests.real.servers import RedisServer

from .applications import (
    SHELF,
    SHELF_RESULT,
    Ended,
    Environment,
    exporting_to,
    lookups,
    spans_by_scope,
)

CONFIGURATION = """
file_format: "1.0"
resource:
  detection/development:
    detectors:
      - service:
tracer_provider:
  processors:
    - batch:
        exporter:
          otlp_grpc:
            endpoint: ${OTEL_EXPORTER_OTLP_ENDPOINT}
meter_provider:
  readers:
    - periodic:
        exporter:
          otlp_grpc:
            endpoint: ${OTEL_EXPORTER_OTLP_ENDPOINT}
instrumentation/development:
  python:
    redis_cache:
"""


def run(
    options: str,
    environment: Environment,
    server: RedisServer,
    collector: Collector,
    path: Path,
    configuration: str = CONFIGURATION,
) -> Ended:
    pytest.importorskip("opentelemetry.configuration")
    path.write_text(configuration + options)
    settings = {"REDIS_URL": server.url, "OTEL_CONFIG_FILE": str(path), **exporting_to(collector)}
    ended = environment.run(SHELF, settings)
    collector.stop()
    assert ended.result == SHELF_RESULT
    return ended


def test_settings_are_taken_from_the_file(
    environment: Environment, server: RedisServer, collector: Collector, tmp_path: Path
) -> None:
    options = """
      caches:
        the first one: "user:1"
        people: ["user:*", "person:{id}"]
      query_text: off
      exclude_commands: [SET]
"""
    ended = run(options, environment, server, collector, tmp_path / "otel.yaml")
    assert lookups(collector) == {("the first one", "hit"): 1, ("people", "miss"): 1}
    assert [span.name for span in collector.spans()] == ["GET", "GET", "DEL"]
    assert not any("db.query.text" in span.attributes for span in collector.spans())
    assert ended.own_lines == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("      colour: blue", "'colour' is no setting; allowed are auto_caches, caches, "),
        ("      query_text: all", "query_text is 'all'; allowed: sanitized, keys or off"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_clearly_and_defaults_are_used(
    options: str,
    message: str,
    environment: Environment,
    server: RedisServer,
    collector: Collector,
    tmp_path: Path,
) -> None:
    others = "\n      exclude_commands: [SET, DEL]"
    ended = run(options + others, environment, server, collector, tmp_path / "otel.yaml")
    assert ended.stderr.count(message) == 1
    assert len(ended.own_lines) == 1
    assert "Traceback" not in ended.stderr
    assert spans_by_scope(collector) == {"otel_redis_cache": 2}
    assert all(span.attributes["db.query.text"] == "GET ?" for span in collector.spans())
    assert lookups(collector) == {("user", "hit"): 1, ("user", "miss"): 1}


def test_workers_without_an_instance_of_their_own_are_said(
    environment: Environment, server: RedisServer, collector: Collector, tmp_path: Path
) -> None:
    without = CONFIGURATION.replace("      - service:\n", "      - process:\n")
    assert without != CONFIGURATION
    ended = run(
        "      traces: true", environment, server, collector, tmp_path / "otel.yaml", without
    )
    (line,) = ended.own_lines
    assert "the resource has no service.instance.id" in line
