"""What the terminal shows: tables of figures, and a trace as a waterfall."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.bar import Bar
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.filesize import decimal
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from otel_redis_cache import conventions as names
from otel_redis_cache.cli.measurements import (
    CacheFigures,
    Distribution,
    OperationFigures,
    ServerFigures,
)
from otel_redis_cache.cli.traces import Branch, Span

TREND = 16
"""Most intervals that a sparkline shows."""

OPERATIONS = 6
"""Rows of the table of commands: with three caches all tables fit on a screen of 24 lines."""

BAR = 40
"""Most columns that the waterfall's time axis takes."""

_LEVELS = "▁▂▃▄▅▆▇█"
_QUANTILES = {"p50 ms": 0.5, "p95 ms": 0.95, "p99 ms": 0.99}
_PERIODS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


class Sparkline:
    """Shares of one as a line of small bars, the newest ones that there is room for."""

    def __init__(self, shares: Sequence[float]) -> None:
        """Take the shares, the oldest first."""
        self._shares = shares[-TREND:]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As many columns as there are bars, or a few of them."""
        return Measurement(min(4, len(self._shares)), len(self._shares))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One character for each."""
        top = len(_LEVELS) - 1
        shares = self._shares[-options.max_width :]
        bars = (_LEVELS[min(int(share * len(_LEVELS)), top)] for share in shares)
        yield Text("".join(bars), "green")


def draw_caches(caches: Sequence[CacheFigures]) -> Table:
    """What each cache was asked for: one row per named cache."""
    table = _table(
        *("cache", "lookups", "/s", "hits", "", "p50 ms", "p95 ms", "load p95 ms", "stampedes")
    )
    trend = table.columns[4]
    trend.justify = "left"
    trend.no_wrap = False  # where room is short, it is taken from here
    for cache in caches:
        table.add_row(
            Text(cache.name, "bold"),
            f"{cache.lookups:,}",
            f"{cache.rate:,.0f}",
            percent(cache.hit_ratio),
            Sparkline(cache.trend),
            milliseconds(cache.latency.quantile(0.5)),
            milliseconds(cache.latency.quantile(0.95)),
            milliseconds(cache.load.quantile(0.95)),
            Text(f"{cache.stampedes:,}", "yellow" if cache.stampedes else "dim"),
        )
    return table


def draw_entries(caches: Sequence[CacheFigures]) -> Table:
    """What became of the entries of each cache: written, for how long, removed and why."""
    table = _table("cache", "writes", "ttl", "removed")
    removed = table.columns[-1]
    removed.justify, removed.no_wrap = "left", False
    for cache in caches:
        table.add_row(
            Text(cache.name, "bold"),
            f"{cache.writes:,}",
            _period(cache.ttl.ceiling(0.5)),
            ", ".join(f"{count:,} {reason}" for reason, count in cache.invalidations.items()),
        )
    return table


def draw_operations(operations: Sequence[OperationFigures]) -> Table:
    """One row per command, the most frequent ones."""
    table = _table("command", "calls", *_QUANTILES, "errors")
    for operation in operations[:OPERATIONS]:
        table.add_row(
            operation.name,
            f"{operation.latency.count:,}",
            *_quantiles(operation.latency),
            Text(f"{operation.errors:,}", "red" if operation.errors else "dim"),
        )
    return table


def draw_server(figures: ServerFigures) -> Table:
    """How the server is, and what that did to those who use it."""
    table = _table("server", "memory", "limit", "evicted", "outages", "connected", "failed calls")
    state = {None: Text("-"), True: Text("up", "green"), False: Text("down", "red")}
    table.add_row(
        state[figures.is_up],
        _bytes(figures.memory),
        _bytes(figures.limit),
        _alarm(figures.evicted, "yellow"),
        _alarm(figures.outages, "red"),
        f"{figures.connected:,}",
        _alarm(figures.failed, "red"),
    )
    return table


def draw_faults(figures: Iterable[tuple[str, str, str]]) -> Table:
    """What happened, which metric shows it, and what that said."""
    table = _table("what happened", "which metric shows it", "what it showed")
    for column in table.columns[1:]:
        column.justify = "left"
    shows = table.columns[2]
    shows.no_wrap, shows.overflow = False, "fold"
    for fault, metric, shown in figures:
        table.add_row(Text(fault, "bold"), metric, Text(shown))
    return table


