"""Agents and gateways as they are meant to stand: hosts with applications and an agent each, and a center for all."""

from __future__ import annotations

import http.client
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from typing_extensions import Self

from tests.real.collector import CONFIGURATION, Collector, own_metric
from tests.real.hosts import CENTER, Host, Hosts
from tests.real.processes import Process, wait_until
from tests.real.servers import RedisServer

ROOT = Path(__file__).parents[2]

Key = tuple[str, str]
"""Trace and span."""


class SharedRedis(RedisServer):
    """In the center, for all hosts."""

    host = CENTER

    def command(self, directory: Path) -> list[str | Path]:
        return [*super().command(directory), "--protected-mode", "no"]


@dataclass(frozen=True)
class Place:
    """An address in one of the namespaces."""

    host: Host
    address: str = "127.0.0.1"

    def get(self, port: int, path: str) -> tuple[int, str]:
        return self._ask("GET", port, path, None, {})

    def post(self, port: int, path: str, body: bytes) -> tuple[int, str]:
        return self._ask("POST", port, path, body, {"Content-Type": "application/x-protobuf"})

    def _ask(
        self, method: str, port: int, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str]:
        with self.host.inside():
            connection = http.client.HTTPConnection(self.address, port, timeout=5)
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                return response.status, response.read().decode(errors="replace")
            finally:
                connection.close()

    def answers(self, port: int, path: str = "/") -> bool:
        try:
            return self.get(port, path)[0] == 200
        except OSError:
            return False


class Program:
    """What runs at a place with a disk of its own, and can be started again there after its end."""

    def __init__(self, place: Place, health: tuple[int, str], directory: Path):
        self.place = place
        self.directory = directory
        self._health = health
        directory.mkdir()

    def command(self) -> tuple[list[str | Path], dict[str, str]]:
        """With its environment."""
        raise NotImplementedError

    def start(self) -> None:
        command, environment = self.command()
        with self.place.host.inside():
            self.process = Process(command, log=self.directory / "log", environment=environment)
        try:
            wait_until(self._ready, timeout=30, what=f"{command[0]} is ready")
        except BaseException:
            self.process.end(1)
            raise

    def _ready(self) -> bool:
        assert self.process.running, self.process.output()
        return self.place.answers(*self._health)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.end()


class Station(Program):
    """A Collector with one of our configurations: an agent or a gateway."""

    def __init__(
        self,
        place: Place,
        configuration: str,
        binary: Path,
        directory: Path,
        variables: dict[str, str],
        *,
        health: int,
        own_metrics: int,
    ):
        super().__init__(place, (health, "/"), directory)
        self._command: list[str | Path] = [binary, f"--config={CONFIGURATION / configuration}"]
        self._variables = {"QUEUE_DIRECTORY": str(directory / "queue"), **variables}
        self._own_metrics = own_metrics

    def command(self) -> tuple[list[str | Path], dict[str, str]]:
        return self._command, self._variables

    def own(self, name: str, **labels: str) -> int:
        return own(self.place, self._own_metrics, name, **labels)


def own(place: Place, port: int, name: str, **labels: str) -> int:
    status, text = place.get(port, "/metrics")
    assert status == 200, text
    return own_metric(text, name, **labels)


class Prometheus(Program):
    """Debian's, which takes what is written to it."""

    PORT = 9090

    def __init__(self, place: Place, directory: Path):
        super().__init__(place, (self.PORT, "/-/ready"), directory)
        (directory / "prometheus.yaml").write_text(
            # A gateway that had no answer writes again what may be there already.
            "storage: {tsdb: {out_of_order_time_window: 30m}}\n"
        )

    def command(self) -> tuple[list[str | Path], dict[str, str]]:
        return [
            shutil.which("prometheus") or "prometheus",
            f"--config.file={self.directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.PORT}",
            "--web.enable-remote-write-receiver",
            "--enable-feature=exemplar-storage",
        ], {}

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector that it gives: labels and value of each."""
        return self._asked(f"query?query={quote(expression)}")["result"]

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Of the last hour."""
        now = time.time()
        span = f"start={now - 3600:.0f}&end={now + 60:.0f}"
        found = self._asked(f"query_exemplars?query={quote(expression)}&{span}")
        return [one["labels"] for series in found for one in series["exemplars"]]

    def _asked(self, question: str) -> Any:
        status, text = self.place.get(self.PORT, f"/api/v1/{question}")
        assert status == 200, text
        return json.loads(text)["data"]

    def by(self, label: str, expression: str) -> dict[str, int]:
        found = self.query(f"sum by ({label}) ({expression})")
        return {one["metric"].get(label, ""): int(one["value"][1]) for one in found}


