"""What `otel-redis-cache top` shows: one view of all that has arrived lately."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otel_redis_cache import conventions as names
from otel_redis_cache.cli.calls import Call, Calls
from otel_redis_cache.cli.inbox import Arrival
from otel_redis_cache.cli.measurements import NOTHING, Level, Measurements
from otel_redis_cache.cli.protocol import METRICS, SPANS, Export, SpansRequest
from otel_redis_cache.cli.traces import Span
from otel_redis_cache.cli.translation import SHOWN, Reading, identify

K = TypeVar("K")


@dataclass(frozen=True)
class CacheRow:
    """One named cache, over all processes and servers; of late, where nothing else is said."""

    name: str
    lookups_per_second: float
    hit_ratio: float | None
    """Hits among the lookups that were answered, 0 to 1; None where there was none."""
    trend: Sequence[float]
    """Hit ratios of the last intervals that had a lookup, the oldest first; at most 60."""
    p50: float | None
    """Seconds; None where nothing was timed. So are the next two."""
    p95: float | None
    p99: float | None
    invalidations_per_second: Mapping[str, float]
    """Entries removed, by reason, the most frequent first; no reason has 0."""
    writes_without_ttl_per_second: float
    entries: int | None
    """Keys at the servers; None where nobody samples."""
    bytes: int | None
    """Their memory."""


@dataclass(frozen=True)
class ServerRow:
    """One server, as its clients and its watcher see it."""

    address: str
    """``host:port``, the path of a socket, or what names the nodes of a cluster."""
    is_up: bool | None
    """Whether every client that says something reaches it; None where nobody says."""
    memory_used: int | None
    """Bytes."""
    memory_limit: int | None
    """Bytes; 0 where the server has no limit, None where it is not known."""
    evictions_per_second: float | None
    """Keys; None where nobody watches the server, as are the next two."""
    expirations_per_second: float | None
    clients: int | None


@dataclass(frozen=True)
class PoolRow:
    """Connections of the pools of one name, over all processes."""

    name: str
    used: int
    idle: int
    pending: int
    """Requests that wait for a connection."""
    limit: int | None
    """None where a pool has none."""


@dataclass(frozen=True)
class CallRow:
    """One call, or one `invalidate()`."""

    time: float
    """When it arrived here: seconds since the epoch, by this machine's clock."""
    name: str
    cache: str
    """Empty where its keys are in no cache, or in several."""
    duration_seconds: float
    error: str | None
    """What kind of failure; None where it went well."""
    trace_id: str
    """In hexadecimal; for `Overview.trace`."""
    service: str


@dataclass(frozen=True)
class Intake:
    """What came in, and what was lost on the way: nothing is dropped in silence."""

    spans_per_second: float
    """Received, whether or not they were dropped; so are points."""
    points_per_second: float
    series: int
    """Series that are remembered now."""
    spans_dropped: int
    """Since the start, because they came faster than they could be read; so are points."""
    points_dropped: int
    """These also because there were too many series."""
    refused: int
    """Messages that are no OTLP, too large, or of a kind or packed in a way that is not taken."""
    senders: int
    """Processes that were heard of lately."""


@dataclass(frozen=True)
class View:
    """All of it, at one moment."""

    time: float
    """Seconds since the epoch; of a replay, when what is shown was recorded."""
    caches: Sequence[CacheRow]
    """The busiest first."""
    servers: Sequence[ServerRow]
    """By address."""
    pools: Sequence[PoolRow]
    """By name."""
    slowest: Sequence[CallRow]
    """Of the last minutes, the slowest first."""
    failed: Sequence[CallRow]
    """The latest first."""
    intake: Intake


MAX_SERIES = 10_000
MAX_SENDERS = 1_000
SENDER_SECONDS = 150.0
"""That a process is counted for after its last message; the usual interval is a minute."""
RATE_SECONDS = 10
LONGEST_NAME = 200
SOCKET_OR_NODES = "/,"
"""What an address has that is no host: a path, or the names of several."""
USUAL_PORT = "6379"


