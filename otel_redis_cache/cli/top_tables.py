"""What `top` shows as tables: their columns, as data, for the screen and for a report alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from otel_redis_cache.cli.overview import CacheRow, CallRow, Intake, PoolRow, ServerRow, View
from otel_redis_cache.cli.picture import TREND, Sparkline, milliseconds, percent, printable

UNKNOWN = Text("-", "dim")
NUMBER_WIDTH = 6
HIGH, FULL = 0.75, 0.9
"""From which share of its limit on something is worth a look, or trouble."""

Row = TypeVar("Row")
Value = float | str | None


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column: what it is sorted by, and what of it is seen."""

    title: str
    value: Callable[[Row], Value]
    """None where it is not known: that stands last, however the rest is sorted."""
    draw: Callable[[Row], RenderableType]
    width: int | None = None
    """None: as wide as what is in it."""
    full_width: int | None = None
    """The same where the table has its full width."""
    is_number: bool = False
    is_spare: bool = False
    """Left out where the table has not its full width."""


@dataclass(frozen=True)
class Figures(Generic[Row]):
    """One table."""

    name: str
    title: str
    rows: Callable[[View], Sequence[Row]]
    identify: Callable[[Row], object]
    """What tells a row from others, however its figures change."""
    columns: Sequence[Column[Row]]
    sorted_by: int
    """The column that it is sorted by until somebody wishes otherwise."""
    nothing: str
    """What to say while there is no row."""

    def select(self, view: View, wanted: str) -> list[Row]:
        """The rows in whose texts the wanted one is."""
        wanted = wanted.lower()
        rows = self.rows(view)
        return [row for row in rows if wanted in " ".join(self._texts(row)).lower()]

    def sort(self, rows: Sequence[Row], by: int, *, descending: bool) -> list[Row]:
        """The rows by one column."""

        def value(row: Row) -> Any:
            return self.columns[by].value(row)

        known = [row for row in rows if value(row) is not None]
        unknown = [row for row in rows if value(row) is None]
        return sorted(known, key=value, reverse=descending) + unknown

    def _texts(self, row: Row) -> Iterator[str]:
        values = (column.value(row) for column in self.columns)
        return (value for value in values if isinstance(value, str))


def draw_figures(figures: Figures[Any], view: View) -> Table:
    """All of a table, as it is written where nobody can scroll."""
    table = Table(box=SIMPLE_HEAD, header_style="dim", padding=(0, 1, 0, 0), show_edge=False)
    for column in figures.columns:
        table.add_column(
            column.title, justify="right" if column.is_number else "left", overflow="fold"
        )
    column = figures.columns[figures.sorted_by]
    rows = figures.sort(figures.rows(view), figures.sorted_by, descending=column.is_number)
    for row in rows:
        table.add_row(*(column.draw(row) for column in figures.columns))
    return table