class Chain:
    """Two hosts with an agent each; in the center two gateways, Prometheus, a tracing backend and Redis."""

    GRPC, HEALTH, OWN = 24317, 23133, 28888
    """Ports of a gateway, as in its configuration."""

    BACKEND = 38888
    """Port of the tracing backend's own metrics."""

    PROCESSES: ClassVar = {"a1": 0, "a2": 0, "b1": 1}
    """Of the shop, by host."""

    DELTA = ("a2", "b1")
    """Export differences, where others export totals."""

    def __init__(self, collector: Path, redis: Path, **gateway: str):
        """`gateway`: environment variables of the gateways."""
        self._collector, self._redis, self._gateway = collector, redis, gateway

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        enter = self._stack.enter_context
        self.directory = Path(enter(tempfile.TemporaryDirectory(prefix="chain-")))
        hosts = enter(Hosts(["a", "b"], addresses=2))
        self.center = Place(hosts.center)
        with hosts.center.inside():
            self.redis = enter(SharedRedis("redis", self._redis))
            self.backend = enter(
                Collector(self._collector, COLLECTOR_METRICS_PORT=str(self.BACKEND))
            )
        self.prometheus = enter(Prometheus(self.center, self.directory / "prometheus"))
        self.gateways = [
            enter(self._new_gateway(Place(hosts.center, address))) for address in hosts.addresses
        ]
        addresses = ", ".join(f"{address}:{self.GRPC}" for address in hosts.addresses)
        self.agents = [
            enter(
                Station(
                    Place(host),
                    "agent.yaml",
                    self._collector,
                    self.directory / host.name,
                    {"GATEWAYS": f"[{addresses}]"},
                    health=13133,
                    own_metrics=8888,
                )
            )
            for host in hosts.around
        ]

    def _new_gateway(self, place: Place) -> Station:
        return Station(
            place,
            "gateway.yaml",
            self._collector,
            self.directory / place.address,
            {
                "OTLP_GRPC_ADDRESS": f"{place.address}:{self.GRPC}",
                "HEALTH_CHECK_ADDRESS": f"{place.address}:{self.HEALTH}",
                "COLLECTOR_METRICS_HOST": place.address,
                "TRACING_BACKEND": self.backend.grpc_endpoint.removeprefix("http://"),
                **self._gateway,
            },
            health=self.HEALTH,
            own_metrics=self.OWN,
        )

    def open_shop(self, visits: int, rate: int) -> Sequence[Process]:
        """Start its processes, and return when the first visit is due."""
        with self.center.host.inside():
            self.redis.call("SET", "book:1", "a book")
            self.redis.reset_stats()
        shop = [self._new_process(name, visits, rate) for name in self.PROCESSES]
        for name in self.PROCESSES:
            path = self.directory / f"{name}.ready"
            wait_until(path.exists, timeout=30, what=f"process {name} of the shop is ready")
        (self.directory / "start").write_text(str(time.time() + 0.2))
        return shop

    def _new_process(self, name: str, visits: int, rate: int) -> Process:
        command = [sys.executable, "-m", "tests.collector.visitor", self.redis.url, name]
        environment = {"PYTHONPATH": str(ROOT), "OTEL_BSP_MAX_QUEUE_SIZE": "50000"}
        if name in self.DELTA:
            environment["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] = "delta"
        with self.agents[self.PROCESSES[name]].place.host.inside():
            process = Process(
                [*command, str(visits), str(rate), self.directory],
                log=self.directory / f"{name}.log",
                environment=environment,
            )
        self._stack.callback(process.end)
        return process

    def wait_until_closed(self, shop: Sequence[Process]) -> None:
        """No process of it has had anything to complain about."""
        wait_until(
            lambda: not any(one.running for one in shop), timeout=60, what="the shop has closed"
        )
        logs = [(self.directory / f"{name}.log").read_text() for name in self.PROCESSES]
        assert not any(logs), "\n".join(logs)

    def wait_until_quiet(self, *signals: str) -> None:
        """All that there was of them has arrived, or is lost."""
        # Samplers look once a second at what they hold.
        for pause in (1.1, 0):
            wait_until(
                lambda: not self._waiting(signals), timeout=30, what="nothing waits in a Collector"
            )
            time.sleep(pause)

    def _waiting(self, signals: Sequence[str]) -> int:
        queues = sum(
            one.own("otelcol_exporter_queue_size", data_type=signal)
            for one in (*self.agents, *self.gateways)
            for signal in signals
        )
        held = "otelcol_processor_tail_sampling_sampling_traces_on_memory"
        return queues + sum(one.own(held) for one in self.gateways)

    def gets(self) -> int:
        """As Redis itself has counted them."""
        with self.center.host.inside():
            return self.redis.commandstats()["get"]

    def taken_by_backend(self) -> int:
        """Spans."""
        return own(self.center, self.BACKEND, "otelcol_receiver_accepted_spans")

    def made(self) -> dict[Key, float]:
        """When each span of the shop ended."""
        lines = [
            line.split()
            for name in self.PROCESSES
            for line in (self.directory / f"{name}.spans").read_text().splitlines()
        ]
        return {(trace, span): int(end) / 1e9 for trace, span, end in lines}
