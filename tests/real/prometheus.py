"""A real Prometheus that scrapes a Collector every half second, and keeps rules and exemplars."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from typing_extensions import Self

from .collector import RunningCollector, http_get
from .processes import Process, start_on_free_ports, wait_until

INTERVAL = 0.5
"""Seconds between two scrapes, and between two evaluations of a rule."""


@dataclass(frozen=True)
class Sample:
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Exemplar:
    series: Mapping[str, str]
    trace_id: str
    value: float


class Prometheus:
    """From `with` to the end of it, on a free loopback port; what it answers, as records."""

    def __init__(self, binary: Path, collector: RunningCollector, *rules: Path):
        self._binary = binary
        self._target = urlsplit(collector.prometheus_url)
        self._rules = rules

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="prometheus-")
        start_on_free_ports(1, self._start)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.end()
        self._directory.cleanup()

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """The value of an expression now, or at that time: of a scalar, one sample without labels."""
        asked = {"query": expression} if at is None else {"query": expression, "time": f"{at:.3f}"}
        found = self._ask("query", asked)
        if found["resultType"] == "scalar":
            return [Sample({}, float(found["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in found["result"]]

    def label_values(self, selector: str, label: str) -> list[str]:
        """What a choice in a dashboard offers."""
        values: list[str] = self._ask(f"label/{label}/values", {"match[]": selector})
        return values

    def exemplars(self, expression: str, start: float, end: float) -> list[Exemplar]:
        """Those of all series that the expression reads."""
        found = self._ask("query_exemplars", {"query": expression, "start": start, "end": end})
        return [
            Exemplar(one["seriesLabels"], exemplar["labels"]["trace_id"], float(exemplar["value"]))
            for one in found
            for exemplar in one["exemplars"]
        ]

    def scrape(self) -> float:
        """Wait for a scrape that began after this call; when it did."""
        called = time.time()
        wait_until(lambda: self._last_scrape() > called, timeout=20, what="Prometheus scrapes")
        return self._last_scrape()

    def _last_scrape(self) -> float:
        return max((one.value for one in self.query("timestamp(up)")), default=0.0)

    def _ask(self, path: str, parameters: Mapping[str, Any]) -> Any:
        status, text = http_get(self._port, f"/api/v1/{path}?{urlencode(parameters)}")
        answer = json.loads(text)
        if status != 200:
            raise ValueError(f"{answer['error']}: {parameters}")
        return answer["data"]

    def _start(self, port: int) -> None:
        self._port = port
        directory = Path(self._directory.name)
        configuration = directory / "prometheus.yaml"
        configuration.write_text(json.dumps(self._configuration()), encoding="utf-8")
        self._process = Process(
            [
                self._binary,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            log=directory / "prometheus.log",
        )
        try:
            wait_until(self._ready, timeout=20, what="Prometheus is ready")
        except (RuntimeError, TimeoutError):
            self._process.end(1)
            raise

    def _configuration(self) -> dict[str, Any]:
        """JSON, which is YAML; `honor_labels` as collector-config/README.md has it."""
        interval = f"{INTERVAL * 1000:.0f}ms"
        targets: Sequence[str] = [self._target.netloc]
        collector = {
            "job_name": "collector",
            "honor_labels": True,
            "static_configs": [{"targets": targets}],
        }
        return {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "rule_files": [str(file) for file in self._rules],
            "scrape_configs": [collector],
        }

    def _ready(self) -> bool:
        if not self._process.running:
            raise RuntimeError(f"Prometheus ended at once:\n{self._process.output()}")
        try:
            return http_get(self._port, "/-/ready")[0] == 200
        except OSError:
            return False
