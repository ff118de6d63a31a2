"""Findings as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from otel_redis_cache.cli.census_findings import KINDS, Figure, Findings, Row

HEADERS = dict(zip(KINDS, ("no TTL", "< 1 min", "< 1 h", "< 1 d", "< 7 d", "longer"), strict=True))


def draw(findings: Findings) -> Iterator[RenderableType]:
    """All of it, as it is read from top to bottom."""
    of_nodes = f" · {findings.nodes} nodes" if findings.nodes > 1 else ""
    yield Text.assemble((findings.server, "bold"), of_nodes, f" · {bytes_of(findings.size)}")
    yield Text(f"{findings.basis} ({findings.seconds:.1f} s)")
    for remark in findings.remarks:
        yield Text(remark, "yellow")
    if not findings.rows:
        yield Text("There are no keys.")
        return
    yield ""
    yield _caches(findings)
    yield ""
    yield Text("Time to live, entries", "bold")
    yield _lifetimes(findings)
    yield ""
    yield Text(f"Biggest entries{'' if findings.is_exact else ' that were seen'}", "bold")
    yield _biggest(findings)
    if findings.settings is not None:
        yield ""
        yield from _proposals(findings)


def count_of(figure: Figure) -> str:
    """``1,200 ±90``."""
    return f"{figure.value:,}" + (f" ±{figure.error:,}" if figure.error else "")


def bytes_of(figure: Figure) -> str:
    """``1.2 MB ±90.0 kB``."""
    return decimal(figure.value) + (f" ±{decimal(figure.error)}" if figure.error else "")


def period_of(seconds: float | None) -> str:
    """A time to live as people say it."""
    if seconds is None:
        return "no TTL"
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    unit, size = next(((unit, size) for unit, size in units if seconds >= size), units[-1])
    return f"{seconds / size:.3g} {unit}"


def _caches(findings: Findings) -> Table:
    table = _table("cache", "entries", "memory", "share", "", "no TTL")
    bar = table.columns[4]
    bar.justify, bar.no_wrap, bar.overflow = "left", True, "crop"
    for row in findings.rows:
        table.add_row(
            Text(row.cache, "bold"),
            count_of(row.entries),
            bytes_of(row.size),
            f"{row.share:.1%}",
            Text("█" * round(20 * row.share), "green"),
            Text(count_of(row.without_ttl), "yellow" if row.without_ttl.value else "dim"),
        )
    return table


def _lifetimes(findings: Findings) -> Table:
    table = _table("cache", *HEADERS.values())
    for row in findings.rows:
        table.add_row(Text(row.cache, "bold"), *_cells(row))
    return table


def _cells(row: Row) -> Iterator[Text]:
    for kind in KINDS:
        figure = row.lifetimes[kind]
        yield Text(count_of(figure), "" if figure.value else "dim")


def _biggest(findings: Findings) -> Table:
    table = _table("memory", "entry", "cache", "type", "expires in")
    for column in table.columns[1:4]:
        column.justify = "left"
    for big in findings.biggest:
        row = (Text(big.name), Text(big.cache), big.kind or "-", period_of(big.ttl))
        table.add_row(decimal(big.size), *row)
    return table


def _proposals(findings: Findings) -> Iterator[RenderableType]:
    if not findings.proposals:
        yield Text("No rules to propose: keys without a name have no shape in common.")
        return
    yield Text("Proposed rules", "bold")
    table = _table("cache", "pattern", "entries now unnamed")
    table.columns[1].justify = "left"
    for proposal in findings.proposals:
        about = "" if findings.is_exact else "about "
        table.add_row(Text(proposal.cache), Text(proposal.pattern), f"{about}{proposal.entries:,}")
    yield table
    yield ""
    for name, value in (findings.settings or {}).items():
        yield Text(f"{name}='{value}'", no_wrap=True, overflow="ignore")


def _table(*headers: str) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="dim", padding=(0, 1, 0, 0), show_edge=False)
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left", no_wrap=not number)
    return table