def compact(number: float) -> str:
    """A number in at most six characters: 0.5, 12.3, 1,234, 123k, 1.23M."""
    if 0 < number < 0.05:
        return "<0.1"
    if number < 99.95:
        return f"{number:.1f}" if number % 1 else f"{number:.0f}"
    if number < 9_999.5:
        return f"{number:,.0f}"
    power = min(int(math.log10(number) // 3), 5)
    return f"{number / 1_000**power:.3g}{' kMGTP'[power]}"


def describe(intake: Intake, wanted: str = "") -> Text:
    """What of it is shown, what was lost, and what comes in: the rest may be cut off."""
    lost = {
        "spans dropped": intake.spans_dropped,
        "points dropped": intake.points_dropped,
        "messages refused": intake.refused,
    }
    senders = f"{intake.senders:,} sender{'' if intake.senders == 1 else 's'}"
    parts = [
        *([Text(f"only “{wanted}”", "bold")] if wanted else ()),
        *(Text(f"{count:,} {what}", "bold yellow") for what, count in lost.items() if count),
        Text(
            f"{compact(intake.spans_per_second)} spans/s, {compact(intake.points_per_second)} points/s, "
            f"{intake.series:,} series, {senders}"
        ),
    ]
    text = Text(" · ").join(parts)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def clock(seconds: float) -> str:
    """The time of day here."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def _text(
    title: str, value: Callable[[Row], str | None], style: str = "", *, is_spare: bool = False
) -> Column[Row]:
    def draw(row: Row) -> Text:
        text = value(row)
        return Text(printable(text), style, no_wrap=True) if text else UNKNOWN

    return Column(title, value, draw, is_spare=is_spare)


def _number(
    title: str,
    value: Callable[[Row], float | None],
    show: Callable[[float], str] = compact,
    alarm: str = "",
    *,
    width: int = NUMBER_WIDTH,
    is_spare: bool = False,
) -> Column[Row]:
    """A number; with an alarm, one that had better be zero."""

    def draw(row: Row) -> Text:
        number = value(row)
        if number is None:
            return UNKNOWN
        return Text(show(number), (alarm if number else "dim") if alarm else "", no_wrap=True)

    width = max(width, len(title))
    return Column(title, value, draw, width, width, is_number=True, is_spare=is_spare)


def _quantile(title: str, value: Callable[[CacheRow], float | None]) -> Column[CacheRow]:
    return _number(title, value, milliseconds)


def _trend() -> Column[CacheRow]:
    def newest(cache: CacheRow) -> float | None:
        return cache.trend[-1] if cache.trend else None

    def draw(cache: CacheRow) -> Sparkline:
        return Sparkline(cache.trend)

    return Column("trend", newest, draw, width=8, full_width=TREND, is_number=True)


def _removals() -> Column[CacheRow]:
    def text(cache: CacheRow) -> str:
        rates = cache.invalidations_per_second
        return ", ".join(f"{compact(rate)} {reason}" for reason, rate in rates.items())

    return _text("removed/s by reason", text, is_spare=True)


def _up() -> Column[ServerRow]:
    def state(server: ServerRow) -> str:
        return "-" if server.is_up is None else "up" if server.is_up else "DOWN"

    styles = {"up": "green", "DOWN": "bold red", "-": "dim"}
    return Column("state", state, lambda server: Text(state(server), styles[state(server)]))


def _memory() -> Column[ServerRow]:
    def draw(server: ServerRow) -> Text:
        if server.memory_used is None:
            return UNKNOWN
        used, limit = decimal(server.memory_used), server.memory_limit
        if not limit:
            return Text(used + (", no limit" if limit == 0 else ""))
        share = server.memory_used / limit
        style = "bold red" if share >= FULL else "yellow" if share >= HIGH else ""
        return Text(f"{used} of {decimal(limit)}, {share:.0%}", style)

    return Column("memory", lambda server: server.memory_used, draw, is_number=True)


def _calls(name: str, title: str, sorted_by: int, nothing: str) -> Figures[CallRow]:
    return Figures(
        name,
        title,
        lambda view: view.slowest if name == "slowest" else view.failed,
        lambda call: (call.trace_id, call.time, call.name),
        (
            _number("time", lambda call: call.time, clock, width=8),
            _text("call", lambda call: call.name, "bold"),
            _text("cache", lambda call: call.cache),
            _number("ms", lambda call: call.duration_seconds, milliseconds),
            _text("error", lambda call: call.error or "", "red"),
            _text("service", lambda call: call.service),
        ),
        sorted_by,
        nothing,
    )


CACHES = Figures[CacheRow](
    "caches",
    "Caches",
    lambda view: view.caches,
    lambda cache: cache.name,
    (
        _text("cache", lambda cache: cache.name, "bold"),
        _number("/s", lambda cache: cache.lookups_per_second),
        _number("hits", lambda cache: cache.hit_ratio, percent),
        _trend(),
        _quantile("p50 ms", lambda cache: cache.p50),
        _quantile("p95 ms", lambda cache: cache.p95),
        _quantile("p99 ms", lambda cache: cache.p99),
        _number("removed/s", lambda cache: sum(cache.invalidations_per_second.values())),
        _number("no TTL/s", lambda cache: cache.writes_without_ttl_per_second, alarm="yellow"),
        _number("entries", lambda cache: cache.entries, is_spare=True),
        _number(
            "memory", lambda cache: cache.bytes, lambda size: decimal(round(size)), is_spare=True
        ),
        _removals(),
    ),
    sorted_by=1,
    nothing="No cache has been asked for anything.",
)

SERVERS = Figures[ServerRow](
    "servers",
    "Servers",
    lambda view: view.servers,
    lambda server: server.address,
    (
        _text("server", lambda server: server.address, "bold"),
        _up(),
        _memory(),
        _number("evicted/s", lambda server: server.evictions_per_second, alarm="yellow"),
        _number("expired/s", lambda server: server.expirations_per_second),
        _number("clients", lambda server: server.clients),
    ),
    sorted_by=0,
    nothing="Nobody has said anything of a server. Memory and evictions come from watch_server(), "
    "or OTEL_REDIS_CACHE_WATCH=redis://...",
)

CONNECTIONS = Figures[PoolRow](
    "connections",
    "Connections",
    lambda view: view.pools,
    lambda pool: pool.name,
    (
        _text("pool", lambda pool: pool.name, "bold"),
        _number("used", lambda pool: pool.used),
        _number("idle", lambda pool: pool.idle),
        _number("waiting", lambda pool: pool.pending, alarm="yellow"),
        _number("limit", lambda pool: pool.limit),
    ),
    sorted_by=0,
    nothing="No pool has connections.",
)

SLOWEST = _calls("slowest", "Slowest calls", 3, "No call has been traced.")
FAILED = _calls("failed", "Failed calls", 0, "No call has failed.")

ALL: Sequence[Figures[Any]] = (CACHES, SERVERS, CONNECTIONS, SLOWEST, FAILED)
