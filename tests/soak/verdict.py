"""Whether a soak has gone well: what it holds, and each finding that speaks against it, in a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.soak.accounts import Account, Event, Key
from tests.soak.exports import Exports
from tests.soak.faults import Strike, explains

MEMORY = 1.15
"""How many times the memory after the warm-up the process may have at the end, and 8 MiB."""
FILES = 8
"""So many open files, threads or tasks more are no leak: a pool grows with what happens at a time."""
OBJECTS = 200
"""So many of one of our classes more: outages, windows and open misses are bounded, and few."""
TRACED = 256 * 1024
"""Bytes of our files more: what is traced from some moment on grows until all that is bounded was renewed."""
COUNTED_COMMANDS = ("GET", "SET", "DEL", "PUBLISH")
SWEEPS = ("SCAN", "UNLINK", "PIPELINE UNLINK")
"""What `invalidate()` sends; the application does not know how often."""


def compare(
    name: str, application: Mapping[Key, int], telemetry: Mapping[Key, int]
) -> Iterator[str]:
    """Each count that is not the same."""
    for key in sorted(application.keys() | telemetry.keys()):
        ours, theirs = application.get(key, 0), telemetry.get(key, 0)
        if ours != theirs:
            yield f"{name} {' '.join(filter(None, key))}: the application had {ours:,}, telemetry says {theirs:,}"


def of_counts(application: Account, telemetry: Account) -> Iterator[str]:
    """Metrics are the application's own record."""
    for name, counts in vars(application).items():
        if name in ("answered", "unanswered"):
            continue
        theirs: Counter[Key] = getattr(telemetry, name)
        if name == "operations":
            theirs = Counter({key: n for key, n in theirs.items() if key[1] not in SWEEPS})
        yield from compare(name, +counts, +theirs)


def of_spans(
    application: Account, telemetry: Account, counting: Mapping[str, Any], exports: Exports
) -> Iterator[str]:
    """All that began have ended; all that were taken have come out; what was not taken is known."""
    ended, taken, refused = (_counter(counting[name]) for name in ("ended", "taken", "refused"))
    if counting["begun"] != ended.total():
        yield f"{counting['begun']:,} spans began, {ended.total():,} ended"
    planned: Counter[Key] = Counter()
    for (_, operation, error), count in application.operations.items():
        planned[operation, error] += count
    calls = Counter({key: n for key, n in ended.items() if key[0] != "cache.invalidate"})
    yield from compare("spans", planned, calls)
    invalidations = sum(n for key, n in ended.items() if key[0] == "cache.invalidate")
    if invalidations != application.invalidations.total():
        yield f"{application.invalidations.total():,} calls of invalidate(), {invalidations:,} spans"
    for key in sorted(taken.keys() | exports.spans.keys()):
        came, least = exports.spans[key], taken[key]
        if not least <= came <= least + refused[key]:
            yield (
                f"spans {' '.join(filter(None, key))}: the Collector took {least:,}, refused or did not answer "
                f"{refused[key]:,}, and wrote {came:,}"
            )


def of_server(application: Account, stats: Mapping[str, int], retries: int) -> Iterator[str]:
    """The server that lived through it has carried out what was answered, and at most what was asked."""
    for command in COUNTED_COMMANDS:
        routes = ("proxied", "steady")
        least = sum(application.answered[route, command] for route in routes)
        most = least + sum(application.unanswered[route, command] for route in routes)
        done = stats.get(command.lower(), 0)
        # A call that was tried again may have been carried out twice.
        if not least <= done <= 2 * (most - least) + least + 2 * retries:
            yield f"the server carried out {done:,} x {command}; {least:,} were answered, {most:,} asked for"


def of_events(strikes: Sequence[Strike], events: Path) -> tuple[Counter[str], list[str]]:
    """How many were explained, by what they were; and those that nothing explains."""
    explained: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for line in events.read_text(encoding="utf-8").splitlines():
        event = Event.of_line(line)
        if explains(strikes, event):
            explained[event.what] += 1
        else:
            found[f"{event.kind} on {event.route}: {event.what}"] += 1
    return explained, [
        f"{what}: {count:,} x with no fault that explains it" for what, count in found.items()
    ]


def of_leaks(states: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Nothing has grown between two pauses; nothing was open in one."""
    for name, state in states.items():
        if state["open_spans"]:
            yield f"{state['open_spans']} spans were open in the pause {name}"
    first, last = states["warm"], states["soaked"]
    if last["rss"] > first["rss"] * MEMORY + 8 * 2**20:
        yield f"memory grew from {first['rss'] / 2**20:.1f} to {last['rss'] / 2**20:.1f} MiB"
    for name in ("files", "threads", "tasks"):
        if last[name] > first[name] + FILES:
            yield f"{name} grew from {first[name]} to {last[name]}"
    for kind, count in last["objects"].items():
        if count > first["objects"].get(kind, 0) + OBJECTS:
            yield f"objects of {kind} grew from {first['objects'].get(kind, 0):,} to {count:,}"
    grown = states["end"]["traced"] - states["traced"]["traced"]
    if grown > TRACED:
        yield f"our files hold {grown / 1024:.0f} KiB more, in {states['end']['calls'] - states['traced']['calls']:,} calls"


def _counter(rows: Sequence[Sequence[Any]]) -> Counter[Key]:
    return Counter({tuple(key): count for *key, count in rows})
