"""What was found of the keys of a server, and the same for machines: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

NEVER = "none"

LIFETIMES: Mapping[str, float] = {
    "under_1_minute": 60,
    "under_1_hour": 3_600,
    "under_1_day": 86_400,
    "under_7_days": 7 * 86_400,
    "longer": float("inf"),
}
"""Kinds of times to live, and the seconds that they stay under."""

KINDS = (NEVER, *LIFETIMES)

SCHEMA = 1


class Figure(NamedTuple):
    """A number; with half of the width of its 95 % interval, 0 where it is exact."""

    value: int
    error: int


class Row(NamedTuple):
    """One named cache."""

    cache: str
    entries: Figure
    size: Figure
    """Bytes."""
    share: float
    """Of the bytes of all caches."""
    lifetimes: Mapping[str, Figure]
    """Entries by how long they have left, as in KINDS."""

    @property
    def without_ttl(self) -> Figure:
        """Entries that never expire."""
        return self.lifetimes[NEVER]


class Big(NamedTuple):
    """One large entry."""

    name: str
    """The key, or what is left of it where keys are masked."""
    cache: str
    size: int
    ttl: float | None
    """Seconds; None where it never expires."""
    kind: str
    """``hash``, ``string``, ...; empty where the server does not tell."""


class Proposal(NamedTuple):
    """A rule that would name keys which have no name."""

    cache: str
    pattern: str
    entries: int


@dataclass(frozen=True)
class Findings:
    """What one run has found."""

    server: str
    nodes: int
    keys: int
    """That the server says it has."""
    asked: int
    """Keys that were asked about."""
    is_exact: bool
    """Whether these were all of them."""
    seconds: float
    rows: Sequence[Row]
    """Caches, those with the most memory first."""
    size: Figure
    """Bytes of all."""
    biggest: Sequence[Big]
    proposals: Sequence[Proposal] = ()
    settings: Mapping[str, str] | None = None
    """What to set for the proposed rules; None where none were asked for."""
    remarks: Sequence[str] = ()

    @property
    def basis(self) -> str:
        """What the numbers rest on, in words."""
        if self.is_exact:
            return f"all {self.asked:,} keys were asked about: the numbers are exact"
        return (
            f"{self.asked:,} of {self.keys:,} keys were asked about: the numbers are estimates, "
            "± half of the width of their 95 % intervals"
        )


def as_json(findings: Findings) -> str:
    """All of it, one document."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "server": findings.server,
        "nodes": findings.nodes,
        "keys": findings.keys,
        "asked": findings.asked,
        "exact": findings.is_exact,
        "confidence": 0.95,
        "seconds": round(findings.seconds, 3),
        "bytes": findings.size._asdict(),
        "caches": [
            {
                "cache": row.cache,
                "entries": row.entries._asdict(),
                "bytes": row.size._asdict(),
                "share": round(row.share, 6),
                "without_ttl": row.without_ttl._asdict(),
                "ttl": {kind: figure._asdict() for kind, figure in row.lifetimes.items()},
            }
            for row in findings.rows
        ],
        "biggest": [
            {"key": big.name, "cache": big.cache, "bytes": big.size, "ttl": big.ttl}
            | {"type": big.kind or None}
            for big in findings.biggest
        ],
        "remarks": list(findings.remarks),
    }
    if findings.settings is not None:
        document["proposed_rules"] = [proposal._asdict() for proposal in findings.proposals]
        document["proposed_settings"] = dict(findings.settings)
    return json.dumps(document, indent=2)


def as_csv(findings: Findings) -> str:
    """One line for each cache."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measured = ("entries", "bytes", *(f"ttl_{kind}" for kind in KINDS))
    errors = [f"{name}_error" for name in measured]
    columns = [name for pair in zip(measured, errors, strict=True) for name in pair]
    writer.writerow(["cache", "share", *columns])
    for row in findings.rows:
        figures = [row.entries, row.size, *(row.lifetimes[kind] for kind in KINDS)]
        numbers = [number for figure in figures for number in figure]
        writer.writerow([row.cache, f"{row.share:.6f}", *numbers])
    return text.getvalue()
