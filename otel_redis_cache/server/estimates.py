"""What a sample of keys tells about all of them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
"""What keys are told apart by: mostly a cache."""


class Estimate(NamedTuple):
    """What is known of one named cache."""

    entries: int
    """Keys."""
    size: int
    """Bytes of memory, with what the server needs around keys and values."""
    error: int
    """Half of the width of the 95 % interval of the size, in bytes; 0 where all keys were seen."""
    without_ttl: int
    """Keys that never expire."""


class Sums:
    """What was added up of the keys of one cache."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.entries = self.size = self.squares = self.without_ttl = 0


class Sample(Generic[K]):
    """Keys drawn with the same chance each; what is kept of them is sums by cache."""

    def __init__(self, *, repeats: bool = False) -> None:
        """``repeats``: whether a key can be drawn twice, so that a large sample never tells all."""
        self.keys = 0
        """How many were drawn, also of no cache."""
        self._repeats = repeats
        self._caches: dict[K, Sums] = {}

    def add(self, cache: K | None, size: int, *, expires: bool) -> None:
        """Take one key."""
        self.keys += 1
        if cache is None:
            return
        sums = self._caches.get(cache)
        if sums is None:
            sums = self._caches[cache] = Sums()
        sums.entries += 1
        sums.size += size
        sums.squares += size * size
        sums.without_ttl += not expires

    def estimates(self, total: int) -> dict[K, Estimate]:
        """What the sample says about ``total`` keys: exact where it has them all."""
        if not self.keys:
            return {}
        scale = total / self.keys
        return {
            cache: Estimate(
                entries=round(scale * sums.entries),
                size=round(scale * sums.size),
                error=round(self._half_width(sums, total)),
                without_ttl=round(scale * sums.without_ttl),
            )
            for cache, sums in self._caches.items()
        }

    def _half_width(self, sums: Sums, total: int) -> float:
        """Of the 95 % interval of the memory of a cache.

        A key of another cache counts as one of 0 bytes: so the error is that of how many keys the
        cache has and that of how large they are (Cochran, Sampling Techniques, 2.12).
        """
        drawn = self.keys
        missed = 1.0 if self._repeats else max(0.0, 1 - drawn / total) if total else 0.0
        # One key more, of another cache: a sample of equal keys does not tell that there is no other.
        spread = (sums.squares - sums.size**2 / (drawn + 1)) / drawn
        deviation = total * math.sqrt(missed * spread / drawn)
        # Where a few large keys decide about the size, only they are evidence.
        evidence = sums.size**2 / sums.squares if sums.squares else 1.0
        return _student(int(evidence) - 1) * deviation


def combined(nodes: Iterable[Mapping[K, Estimate] | None]) -> dict[K, Estimate]:
    """Of the nodes of a cluster, whose samples know nothing of each other.

    Nothing while one of them has nothing to tell (None): a part of a cluster is not the whole.
    """
    found: dict[K, Estimate] = {}
    for estimates in nodes:
        if estimates is None:
            return {}
        for cache, other in estimates.items():
            mine = found.get(cache, Estimate(0, 0, 0, 0))
            found[cache] = Estimate(
                mine.entries + other.entries,
                mine.size + other.size,
                round(math.hypot(mine.error, other.error)),
                mine.without_ttl + other.without_ttl,
            )
    return found


_FEW = (12.71, 12.71, 4.30, 3.18, 2.78, 2.57)


def _student(freedom: int) -> float:
    """How many deviations make 95 % with so many degrees of freedom, to 1 %."""
    if freedom < len(_FEW):
        return _FEW[freedom]
    return 1.96 + 2.372 / freedom + 2.82 / freedom**2
