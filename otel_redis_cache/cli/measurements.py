"""The metrics half of what the receiver remembers: points in, figures of caches out.

Pure: it knows neither OTLP nor the terminal, and reads no clock.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from otel_redis_cache import conventions as names

RATE_WINDOW = 10.0
"""Seconds that a rate looks back."""


@dataclass(frozen=True)
class Distribution:
    """An explicit-bucket histogram; a plain sum is one that has a single bucket."""

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)
    """One element more than `bounds`: the last one is the overflow."""
    largest: float | None = None
    """The largest value, where it was reported."""

    @property
    def count(self) -> int:
        """How many values were recorded; of a plain sum, the sum."""
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """The value that `share` of the values do not exceed, interpolated in its bucket.

        What lies in the overflow is reported as the highest bound, as Prometheus does.
        None where nothing was recorded.
        """
        rank = share * self.count
        if not rank or not self.bounds:
            return None
        below, lower = 0, 0.0
        for upper, count in zip(self.bounds, self.counts, strict=False):
            if count and below + count >= rank:
                return lower + (upper - lower) * (rank - below) / count
            below, lower = below + count, upper
        return self.bounds[-1]

    def ceiling(self, share: float) -> float | None:
        """What `share` of the values certainly do not exceed: the end of their bucket.

        Where that is beyond the largest value, the largest value; None where nothing was recorded.
        """
        if not self.count or not self.bounds:
            return None
        ends = (*self.bounds, self.bounds[-1] if self.largest is None else self.largest)
        reached = accumulate(self.counts)
        end = next(
            end for end, count in zip(ends, reached, strict=True) if count >= share * self.count
        )
        return end if self.largest is None else min(end, self.largest)

    def __add__(self, other: Distribution) -> Distribution:
        if not other.count:
            return self
        if not self.count or self.bounds != other.bounds:
            return other  # different buckets cannot be merged: the newer ones win
        sums = (a + b for a, b in zip(self.counts, other.counts, strict=True))
        reported = [value for value in (self.largest, other.largest) if value is not None]
        return Distribution(self.bounds, tuple(sums), max(reported, default=None))

    def __sub__(self, earlier: Distribution) -> Distribution:
        """What was recorded since; the largest value is still that of all."""
        if not earlier.count or self.bounds != earlier.bounds:
            return self
        more = (now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        return Distribution(self.bounds, tuple(more), self.largest)


NOTHING = Distribution()

Series = tuple[str, str, frozenset[tuple[str, str]]]
"""Process, metric and attributes."""


@dataclass(frozen=True)
class Point:
    """What one process reported for one attribute set of a metric; times in seconds."""

    metric: str
    attributes: Mapping[str, str]
    value: Distribution
    start: float
    time: float
    cumulative: bool = True
    process: str = ""


@dataclass(frozen=True)
class Level:
    """What one process reported for one attribute set of a gauge."""

    metric: str
    attributes: Mapping[str, str]
    value: float
    process: str = ""


@dataclass(frozen=True)
class Totals:
    """Where every series stood at one moment, or how far it has come since another one."""

    sums: Mapping[Series, Distribution]
    levels: Mapping[Series, float]

    def since(self, earlier: Totals) -> Totals:
        """What has come on top; a level is what it is now."""
        grown = {it: value - earlier.sums.get(it, NOTHING) for it, value in self.sums.items()}
        return Totals(grown, self.levels)

    def of(
        self, metric: names.Metric, by: str = "", where: Mapping[str, str] | None = None
    ) -> dict[str, Distribution]:
        """What there is of a metric, by one attribute ('' where it is absent), the most first."""
        wanted = (where or {}).items()
        found = defaultdict[str, Distribution](lambda: NOTHING)
        for (_, name, attributes), value in self.sums.items():
            if name == metric.name and value.count and wanted <= attributes:
                found[dict(attributes).get(by, "")] += value
        return dict(sorted(found.items(), key=_most_first))

    def all_of(self, metric: names.Metric) -> Distribution:
        """The sum of all series of a metric."""
        return self.of(metric).get("", NOTHING)

    def level(self, metric: names.Metric) -> float | None:
        """The lowest value of a gauge; None before the first."""
        found = (value for (_, name, _), value in self.levels.items() if name == metric.name)
        return min(found, default=None)


@dataclass(frozen=True)
class CacheFigures:
    """What is known of one named cache."""

    name: str
    hits: int = 0
    misses: int = 0
    errors: int = 0
    rate: float = 0.0
    """Lookups per second, of late."""
    trend: Sequence[float] = ()
    """Hit ratios of the last intervals, the oldest first."""
    latency: Distribution = NOTHING
    load: Distribution = NOTHING
    """Seconds from a miss to its write-back: what a miss costs."""
    stampedes: int = 0
    writes: int = 0
    ttl: Distribution = NOTHING
    """Seconds to live that entries were given."""
    invalidations: Mapping[str, int] = field(default_factory=dict[str, int])
    """Entries removed, by reason, the most frequent first."""

    @property
    def lookups(self) -> int:
        """Keys and fields asked for."""
        return self.hits + self.misses + self.errors

    @property
    def hit_ratio(self) -> float | None:
        """Hits among the lookups that were answered; None before the first."""
        answered = self.hits + self.misses
        return self.hits / answered if answered else None


@dataclass(frozen=True)
class OperationFigures:
    """What is known of one command, or of one kind of batch."""

    name: str
    errors: int = 0
    latency: Distribution = NOTHING


@dataclass(frozen=True)
class ServerFigures:
    """What is known of the server, by itself and by the calls to it."""

    is_up: bool | None = None
    memory: float | None = None
    limit: float | None = None
    evicted: int = 0
    outages: int = 0
    connected: int = 0
    """Connections that were opened."""
    failed: int = 0


@dataclass(frozen=True)
class _Reading:
    """The lookups of one cache up to one moment."""

    time: float
    hits: int = 0
    misses: int = 0
    errors: int = 0


class _Stream:
    """One series of one process, carried over restarts."""

    def __init__(self, point: Point) -> None:
        self.last = point
        self._carried = NOTHING

    @property
    def total(self) -> Distribution:
        return self._carried + self.last.value

    def advance(self, point: Point) -> None:
        last = self.last
        anew = point.start > last.start or point.value.count < last.value.count
        # A cumulative value replaces the one before it, unless it counts from a new
        # start; a delta comes on top.
        if anew or not point.cumulative:
            self._carried = self.total
        self.last = point


class Measurements:
    """Every series received, bounded."""

    def __init__(self, *, max_series: int = 2_000, max_readings: int = 60) -> None:
        """Remember nothing yet.

        Args:
            max_series: points of further series are dropped, and counted in `dropped`.
            max_readings: how many intervals the trend of a cache remembers.
        """
        self.dropped = 0
        self._max_series = max_series
        self._max_readings = max_readings
        self._streams: dict[Series, _Stream] = {}
        self._levels: dict[Series, float] = {}
        self._readings: dict[str, deque[_Reading]] = {}
        self._lock = threading.Lock()

    def record(self, points: Iterable[Point]) -> None:
        """Take in the points of one export."""
        with self._lock:
            kept = [point for point in points if self._keep(point)]
            lookups = [p for p in kept if p.metric == names.CACHE_REQUESTS.name]
            if lookups:
                since = min(point.start for point in lookups)
                self._read(since, now=max(point.time for point in lookups))

    def note(self, levels: Iterable[Level]) -> None:
        """Take in the gauges of one export."""
        with self._lock:
            for level in levels:
                identity = (level.process, level.metric, frozenset(level.attributes.items()))
                if identity in self._levels or len(self._levels) < self._max_series:
                    self._levels[identity] = level.value
                else:
                    self.dropped += 1

    def totals(self) -> Totals:
        """Where everything stands."""
        with self._lock:
            sums = {identity: stream.total for identity, stream in self._streams.items()}
            return Totals(sums, dict(self._levels))

    def caches(self) -> list[CacheFigures]:
        """The figures of every named cache, the busiest first."""
        with self._lock:
            asked = self._totals(names.CACHE_REQUESTS, names.CACHE_REQUEST_TYPE)
            written = self._totals(names.CACHE_WRITES, names.CACHE_WRITE_RESULT)
            removed = self._totals(names.CACHE_INVALIDATIONS, names.INVALIDATION_REASON)
            latency = self._totals(names.OPERATION_DURATION)
            load = self._totals(names.CACHE_LOAD_DURATION)
            stampedes = self._totals(names.CACHE_STAMPEDES)
            ttl = self._totals(names.CACHE_TTLS)
            readings = {name: list(kept) for name, kept in self._readings.items()}
        figures = (
            CacheFigures(
                name=name,
                hits=asked[name][names.HIT].count,
                misses=asked[name][names.MISS].count,
                errors=asked[name][names.ERROR].count,
                rate=_rate(readings.get(name, [])),
                trend=_trend(readings.get(name, [])),
                latency=latency[name][""],
                load=load[name][""],
                stampedes=stampedes[name][""].count,
                writes=written[name][names.STORED].count,
                ttl=ttl[name][""],
                invalidations={
                    reason: total.count
                    for reason, total in sorted(removed[name].items(), key=_most_first)
                    if total.count
                },
            )
            for name in {*asked, *written, *removed}
        )
        return sorted(figures, key=lambda cache: (-cache.lookups, cache.name))

    def operations(self) -> list[OperationFigures]:
        """The figures of every command, the most frequent first."""
        with self._lock:
            totals = self._totals(
                names.OPERATION_DURATION, names.ERROR_TYPE, by=names.DB_OPERATION_NAME
            )
        figures = (
            OperationFigures(
                name=name,
                errors=sum(total.count for error, total in by_error.items() if error),
                latency=sum(by_error.values(), NOTHING),
            )
            for name, by_error in totals.items()
        )
        return sorted(figures, key=lambda each: (-each.latency.count, each.name))

    def server(self) -> ServerFigures:
        """The figures of the server."""
        totals = self.totals()
        up = totals.level(names.CLIENT_UP)
        outcomes = totals.of(names.OPERATION_DURATION, names.ERROR_TYPE)
        return ServerFigures(
            is_up=None if up is None else bool(up),
            memory=totals.level(names.MEMORY_USED),
            limit=totals.level(names.MAX_MEMORY),
            evicted=totals.all_of(names.KEYS_EVICTED).count,
            outages=totals.all_of(names.OUTAGE_DURATION).count,
            connected=totals.all_of(names.CONNECTION_CREATE_TIME).count,
            failed=sum(total.count for error, total in outcomes.items() if error),
        )

    def _keep(self, point: Point) -> bool:
        identity = (point.process, point.metric, frozenset(point.attributes.items()))
        if stream := self._streams.get(identity):
            stream.advance(point)
        elif len(self._streams) < self._max_series:
            self._streams[identity] = _Stream(point)
        else:
            self.dropped += 1
            return False
        return True

    def _read(self, since: float, now: float) -> None:
        """Note where every cache stands, for rates and trends."""
        asked = self._totals(names.CACHE_REQUESTS, names.CACHE_REQUEST_TYPE)
        for name, by_type in asked.items():
            if name not in self._readings:
                origin = _Reading(since)
                self._readings[name] = deque([origin], maxlen=self._max_readings + 1)
            counts = (by_type[kind].count for kind in (names.HIT, names.MISS, names.ERROR))
            self._readings[name].append(_Reading(now, *counts))

    def _totals(
        self, metric: names.Metric, attribute: str = "", by: str = names.CACHE_NAME
    ) -> defaultdict[str, defaultdict[str, Distribution]]:
        """Totals by one attribute and, within it, by another; absent ones are ''."""
        totals = defaultdict[str, defaultdict[str, Distribution]](
            lambda: defaultdict(lambda: NOTHING)
        )
        for (_, name, attributes), stream in self._streams.items():
            if name == metric.name:
                found = dict(attributes)
                totals[found.get(by, "")][found.get(attribute, "")] += stream.total
        return totals


def _most_first(named: tuple[str, Distribution]) -> tuple[int, str]:
    name, total = named
    return -total.count, name


def _rate(readings: Sequence[_Reading]) -> float:
    """Lookups per second within the window before the last reading."""
    recent = [each for each in readings if readings[-1].time - each.time <= RATE_WINDOW]
    if len(recent) < 2 or recent[-1].time <= recent[0].time:
        recent = list(readings[-2:])
    if len(recent) < 2 or recent[-1].time <= recent[0].time:
        return 0.0
    first, last = recent[0], recent[-1]
    lookups = (last.hits - first.hits) + (last.misses - first.misses)
    lookups += last.errors - first.errors
    return lookups / (last.time - first.time)


def _trend(readings: Sequence[_Reading]) -> list[float]:
    """The hit ratio between each reading and the next, where there was a lookup."""
    steps = ((b.hits - a.hits, b.misses - a.misses) for a, b in pairwise(readings))
    return [hits / (hits + misses) for hits, misses in steps if hits + misses > 0]
