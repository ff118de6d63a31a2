"""Writes `docs/performance.md` and its picture from the document: `python -m benchmarks.page`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import document, picture, tables
from benchmarks.document import Document
from benchmarks.tables import Table

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.json"


def write(path: Path) -> None:
    """Write page and picture beside the document."""
    found = document.read(path)
    path.with_suffix(".md").write_text(render(found, path.stem), encoding="utf-8")
    if picture.has_something(found):
        path.with_suffix(".svg").write_text(picture.draw(found), encoding="utf-8")


def render(found: Document, name: str) -> str:
    """The page."""
    return "\n\n".join(_parts(found, name)) + "\n"


def _parts(found: Document, name: str) -> Iterator[str]:
    yield "# What it costs"
    yield f"<!-- Made by `make bench` from {name}.json; do not edit. -->"
    if "exporters" in found:
        yield _circumstances(found)
        yield HOW_TO_READ
        if picture.has_something(found):
            yield f"![Added CPU time by who watches]({name}.svg)"
    for table in tables.draw(found):
        yield f"## {table.title}"
        yield table.note
        yield _markdown(table)


def _circumstances(found: Document) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    done = ", ".join(f"{count:,} x {case}" for case, count in found["operations"].items())
    return (
        f"Measured on {found['made']}: {found['machine']}; {versions}. {found['rounds']} rounds, "
        f"each of {done}. `make bench` measures anew, `make bench-memory` what memory it takes."
    )


HOW_TO_READ = """\
Each way to watch has a process of its own, with the SDK's `BatchSpanProcessor` and
`PeriodicExportingMetricReader` as they come, and a real server on loopback answers. A round is eight turns
of each process, one process at a time, in another order each time; its figure is the median of the turns. CPU time is that of the whole process: also of the thread that exports spans, until
the last span of the turn is exported. Metrics are not exported meanwhile; what one export costs has a table of its own.

What somebody *adds* is their CPU time less that of the bare call in the same round. A ratio compares two such additions,
not two calls: 0.5 means that half as much is added, while the call as a whole, with its network and its server, gets
faster by far less than half. Ratios travel between machines better than microseconds do; neither says what your
application will see. Keys are always there, values have 100 bytes, spans have no parent, and nothing else runs in the
process: with more to do between two calls the caches of the processor are colder, and everybody adds more. The packages
do different things: contrib's instrumentation makes spans and counts nothing; redis-py's own, with all of its groups,
makes metrics of calls and connections and knows no caches; this one makes spans and counts lookups by cache.

*SDK alone* is what it takes at least by public functions of the SDK: the benchmark itself starts a span with all the
attributes that this package gives it, ends it, and records one duration. Each process proves what it has made: spans
started and exported, durations and lookups counted, for every operation; otherwise the run fails."""


def _markdown(table: Table) -> str:
    rows = (table.columns, ("---",) * len(table.columns), *table.rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    write(DOCUMENT)
