"""What is kept of a run, as JSON: every round, what follows from them, and where they were made."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.bars import BARS
from benchmarks.figures import Laps, Spread
from benchmarks.proofs import dropped
from benchmarks.variants import CONTRIB
from benchmarks.worker import Lap, Proof

Document = dict[str, Any]

LIBRARIES = (
    "otel-redis-cache",
    "redis",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-redis",
    "opentelemetry-exporter-otlp-proto-grpc",
)


def circumstances(server: str, name: str | None, made: str | None) -> Document:
    """Where and when."""
    return {
        "made": made or date.today().isoformat(),  # noqa: DTZ011 - of whoever runs it
        "machine": name or machine(),
        "versions": {
            "python": platform.python_version(),
            "server": server,
            **{name: importlib.metadata.version(name) for name in LIBRARIES},
        },
    }


def machine() -> str:
    """Processor, cores and kernel."""
    processor = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        names = [value.strip() for name, _, value in lines if name.strip() == "model name"]
        processor = names[0] if names else processor
    release = ".".join(platform.release().split(".")[:2])
    return f"{processor}, {os.cpu_count()} cores, {platform.system()} {release}"


def of_exporters(laps_by_case: Mapping[str, Laps], proofs: Mapping[str, Proof]) -> Document:
    """Everything that one way to export has shown."""
    return {
        "cases": {case: _of_case(laps) for case, laps in laps_by_case.items()},
        "proofs": {
            variant: {**proof._asdict(), "spans_dropped": dropped(variant, proof)}
            for variant, proof in proofs.items()
        },
    }


def _of_case(laps: Laps) -> Document:
    found: Document = {}
    for variant, rounds in laps.items():
        columns = {name: [getattr(lap, name) for lap in rounds] for name in Lap._fields}
        columns["added"] = figures.added(laps, variant)
        found[variant] = {
            name: {**_spread(figures.spread(values)), "rounds": [round(v, 3) for v in values]}
            for name, values in columns.items()
        }
        if CONTRIB in laps:
            ratio = figures.added_ratio(laps, variant, CONTRIB)
            found[variant]["added_ratio_to_contrib"] = _spread(ratio)
    return found


def of_bars(laps_by_case: Mapping[str, Laps]) -> list[Document]:
    """Which bars are reached; those of cases and variants that did not run are left out."""
    return [
        {
            "text": bar.text,
            "unit": bar.unit,
            **_spread(measured),
            "limit": bar.limit,
            "aim": bar.aim,
            "at_least": bar.throughput,
            "reached": bar.is_reached(measured.median),
        }
        for bar in BARS
        if bar.case in laps_by_case
        and (measured := bar.measure(laps_by_case[bar.case])) is not None
    ]


def _spread(spread: Spread | None) -> Document:
    if spread is None:
        return dict.fromkeys(Spread._fields)
    return {name: round(value, 3) for name, value in spread._asdict().items()}


def read(path: Path) -> Document:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(path: Path, parts: Document) -> None:
    """Put these parts in the place of those that the file has; the others stay."""
    text = json.dumps(read(path) | parts, indent=1)
    # The figures of all rounds stand in one line.
    text = re.sub(r"\[([^][{}]*)\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    path.write_text(f"{text}\n", encoding="utf-8")
