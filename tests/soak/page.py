"""Writes `docs/reliability.md` from what `make soak` has found: `python -m tests.soak.page`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import document
from benchmarks.document import Document

MANY = 1_000_000
"""Hostile inputs of a target."""

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.json"


def write(path: Path) -> None:
    """Write the page beside the document."""
    path.with_suffix(".md").write_text(render(document.read(path)), encoding="utf-8")


def render(found: Document) -> str:
    """The page."""
    return "\n\n".join(_parts(found)) + "\n"


def _parts(found: Document) -> Iterator[str]:
    soak = found["soak"]
    yield "# Reliability"
    yield "<!-- Made by `make soak` from reliability.json; do not edit. -->"
    yield "What this package was put through, what came of it, and which test a reader can run to see it again."
    yield "## The soak"
    yield _circumstances(soak)
    yield WHAT_HAPPENS
    yield _table(("What", ""), _load(soak))
    yield "Compared at the end, each to the last one:"
    yield COMPARED
    findings = soak["findings"]
    yield "\n".join(
        ["Of this run nothing was found that speaks against it."]
        if not findings
        else ["Found, and not explained:", "", *(f"- {finding}" for finding in findings)]
    )
    yield "### Faults survived"
    yield _table(("What was struck", "How", "Times"), _faults(soak["faults"]))
    yield "### What the application got meanwhile"
    yield _table(
        ("Exception, or other surprise", "Times, each explained by a fault"), _explained(soak)
    )
    yield "### Nothing leaked"
    yield _table(("In a pause, with no call open", *_PAUSES.values()), _states(soak["states"]))
    yield LEAKS
    yield "### Spans, where a Collector is away"
    yield _spans(soak["spans"])
    yield "## Hostile input"
    yield HOSTILE
    yield _table(("Target", "Inputs", "On"), _hostile(found.get("hostile", {})))
    yield "## What else holds, and where"
    yield _table(("What", "Tests"), HELD)
    yield "## What is not there yet"
    yield "\n".join(f"- {text}" for text in _missing(found))


def _circumstances(soak: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in soak["versions"].items())
    return (
        f"On {soak['made']}, {soak['seconds'] / 60:.2g} minutes, of commit {soak['commit']}: {soak['machine']}; {versions}. The machine was "
        f"shared with other programs; counts do not depend on that, rates do. "
        f"`make soak ARGS='--minutes {soak['minutes']:g} --seed {soak['seed']}'` draws the same faults again."
    )


WHAT_HAPPENS = """\
One process works as fast as it can: threads with a client each, with and without retries; asyncio tasks that share
clients, and cancel some of their calls; commands alone, in pipelines and in transactions; a synchronous and an asyncio
client of a cluster; a publisher and a subscriber; and `invalidate()` all the time. Its telemetry goes over OTLP to a real Collector. Faults
strike whatever it depends on, chosen by the seed: two servers, the network before one of them, three
nodes of a cluster, the Collector.

The application keeps a record of its own. Each worker has keys of its own and knows what a reply may be; the identity of
the key and a number are in each value."""

COMPARED = """\
- Each exception is one that a fault explains which was on, or had just been, on the way of the call. Each entry that is gone
  was lost with a server. A client that tries again may be answered about what its own first attempt did. Any other reply about a
  value that nobody wrote there, or that was replaced or removed, would be a failure, whatever the faults.
- Lookups by cache and result, writes, requests of removal, entries removed, calls of `invalidate()`, messages, and calls by
  operation and `error.type`: the metrics that came out of the Collector are the application's record, for each route.
- Each span that began has ended, with the name and the `error.type` of its call. What the Collector has answered for is in its file, also when it
  was killed in the next moment.
