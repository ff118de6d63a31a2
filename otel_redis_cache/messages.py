"""For consumers: the context that a message carries, its payload, and a span for working on it.

They read what ``propagate_context`` made the producer send, need no setting themselves, and take
anything: a Pub/Sub message as ``get_message()`` gives it, its data alone, an entry ``(id, fields)``
as ``xread()`` gives it, or its fields alone, decoded or not.
"""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span

from otel_redis_cache import propagation
from otel_redis_cache.consumption import Consumption
from otel_redis_cache.instrumentor import RedisCacheInstrumentor, contain
from otel_redis_cache.signals import raised_by_handler


def context_of(message: Any) -> Context:
    """The OpenTelemetry context that a message or a stream entry carries; empty if it carries none.

    Read with the propagator that is set globally (``opentelemetry.propagate``). It is not made
    current. Never raises.
    """
    try:
        return propagation.context_in(message)
    except Exception as fault:
        if raised_by_handler(fault):
            raise
        contain("consume", fault)
        return Context()


def payload_of(message: Any) -> Any:
    """What the producer sent: the data of a Pub/Sub message, or the fields of a stream entry.

    Without the context, if there was one. Text stays text and bytes stay bytes; of what is neither
    a message nor an entry, the same is returned. Never raises.
    """
    try:
        return propagation.payload_in(message)
    except Exception as fault:
        if raised_by_handler(fault):
            raise
        contain("consume", fault)
        with suppress(Exception):
            return propagation.content_of(message)
        return message


class consumed:  # noqa: N801  # read as a statement: `with consumed(message):`
    """Makes a CONSUMER span around the work on one message, linked to the span that sent it.

    A link and no parent, as `the conventions for messaging
    <https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/messaging/messaging-spans.md>`_
    have it: the work belongs to the consumer's own trace, and a message may be worked on often. The
    block gets the span. An exception goes on as it came, and is on the span as ``error.type``.

    Works, without telemetry, where nothing is instrumented. In a generator, leave the block before
    a ``yield``: it is open in the caller too.
    """

    __slots__ = ("_consumption", "_destination", "_message", "_started")

    def __init__(self, message: Any, destination: str | None = None) -> None:
        """Say what is worked on.

        Args:
            message: a Pub/Sub message or a stream entry, as :func:`context_of` takes it.
            destination: the stream or channel, as a name of few; it is part of the span's name. By
                default what the setting ``channels`` calls the channel of a Pub/Sub message.
        """
        self._message = message
        self._destination = destination
        self._consumption: Consumption | None = None
        self._started = 0

    def __enter__(self) -> Span:
        """From here on."""
        self._started = time.perf_counter_ns()
        observers = RedisCacheInstrumentor.observers()
        if observers:
            context = context_of(self._message)
            self._consumption = observers[0].open_consumption(
                self._message, context, self._destination
            )
        if self._consumption is None:
            return INVALID_SPAN
        try:
            self._consumption.begin()
        except BaseException:  # out of a signal handler, and there will be no __exit__
            self._consumption.end(None, 0)
            raise
        return self._consumption.span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Up to here."""
        consumption, self._consumption = self._consumption, None
        if consumption is not None:
            consumption.end(error, time.perf_counter_ns() - self._started)
