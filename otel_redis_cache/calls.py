"""One call of the application while it is in flight, and how a context remembers it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol, cast

from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_redis_cache import clients, reasons, sweeps
from otel_redis_cache import conventions as names
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

    def keep_attempt(self, call: Call) -> None:
        """One more begins."""

    def keep_failed_attempt(self, call: Call, error: BaseException) -> None:
        """Why an attempt failed."""

    def keep_try_again(self, call: Call) -> None:
        """A node says that a key is on its way."""

    def keep_redirection(self, call: Call, error: BaseException) -> None:
        """A node says that a key is elsewhere."""


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


class Attempts:
    """What it took to get an answer, where the first attempt got none."""

    __slots__ = ("failed", "last", "redirections", "retries")

    def __init__(self) -> None:
        """Start with the first attempt."""
        self.failed: str | None = None
        """``error.type`` of the one that failed last, until another one is made."""
        self.last = 0
        """When the last one began, if it was not the first."""
        self.retries: list[str] = []
        """``error.type`` of each that failed and was followed by another one."""
        self.redirections: list[str] = []
        """``moved`` or ``ask``, for each that was told so."""


class Call:
    """One logical call: what was sent, and what came of it."""

    __slots__ = (
        "_outer",
        "args",
        "attempts",
        "blocks",
        "commands",
        "connection",
        "context_before",
        "deferred",
        "elapsed",
        "failed_index",
        "failure",
        "followed",
        "has_other_span",
        "instance",
        "is_batch",
        "is_recorded",
        "kwargs",
        "label",
        "local",
        "metric_operation",
        "observer",
        "operation",
        "outcome",
        "queue",
        "replies",
        "reply",
        "resent",
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
        self.sent: Mapping[tuple[int, ...], Sequence[Any]] | None = None
        """What is sent in the place of some commands, by the identity of their arguments."""
        self.commands: Sequence[Command] = ()
        self.operation = self.metric_operation = names.OTHER_OPERATION
        self.target = UNKNOWN_TARGET
        self.span: Span | None = None
        self.is_recorded = False
        """Whether the span began as one that is recording."""
        self.context_before: Context | None = None
        self.blocks = False
        """Whether the server makes this call wait for data; inside a transaction nothing waits."""
        self.has_other_span = False
        """Whether another instrumentation makes the span of this call."""
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
        self.queue: Sequence[Any] = ()
        """What a cluster's pipeline keeps its replies with."""
        self.resent = 0
        """Which of them the pipeline has sent again, alone, up to."""
        self.connection: Any = None
        """The one that was last written to."""
        self.local: str | None = None
        """With client-side caching: ``hit`` where nothing had to be sent, else ``miss``."""
        self.attempts: Attempts | None = None
        """Where the first one was not enough."""
        self.script_loads = 0
        self.started_unix = self.started = self.elapsed = 0

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

    def as_sent(self, args: Sequence[Any]) -> Sequence[Any]:
        """What is sent in the place of a command, whose tuple the client may have made anew."""
        if not self.sent or not isinstance(args, tuple):
            return args
        return self.sent.get(tuple(map(id, args)), args)

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


silence = Scope(cast("Call", object()))
"""Stays busy: nothing is observed in it."""


def call_at_work() -> Call | None:
    """The call in flight, while the client works for it and none of our steps does."""
    scope = open_scope.get()
    return None if scope is None or scope.is_busy else scope.call


def see_replies(replies: object) -> None:
    """Keep the replies of the batch in flight: the client is about to raise about one of them."""
    call = call_at_work()
    if call is not None and call.is_batch:
        call.observer.keep_replies(call, replies)


def as_sent(client: object, args: Sequence[Any]) -> Sequence[Any]:
    """What is sent in the place of a command that serves the call in flight."""
    call = call_at_work()
    if call is None or not call.sent or not clients.serves(client, call.instance):
        return args
    return call.as_sent(args)
