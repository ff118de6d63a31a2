"""How long calls took, by operation: enough of it for quantiles, in bounded memory.

Durations fall into buckets that grow by the same factor, so that a quantile read from them is
within :data:`RELATIVE_ERROR` of the exact one. The idea is that of `DDSketch
<https://arxiv.org/abs/1908.10693>`_.
"""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Callable, Iterable

from otel_redis_cache.conventions import OTHER_OPERATION
from otel_redis_cache.forks import renew_after_fork

RELATIVE_ERROR = 0.025
"""Of a quantile, for durations from 1 microsecond to 10,000 seconds."""

MAX_OPERATIONS = 200
"""Operations with latencies of their own; what comes later is ``_OTHER``."""

SHORTEST, LONGEST = 1_000, 10_000 * 10**9  # nanoseconds
_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = math.log(_GROWTH)
BUCKETS = math.ceil(math.log(LONGEST / SHORTEST) / _LOG_GROWTH) + 1


class Latency:
    """How long the calls of one operation took."""

    __slots__ = ("_buckets", "count", "longest")

    def __init__(self) -> None:
        """Start without calls."""
        self.count = 0
        self.longest = 0
        """Nanoseconds, exact."""
        self._buckets = array("Q", bytes(8 * BUCKETS))

    def add(self, elapsed: int) -> None:
        """Count one call that took so many nanoseconds."""
        self.count += 1
        self.longest = max(self.longest, elapsed)
        bucket = math.ceil(math.log(max(elapsed, SHORTEST) / SHORTEST) / _LOG_GROWTH)
        self._buckets[min(bucket, BUCKETS - 1)] += 1

    def merge(self, other: Latency) -> None:
        """Add the calls that another one knows of."""
        self.count += other.count
        self.longest = max(self.longest, other.longest)
        for bucket, count in enumerate(other._buckets):
            if count:
                self._buckets[bucket] += count

    def quantile(self, share: float) -> float:
        """The seconds that this share of the calls did not exceed."""
        rank = math.ceil(share * self.count)
        for bucket, count in enumerate(self._buckets):
            rank -= count
            if count and rank <= 0:
                middle = SHORTEST * 2 * _GROWTH**bucket / (_GROWTH + 1)
                return min(middle, self.longest) / 1e9
        return 0.0  # without calls


class Latencies:
    """How long calls took, by operation."""

    def __init__(self, overflowed: Callable[[], None]) -> None:
        """``overflowed`` is called for each call whose operation came too late."""
        self._overflowed = overflowed
        self.renew_locks()
        renew_after_fork(self)

    def renew_locks(self) -> None:
        """Begin anew, as a forked child does."""
        self._lock = threading.RLock()
        self._by_operation: dict[str, Latency] = {}

    def add(self, operation: str, elapsed: int) -> None:
        """Count one call that took so many nanoseconds."""
        with self._lock:
            found = self._by_operation.get(operation)
            if found is None:
                if len(self._by_operation) >= MAX_OPERATIONS - 1 and operation != OTHER_OPERATION:
                    self._overflowed()
                    operation = OTHER_OPERATION
                found = self._by_operation.setdefault(operation, Latency())
            found.add(elapsed)

    def add_to(self, merged: dict[str, Latency]) -> None:
        """Add all that is known to what others know."""
        with self._lock:
            for operation, latency in self._by_operation.items():
                merged.setdefault(operation, Latency()).merge(latency)


def merged(all_of_them: Iterable[Latencies]) -> dict[str, Latency]:
    """What several know together, by operation in alphabetical order."""
    found: dict[str, Latency] = {}
    for latencies in all_of_them:
        latencies.add_to(found)
    return dict(sorted(found.items()))
