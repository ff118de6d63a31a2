"""What `otel-redis-cache top` shows: one view of all that has arrived lately.

Pure, as `measurements.py` is: a view is of the moment that it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from otel_redis_cache.cli.traces import Span


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
    malformed: int
    """Messages that were refused because they are no OTLP."""
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


class Overview:
    """What was received, bounded, and read by one thread while others look at it."""

    def view(self) -> View:
        """What there is to see now."""
        raise NotImplementedError

    def trace(self, trace_id: str) -> Sequence[Span]:
        """The spans of a trace that are still known, by their start; see `traces.grow`.

        Of every call in the view they are kept; of others as long as there is room.
        """
        raise NotImplementedError
