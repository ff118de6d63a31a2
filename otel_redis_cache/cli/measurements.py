"""The metrics half of what the receiver remembers: points in, figures of caches out.

Pure: it knows neither OTLP nor the terminal, and reads no clock. What is of late is told by when
points arrived, as the clocks of their senders may be wrong; how much time a sender's own two clock
readings are apart is believed.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from otel_redis_cache import conventions as names

RATE_WINDOW = 10.0
"""Seconds that a rate looks back; further, where a sender sends more seldom."""
SILENCE = 3.0
"""Intervals without a point until a series counts as silent, once the window is over too."""
USUAL_INTERVAL = 60.0
"""Seconds between two points of a series of which there was only one: OpenTelemetry's default."""
MEMORY = 600.0
"""Seconds that a series is shown after its last point."""
TREND_SLOT = 1.0
"""Seconds that make one step of a trend."""


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

    def __sub__(self, earlier: Distribution) -> Distribution:
        """What was recorded since; the largest value is still that of all."""
        if not earlier.count or self.bounds != earlier.bounds:
            return self
        more = (max(a - b, 0) for a, b in zip(self.counts, earlier.counts, strict=True))
        return Distribution(self.bounds, tuple(more), self.largest)

    def __add__(self, other: Distribution) -> Distribution:
        if not other.count:
            return self
        if not self.count or self.bounds != other.bounds:
            return other  # different buckets cannot be merged: the newer ones win
        sums = (a + b for a, b in zip(self.counts, other.counts, strict=True))
        reported = [value for value in (self.largest, other.largest) if value is not None]
        return Distribution(self.bounds, tuple(sums), max(reported, default=None))


NOTHING = Distribution()

Series = tuple[str, str, frozenset[tuple[str, str]]]
"""Process, metric and attributes."""


@dataclass(frozen=True)
class Point:
    """What one process reported for one attribute set of a metric; times in seconds, by its clock."""

    metric: str
    attributes: Mapping[str, str]
    value: Distribution
    start: float
    time: float
    cumulative: bool = True
    process: str = ""
    is_level: bool = False
    """Whether it is of something that rises and falls, as a gauge; such a value may be negative."""

    @property
    def age(self) -> float:
        """Seconds that it counts."""
        return max(self.time - self.start, 0.0)


@dataclass(frozen=True)
class Level:
    """Where one process sees something stand."""

    attributes: Mapping[str, str]
    value: int
    heard: float
    """When."""


@dataclass(frozen=True)
class Totals:
    """Where every series stood at one moment, or how far it has come since another one."""

    sums: Mapping[Series, Distribution]
    levels: Mapping[Series, int]

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

    def level(self, metric: names.Metric) -> int | None:
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
    memory: int | None = None
    limit: int | None = None
    evicted: int = 0
    outages: int = 0
    connected: int = 0
    """Connections that were opened."""
    failed: int = 0


class _Stream:
    """One series of one process, carried over restarts."""

    def __init__(self, point: Point, now: float, since: float) -> None:
        """Begin with nothing at `since`, and the first point."""
        self.last = point
        self.heard = now
        self.interval = USUAL_INTERVAL if point.cumulative else point.age
        self._carried = NOTHING
        self._readings = deque([(min(since, now), NOTHING), (now, point.value)])

    @property
    def total(self) -> Distribution:
        """All that was counted; of a level, where it stands."""
        return self._carried + self.last.value

    def advance(self, point: Point, now: float) -> Distribution:
        """Take the next point, and give what it adds."""
        last, before = self.last, self.total
        if self._is_late(point):
            return NOTHING
        anew = point.start > last.start or point.value.count < last.value.count
        # A cumulative value replaces the one before it, unless it counts from a new
        # start; a delta comes on top.
        if not point.cumulative or (anew and not point.is_level):
            self._carried = before
        self.last = point
        # What comes late comes together with the next, which is no reason to hurry.
        interval = now - self.heard if point.cumulative else point.age
        self.interval = max(interval, self.interval / 2)
        self.heard = now
        # Where nothing happens a process that sends deltas is silent.
        began = now - point.age
        if not point.cumulative and began > self._readings[-1][0]:
            self._readings.append((began, before))
        self._readings.append((now, self.total))
        while len(self._readings) > 2 and self._readings[0][0] < now - RATE_WINDOW:
            self._readings.popleft()
        return self.total - before

    def _is_late(self, point: Point) -> bool:
        """Whether a point was overtaken by the last one, as where a Collector has to try again."""
        falls = point.value.count < self.last.value.count
        return point.cumulative and not point.is_level and falls and point.time < self.last.time

    def is_silent(self, now: float) -> bool:
        """Whether there should have been another point by now."""
        return now - self.heard > max(RATE_WINDOW, SILENCE * self.interval)

    def increase(self, now: float) -> tuple[Distribution, float]:
        """What was added of late, and in how many seconds."""
        (since, before), (until, total) = self._readings[0], self._readings[-1]
        if self.is_silent(now) or until <= since:
            return NOTHING, 0.0
        more = total - before
        # What is sent as a level may be below zero, and counts nothing then.
        return more if more.count > 0 else NOTHING, until - since


