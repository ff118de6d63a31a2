"""What this package wants to cost at most, and whether it does."""

from __future__ import annotations

from typing import Literal, NamedTuple

from benchmarks import figures
from benchmarks.cases import CASES
from benchmarks.figures import Laps, Spread
from benchmarks.variants import (
    BOTH,
    CONTRIB,
    CONTRIB_UNSAMPLED,
    METRICS,
    NO_PROVIDERS,
    ON,
    REDIS_PY,
    SUPPRESSED,
    UNSAMPLED,
    VARIANTS,
)


class Bar(NamedTuple):
    """A limit for one figure of one case."""

    case: str
    over: str
    under: str | None
    """Whom it is compared with; without one it is about microseconds."""
    limit: float
    aim: float | None = None
    each: Literal["call", "command", "key"] = "call"
    throughput: bool = False
    """At least so many times as many operations a second, not at most so much CPU time."""

    @property
    def unit(self) -> str:
        return "times" if self.under else "us"

    @property
    def text(self) -> str:
        """What is compared, in words."""
        what, case = VARIANTS[self.over].label, CASES[self.case].label
        other = VARIANTS[self.under].label if self.under else f"us for each {self.each}"
        if self.throughput:
            return f"{case}: operations a second with {what} / with {other}"
        return f"{case}: {what} / {other}" if self.under else f"{case}: {what}, {other}"

    def measure(self, laps: Laps) -> Spread | None:
        """The figure over all rounds; None where somebody of it did not run."""
        if not {self.over, self.under or self.over} <= laps.keys():
            return None
        if self.under is None:
            share = 1 if self.each == "call" else CASES[self.case].keys
            return figures.spread([value / share for value in figures.added(laps, self.over)])
        ratio = figures.throughput_ratio if self.throughput else figures.added_ratio
        return ratio(laps, self.over, self.under)

    def is_reached(self, value: float) -> bool:
        return value >= self.limit if self.throughput else value <= self.limit


def _of_calls(case: str) -> list[Bar]:
    return [
        Bar(case, ON, CONTRIB, 0.85, 0.60),
        Bar(case, ON, BOTH, 0.32, 0.22),
        Bar(case, UNSAMPLED, CONTRIB_UNSAMPLED, 0.85, 0.60),
        Bar(case, METRICS, REDIS_PY, 0.15, 0.09),
        Bar(case, SUPPRESSED, None, 2),
        Bar(case, NO_PROVIDERS, None, 5),
        Bar(case, ON, None, 20),
    ]


def _of_batches(pipeline: str, mget: str) -> list[Bar]:
    return [
        Bar(pipeline, ON, CONTRIB, 1, 0.60),
        Bar(mget, ON, CONTRIB, 1, 0.60),
        Bar(pipeline, ON, None, 1.2, each="command"),
        Bar(mget, ON, None, 0.5, each="key"),
    ]


BARS = [
    *_of_calls("get"),
    *_of_batches("pipeline", "mget"),
    *_of_calls("asyncio-get"),
    *_of_batches("asyncio-pipeline", "asyncio-mget"),
    Bar("threads-get", ON, CONTRIB, 1.1, 1.3, throughput=True),
]
