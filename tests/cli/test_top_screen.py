"""The screen of `top`, letter by letter, from fixed views; keys as a person presses them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from inline_snapshot import snapshot
from textual.pilot import Pilot

from otel_redis_cache.cli.overview import CacheRow, CallRow, Intake, PoolRow, ServerRow, View
from otel_redis_cache.cli.top_screen import FiguresTable, TopScreen
from otel_redis_cache.cli.traces import Span

SMALL, LARGE = (80, 24), (160, 48)
NOON = 1_700_049_600.0
SEARCH, LOGIN, BROKEN = ("a" * 32, "b" * 32, "c" * 32)

CACHES = [
    CacheRow(
        name="product",
        lookups_per_second=1_234.5,
        hit_ratio=0.8361,
        trend=[0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0, 1.0, 0.5],
        p50=0.00037,
        p95=0.0018,
        p99=0.0101,
        invalidations_per_second={"deploy": 12.3, "expire": 0.01},
        writes_without_ttl_per_second=0.0,
        entries=1_234_567,
        bytes=987_654_321,
    ),
    CacheRow(
        name="session",
        lookups_per_second=38.0,
        hit_ratio=1.0,
        trend=[1.0],
        p50=0.0005,
        p95=0.5,
        p99=2.5,
        invalidations_per_second={"delete": 1.5},
        writes_without_ttl_per_second=3.25,
        entries=145,
        bytes=20_480,
    ),
    CacheRow("search", 0.0, None, [], None, None, None, {}, 0.0, None, None),
]

VIEW = View(
    time=NOON,
    caches=CACHES,
    servers=[
        ServerRow("10.0.0.1:6379", True, 3_700_000_000, 4_000_000_000, 12.0, 33.5, 41),
        ServerRow("10.0.0.2:6379", True, 1_000_000, 0, 0.0, 0.0, 2),
        ServerRow("10.0.0.3:6379", False, None, None, None, None, None),
    ],
    pools=[PoolRow("10.0.0.1:6379/0", 10, 0, 3, 10), PoolRow("10.0.0.2:6379/0", 1, 4, 0, None)],
    slowest=[
        CallRow(NOON - 30, "MGET", "product", 0.25, None, SEARCH, "shop"),
        CallRow(NOON - 3, "HGETALL", "session", 0.0021, "TimeoutError", LOGIN, "accounts"),
    ],
    failed=[
        CallRow(NOON - 1, "GET", "product", 0.0004, "WRONGTYPE", BROKEN, "shop"),
        CallRow(NOON - 3, "HGETALL", "session", 0.0021, "TimeoutError", LOGIN, "accounts"),
    ],
    intake=Intake(1_204.0, 50.3, 87, 0, 0, 0, 3),
)
EMPTY = View(NOON, [], [], [], [], [], Intake(0.0, 0.0, 0, 0, 0, 0, 0))

TRACES = {
    SEARCH: [
        Span(SEARCH, "1", "", "GET /search", 0, 300_000_000),
        Span(
            *(SEARCH, "2", "1", "MGET", 20_000_000, 270_000_000),
            {"cache.name": "product", "cache.hits": "7", "cache.misses": "1"},
        ),
    ],
    LOGIN: [
        Span(LOGIN, "1", "0", "HGETALL", 5_000_000, 7_100_000, {"cache.name": "session"}, True),
        Span(LOGIN, "2", "0", "SELECT users", 8_000_000, 9_000_000),
    ],
}


class Fixed:
    """A source that says what it is told to say."""

    def __init__(self, view: View) -> None:
        self.now = view
        self.over = False

    def view(self) -> View:
        return self.now

    def trace(self, trace_id: str) -> Sequence[Span]:
        return TRACES.get(trace_id, ())

    def is_over(self) -> bool:
        return self.over


class Broken(Fixed):
    """A source that is at its end."""

    def view(self) -> View:
        raise OSError("the disk is full")


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times of day are those of UTC."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    with monkeypatch.context() as context:
        context.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@asynccontextmanager
async def shown(
    source: Fixed | None = None, size: tuple[int, int] = SMALL
) -> AsyncGenerator[Pilot[None]]:
    screen = TopScreen(
        source or Fixed(VIEW),
        about="gRPC 127.0.0.1:4317 · HTTP 127.0.0.1:4318",
        welcome="Send here!",
    )
    screen.animation_level = "none"
    async with screen.run_test(size=size) as pilot:
        await until(pilot, lambda: "Quit" in text(pilot))  # the footer is there last
        await settle(pilot)
        yield pilot


async def settle(pilot: Pilot[None]) -> None:
    """Wait until the screen stays as it is."""
    seen: list[str] = []
    deadline = time.monotonic() + 10
    while len(seen) < 3 or len(set(seen[-3:])) > 1:
        assert time.monotonic() < deadline, seen[-2:]
        await asyncio.sleep(0.04)
        # A busy machine may take its time until columns are as wide as what is in them.
        if not any(table._require_update_dimensions for table in pilot.app.query(FiguresTable)):
            seen.append(text(pilot))


async def press(pilot: Pilot[None], *keys: str) -> str:
    await pilot.press(*keys)
    await settle(pilot)
    return text(pilot)


def text(pilot: Pilot[None]) -> str:
    strips = pilot.app.screen._compositor.render_strips()
    return "\n" + "\n".join(strip.text.rstrip() for strip in strips)


def firsts(text: str, header: str) -> list[str]:
    """The first word of each row of the table with that header."""
    lines = iter(text.splitlines())
    next(line for line in lines if header in line)
    rows: list[str] = []
    for line in lines:
        words = line.strip("│ ").split()
        if not words:
            return rows
        rows.append(words[0])
    return rows


async def test_the_caches_on_a_small_screen() -> None:
    async with shown() as pilot:
        assert text(pilot) == snapshot("""\

 otel-redis-cache top  gRPC 127.0.0.1:4317 · HTTP 127.0.0.1:4318       12:00:00
 1,204 spans/s, 50.3 points/s, 87 series, 3 senders
 1 Caches  2 Servers  3 Connections  4 Slowest  5 Failed  6 Trace
