"""The context that a call is made in, read and put back with as few steps as the API leaves.

Each call asks for it several times; each time the API enters two functions to read one context
variable, and five to make a span current. Where the API keeps its context elsewhere, as with an
implementation of the application's own (``OTEL_PYTHON_CONTEXT``), the API is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import cast

from opentelemetry import context as api
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.instrumentation.utils import (
    is_instrumentation_enabled,
    suppress_instrumentation,
)
from opentelemetry.trace import INVALID_SPAN, Span, set_span_in_context


def _suppressing() -> frozenset[str]:
    token = api.attach(Context())  # whoever imports this may be in a span
    try:
        with suppress_instrumentation():
            return frozenset(api.get_current())
    finally:
        api.detach(token)


SUPPRESSING = _suppressing()
"""The keys by which a context says that nothing is to be instrumented."""

(SPAN,) = set_span_in_context(INVALID_SPAN, Context())
"""The key of the current span."""


def _variable() -> ContextVar[Context] | None:
    runtime = getattr(api, "_RUNTIME_CONTEXT", None)
    if type(runtime) is not ContextVarsRuntimeContext:
        return None
    variable: object = getattr(runtime, "_current_context", None)
    return cast("ContextVar[Context]", variable) if isinstance(variable, ContextVar) else None


_kept = _variable()
current: Callable[[], Context] = api.get_current if _kept is None else _kept.get
"""The current context."""
attach: Callable[[Context], object] = api.attach if _kept is None else _kept.set
"""Make a context the current one."""


def with_span(context: Context, span: Span) -> Context:
    """The same context with another current span."""
    return Context({**context, SPAN: span})


def span_in(context: Context) -> Span:
    """The current span of a context; an invalid one where there is none."""
    span = context.get(SPAN)
    return span if isinstance(span, Span) else INVALID_SPAN


class Entered:
    """A span that was made the current one, until it is left."""

    __slots__ = ("_before", "span")

    def __init__(self, span: Span) -> None:
        """From now on it is current."""
        self.span = span
        self._before = current()
        attach(with_span(self._before, span))

    def leave(self) -> None:
        """Back to what was current before, unless somebody has put another one in its place."""
        if span_in(current()) is self.span:
            attach(self._before)


def are_in_a_span() -> bool:
    """Whether a span that starts now has a parent."""
    return span_in(current()).get_span_context().is_valid


def is_suppressed() -> bool:
    """Whether the current context says that nothing is to be instrumented."""
    return not SUPPRESSING.isdisjoint(current()) and not is_instrumentation_enabled()
