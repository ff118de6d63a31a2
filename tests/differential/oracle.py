"""What must have been counted, told from the state of the server before and after each command.

The oracle knows of a command only what its :class:`Step` says: which entries it asks for, which it
is told to remove, which keys it stores. Whether they were there, are gone, were stored and expire
when asked, the server says. What no state can tell is taken from what is documented, and stands here:

- An update in place that the server accepted is ``stored``: `SADD` of a member that is there leaves
  no trace, and neither does `SETBIT` of a bit that is set.
- Where a key without a time to live is written and has none afterwards, the command's documentation
  says whether that is ``none`` or ``kept``; where it had one, the state does, and they must agree.
- Left out: `cache.invalidation.requests`, whose effect ``unknown`` says that nobody can tell; `MSET` of
  the same key twice; conditions of `ZADD`, whose reply 0 is that of an update and of nothing; commands
  that block; spans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.differential.step import Entry, Later, Look, Question, Step, Writes, whole

Counts = Counter[tuple[str, ...]]
"""(metric, cache, values of its other attributes ...) -> increase."""

DEADLINE_TOLERANCE = 25
"""Seconds; deadlines of two steps differ by at least 60."""


@dataclass
class Tally:
    """What a sequence must add to our counts, or what it added."""

    counts: Counts = field(default_factory=Counter)
    lifetimes: Counter[str] = field(default_factory=Counter)
    """By cache, the sum of the times to live in seconds."""


@dataclass(frozen=True)
class Seen:
    """One step, what the server showed around it, and whether it refused it."""

    step: Step
    position: int
    before: Look
    after: Look
    failed: bool
    now: float


def questions(step: Step) -> list[Question]:
    """What has to be asked before and after a step to judge it."""
    writes = step.writes or Writes(())
    entries = (*step.reads, *step.removes, *step.lasts)
    asked = [entry.question for entry in (*entries, *writes.needs, *writes.forbids, *writes.lands)]
    asked += [entry.deadline for entry in step.lasts]
    for key in writes.keys:
        asked += [("EXISTS", key), ("DUMP", key), ("PEXPIRETIME", key)]
    return list(dict.fromkeys(asked))


def judge(steps: Sequence[Seen], *, batch: bool, probes: bool) -> Tally:
    """What these steps must add."""
    tally = Tally()
    for index, seen in enumerate(steps):
        if probes or not seen.step.probes:
            tally.counts += _lookups(seen)
        tally.counts += _removed(seen)
        tally.counts += _written(seen, steps[index + 1 :] if batch else ())
        for entry in _lasting(seen):
            tally.counts["ttl", entry.cache] += 1
            assert seen.step.later
            tally.lifetimes[entry.cache] += seen.step.later.seconds(seen.position)
    return tally


# Lookups.


def _lookups(seen: Seen) -> Counts:
    step = seen.step
    if seen.failed:
        return Counter(("requests", entry.cache, "error") for entry in step.reads)
    # What is removed as it is read is there for the first who asks.
    asked_before = [entry in step.reads[:index] for index, entry in enumerate(step.reads)]
    found = [
        entry.is_in(seen.after if again else seen.before)
        for entry, again in zip(step.reads, asked_before, strict=True)
    ]
    caches = [entry.cache for entry in step.reads]
    if step.counted and len(set(caches)) > 1 and len(set(found)) > 1:
        caches = ["_mixed" for _ in caches]  # the reply is one number for all of them
    kinds = ["hit" if there else "miss" for there in found]
    return Counter(("requests", *pair) for pair in zip(caches, kinds, strict=True))


# Explicit removals.


def _removed(seen: Seen) -> Counts:
    step = seen.step
    named = list(dict.fromkeys(step.removes))
    gone = [e for e in named if e.is_in(seen.before) and not e.is_in(seen.after)]
    if not gone or seen.failed:
        return Counter()
    caches = {entry.cache for entry in named}
    if gone != named and len(caches) > 1:  # the reply is one number for all of them
        return Counter({("invalidations", "_mixed", step.reason): len(gone)})
    return Counter(("invalidations", entry.cache, step.reason) for entry in gone)


# Times to live.


def _lasting(seen: Seen) -> list[Entry]:
    """The entries that this step gave the deadline that it asked for, each once."""
    later = seen.step.later
    if later is None:
        return []
    return [entry for entry in dict.fromkeys(seen.step.lasts) if _has_deadline(seen, entry, later)]


def _has_deadline(seen: Seen, entry: Entry, later: Later) -> bool:
    reply = seen.after[entry.deadline]
    if isinstance(reply, list):
        (reply,) = reply or [None]
    if not isinstance(reply, int) or reply < 0:
        return False
    return abs(reply / 1000 - seen.now - later.seconds(seen.position)) < DEADLINE_TOLERANCE


# Writes.


def _written(seen: Seen, rest: Iterable[Seen]) -> Counts:
    writes = seen.step.writes
    if writes is None:
        return Counter()
    if seen.failed:
        return Counter(("writes", _cache(key), writes.ttl, "error") for key in writes.keys)
    if not _is_accepted(seen, writes):
        if writes.otherwise is None:
            return Counter()
        return Counter(("writes", _cache(key), writes.ttl, writes.otherwise) for key in writes.keys)
    found: Counts = Counter()
    for key in writes.keys:
        if not any(entry.is_in(seen.after) for entry in writes.lands or (whole(key),)):
            continue
        _check(seen, writes, key)
        expires = writes.ttl == "none" and any(_expires(later, key) for later in rest)
        found["writes", _cache(key), "set" if expires else writes.ttl, "stored"] += 1
    return found


def _is_accepted(seen: Seen, writes: Writes) -> bool:
    there = all(entry.is_in(seen.before) for entry in writes.needs)
    return there and not any(entry.is_in(seen.before) for entry in writes.forbids)


def _expires(seen: Seen, key: str) -> bool:
    """Whether this is an EXPIRE that gave the key a time to live."""
    return seen.step.writes is None and any(e == whole(key) for e in _lasting(seen))


def _check(seen: Seen, writes: Writes, key: str) -> None:
    """The server must agree with what the step says of itself, or the oracle is wrong."""
    dump, expires = ("DUMP", key), ("PEXPIRETIME", key)
    before, after = seen.before, seen.after
    traces = before[dump] != after[dump] or before[expires] != after[expires]
    assert traces or not writes.changes, f"the oracle is wrong: {seen.step.words} left no trace"
    if writes.lands or seen.step.name == "COPY":
        return  # the time to live is that of fields, or of what was copied
    kept = before[expires] == after[expires] or before["EXISTS", key] == 0
    as_told = {"kept": kept, "none": after[expires] == -1, "set": bool(_lasting(seen))}
    assert as_told[writes.ttl], f"the oracle is wrong: {seen.step.words} is not {writes.ttl!r}"


def _cache(key: str) -> str:
    return whole(key).cache