╸━━━━━━━━╺━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
 cache      ▼/s   hits    trend p50 ms p95 ms p99 ms removed/s no TTL/s
 product  1,234  83.6% ▄▅▇████▅   0.37   1.80   10.1      12.3        0
 session     38 100.0%        █   0.50  500.0  2,500       1.5      3.2
 search       0      -               -      -      -         0        0













 product  entries 1.23M · memory 987.7 MB · removed/s by reason 12.3 deploy,
 <0.1 expire
 tab Next  q Quit  p Pause  s Sort  r Reverse  / Filter  ? Keys\
""")


async def test_everything_on_a_large_screen() -> None:
    async with shown(size=LARGE) as pilot:
        assert text(pilot) == snapshot("""\

 otel-redis-cache top  gRPC 127.0.0.1:4317 · HTTP 127.0.0.1:4318                                                                                       12:00:00
 1,204 spans/s, 50.3 points/s, 87 series, 3 senders
╭─ Caches ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────╮
│ cache      ▼/s   hits            trend p50 ms p95 ms p99 ms removed/s no TTL/s entries memory removed/s by reason                                            │
│ product  1,234  83.6%       ▁▂▄▅▇████▅   0.37   1.80   10.1      12.3        0   1.23M 987.7  12.3 deploy, <0.1 expire                                       │
│ session     38 100.0%                █   0.50  500.0  2,500       1.5      3.2     145 20.5 k 1.5 delete                                                     │
│ search       0      -                       -      -      -         0        0       -      - -                                                              │
│                                                                                                                                                              │
│                                                                                                                                                              │
│                                                                                                                                                              │
│                                                                                                                                                              │
│                                                                                                                                                              │
│                                                                                                                                                              │
╰──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────╯
╭─ Servers ────────────────────────────────────────────────────────────────────╮╭─ Connections ────────────────────────────────────────────────────────────────╮
│ server▲       state                 memory evicted/s expired/s clients       ││ pool▲             used   idle waiting  limit                                 │
│ 10.0.0.1:6379 up     3.7 GB of 4.0 GB, 92%        12      33.5      41       ││ 10.0.0.1:6379/0     10      0       3     10                                 │
│ 10.0.0.2:6379 up          1.0 MB, no limit         0         0       2       ││ 10.0.0.2:6379/0      1      4       0      -                                 │
│ 10.0.0.3:6379 DOWN                       -         -         -       -       ││                                                                              │
│                                                                              ││                                                                              │
│                                                                              ││                                                                              │
╰──────────────────────────────────────────────────────────────────────────────╯╰──────────────────────────────────────────────────────────────────────────────╯
╭─ Slowest calls ──────────────────────────────────────────────────────────────╮╭─ Failed calls ───────────────────────────────────────────────────────────────╮
│      time call    cache      ▼ms error        service                        ││     ▼time call    cache       ms error        service                        │
│  11:59:30 MGET    product  250.0 -            shop                           ││  11:59:59 GET     product   0.40 WRONGTYPE    shop                           │
│  11:59:57 HGETALL session   2.10 TimeoutError accounts                       ││  11:59:57 HGETALL session   2.10 TimeoutError accounts                       │
│                                                                              ││                                                                              │
│                                                                              ││                                                                              │
│                                                                              ││                                                                              │
│                                                                              ││                                                                              │
│                                                                              ││                                                                              │
│                                                                              ││                                                                              │
│                                                                              ││                                                                              │
╰──────────────────────────────────────────────────────────────────────────────╯╰──────────────────────────────────────────────────────────────────────────────╯
╭─ Trace aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa · shop ──────────────────────────────────────────────────────────────────────────────────────────────────────────────╮
│ span         what came of it              ms  when                                                                                                           │
│ ───────────────────────────────────────────────────────────────────────────────────────                                                                      │
│ GET /search                            300.0  ████████████████████████████████████████                                                                       │
│ └─ MGET      product 7 hits, 1 misses  250.0    ▐█████████████████████████████████                                                                           │
│                                                                                                                                                              │
│                                                                                                                                                              │
│                                                                                                                                                              │
│                                                                                                                                                              │
│                                                                                                                                                              │
│                                                                                                                                                              │
│                                                                                                                                                              │
╰──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────╯
 tab Next  q Quit  p Pause  s Sort  r Reverse  / Filter  ? Keys\
