"""The screen of `top`: tables that one can sort and filter, and one trace as a waterfall."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from rich.align import Align
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.events import DescendantFocus
from textual.markup import escape
from textual.widgets import DataTable, Footer, Input, Static, Tab, Tabs

from otel_redis_cache.cli.overview import CallRow, View
from otel_redis_cache.cli.picture import draw_waterfall, printable
from otel_redis_cache.cli.top_tables import (
    ALL,
    CACHES,
    FAILED,
    SLOWEST,
    Figures,
    clock,
    describe,
)
from otel_redis_cache.cli.traces import Span, arrange

REFRESH_SECONDS = 1.0
ROOM = 118
"""Columns from which on a table shows all of its own."""

NAME = "otel-redis-cache top"
TRACE = "trace"
T = TypeVar("T")

TITLES = {**{figures.name: figures.title for figures in ALL}, TRACE: "Trace"}


class Source(Protocol):
    """Where the screen looks: at what was received here, or in another process."""

    def view(self) -> View:
        """What there is to see now."""
        ...

    def trace(self, trace_id: str) -> Sequence[Span]:
        """The spans of one trace."""
        ...

    def is_over(self) -> bool:
        """Whether nothing more will come, as at the end of a recording."""
        ...


class FiguresTable(DataTable[RenderableType]):
    """One table, whose cursor stays on its row while figures and order change, or at the top."""

    def __init__(self, figures: Figures[Any]) -> None:
        """Show nothing yet."""
        super().__init__(cursor_type="row", cell_padding=0, id=f"{figures.name}-table")
        self.figures = figures
        self.sorted_by = figures.sorted_by
        self.is_descending = figures.columns[figures.sorted_by].is_number
        self._rows: Sequence[Any] = ()

    @property
    def chosen(self) -> Any | None:
        """The row under the cursor."""
        return self._rows[self.cursor_row] if self.cursor_row < len(self._rows) else None

    @property
    def has_room(self) -> bool:
        """Whether there is room for all columns."""
        return self.size.width >= ROOM

    @property
    def shown(self) -> Sequence[int]:
        """The columns that are shown."""
        columns = self.figures.columns
        return [at for at, it in enumerate(columns) if self.has_room or not it.is_spare]

    def sort_by_next(self) -> None:
        """Sort by the column after the one that it is sorted by."""
        after = [number for number in self.shown if number > self.sorted_by]
        self.sort_by((after or self.shown)[0])

    def sort_by(self, column: int) -> None:
        """Sort by a column; by the one that it is sorted by, the other way round."""
        if column == self.sorted_by:
            self.is_descending = not self.is_descending
        else:
            self.sorted_by = column
            self.is_descending = self.figures.columns[column].is_number

    def fill(self, view: View, wanted: str) -> None:
        """Show the rows of a view that are wanted."""
        chosen, (left, top) = self.chosen if self.cursor_row else None, self.scroll_offset
        found = self.figures.select(view, wanted)
        self._rows = self.figures.sort(found, self.sorted_by, descending=self.is_descending)
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
            self._add_all()
            self._choose(chosen)
            self.scroll_to(left, top, animate=False, immediate=True)

    @on(DataTable.HeaderSelected)
    def _sort_by_header(self, event: DataTable.HeaderSelected) -> None:
        self.sort_by(self.shown[event.column_index])

    def describe(self) -> Text:
        """What there is no room for, of the row under the cursor."""
        row, columns = self.chosen, self.figures.columns
        spare = [column for column in columns if column.is_spare]
        if row is None or self.has_room or not spare:
            return Text()
        told = " · ".join(f"{column.title} {column.draw(row)}" for column in spare)
        return Text.assemble((str(columns[0].draw(row)), "bold"), "  ", told)

    def _add_all(self) -> None:
        columns = [self.figures.columns[number] for number in self.shown]
        for number, column in zip(self.shown, columns, strict=True):
            width = column.full_width if self.has_room else column.width
            self.add_column(self._label(number), width=width and width + 1)
        for row in self._rows:
            first, *others = (_aligned(it.draw(row), is_number=it.is_number) for it in columns)
            self.add_row(first, *(Padding(cell, (0, 0, 0, 1)) for cell in others))

    def _label(self, number: int) -> Text:
        column = self.figures.columns[number]
        mark = " " if number != self.sorted_by else "▼" if self.is_descending else "▲"
        if column.is_number:
            return Text(mark + column.title, justify="right")
        return Text(f"{' ' if number else ''}{column.title}{mark}")

    def _choose(self, row: Any | None) -> None:
        identify = self.figures.identify
        for number, each in enumerate(self._rows):
            if row is not None and identify(each) == identify(row):
                self.move_cursor(row=number, scroll=False)


class Panel(Vertical):
    """A table with its title, what to say while it is empty, and what it has no room for."""

    def __init__(self, figures: Figures[Any]) -> None:
        """Show nothing yet."""
        super().__init__(id=figures.name, classes="panel")
        self.border_title = figures.title
        self.figures = figures

    def compose(self) -> ComposeResult:
        """The three, one below the other."""
        yield FiguresTable(self.figures)
        yield Static(classes="nothing")
        yield Static(classes="details")

    @property
    def table(self) -> FiguresTable:
        """Its table."""
        return self.query_one(FiguresTable)

    def fill(self, view: View, wanted: str) -> None:
        """Show what is wanted of a view."""
        self.table.fill(view, wanted)
        nothing = self.query_one(".nothing", Static)
        nothing.display = not self.table.row_count
        is_hidden = wanted and self.figures.rows(view)
        nothing.update(
            Text(f"Nothing has “{wanted}” in it." if is_hidden else self.figures.nothing)
        )
        self.describe()

    def describe(self) -> None:
        """Say what is known of the row under the cursor."""
        details = self.query_one(".details", Static)
        text = self.table.describe()
        details.display = bool(text)
        details.update(text)


class TopScreen(App[None]):
    """All that was received lately."""

    TITLE = NAME
    ENABLE_COMMAND_PALETTE = False
    CSS_PATH = "top_screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("p", "pause", "Pause"),
        Binding("s", "sort", "Sort"),
        Binding("r", "reverse", "Reverse"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "show_all", "Show all", show=False),
        *(
            Binding(str(number), f"show('{name}')", title, show=False)
            for number, (name, title) in enumerate(TITLES.items(), start=1)
        ),
        Binding("tab", "step(1)", "Next", key_display="tab", priority=True),
        Binding("shift+tab", "step(-1)", "Previous", show=False, priority=True),
        Binding("question_mark", "help", "Keys", key_display="?"),
    ]

    def __init__(self, source: Source, *, about: str, welcome: str) -> None:
        """Look at a source.

        Args:
            source: what there is to see.
            about: where it comes from, in a few words.
            welcome: what to do where nothing has come yet.
        """
        # Where colours are unwelcome there are none at all; else there would be shades of grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (40, "-high")]
        self._source = source
        self._about = about
        self._welcome = welcome
        self._view: View | None = None
        self._is_paused = False
        self._is_over = False
        self._wanted = ""
        self._calls = SLOWEST.name
        self.fault: Exception | None = None
        """What has ended it, if nobody has."""

    def compose(self) -> ComposeResult:
        """A head, the panels, and the keys."""
        yield Static(id="head")
        yield Tabs(
            *(
                Tab(f"{number} {title.removesuffix(' calls')}", id=name)
                for number, (name, title) in enumerate(TITLES.items(), start=1)
            )
        )
        yield Static(self._welcome, id="welcome", markup=False)
        with Container(id="panels"):
            for figures in ALL:
                yield Panel(figures)
            with VerticalScroll(id=TRACE, classes="panel") as trace:
                trace.border_title = "Trace"
                yield Static(id="waterfall")
        yield Input(placeholder="cache, server, call, error or service", id="filter", compact=True)
        yield Footer()

    async def on_mount(self) -> None:
        """Look for the first time, and then every second."""
        if sys.platform != "win32":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)
        self.query_one(Tabs).can_focus = False
        self.action_show(CACHES.name)
        await self._look()
        self.set_interval(REFRESH_SECONDS, self._look)

    async def _look(self) -> None:
        """Show what there is to see now, unless somebody wants to look at what was there before."""
        if self._view is None or not self._is_paused:
            # In this order: what is shown as the end is all there is.
            said = await self._ask(lambda: (self._source.is_over(), self._source.view()))
            self._is_over, self._view = said or (False, None)
        if self.is_running:  # somebody may have ended it meanwhile
            self._draw()

    async def _ask(self, question: Callable[[], T]) -> T | None:
        """What the source says, in a thread; where it fails, the screen ends."""
        try:
            return await asyncio.to_thread(question)
        except Exception as fault:  # noqa: BLE001 - whoever has started the screen tells it
            self.fault = fault
            self.exit()
            return None

    def _draw(self) -> None:
        view = self._view
        if view is None:
            return
        has_anything = bool(view.intake.senders or any(figures.rows(view) for figures in ALL))
        self.screen.set_class(not has_anything, "-empty")
        self.query_one("#head", Static).update(self._draw_head(view))
        for panel in self.query(Panel):
            panel.fill(view, self._wanted)
        self._draw_trace()

    def _draw_head(self, view: View) -> Group:
        head = Table.grid(expand=True, padding=(0, 1))
        head.add_column(no_wrap=True, ratio=1)
        head.add_column(no_wrap=True)
        head.add_row(
            Text.assemble((NAME, "bold"), "  ", (self._about, "dim")),
            Text.assemble(self._state, " ", clock(view.time)),
        )
        return Group(head, describe(view.intake, self._wanted))

    @property
    def _state(self) -> tuple[str, str]:
        """Why nothing moves, and how that is shown."""
        if self._is_paused:
            return "PAUSED", "black on yellow"
        return ("END OF THE RECORDING", "bold") if self._is_over else ("", "")

    @work(exclusive=True)
    async def _draw_trace(self) -> None:
        """The trace of the call under the cursor, in the table of calls that was looked at last."""
        trace, waterfall = self.query_one(f"#{TRACE}"), self.query_one("#waterfall", Static)
        call = self.query_one(f"#{self._calls}", Panel).table.chosen
        if not isinstance(call, CallRow):
            trace.border_title = "Trace"
            waterfall.update("Move to a call to see its trace.")
            return
        roots = arrange(await self._ask(lambda: self._source.trace(call.trace_id)) or ())
        trace.border_title = escape(printable(f"Trace {call.trace_id} · {call.service}"))
        waterfall.update(draw_waterfall(*roots) if roots else "Its spans are not here.")

    @on(DescendantFocus)
    def _follow_focus(self, event: DescendantFocus) -> None:
        panel = next(
            (each for each in event.widget.ancestors_with_self if each.has_class("panel")), None
        )
        if panel is None or panel.id is None:
            return
        with self.prevent(Tabs.TabActivated):
            self.query_one(Tabs).active = panel.id
        if panel.id in {SLOWEST.name, FAILED.name}:
            self._calls = panel.id
            self._draw_trace()

    @on(Tabs.TabActivated)
    def _follow_tab(self, event: Tabs.TabActivated) -> None:
        if event.tab.id:
            self.action_show(event.tab.id)

    @on(DataTable.RowHighlighted)
    def _follow_cursor(self) -> None:
        for panel in self.query(Panel):
            panel.describe()
        self._draw_trace()

    @on(DataTable.RowSelected)
    def _open_trace(self) -> None:
        if (table := self._table()) is not None and isinstance(table.chosen, CallRow):
            self.action_show(TRACE)

    @on(DataTable.HeaderSelected)
    def _follow_header(self) -> None:
        self._draw()

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        self._wanted = event.value.strip()
        self._draw()

    @on(Input.Submitted)
    def _end_of_filter(self) -> None:
        self._leave_filter()

    def action_show(self, name: str) -> None:
        """Bring a panel to the front."""
        for panel in self.query(".panel"):
            panel.set_class(panel.id == name, "-shown")
        shown = self.query_one(f"#{name}")
        (shown.table if isinstance(shown, Panel) else shown).focus()

    def action_step(self, by: int) -> None:
        """Go on to the next panel."""
        names = list(TITLES)
        at = names.index(self.query_one(Tabs).active or CACHES.name)
        self.action_show(names[(at + by) % len(names)])

    def action_pause(self) -> None:
        """Keep what is shown, or go on."""
        self._is_paused = not self._is_paused
        self.call_later(self._look)

    def action_sort(self) -> None:
        """Sort by the next column."""
        if (table := self._table()) is not None:
            table.sort_by_next()
            self._draw()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        if (table := self._table()) is not None:
            table.sort_by(table.sorted_by)
            self._draw()

    def action_filter(self) -> None:
        """Ask which rows to show."""
        box = self.query_one("#filter", Input)
        box.add_class("-shown")
        box.focus()

    def action_show_all(self) -> None:
        """Show all rows again."""
        self.query_one("#filter", Input).value = ""
        self._leave_filter()

    def action_help(self) -> None:
        """Show all keys, or hide them."""
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()

    def _leave_filter(self) -> None:
        self.query_one("#filter", Input).remove_class("-shown")
        self.action_show(self.query_one(Tabs).active)

    def _table(self) -> FiguresTable | None:
        return self.focused if isinstance(self.focused, FiguresTable) else None


def _aligned(cell: RenderableType, *, is_number: bool) -> RenderableType:
    return Align.right(cell) if is_number else cell
