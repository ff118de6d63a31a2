"""One call of the application while it is in flight, and how a context remembers it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_redis_cache import conventions as names
from otel_redis_cache import reasons, sweeps
from otel_redis_cache.facts import UNKNOWN_TARGET, Command, Failure, Outcome
from otel_redis_cache.loads import Followed

open_scope: ContextVar[Scope | None] = ContextVar("otel_redis_cache_call", default=None)
"""Of the call that is open in this context, or that was the last one."""


class Observes(Protocol):
    """Tells the story of a call, step by step; no step raises."""

    def begin(self, call: Call) -> None:
        """What was sent, where to, and the span that starts with it."""

    def end(self, call: Call, error: BaseException | None) -> None:
        """What came of it."""

    def end_span(self, call: Call) -> None:
        """Back to the span that was current before."""

    def keep_replies(self, call: Call, replies: object) -> None:
        """All replies of a batch, before the client raises about one of them."""


class Scope:
    """What a context remembers of the call in flight.

    The client may hand its context on to whatever lives longer than the call, as asyncio's
    transports do; so nothing of the application hangs on a scope that is closed.
    """

    __slots__ = ("call", "is_busy")

    def __init__(self, call: Call) -> None:
        """Open the scope of a call."""
        self.call: Call | None = call
        self.is_busy = True
        """Whether steps of ours run, and hooks, samplers and span processors with them."""


class Call:
    """One logical call: what was sent, and what came of it."""

    __slots__ = (
        "_outer",
        "args",
        "blocks",
        "commands",
        "context_before",
        "deferred",
        "elapsed",
        "failed_index",
        "failure",
        "followed",
        "instance",
        "is_batch",
        "is_recorded",
        "kwargs",
        "label",
        "metric_operation",
        "observer",
        "operation",
        "outcome",
        "queues",
        "replies",
        "reply",
        "scope",
        "script_loads",
        "sent",
        "span",
        "started",
        "started_unix",
        "sweep",
        "target",
        "transaction",
    )

    def __init__(
        self,
        observer: Observes,
        instance: object,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        is_batch: bool = False,
        transaction: bool = False,
    ) -> None:
        """``args`` are the command's arguments, or the commands of a batch."""
        self.observer = observer
        self.scope = Scope(self)
        self._outer: Scope | None = None
        self.instance = instance
        self.args = args
        self.kwargs = kwargs
        self.is_batch = is_batch
        self.transaction = transaction
        self.sweep = sweeps.around(instance, args, is_batch=is_batch)
        """The ``invalidate()`` that this is a part of."""
        self.label = reasons.current() if self.sweep is None else self.sweep.label
        """Why the application removes what this removes."""
        self.sent: Sequence[Any] | None = None
        """The arguments to send in the place of the application's."""
        self.queues: tuple[list[Any], list[Any]] | None = None
        """The queue of a batch, and the one that is sent in its place."""
        self.commands: Sequence[Command] = ()
        self.operation = self.metric_operation = names.OTHER_OPERATION
        self.target = UNKNOWN_TARGET
        self.span: Span | None = None
        self.is_recorded = False
        """Whether the span began as one that is recording."""
        self.context_before: Context | None = None
        self.blocks = False
        """Whether the server makes this call wait for data; inside a transaction nothing waits."""
        self.deferred = False
        """Whether only the reply can tell if there will be a span."""
        self.reply: Any = None
        self.replies: Sequence[Any] | None = None
        """Each command's reply, also where the client raised about one of them."""
        self.failure: Failure | None = None
        self.failed_index: int | None = None
        """The command that a batch failed at, where the client names one without its replies."""
        self.outcome = Outcome()
        self.followed: Followed | None = None
        """What became of misses, where loads are followed."""
        self.script_loads = 0
        self.started_unix = 0
        self.started = 0
        self.elapsed = 0

    def __enter__(self) -> None:
        """The call begins."""
        self._outer = open_scope.get()
        open_scope.set(self.scope)
        self.observer.begin(self)
        self.scope.is_busy = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The call has its reply, or fails; the exception goes on as it came."""
        self.elapsed = time.perf_counter_ns() - self.started
        self.scope.is_busy = True
        self.observer.end(self, error)

    def close(self) -> None:
        """Leave nothing behind: no span, and no call in the context.

        Asks what is there and needs no token, so that it is right wherever an interrupt struck, and
        in the other context where a task that is destroyed ends.
        """
        self.scope.call = None
        try:
            self.observer.end_span(self)
        finally:
            if open_scope.get() is self.scope:
                open_scope.set(self._outer)


def see_replies(replies: object) -> None:
    """Keep the replies of the batch in flight: the client is about to raise about one of them."""
    scope = open_scope.get()
    if scope is not None and scope.call is not None and scope.call.is_batch:
        scope.call.observer.keep_replies(scope.call, replies)


def as_queued(number: object, command: object) -> object:
    """The command of the batch in flight as the application queued it, before we changed it."""
    scope = open_scope.get()
    if scope is None or scope.call is None or scope.call.queues is None:
        return command
    if not isinstance(number, int) or not 0 < number <= len(scope.call.args):
        return command
    return scope.call.args[number - 1]
