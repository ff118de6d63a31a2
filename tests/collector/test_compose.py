"""`make up`: all of it in containers, healthy, exact and gone after `make down`.

Where no registry can be reached, the images are made of this machine's programs and the bookshop's own Dockerfile;
what cannot be had at all, Grafana and Tempo, is left out, and `real parts` at the end says so.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.real import requirement
from tests.real.collector import CONFIGURATION, built_binary, built_by, http_get
from tests.real.compose import PASSWORD, Stack, services
from tests.real.docker import DockerEngine
from tests.real.fixtures import COLLECTOR_IMAGE
from tests.real.jaeger import QueryApi
from tests.real.processes import wait_until

# The first test that needs the stack waits for its images too.
pytestmark = pytest.mark.timeout(400)

LOOKUPS = 'sum(cache_requests_total{cache_request_type=~"hit|miss"})'

MOVES = {
    "hits": 'sum(cache_requests_total{cache_request_type="hit"})',
    "misses": 'sum(cache_requests_total{cache_request_type="miss"})',
    "latency": "sum(db_client_operation_duration_seconds_count)",
    "loads": "sum(cache_load_duration_seconds_count)",
    "stampedes": "sum(cache_stampedes_total)",
    "writes with a time to live": 'sum(cache_writes_total{cache_write_ttl="set"})',
    "writes without one": 'sum(cache_writes_total{cache_write_ttl="none"})',
    "removed by name": 'sum(cache_invalidations_total{cache_invalidation_reason="delete"})',
    "removed by pattern": 'sum(cache_invalidations_total{cache_invalidation_reason="price_list"})',
    "sizes": "sum(cache_item_size_bytes_count)",
    "connections": "sum(db_client_connection_count)",
    "the server answers": "min(redis_client_up)",
    "the server's memory": "max(redis_memory_used_bytes)",
    "entries by cache": 'sum(cache_entries{cache_name="basket"})',
    "entries without a time to live": "sum(cache_entries_without_ttl)",
}
"""What panels are made of, and is above zero soon after the first visitors came."""


@pytest.fixture(scope="module")
def described(compose: Path) -> dict[str, dict[str, Any]]:
    return services(compose)


def test_only_loopback_is_published(described: dict[str, dict[str, Any]]) -> None:
    published = [port for service in described.values() for port in service.get("ports", ())]

    assert len(published) == 6
    assert {port.get("host_ip") for port in published} == {"127.0.0.1"}


def test_every_image_has_a_version_and_the_collector_that_of_our_own(
    described: dict[str, dict[str, Any]],
) -> None:
    images = {name: one["image"] for name, one in described.items() if "build" not in one}

    assert described.keys() - images.keys() == {"bookshop", "visitors"}
    assert all(re.search(r":v?\d+\.\d+\.\d+(-|$)", image) for image in images.values()), images
    assert images["collector"] == COLLECTOR_IMAGE


def test_every_service_has_a_health_check_or_a_neighbour_that_asks(
    described: dict[str, dict[str, Any]],
) -> None:
    asked = {name for name, one in described.items() if "healthcheck" in one}

    # Nobody waits for visitors.
    assert described.keys() - asked == {"visitors", "collector", "tempo"}
    assert {"collector-health", "tempo-health"} <= asked
    for one in described.values():
        for name, wanted in one.get("depends_on", {}).items():
            assert wanted["condition"] == "service_healthy" or f"{name}-health" in asked


def test_every_file_that_is_mounted_is_there(described: dict[str, dict[str, Any]]) -> None:
    mounts = [mount for one in described.values() for mount in one.get("volumes", ())]
    files = [Path(mount["source"]) for mount in mounts if mount["type"] == "bind"]

    assert [file for file in files if not file.exists()] == []
    assert all(mount["read_only"] for mount in mounts if mount["type"] == "bind")
    assert all(file.is_relative_to(CONFIGURATION) for file in files)


def test_no_password_is_written_down(described: dict[str, dict[str, Any]]) -> None:
    words = (CONFIGURATION / "compose.yaml").read_text(encoding="utf-8")
    secret = [line for line in words.splitlines() if re.search(r"PASSWORD|requirepass|AUTH:", line)]

    assert len(secret) >= 4
    assert all(
        "${REDIS_PASSWORD:-}" in line or line.strip() == "- --requirepass" for line in secret
    )


@pytest.fixture(scope="module")
def stack(
    request: pytest.FixtureRequest,
    docker_engine: DockerEngine,
    compose: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Up, with visitors in the shop."""
    directory = tmp_path_factory.mktemp("compose")
    with Stack(docker_engine, compose, programs(request), directory) as running:
        left_out = f", without {', '.join(sorted(running.without))}" if running.without else ""
        requirement.ran["compose"] = f"{compose.name}: {len(running.services)} services{left_out}"
        yield running


