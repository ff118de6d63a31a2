"""Who watches a server changes no dashboard: the Collector's redis receiver, or `watch_server()`."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import redis
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from otel_redis_cache import conventions as names
from otel_redis_cache import watch_server
from otel_redis_cache.server import info, watch
from tests.real.collector import CONFIGURATION, Collector
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.real.telemetry import Point

from .receiver import GOLDEN, MODULE, documentation, pinned, rows_of

KINDS = {"counter": ("sum", True), "updowncounter": ("sum", False), "gauge": ("gauge", False)}
OPTIONAL = {"redis.maxmemory", "redis.cmd.calls", "redis.cmd.usec", "redis.cmd.latency"}


def ours() -> dict[str, names.Metric]:
    return {metric.name: metric for metric in names.RECEIVER_METRICS}


def test_the_list_in_the_tests_is_the_one_of_the_receiver_that_our_collector_has() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    page = documentation()

    assert golden["version"] == pinned()
    if page is not None:
        assert golden["metrics"] == {name: row.as_json() for name, row in rows_of(page).items()}


def test_we_have_what_the_receiver_emits_by_default_and_the_memory_limit_and_commands() -> None:
    receiver = json.loads(GOLDEN.read_text(encoding="utf-8"))["metrics"]
    default = {name for name, row in receiver.items() if row["is_default"]}

    assert ours().keys() == default | OPTIONAL
    for name, metric in ours().items():
        row = receiver[name]
        own = metric.attributes[len(names.SERVER_ATTRIBUTES) :]
        assert (metric.unit, metric.kind, own) == (
            row["unit"],
            row["type"],
            tuple(row["attributes"]),
        )
        assert (metric in info.READERS) == (row["value"] == "Double")


def test_attributes_have_the_values_that_the_receiver_lists() -> None:
    receiver = json.loads(GOLDEN.read_text(encoding="utf-8"))["metrics"]
    states = {value for _, _, attributes in info.ROWS for _, value in attributes}

    assert states == set(receiver["redis.cpu.time"]["attributes"]["state"])
    percentiles = receiver["redis.cmd.latency"]["attributes"]["percentile"]
    assert set(info.PERCENTILES) == set(percentiles)


@dataclass(frozen=True)
class Series:
    """What a point is about, and how it is written."""

    metric: str
    unit: str
    type: str
    monotonic: bool
    temporality: str
    is_whole: bool
    attributes: tuple[tuple[str, object], ...]

    @classmethod
    def of(cls, point: Point) -> Series:
        return cls(
            point.metric,
            point.unit,
            point.type,
            point.monotonic,
            point.temporality,
            point.is_whole,
            tuple(sorted(point.attributes.items())),
        )


class Side:
    """What one of the two has told since a moment, by series."""

    def __init__(self, collector: Collector, scope: str) -> None:
        self._collector = collector
        self._scope = scope

    def points(self, since: float) -> dict[Series, list[Point]]:
        found: dict[Series, list[Point]] = {}
        for point in self._collector.metrics():
            of_scope = point.scope == self._scope and point.metric.startswith("redis.")
            if of_scope and point.time >= since * 1e9:
                found.setdefault(Series.of(point), []).append(point)
        return found

    def scrapes(self, since: float) -> list[int]:
        """When it told how long the server has run."""
        found = self.points(since).items()
        return sorted(p.time for s, points in found for p in points if s.metric == "redis.uptime")


MOVES = {
    "redis.memory.used": 0.05,
    "redis.memory.rss": 0.05,
    "redis.memory.peak": 0.05,
    "redis.memory.lua": 0.5,
    "redis.memory.fragmentation_ratio": 0.1,
    "redis.db.avg_ttl": 0.05,
    "redis.cmd.latency": 0.9,
}
"""What depends on who asks and how often, by how much of it that may be."""

PASSES = {"redis.commands", "redis.clients.max_input_buffer", "redis.clients.max_output_buffer"}
"""What is about the last moments, and so is another one for each look."""


@dataclass(frozen=True)
class Told:
    """What both say of one series: we once, the receiver just before, meanwhile and just after."""

    metric: str
    mine: float
    theirs: tuple[float, ...]

    @property
    def is_same(self) -> bool:
        """Nobody can look at the same moment as another, so it is a value between theirs."""
        spare = MOVES.get(self.metric, 0) * abs(self.mine) + 1e-9
        is_between = min(self.theirs) - spare <= self.mine <= max(self.theirs) + spare
        return is_between or self.metric in PASSES


class Both:
    """The Collector's receiver and a watch of ours, which ask the same server; both end in one file."""

    def __init__(self, collector: Collector, provider: MeterProvider) -> None:
        self._provider = provider
        self.collector = collector
        self.theirs = Side(collector, MODULE)
        self.mine = Side(collector, names.SCOPE)

    def tell(self) -> None:
        assert self._provider.force_flush()

    def told(self) -> dict[Series, Told]:
        """What both say of each series; both must have the same ones."""
        start = time.time()
        wait_until(lambda: len(self.theirs.scrapes(start)) >= 3, timeout=30, what="scrapes before")
        first = time.time()
        wait_until(lambda: self._looked(first), timeout=30, what="a look of ours")
        last = time.time()
        wait_until(lambda: len(self.theirs.scrapes(last)) >= 3, timeout=30, what="scrapes after")
        mine, theirs = self.mine.points(first), self.theirs.points(start)
        assert mine.keys() == theirs.keys()
        return {s: _beside(mine[s][-1], theirs[s]) for s in mine}

    def _looked(self, since: float) -> bool:
        """The second export: the first one may tell of a look from before."""
        time.sleep(PERIOD)
        self.tell()
        return len(self.mine.scrapes(since)) >= 3