""")


@pytest.mark.parametrize(
    ("key", "header", "rows"),
    [
        ("2", "evicted/s", ["10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"]),
        ("3", "waiting", ["10.0.0.1:6379/0", "10.0.0.2:6379/0"]),
        ("4", "service", ["11:59:30", "11:59:57"]),
        ("5", "service", ["11:59:59", "11:59:57"]),
    ],
)
async def test_a_number_brings_a_table_to_the_front(key: str, header: str, rows: list[str]) -> None:
    async with shown() as pilot:
        assert firsts(await press(pilot, key), header) == rows


async def test_tab_goes_through_all_panels_and_back() -> None:
    headers = ["evicted/s", "waiting", "▼ms", "▼time", "Its spans", "no TTL/s"]
    async with shown() as pilot:
        for header in headers:
            assert header in await press(pilot, "tab")
        assert "Its spans" in await press(pilot, "shift+tab")


async def test_sorting_goes_from_column_to_column_and_back() -> None:
    async with shown() as pilot:
        assert firsts(text(pilot), "▼/s") == ["product", "session", "search"]
        assert firsts(await press(pilot, "s"), "▼hits") == ["session", "product", "search"]
        assert firsts(await press(pilot, "r"), "▲hits") == ["product", "session", "search"]
        assert firsts(await press(pilot, *"s" * 7), "cache▲") == ["product", "search", "session"]
        assert firsts(await press(pilot, "s"), "▼/s") == ["product", "session", "search"]


async def test_a_click_on_a_header_sorts() -> None:
    async with shown() as pilot:
        await pilot.click("#caches-table", offset=(15, 0))
        await settle(pilot)
        assert firsts(text(pilot), "▼hits") == ["session", "product", "search"]
        await pilot.click("#caches-table", offset=(15, 0))
        await settle(pilot)
        assert firsts(text(pilot), "▲hits") == ["product", "session", "search"]


async def test_a_filter_leaves_what_has_its_text_in_all_tables() -> None:
    async with shown() as pilot:
        assert firsts(await press(pilot, "slash", *"SES"), "▼/s") == ["session"]
        assert "only “SES”" in await press(pilot, "enter")
        assert firsts(await press(pilot, "5"), "▼time") == ["11:59:57"]
        assert firsts(await press(pilot, "escape"), "▼time") == ["11:59:59", "11:59:57"]


async def test_keys_are_letters_while_a_filter_is_typed() -> None:
    async with shown() as pilot:
        shown_now = await press(pilot, "slash", *"pqs")
        assert "only “pqs”" in shown_now
        assert "Nothing has “pqs” in it." in shown_now
        assert "PAUSED" not in shown_now


async def test_a_pause_keeps_what_is_shown() -> None:
    source = Fixed(VIEW)
    async with shown(source) as pilot:
        assert "PAUSED" in await press(pilot, "p")
        source.now = replace(VIEW, caches=[replace(CACHES[0], name="basket")])
        await pilot.pause(1.2)
        assert firsts(text(pilot), "▼/s") == ["product", "session", "search"]
        await press(pilot, "p")
        await settle(pilot)
        assert firsts(text(pilot), "▼/s") == ["basket"]
        assert "PAUSED" not in text(pilot)


async def test_the_end_of_a_recording_is_told() -> None:
    source = Fixed(VIEW)
    async with shown(source) as pilot:
        assert "END OF THE RECORDING" not in text(pilot)
        source.over = True
        await until(pilot, lambda: "END OF THE RECORDING 12:00:00" in text(pilot))
        assert "PAUSED 12:00:00" in await press(pilot, "p")


async def test_what_is_new_is_shown_within_seconds() -> None:
    source = Fixed(VIEW)
    async with shown(source) as pilot:
        source.now = replace(VIEW, caches=[replace(CACHES[0], name="basket")])
        await until(pilot, lambda: firsts(text(pilot), "▼/s") == ["basket"])


async def until(pilot: Pilot[None], found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not found():
        assert time.monotonic() < deadline, text(pilot)
        await pilot.pause(0.05)


async def test_the_cursor_stays_on_its_row() -> None:
    source = Fixed(VIEW)
    async with shown(source) as pilot:
        assert "session  entries 145 · memory 20.5 kB" in await press(pilot, "down")
        source.now = replace(VIEW, caches=[*CACHES[:2], replace(CACHES[2], lookups_per_second=5e3)])
        await until(pilot, lambda: firsts(text(pilot), "▼/s") == ["search", "product", "session"])
        await settle(pilot)
        assert "session  entries 145 · memory 20.5 kB" in text(pilot)


async def test_a_cursor_at_the_top_stays_there() -> None:
    source = Fixed(VIEW)
    async with shown(source) as pilot:
        assert "product  entries 1.23M" in text(pilot)
        source.now = replace(VIEW, caches=[*CACHES, replace(CACHES[1], lookups_per_second=5_000)])
        await until(pilot, lambda: "session  entries 145" in text(pilot))


async def test_enter_on_a_call_opens_its_trace() -> None:
    async with shown() as pilot:
        assert await press(pilot, "4", "enter") == snapshot("""\

 otel-redis-cache top  gRPC 127.0.0.1:4317 · HTTP 127.0.0.1:4318       12:00:00
 1,204 spans/s, 50.3 points/s, 87 series, 3 senders
 1 Caches  2 Servers  3 Connections  4 Slowest  5 Failed  6 Trace
