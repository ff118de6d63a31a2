"""The spans half of what the receiver remembers: spans in, one trace worth a look out.

Pure, as `measurements.py` is.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from otel_redis_cache import conventions as names

MAX_ROWS = 14
"""Spans that a trace may have to be shown: more do not fit on a screen."""


@dataclass(frozen=True)
class Span:
    """One finished span; identifiers in hexadecimal, times in nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start: int
    end: int
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    failed: bool = False
    service: str = ""
    """Who has made it."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.start) / 1e9


@dataclass(frozen=True)
class Branch:
    """A span with what happened inside it, in order of time."""

    span: Span
    children: Sequence[Branch] = ()


class Traces:
    """The last spans received."""

    def __init__(self, limit: int = 4_000) -> None:
        """Keep as many spans as `limit`."""
        self.received = 0
        self._spans: deque[Span] = deque(maxlen=limit)
        self._lock = threading.Lock()

    def record(self, spans: Iterable[Span]) -> None:
        """Take in the spans of one export."""
        with self._lock:
            for span in spans:
                self._spans.append(span)
                self.received += 1

    def choose(self) -> Branch | None:
        """The complete trace that tells most in a few rows; None while there is none."""
        with self._lock:
            spans = tuple(self._spans)
        traces = defaultdict[str, list[Span]](list)
        for span in spans:
            traces[span.trace_id].append(span)
        fitting = (trace for trace in traces.values() if 2 <= len(trace) <= MAX_ROWS)
        whole = [(trace, root) for trace in fitting if (root := _root(trace))]
        if not whole:
            return None
        trace, root = max(whole, key=lambda each: _interest(each[0]))
        return _grow(root, trace)


def arrange(spans: Iterable[Span]) -> list[Branch]:
    """The spans of a trace of which some may be missing, or there twice: its roots, by time.

    A root is a span whose parent is not among them. Of spans that are each other's parents the first
    one is a root.
    """
    left = {span.span_id: span for span in sorted(spans, key=lambda each: -each.start)}
    orphans = [each for each in reversed(left.values()) if each.parent_id not in left]
    roots = [_take_out(orphan, left) for orphan in orphans]
    while left:
        roots.append(_take_out(next(reversed(left.values())), left))
    return sorted(roots, key=lambda root: root.span.start)


def _take_out(span: Span, left: dict[str, Span]) -> Branch:
    """A span with all that is below it."""
    del left[span.span_id]
    children = [each for each in reversed(left.values()) if each.parent_id == span.span_id]
    return Branch(span, [_take_out(child, left) for child in children if child.span_id in left])


def _root(trace: Sequence[Span]) -> Span | None:
    """The one span without a parent, if nothing of the trace is missing."""
    known = {span.span_id for span in trace}
    orphans = [span for span in trace if span.parent_id not in known]
    return orphans[0] if len(orphans) == 1 and not orphans[0].parent_id else None


def _interest(trace: Sequence[Span]) -> tuple[int, int, int]:
    """Rather hits, misses, removals and more side by side, then many kinds of spans, then few rows."""
    told = {each for span in trace for each in _told(span)}
    kinds = {(span.name, span.attributes.get(names.CACHE_NAME)) for span in trace}
    return len(told), len(kinds), -len(trace)


def _told(span: Span) -> Iterator[str]:
    """What there is to see of a cache in a span, each in a word."""
    found = span.attributes
    if found.get(names.CACHE_HIT) == "true" or found.get(names.CACHE_HITS, "0") != "0":
        yield names.HIT
    if found.get(names.CACHE_HIT) == "false" or found.get(names.CACHE_MISSES, "0") != "0":
        yield names.MISS
    if found.get(names.INVALIDATION_REMOVED, "0") != "0":
        yield names.REMOVED
    yield from {names.CACHE_STAMPEDE, names.CACHE_TTL} & found.keys()


def _grow(span: Span, trace: Sequence[Span]) -> Branch:
    children = sorted(
        (each for each in trace if each.parent_id == span.span_id), key=lambda each: each.start
    )
    return Branch(span, [_grow(child, trace) for child in children])