def programs(request: pytest.FixtureRequest) -> dict[str, Path]:
    """This machine's, by the service that can run one in place of its image."""
    found: dict[str, Path | str | None] = {
        "redis": request.getfixturevalue("redis_8_server").binary,
        "collector": built_binary(),
        "jaeger": built_by("build-jaeger"),
        "prometheus": next(map(Path, filter(None, [shutil.which("prometheus")])), None),
    }
    return {name: one for name, one in found.items() if isinstance(one, Path)}


class Prometheus:
    def __init__(self, port: int) -> None:
        self._port = port

    def value(self, expression: str) -> float:
        """Of the only series; 0 where there is none."""
        query = urlencode({"query": expression})
        status, said = http_get(self._port, f"/api/v1/query?{query}")
        assert status == 200, said
        found = json.loads(said)["data"]["result"]
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else 0


@pytest.fixture(scope="module")
def prometheus(stack: Stack) -> Prometheus:
    return Prometheus(stack.ports["PROMETHEUS"])


def test_all_that_was_started_is_healthy_and_says_where_to_look(stack: Stack) -> None:
    shown = [json.loads(line) for line in stack.say("ps", "--format", "json").splitlines()]
    health = {one["Service"]: one["Health"] for one in shown}

    assert {"redis", "collector", "prometheus", "bookshop", "visitors"} <= health.keys()
    assert {name for name, one in health.items() if one != "healthy"} == {"visitors", "collector"}
    ports = {int(address.rpartition(":")[2].partition("/")[0]) for address in stack.addresses}
    assert ports == {stack.ports[name] for name in ("GRAFANA", "JAEGER", "PROMETHEUS", "BOOKSHOP")}
    assert http_get(stack.ports["BOOKSHOP"], "/status")[0] == 200


def test_everything_that_a_panel_shows_moves(stack: Stack, prometheus: Prometheus) -> None:
    wait_until(
        lambda: all(prometheus.value(one) > 0 for one in MOVES.values()),
        timeout=60,
        what="something in everything that panels show",
    )
    assert prometheus.value("sum(otel_redis_cache_errors_total)") == 0


def test_jaeger_has_traces_of_every_part(stack: Stack) -> None:
    if "jaeger" in stack.without:
        requirement.missing("jaeger", "neither its image nor a program of it can be had here")
    jaeger, began = QueryApi(stack.ports["JAEGER"]), time.time() - 600

    assert "bookshop" in jaeger.services()
    (found, *_) = wait_until(
        lambda: jaeger.trace_ids("bookshop", "cache.invalidate", began), timeout=30, what="one"
    )
    names = {span.name for span in jaeger.trace(found)}
    assert {"POST /prices", "cache.invalidate", "SCAN"} <= names


def test_lookups_in_prometheus_are_those_that_the_server_has_seen(
    stack: Stack, prometheus: Prometheus
) -> None:
    """The visitors leave first, so that both stand still."""
    stack.say("stop", "visitors")

    wait_until(
        lambda: prometheus.value(LOOKUPS) == asked_of(stack) > 100,
        timeout=60,
        what="as many lookups in Prometheus as the server has seen",
    )


def asked_of(stack: Stack) -> int:
    """How often the application has sent GET; the lease of the watch, a script, does so once each time."""
    said = stack.say("exec", "-T", "redis", "redis-cli", "INFO", "commandstats")
    calls = {name: int(count) for name, count in re.findall(r"cmdstat_([a-z|]+):calls=(\d+)", said)}
    return calls["get"] - calls.get("eval", 0) - calls.get("evalsha", 0)


def test_the_server_wants_the_password_of_the_environment(stack: Stack) -> None:
    said = stack.say("exec", "-T", "-e", "REDISCLI_AUTH=", "redis", "redis-cli", "PING")

    assert said.startswith("NOAUTH")
    assert PASSWORD not in stack.say("logs", "bookshop")


def test_after_make_down_nothing_is_left(stack: Stack, docker_engine: DockerEngine) -> None:
    """The last test here: the stack ends by it, and a second time does no harm."""
    ours: dict[str, str | list[str] | bool] = {"label": f"com.docker.compose.project={stack.name}"}
    client = docker_engine.client
    assert client.containers.list(filters=ours)
    stack.make("down")

    assert client.containers.list(all=True, filters=ours) == []
    assert client.volumes.list(filters=ours) == client.networks.list(filters=ours) == []
