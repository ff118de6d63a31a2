"""A soak, from the first call to the verdict.

    the application ---- direct ----------------> a mortal server
     a process of    --- proxied --> a network --> a server that lives through it
     its own         --- steady ------------------^
                     --- cluster ---------------> three nodes
                     --- OTLP ------------------> a Collector, whose files are read while they grow

Faults strike each of them. In the end all counts are compared.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.real.clusters import Cluster
from tests.real.collector import Collector
from tests.real.servers import Kind, RedisServer
from tests.soak import faults, verdict
from tests.soak.accounts import Account
from tests.soak.application import Settings
from tests.soak.exports import Exports
from tests.soak.faults import Fault, Faults
from tests.soak.network import Network

HERE = Path(__file__).parent
OFTEN, RARELY = (1.0, 6.0), (10.0, 40.0)
"""Seconds between two faults of one target. A Collector that was away is caught up with first, where there is time."""
RECOVERY = 5.0
"""Seconds without any fault at the end, in which all has to go well again."""


@dataclass(frozen=True)
class Progress:
    """What is said while it runs."""

    phase: str
    passed: float
    calls: int
    strikes: int
    now: dict[str, str]


Tell = Callable[[Progress], None]


class Running:
    """The application's process: asked in lines, answers in lines."""

    def __init__(self, settings: Settings) -> None:
        # What it says about itself goes to the terminal, or to pytest.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.application", json.dumps(settings._asdict())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parents[1],
        )
        self._answer()

    def ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> dict[str, Any]:
        """What it has got in the end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the application has ended with {self._process.wait(10)}")
        return json.loads(line)

    def close(self) -> None:
        """It has ended, or is ended: what it would say is of no interest any more."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


class Soak:
    """One run."""

    def __init__(
        self,
        servers: dict[Kind, Path],
        collector: Path,
        *,
        seed: int,
        seconds: float,
        workers: tuple[int, int] = (2, 4),
    ) -> None:
        """`workers`: threads and tasks of each route."""
        self._servers, self._collector_binary = servers, collector
        self._seed, self._seconds, self._workers = seed, seconds, workers
        self._states: dict[str, dict[str, Any]] = {}
        self._peak: dict[str, int] = {}

    def run(self, tell: Tell) -> dict[str, Any]:
        """All of it; what was found, as JSON has it."""
        with ExitStack() as stack:
            kinds = list(self._servers.items())
            (first, mortal_binary), (second, steady_binary) = kinds[0], kinds[-1]
            mortal = stack.enter_context(RedisServer(first, mortal_binary))
            steady = stack.enter_context(RedisServer(second, steady_binary))
            network = stack.enter_context(Network(steady.port))
            cluster = stack.enter_context(Cluster(first, mortal_binary, primaries=3))
            collector = stack.enter_context(
                Collector(self._collector_binary, HERE / "collector.yaml")
            )
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
            routes = {
                "direct": mortal.port,
                "proxied": network.port,
                "steady": steady.port,
                "cluster": cluster.nodes[0].port,
            }
            settings = Settings(
                routes,
                collector.grpc_endpoint,
                str(directory / "events"),
                self._seed,
                2 if self._seconds < 300 else 10,
                *self._workers,
            )
            self._exports = Exports(collector)
            self._steady, self._routes = steady, routes
            self._application = Running(settings)
            stack.callback(self._application.close)
            decks: dict[str, Sequence[Fault]] = {
                "mortal": faults.of_server(mortal, mortal=True),
                "steady": faults.of_server(steady, mortal=False),
                "network": faults.of_network(network),
                "cluster": faults.of_cluster(cluster, random.Random(self._seed)),
                "collector": faults.of_collector(collector, self._exports.after_a_kill),
            }
            pauses = dict.fromkeys(decks, OFTEN)
            if self._seconds > 300:
                pauses["collector"] = RARELY
            self._faults = Faults(self._seed, pauses, decks)
            self._began = time.monotonic()
            self._load(tell)
            said = self._application.end()
            stats = steady.commandstats()
            collector.stop()
            self._exports.read_all()
            return self._judge(said, stats, directory / "events")

    def _load(self, tell: Tell) -> None:
        """With faults but for the last seconds; between the phases all workers pause."""
        whole = self._seconds - RECOVERY
        phases = [
            ("warm", 0.25 * whole if whole < 240 else 60.0),
            ("traced", 0.1 * whole),
            ("end", 0.15 * whole),
        ]
        seconds = dict(phases)
        seconds["soaked"] = whole - sum(seconds.values())
        with self._faults:
            for name, question in (
                ("warm", "check"),
                ("soaked", "trace"),
                ("traced", "check"),
                ("end", "check"),
            ):
                self._wait(name, seconds[name], tell)
                with self._faults.held():
                    self._states[name] = self._application.ask(question)
        self._wait("recovery", RECOVERY, tell)

    def _wait(self, phase: str, seconds: float, tell: Tell) -> None:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            calls = self._application.ask("calls")["calls"]
            passed = now - self._began
            tell(Progress(phase, passed, calls, len(self._faults.strikes), self._faults.now))
            self._exports.read()
            time.sleep(min(1, max(end - time.monotonic(), 0)))

    def _judge(self, said: dict[str, Any], stats: dict[str, int], events: Path) -> dict[str, Any]:
        application = Account.of_json(said["account"])
        telemetry = self._exports.account(self._routes)
        strikes = self._faults.strikes
        explained, unexplained = verdict.of_events(strikes, events)
        retries = self._exports.total("redis.client.retries")
        findings = [
            *self._faults.failed,
            *unexplained,
            *(f"{what} was left open" for what in said["left"]),
            *verdict.of_counts(application, telemetry),
            *verdict.of_spans(application, telemetry, said["spans"], self._exports),
            *verdict.of_server(application, stats, retries),
            *verdict.of_leaks(self._states),
        ]
        if faulty := self._exports.total("otel_redis_cache.errors"):
            findings.append(f"{faulty} faults of this package were contained")
        spans = {
            name: sum(row[-1] for row in said["spans"][name])
            for name in ("ended", "taken", "refused")
        }
        return {
            "seed": self._seed,
            "seconds": round(time.monotonic() - self._began),
            "calls": application.calls,
            "failed": application.failed,
            "retries": retries,
            "lookups": application.lookups.total(),
            "writes": application.writes.total(),
            "removed": application.removed.total(),
            "invalidations": application.invalidations.total(),
            "messages": application.messages.total(),
            "spans": {
                **spans,
                "begun": said["spans"]["begun"],
                "dropped": spans["ended"] - spans["taken"] - spans["refused"],
                "written": self._exports.spans.total(),
                "copies": self._exports.copies,
            },
            "series": len(self._exports.newest),
            "faults": {
                f"{target}: {name}": n for (target, name), n in sorted(self._faults.count().items())
            },
            "explained": dict(explained.most_common()),
            "states": self._states,
            "findings": findings,
        }
