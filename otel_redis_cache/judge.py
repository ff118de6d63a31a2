"""What came of a call: the replies, or the failure, of its commands, each judged by its row."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from types import NoneType
from typing import Any, cast

from otel_redis_cache import clusters, failures, outcomes
from otel_redis_cache.caches import Caches
from otel_redis_cache.calls import Call
from otel_redis_cache.facts import Failure, Outcome, Rule, Target
from otel_redis_cache.guard import contain
from otel_redis_cache.operands import key_bytes
from otel_redis_cache.outcomes import Expiring, Terms
from otel_redis_cache.recorder import Recorder
from otel_redis_cache.settings import Settings
from otel_redis_cache.sizes import bytes_of

_OF_OUTCOMES = frozenset({"cache", "ratio", "ttl", "loads", "size", "pubsub", "streams"})
"""Groups of metrics that are made of replies."""

_NO_EXPIRY: Expiring = {}


class Judge:
    """Says of each call what it did to its caches, and why it failed."""

    def __init__(self, settings: Settings, caches: Caches, recorder: Recorder) -> None:
        """Settings say what is asked for; what is not is not looked at."""
        self.recorder = recorder
        self._caches = caches
        self._tallies = recorder.tallies
        self.follows_loads = settings.snapshot or "loads" in settings.metrics
        self._shows_caches = settings.duration_by_cache
        self._is_always_asked = (
            settings.snapshot
            or settings.duration_by_cache
            or not settings.metrics.isdisjoint(_OF_OUTCOMES)
        )
        self._measures_sizes = "size" in settings.metrics
        # A span shows the size of a value that is the only one.
        sizes = {True: 2, False: 0}
        if self._measures_sizes:
            sizes = dict.fromkeys(sizes, sys.maxsize)
        self._hits: dict[str | None, Outcome] = {}
        """Of a hit of one entry, by its cache: it is the same for each."""
        self._terms = {
            recorded: Terms(settings.count_probes, self.follows_loads, size)
            for recorded, size in sizes.items()
        }

    def judge(self, call: Call, error: BaseException | None) -> None:
        """Put into a call what came of it."""
        try:
            if error is None and not call.is_batch and self._is_as_before(call):
                return
            self._judge(call, error)
        except Exception as fault:
            contain(self, "outcome", fault)

    def _judge(self, call: Call, error: BaseException | None) -> None:
        if error is not None and not failures.watch_failed(error):
            call.failure = call.failure or failures.failure_of(error)
            call.failed_index = failures.failed_index(error)
        if not self._is_always_asked and not self._shows_outcome(call):
            return
        if error is None and not call.is_batch:
            replies: Sequence[Any] | None = (call.reply,)
        else:
            replies = replies_seen(call, error)
        call.replies = replies
        call.outcome = Outcome()
        if call.sweep is not None and not self._tells_more_than_its_sweep(call):
            call.failure = call.failure or first_failure(replies)
            return
        if replies is not None:
            if call.rule is None or not self._judge_hits(call.rule, call, replies):
                self._judge_replies(call, replies)
        elif error is not None and not failures.refused(error):
            self._judge_replies(call, [error] * len(call.commands))

    def _is_as_before(self, call: Call) -> bool:
        """Whether this is a hit of one entry that no open miss is about: the same for each of a cache."""
        reply, (command,) = call.reply, call.commands
        rule, operands = command
        if reply is None or not rule.asks_once or not operands or self._measures_sizes:
            return False
        if isinstance(reply, BaseException):
            return False
        misses = self._tallies.open_misses
        if misses.by_key and misses.holds(call.target, operands[0]):
            return False
        if not self._is_always_asked and not call.is_recorded:
            return False
        cache = self._caches.name_of(operands[0])
        hit = self._hits.get(cache)
        if hit is None:
            hit = Outcome()
            outcomes.add_hits(hit, (cache,))
            self._hits[cache] = hit  # not before it is whole: other threads take it from here
        call.outcome = hit
        call.replies = (reply,)
        if call.is_recorded and rule.read is not None and rule.read.sized and cache is not None:
            call.size = bytes_of(reply)
        return True

    def _judge_hits(self, rule: Rule, call: Call, replies: Sequence[Any]) -> bool:
        """Whether a batch asks for one entry at a time and finds them all, which is judged in one go."""
        terms = self._terms[call.is_recorded]
        if (
            not rule.asks_once
            or (terms.follows and self._tallies.open_misses.by_key)
            or len(replies) != len(call.commands)
            or NoneType in {*map(type, replies)}
            or have_failed(replies)
        ):
            return False
        caches = self._caches.names_of([operands[0] for _, operands in call.commands if operands])
        if len(caches) - caches.count(None) < terms.max_sizes:
            return False  # a span shows the size of a value that is the only one
        outcomes.add_hits(call.outcome, caches)
        return True

    def _judge_replies(self, call: Call, replies: Sequence[Any]) -> None:
        outcome, now = call.outcome, call.started_unix / 1e9
        terms = self._terms[call.is_recorded] if call.label is None else self._terms_of(call)
        outcome.is_followed = terms.follows and bool(self._tallies.open_misses.by_key)
        names_of = self._caches.names_of if call.sweep is None else call.sweep.names_of
        expiring = _NO_EXPIRY
        if len(replies) > 1:
            pairs = list(zip(call.commands, replies, strict=False))
            expiring = outcomes.expiring_writes(pairs, now)
        hits: list[object] = []
        touched: set[object] = set()
        measures = terms.max_sizes > 0
        for index, (command, reply) in enumerate(zip(call.commands, replies, strict=False)):
            rule, operands = command
            has_failed = isinstance(reply, BaseException)
            is_hit = rule.asks_once and reply is not None and operands and not has_failed
            if is_hit and not measures:
                key = operands[0]
                if not outcome.is_followed or self._ends_no_miss(call.target, key, touched):
                    hits.append(key)
                    continue
            caches = names_of(command.keys)
            if has_failed:
                if call.failure is None:
                    call.failure = failures.failure_of(reply)
                outcomes.condemn(outcome, command, caches, terms, now)
            else:
                before = len(outcome.touches)
                outcomes.judge(outcome, command, caches, reply, terms, now, expiring.get(index))
                if call.is_batch:
                    touched.update(key_bytes(touch[1]) for touch in outcome.touches[before:])
            measures = len(outcome.sizes) < terms.max_sizes
        if hits:
            outcomes.add_hits(outcome, names_of(hits))

    def _are_hits(self, call: Call, replies: Sequence[Any]) -> bool:
        """Whether a batch asks for one entry at a time, finds them all, and no miss is open."""
        return (
            call.rule is not None
            and call.rule.asks_once
            and not call.outcome.is_followed
            and len(replies) == len(call.commands)
            and NoneType not in {*map(type, replies)}
            and not have_failed(replies)
        )

    def _ends_no_miss(self, target: Target, key: object, touched: AbstractSet[object]) -> bool:
        """Whether a hit is about no open miss, and about nothing that its batch did before."""
        return key_bytes(key) not in touched and not self._tallies.open_misses.holds(target, key)

    def _terms_of(self, call: Call) -> Terms:
        terms = self._terms[call.is_recorded]
        return terms if call.label is None else terms._replace(reason=self._reason_of(call))

    def _reason_of(self, call: Call) -> Callable[[], str] | None:
        """Gives the application's own reason for removals, as metrics may carry it."""
        if call.sweep is not None:
            reason = call.sweep.reason  # which the sweep has asked for, once for all its commands
            return lambda: reason
        return None if call.label is None else partial(self._tallies.reason_of, call.label.reason)

    def _tells_more_than_its_sweep(self, call: Call) -> bool:
        """Whether a part of a sweep, which counts for itself, is asked for its own outcome."""
        return (
            call.span is not None
            or self._shows_caches
            or (self.follows_loads and bool(self._tallies.open_misses.by_key))
        )

    def _shows_outcome(self, call: Call) -> bool:
        # Whether a batch failed is known from its replies alone.
        return call.is_batch or call.deferred or call.is_recorded


