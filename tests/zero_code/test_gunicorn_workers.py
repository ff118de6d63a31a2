"""Workers that gunicorn forks: each counts for itself, and Prometheus has the sum."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.real.collector import Collector
from tests.real.processes import Process, free_ports
from tests.real.servers import RedisServer

from .applications import SCRIPTS, Environment, exporting_to
from .workers import WEB, WORKERS, by_instance, by_instance_in_files, serve


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["forked before", "preloaded"])
def test_lookups_in_four_workers_are_as_many_in_prometheus(
    options: list[str],
    environment: Environment,
    server: RedisServer,
    collector: Collector,
    tmp_path: Path,
) -> None:
    (tmp_path / "web.py").write_text(WEB)
    (port,) = free_ports(1)
    workers = [SCRIPTS / "gunicorn", "--workers", str(WORKERS), "--bind", f"127.0.0.1:{port}"]
    process = Process(
        environment.instrumented(*workers, "--chdir", tmp_path, *options, "web:app"),
        log=tmp_path / "gunicorn.log",
        # gunicorn leaves a control socket at home.
        environment={"REDIS_URL": server.url, "HOME": str(tmp_path), **exporting_to(collector)},
    )
    try:
        served = serve(port, process)
    finally:
        process.end(30)  # SIGTERM, on which workers end in order and export what is left

    asked = sum(served.values())
    assert (len(served), server.commandstats()["get"]) == (WORKERS, asked), process.output()
    collector.wait_for(lambda it: sum(by_instance(it).values()) >= asked)
    assert sorted(by_instance(collector).values()) == sorted(served.values())
    collector.stop()
    spans = Counter(span.resource["service.instance.id"] for span in collector.spans())
    assert spans == by_instance_in_files(collector)


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["forked before", "preloaded"])
def test_one_of_all_processes_watches_the_server(
    options: list[str],
    environment: Environment,
    server: RedisServer,
    collector: Collector,
    tmp_path: Path,
) -> None:
    (tmp_path / "web.py").write_text(WEB)
    (port,) = free_ports(1)
    workers = [SCRIPTS / "gunicorn", "--workers", str(WORKERS), "--bind", f"127.0.0.1:{port}"]
    watching = {"OTEL_REDIS_CACHE_WATCH": server.url, "OTEL_METRIC_EXPORT_INTERVAL": "500"}
    process = Process(
        environment.instrumented(*workers, "--chdir", tmp_path, *options, "web:app"),
        log=tmp_path / "gunicorn.log",
        environment={
            "REDIS_URL": server.url,
            "HOME": str(tmp_path),
            **watching,
            **exporting_to(collector),
        },
    )

    def watchers(collector: Collector) -> set[str]:
        points = collector.latest("redis.memory.used")
        return {str(point.resource["service.instance.id"]) for point in points}

    try:
        served = serve(port, process)
        collector.wait_for(watchers)
        # All of them export by now, and have tried for the lease.
        collector.wait_for(lambda it: len(by_instance(it)) == WORKERS)
        time.sleep(2)
        assert len(served) == WORKERS
        assert len(watchers(collector)) == 1
        assert server.call("KEYS", "otel_redis_cache:*") == ["otel_redis_cache:{lease}:watch"]
    finally:
        process.end(30)

    assert server.call("KEYS", "otel_redis_cache:*") == [], process.output()
    assert "otel_redis_cache" not in process.output()