- The server that lived through it says in `INFO commandstats` that it has carried out all that was answered, and not more than was asked for."""

LEAKS = """\
Memory and files are those of the whole process, with the SDK, gRPC, the client library and what the application itself keeps. Objects are those
of our classes. Memory of our files is traced in the last quarter of the run alone, as that makes everything slow; there
it may grow until what is bounded was renewed once."""

_PAUSES = {"warm": "warm", "soaked": "after the soak", "traced": "traced", "end": "end"}


def _load(soak: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    untraced = soak["states"]["soaked"]["calls"]
    yield "Calls", f"{soak['calls']:,}"
    yield "of which before memory was traced", f"{untraced:,}"
    yield "of which failed", f"{soak['failed']:,}"
    yield "Attempts that a client repeated by itself", f"{soak['retries']:,}"
    yield "Lookups", f"{soak['lookups']:,}"
    yield "Writes", f"{soak['writes']:,}"
    yield "Entries removed", f"{soak['removed']:,}"
    yield "Calls of `invalidate()`", f"{soak['invalidations']:,}"
    yield "Messages, sent and received", f"{soak['messages']:,}"
    yield "Faults", f"{sum(soak['faults'].values()):,}"
    yield "Series of metrics", f"{soak['series']:,}"
    yield "Calls a second, faults and pauses included", f"{soak['calls'] / soak['seconds']:,.0f}"


def _faults(counts: Mapping[str, int]) -> Iterator[Sequence[str]]:
    for name, count in counts.items():
        target, _, how = name.partition(": ")
        yield _TARGETS[target], how, f"{count:,}"


_TARGETS = {
    "cluster": "a node of the cluster",
    "collector": "the Collector",
    "mortal": "the server that may die",
    "network": "the network",
    "steady": "the server that lives through it",
}


def _explained(soak: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, count in soak["explained"].items():
        yield name, f"{count:,}"


def _states(states: Mapping[str, Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    found = [states[name] for name in _PAUSES]
    yield "Calls so far", *(f"{state['calls']:,}" for state in found)
    yield "Memory, MiB", *(f"{state['rss'] / 2**20:.1f}" for state in found)
    yield "Open files", *(f"{state['files']}" for state in found)
    yield "Threads", *(f"{state['threads']}" for state in found)
    yield "Tasks", *(f"{state['tasks']}" for state in found)
    yield "Open spans", *(f"{state['open_spans']}" for state in found)
    yield "Our objects", *(f"{sum(state['objects'].values()):,}" for state in found)
    traced = (
        "" if state["traced"] is None else f"{state['traced'] / 1024:,.0f}" for state in found
    )
    yield "Our files hold, KiB", *traced


def _spans(spans: Mapping[str, int]) -> str:
    return (
        f"{spans['begun']:,} spans began and {spans['ended']:,} ended. The Collector has answered for {spans['taken']:,}; "
        f"its files have {spans['written']:,}. {spans['refused']:,} were in requests that it did not answer, and may have "
        f"come all the same. {spans['dropped']:,} found the queue of the SDK's `BatchSpanProcessor` full (8,192 spans "
        "here), as it waits for a Collector that is away, or comes after one process at full load too slowly. So what is "
        "lost is known to the span, and none of it is in metrics, which are cumulative: the first export after an outage has all."
    )


HOSTILE = """\
`make hostile` gives each target a million inputs, led by what they reach in our code. What reached something new, and what
failed once, is kept in `tests/hostile/corpus/` and tried again by every `make test`. The largest run of each that found no
failure:"""


def _hostile(hostile: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for target, run in hostile.items():
        yield target.replace("_", " "), f"{run['inputs']:,}", run["made"]


HELD = (
    (
        "Each guarded function, as the code has them, fails in each seam: reply and exception stay, a log line, a counter",
        "`tests/safety/test_guards.py`, `tests/safety/test_fail_open.py`",
    ),
    (
        "A hostile tracer, span, sampler, span processor, exporter, meter, hook",
        "`tests/safety/test_fail_open.py`, `tests/integration/test_instrumentor.py`",
    ),
    (
        "`snapshot()` and `health()` never raise; a watch goes on",
        "`tests/integration/test_snapshot.py`, `tests/integration/test_watch.py`",
    ),
    (
        "Interrupts and time-outs at any line",
        "`tests/safety/test_interruptions.py`",
    ),
    (
        "The garbage collector strikes at any line of the SDK and of ours",
        "`tests/safety/test_garbage.py`",
    ),
    (
        "Forks, also of workers of workers, with locks held by other threads",
        "`tests/safety/test_fork.py`, `tests/safety/test_processes.py`, `tests/zero_code/test_gunicorn_workers.py`",
    ),
    (
        "gevent, subinterpreters, many event loops, a new import, the end of the interpreter, `uninstrument()` during calls",
        "`tests/safety/test_processes.py`",
    ),
    ("A watch in forked and ending processes", "`tests/safety/test_watch_processes.py`"),
    ("Nothing of keys, arguments and values is exported", "`tests/safety/test_privacy.py`"),
    (
        "Names, series, memory and time are bounded",
        "`tests/safety/test_bounds.py`, `tests/safety/test_cost.py`",
    ),
    (
        "One outage for each death of a server, no flapping",
        "`tests/safety/test_soak.py`, `tests/integration/test_outages.py`",
    ),
    (
        "This soak, for a minute, in CI; and that it finds what is planted",
        "`tests/soak/test_soak.py`",
    ),
)


def _missing(found: Document) -> Iterator[str]:
    minutes = found["soak"]["seconds"] / 60
    if minutes < 30:
        yield f"A soak of 30 minutes: the longest one so far had {minutes:.0f}."
    if any(run["inputs"] < MANY for run in found.get("hostile", {}).values()):
        yield "A million hostile inputs for each target."
    yield (
        "Replicas and failovers during a soak: the cluster here has none. `tests/integration/test_failovers.py` has them "
        "without the load."
    )
    yield "valkey-py, Sentinel and the watch of a server (`watch_server`) during a soak."
    yield "A soak on other versions of Python and of the SDK than those above."


def _table(columns: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    lines = (columns, ("---",) * len(columns), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    write(DOCUMENT)
