"""What is drawn, letter by letter, from a fixed model."""

from __future__ import annotations

import io
import re

import pytest
from inline_snapshot import snapshot
from rich.console import Console, RenderableType

from otel_redis_cache.cli.measurements import (
    CacheFigures,
    Distribution,
    OperationFigures,
    ServerFigures,
)
from otel_redis_cache.cli.picture import (
    describe_caches,
    draw_caches,
    draw_entries,
    draw_faults,
    draw_operations,
    draw_progress,
    draw_server,
    draw_waterfall,
)
from otel_redis_cache.cli.traces import Branch, Span

LATENCY = Distribution((0.0005, 0.001, 0.01, 0.1), (700, 200, 90, 10, 0))

CACHES = [
    CacheFigures(
        name="product",
        hits=41_210,
        misses=8_101,
        errors=3,
        rate=1_234.5,
        trend=[0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0, 1.0],
        latency=LATENCY,
        load=Distribution((0.01, 0.1), (50, 50, 0)),
        stampedes=6,
        writes=8_099,
        ttl=Distribution((60.0, 300.0, 900.0), (100, 500, 90, 0), largest=900.0),
        invalidations={"deploy": 1_120, "delete": 120, "expire": 7},
    ),
    CacheFigures(name="session", hits=0, misses=0, errors=1),
]

OPERATIONS = [
    OperationFigures("GET", errors=4, latency=LATENCY),
    OperationFigures("PIPELINE SET", latency=Distribution((0.0005,), (3, 0))),
]


def span(name: str, start: float, end: float, *, failed: bool = False, **found: str) -> Span:
    attributes = {key.replace("_", "."): value for key, value in found.items()}
    if "cache.name" in attributes:
        attributes["db.system.name"] = "redis"
    return Span("t", name, "", name, round(start * 1e6), round(end * 1e6), attributes, failed)


TRACE = Branch(
    span("GET /product/{id}", 0, 12),
    [
        Branch(span("HGETALL", 0.1, 0.4, cache_name="session", cache_hit="true")),
        Branch(span("GET", 0.5, 0.9, cache_name="product", cache_hit="false")),
        Branch(
            span("load", 1.0, 11.0),
            [
                Branch(span("SELECT product", 1.2, 9.0)),
                Branch(
                    span(
                        "MGET",
                        9.1,
                        9.9,
                        cache_name="product",
                        cache_hits="6",
                        cache_misses="2",
                        cache_stampede="true",
                    )
                ),
            ],
        ),
        Branch(span("SET", 11.0, 11.1, cache_name="product", cache_ttl="300.0")),
        Branch(
            span(
                *("UNLINK", 11.1, 11.2),
                cache_name="search",
                cache_invalidation_removed="2",
                cache_invalidation_reason="delete",
            )
        ),
        Branch(
            span(
                *("cache.invalidate", 11.2, 11.3),
                cache_name="product",
                cache_invalidation_removed="203",
                cache_invalidation_reason="import",
                cache_invalidation_trigger="supplier",
            )
        ),
        Branch(span("GET", 11.3, 12, cache_name="session", error_type="WRONGTYPE", failed=True)),
    ],
)


def drawn(picture: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        console.print(picture)
    return "\n" + "\n".join(line.rstrip() for line in captured.get().splitlines())


def test_the_table_of_caches() -> None:
    assert drawn(draw_caches(CACHES)) == snapshot("""\

cache    lookups     /s   hits           p50 ms  p95 ms  load p95 ms  stampedes
────────────────────────────────────────────────────────────────────────────────
product   49,314  1,234  83.6%  ▄▅▇████    0.36    6.00         91.0          6
session        1      0      -                -       -            -          0\
""")


def test_the_table_of_entries() -> None:
    assert drawn(draw_entries(CACHES)) == snapshot("""\

cache    writes  ttl  removed
─────────────────────────────────────────────────────────
product   8,099   5m  1,120 deploy, 120 delete, 7 expire
session       0    -\
""")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        *((0.5, "0.5s"), (45.0, "45s"), (60.0, "1m"), (90.0, "1.5m"), (100.0, "1.7m")),
        *((300.0, "5m"), (3_600.0, "1h"), (86_400.0, "1d"), (2_592_000.0, "30d")),
    ],
)
def test_a_time_to_live_is_written_as_people_do(seconds: float, shown: str) -> None:
    cache = CacheFigures("product", ttl=Distribution((seconds,), (1, 0), largest=seconds))
    assert drawn(draw_entries([cache])).split()[-1] == shown


