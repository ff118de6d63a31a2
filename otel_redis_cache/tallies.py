"""Exact counts behind observable instruments, one set per meter provider.

A bump costs a dictionary update under a lock, a fortieth of ``Counter.add``; the price is that
these counters carry no exemplars.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Generic, TypeVar

from otel_redis_cache import conventions as names
from otel_redis_cache.caches import FirstNames
from otel_redis_cache.facts import OTHER_TARGETS, Outcome, Target
from otel_redis_cache.forks import renew_after_fork
from otel_redis_cache.garbage import Notes
from otel_redis_cache.latencies import Latencies
from otel_redis_cache.loads import Caller, Followed, OpenMisses, Times
from otel_redis_cache.outages import Outages
from otel_redis_cache.pools import Pools
from otel_redis_cache.windows import Windows

Attributes = dict[str, str | int]
_K = TypeVar("_K")

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
        self._lock = threading.RLock()
        self._fold = fold
        self._overflowed = overflowed
        self._inherited: dict[_K, int] = {}
        renew_after_fork(self)

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

    def own_items(self) -> list[tuple[_K, int]]:
        """The same without what a parent process had counted before it forked this one."""
        inherited = self._inherited
        return [(key, own) for key, count in self.items() if (own := count - inherited.get(key, 0))]

    def renew_locks(self) -> None:
        """In a forked child. Counts go on from the parent's, so exported increases are its own."""
        self._lock = threading.RLock()
        self._inherited = self._counts.copy()


Key = tuple[Target, tuple[str, ...]]
"""A target and what it is about there: one value for each other attribute, first the cache's."""


def fold(key: Key) -> tuple[Key, Key]:
    """The same count without its cache name, and without its address too."""
    target, (_, *values) = key
    folded = (names.OTHER_CACHE, *values)
    return (target, folded), (OTHER_TARGETS[target.system], folded)


def fold_target(key: Key) -> tuple[Key, Key]:
    """The same count without its address."""
    target, values = key
    folded = (OTHER_TARGETS[target.system], values)
    return folded, folded


Counts = dict[tuple[str, str], tuple[int, int]]
"""(system, cache) -> hits, misses."""


class Tallies:
    """All counts of one meter provider."""

    def __init__(self) -> None:
        """Start at zero."""
        self.silent = False
        """True once another provider has taken over: its instruments then report nothing."""
        self.left: AbstractSet[str] = frozenset()
        """Metrics that redis-py makes itself, by name."""
        self.automatic_names = FirstNames()
        self.reasons = FirstNames()
        """The application's own reasons for removal."""
        self.groups = FirstNames()
        """Consumer groups of streams."""
        self.observed: set[str] = set()
        """Instruments that the provider already has; a second one would be dropped unseen."""
        self.errors: Tally[str] = Tally()
        self.overflows: Tally[str] = Tally()
        self.requests: Tally[Key] = Tally(fold, self.overflow_of_series)
        self.writes: Tally[Key] = Tally(fold, self.overflow_of_series)
        self.removed: Tally[Key] = Tally(fold, self.overflow_of_series)
        self.removals: Tally[Key] = Tally(fold, self.overflow_of_series)
        self.stampedes: Tally[Key] = Tally(fold, self.overflow_of_series)
        self.retries: Tally[Key] = Tally(fold_target, self.overflow_of_series)
        self.redirections: Tally[Key] = Tally(fold_target, self.overflow_of_series)
        self.local_requests: Tally[Key] = Tally(fold_target, self.overflow_of_series)
        self.messages: Tally[Key] = Tally(fold, self.overflow_of_series)
        """Pub/Sub messages; the name of a channel that has none is empty."""
        self.open_misses = OpenMisses()
        self.ratio = HitRatio(self.requests)
        self.windows = Windows()
        self.latencies = Latencies(self.overflow_of_series)
        self.outages = Outages(self.overflow_of_series)
        self.pools = Pools()
        self.pool_names = FirstNames()
        self.pool_timeouts: Tally[str] = Tally()
        self.notes = Notes(partial(self.errors.add, names.FINALISER))
        """What finalisers did, and nobody has counted yet."""
        self.series: dict[str, dict[object, Attributes]] = {}
        """Attribute sets of each histogram, by what they are made of, so that each is made once."""

    def take(self, target: Target, outcome: Outcome) -> None:
        """Count what one call did."""
        for lookup, count in outcome.lookups.items():
            self.requests.add((target, lookup), count)
        if outcome.writes or outcome.removals or outcome.removed:
            self._take_changes(target, outcome)

    def _take_changes(self, target: Target, outcome: Outcome) -> None:
        for write, count in outcome.writes.items():
            self.writes.add((target, write), count)
        for entry, count in outcome.removed.items():
            if count:
                self.removed.add((target, entry), count)
        for removal, count in outcome.removals.items():
            self.removals.add((target, removal), count)
        if outcome.removals:
            requests, entries = sum(outcome.removals.values()), sum(outcome.removed.values())
            self.windows.add(requests, entries)

    def reason_of(self, reason: str) -> str:
        """A reason of the application's, as metrics may carry it; asked once for each request."""
        if reason in names.REASONS or self.reasons.admit(reason, names.MAX_REASONS):
            return reason
        self.overflows.add(names.REASONS_BOUND)
        return names.OTHER_REASON

    def pool_name_of(self, name: str) -> str:
        """The name of a pool, as metrics may carry it."""
        if self.pool_names.admit(name, names.MAX_POOLS):
            return name
        self.overflow_of_series()
        return names.OTHER_POOL

    def group_of(self, group: str) -> str:
        """A consumer group, as metrics may carry it."""
        if self.groups.admit(group, names.MAX_GROUPS):
            return group
        self.overflow_of_names()
        return names.OTHER_GROUP

    def follow(
        self, target: Target, outcome: Outcome, times: Times, caller: Callable[[], Caller]
    ) -> Followed:
        """Follow the misses that a call opened, met or wrote back; counts stampedes."""
        followed = self.open_misses.follow(target, outcome.touches, times, caller)
        for cache in followed.stampedes:
            self.stampedes.add((target, (cache,)))
        return followed

    def overflow_of_names(self) -> None:
        """A key whose automatic name came too late."""
        self.overflows.add(names.NAMES_BOUND)

    def overflow_of_series(self) -> None:
        """A count whose series came too late."""
        self.overflows.add(names.SERIES_BOUND)


