"""Sums that go on when a server begins anew: after a restart, and after ``CONFIG RESETSTAT``."""

from __future__ import annotations

from collections.abc import Iterable

from otel_redis_cache import conventions as names
from otel_redis_cache.server.info import Attributes, Info, Point

Series = tuple[names.Metric, Attributes]

KEPT = (names.UPTIME, names.CPU_TIME)
"""What ``CONFIG RESETSTAT`` leaves as it is; every other sum it sets to zero."""

LARGEST = (1 << 63) - 1
"""What an exporter can write."""


class Totals:
    """The sums of one server, which is one address, over all looks at it.

    A restart is known by ``run_id``, or where a server does not tell it by an uptime that falls. A
    reset is known by a sum that falls: then all of them were reset, also those that are past their
    last value again. What was counted between the last look and such a beginning is lost, as it is
    for everybody who asks the server from time to time.
    """

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._run = ""
        self._seen: dict[Series, int | float] = {}  # what the server said last
        self._before: dict[Series, int | float] = {}  # what it had said before it began anew

    def follow(self, info: Info, points: Iterable[Point]) -> list[Point]:
        """The same points in the same order, each sum as its total."""
        points = list(points)
        sums = {(p.metric, p.attributes): p.value for p in points if p.metric.kind == "counter"}
        for series in self._begun_anew(info.get("run_id", ""), sums):
            self._before[series] = self._before.get(series, 0) + self._seen[series]
            self._seen[series] = 0
        totals = [(point, self._total(point)) for point in points]
        return [point._replace(value=total) for point, total in totals if total is not None]

    def _begun_anew(self, run: str, sums: dict[Series, int | float]) -> list[Series]:
        """What began at zero since the last look."""
        fallen = {series for series, seen in self._seen.items() if sums.get(series, seen) < seen}
        is_told = bool(run and self._run)
        restarted = run != self._run if is_told else (names.UPTIME, ()) in fallen
        self._run = run or self._run
        if restarted:
            return list(self._seen)
        fallen = {series for series in fallen if series[0] not in KEPT}
        # Commands of a module that was loaded anew begin at zero alone.
        if any(not attributes for _, attributes in fallen):
            return [series for series in self._seen if series[0] not in KEPT]
        return list(fallen)

    def _total(self, point: Point) -> int | float | None:
        """None for a new series where there are too many."""
        series = (point.metric, point.attributes)
        if point.metric.kind != "counter":
            return point.value
        if series not in self._seen and len(self._seen) >= names.MAX_SERIES:
            return None
        # An uptime falls by itself where the machine's clock is set.
        self._seen[series] = max(point.value, self._seen.get(series, 0))
        return min(self._before.get(series, 0) + self._seen[series], LARGEST)
