"""Servers and pools that fork: started, used until each of their processes has worked, and ended in order."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.real.collector import Collector
from tests.real.processes import Process, wait_until

WORKERS = 4

WEB = """
import os
import redis

client = redis.Redis.from_url(os.environ["REDIS_URL"])

def app(environ, start_response):
    client.get("page:" + environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
"""One lookup a request; it answers which process it is."""


@contextmanager
def running(
    command: list[str | Path], log: Path, environment: Mapping[str, str]
) -> Iterator[Process]:
    """From `with` to SIGTERM, on which workers end in order; if they do not, every thread of them says where it is."""
    process = Process(command, log=log, environment={**environment, "PYTHONFAULTHANDLER": "1"})
    try:
        yield process
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0, process.output()
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGABRT)
        time.sleep(1)
        pytest.fail(f"it does not end:\n{process.output(400)}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()


def serve(port: int, process: Process) -> Counter[str]:
    """Ask until every worker has answered, and at least 400 times; process -> how many answers."""
    served = Counter(
        [wait_until(lambda: first_answer(port, process), timeout=30, what="an answer")]
    )
    with ThreadPoolExecutor(2 * WORKERS) as pool:
        for _ in range(20):
            served.update(pool.map(ask, [port] * 200))
            if len(served) == WORKERS and served.total() >= 400:
                break
    return served


def ask(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/?front")
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()
    finally:
        connection.close()


def first_answer(port: int, process: Process) -> str | None:
    assert process.running, process.output()
    try:
        return ask(port)
    except ConnectionRefusedError:
        return None


def by_instance(collector: Collector) -> dict[str, int]:
    """`service_instance_id` -> lookups of pages, from the page that Prometheus scrapes."""
    samples = [
        sample
        for sample in collector.prometheus_samples("cache_requests_total")
        if sample.labels["cache_name"] == "page"
    ]
    found = {sample.labels["service_instance_id"]: int(sample.value) for sample in samples}
    assert len(found) == len(samples), "one series would overwrite another"
    return found


def by_instance_in_files(collector: Collector) -> dict[object, int]:
    """The same from what the Collector wrote."""
    points = collector.latest("cache.requests")
    return {
        point.resource["service.instance.id"]: int(point.value)
        for point in points
        if point.attributes["cache.name"] == "page"
    }
