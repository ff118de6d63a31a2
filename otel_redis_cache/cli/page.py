"""Findings as one HTML page: tables and plots, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from otel_redis_cache.cli.census_findings import KINDS, Findings, Row
from otel_redis_cache.cli.tables import HEADERS, bytes_of, count_of, period_of

PLOTTED = 24
"""Caches that plots show; the tables have them all."""

_COLOURS = ("#d1495b", "#edae49", "#9bc53d", "#30a5bf", "#00798c", "#30638e")
"""Of the times to live, in their order."""

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } code { overflow-wrap: anywhere; }
th, td { padding: .2rem .7rem .2rem 0; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child, .text { text-align: left; }
.remark { border-left: .3rem solid #edae49; padding-left: .7rem; }
.wide { overflow-x: auto; } svg { max-width: 100%; height: auto; }
svg text { font: 13px system-ui, sans-serif; fill: currentColor; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
"""

_LEFT, _WIDTH, _LINE = 180, 700, 24


def render(findings: Findings) -> str:
    """The page."""
    title = f"Keys of {findings.server}"
    body = "\n".join(_body(findings, title))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _body(findings: Findings, title: str) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1>"
    yield f"<p>{bytes_of(findings.size)}; {escape(findings.basis)}.</p>"
    for remark in findings.remarks:
        yield f'<p class="remark">{escape(remark)}</p>'
    if not findings.rows:
        yield "<p>There are no keys.</p>"
        return
    rows = findings.rows[:PLOTTED]
    yield "<h2>Memory by cache</h2>"
    yield _memory(rows)
    yield _table(
        ("cache", "entries", "memory", "share", "no TTL"),
        (
            (
                row.cache,
                count_of(row.entries),
                bytes_of(row.size),
                f"{row.share:.1%}",
                count_of(row.without_ttl),
            )
            for row in findings.rows
        ),
    )
    yield "<h2>Time to live of the entries</h2>"
    yield _lifetimes(rows)
    yield _table(
        ("cache", *HEADERS.values()),
        ((row.cache, *(count_of(row.lifetimes[kind]) for kind in KINDS)) for row in findings.rows),
    )
    yield f"<h2>Biggest entries{'' if findings.is_exact else ' that were seen'}</h2>"
    yield _table(
        ("entry", "cache", "type", "memory", "expires in"),
        (
            (big.name, big.cache, big.kind or "-", f"{big.size:,} bytes", period_of(big.ttl))
            for big in findings.biggest
        ),
    )
    if findings.proposals:
        yield "<h2>Proposed rules</h2>"
        yield _table(
            ("cache", "pattern", "entries now unnamed"),
            ((one.cache, one.pattern, f"{one.entries:,}") for one in findings.proposals),
        )
        lines = (f"{name}='{value}'" for name, value in (findings.settings or {}).items())
        yield f"<pre>{escape(chr(10).join(lines))}</pre>"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    lines = ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _memory(rows: Sequence[Row]) -> str:
    """A bar for each cache, with a whisker as wide as its interval."""
    most = max(row.size.value + row.size.error for row in rows) or 1
    scale = (_WIDTH - _LEFT - 150) / most
    drawn: list[str] = []
    for number, row in enumerate(rows):
        top, length = number * _LINE, row.size.value * scale
        half, middle = row.size.error * scale, top + _LINE / 2
        drawn.append(_label(row.cache, middle))
        drawn.append(
            f'<rect x="{_LEFT}" y="{top + 4}" width="{max(length, 1):.1f}" '
            f'height="{_LINE - 8}" fill="#30a5bf"/>'
        )
        if half:
            first = _LEFT + max(length - half, 0)
            drawn.append(
                f'<path d="M{first:.1f} {middle}H{_LEFT + length + half:.1f}" '
                'stroke="currentColor" stroke-width="2"/>'
            )
        drawn.append(
            f'<text x="{_LEFT + length + half + 6:.1f}" y="{middle + 4}">'
            f"{escape(bytes_of(row.size))}</text>"
        )
    return _svg("Memory by cache", drawn, len(rows) * _LINE)


def _lifetimes(rows: Sequence[Row]) -> str:
    """For each cache all of its entries, in the colours of the times they have left."""
    drawn: list[str] = []
    for number, (kind, colour) in enumerate(zip(KINDS, _COLOURS, strict=True)):
        x = _LEFT + 86 * number
        drawn.append(f'<rect x="{x}" y="6" width="12" height="12" fill="{colour}"/>')
        drawn.append(f'<text x="{x + 17}" y="17">{escape(HEADERS[kind])}</text>')
    for number, row in enumerate(rows, 1):
        top, left = number * _LINE, float(_LEFT)
        drawn.append(_label(row.cache, top + _LINE / 2))
        known = sum(figure.value for figure in row.lifetimes.values()) or 1
        for kind, colour in zip(KINDS, _COLOURS, strict=True):
            figure = row.lifetimes[kind]
            width = (_WIDTH - _LEFT) * figure.value / known
            if width:
                told = escape(f"{HEADERS[kind]}: {count_of(figure)}")
                drawn.append(
                    f'<rect x="{left:.1f}" y="{top + 4}" width="{width:.1f}" '
                    f'height="{_LINE - 8}" fill="{colour}"><title>{told}</title></rect>'
                )
            left += width
    return _svg("Time to live by cache", drawn, (len(rows) + 1) * _LINE)


def _label(text: str, middle: float) -> str:
    short = text if len(text) <= 24 else f"{text[:23]}…"
    return f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(short)}</text>'


def _svg(title: str, drawn: Iterable[str], height: int) -> str:
    inside = "\n".join(drawn)
    return (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}">\n{inside}\n</svg>'
    )