━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╸━━━━━━━╺━━━━━━━━━━━━━━
 span         what came of it              ms  when
 ──────────────────────────────────────────────────────────────────────────────
 GET /search                            300.0  ███████████████████████████████
 └─ MGET      product 7 hits, 1 misses  250.0    █████████████████████████▉















 tab Next  q Quit  p Pause  s Sort  r Reverse  / Filter  ? Keys\
""")


async def test_a_trace_of_which_a_part_is_missing_is_drawn_all_the_same() -> None:
    async with shown() as pilot:
        trace = await press(pilot, "4", "down", "enter")
        assert "HGETALL" in trace
        assert "SELECT users" in trace


async def test_a_trace_that_is_not_here_is_said() -> None:
    async with shown() as pilot:
        assert "Its spans are not here." in await press(pilot, "5", "enter")


async def test_on_a_large_screen_the_trace_follows_the_cursor() -> None:
    async with shown(size=LARGE) as pilot:
        assert f"Trace {SEARCH} · shop" in text(pilot)
        assert f"Trace {LOGIN} · accounts" in await press(pilot, "4", "down")
        assert f"Trace {BROKEN} · shop" in await press(pilot, "5")


async def test_a_screen_that_grows_shows_all_and_one_that_shrinks_what_it_can() -> None:
    async with shown() as pilot:
        assert "evicted/s" not in text(pilot)
        await pilot.resize_terminal(*LARGE)
        await settle(pilot)
        large = text(pilot)
        assert "evicted/s" in large
        assert "12.3 deploy, <0.1 expire" in large
        await pilot.resize_terminal(*SMALL)
        await settle(pilot)
        small = text(pilot)
        assert "evicted/s" not in small
        assert firsts(small, "▼/s") == ["product", "session", "search"]


@pytest.mark.parametrize("size", [(40, 12), (120, 24), (100, 60), (300, 100)])
async def test_any_size_will_do(size: tuple[int, int]) -> None:
    async with shown(size=size) as pilot:
        await press(pilot, "6")
        assert "product" in await press(pilot, "1")


async def test_where_nothing_has_come_it_says_what_to_do() -> None:
    source = Fixed(EMPTY)
    async with shown(source) as pilot:
        assert "Send here!" in text(pilot)
        assert "Caches" not in text(pilot)
        source.now = VIEW
        await until(pilot, lambda: "product" in text(pilot))
        assert "Send here!" not in text(pilot)


async def test_an_empty_table_says_what_would_fill_it() -> None:
    async with shown(Fixed(replace(VIEW, servers=[], failed=[]))) as pilot:
        assert "OTEL_REDIS_CACHE_WATCH" in await press(pilot, "2")
        assert "No call has failed." in await press(pilot, "5")


async def test_what_is_lost_is_never_silent() -> None:
    intake = replace(VIEW.intake, spans_dropped=12_345, points_dropped=6, refused=1)
    async with shown(Fixed(replace(VIEW, intake=intake)), LARGE) as pilot:
        assert (
            "12,345 spans dropped · 6 points dropped · 1 messages refused · 1,204 spans/s"
            in text(pilot)
        )
        strips = pilot.app.screen._compositor.render_strips()
        lost = [segment for strip in strips for segment in strip if "dropped" in segment.text]
        assert {str(segment.style and segment.style.bold) for segment in lost} == {"True"}


async def test_what_others_call_things_is_text_and_no_order() -> None:
    name = "[/bold]\x1b[31m[@click=app.quit]GET\n"
    call = replace(VIEW.slowest[0], name=name, cache=name, error=name, service=name)
    cache = replace(CACHES[0], name=name, invalidations_per_second={name: 1.0})
    server = replace(VIEW.servers[0], address=name)
    view = replace(VIEW, slowest=[call], failed=[call], caches=[cache], servers=[server])
    async with shown(Fixed(view), LARGE) as pilot:
        seen = await press(pilot, "5")
        assert "\x1b" not in seen
        assert seen.count("[/bold]�[31m[@click=app.quit]GET�") >= 5
        assert f"Nothing has “{name[:7]}x”" in await press(pilot, "slash", *name[:7], "x")


async def test_a_lifetime_that_is_no_number_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    span = replace(TRACES[SEARCH][1], attributes={"cache.name": "product", "cache.ttl": "soon"})
    monkeypatch.setitem(TRACES, SEARCH, [span])
    async with shown() as pilot:
        assert "product ttl soon" in await press(pilot, "4", "enter")


async def test_all_keys_are_told() -> None:
    async with shown(size=LARGE) as pilot:
        keys = await press(pilot, "question_mark")
        assert "Pause" in keys.split("Keys", 1)[0]
        await press(pilot, "question_mark")
        assert not pilot.app.screen.query("HelpPanel")


async def test_a_source_that_fails_ends_the_screen() -> None:
    screen = TopScreen(Broken(VIEW), about="", welcome="")
    async with screen.run_test() as pilot:
        await pilot.pause()
    assert str(screen.fault) == "the disk is full"
