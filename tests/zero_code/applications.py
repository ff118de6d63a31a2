"""Applications that know nothing of telemetry, run as a user runs them, and what they left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.real.collector import Collector

SCRIPTS = Path(sys.executable).parent
CONTRIB = "opentelemetry_instrumentation_redis"
UNUSED = "opentelemetry_instrumentation_fastapi"
"""No application here is a FastAPI service, and loading it takes half a second each time."""

OWN_LOGGER = "otel_redis_cache"

SHELF = """
import os, sys
import redis

with redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True) as client:
    client.set("user:1", "Ada", ex=60)
    print(client.get("user:1"), client.get("user:2"), client.delete("user:1", "user:3"))
sys.exit(3)
"""
"""A small application: one write, one hit, one miss, one entry removed."""

SHELF_RESULT = ("Ada None 1\n", 3)
"""What it prints, and its exit code."""


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    stdout: str
    stderr: str
    code: int
    seconds: float

    @property
    def result(self) -> tuple[str, int]:
        """What the application itself did."""
        return self.stdout, self.code

    @property
    def own_lines(self) -> list[str]:
        """What our loggers said."""
        return [line for line in self.stderr.splitlines() if line.startswith(OWN_LOGGER)]


class Environment:
    """A virtual environment with what this one has, but for some packages.

    It is made of links, so nothing is downloaded. Logging that nobody has configured names the
    logger there.
    """

    _NAMED_LINES = "import logging; logging.lastResort.setFormatter(logging.Formatter('%(name)s: %(message)s'))"

    def __init__(self, directory: Path, *, without: tuple[str, ...] = ()) -> None:
        venv.create(directory, symlinks=True)
        self.python = directory / "bin" / "python"
        (target,) = directory.glob("lib/python*/site-packages")
        (target / "named_lines.pth").write_text(self._NAMED_LINES)
        sites = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
        for entry in {entry.name: entry for site in sites for entry in site.iterdir()}.values():
            if entry.name.lower().partition("-")[0] not in (*without, UNUSED):
                (target / entry.name).symlink_to(entry)

    def instrumented(self, *command: str | Path) -> list[str | Path]:
        """`opentelemetry-instrument python ...` of this environment."""
        return [self.python, SCRIPTS / "opentelemetry-instrument", self.python, *command]

    def run(self, application: str, settings: Mapping[str, str]) -> Ended:
        """Run a source text to its end, with no telemetry settings but these."""
        source = self.python.parents[1] / "app.py"
        source.write_text(application)
        started = time.monotonic()
        done = subprocess.run(
            self.instrumented(source),
            env={**without_telemetry_settings(), **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ended(done.stdout, done.stderr, done.returncode, time.monotonic() - started)


def without_telemetry_settings() -> dict[str, str]:
    """The environment of this process, whatever its user has set for telemetry taken away."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}


def exporting_to(collector: Collector) -> dict[str, str]:
    """The settings that a user makes."""
    return {
        "OTEL_SERVICE_NAME": "shelf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc_endpoint,
        "NO_PROXY": "127.0.0.1",
    }


def spans_by_scope(collector: Collector) -> dict[str, int]:
    """How many spans came from whom."""
    scopes = [span.scope for span in collector.spans()]
    return {scope: scopes.count(scope) for scope in scopes}


def lookups(collector: Collector) -> dict[tuple[str, str], int]:
    """(cache name, hit or miss) -> `cache.requests`."""
    return {
        (str(p.attributes["cache.name"]), str(p.attributes["cache.request.type"])): int(p.value)
        for p in collector.latest("cache.requests")
    }


def durations(collector: Collector) -> int:
    """How many operations have a duration, whoever recorded it."""
    return sum(point.count for point in collector.latest("db.client.operation.duration"))
