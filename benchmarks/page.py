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
        if table.title == tables.BARS_TITLE:
            yield WHAT_STANDS_BETWEEN


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


WHAT_STANDS_BETWEEN = """\
### What stands between

Time on a shared machine of two processors spreads; instructions do not. Counted by callgrind (a `GET` that hits, after
5,000 others, beside the 172,000 instructions of the bare call; redis-py 8.1, SDK 1.45, Python 3.11):

| Watched by | Instructions added | As a ratio | Bar |
| --- | --- | --- | --- |
| this package | 221,000 | 0.77 of contrib's 287,000 | 0.85 |
| | | 0.28 of contrib's and redis-py's 789,000 | 0.32 |
| this package, unsampled | 137,000 | 1.4 of contrib's 97,000, which counts nothing | 0.85 |
| this package, metrics only | 97,000 | 0.19 of redis-py's 502,000 | 0.15 |
| this package, no providers | 29,000 | | |
| this package, an `MGET` of 100 keys | 389,000 | 1.3 of contrib's 296,000, which counts nothing | 1 |
| metrics only | 247,000 | 0.83 of these | |
| this package, a pipeline of 100 `GET` | 1,107,000 | 1.5 of contrib's 734,000, which counts nothing | 1 |
| metrics only | 823,000 | 1.1 of these | |

The times of an `MGET` and of a pipeline on this page are from before they were judged and named in one go, which took an
`MGET` with metrics from 813,000 instructions to 247,000 and a pipeline from 1,518,000 to 823,000. A run after it was too noisy
to be kept: `MGET` 1.2 of contrib's (-0.3 to 2.3), 1.8 us (1.1 to 2.7) for each command of a pipeline.

redis-py does the same few things again and again, which processors are fast at, so that its instructions take less time
than ours: by time the ratios to it are higher than by instructions.

Where the 97,000 are: 30,000 in the functions around the client's own (a pass with `*args, **kwargs` is 2,400, and
`Retry.call_with_retry`, twice in a `GET`, 12,000 with the two functions it makes); 15,000 the duration, half of it the SDK's
aggregation; 10,000 the verdict, half of it the name of the cache; 12,000 what was sent and where to; 8,000 the count, a lock
and two hashes; 8,000 the call itself. A span adds 40,000 where it is not sampled and 124,000 where it is.

Tried, and kept: histograms whose series are resolved once, spans from a mould, a hit that is remembered, a call made of
what it has, guards in place of functions around functions, batches judged and keys that begin alike named in one go (a pipeline of 100 enters 105 functions of
ours, 2,207 at first). Tried, and not kept: the seven modules that every call passes compiled by mypyc (7 % fewer
instructions, for a second way to be built); a call with slots in place of a dictionary (no difference); attempts told by
what was sent alone, without a function around each (counted an `UNWATCH` after a lost transaction as a retry). What
would close it: the functions around the client's own written in C, as `wrapt` has its own."""


def _markdown(table: Table) -> str:
    rows = (table.columns, ("---",) * len(table.columns), *table.rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    write(DOCUMENT)
