"""Sums that go on when a server begins anew: after a restart, and after ``CONFIG RESETSTAT``."""

from __future__ import annotations

import math
from collections.abc import Iterable

from otel_redis_cache import conventions as names
from otel_redis_cache.server.info import Attributes, Info, Point

SLACK = 2.0
"""Seconds: uptimes are whole ones, and a server may take one to answer."""

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

    One that has been up for longer than since the last look did not restart: it is another server,
    which has taken the place of the first one. What it had counted before it was seen is its own.

    Where increases are exported, the total at the first look would be one of them. There sums begin
    at zero, and what was counted while another process told it is left out in the same way.
    """

    def __init__(self, *, are_increases: bool = False) -> None:
        """Nothing was seen yet."""
        self._are_increases = are_increases
        self._is_paused = True
        self._run = ""
        self._seen: dict[Series, int | float] = {}  # what the server said last
        self._before: dict[Series, int | float] = {}  # what was counted before it began anew
        self._first: dict[Series, int | float] = {}  # what it had said when it was another's
        self._at = -math.inf
        self._is_new = False

    def follow(self, info: Info, points: Iterable[Point], at: float) -> list[Point]:
        """The same points in the same order, each sum as its total.

        Args:
            info: What the server said.
            points: What was read from that.
            at: Seconds of a clock that is never set: when it was said.
        """
        points = list(points)
        sums = {(p.metric, p.attributes): p.value for p in points if p.metric.kind == "counter"}
        begun = self._begun_anew(info.get("run_id", ""), sums)
        is_other = self._is_new and sums.get((names.UPTIME, ()), 0) > at - self._at + SLACK
        self._at = at
        if self._are_increases and self._is_paused:
            begun, is_other = list(self._seen), True
        self._is_paused = False
        for series in begun:
            self._before[series] = self._counted(series)
            self._seen[series] = self._first[series] = 0
        totals = [(point, self._total(point, is_other=is_other)) for point in points]
        return [point._replace(value=total) for point, total in totals if total is not None]

    def pause(self) -> None:
        """Until the next look, what is counted is not ours."""
        self._is_paused = True

    def _begun_anew(self, run: str, sums: dict[Series, int | float]) -> list[Series]:
        """What began at zero since the last look."""
        fallen = {series for series, seen in self._seen.items() if sums.get(series, seen) < seen}
        is_told = bool(run and self._run)
        restarted = run != self._run if is_told else (names.UPTIME, ()) in fallen
        self._run = run or self._run
        self._is_new = restarted
        if restarted:
            return list(self._seen)
        fallen = {series for series in fallen if series[0] not in KEPT}
        # Commands of a module that was loaded anew begin at zero alone.
        if any(not attributes for _, attributes in fallen):
            return [series for series in self._seen if series[0] not in KEPT]
        return list(fallen)

    def _total(self, point: Point, *, is_other: bool) -> int | float | None:
        """None for a new series where there are too many."""
        series = (point.metric, point.attributes)
        if point.metric.kind != "counter":
            return point.value
        if series not in self._seen and len(self._seen) >= names.MAX_SERIES:
            return None
        # An uptime falls by itself where the machine's clock is set.
        self._seen[series] = max(point.value, self._seen.get(series, 0))
        if is_other:
            self._first[series] = self._seen[series]
        return min(self._counted(series), LARGEST)

    def _counted(self, series: Series) -> int | float:
        of_this_run = self._seen[series] - self._first.get(series, 0)
        return self._before.get(series, 0) + of_this_run
