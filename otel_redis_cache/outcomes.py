"""What one command did to its caches: its table row applied to its reply.

Four kinds of rule (:mod:`.lookups`, :mod:`.removals`, :mod:`.writes`, :mod:`.lifetimes`) are functions
of operands and reply; :func:`judge` and :func:`condemn` add up what they say. Replies come as redis-py returns
them under RESP2 or RESP3, or raw inside a transaction: nil is always None, ``OK`` may be True, a
count may be a bool. Where a reply cannot tell, nothing is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeVar

from otel_redis_cache import conventions as names
from otel_redis_cache.facts import (
    Command,
    Lifetime,
    Names,
    Operands,
    Outcome,
    Read,
    Removal,
    Reply,
    Write,
)
from otel_redis_cache.operands import key_bytes
from otel_redis_cache.sizes import measure_reads, measure_writes
from otel_redis_cache.touches import note_lookups, note_removal, note_writes

_K = TypeVar("_K")


class Terms(NamedTuple):
    """On which terms the commands of a call are judged."""

    probes: bool = False
    """Whether existence checks are lookups."""
    follows: bool = False
    """Whether to note misses, and what may end them."""
    max_sizes: int = 0
    """How many values to measure."""
    reason: Callable[[], str] | None = None
    """The application's own one for what is removed on purpose; asked for each request."""


def judge(
    outcome: Outcome,
    command: Command,
    caches: Names,
    reply: Reply,
    terms: Terms,
    now: float,
    expiring: AbstractSet[object] | None = None,
) -> None:
    """Add what the reply of one command says.

    Args:
        outcome: where to add it.
        command: what was sent.
        caches: the cache name of each of its keys.
        reply: what came back.
        terms: on which the commands of a call are judged.
        now: unix time in seconds when the call was made, to tell past deadlines.
        expiring: the keys that a later command of the same batch gave a time to live.
    """
    rule, operands = command
    read, removal, write, lifetime = rule.read, rule.removal, rule.write, rule.lifetime
    outcome.caches.update(caches)
    removing = removal.asked(operands, now) if removal is not None else 0
    found: Sequence[bool] = ()
    if read is not None and (terms.probes or not read.probe):
        found = _judge_lookups(outcome, read, operands, caches, reply)
        # What takes or replaces the value in the same breath will not load it.
        is_loaded = read.values and write is None and not removing
        if terms.follows and is_loaded and (outcome.is_followed or False in found):
            note_lookups(outcome, read, command, caches, found)
    if removal is not None and removing:
        _judge_removal(outcome, removal, removing, command, caches, reply, terms)
        if terms.follows and outcome.is_followed and not removal.incidental:
            note_removal(outcome, removal, command)
    if write is not None:
        # With a deadline that has passed nothing is there, although the reply says OK.
        is_past = removal is not None and removing > 0 and removal.reason == names.EXPIRE
        stored = write.stored(operands, reply)
        if stored is False:
            _judge_refused(outcome, write, command, caches, terms, read if True in found else None)
        elif stored and not is_past:
            _judge_stored(outcome, write, command, caches, terms, expiring)
    if lifetime is not None:
        _judge_lifetime(outcome, lifetime, operands, caches, reply, now)
    if read is not None and True in found and len(outcome.sizes) < terms.max_sizes:
        measure_reads(outcome, read, caches, reply, terms.max_sizes)


def condemn(outcome: Outcome, command: Command, caches: Names, terms: Terms, now: float) -> None:
    """Add a command that was sent and failed: each of its lookups is an error."""
    rule, operands = command
    read, removal, write = rule.read, rule.removal, rule.write
    outcome.caches.update(caches)
    if read is not None and (terms.probes or not read.probe):
        _add_failed_lookups(outcome, read, caches, read.asked(operands))
    if removal is not None and not removal.incidental and removal.asked(operands, now) > 0:
        cache = _one_cache(removal, caches)
        if cache is not None:
            _bump(outcome.removals, (cache, _reason(removal, terms), names.ERROR))
    if write is not None:
        _add_writes(outcome, write, command, caches, names.ERROR)


def _judge_lookups(
    outcome: Outcome, read: Read, operands: Operands, caches: Names, reply: Reply
) -> Sequence[bool]:
    """What was found of what was asked for; nothing where the reply does not tell."""
    asked = read.asked(operands)
    if not asked:
        return ()
    found = read.found(operands, reply)
    if len(found) != asked:  # a response callback of the application made something else of it
        _add_failed_lookups(outcome, read, caches, asked)
        return ()
    if read.each_key and len(set(caches)) > 1:
        if read.counted and len(set(found)) > 1:
            # The reply says how many of the keys are there, not which.
            caches = [names.MIXED_CACHES] * asked
        for (cache, hit), count in Counter(zip(caches, found, strict=False)).items():
            _add_lookup(outcome, cache, count, hit=hit)
    elif caches:
        hits = sum(found)
        if hits:
            _add_lookup(outcome, caches[0], hits, hit=True)
        if hits < asked:
            _add_lookup(outcome, caches[0], asked - hits, hit=False)
    return found


def add_hits(outcome: Outcome, caches: Names) -> None:
    """What :func:`judge` adds for hits of commands that ask once, where nobody asks for more."""
    outcome.caches.update(caches)
    for cache, count in Counter(caches).items():
        _add_lookup(outcome, cache, count, hit=True)


def _add_lookup(outcome: Outcome, cache: str | None, count: int, *, hit: bool) -> None:
    if cache is None:
        return
    outcome.total += count
    if hit:
        outcome.hits += count
    else:
        outcome.misses += count
    lookup = cache, names.HIT if hit else names.MISS
    outcome.lookups[lookup] = outcome.lookups.get(lookup, 0) + count


