"""Exact counts behind observable instruments, one set per meter provider.

A bump costs a dictionary update under a lock, a fortieth of ``Counter.add``; the price is that
these counters carry no exemplars.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from otel_redis_cache import conventions as names
from otel_redis_cache.caches import AutomaticNames
from otel_redis_cache.facts import Outcome, Target

Attributes = dict[str, str | int]
_K = TypeVar("_K")

OTHER_TARGETS = {
    system: Target(system, address=names.OTHER_ADDRESS) for system in (names.REDIS, names.VALKEY)
}
"""Where series go when even the targets are too many."""

# Room for the folded series, which come when the others have filled their part.
FIRST_BOUND, SECOND_BOUND = names.MAX_SERIES - 300, names.MAX_SERIES - 100


class Tally(Generic[_K]):
    """One counter by key: exact under threads, and bounded, with its total exact all the same."""

    def __init__(
        self,
        fold: Callable[[_K], tuple[_K, _K]] | None = None,
        overflowed: Callable[[], None] | None = None,
    ) -> None:
        """``fold`` gives the coarser key to use when there are too many, and the coarsest one."""
        self._counts: dict[_K, int] = {}
        self._lock = threading.Lock()
        self._fold = fold
        self._overflowed = overflowed

    def add(self, key: _K, count: int = 1) -> None:
        """Count, in a series of its own or in a folded one."""
        with self._lock:
            counts = self._counts
            if key not in counts and self._fold is not None and len(counts) >= FIRST_BOUND:
                coarser, coarsest = self._fold(key)
                key = coarser if coarser in counts or len(counts) < SECOND_BOUND else coarsest
                if self._overflowed is not None:
                    self._overflowed()
            counts[key] = counts.get(key, 0) + count

    def items(self) -> list[tuple[_K, int]]:
        """A copy that no bump can change."""
        with self._lock:
            return list(self._counts.items())

    def renew_lock(self) -> None:
        """In a forked child, where another thread may have held the lock."""
        self._lock = threading.Lock()


Key = tuple[Target, tuple[str, ...]]
"""A target and what it is about there: a cache name, then one value for each other attribute."""


def fold(key: Key) -> tuple[Key, Key]:
    """The same count without its cache name, and without its address too."""
    target, (_, *values) = key
    folded = (names.OTHER_CACHE, *values)
    return (target, folded), (OTHER_TARGETS[target.system], folded)


class Tallies:
    """All counts of one meter provider."""

    def __init__(self) -> None:
        """Start at zero."""
        self.silent = False
        """True once another provider has taken over: its instruments then report nothing."""
        self.automatic_names = AutomaticNames()
        self.observed: set[str] = set()
        """Instruments that the provider already has; a second one would be dropped unseen."""
        self.errors: Tally[str] = Tally()
        self.overflows: Tally[str] = Tally()
        self.requests: Tally[Key] = Tally(fold, self.overflow_of_series)
        self.writes: Tally[Key] = Tally(fold, self.overflow_of_series)
        self.removed: Tally[Key] = Tally(fold, self.overflow_of_series)
        self.removals: Tally[Key] = Tally(fold, self.overflow_of_series)
        _living.add(self)

    def take(self, target: Target, outcome: Outcome) -> None:
        """Count what one call did."""
        for lookup, count in outcome.lookups.items():
            self.requests.add((target, lookup), count)
        for write, count in outcome.writes.items():
            self.writes.add((target, write), count)
        for entry, count in outcome.removed.items():
            if count:
                self.removed.add((target, entry), count)
        for removal, count in outcome.removals.items():
            self.removals.add((target, removal), count)

    def overflow_of_names(self) -> None:
        """A key whose automatic name came too late."""
        self.overflows.add(names.NAMES_BOUND)

    def overflow_of_series(self) -> None:
        """A count whose series came too late."""
        self.overflows.add(names.SERIES_BOUND)

    def renew_locks(self) -> None:
        """In a forked child. Counts go on from the parent's, so exported increases are its own."""
        tallies = (self.errors, self.overflows, self.requests, self.writes, self.removed)
        for tally in (*tallies, self.removals):
            tally.renew_lock()
        self.automatic_names.renew_lock()


class HitRatio:
    """hits / (hits + misses) by cache over the last seconds, from counts at earlier collections."""

    def __init__(self, requests: Tally[Key], window: float) -> None:
        """Watch one tally over a window in seconds."""
        self._requests = requests
        self._window = window
        self._history: deque[tuple[float, dict[tuple[str, str], tuple[int, int]]]] = deque()
        self._lock = threading.Lock()
        _living.add(self)

    def read(self, now: float | None = None) -> list[tuple[float, Attributes]]:
        """One ratio for each cache that was asked for something in the window."""
        now = time.monotonic() if now is None else now
        counts = self._counts()
        with self._lock:
            base = self._remember(now, counts)
        found: list[tuple[float, Attributes]] = []
        for (system, cache), (hits, misses) in counts.items():
            hits_before, misses_before = base.get((system, cache), (0, 0))
            new_hits = hits - hits_before
            lookups = new_hits + misses - misses_before
            if lookups:
                attributes: Attributes = {names.DB_SYSTEM_NAME: system, names.CACHE_NAME: cache}
                found.append((new_hits / lookups, attributes))
        return found

    def renew_locks(self) -> None:
        """In a forked child, where another thread may have held the lock."""
        self._lock = threading.Lock()

    def _counts(self) -> dict[tuple[str, str], tuple[int, int]]:
        counts: dict[tuple[str, str], tuple[int, int]] = {}
        for (target, (cache, kind)), count in self._requests.items():
            hits, misses = counts.get((target.system, cache), (0, 0))
            hits += count if kind == names.HIT else 0
            misses += count if kind == names.MISS else 0
            counts[target.system, cache] = (hits, misses)
        return counts

    def _remember(
        self, now: float, counts: dict[tuple[str, str], tuple[int, int]]
    ) -> Mapping[tuple[str, str], tuple[int, int]]:
        """The counts at the window's start; the start of the process is zero."""
        history = self._history
        while len(history) > 1 and history[1][0] <= now - self._window:
            history.popleft()
        base = history[0][1] if history and history[0][0] <= now - self._window else {}
        # However often readers collect, a sixtieth of the window is fine enough.
        if not history or now - history[-1][0] >= self._window / 60:
            history.append((now, counts))
        return base


def of(provider: object) -> Tallies:
    """The tallies of this provider: the same ones whenever it is instrumented again."""
    with _registry_lock:
        found = _registry.get(provider) or _made_through_proxy(provider)
        if found is None:
            found = _registry[provider] = Tallies()
        found.silent = False
        return found


def _made_through_proxy(provider: object) -> Tallies | None:
    """The tallies of instruments that were made before this provider was set.

    Until then the API hands out a proxy, which passes its instruments on to the provider set.
    """
    for known, counts in _registry.items():
        if getattr(known, "_real_meter_provider", None) is provider:
            return counts
    return None


def _after_fork(living: Iterable[Tallies | HitRatio]) -> None:
    for counts in living:
        counts.renew_locks()


_living: weakref.WeakSet[Tallies | HitRatio] = weakref.WeakSet()
_registry: weakref.WeakKeyDictionary[object, Tallies] = weakref.WeakKeyDictionary()
_registry_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _after_fork(list(_living)))