def test_many_reasons_are_wrapped_and_none_is_lost() -> None:
    reasons = {f"reason_{letter}": 7 for letter in "abcdefghijkl"}
    text = drawn(draw_entries([CacheFigures("product", invalidations=reasons)]))
    assert re.findall("reason_.", text) == [*reasons]


def test_the_table_of_commands() -> None:
    assert drawn(draw_operations(OPERATIONS)) == snapshot("""\

command       calls  p50 ms  p95 ms  p99 ms  errors
────────────────────────────────────────────────────
GET           1,000    0.36    6.00    10.0       4
PIPELINE SET      3    0.25    0.47    0.49       0\
""")


def test_the_waterfall() -> None:
    assert drawn(draw_waterfall(TRACE)) == snapshot("""\

span                  what came of it                            ms  when
────────────────────────────────────────────────────────────────────────────────
GET /product/{id}                                              12.0  ██████████
├─ HGETALL            session hit                              0.30  ▎
├─ GET                product miss                             0.40  ▐
├─ load                                                        10.0  ▕████████▏
│  ├─ SELECT product                                           7.80   ██████▌
│  └─ MGET            product 6 hits, 2 misses, stampede       0.80         ▐▎
├─ SET                product ttl 5m                           0.10           █
├─ UNLINK             search 2 removed                         0.10           █
├─ cache.invalidate   product 203 removed: import by supplier  0.10           █
└─ GET                session WRONGTYPE                        0.70           ▐\
""")


def test_the_progress() -> None:
    assert drawn(draw_progress(5, 20)) == snapshot("""\

━━━━━━━━━━                               15 s left Ctrl-C ends it now\
""")


def test_one_line_for_all_caches() -> None:
    assert describe_caches(CACHES) == snapshot(
        "product 49,314 lookups, 83.6% hits, p95 6.00 ms | session 1 lookups, - hits, p95 - ms"
    )


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_nothing_is_wider_than_the_screen(width: int) -> None:
    tables = draw_caches(CACHES), draw_entries(CACHES), draw_operations(OPERATIONS)
    for picture in (*tables, draw_waterfall(TRACE)):
        assert max(len(line) for line in drawn(picture, width).splitlines()) <= width


def test_a_removal_without_a_trigger_says_the_reason_alone() -> None:
    removal = span(
        *("DEL", 0, 1),
        cache_name="product",
        cache_invalidation_removed="1",
        cache_invalidation_reason="deploy",
    )
    text = drawn(draw_waterfall(Branch(removal)))
    assert "product 1 removed: deploy " in text


def test_a_span_too_short_for_the_scale_is_still_seen() -> None:
    instant = Branch(span("GET", 5, 5))
    last = Branch(span("SET", 10, 10))
    text = drawn(draw_waterfall(Branch(span("GET /", 0, 10), [instant, last])))
    assert all(set(line) & set("█▉▊▋▌▍▎▏▐▕") for line in text.splitlines()[3:])


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (
            ServerFigures(
                is_up=False,
                memory=5_012_345,
                limit=6_291_456,
                evicted=1_234,
                outages=1,
                connected=21,
                failed=87,
            ),
            snapshot("""\

server  memory   limit  evicted  outages  connected  failed calls
──────────────────────────────────────────────────────────────────
down    5.0 MB  6.3 MB    1,234        1         21            87\
"""),
        ),
        (
            ServerFigures(),
            snapshot("""\

server  memory  limit  evicted  outages  connected  failed calls
─────────────────────────────────────────────────────────────────
-            -      -        0        0          0             0\
"""),
        ),
    ],
    ids=["down", "unknown"],
)
def test_the_server(figures: ServerFigures, expected: str) -> None:
    assert drawn(draw_server(figures)) == expected


def test_what_happened_and_which_metric_shows_it() -> None:
    figures = [
        ("server restart", "redis.client.outage.duration", "1, up to 1.3 s"),
        ("", "redis.client.retries", "58 ConnectionError"),
        ("evictions", "cache.evictions", "179 product, 64 catalogue, 45 session, 20 search"),
    ]
    assert drawn(draw_faults(figures)) == snapshot("""\

what happened   which metric shows it         what it showed
────────────────────────────────────────────────────────────────────────────────
server restart  redis.client.outage.duration  1, up to 1.3 s
                redis.client.retries          58 ConnectionError
evictions       cache.evictions               179 product, 64 catalogue, 45
                                              session, 20 search\
""")
