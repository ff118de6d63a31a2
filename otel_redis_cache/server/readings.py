"""What collections read of servers: the observable instruments of one meter provider; no I/O."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation

from otel_redis_cache import conventions as names
from otel_redis_cache import tallies
from otel_redis_cache.facts import OTHER_TARGETS, Target
from otel_redis_cache.forks import renew_after_fork
from otel_redis_cache.recorder import package_version
from otel_redis_cache.server import info
from otel_redis_cache.server.sources import Node
from otel_redis_cache.server.totals import Totals
from otel_redis_cache.tallies import Attributes, Key, Tally, fold

Points = Iterable[tuple[int | float, Attributes]]
"""Values of one instrument, each with its attributes."""

Series = tuple[tuple[str, str | int], ...]
"""The attributes of one series."""

BOUND = names.MAX_SERIES - 100
"""Series of one instrument; the rest is for those that stand for the others, one for each server."""

MAX_TOTALS = 2_000
"""That are remembered, also of nodes that left."""


class Reads(Protocol):
    """A watch."""

    def read(self, metric: names.Metric) -> Points:
        """What it knows now; it does not wait for anybody."""
        ...


class Readings:
    """All that is known of servers, for one meter provider."""

    def __init__(self, provider: MeterProvider, counts: tallies.Tallies) -> None:
        """Create the instruments."""
        self.watches: list[Reads] = []
        self._overflowed = counts.overflow_of_series
        self.evictions: Tally[Key] = Tally(fold, counts.overflow_of_series)
        self._totals: dict[tuple[str, Node, bool], Totals] = {}
        meter = provider.get_meter(names.SCOPE, package_version(), schema_url=names.SCHEMA_URL)
        makes = {
            "counter": meter.create_observable_counter,
            "updowncounter": meter.create_observable_up_down_counter,
            "gauge": meter.create_observable_gauge,
        }
        made = {
            metric: make(metric.name, [self._callback(metric)], metric.unit, metric.description)
            for metric in names.SERVER_METRICS
            if (make := makes.get(metric.kind))
        }
        self._counter = made[names.UPTIME]
        sampled = names.CACHE_SAMPLER_DURATION
        self.sampler_duration: Histogram = meter.create_histogram(
            sampled.name,
            sampled.unit,
            sampled.description,
            explicit_bucket_boundaries_advisory=list(sampled.buckets),
        )
        self.renew_locks()
        renew_after_fork(self)

    def renew_locks(self) -> None:
        """In a forked child."""
        self._lock = threading.RLock()

    def points_of(self, role: str, node: Node, told: info.Info) -> list[info.Point]:
        """What a node says of itself; its sums go on from those that were read before."""
        key = (role, node, exports_increases(self._counter))
        with self._lock:
            totals = self._totals.pop(key, None) or Totals(are_increases=key[-1])
            self._totals[key] = totals
            if len(self._totals) > MAX_TOTALS:
                del self._totals[next(iter(self._totals))]
            return totals.follow(told, info.points_of(told), time.monotonic())

    def pause(self, role: str, node: Node) -> None:
        """What a node counts from now on is told by another process, or by nobody."""
        with self._lock:
            for are_increases in (True, False):
                if totals := self._totals.get((role, node, are_increases)):
                    totals.pause()

    def evictions_of(self, target: Target) -> Iterator[tuple[int, Attributes]]:
        """What was counted of the events of a server."""
        for (counted, (cache, reason)), count in self.evictions.items():
            if counted in (target, OTHER_TARGETS[target.system]):
                attributes: Attributes = {**counted.attributes, names.CACHE_NAME: cache}
                yield count, attributes | {names.EVICTION_REASON: reason}

    def _callback(self, metric: names.Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        shown: set[Series] = set()

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            nonlocal shown
            # Two watches of one server would be two points of one series.
            found: dict[Series, int | float] = {
                tuple(attributes.items()): value
                for watch in list(self.watches)
                for value, attributes in watch.read(metric)
            }
            if len(found) > BOUND:
                found, left_out = bounded(found, shown)
                for _one in range(left_out):
                    self._overflowed()
            shown = set(found)
            return [Observation(value, dict(series)) for series, value in found.items()]

        return observe


def exports_increases(counter: Any) -> bool:
    """Whether all readers of an observable counter take increases (delta temporality).

    The API does not tell; where the SDK keeps it elsewhere than we know, they take totals.
    """
    counter = getattr(counter, "_real_instrument", None) or counter  # of a provider that came later
    try:
        storages = list(counter._measurement_consumer._reader_storages.values())
        kinds = {storage._instrument_class_temporality[type(counter)].name for storage in storages}
    except (AttributeError, KeyError):
        return False
    return kinds == {"DELTA"}


def bounded(
    found: Mapping[Series, int | float], shown: AbstractSet[Series]
) -> tuple[dict[Series, int | float], int]:
    """As many series as one instrument may have, first those that were shown before.

    Returns:
        The series, and how many have none of their own. Caches without one are ``_other`` together;
        nodes and commands without one are left out.
    """
    ranked = sorted(found, key=lambda series: series not in shown)
    kept = {series: found[series] for series in ranked[:BOUND]}
    for series in ranked[BOUND:]:
        attributes = dict(series)
        if names.CACHE_NAME in attributes:
            folded = tuple({**attributes, names.CACHE_NAME: names.OTHER_CACHE}.items())
            kept[folded] = kept.get(folded, 0) + found[series]
    return kept, len(ranked) - BOUND


def of(provider: MeterProvider | None) -> Readings:
    """Those of this provider, or of the global one: the same ones whenever it is asked for again."""
    provider = provider or metrics.get_meter_provider()
    counts = tallies.of(provider)
    found = _readings.get(counts)
    if found is None:
        found = _readings[counts] = Readings(provider, counts)
    return found


_readings: weakref.WeakKeyDictionary[tallies.Tallies, Readings] = weakref.WeakKeyDictionary()
