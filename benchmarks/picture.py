"""A picture of what is added, as SVG: a bar for each median, a line from the lowest round to the highest."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from benchmarks.cases import CASES
from benchmarks.document import Document
from benchmarks.tables import DISCARDING
from benchmarks.variants import BARE, VARIANTS

WIDTH, LABELS, RIGHT = 900, 300, 70
"""Of the picture, of the names on the left, and for a number behind the longest bar."""
ROW, HEAD = 18, 46
"""Heights of a bar with its gap, and of a title."""
FONT = 'font-family="sans-serif" font-size="12"'
COLOURS = {"this": "#1f77b4", "SDK": "#7f7f7f"}
OTHERS = "#d98b3a"
SHOWN = ("get", "asyncio-get", "pipeline", "mget")


def has_something(found: Document) -> bool:
    """Whether any of the cases that are shown ran."""
    return any(case in SHOWN for case in _cases(found))


def _cases(found: Document) -> Document:
    return found.get("exporters", {}).get(DISCARDING, {}).get("cases", {})


def draw(found: Document) -> str:
    """One panel for each case, one above the other, each with a scale of its own."""
    panels = [(case, of) for case, of in _cases(found).items() if case in SHOWN]
    lines: list[str] = []
    y = 0
    for case, of in panels:
        rows = [(variant, figure["added"]) for variant, figure in of.items() if variant != BARE]
        lines += _panel(CASES[case].label, rows, y)
        y += HEAD + ROW * len(rows)
    height = y + ROW
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT} role="img">',
            "<title>Added CPU time by who watches</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *lines,
            "</svg>\n",
        ]
    )


def _panel(label: str, rows: list[tuple[str, Document]], top: int) -> Iterator[str]:
    yield (
        f'<text x="16" y="{top + 32}" font-size="14" font-weight="bold" fill="#222222">'
        f"{escape(label)}: added CPU time, microseconds</text>"
    )
    longest = max([added["maximum"] for _, added in rows] + [1e-9])
    scale = (WIDTH - LABELS - RIGHT) / longest
    for index, (variant, added) in enumerate(rows):
        yield from _bar(VARIANTS[variant].label, added, top + HEAD + index * ROW, scale)


def _bar(label: str, added: Document, y: int, scale: float) -> Iterator[str]:
    low, middle, high = (
        LABELS + max(0.0, added[name]) * scale for name in ("minimum", "median", "maximum")
    )
    colour = COLOURS.get(label.split(maxsplit=1)[0], OTHERS)
    centre = y + ROW / 2
    yield (
        f'<text x="{LABELS - 8}" y="{y + 13}" text-anchor="end" fill="#222222">{escape(label)}</text>'
        f'<rect x="{LABELS}" y="{y + 3}" width="{middle - LABELS:.1f}" height="{ROW - 6}" '
        f'fill="{colour}"/>'
        f'<path d="M{low:.1f} {centre}H{high:.1f}" stroke="#222222"/>'
        f'<text x="{high + 6:.1f}" y="{y + 13}" fill="#222222">{added["median"]:.1f}</text>'
    )
