"""The span of a consumer that works on one message."""

from __future__ import annotations

from functools import partial
from time import time_ns

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind

from otel_redis_cache import contexts, failures, garbage
from otel_redis_cache import conventions as names
from otel_redis_cache.guard import harmless
from otel_redis_cache.recorder import AttributeValue, Recorder


class Consumption:
    """One message while it is worked on."""

    def __init__(self, recorder: Recorder, producer: Context, destination: str | None) -> None:
        """``producer`` is the context that the message carries, empty if it carries none."""
        self.recorder = recorder
        self._producer = producer
        self._destination = destination
        self._open: contexts.Entered | None = None
        self._started = 0

    @property
    def span(self) -> Span:
        """The span, or one that takes everything and keeps nothing."""
        return INVALID_SPAN if self._open is None else self._open.span

    @harmless("consume")
    def begin(self) -> None:
        """Start the span, linked to the producer's, and make it current."""
        attributes: dict[str, AttributeValue] = {
            names.MESSAGING_SYSTEM: names.REDIS,
            names.MESSAGING_OPERATION_NAME: names.PROCESS,
            names.MESSAGING_OPERATION_TYPE: names.PROCESS,
        }
        name = names.SPAN_OF_CONSUMPTION
        if self._destination is not None:
            attributes[names.MESSAGING_DESTINATION_NAME] = self._destination
            name = f"{name} {self._destination}"
        producer = contexts.span_in(self._producer).get_span_context()
        links = [Link(producer)] if producer.is_valid else []
        self._started = time_ns()
        self._open = contexts.Entered(
            self.recorder.start(name, lambda: attributes, self._started, SpanKind.CONSUMER, links)
        )

    @harmless("consume")
    def end(self, error: BaseException | None, elapsed: int) -> None:
        """Back to what was current before; the span ends with what came of it, whatever happened."""
        entered, self._open = self._open, None
        if entered is None:
            return
        end = partial(self._end, entered.span, error, self._started + elapsed)
        if garbage.is_at_work():
            self.recorder.tallies.notes.add(lambda: end)
            return
        try:
            entered.leave()
        finally:
            end()

    @harmless("consume")
    def _end(self, span: Span, error: BaseException | None, ended: int) -> None:
        try:
            if error is not None:
                failure = failures.failure_of(error)
                self.recorder.finish(span, failure.attributes, failure)
        finally:
            self.recorder.end(span, ended)
