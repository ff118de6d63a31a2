"""The spans half of what `top` remembers: the slowest calls, the failed ones, and their traces.

A span costs little until it has shown to be one of them: it is looked at as it came, and nothing
is made of it.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from opentelemetry.proto.trace.v1 import trace_pb2

from otel_redis_cache import conventions as names
from otel_redis_cache.cli.measurements import NOTHING, Distribution
from otel_redis_cache.cli.protocol import SpansRequest
from otel_redis_cache.cli.traces import Span
from otel_redis_cache.cli.translation import read_span, service_of
from otel_redis_cache.command_table import rows
from otel_redis_cache.command_table.row import always

ROWS = 20
"""Slowest calls that are shown, those that wait for data left out, and failed ones."""
SLOT = 30.0
"""Seconds that the slowest calls are kept together for; then others have their chance."""
SLOTS = 10
TIMING_SLOT = 5.0
TIMING_SLOTS = 12
"""A minute of durations by cache."""
MAX_CACHES = 500
PAGE_BYTES = 4 * 1024 * 1024
PAGES = 4
"""Spans that are kept for a while, in case a call turns out to be slow: 16 MiB as they came."""
TRACE_BYTES = 128 * 1024
"""Of one trace that is kept for longer."""
TRACE_SPANS = 200

SYSTEM_KEYS = (names.DB_SYSTEM_NAME, "db.system")
SYSTEMS = (names.REDIS, names.VALKEY)
WAITING = {rule.name: rule.blocking is always for rule in rows() if rule.blocking}
"""Commands that are long where nobody sends data, and whether they always wait, or with BLOCK."""


@dataclass(frozen=True)
class Call:
    """A call of a Redis client, and when it arrived."""

    time: float
    span: Span

    @property
    def error(self) -> str | None:
        """What kind of failure; None where it went well."""
        if not self.span.failed:
            return None
        found = self.span.attributes
        return found.get(names.ERROR_TYPE) or found.get(names.DB_RESPONSE_STATUS_CODE) or "error"


@dataclass
class _Page:
    """Spans by trace, with the name of their service, in the order in which they came."""

    size: int = 0
    traces: dict[bytes, list[tuple[str, trace_pb2.Span]]] = field(
        default_factory=dict[bytes, list[tuple[str, trace_pb2.Span]]]
    )

    def add(self, service: str, span: trace_pb2.Span) -> None:
        """Write down a span, unless its trace is too long already."""
        known = self.traces.get(span.trace_id)
        if known is None:
            self.traces[span.trace_id] = [(service, span)]
        elif len(known) < TRACE_SPANS:
            known.append((service, span))


@dataclass
class _Slot:
    """The slowest calls that arrived in some seconds: a heap, the fastest of them first."""

    number: int
    calls: list[tuple[int, int, Call]] = field(default_factory=list[tuple[int, int, Call]])

    @property
    def threshold(self) -> int:
        """Nanoseconds that a call has to exceed."""
        return self.calls[0][0] if len(self.calls) == ROWS else -1


@dataclass
class _Timing:
    """How long the calls of one cache took that arrived in some seconds."""

    number: int
    counts: list[int] = field(default_factory=lambda: [0] * (len(names.DURATION_BUCKETS) + 1))


class Calls:
    """The slowest calls and the failed ones of late."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._slots: deque[_Slot] = deque(maxlen=SLOTS)
        self._failed: deque[Call] = deque(maxlen=ROWS)
        self._timings: dict[str, deque[_Timing]] = {}
        self._pages = deque([_Page()])
        self._kept: dict[bytes, list[tuple[str, bytes]]] = {}
        self._count = 0

    def record(self, request: SpansRequest, size: int, now: float) -> None:
        """Take in the spans of one export of `size` bytes, which arrived just now."""
        page, slot = self._open_page(size), self._open_slot(now)
        for service, span in _spans_of(request):
            page.add(service, span)
            cache = _cache_of(span)
            if cache is not None:
                self._follow(slot, cache, service, span, now)

    def slowest(self, now: float) -> list[Call]:
        """The slowest first."""
        calls = [call for slot in self._recent(now) for _, _, call in slot.calls]
        return sorted(calls, key=lambda call: -call.span.seconds)[:ROWS]

    def failed(self) -> list[Call]:
        """The latest first."""
        return list(reversed(self._failed))

    def latencies(self, now: float) -> dict[str, Distribution]:
        """The durations of the last minute by cache, of the calls that had spans."""
        oldest = int(now / TIMING_SLOT) - TIMING_SLOTS
        bounds = names.DURATION_BUCKETS
        return {
            cache: sum(
                (Distribution(bounds, tuple(it.counts)) for it in timings if it.number > oldest),
                NOTHING,
            )
            for cache, timings in self._timings.items()
        }

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace that are still known, by their start."""
        try:
            key = bytes.fromhex(trace_id)
        except ValueError:
            return []
        kept = self._kept.get(key, [])
        spans = [read_span(trace_pb2.Span.FromString(span), service) for service, span in kept]
        for page in self._pages:
            spans += [read_span(span, service) for service, span in page.traces.get(key, ())]
        # A sender that had no answer sends again.
        once = {span.span_id: span for span in spans}
        return sorted(once.values(), key=lambda span: span.start)[:TRACE_SPANS]

    def _follow(
        self, slot: _Slot, cache: str, service: str, span: trace_pb2.Span, now: float
    ) -> None:
        """Whether a call is one of the slowest, or has failed, and how long it took."""
        duration = span.end_time_unix_nano - span.start_time_unix_nano
        is_at_work = not _waits(span)
        if cache and is_at_work and duration >= 0:
            self._time(cache, duration, now)
        is_slow = is_at_work and duration > slot.threshold
        has_failed = span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
        if is_slow or has_failed:
            call = Call(now, read_span(span, service))
            if has_failed:
                self._failed.append(call)
            if is_slow:
                self._rank(slot, duration, call)

    def _time(self, cache: str, duration: int, now: float) -> None:
        number = int(now / TIMING_SLOT)
        timings = self._timings.get(cache)
        if timings is None:
            if len(self._timings) >= MAX_CACHES and not self._forget(number - TIMING_SLOTS):
                return
            timings = self._timings[cache] = deque(maxlen=TIMING_SLOTS)
        if not timings or timings[-1].number != number:
            timings.append(_Timing(number))
        timings[-1].counts[bisect_left(names.DURATION_BUCKETS, duration / 1e9)] += 1

    def _forget(self, number: int) -> bool:
        """Whether there were caches of which nothing came after a slot."""
        before = len(self._timings)
        recent = {name: it for name, it in self._timings.items() if it[-1].number > number}
        self._timings = recent
        return len(recent) < before

    def _rank(self, slot: _Slot, duration: int, call: Call) -> None:
        self._count += 1  # of two that are equal heaps compare what comes next
        entry = (duration, self._count, call)
        if len(slot.calls) < ROWS:
            heapq.heappush(slot.calls, entry)
        else:
            heapq.heappushpop(slot.calls, entry)

    def _open_slot(self, now: float) -> _Slot:
        number = int(now / SLOT)
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(_Slot(number))
        return self._slots[-1]

    def _recent(self, now: float) -> Iterator[_Slot]:
        oldest = int(now / SLOT) - SLOTS
        return (slot for slot in self._slots if slot.number > oldest)

    def _open_page(self, size: int) -> _Page:
        """The page to write on, which has room, or is new."""
        page = self._pages[-1]
        if page.size + size > PAGE_BYTES and page.size:
            page = _Page()
            self._pages.append(page)
            if len(self._pages) > PAGES:
                self._keep(self._pages.popleft())
        page.size += size
        return page

    def _keep(self, page: _Page) -> None:
        """Of a page that is thrown away keep the traces of the calls that are shown."""
        calls = [*self._failed, *(call for slot in self._slots for _, _, call in slot.calls)]
        shown = {bytes.fromhex(call.span.trace_id) for call in calls}
        self._kept = {key: spans for key, spans in self._kept.items() if key in shown}
        for key in shown & page.traces.keys():
            kept = self._kept.setdefault(key, [])
            room = TRACE_BYTES - sum(len(span) for _, span in kept)
            for service, span in page.traces[key]:
                body = span.SerializeToString()
                room -= len(body)
                if room < 0 or len(kept) >= TRACE_SPANS:
                    break
                kept.append((service, body))


def _spans_of(request: SpansRequest) -> Iterator[tuple[str, trace_pb2.Span]]:
    """Each span, and the service that has made it."""
    for of_resource in request.resource_spans:
        service = service_of(of_resource.resource)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield service, span


def _waits(span: trace_pb2.Span) -> bool:
    """Whether a call waits for data, as of a queue: how long it takes says nothing of the server."""
    always_waits = WAITING.get(span.name)
    if always_waits is None:
        return False
    return always_waits or any(
        attribute.key == names.DB_QUERY_TEXT and " BLOCK " in attribute.value.string_value
        for attribute in span.attributes
    )


def _cache_of(span: trace_pb2.Span) -> str | None:
    """The cache that a call is about, '' if it is in none; None if it is no call of a Redis client."""
    cache, is_call = "", False
    for attribute in span.attributes:
        key = attribute.key
        if key in SYSTEM_KEYS:
            is_call = attribute.value.string_value in SYSTEMS
            if not is_call:
                return None
        elif key == names.CACHE_NAME:
            cache = attribute.value.string_value
    return cache if is_call else None