def replies_seen(call: Call, error: BaseException | None) -> Sequence[Any] | None:
    """One reply for each command; None where the client has none to show."""
    if error is None:
        return replies_of(call.reply)
    # Any other exception, of a response callback for example, says nothing about the replies.
    seen = call.replies or clusters.results_of(call.queue)
    return seen if any(reply is error for reply in seen) else None


def replies_of(reply: object) -> list[Any] | None:
    """A copy of the replies of a batch, which the application may change."""
    return [*cast("list[object]", reply)] if isinstance(reply, list) else None


def have_failed(replies: Sequence[Any]) -> bool:
    """Whether any of the commands has."""
    return any(issubclass(kind, BaseException) for kind in {*map(type, replies)})


def first_failure(replies: Sequence[Any] | None) -> Failure | None:
    """That of the first command of a batch that failed."""
    if not replies or not have_failed(replies):
        return None
    return failures.failure_of(next(reply for reply in replies if isinstance(reply, BaseException)))


def failed_commands(call: Call) -> list[int]:
    """The commands of a batch that failed, by index."""
    if call.replies is not None:
        if not have_failed(call.replies):
            return []
        return [i for i, reply in enumerate(call.replies) if isinstance(reply, BaseException)]
    if call.failed_index is None:
        return []
    # Refused while it was queued, so that the server ran no command of the transaction.
    others = [i for i in range(len(call.commands)) if i != call.failed_index]
    return [call.failed_index, *others]
