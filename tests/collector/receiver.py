"""What the Collector's redis receiver says that it emits, from the page that comes with its source."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.real.collector import CONFIGURATION

MODULE = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/redisreceiver"
GOLDEN = Path(__file__).with_name("redis-receiver.json")


@dataclass
class Row:
    """One metric of the receiver."""

    unit: str
    type: str
    """``counter``, ``updowncounter`` or ``gauge``, as our conventions call it."""
    value: str
    """``Int`` or ``Double``."""
    attributes: dict[str, list[str] | None] = field(default_factory=dict)
    """With the values that each may have, where they are listed."""
    is_default: bool = True

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def pinned() -> str:
    """The receiver's release in our Collector."""
    manifest = (CONFIGURATION / "builder.yaml").read_text(encoding="utf-8")
    found = re.search(rf"gomod: {re.escape(MODULE)} v(\S+)", manifest)
    assert found
    return found[1]


def documentation() -> str | None:
    """Its page of that release, where building the Collector has left it on this machine."""
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if go is None:
        return None
    cache = subprocess.run(
        [go, "env", "GOMODCACHE"], capture_output=True, text=True, timeout=30, check=True
    ).stdout.strip()
    page = Path(cache) / f"{MODULE}@v{pinned()}" / "documentation.md"
    return page.read_text(encoding="utf-8") if page.exists() else None


def rows_of(page: str) -> dict[str, Row]:
    """The metrics on it, by name."""
    metrics, _, _ = page.partition("## Resource Attributes")
    default, _, optional = metrics.partition("## Optional Metrics")
    return {
        name: row
        for part, is_default in ((default, True), (optional, False))
        for name, row in _rows(part, is_default=is_default)
    }


def _rows(part: str, *, is_default: bool) -> list[tuple[str, Row]]:
    found: list[tuple[str, Row]] = []
    for section in re.split(r"^### ", part, flags=re.MULTILINE)[1:]:
        cells, *attributes = _tables(section)
        sort = cells["Metric Type"]
        kind = "gauge" if sort == "Gauge" else _SUMS[cells["Monotonic"]]
        allowed = {one["Name"]: _values(one["Values"]) for one in attributes}
        row = Row(cells["Unit"], kind, cells["Value Type"], allowed, is_default)
        found.append((section.splitlines()[0].strip(), row))
    return found


_SUMS = {"true": "counter", "false": "updowncounter"}


def _tables(section: str) -> list[dict[str, str]]:
    """The rows of the tables in it, each by column."""
    rows: list[dict[str, str]] = []
    columns: list[str] | None = None
    for line in section.splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if columns is None:
            columns = cells
        elif not set(line) <= set("|- "):
            rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def _values(cell: str) -> list[str] | None:
    return re.findall(r"``([^`]+)``", cell) or None
