"""A real OpenTelemetry Collector that runs the configuration we ship."""

from __future__ import annotations

import functools
import http.client
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as text_string_to_families
from prometheus_client.samples import Sample
from typing_extensions import Self

from .processes import Process, start_on_free_ports, wait_until
from .telemetry import Point, Span, TelemetryFiles

T = TypeVar("T")

CONFIGURATION = Path(__file__).parents[2] / "collector-config"
CONFIGURATION_FILES = ("collector.yaml", "testing.yaml")
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def built_binary() -> Path | str:
    """The binary that `build-collector` finds or builds, or the reason why there is none."""
    return built_by("build-collector")


@functools.cache
def built_by(script: str) -> Path | str:
    """What a script of `collector-config` finds or builds, or the reason why there is none."""
    done = subprocess.run(
        [CONFIGURATION / script],
        check=False,
        capture_output=True,
        text=True,
        timeout=1500,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    return Path(done.stdout.strip())


def environment(
    *,
    host: str,
    grpc: int,
    http: int,
    prometheus: int,
    health: int,
    own_metrics: int,
    directory: Path,
) -> dict[str, str]:
    """The variables that `collector.yaml` and `testing.yaml` read; nobody listens on the tracing backend's port 9."""
    return {
        "OTLP_GRPC_ADDRESS": f"{host}:{grpc}",
        "OTLP_HTTP_ADDRESS": f"{host}:{http}",
        "PROMETHEUS_ADDRESS": f"{host}:{prometheus}",
        "HEALTH_CHECK_ADDRESS": f"{host}:{health}",
        "COLLECTOR_METRICS_HOST": host,
        "COLLECTOR_METRICS_PORT": str(own_metrics),
        "TRACING_BACKEND": "127.0.0.1:9",
        "TELEMETRY_DIRECTORY": str(directory),
    }


class RunningCollector:
    """Where a Collector listens, and what has come out of it so far."""

    def __init__(self, *, grpc: int, http: int, prometheus: int, directory: Path):
        self.grpc_endpoint = f"http://127.0.0.1:{grpc}"
        self.http_endpoint = f"http://127.0.0.1:{http}"
        self.prometheus_url = f"http://127.0.0.1:{prometheus}/metrics"
        self.telemetry = TelemetryFiles(directory)
        self._prometheus_port = prometheus

    def spans(self) -> list[Span]:
        """All spans so far, in the order of arrival."""
        self.telemetry.read()
        return list(self.telemetry.spans)

    def metrics(self, name: str | None = None) -> list[Point]:
        """All points so far, also the earlier states of a cumulative series."""
        self.telemetry.read()
        return [point for point in self.telemetry.points if name in (None, point.metric)]

    def latest(self, name: str | None = None) -> list[Point]:
        """The newest point of every series."""
        return list({point.series: point for point in self.metrics(name)}.values())

    def wait_for(self, found: Callable[[Self], T | None], timeout: float = 15) -> T:
        """Poll until `found(collector)` is true, and return it."""
        return wait_until(
            lambda: found(self), timeout=timeout, what="the Collector has what the test waits for"
        )

    def prometheus_text(self) -> str:
        """The page that Prometheus would scrape, in OpenMetrics."""
        status, text = http_get(self._prometheus_port, "/metrics", accept=_OPENMETRICS)
        assert status == 200, text
        return text

    def prometheus_samples(self, name: str) -> list[Sample]:
        """The samples of one name (`cache_requests_total`), with labels, value and exemplar."""
        families = text_string_to_metric_families(self.prometheus_text())
        return [sample for family in families for sample in family.samples if sample.name == name]


class Collector(RunningCollector):
    """`collector.yaml` with `testing.yaml` over it on free loopback ports, from `with` to the end of it.

    What it received is read back from its file exporter; everything is there once `stop()` has returned.
    More configurations are laid over these two.
    """

    def __init__(self, binary: Path, *more: Path, **variables: str):
        self.binary = binary
        self._files = [*(CONFIGURATION / name for name in CONFIGURATION_FILES), *more]
        self._variables = variables

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="collector-")
        start_on_free_ports(5, self._start)
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self.telemetry.read()
        self._directory.cleanup()
        findings = "\n".join(self.telemetry.findings())
        assert not findings, f"not as docs/registry says:\n{findings}"

    def _start(self, grpc: int, http: int, prometheus: int, health: int, own_metrics: int) -> None:
        directory = self.directory
        super().__init__(grpc=grpc, http=http, prometheus=prometheus, directory=directory)
        self._health = health
        self._addresses = environment(
            host="127.0.0.1",
            grpc=grpc,
            http=http,
            prometheus=prometheus,
            health=health,
            own_metrics=own_metrics,
            directory=directory,
        )
        self.restart()

    def restart(self) -> None:
        """Start it, again on the same ports if it was killed."""
        self._process = Process(
            [self.binary, *(f"--config={file}" for file in self._files)],
            log=self.directory / "collector.log",
            environment=self._addresses | self._variables,
        )
        try:
            wait_until(self._healthy, timeout=30, what="the Collector is healthy")
        except (RuntimeError, TimeoutError):
            self._process.end(1)
            raise

    def _healthy(self) -> bool:
        if not self._process.running:
            raise RuntimeError(f"the Collector ended at once:\n{self._process.output()}")
        try:
            return http_get(self._health, "/")[0] == 200
        except OSError:
            return False

    @property
    def directory(self) -> Path:
        """Where it writes its files."""
        return Path(self._directory.name)

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        return self._process.output(lines=10_000)

    def stop(self) -> None:
        """SIGTERM: queues are drained and the file is complete before this returns."""
        self._process.end()

    def kill(self) -> None:
        """SIGKILL: what it had not passed on is lost."""
        self._process.kill()

    def pause(self) -> None:
        self._process.pause()

    def resume(self) -> None:
        self._process.resume()


def own_metric(page: str, name: str, **labels: str) -> int:
    """What a Collector says of itself on that page, summed over all that has these labels."""
    samples = [it for family in text_string_to_families(page) for it in family.samples]
    found = [it for it in samples if it.name in (name, f"{name}_total")]
    return int(sum(it.value for it in found if labels.items() <= it.labels.items()))


def http_get(port: int, path: str, accept: str = "*/*") -> tuple[int, str]:
    """Straight to loopback: no proxy setting of the machine gets in between."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
