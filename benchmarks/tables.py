"""The document as tables, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.cases import CASES
from benchmarks.document import Document
from benchmarks.variants import (
    BARE,
    CONTRIB,
    FLOOR,
    FLOOR_DURATION,
    NO_PROVIDERS,
    ON,
    SUPPRESSED,
    VARIANTS,
)
from benchmarks.worker import SDK, WATCHERS

DISCARDING, OTLP = "discarding", "otlp"
EXPORTERS = {DISCARDING: "exporters that discard", OTLP: "OTLP exporters and a sink"}


BARS_TITLE = "The bars"


class Table(NamedTuple):
    """Cells as people read them."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def draw(document: Document) -> Iterator[Table]:
    """All that the document has something for."""
    if document.get("bars"):
        yield _bars(document["bars"])
    for exporters, found in document.get("exporters", {}).items():
        yield _added(found["cases"], exporters)
        yield _ratios(found["cases"], exporters)
        yield _times("CPU", "cpu", found["cases"], exporters)
        yield _times("Wall", "wall", found["cases"], exporters)
    if document.get("exporters"):
        yield _exports(document["exporters"])
    if DISCARDING in document.get("exporters", {}):
        yield from _shares(document["exporters"][DISCARDING]["cases"])
        yield _functions(document["exporters"][DISCARDING]["proofs"])
    if document.get("memory"):
        yield _memory(document["memory"])


def _bars(bars: list[Document]) -> Table:
    rows = [
        (
            bar["text"],
            spread(bar),
            f"{'≥' if bar['at_least'] else '≤'} {bar['limit']:g}",
            f"{bar['aim']:g}" if bar["aim"] is not None else "",
            "reached" if bar["reached"] else "not reached",
        )
        for bar in bars
    ]
    return Table(
        BARS_TITLE,
        "Added CPU time, or operations a second, with exporters that discard. Median of the "
        "rounds, and in brackets the lowest and the highest.",
        ("What", "Measured", "Bar", "Aim", ""),
        rows,
    )


def _added(cases: Document, exporters: str) -> Table:
    def cell(case: str, variant: str) -> str:
        of = cases[case][variant]
        return f"{of['cpu']['median']:.1f} in all" if variant == BARE else spread(of["added"])

    return _by_case(
        f"Added CPU time, {EXPORTERS[exporters]}",
        "Microseconds of the whole process for each operation, beyond the same operation watched "
        "by nobody, whose own cost is in the first row.",
        cases,
        cell,
    )


def _ratios(cases: Document, exporters: str) -> Table:
    def cell(case: str, variant: str) -> str:
        return spread(cases[case][variant].get("added_ratio_to_contrib", {}))

    return _by_case(
        f"Added CPU time as a multiple of contrib's, {EXPORTERS[exporters]}",
        "Both of the same round. Contrib counts nothing; its spans are sampled here.",
        cases,
        cell,
        without=(BARE, CONTRIB),
    )


def _times(title: str, field: str, cases: Document, exporters: str) -> Table:
    return _by_case(
        f"{title} time, {EXPORTERS[exporters]}",
        "Microseconds for each operation: the median of the rounds, and in brackets the lowest and "
        "the highest.",
        cases,
        lambda case, variant: spread(cases[case][variant][field]),
    )


def _by_case(
    title: str,
    note: str,
    cases: Document,
    cell: Callable[[str, str], str],
    without: Sequence[str] = (),
) -> Table:
    ran = next(iter(cases.values()))
    rows = [
        (VARIANTS[variant].label, *(cell(case, variant) for case in cases))
        for variant in VARIANTS
        if variant in ran and variant not in without
    ]
    return Table(title, note, ("Watched by", *(CASES[case].label for case in cases)), rows)


def _exports(exporters: Document) -> Table:
    columns = ["Watched by", "Series"]
    cells: dict[str, list[str]] = {}
    for name, found in exporters.items():
        columns += [f"ms, {EXPORTERS[name]}", "Spans dropped"]
        for variant, proof in found["proofs"].items():
            row = cells.setdefault(variant, [VARIANTS[variant].label, str(proof["series"])])
            row += [""] * (len(columns) - 2 - len(row))
            row += [f"{proof['metric_export_ms']:.2f}", f"{proof['spans_dropped']:,}"]
    return Table(
        "Exports",
        "What comes on top: one export of all metrics, by default once a minute, in milliseconds of "
        "CPU time. Spans that the batch processor had no room for have cost less than they should.",
        columns,
        [row + [""] * (len(columns) - len(row)) for name, row in cells.items() if name != BARE],
    )


_SHARES = (
    ("wrappers that let a call pass", SUPPRESSED, ()),
    ("this package without any provider, beyond that", NO_PROVIDERS, (SUPPRESSED,)),
    ("the SDK: one duration", FLOOR_DURATION, ()),
    ("the SDK: one span, exported", FLOOR, (FLOOR_DURATION,)),
    ("what is left: counts, attributes after the start, colder caches", ON, (NO_PROVIDERS, FLOOR)),
)


def _shares(cases: Document) -> Iterator[Table]:
    """Where the CPU time of this package goes, from the differences between variants."""
    ran = next(iter(cases.values()))
    if not {ON, *(variant for _, variant, _ in _SHARES)} <= ran.keys():
        return

    def cell(case: str, variant: str, less: Sequence[str]) -> str:
        mine, *others = (cases[case][name]["added"]["rounds"] for name in (variant, *less))
        return f"{median(a - sum(b) for a, *b in zip(mine, *others, strict=True)):.1f}"

    rows = [
        (what, *(cell(case, variant, less) for case in cases)) for what, variant, less in _SHARES
    ]
    rows.append(("in all", *(cell(case, ON, ()) for case in cases)))
    yield Table(
        "Where it goes",
        "Of the microseconds that this package adds with spans sampled and the default groups of metrics: "
        "differences between variants, each the median of the rounds, so that they add up nearly.",
        ("Part", *(CASES[case].label for case in cases)),
        rows,
    )


def _functions(proofs: Document) -> Table:
    entered = {variant: proof["entered"] for variant, proof in proofs.items()}
    cases = [case for case in next(iter(entered.values())) if not CASES[case].is_async]

    def cell(found: Document) -> str:
        of_sdk = sum(found.get(package, 0) for package in SDK)
        of_watchers = sum(found.get(package, 0) for package in WATCHERS)
        return f"{of_watchers:.0f} + {of_sdk:.0f}"

    return Table(
        "Python functions entered",
        "In one operation: those of the instrumentation, and those of OpenTelemetry's API and SDK. With "
        "these versions the same on every machine. redis-py enters some of its own also while its metrics are off.",
        ("Watched by", *(CASES[case].label for case in cases)),
        [
            (VARIANTS[variant].label, *(cell(found[case]) for case in cases))
            for variant, found in entered.items()
        ],
    )


def _memory(memory: Document) -> Table:
    return Table(
        "Memory",
        f"Measured on {memory['made']}: {memory['machine']}. Series and clients: bytes that are still "
        "allocated, for each one more. Growth: of the resident set, since a tenth of the commands was "
        "done; hits, misses, write-backs and removals in pipelines and alone, on keys without end, with "
        "spans sampled.",
        ("What", "Bytes"),
        [(what, f"{value:,}") for what, value in memory["bytes"]],
    )


def spread(of: Document) -> str:
    """The median, and how far the rounds are apart."""
    if of.get("median") is None:
        return ""
    return f"{_short(of['median'])} ({_short(of['minimum'])} to {_short(of['maximum'])})"


def _short(value: float) -> str:
    """Three digits that matter."""
    return (
        f"{value:.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
    )