class Overview:
    """What was received, bounded, and read by one thread while others look at it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Nothing has arrived yet; `clock` says what time it is where the messages come from."""
        self._clock = clock
        self._measurements = Measurements(max_series=MAX_SERIES)
        self._calls = Calls()
        self._rates = {SPANS: _Rate(), METRICS: _Rate()}
        self._dropped = Counter[str]()
        self._refused = 0
        self._senders: dict[str, float] = {}
        # Who counts what came in does not wait for who reads it, or draws.
        self._counting = threading.Lock()
        self._looking = threading.Lock()

    def now(self) -> float:
        """What time it is where the messages come from."""
        return self._clock()

    def note(self, export: Export, *, is_dropped: bool) -> None:
        """Count what came in."""
        with self._counting:
            self._rates[export.service].add(export.count, self._clock())
            if is_dropped:
                self._dropped[export.service] += export.count

    def note_refused(self) -> None:
        """Count a message that nothing can be made of."""
        with self._counting:
            self._refused += 1

    def read(self, arrival: Arrival) -> None:
        """Take in one message."""
        request, now = arrival.export.request, arrival.time
        with self._looking:
            if isinstance(request, SpansRequest):
                resources = [each.resource for each in request.resource_spans]
                self._calls.record(request, len(arrival.export.body), now)
            else:
                resources = [each.resource for each in request.resource_metrics]
                reading = Reading(request, SHOWN)
                self._measurements.record(reading.points(), now)
                with self._counting:
                    self._dropped[METRICS] += reading.senseless
            self._hear(resources, now)

    def view(self) -> View:
        """What there is to see now."""
        now = self._clock()
        with self._looking:
            return View(
                time=now,
                caches=self._caches(now),
                servers=self._servers(now),
                pools=self._pools(now),
                slowest=[_row(call) for call in self._calls.slowest(now)],
                failed=[_row(call) for call in self._calls.failed()],
                intake=self._intake(now),
            )

    def trace(self, trace_id: str) -> Sequence[Span]:
        """The spans of a trace that are still known, by their start; see `traces.arrange`.

        Of every call in the view they are kept; of others as long as there is room.
        """
        with self._looking:
            return self._calls.trace(trace_id)

    def _hear(self, resources: Sequence[Resource], now: float) -> None:
        for resource in resources:
            sender = identify(resource)
            self._senders.pop(sender, None)
            self._senders[sender] = now
        while len(self._senders) > MAX_SENDERS:
            del self._senders[next(iter(self._senders))]

    def _caches(self, now: float) -> list[CacheRow]:
        known = self._measurements
        asked = known.rates(
            names.CACHE_REQUESTS, names.CACHE_NAME, names.CACHE_REQUEST_TYPE, now=now
        )
        removed = known.rates(
            names.CACHE_INVALIDATIONS, names.CACHE_NAME, names.INVALIDATION_REASON, now=now
        )
        written = known.rates(
            names.CACHE_WRITES,
            *(names.CACHE_NAME, names.CACHE_WRITE_TTL, names.CACHE_WRITE_RESULT),
            now=now,
        )
        timed = known.distributions(names.OPERATION_DURATION, names.CACHE_NAME, now=now)
        timed_by_spans = self._calls.latencies(now)
        entries = self._by_cache(names.CACHE_ENTRIES, now)
        sizes = self._by_cache(names.CACHE_ESTIMATED_SIZE, now)
        found = {key[0] for key in (*asked, *removed, *written)} | entries.keys() | sizes.keys()
        rows: list[CacheRow] = []
        for name in found - {""}:
            hits, misses = (asked.get((name, kind), 0.0) for kind in (names.HIT, names.MISS))
            latency = timed.get((name,), NOTHING)
            if not latency.count:  # cache.name is on durations only where somebody asks for it
                latency = timed_by_spans.get(name, NOTHING)
            reasons = {key[1]: rate for key, rate in removed.items() if key[0] == name and rate}
            rows.append(
                CacheRow(
                    name=name,
                    lookups_per_second=hits + misses + asked.get((name, names.ERROR), 0.0),
                    hit_ratio=hits / (hits + misses) if hits + misses else None,
                    trend=known.trend(name),
                    p50=latency.quantile(0.5),
                    p95=latency.quantile(0.95),
                    p99=latency.quantile(0.99),
                    invalidations_per_second=dict(
                        sorted(reasons.items(), key=lambda it: (-it[1], it[0]))
                    ),
                    writes_without_ttl_per_second=written.get(
                        (name, names.TTL_NONE, names.STORED), 0.0
                    ),
                    entries=entries.get(name),
                    bytes=sizes.get(name),
                )
            )
        return sorted(rows, key=lambda row: (-row.lookups_per_second, row.name))

    def _by_cache(self, metric: names.Metric, now: float) -> dict[str, int]:
        """The sum over servers; what several processes say of one, the latest has said."""
        latest = _latest(
            self._measurements.levels(metric, now),
            lambda it: (it.get(names.CACHE_NAME, ""), _address(it), it.get(names.DB_NAMESPACE, "")),
        )
        sums = Counter[str]()
        for (cache, _, _), value in latest.items():
            sums[cache] += value
        return dict(sums)

    def _servers(self, now: float) -> list[ServerRow]:
        known = self._measurements
        up: dict[str, bool] = {}
        for level in known.levels(names.CLIENT_UP, now):
            address = _address(level.attributes)
            up[address] = up.get(address, True) and level.value > 0
        watched = {
            metric: _latest(known.levels(metric, now), _address)
            for metric in (names.MEMORY_USED, names.MAX_MEMORY, names.CLIENTS_CONNECTED)
        }
        evicted = self._by_address(names.KEYS_EVICTED, now)
        expired = self._by_address(names.KEYS_EXPIRED, now)
        heard = watched[names.MEMORY_USED]
        addresses = up.keys() | evicted.keys() | {it for each in watched.values() for it in each}
        return [
            ServerRow(
                address=address,
                is_up=up.get(address, True if address in heard else None),
                memory_used=heard.get(address),
                memory_limit=watched[names.MAX_MEMORY].get(address),
                evictions_per_second=evicted.get(address),
                expirations_per_second=expired.get(address),
                clients=watched[names.CLIENTS_CONNECTED].get(address),
            )
            for address in sorted(addresses - {""})
        ]

    def _by_address(self, metric: names.Metric, now: float) -> dict[str, float | None]:
        """What a server counts in a second, as the one of its watchers says that saw most of it."""
        rates: dict[str, float | None] = {}
        for attributes, rate in self._measurements.rates_of_processes(metric, now):
            address = _address(attributes)
            told = [each for each in (rate, rates.get(address)) if each is not None]
            rates[address] = max(told, default=None)
        return rates

    def _pools(self, now: float) -> list[PoolRow]:
        held = self._by_pool(names.CONNECTION_COUNT, now)
        limits = self._by_pool(names.CONNECTION_MAX, now)
        pending = self._by_pool(names.CONNECTION_PENDING, now)
        found = {name for name, _ in (*held, *limits, *pending)}
        return [
            PoolRow(
                name=name,
                used=held.get((name, names.USED), 0),
                idle=held.get((name, names.IDLE), 0),
                pending=pending.get((name, ""), 0),
                limit=limits.get((name, "")),
            )
            for name in sorted(found)
        ]

    def _by_pool(self, metric: names.Metric, now: float) -> dict[tuple[str, str], int]:
        """The sum over processes, by name and, where there is one, state."""
        sums = Counter[tuple[str, str]]()
        for level in self._measurements.levels(metric, now):
            found = level.attributes
            sums[found.get(names.POOL_NAME, ""), found.get(names.CONNECTION_STATE, "")] += (
                level.value
            )
        return dict(sums)

    def _intake(self, now: float) -> Intake:
        with self._counting:
            return Intake(
                spans_per_second=self._rates[SPANS].per_second(now),
                points_per_second=self._rates[METRICS].per_second(now),
                series=self._measurements.series,
                spans_dropped=self._dropped[SPANS],
                points_dropped=self._dropped[METRICS] + self._measurements.dropped,
                refused=self._refused,
                senders=sum(now - heard <= SENDER_SECONDS for heard in self._senders.values()),
            )


