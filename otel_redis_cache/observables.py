"""Observable instruments: what collections read from tallies, pools and outages; no I/O, no lock held."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otel_redis_cache import conventions as names
from otel_redis_cache.facts import Target
from otel_redis_cache.outages import Outages
from otel_redis_cache.pools import Holding
from otel_redis_cache.settings import Settings
from otel_redis_cache.tallies import Attributes, Key, Tallies, Tally

Points = Iterable[tuple[int | float, Attributes]]
"""Values of one instrument, each with its attributes."""


def create(meter: Meter, counts: Tallies, settings: Settings) -> None:
    """Create the observable instruments that this provider does not have yet."""
    if names.CACHE_HIT_RATIO.group in settings.metrics:
        counts.ratio.window = settings.hit_ratio_window
    readers: dict[names.Metric, Callable[[], Points]] = {
        metric: partial(_by_target, tally, metric.attributes[len(names.TARGET_ATTRIBUTES) :])
        for metric, tally in (
            (names.CACHE_REQUESTS, counts.requests),
            (names.CACHE_WRITES, counts.writes),
            (names.CACHE_INVALIDATIONS, counts.removed),
            (names.CACHE_INVALIDATION_REQUESTS, counts.removals),
            (names.CACHE_STAMPEDES, counts.stampedes),
            (names.RETRIES, counts.retries),
            (names.REDIRECTIONS, counts.redirections),
            (names.LOCAL_REQUESTS, counts.local_requests),
        )
    }
    readers |= {
        names.CACHE_HIT_RATIO: counts.ratio.read,
        names.PUBSUB_MESSAGES: lambda: _by_channel(counts.messages),
        names.CONNECTION_COUNT: lambda: _connections(counts),
        names.CONNECTION_MAX: lambda: _of_pools(counts, lambda held: held.limit),
        names.CONNECTION_PENDING: lambda: _of_pools(counts, lambda held: held.pending),
        names.CONNECTION_TIMEOUTS: lambda: [
            (n, {names.POOL_NAME: k}) for k, n in counts.pool_timeouts.items()
        ],
        names.CLIENT_UP: lambda: _up(counts.outages),
        names.OWN_ERRORS: lambda: [(n, {names.STEP: k}) for k, n in counts.errors.items()],
        names.OVERFLOWS: lambda: [(n, {names.BOUND: k}) for k, n in counts.overflows.items()],
    }
    for metric, read in readers.items():
        wanted = metric.group is None or metric.group in settings.metrics
        if not wanted or metric.name in counts.observed:
            continue
        counts.observed.add(metric.name)
        make = {
            "counter": meter.create_observable_counter,
            "updowncounter": meter.create_observable_up_down_counter,
            "gauge": meter.create_observable_gauge,
        }[metric.kind]
        make(metric.name, [_callback(counts, metric.name, read)], metric.unit, metric.description)


def _callback(
    counts: Tallies, metric: str, read: Callable[[], Points]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        counts.notes.tell(ends_spans=False)
        is_left = metric in counts.left
        return [
            Observation(value, found)
            for value, found in (() if counts.silent else read())
            if not is_left or found.get(names.DB_SYSTEM_NAME) == names.VALKEY
        ]

    return observe


def _by_target(tally: Tally[Key], attributes: tuple[str, ...]) -> Points:
    for (target, values), count in tally.items():
        pairs = zip(attributes, values, strict=True)
        yield count, {**target.attributes, **dict(pairs)}


def _connections(counts: Tallies) -> Points:
    for pool, held in counts.pools.read().items():
        yield held.idle, {names.POOL_NAME: pool, names.CONNECTION_STATE: names.IDLE}
        yield held.used, {names.POOL_NAME: pool, names.CONNECTION_STATE: names.USED}


def _of_pools(counts: Tallies, of: Callable[[Holding], int | None]) -> Points:
    for pool, held in counts.pools.read().items():
        value = of(held)
        if value is not None:
            yield value, {names.POOL_NAME: pool}


def _up(outages: Outages) -> Points:
    """Of servers that share a series each has to be up."""
    found: dict[Target, int] = {}
    now = time.perf_counter_ns()
    for server in outages.in_use(now):
        found[server.shown_as] = min(found.get(server.shown_as, 1), int(not server.is_out(now)))
    return [(up, dict(target.attributes)) for target, up in found.items()]


def _by_channel(messages: Tally[Key]) -> Points:
    for (target, (channel, direction)), count in messages.items():
        attributes: Attributes = {**target.attributes, names.PUBSUB_DIRECTION: direction}
        if channel:
            attributes[names.MESSAGING_DESTINATION_NAME] = channel
        yield count, attributes
