"""What one command did to its caches: its table row applied to its reply.

Four kinds of rule (:mod:`.lookups`, :mod:`.removals`, :mod:`.writes`, :mod:`.lifetimes`) are functions
of operands and reply; :func:`judge` and :func:`condemn` add up what they say. Replies come as redis-py returns
them under RESP2 or RESP3, or raw inside a transaction: nil is always None, ``OK`` may be True, a
count may be a bool. Where a reply cannot tell, nothing is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

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
from otel_redis_cache.operands import count_of, key_bytes
from otel_redis_cache.sizes import measure_reads, measure_writes
from otel_redis_cache.touches import note_lookups, note_removal, note_writes

_K = TypeVar("_K")


def judge(
    outcome: Outcome,
    command: Command,
    caches: Names,
    reply: Reply,
    now: float,
    *,
    probes: bool,
    expires: bool = False,
    touches: bool = False,
    sizes: bool = False,
    reason: Callable[[], str] | None = None,
) -> None:
    """Add what the reply of one command says.

    Args:
        outcome: where to add it.
        command: what was sent.
        caches: the cache name of each of its keys.
        reply: what came back.
        now: unix time in seconds when the command was sent, to tell past deadlines.
        probes: whether existence checks are lookups.
        expires: whether a later command of the same batch gave the key a time to live.
        touches: whether to note misses, and what may end them.
        sizes: whether to measure values.
        reason: the application's own one for what is removed on purpose; asked for each request.
    """
    rule, operands = command
    outcome.caches.update(caches)
    if rule.read is not None and (probes or not rule.read.probe):
        _judge_lookups(outcome, rule.read, command, caches, reply, touches=touches, sizes=sizes)
    if rule.removal is not None:
        _judge_removal(
            outcome, rule.removal, command, caches, reply, now, touches=touches, own_reason=reason
        )
    if rule.write is not None:
        stored = rule.write.stored(operands, reply)
        if stored is False:
            _add_writes(outcome, rule.write, command, caches, names.REFUSED)
        elif stored and not _stored_in_the_past(operands, rule.removal, now):
            _add_writes(outcome, rule.write, command, caches, names.STORED, expires=expires)
            if touches and outcome.is_followed:
                note_writes(outcome, rule.write, command)
            if sizes:
                measure_writes(outcome, rule.write, command, caches)
    if rule.lifetime is not None:
        _judge_lifetime(outcome, rule.lifetime, command, caches, reply, now)


def condemn(
    outcome: Outcome,
    command: Command,
    caches: Names,
    now: float,
    *,
    probes: bool,
    reason: Callable[[], str] | None = None,
) -> None:
    """Add a command that was sent and failed: each of its lookups is an error."""
    rule, operands = command
    outcome.caches.update(caches)
    if rule.read is not None and (probes or not rule.read.probe):
        _add_failed_lookups(outcome, rule.read, caches, rule.read.asked(operands))
    removal = rule.removal
    if removal is not None and not removal.incidental and removal.asked(operands, now) > 0:
        cache = _one_cache(removal, caches)
        if cache is not None:
            _bump(outcome.removals, (cache, _reason(removal, reason), names.ERROR))
    if rule.write is not None:
        _add_writes(outcome, rule.write, command, caches, names.ERROR)


def _judge_lookups(
    outcome: Outcome,
    read: Read,
    command: Command,
    caches: Names,
    reply: Reply,
    *,
    touches: bool,
    sizes: bool,
) -> None:
    asked = read.asked(command.operands)
    if not asked:
        return
    found = read.found(command.operands, reply)
    if len(found) != asked:  # a response callback of the application made something else of it
        _add_failed_lookups(outcome, read, caches, asked)
        return
    if read.values and touches and (outcome.is_followed or False in found):
        note_lookups(outcome, read, command, caches, found)
    if read.values and sizes:
        measure_reads(outcome, read, caches, reply)
    if read.each_key:
        if read.counted and len(set(caches)) > 1 and len(set(found)) > 1:
            # The reply says how many of the keys are there, not which.
            caches = [names.MIXED_CACHES] * asked
        for cache, hit in zip(caches, found, strict=False):
            _add_lookup(outcome, cache, 1, hit=hit)
    elif caches:
        hits = sum(found)
        _add_lookup(outcome, caches[0], hits, hit=True)
        _add_lookup(outcome, caches[0], asked - hits, hit=False)


def _add_lookup(outcome: Outcome, cache: str | None, count: int, *, hit: bool) -> None:
    if cache is None or not count:
        return
    outcome.total += count
    if hit:
        outcome.hits += count
    else:
        outcome.misses += count
    _bump(outcome.lookups, (cache, names.HIT if hit else names.MISS), count)


def _add_failed_lookups(outcome: Outcome, read: Read, caches: Names, asked: int) -> None:
    each = [(cache, 1) for cache in caches] if read.each_key else [(c, asked) for c in caches[:1]]
    for cache, count in each:
        if cache is not None and count:
            outcome.total += count
            _bump(outcome.lookups, (cache, names.ERROR), count)


def _judge_lifetime(
    outcome: Outcome,
    lifetime: Lifetime,
    command: Command,
    caches: Names,
    reply: Reply,
    now: float,
) -> None:
    seconds = lifetime.seconds(command.operands, now)
    if seconds is None:
        return
    given = lifetime.given(command.operands, reply)
    for cache in caches if lifetime.each_key else caches[:1]:
        if given and cache is not None:
            _bump(outcome.ttls, (cache, seconds), given)


def _judge_removal(
    outcome: Outcome,
    removal: Removal,
    command: Command,
    caches: Names,
    reply: Reply,
    now: float,
    *,
    touches: bool,
    own_reason: Callable[[], str] | None,
) -> None:
    asked = removal.asked(command.operands, now)
    if asked and touches and outcome.is_followed and not removal.incidental:
        note_removal(outcome, removal, command)
    cache = _one_cache(removal, caches)
    if not asked or cache is None:
        return
    removed = removal.removed(command.operands, reply)
    if removal.incidental and not removed:
        return
    reason = _reason(removal, own_reason)
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


def _reason(removal: Removal, own: Callable[[], str] | None) -> str:
    """Why; what a write removes in passing has no reason but its own."""
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


def _stored_in_the_past(operands: Operands, removal: Removal | None, now: float) -> bool:
    """A write whose deadline has passed already stores nothing, although the reply says OK."""
    return (
        removal is not None and removal.reason == names.EXPIRE and removal.asked(operands, now) > 0
    )


def _add_writes(
    outcome: Outcome,
    write: Write,
    command: Command,
    caches: Names,
    result: str,
    *,
    expires: bool = False,
) -> None:
    ttl = write.ttl(command.operands)
    if expires and ttl == names.TTL_NONE:
        ttl = names.TTL_SET
    if write.positions is not None:
        by_position = dict(zip(command.rule.positions(command.operands), caches, strict=False))
        caches = [by_position.get(i) for i in write.positions(command.operands)]
    for cache in caches:
        if cache is not None:
            _bump(outcome.writes, (cache, ttl, result))


def _bump(counts: dict[_K, int], key: _K, count: int = 1) -> None:
    counts[key] = counts.get(key, 0) + count


def expiring_writes(commands: Sequence[tuple[Command, Reply]]) -> frozenset[int]:
    """Which writes of a batch, by index, a later EXPIRE of the same key gave a time to live."""
    if not any(_expires_key(command) for command, _ in commands):
        return frozenset()
    waiting: dict[object, list[int]] = {}
    found: set[int] = set()
    for index, (command, reply) in enumerate(commands):
        if _expires_key(command):
            if not isinstance(reply, BaseException) and count_of(reply):
                for key in command.keys:
                    found.update(waiting.pop(key_bytes(key), ()))
        elif command.rule.write is not None:
            for key in command.at(command.rule.write.positions or command.rule.positions):
                waiting.setdefault(key_bytes(key), []).append(index)
    return frozenset(found)


def _expires_key(command: Command) -> bool:
    lifetime = command.rule.lifetime
    return lifetime is not None and lifetime.expires_key