class _Rate:
    """How much came in each of the last seconds."""

    def __init__(self) -> None:
        self._began: int | None = None
        self._counts: deque[list[int]] = deque(maxlen=RATE_SECONDS + 1)

    def add(self, count: int, now: float) -> None:
        second = int(now)
        self._began = self._began or second
        if not self._counts or self._counts[-1][0] != second:
            self._counts.append([second, 0])
        self._counts[-1][1] += count

    def per_second(self, now: float) -> float:
        """Of the seconds that are over."""
        second = int(now)
        over = [count for at, count in self._counts if second - RATE_SECONDS <= at < second]
        return sum(over) / min(RATE_SECONDS, max(second - (self._began or second), 1))


def _latest(levels: Iterable[Level], key_of: Callable[[Mapping[str, str]], K]) -> dict[K, int]:
    """What was said last of each thing."""
    ordered = sorted(levels, key=lambda level: level.heard)
    return {key_of(level.attributes): level.value for level in ordered}


def _address(attributes: Mapping[str, str]) -> str:
    """``host:port``; empty where there is none."""
    host = attributes.get(names.SERVER_ADDRESS, "")
    if not host or any(each in host for each in SOCKET_OR_NODES):
        return host
    port = attributes.get(names.SERVER_PORT, USUAL_PORT)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _row(call: Call) -> CallRow:
    span = call.span
    return CallRow(
        time=call.time,
        name=span.name[:LONGEST_NAME],
        cache=span.attributes.get(names.CACHE_NAME, "")[:LONGEST_NAME],
        duration_seconds=span.seconds,
        error=call.error,
        trace_id=span.trace_id,
        service=span.service[:LONGEST_NAME],
    )
