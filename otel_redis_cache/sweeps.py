"""What telemetry makes of one ``invalidate()``: a span, a request, entries by cache, a duration.

The commands that it sends are parts of it. A context variable says so, and to whose client that
applies; they have durations, but neither spans of their own, unless asked for, nor counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from time import time_ns
from typing import cast

from opentelemetry.trace import Span, SpanKind

from otel_redis_cache import clients, contexts, failures, garbage
from otel_redis_cache import conventions as names
from otel_redis_cache.caches import Caches
from otel_redis_cache.facts import UNKNOWN_TARGET, Outcome
from otel_redis_cache.guard import harmless
from otel_redis_cache.operands import word
from otel_redis_cache.reasons import Label
from otel_redis_cache.recorder import AttributeValue, Recorder
from otel_redis_cache.settings import Settings


class SweepScope:
    """What a context remembers of the sweep in flight; nothing hangs on one that is closed."""

    __slots__ = ("caches", "client", "label", "reason", "traced")

    def __init__(self, client: object, label: Label, *, traced: bool) -> None:
        """``traced``: whether the commands of the sweep make spans."""
        self.client: object | None = client
        self.traced = traced
        self.label = label
        self.reason = names.DELETE
        """That of the label, as metrics may carry it."""
        self.caches: Mapping[object, str | None] = {}
        """By the keys that are being removed, so that none is named, and counted as late, twice."""

    def names_of(self, keys: Iterable[object]) -> list[str | None]:
        """The caches of keys that are being removed."""
        return list(map(self.caches.get, keys))

    def close(self) -> None:
        """No call is a part of it any more."""
        self.client = None
        self.caches = {}


open_sweep: ContextVar[SweepScope | None] = ContextVar("otel_redis_cache_sweep", default=None)
"""Of the sweep that is open in this context, or that was the last one."""


def around(client: object, args: Sequence[object], *, is_batch: bool) -> SweepScope | None:
    """The sweep that a call of this client is a part of: a SCAN, the nodes, or a batch of UNLINKs."""
    scope = open_sweep.get()
    if scope is None or scope.client is None or not clients.serves(client, scope.client):
        return None
    if is_batch:
        batch = cast("Sequence[Sequence[object]]", args)
        is_part = all(word(command[0]) == "UNLINK" for command in batch)
    else:
        is_part = bool(args) and word(args[0]) in ("SCAN", "CLUSTER SLOTS")
    return scope if is_part else None


class Sweep:
    """One invalidation, as telemetry sees it."""

    def __init__(
        self,
        recorder: Recorder,
        caches: Caches,
        settings: Settings,
        client: object,
        label: Label,
        pattern: bytes,
        *,
        traced: bool,
    ) -> None:
        """Nothing is emitted before :meth:`begin`."""
        self.recorder = recorder
        self._caches = caches
        self._settings = settings
        self._label = label
        self._pattern = pattern
        self._client = client
        self._scope = SweepScope(client, label, traced=traced)
        self._outer: SweepScope | None = None
        self._target = UNKNOWN_TARGET
        self._reason = label.reason
        self._matched: set[str | None] = set()
        self._removed: dict[str | None, int] = {}
        self._cache: str | None = None
        self._open: contexts.Entered | None = None
        self._started = 0

    def begin(self) -> None:
        """From here on what the client sends is a part of this."""
        self._outer = open_sweep.get()
        open_sweep.set(self._scope)
        self._describe()
        self._start()

    @harmless("invalidation")
    def name(self, keys: Sequence[bytes]) -> list[str | None]:
        """The cache of each key that matched."""
        found = self._caches.names_of(keys)
        self._matched.update(found)
        self._scope.caches = dict(zip(keys, found, strict=True))
        return found

    def add(self, cache: str | None, removed: int) -> None:
        """Entries of one cache are gone."""
        self._removed[cache] = self._removed.get(cache, 0) + removed

    def end(self, error: BaseException | None, outcome: str, elapsed: int) -> None:
        """What came of it, after so many nanoseconds: counted, described, recorded."""
        self._scope.close()
        span = None if self._open is None else self._open.span
        if garbage.is_at_work():
            tell = partial(self._tell, span, error, outcome, elapsed)
            self.recorder.tallies.notes.add(partial(self._end_noted, tell, span, elapsed))
            self._open = None
            return
        self._tell(span, error, outcome, elapsed)

    def close(self, elapsed: int) -> None:
        """Leave nothing behind: no span, and no sweep in the context."""
        self._scope.close()
        entered, self._open = self._open, None
        if garbage.is_at_work():
            if entered is not None:
                end = partial(self._end_span, entered.span, elapsed)
                self.recorder.tallies.notes.add(lambda: end)
            return
        try:
            if entered is not None:
                self._leave(entered, elapsed)
        finally:
            if open_sweep.get() is self._scope:
                open_sweep.set(self._outer)

    @harmless("invalidation")
    def _describe(self) -> None:
        self._reason = self._scope.reason = self.recorder.tallies.reason_of(self._label.reason)
        self._target = clients.target_of(self._client)

    @harmless("invalidation")
    def _start(self) -> None:
        settings = self._settings
        if not settings.traces or (settings.require_parent_span and not contexts.are_in_a_span()):
            return
        attributes: dict[str, AttributeValue] = dict(self._target.attributes)
        attributes[names.INVALIDATION_REASON] = self._reason
        if self._label.trigger is not None:
            attributes[names.INVALIDATION_TRIGGER] = self._label.trigger
        self._started = time_ns()
        self._open = contexts.Entered(
            self.recorder.start(
                names.SPAN_OF_INVALIDATION, lambda: attributes, self._started, SpanKind.INTERNAL
            )
        )

    def _tell(
        self, span: Span | None, error: BaseException | None, outcome: str, elapsed: int
    ) -> None:
        effect = self._effect_of(outcome)
        self._count(effect)
        if span is not None:
            self._describe_end(span, error)
        self._record_duration(effect, elapsed)

    def _end_noted(
        self, tell: Callable[[], None], span: Span | None, elapsed: int
    ) -> Callable[[], object] | None:
        """What ended in the garbage collector counts now; gives what ends its span."""
        tell()
        return None if span is None else partial(self._end_span, span, elapsed)

    def _effect_of(self, outcome: str) -> str:
        if outcome == "success":
            return names.REMOVED if self._counted else names.NONE
        return names.PARTIAL if outcome == "partial" else names.ERROR

    @property
    def _counted(self) -> int:
        """Entries of caches that were removed; a key that a rule says is none is no entry."""
        return sum(removed for cache, removed in self._removed.items() if cache is not None)

    @harmless("invalidation")
    def _count(self, effect: str) -> None:
        self._cache = self._only_cache()
        outcome = Outcome()
        for cache, removed in self._removed.items():
            if cache is not None:
                outcome.removed[cache, self._reason] = removed
        if self._cache is not None:
            outcome.removals[self._cache, self._reason, effect] = 1
        if self._settings.counts_caches:
            self.recorder.tallies.take(self._target, outcome)

    def _only_cache(self) -> str | None:
        """The cache this was about; None where a rule says that it is none."""
        if not self._matched:
            return self._caches.name_of(self._pattern)
        caches = self._matched - {None}
        if len(caches) > 1:
            return names.MIXED_CACHES
        return next(iter(caches), None)

    @harmless("invalidation")
    def _describe_end(self, span: Span, error: BaseException | None) -> None:
        failure = None if error is None else failures.failure_of(error)
        attributes: dict[str, AttributeValue] = dict(failure.attributes) if failure else {}
        attributes[names.INVALIDATION_REMOVED] = self._counted
        if self._cache is not None and self._cache != names.MIXED_CACHES:
            attributes[names.CACHE_NAME] = self._cache
        self.recorder.finish(span, attributes, failure)

    @harmless("invalidation")
    def _record_duration(self, effect: str, elapsed: int) -> None:
        if self._cache is not None:
            system = self._target.system
            self.recorder.record_invalidation(system, self._cache, self._reason, effect, elapsed)

    @harmless("invalidation")
    def _leave(self, entered: contexts.Entered, elapsed: int) -> None:
        try:
            entered.leave()
        finally:
            self._end_span(entered.span, elapsed)

    @harmless("invalidation")
    def _end_span(self, span: Span, elapsed: int) -> None:
        self.recorder.end(span, self._started + elapsed)
