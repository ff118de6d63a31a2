"""From rounds to figures: what somebody who watches adds to a call, round by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.variants import BARE
from benchmarks.worker import Lap

Laps = Mapping[str, Sequence[Lap]]
"""The rounds of one case, by variant."""


class Spread(NamedTuple):
    """Of one figure over all rounds."""

    minimum: float
    median: float
    maximum: float


def spread(values: Sequence[float]) -> Spread | None:
    return Spread(min(values), median(values), max(values)) if values else None


def added(laps: Laps, variant: str) -> list[float]:
    """CPU microseconds beyond the bare call of the same round."""
    return [lap.cpu - bare.cpu for lap, bare in zip(laps[variant], laps[BARE], strict=True)]


def added_ratio(laps: Laps, over: str, under: str) -> Spread | None:
    """How many times what the other one adds; None where that one added nothing that can be measured."""
    pairs = zip(added(laps, over), added(laps, under), strict=True)
    return spread([mine / theirs for mine, theirs in pairs if theirs > 0])


def throughput_ratio(laps: Laps, over: str, under: str) -> Spread | None:
    """How many times as many operations a second."""
    pairs = zip(laps[over], laps[under], strict=True)
    return spread([theirs.wall / mine.wall for mine, theirs in pairs])
