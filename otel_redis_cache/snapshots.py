"""The numbers of this process, for a status page of its own: ``snapshot()``.

They are read from the tallies that the exported counters are read from, so both always say the
same. Every field is always there, whatever has happened.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from typing_extensions import TypedDict  # of opentelemetry-api; pydantic needs it below 3.12

from otel_redis_cache import conventions as names
from otel_redis_cache import latencies, outages, tallies, windows
from otel_redis_cache.forks import process
from otel_redis_cache.instrumentor import contain
from otel_redis_cache.latencies import Latency
from otel_redis_cache.outages import Outage
from otel_redis_cache.recorder import package_version
from otel_redis_cache.signals import raised_by_handler
from otel_redis_cache.tallies import Tallies

SCHEMA_VERSION = 1
"""Of :class:`Snapshot`: a new field leaves it, a change of one raises it."""

MAX_REASONS = 20


class Ttls(TypedDict):
    """Keys written, by what became of their time to live."""

    set: Annotated[int, "with a time to live"]
    none: Annotated[int, "without one"]
    kept: Annotated[int, "with the one the key had"]


class Writes(TypedDict):
    """Keys written, as `cache.writes`."""

    stored: Annotated[Ttls, "taken by the server"]
    refused: Annotated[Ttls, "not stored, as a condition such as NX did not hold"]
    error: Annotated[Ttls, "in a command that failed"]


class Effects(TypedDict):
    """Commands that ask for removal, as `cache.invalidation.requests`."""

    removed: Annotated[int, "all that was named was there; of `invalidate()`, something was"]
    partial: Annotated[int, "some of it was there; of `invalidate()`, it failed on its way"]
    none: Annotated[int, "nothing of it was there"]
    unknown: Annotated[int, "the reply does not tell"]
    error: Annotated[int, "the command failed"]


class Counts(TypedDict):
    """What was asked for, found, written and removed."""

    requests: Annotated[int, "keys or fields asked for: hits + misses + errors"]
    hits: Annotated[int, "as `cache.requests`, `hit`"]
    misses: Annotated[int, "as `cache.requests`, `miss`"]
    errors: Annotated[int, "as `cache.requests`, `error`"]
    hit_ratio: Annotated[float | None, "hits / (hits + misses); null without either"]
    writes: Annotated[Writes, "keys written, by result"]
    entries_removed: Annotated[int, "as `cache.invalidations`"]
    invalidation_requests: Annotated[Effects, "commands that ask for removal, by effect"]
    stampedes: Annotated[int, "as `cache.stampedes`"]


class Removals(TypedDict):
    """What was asked to be removed, and what was."""

    requests: Annotated[int, "as `cache.invalidation.requests`"]
    entries: Annotated[int, "as `cache.invalidations`"]


class Reason(TypedDict):
    """Removals of one reason."""

    reason: Annotated[str, "as `cache.invalidation.reason`"]
    requests: Annotated[int, "as `cache.invalidation.requests`"]
    entries: Annotated[int, "as `cache.invalidations`"]


class Invalidations(TypedDict):
    """Why and when entries were removed."""

    by_reason: Annotated[list[Reason], f"most requests first, at most {MAX_REASONS}"]
    last_hour: Annotated[Removals, "the last 3,600 seconds"]
    last_day: Annotated[Removals, "the last 86,400 seconds"]


class Latencies(TypedDict):
    """How long calls took, in seconds."""

    count: Annotated[int, "calls, as those of `db.client.operation.duration`"]
    p50: Annotated[float, "half of them took no longer; within 2.5 %, as the next two"]
    p95: Annotated[float, "95 % of them took no longer"]
    p99: Annotated[float, "99 % of them took no longer"]
    max: Annotated[float, "none took longer; exact"]


class OutageTime(TypedDict):
    """A time in which a server did not answer."""

    server: Annotated[str, "address, port and database as configured"]
    error_type: Annotated[str, "`error.type` of the call it began with"]
    began_at: Annotated[str, "ISO 8601, UTC"]
    ended_at: Annotated[str | None, "ISO 8601, UTC; null while it goes on"]
    seconds: Annotated[float, "how long it lasted, or has lasted"]


class Snapshot(TypedDict):
    """The numbers of this process since it began, or was forked."""

    schema_version: Annotated[int, "raised when a field changes its meaning or goes"]
    version: Annotated[str, "of this package"]
    pid: Annotated[int, "of this process"]
    started_at: Annotated[str, "ISO 8601, UTC: when this package was imported, or the fork"]
    taken_at: Annotated[str, "ISO 8601, UTC"]
    uptime: Annotated[float, "seconds since it was started"]
    totals: Annotated[Counts, "of all caches"]
    caches: Annotated[dict[str, Counts], "the same by cache name; they add up to the totals"]
    invalidations: Annotated[Invalidations, "why and when entries were removed"]
    operations: Annotated[
        dict[str, Latencies], "by operation, without blocking commands; empty without `snapshot`"
    ]
    outages: Annotated[list[OutageTime], "the last 50, the oldest first"]
    faults: Annotated[dict[str, int], "contained faults of this package, by step"]
    overflows: Annotated[dict[str, int], "what was folded into `_other`, by bound"]


def snapshot() -> Snapshot:
    """The numbers of this process: what its caches were asked for, and what came of it.

    JSON-able as it is, and the same fields at any time. The numbers are those that the exported
    counters have, of ``instrument()`` and of clients that are instrumented on their own, and stay
    after ``uninstrument()`` for as long as the meter provider lives; in a forked child they start at zero. Takes no time worth mentioning,
    does no I/O and never raises. Every field: ``docs/snapshot.md``.
    """
    try:
        return _taken(tallies.in_use())
    except Exception as fault:
        if raised_by_handler(fault):
            raise
        contain("snapshot", fault)
        return _taken([])


def _taken(used: list[Tallies]) -> Snapshot:
    now, now_unix = time.perf_counter_ns(), time.time()
    by_cache = _by_cache(used)
    total = sum(by_cache.values(), Counter[_Kind]())
    return Snapshot(
        schema_version=SCHEMA_VERSION,
        version=package_version(),
        pid=os.getpid(),
        started_at=outages.utc(process.started_unix),
        taken_at=outages.utc(now_unix),
        uptime=process.uptime(),
        totals=_counts(total),
        caches={cache: _counts(by_cache[cache]) for cache in sorted(by_cache)},
        invalidations=Invalidations(
            by_reason=_by_reason(total),
            last_hour=_removals(used, windows.HOUR),
            last_day=_removals(used, windows.DAY),
        ),
        operations={
            operation: _latencies(latency)
            for operation, latency in latencies.merged(counts.latencies for counts in used).items()
        },
        outages=[
            _outage_time(outage, now)
            for outage in outages.last_of(counts.outages for counts in used)
        ],
        faults=_in_full(names.STEPS, (counts.errors for counts in used)),
        overflows=_in_full(names.BOUNDS, (counts.overflows for counts in used)),
    )


_Kind = tuple[str, ...]
"""A metric, then the value of each of its attributes beside target and cache."""

REQUESTS, WRITES, ENTRIES, REMOVALS = "requests", "writes", "entries", "removals"
STAMPEDES = "stampedes"


def _by_cache(used: list[Tallies]) -> dict[str, Counter[_Kind]]:
    """What was counted of each cache, whatever servers it is on."""
    found: dict[str, Counter[_Kind]] = {}
    for counts in used:
        for metric, tally in (
            (REQUESTS, counts.requests),
            (WRITES, counts.writes),
            (ENTRIES, counts.removed),
            (REMOVALS, counts.removals),
            (STAMPEDES, counts.stampedes),
        ):
            for (_, (cache, *values)), count in tally.own_items():
                found.setdefault(cache, Counter())[(metric, *values)] += count
    return found


def _counts(found: Counter[_Kind]) -> Counts:
    hits, misses, errors = (found[REQUESTS, kind] for kind in (names.HIT, names.MISS, names.ERROR))
    effects = _summed(found, REMOVALS, attribute=1)
    return Counts(
        requests=hits + misses + errors,
        hits=hits,
        misses=misses,
        errors=errors,
        hit_ratio=hits / (hits + misses) if hits + misses else None,
        writes=Writes(
            stored=_ttls(found, names.STORED),
            refused=_ttls(found, names.REFUSED),
            error=_ttls(found, names.ERROR),
        ),
        entries_removed=_summed(found, ENTRIES, attribute=0).total(),
        invalidation_requests=Effects(
            removed=effects[names.REMOVED],
            partial=effects[names.PARTIAL],
            none=effects[names.NONE],
            unknown=effects[names.UNKNOWN],
            error=effects[names.ERROR],
        ),
        stampedes=found[(STAMPEDES,)],
    )


def _summed(found: Counter[_Kind], metric: str, *, attribute: int) -> Counter[str]:
    """The counts of one metric by one of its attributes."""
    summed = Counter[str]()
    for (name, *values), count in found.items():
        if name == metric:
            summed[values[attribute]] += count
    return summed


def _ttls(found: Counter[_Kind], result: str) -> Ttls:
    return Ttls(
        set=found[WRITES, names.TTL_SET, result],
        none=found[WRITES, names.TTL_NONE, result],
        kept=found[WRITES, names.TTL_KEPT, result],
    )


def _by_reason(total: Counter[_Kind]) -> list[Reason]:
    requests = _summed(total, REMOVALS, attribute=0)
    entries = _summed(total, ENTRIES, attribute=0)
    reasons = sorted(requests, key=lambda reason: (-requests[reason], reason))[:MAX_REASONS]
    return [Reason(reason=r, requests=requests[r], entries=entries[r]) for r in reasons]


def _removals(used: list[Tallies], seconds: int) -> Removals:
    found = [counts.windows.last(seconds) for counts in used]
    return Removals(
        requests=sum(each.requests for each in found), entries=sum(each.entries for each in found)
    )


def _latencies(latency: Latency) -> Latencies:
    return Latencies(
        count=latency.count,
        p50=latency.quantile(0.5),
        p95=latency.quantile(0.95),
        p99=latency.quantile(0.99),
        max=latency.longest / 1e9,
    )


def _outage_time(outage: Outage, now: int) -> OutageTime:
    return OutageTime(
        server=str(outage.target),
        error_type=outage.error_type,
        began_at=outage.began_at,
        ended_at=outage.ended_at,
        seconds=outage.seconds(now),
    )


def _in_full(known: Iterable[str], counted: Iterable[tallies.Tally[str]]) -> dict[str, int]:
    """Every key that there may be, also those that were never counted."""
    found = Counter[str]()
    for tally in counted:
        found.update(dict(tally.own_items()))
    return {key: found[key] for key in known}