def _beside(mine: Point, theirs: list[Point]) -> Told:
    """A look of ours is at most two periods old when it is exported."""
    before = max(p.time for p in theirs if p.time < mine.time - 2e9 * PERIOD)
    after = min(p.time for p in theirs if p.time > mine.time + 1e9 * PERIOD)
    values = tuple(p.value for p in theirs if before <= p.time <= after)
    return Told(mine.metric, mine.value, values)


PERIOD = 1.0
"""Seconds between two questions, ours and the receiver's."""


@contextmanager
def both_watching(server: RedisServer, binary: Path, directory: Path) -> Iterator[Both]:
    to_file = directory / "to-file.yaml"
    exporters = "[prometheus, file/metrics]"
    to_file.write_text(f"service: {{pipelines: {{metrics/redis: {{exporters: {exporters}}}}}}}\n")
    variables = {
        "REDIS_ENDPOINT": f"{server.host}:{server.port}",
        "REDIS_INTERVAL": "1s",
        "REDIS_COMMANDS": "true",
    }
    with Collector(
        binary, CONFIGURATION / "redis-receiver.yaml", to_file, **variables
    ) as collector:
        exporter = OTLPMetricExporter(collector.grpc_endpoint, insecure=True)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(watch, "PERIOD", PERIOD)
                watched = watch_server(server.url, meter_provider=provider, watch_commands=True)
            with watched:
                yield Both(collector, provider)
        finally:
            provider.shutdown()


@contextmanager
def used(server: RedisServer) -> Iterator[None]:
    """So that there is something of everything that is counted or measured; then it is quiet."""
    with (
        redis.Redis(port=server.port, single_connection_client=True) as client,
        redis.Redis(port=server.port, db=3, single_connection_client=True) as other,
        RedisServer(server.kind, server.binary) as replica,
        socket.create_connection((server.host, server.port)) as blocked,
    ):
        blocked.sendall(b"BLPOP nothing 0\r\n")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", int(server.info("memory")["used_memory"]) + 300_000)
        for number in range(100):
            client.set(f"large:{number}", "x" * 10_000)
        client.config_set("maxmemory", 100_000_000)
        for number in range(50):
            client.set(f"lasting:{number}", "x" * 100, ex=100_000)
            client.get(f"lasting:{number}")
            client.get(f"missing:{number}")
        other.set("elsewhere", 1)
        for number in range(5):
            client.set(f"brief:{number}", 1, px=1)
        wait_for(server, "stats", "expired_keys", "5")
        client.config_set("maxclients", 1)  # those who are there stay
        with pytest.raises((RuntimeError, OSError)):
            server.call("PING")
        client.config_set("maxclients", 10_000)
        replica.call("REPLICAOF", server.host, server.port)
        wait_for(server, "replication", "connected_slaves", "1")
        wait_for(replica, "replication", "master_link_status", "up")
        wait_for(server, "clients", "blocked_clients", "1")
        yield


def wait_for(server: RedisServer, section: str, field: str, value: str) -> None:
    wait_until(lambda: server.info(section)[field] == value, timeout=20, what=f"{field} is {value}")


def test_the_receiver_and_we_tell_the_same_up_to_a_restart_and_of_what_comes_after_it(
    new_server: RedisServer, collector_binary: Path, tmp_path: Path
) -> None:
    server = new_server
    with both_watching(server, collector_binary, tmp_path) as both:
        with used(server):
            before = both.told()
            start = time.time()
            server.pause()  # so that all that was asked was also answered
            both.tell()
            wait_until(lambda: both.mine.scrapes(start), timeout=20, what="what we saw last")
        last = {s: points[-1].value for s, points in both.mine.points(start).items()}
        server.kill()
        server.restart()
        with used(server):
            after = both.told()
    increases = {
        s: replace(told, mine=told.mine - last.get(s, 0)) if s.monotonic else told
        for s, told in after.items()
    }
    for told in (before, increases):
        assert {s: pair for s, pair in told.items() if not pair.is_same} == {}
        assert {s.metric for s, pair in told.items() if pair.mine} | PASSES == ours().keys()
    assert last.keys() == before.keys()


def test_prometheus_shows_what_both_tell_under_the_same_names_and_labels(
    valkey_server: RedisServer, collector_binary: Path, tmp_path: Path
) -> None:
    with both_watching(valkey_server, collector_binary, tmp_path) as both:
        both.told()
        page = both.collector.prometheus_text()
    shown: dict[bool, set[tuple[str, frozenset[tuple[str, str]]]]] = {True: set(), False: set()}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name.startswith("redis_"):
                scope = sample.labels["otel_scope_name"]
                labels = {k: v for k, v in sample.labels.items() if k in LABELS}
                shown[scope == MODULE].add((sample.name, frozenset(labels.items())))
    assert shown[True] == shown[False]
    address = {("server_address", valkey_server.host), ("server_port", str(valkey_server.port))}
    assert all(labels >= address for _, labels in shown[True])
    assert {"redis_memory_used_bytes", "redis_maxmemory_bytes"} <= {name for name, _ in shown[True]}


LABELS = {"server_address", "server_port", "state", "db", "cmd", "percentile"}