def _add_failed_lookups(outcome: Outcome, read: Read, caches: Names, asked: int) -> None:
    each = [(cache, 1) for cache in caches] if read.each_key else [(c, asked) for c in caches[:1]]
    for cache, count in each:
        if cache is not None and count:
            outcome.total += count
            _bump(outcome.lookups, (cache, names.ERROR), count)


def _judge_refused(
    outcome: Outcome,
    write: Write,
    command: Command,
    caches: Names,
    terms: Terms,
    finding: Read | None,
) -> None:
    """``finding``: what returned the value of somebody else that is there."""
    _add_writes(outcome, write, command, caches, names.REFUSED)
    if finding is not None and terms.follows and outcome.is_followed:
        note_lookups(outcome, finding, command, caches, [True])


def _judge_stored(
    outcome: Outcome,
    write: Write,
    command: Command,
    caches: Names,
    terms: Terms,
    expiring: AbstractSet[object] | None,
) -> None:
    _add_writes(outcome, write, command, caches, names.STORED, expiring)
    if terms.follows and outcome.is_followed:
        note_writes(outcome, write, command)
    if len(outcome.sizes) < terms.max_sizes:
        measure_writes(outcome, write, command, caches, terms.max_sizes)


def _judge_lifetime(
    outcome: Outcome,
    lifetime: Lifetime,
    operands: Operands,
    caches: Names,
    reply: Reply,
    now: float,
) -> None:
    seconds = lifetime.seconds(operands, now)
    if seconds is None:
        return
    given = lifetime.given(operands, reply)
    for cache in caches if lifetime.each_key else caches[:1]:
        if given and cache is not None:
            _bump(outcome.ttls, (cache, seconds), given)


def _judge_removal(
    outcome: Outcome,
    removal: Removal,
    asked: int,
    command: Command,
    caches: Names,
    reply: Reply,
    terms: Terms,
) -> None:
    cache = _one_cache(removal, caches)
    if cache is None:
        return
    removed = removal.removed(command.operands, reply)
    if removal.incidental and not removed:
        return
    reason = _reason(removal, terms)
    _bump(outcome.removals, (cache, reason, _effect(removal, asked, removed)))
    if not removal.tells:
        return
    if removal.each_key and removed == asked:
        distinct = dict(zip(map(key_bytes, command.keys), caches, strict=False))
        for name in distinct.values():
            if name is not None:
                _bump(outcome.removed, (name, reason))
    else:
        # Zero is kept too: the span then says that nothing was found.
        _bump(outcome.removed, (cache, reason), removed)


def _reason(removal: Removal, terms: Terms) -> str:
    """Why; what a write removes in passing has no reason but its own."""
    own = terms.reason
    return removal.reason if own is None or removal.incidental else own()


def _effect(removal: Removal, asked: int, removed: int) -> str:
    if not removed:
        return names.NONE
    if not removal.tells:
        return names.UNKNOWN
    return names.REMOVED if removed >= asked else names.PARTIAL


def _one_cache(removal: Removal, caches: Names) -> str | None:
    """The cache that a removal is counted for; None when it is about no cache at all."""
    if not caches:
        return names.MIXED_CACHES  # FLUSHDB and the like take all of them
    distinct = set(caches) if removal.each_key else {caches[0]}
    if len(distinct) > 1:
        return names.MIXED_CACHES
    return next(iter(distinct), None)


def _add_writes(
    outcome: Outcome,
    write: Write,
    command: Command,
    caches: Names,
    result: str,
    expiring: AbstractSet[object] | None = None,
) -> None:
    ttl = write.ttl(command.operands)
    positions = command.rule.positions(command.operands)
    cache_at = dict(zip(positions, caches, strict=False))
    for position in write.positions(command.operands) if write.positions else cache_at:
        cache = cache_at.get(position)
        if cache is not None:
            given = (
                ttl == names.TTL_NONE
                and expiring
                and (key_bytes(command.operands[position]) in expiring)
            )
            _bump(outcome.writes, (cache, names.TTL_SET if given else ttl, result))


def _bump(counts: dict[_K, int], key: _K, count: int = 1) -> None:
    counts[key] = counts.get(key, 0) + count


Expiring = Mapping[int, AbstractSet[object]]
"""By the index of a command in its batch, which of the keys that it wrote."""


def expiring_writes(commands: Sequence[tuple[Command, Reply]], now: float) -> Expiring:
    """The keys that a batch writes and then gives a time to live, by an EXPIRE that took."""
    found: dict[int, set[object]] = {}
    if not [True for command, _ in commands if command.rule.lifetime is not None]:
        return found
    written: dict[object, list[int]] = {}
    for index, (command, reply) in enumerate(commands):
        expiry = _expiry_of(command)
        if expiry is not None:
            if not isinstance(reply, BaseException) and expiry.given(command.operands, reply):
                is_past = expiry.seconds(command.operands, now) is None
                for key in map(key_bytes, command.keys):
                    for writer in written.pop(key, ()):
                        if not is_past:
                            found.setdefault(writer, set()).add(key)
        elif command.rule.write is not None:
            stored = command.at(command.rule.write.positions or command.rule.positions)
            for key in map(key_bytes, stored):
                written.setdefault(key, []).append(index)
    return found


def _expiry_of(command: Command) -> Lifetime | None:
    """What gives a key that is there a time to live."""
    lifetime = command.rule.lifetime
    return lifetime if lifetime is not None and lifetime.expires_key else None