Identity = tuple[str, frozenset[tuple[str, str]], float]
"""A process, attributes, and when the process began to count, which tells two of one name apart."""


class Measurements:
    """Every series received, bounded."""

    def __init__(self, *, max_series: int = 2_000, max_steps: int = 60) -> None:
        """Remember nothing yet.

        Args:
            max_series: points of further series are dropped, and counted in `dropped`.
            max_steps: how many steps the trend of a cache remembers.
        """
        self.dropped = 0
        self._max_series = max_series
        self._max_steps = max_steps
        self._streams = defaultdict[str, dict[Identity, _Stream]](dict)
        self._collections: dict[tuple[str, str, float], _Collection] = {}
        """By metric, process, and when it began to count."""
        self._trends: dict[str, deque[_Step]] = {}
        self._lock = threading.Lock()

    @property
    def series(self) -> int:
        """How many are remembered."""
        return sum(map(len, self._streams.values()))

    def record(self, points: Iterable[Point], now: float) -> None:
        """Take in the points of one export, which arrived just now."""
        with self._lock:
            room = self._max_series - self.series
            if room <= 0:
                room += self._forget(now)
            for point in points:
                room -= self._take(point, now, room)

    def caches(self, now: float) -> list[CacheFigures]:
        """The figures of every named cache, the busiest first."""
        rates = self.rates(names.CACHE_REQUESTS, names.CACHE_NAME, now=now)
        with self._lock:
            asked = self._totals(names.CACHE_REQUESTS, names.CACHE_REQUEST_TYPE)
            written = self._totals(names.CACHE_WRITES, names.CACHE_WRITE_RESULT)
            removed = self._totals(names.CACHE_INVALIDATIONS, names.INVALIDATION_REASON)
            latency = self._totals(names.OPERATION_DURATION)
            load = self._totals(names.CACHE_LOAD_DURATION)
            stampedes = self._totals(names.CACHE_STAMPEDES)
            ttl = self._totals(names.CACHE_TTLS)
        figures = (
            CacheFigures(
                name=name,
                hits=asked[name][names.HIT].count,
                misses=asked[name][names.MISS].count,
                errors=asked[name][names.ERROR].count,
                rate=rates.get((name,), 0.0),
                trend=self.trend(name),
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

    def totals(self) -> Totals:
        """Where everything stands."""
        sums = defaultdict[Series, Distribution](lambda: NOTHING)
        levels: dict[Series, int] = {}
        with self._lock:
            for metric, streams in self._streams.items():
                for (process, attributes, _), stream in streams.items():
                    if stream.last.is_level:
                        levels[process, metric, attributes] = stream.total.count
                    else:
                        sums[process, metric, attributes] += stream.total
        return Totals(dict(sums), levels)

    def rates(
        self, metric: names.Metric, *attributes: str, now: float
    ) -> dict[tuple[str, ...], float]:
        """What was counted in a second of late, over all processes, by attributes; absent ones are ''."""
        rates = defaultdict[tuple[str, ...], float](float)
        for key, increase, seconds in self._increases(metric, attributes, now):
            rates[key] += increase.count / seconds if seconds else 0.0
        return dict(rates)

    def rates_of_processes(
        self, metric: names.Metric, now: float
    ) -> list[tuple[Mapping[str, str], float | None]]:
        """What each process has counted in a second of late; None of one that is silent."""
        with self._lock:
            streams = list(self._streams[metric.name].values())
        rates: list[tuple[Mapping[str, str], float | None]] = []
        for stream in streams:
            increase, seconds = stream.increase(now)
            if now - stream.heard <= MEMORY:
                rate = increase.count / seconds if seconds else 0.0
                rates.append((stream.last.attributes, None if stream.is_silent(now) else rate))
        return rates

    def distributions(
        self, metric: names.Metric, *attributes: str, now: float
    ) -> dict[tuple[str, ...], Distribution]:
        """The values of late, over all processes, by attributes; absent ones are ''."""
        found = defaultdict[tuple[str, ...], Distribution](lambda: NOTHING)
        for key, increase, _ in self._increases(metric, attributes, now):
            found[key] += increase
        return dict(found)

    def levels(self, metric: names.Metric, now: float) -> list[Level]:
        """Where each process that is not silent sees something stand."""
        with self._lock:
            return [
                Level(stream.last.attributes, stream.total.count, stream.heard)
                for stream in self._streams[metric.name].values()
                if not stream.is_silent(now)
            ]

    def trend(self, cache: str) -> list[float]:
        """The hit ratio of each of the last steps that had an answered lookup, the oldest first."""
        with self._lock:
            steps = list(self._trends.get(cache, ()))
        return [step.hits / (step.hits + step.misses) for step in steps]

    def _take(self, point: Point, now: float, room: int) -> bool:
        """Whether it is of a new series that there was room for."""
        start = point.start if point.cumulative else 0.0
        identity = (point.process, frozenset(point.attributes.items()), start)
        streams = self._streams[point.metric]
        stream = streams.get(identity)
        if stream is None and room <= 0:
            self.dropped += 1
            return False
        collection = self._collect(point, start, now)
        if stream is None:
            # What was not in the collection before has begun since.
            since = max(now - point.age, collection.arrival_before)
            streams[identity] = _Stream(point, now, since)
            added = point.value
        else:
            added = stream.advance(point, now)
        if point.metric == names.CACHE_REQUESTS.name and added.count > 0:
            self._follow(point.attributes, added.count, now)
        return stream is None

    def _collect(self, point: Point, start: float, now: float) -> _Collection:
        """The collection that a point is of."""
        key = (point.metric, point.process, start)
        latest = self._collections.get(key)
        if latest is None:
            self._collections[key] = latest = _Collection(point.time, now)
        elif point.time > latest.time:
            self._collections[key] = latest = _Collection(point.time, now, latest.arrival)
        return latest

    def _follow(self, attributes: Mapping[str, str], count: int, now: float) -> None:
        """Add lookups to the trend of their cache."""
        kind = attributes.get(names.CACHE_REQUEST_TYPE)
        if kind not in (names.HIT, names.MISS):
            return
        steps = self._trends.setdefault(
            attributes.get(names.CACHE_NAME, ""), deque(maxlen=self._max_steps)
        )
        number = int(now / TREND_SLOT)
        if not steps or steps[-1].number != number:
            steps.append(_Step(number))
        if kind == names.HIT:
            steps[-1].hits += count
        else:
            steps[-1].misses += count

    def _forget(self, now: float) -> int:
        """Make room: let go of series that are long silent, and give how many these were."""
        before = self.series
        for metric, streams in self._streams.items():
            self._streams[metric] = {
                identity: stream
                for identity, stream in streams.items()
                if now - stream.heard <= MEMORY
            }
        self._collections = {
            key: collection
            for key, collection in self._collections.items()
            if now - collection.arrival <= MEMORY
        }
        shown = {
            dict(attributes).get(names.CACHE_NAME, "")
            for _, attributes, _ in self._streams[names.CACHE_REQUESTS.name]
        }
        self._trends = {name: steps for name, steps in self._trends.items() if name in shown}
        return before - self.series

    def _increases(
        self, metric: names.Metric, attributes: Sequence[str], now: float
    ) -> Iterator[tuple[tuple[str, ...], Distribution, float]]:
        with self._lock:
            for stream in self._streams[metric.name].values():
                if now - stream.heard <= MEMORY:
                    found = stream.last.attributes
                    key = tuple(found.get(name, "") for name in attributes)
                    yield (key, *stream.increase(now))

    def _totals(
        self, metric: names.Metric, attribute: str = "", by: str = names.CACHE_NAME
    ) -> defaultdict[str, defaultdict[str, Distribution]]:
        """Totals by one attribute and, within it, by another; absent ones are ''."""
        totals = defaultdict[str, defaultdict[str, Distribution]](
            lambda: defaultdict(lambda: NOTHING)
        )
        for stream in self._streams[metric.name].values():
            found = stream.last.attributes
            totals[found.get(by, "")][found.get(attribute, "")] += stream.total
        return totals


@dataclass(frozen=True)
class _Collection:
    """The values of one metric that a process has read at once."""

    time: float
    """By the clock of the process."""
    arrival: float
    arrival_before: float = 0.0
    """Of the collection before this one."""


@dataclass
class _Step:
    """The lookups of one cache within one slot of time."""

    number: int
    hits: int = 0
    misses: int = 0


def _most_first(named: tuple[str, Distribution]) -> tuple[int, str]:
    name, total = named
    return -total.count, name