def draw_progress(elapsed: float, seconds: float) -> RenderableType:
    """How far it is, and how to end it."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        ProgressBar(total=seconds, completed=min(elapsed, seconds), width=40),
        f"{max(seconds - elapsed, 0):.0f} s left",
        Text("Ctrl-C ends it now", "dim"),
    )
    return grid


def draw_waterfall(*roots: Branch) -> Table:
    """A trace: who called what, what came of it, and when; several roots where some are missing."""
    table = _table("span", "what came of it", "ms", "when")
    table.columns[1].justify = "left"
    when = table.columns[3]
    when.justify, when.no_wrap, when.max_width = "left", False, BAR
    rows = [row for root in roots for row in _rows(root)]
    begin = min(root.span.start for root in roots)
    end = max(root.span.end for root in roots)
    for guides, span in rows:
        style = _style(span)
        table.add_row(
            Text.assemble((guides, "dim"), printable(span.name)),
            Text(printable(_outcome(span)), style),
            milliseconds(span.seconds),
            _bar(span, begin, end, style),
        )
    return table


def describe_caches(caches: Sequence[CacheFigures]) -> str:
    """The caches in one line, where there is no terminal."""
    return " | ".join(
        f"{cache.name} {cache.lookups:,} lookups, {percent(cache.hit_ratio)} hits, "
        f"p95 {milliseconds(cache.latency.quantile(0.95))} ms"
        for cache in caches
    )


def _table(*headers: str) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="dim", padding=(0, 1, 0, 0), show_edge=False)
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left", no_wrap=True)
    return table


def _alarm(number: int, style: str) -> Text:
    return Text(f"{number:,}", style if number else "dim")


def _bytes(number: float | None) -> str:
    return "-" if number is None else decimal(round(number))


def printable(text: str) -> str:
    """A text of somebody else's, of which a terminal takes nothing for an order."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def percent(ratio: float | None) -> str:
    """A ratio in percent."""
    return "-" if ratio is None else f"{ratio:.1%}"


def _quantiles(latency: Distribution) -> list[str]:
    return [milliseconds(latency.quantile(share)) for share in _QUANTILES.values()]


def milliseconds(seconds: float | None) -> str:
    """A duration; the unit stands in the header."""
    if seconds is None:
        return "-"
    digits = 2 if seconds < 0.01 else 1 if seconds < 1 else 0
    return f"{seconds * 1e3:,.{digits}f}"


def _period(seconds: float | None) -> str:
    """A time to live as people write it: 15s, 5m, 1.5h."""
    if seconds is None:
        return "-"
    unit = next((unit for unit, size in _PERIODS.items() if seconds >= size), "s")
    return f"{round(seconds / _PERIODS[unit], 1):g}{unit}"


def _lifetime(told: str) -> str:
    """A time to live, whoever tells it: some write no number."""
    try:
        return _period(float(told))
    except ValueError:
        return told


def _rows(root: Branch) -> Iterator[tuple[str, Span]]:
    """Every span with the lines that lead to it, as `tree` draws them."""
    yield "", root.span
    for child in root.children:
        last = child is root.children[-1]
        for number, (guides, span) in enumerate(_rows(child)):
            lead = ("└─ " if last else "├─ ") if not number else ("   " if last else "│  ")
            yield lead + guides, span


def _outcome(span: Span) -> str:
    """What the attributes say: cache, hit or miss, what was removed and why, the error."""
    found = span.attributes
    facts: list[str] = []
    match found.get(names.CACHE_HIT):
        case "true":
            facts.append("hit")
        case "false":
            facts.append("miss")
        case _:
            pass
    if names.CACHE_HITS in found or names.CACHE_MISSES in found:
        hits, misses = found.get(names.CACHE_HITS, "0"), found.get(names.CACHE_MISSES, "0")
        facts.append(f"{hits} hits, {misses} misses")
    if names.CACHE_STAMPEDE in found:
        facts.append("stampede")
    if removed := found.get(names.INVALIDATION_REMOVED):
        facts.append(f"{removed} removed{_cause(found)}")
    if ttl := found.get(names.CACHE_TTL):
        facts.append(f"ttl {_lifetime(ttl)}")
    facts.append(found.get(names.ERROR_TYPE, "error" if span.failed else ""))
    return f"{found.get(names.CACHE_NAME, '')} {', '.join(filter(None, facts))}".strip()


def _cause(found: Mapping[str, str]) -> str:
    """Why the application removed it, and what set that off; the built-in reasons say little more."""
    reason, trigger = found.get(names.INVALIDATION_REASON), found.get(names.INVALIDATION_TRIGGER)
    if reason is None or reason in names.REASONS:
        return ""
    return f": {reason} by {trigger}" if trigger else f": {reason}"


def _style(span: Span) -> str:
    found = span.attributes
    if span.failed:
        return "red"
    if names.DB_SYSTEM_NAME not in found:
        return "blue"
    missed = found.get(names.CACHE_HIT) == "false" or found.get(names.CACHE_MISSES, "0") != "0"
    return "yellow" if missed else "green"


def _bar(span: Span, begin: int, end: int, style: str) -> Bar:
    whole = max(end - begin, 1)
    first = min(max(span.start - begin, 0), whole)
    # What is too short for the scale is still to be seen.
    last = min(max(span.end - begin, first + whole / BAR), whole)
    return Bar(whole, min(first, last - whole / BAR), last, color=style)
