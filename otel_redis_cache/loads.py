"""Loads: the time from a miss to the write-back of the same key, and who else missed it meanwhile.

A cache that misses makes the application load the value from somewhere slower and write it back.
Until then every other caller of the key misses too: a `cache stampede
<https://en.wikipedia.org/wiki/Cache_stampede>`_.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from otel_redis_cache import conventions as names
from otel_redis_cache.facts import Target, Touch
from otel_redis_cache.forks import renew_after_fork
from otel_redis_cache.operands import key_bytes

MAX_OPEN = 4_096
"""Misses that are remembered; the oldest keys are forgotten first, with all of their fields."""

Part = int | None
"""The hash of a field; None for the key as a whole."""


SLICE = 256
"""Touches that are followed under one hold of the lock; other threads may be waiting for it."""


class Caller(NamedTuple):
    """Who asks. What the same caller asks for again is no stampede."""

    thread: int
    task: weakref.ref[Any] | None = None
    """The asyncio task, where one runs in this thread."""
    trace: int = 0
    """The trace around the call: requests that share one worker thread have one each."""


def current_caller(trace: int) -> Caller:
    """The thread and the task that this runs in, inside of this trace; 0 is none."""
    task = None
    if (asyncio := sys.modules.get("asyncio")) is not None:
        with suppress(RuntimeError):  # no loop runs in this thread
            task = asyncio.current_task()
    return Caller(threading.get_ident(), None if task is None else weakref.ref(task), trace)


class Times(NamedTuple):
    """When a call was made, in nanoseconds of the monotonic clock."""

    began: int
    """When it was sent."""
    ended: int
    """When it had its reply."""
    oldest: int
    """When a miss that it meets was opened at the earliest."""


class Miss:
    """A miss that nobody has written back yet."""

    __slots__ = ("cache", "caller", "is_met", "opened", "target")

    def __init__(self, target: Target, cache: str, opened: int, caller: Caller) -> None:
        """``opened``: when the call that missed had its reply."""
        self.target = target
        self.cache = cache
        self.opened = opened
        self.caller = caller
        self.is_met = False
        """Whether another caller has missed the same since."""


class Followed:
    """What a call did to the misses that were open."""

    __slots__ = ("joined", "loaded", "loads", "stampedes")

    def __init__(self) -> None:
        """Start with nothing."""
        self.loaded: dict[Part, Miss] = {}
        """The oldest miss of each key that was written back, by the hash of the key."""
        self.loads: list[tuple[str, float]] = []
        """(cache, seconds) of each of them."""
        self.stampedes: list[str] = []
        """The cache of each open miss that was met for the first time."""
        self.joined = False
        """Whether it missed what another caller had missed before."""


class OpenMisses:
    """The open misses of a process: bounded, exact under threads, keys kept as hashes alone.

    A miss is open until the key is written, deleted or found, by a call that was sent after it; what
    was found has been written by somebody else.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.by_key: OrderedDict[int, dict[Part, Miss]] = OrderedDict()
        """By the hash of target and key, the oldest first; then by the hash of the field."""
        self._count = 0
        self._lock = threading.RLock()
        renew_after_fork(self)

    def renew_locks(self) -> None:
        """In a forked child, which does not write back what its parent has missed."""
        self._lock = threading.RLock()
        self.by_key = OrderedDict()
        self._count = 0

    def holds(self, target: Target, key: object) -> bool:
        """Whether a miss of this key, or of a field of it, is open."""
        return _hash_of(target, key) in self.by_key

    def follow(
        self,
        target: Target,
        touches: Sequence[Touch],
        times: Times,
        caller: Callable[[], Caller],
    ) -> Followed:
        """Follow what one call found, wrote and removed, in this order.

        Args:
            target: where the keys are.
            touches: what the call did.
            times: when.
            caller: who made it; only asked where that matters.
        """
        followed = Followed()
        hashed = [(_hash_of(target, touch[1]), touch) for touch in touches]
        # Nearly all open no miss and end none, and need no lock.
        if not [
            kind
            for key_hash, (kind, key, *_) in hashed
            if kind == names.MISS or key is None or key_hash in self.by_key
        ]:
            return followed
        who = caller()
        for start in range(0, len(hashed), SLICE):
            with self._lock:
                self._forget_oldest(times)
                these = hashed[start : start + SLICE]
                for key_hash in {key_hash for key_hash, _ in these} & self.by_key.keys():
                    self._forget_expired(key_hash, times)
                for key_hash, touch in these:
                    self._follow(key_hash, touch, target, times, who, followed)
        followed.loads = [
            (miss.cache, (times.ended - miss.opened) / 1e9) for miss in followed.loaded.values()
        ]
        return followed

    def _follow(
        self,
        key_hash: int,
        touch: Touch,
        target: Target,
        times: Times,
        caller: Caller,
        followed: Followed,
    ) -> None:
        kind, key, field, cache = touch
        part = None if field is None else hash(key_bytes(field))
        if kind == names.MISS:
            miss = Miss(target, cache or "", times.ended, caller)
            self._miss(key_hash, part, miss, followed)
        elif kind == names.HIT:
            # A field that was found says that its key is there; a key, nothing of fields.
            self._end(key_hash, (part, None), times)
        elif kind == names.WRITE:
            self._write(key_hash, part, times, followed)
        elif key is None:
            self._forget_target(target)
        else:
            self._forget(key_hash, self._parts(key_hash) if field is None else (part,))

    def _miss(self, key: int, part: Part, miss: Miss, followed: Followed) -> None:
        met = self.by_key.setdefault(key, {}).setdefault(part, miss)
        if met is miss:
            self._count += 1
            while self._count > MAX_OPEN:
                oldest = next(iter(self.by_key))
                self._forget(oldest, self._parts(oldest))
        elif met.caller != miss.caller:  # otherwise one asks again, as behind a lock
            followed.joined = True
            if not met.is_met:
                met.is_met = True
                followed.stampedes.append(met.cache)

    def _write(self, key: int, part: Part, times: Times, followed: Followed) -> None:
        parts = self._parts(key) if part is None else (part, None)
        for ended in self._end(key, parts, times):
            # What one call misses and writes it cannot have loaded in between.
            if ended.opened <= times.began:
                oldest = followed.loaded.setdefault(key, ended)
                followed.loaded[key] = min(oldest, ended, key=_opened)

    def _end(self, key: int, parts: Sequence[Part], times: Times) -> list[Miss]:
        """The misses that this call came after, or made itself; they are no longer open."""
        found = self.by_key.get(key, {})
        ended = {
            part: miss
            for part in parts
            if (miss := found.get(part)) is not None
            and (miss.opened <= times.began or miss.opened == times.ended)
        }
        self._forget(key, [*ended])
        return [*ended.values()]

    def _parts(self, key: int) -> list[Part]:
        return [*self.by_key.get(key, ())]

    def _forget(self, key: int, parts: Sequence[Part]) -> None:
        found = self.by_key.get(key)
        if found is None:
            return
        for part in parts:
            self._count -= found.pop(part, None) is not None
        if not found:
            del self.by_key[key]

    def _forget_expired(self, key: int, times: Times) -> None:
        if (found := self.by_key.get(key)) is not None:
            self._forget(key, [part for part, miss in found.items() if miss.opened < times.oldest])

    def _forget_oldest(self, times: Times) -> None:
        """From the oldest key on, those that nobody has written back for too long."""
        while self.by_key:
            oldest = next(iter(self.by_key))
            self._forget_expired(oldest, times)
            if oldest in self.by_key:
                break

    def _forget_target(self, target: Target) -> None:
        for key, found in list(self.by_key.items()):
            self._forget(key, [part for part, miss in found.items() if miss.target == target])


def _hash_of(target: Target, key: object) -> int:
    return hash((target, key_bytes(key)))


def _opened(miss: Miss) -> int:
    return miss.opened
