"""Servers and the Collector in containers, the way many users of testcontainers have theirs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import redis

from tests.collector.test_end_to_end import (
    Plan,
    bookshop,
    exporter_to,
    planned_numbers,
    scraped_numbers,
    visit_all,
)
from tests.real.collector import RunningCollector
from tests.real.processes import wait_until

if TYPE_CHECKING:
    # Only here: testcontainers reads its settings at import, and the fixtures make them first.
    from testcontainers.community.redis import RedisContainer
    from testcontainers.community.valkey import ValkeyContainer

VERSIONS = {"redis": ("redis_version", "8.2."), "valkey": ("valkey_version", "9.1.")}


@pytest.fixture(params=VERSIONS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def container(request: pytest.FixtureRequest, kind: str) -> RedisContainer | ValkeyContainer:
    found: RedisContainer | ValkeyContainer = request.getfixturevalue(f"{kind}_container")
    return found


@pytest.fixture
def client(container: RedisContainer | ValkeyContainer) -> Iterator[redis.Redis]:
    """Of the test, which nobody watches; the server is empty and its statistics are at zero."""
    from testcontainers.core.container import DockerContainer

    port = DockerContainer.get_exposed_port(container, 6379)
    with redis.Redis(container.get_container_host_ip(), port) as client:
        client.flushall()
        client.config_resetstat()
        yield client


def test_each_server_in_a_container_is_the_one_that_is_promised(
    client: redis.Redis, kind: str
) -> None:
    name, version = VERSIONS[kind]
    assert client.info("server")[name].startswith(version)


def test_what_was_planned_is_what_the_server_and_the_collector_count(
    client: redis.Redis, kind: str, collector_container: RunningCollector, tmp_path: Path
) -> None:
    plan = Plan(random.Random(kind))
    client.mset(plan.warm)
    url = "redis://{host}:{port}/0".format(**client.get_connection_kwargs())

    with bookshop(url, exporter_to(collector_container, "grpc"), tmp_path) as shop:
        visit_all(shop, plan)

    expected = planned_numbers(plan.calls)
    assert calls_of(client, "get", "set", "del") == Counter(
        call.operation.lower() for call in plan.calls
    )
    with suppress(TimeoutError):
        collector_container.wait_for(lambda it: scraped_numbers(it) == expected, timeout=5)
    assert scraped_numbers(collector_container) == expected


def test_a_server_that_is_paused_is_an_outage_until_it_goes_on(
    container: RedisContainer | ValkeyContainer,
    client: redis.Redis,
    collector_container: RunningCollector,
    tmp_path: Path,
) -> None:
    """The application asks again and again, as visitors do; the Collector's page says what it saw."""
    docker = container.get_wrapped_container()
    url = "redis://{host}:{port}/0?socket_timeout=0.2&retry_on_timeout=false".format(
        **client.get_connection_kwargs()
    )
    exporter = exporter_to(collector_container, "grpc") | {"OTEL_METRIC_EXPORT_INTERVAL": "200"}

    with bookshop(url, exporter, tmp_path) as shop:
        wait_until(lambda: read(shop) and up(collector_container) == {1}, timeout=20, what="up")
        docker.pause()
        try:
            wait_until(
                lambda: not read(shop) and up(collector_container) == {0}, timeout=20, what="down"
            )
        finally:
            docker.unpause()
        wait_until(lambda: read(shop) and up(collector_container) == {1}, timeout=20, what="back")

    outages = collector_container.prometheus_samples("redis_client_outage_duration_seconds_count")
    assert [sample.value for sample in outages] == [1]


def calls_of(client: redis.Redis, *commands: str) -> Counter[str]:
    said: dict[str, Any] = client.info("commandstats")
    return Counter({name: int(said[f"cmdstat_{name}"]["calls"]) for name in commands})


def read(shop: str) -> bool:
    return httpx.get(f"{shop}/books/1", trust_env=False, timeout=10).is_success


def up(collector: RunningCollector) -> set[float]:
    return {sample.value for sample in collector.prometheus_samples("redis_client_up")}
