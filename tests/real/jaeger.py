"""A real Jaeger with its storage in memory: OTLP goes in, its query API gives traces back."""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from typing_extensions import Self

from .collector import http_get
from .processes import Process, start_on_free_ports, wait_until
from .telemetry import Span, spans_of


class QueryApi:
    """What Jaeger's pages, and Grafana, ask."""

    def __init__(self, port: int) -> None:
        self._port = port

    def services(self) -> list[str]:
        found: list[str] = self._ask("services").get("services", [])
        return found

    def trace(self, trace_id: str) -> list[Span]:
        """All spans of a trace by their start; none where there is no such trace yet."""
        spans = list(spans_of(self._ask(f"traces/{trace_id}").get("result", {})))
        for span in spans:
            # Jaeger's own remark, where the caller's span is not in the trace.
            span.attributes.pop("@jaeger@warnings", None)
        return sorted(spans, key=lambda span: span.start)

    def trace_ids(self, service: str, operation: str, since: float) -> set[str]:
        """Of the traces in which the service has done this since a moment, in seconds since the epoch."""
        query = {
            "query.service_name": service,
            "query.operation_name": operation,
            "query.start_time_min": _moment(since),
            "query.start_time_max": _moment(since + 3_600),
            "query.num_traces": 20,
        }
        found = self._ask(f"traces?{urlencode(query)}").get("result", {})
        return {span.trace_id for span in spans_of(found)}

    def _ask(self, path: str) -> dict[str, Any]:
        status, said = http_get(self._port, f"/api/v3/{path}")
        if status == 404:
            return {}
        assert status == 200, said
        answer: dict[str, Any] = json.loads(said)
        return answer


class Jaeger(QueryApi):
    """On free loopback ports, from `with` to the end of it."""

    def __init__(self, binary: Path) -> None:
        self.binary = binary

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="jaeger-")
        start_on_free_ports(3, self._start)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.end()
        self._directory.cleanup()

    def _start(self, otlp: int, query: int, query_grpc: int) -> None:
        super().__init__(query)
        self.otlp_address = f"127.0.0.1:{otlp}"
        directory = Path(self._directory.name)
        configuration = directory / "jaeger.json"
        configuration.write_text(json.dumps(_configuration(otlp, query, query_grpc)), "utf-8")
        self._process = Process(
            [self.binary, "--config", configuration],
            log=directory / "jaeger.log",
            # It would trace its own queries too, and send that to port 4317.
            environment={"OTEL_TRACES_SAMPLER": "always_off"},
        )
        try:
            wait_until(self._answers, timeout=30, what="Jaeger answers")
        except BaseException:
            self._process.end(1)
            raise

    def _answers(self) -> bool:
        if not self._process.running:
            raise RuntimeError(f"Jaeger ended at once:\n{self._process.output()}")
        try:
            self.services()
        except OSError:
            return False
        return True


def _configuration(otlp: int, query: int, query_grpc: int) -> dict[str, Any]:
    return {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{otlp}"}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 10_000}}}},
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": f"127.0.0.1:{query}"},
                "grpc": {"endpoint": f"127.0.0.1:{query_grpc}"},
            },
        },
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}
            },
            "telemetry": {"metrics": {"level": "none"}},
        },
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")
