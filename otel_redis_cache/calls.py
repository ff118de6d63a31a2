"""One call of the application while it is in flight, and how a context remembers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_redis_cache import clients, garbage, reasons, sweeps
from otel_redis_cache import conventions as names
from otel_redis_cache.facts import NO_OUTCOME, UNKNOWN_TARGET, Command, Failure
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

    call: Call | None
    """None once the call has ended."""
    is_busy: bool
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
    """One logical call: what was sent, and what came of it.

    What most calls do not have stands in the class, so that a call is made of what it has.
    """

    is_batch = False
    transaction = False
    sweep: sweeps.SweepScope | None = None
    """The ``invalidate()`` that this is a part of."""
    label: reasons.Label | None = None
    """Why the application removes what this removes."""
    sent: Mapping[tuple[int, ...], Sequence[Any]] | None = None
    """What is sent in the place of some commands, by the identity of their arguments."""
    commands: Sequence[Command] = ()
    operation = metric_operation = names.OTHER_OPERATION
    target = UNKNOWN_TARGET
    span: Span | None = None
    is_recorded = False
    """Whether the span began as one that is recording."""
    context_before: Context | None = None
    blocks = False
    """Whether the server makes this call wait for data; inside a transaction nothing waits."""
    has_other_span = False
    """Whether another instrumentation makes the span of this call."""
    deferred = False
    """Whether only the reply can tell if there will be a span."""
    reply: Any = None
    replies: Sequence[Any] | None = None
    """Each command's reply, also where the client raised about one of them."""
    failure: Failure | None = None
    failed_index: int | None = None
    """The command that a batch failed at, where the client names one without its replies."""
    followed: Followed | None = None
    """What became of misses, where loads are followed."""
    queue: Sequence[Any] = ()
    """What a cluster's pipeline keeps its replies with."""
    resent = 0
    """Which of them the pipeline has sent again, alone, up to."""
    connection: Any = None
    """The one that was last written to."""
    local: str | None = None
    """With client-side caching: ``hit`` where nothing had to be sent, else ``miss``."""
    attempts: Attempts | None = None
    """Where the first one was not enough."""
    outcome = NO_OUTCOME
    size: int | None = None
    """Bytes of the one value that was found, where they are not in the outcome."""
    script_loads = 0
    is_late = False
    """Whether a finaliser made it, inside of the garbage collector."""
    is_noted = False
    """Whether it ended in there, and the rest is told later."""
    started_unix = started = elapsed = 0
    outer: Scope | None = None
    """What was open when this began."""

    def __init__(
        self, observer: Observes, instance: object, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """``args`` are the command's arguments, or the commands of a batch."""
        self.observer = observer
        self.scope = scope = Scope()
        scope.call = self
        scope.is_busy = True
        self.instance = instance
        self.args = args
        self.kwargs = kwargs
        if sweeps.open_sweep.get() is not None:
            self.sweep = sweeps.around(instance, args, is_batch=self.is_batch)
        if self.sweep is not None:
            self.label = self.sweep.label
        elif reasons.open_blocks.get():
            self.label = reasons.current()

    def leave_interrupted(self) -> None:
        """A finaliser makes it: it belongs to nothing that was under way there, and has no span."""
        self.is_late = self.has_other_span = True
        self.sweep = self.label = None

    @property
    def last_attempt(self) -> int:
        """When the last attempt began."""
        return self.started if self.attempts is None else self.attempts.last or self.started

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
        try:
            if self.span is not None or self.context_before is not None:
                self.observer.end_span(self)
        finally:
            self.scope.call = None
            if garbage.running and garbage.is_at_work():
                if self.is_late:
                    _late.scope = self.outer
            elif open_scope.get() is self.scope:
                open_scope.set(self.outer)

    def open_late(self) -> None:
        """From here on it is the call in flight, in the garbage collector."""
        self.outer, _late.scope = _late.scope, self.scope


class _Late:
    """What is open in the garbage collector, of which only one runs at a time."""

    scope: Scope | None = None


_late = _Late()


def scope_here() -> Scope | None:
    """Of the call that is open: in the garbage collector that of a finaliser, which knows no other."""
    return _late.scope if garbage.is_at_work() else open_scope.get()


class Batch(Call):
    """A pipeline, or a transaction."""

    is_batch = True

    def __init__(
        self,
        observer: Observes,
        pipeline: object,
        queued: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        transaction: bool,
    ) -> None:
        """``queued``: the commands, each as its arguments."""
        super().__init__(observer, pipeline, queued, kwargs)
        self.transaction = transaction


silence = Scope()
"""Stays busy: nothing is observed in it."""
silence.call = Call.__new__(Call)
silence.is_busy = True


def call_at_work() -> Call | None:
    """The call in flight, while the client works for it and none of our steps does."""
    scope = scope_here() if garbage.running else open_scope.get()
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
