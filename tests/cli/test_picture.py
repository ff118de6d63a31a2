"""What is drawn, letter by letter, from a fixed model."""

from __future__ import annotations

import io

import pytest
from inline_snapshot import snapshot
from rich.console import Console, RenderableType

from otel_redis_cache.cli.measurements import CacheFigures, Distribution, OperationFigures
from otel_redis_cache.cli.picture import (
    describe_caches,
    draw_caches,
    draw_operations,
    draw_progress,
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
        writes=8_099,
        invalidations={"delete": 120, "expire": 7},
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
                    span("MGET", 9.1, 9.9, cache_name="product", cache_hits="6", cache_misses="2")
                ),
            ],
        ),
        Branch(span("UNLINK", 11.0, 11.2, cache_name="search", cache_invalidation_removed="2")),
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

cache    lookups     /s   hits       p50 ms  p95 ms  p99 ms  writes  removed
────────────────────────────────────────────────────────────────────────────────
product   49,314  1,234  83.6%  ███    0.36    6.00    10.0   8,099  120 delete
                                                                     7 expire
session        1      0      -            -       -       -       0\
""")


def test_the_table_of_commands() -> None:
    assert drawn(draw_operations(OPERATIONS)) == snapshot("""\

command       calls  p50 ms  p95 ms  p99 ms  errors
────────────────────────────────────────────────────
GET           1,000    0.36    6.00    10.0       4
PIPELINE SET      3    0.25    0.47    0.49       0\
""")


def test_the_waterfall() -> None:
    assert drawn(draw_waterfall(TRACE)) == snapshot("""\

span                  what came of it             ms  when
────────────────────────────────────────────────────────────────────────────────
GET /product/{id}                               12.0  █████████████████████████
├─ HGETALL            session hit               0.30  █
├─ GET                product miss              0.40   ▉
├─ load                                         10.0    ████████████████████▉
│  ├─ SELECT product                            7.80    ▐███████████████▊
│  └─ MGET            product 6 hits, 2 misses  0.80                    ▕█▋
├─ UNLINK             search 2 removed          0.20                        ▕▌
└─ GET                session WRONGTYPE         0.70                         ▐█\
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
    for picture in (draw_caches(CACHES), draw_operations(OPERATIONS), draw_waterfall(TRACE)):
        assert max(len(line) for line in drawn(picture, width).splitlines()) <= width


def test_a_span_too_short_for_the_scale_is_still_seen() -> None:
    instant = Branch(span("GET", 5, 5))
    last = Branch(span("SET", 10, 10))
    text = drawn(draw_waterfall(Branch(span("GET /", 0, 10), [instant, last])))
    assert all(set(line) & set("█▉▊▋▌▍▎▏▐▕") for line in text.splitlines()[3:])