class HitRatio:
    """hits / (hits + misses) by cache over the last seconds, from counts at earlier collections."""

    def __init__(self, requests: Tally[Key], started: float | None = None) -> None:
        """Watch one tally, from now on or from a moment of the monotonic clock."""
        self.window = 60.0
        """Seconds; the setting ``hit_ratio_window``."""
        self._requests = requests
        started = time.monotonic() if started is None else started
        self._history: deque[tuple[float, Counts]] = deque([(started, {})])
        self._lock = threading.RLock()
        renew_after_fork(self)

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
        """In a forked child."""
        self._lock = threading.RLock()

    def _counts(self) -> Counts:
        counts: Counts = {}
        for (target, (cache, kind)), count in self._requests.items():
            hits, misses = counts.get((target.system, cache), (0, 0))
            hits += count if kind == names.HIT else 0
            misses += count if kind == names.MISS else 0
            counts[target.system, cache] = (hits, misses)
        return counts

    def _remember(self, now: float, counts: Counts) -> Counts:
        """The earlier counts that are nearest to the start of the window."""
        history, start = self._history, now - self.window
        while len(history) > 1 and abs(history[1][0] - start) <= abs(history[0][0] - start):
            history.popleft()
        base = history[0][1]
        # However often readers collect, a sixtieth of the window is fine enough.
        if now - history[-1][0] >= self.window / 60 or len(history) == 1:
            history.append((now, counts))
        return base


_KEPT = "_otel_redis_cache_tallies"
"""The attribute of a provider that has its tallies, which its instruments go on to read where this
package is imported anew."""


def of(provider: object) -> Tallies:
    """The tallies of this provider: the same ones whenever it is instrumented again."""
    with _registry.lock:
        found = _registry.tallies.get(provider) or _made_through_proxy(provider)
        if found is None:
            kept = getattr(provider, "__dict__", {})
            found = _registry.tallies[provider] = kept.setdefault(_KEPT, Tallies())
        found.silent = False
        return found


def in_use() -> list[Tallies]:
    """All tallies whose instruments report, each once."""
    with _registry.lock:
        distinct = dict.fromkeys(_registry.tallies.values())
    found = [counts for counts in distinct if not counts.silent]
    for counts in found:
        counts.notes.tell()
    return found


def _made_through_proxy(provider: object) -> Tallies | None:
    """The tallies of instruments that were made before this provider was set.

    Until then the API hands out a proxy, which passes its instruments on to the provider set.
    """
    for known, counts in _registry.tallies.items():
        if getattr(known, "_real_meter_provider", None) is provider:
            return counts
    return None


class _Registry:
    """The tallies of every provider, for as long as it lives."""

    def __init__(self) -> None:
        self.tallies: weakref.WeakKeyDictionary[object, Tallies] = weakref.WeakKeyDictionary()
        self.renew_locks()
        renew_after_fork(self)

    def renew_locks(self) -> None:
        self.lock = threading.RLock()


_registry = _Registry()
