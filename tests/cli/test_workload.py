"""The shop, on real servers: what an import of prices does to the database that it meets."""

from __future__ import annotations

import pytest

from otel_redis_cache.cli import workload
from otel_redis_cache.cli.workload import Workload
from tests.real.processes import wait_until
from tests.real.servers import RedisServer


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "IMPORT_SECONDS", 0.1)


def test_an_import_removes_the_products_and_nothing_else(server: RedisServer) -> None:
    server.call("SET", "product:1", "the user's own")
    server.call("SET", "otel-redis-cache-demo:product:none", "stale")
    server.call("SET", "otel-redis-cache-demo:session:none", "kept")
    with Workload(server.url).running():
        wait_until(
            lambda: server.call("EXISTS", "otel-redis-cache-demo:product:none") == 0,
            timeout=10,
            what="the stale product is gone",
        )
    assert server.call("EXISTS", "product:1", "otel-redis-cache-demo:session:none") == 2


def test_a_large_database_is_not_gone_through(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload, "LARGE", 0)
    server.call("SET", "product:1", "the user's own")
    with Workload(server.url).running():
        wait_until(
            lambda: server.commandstats().get("dbsize", 0) >= 2,
            timeout=10,
            what="two imports were due",
        )
    assert "scan" not in server.commandstats()
