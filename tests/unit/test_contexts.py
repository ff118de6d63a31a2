"""The current context, read and put back as the API has it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context as api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import (
    suppress_http_instrumentation,
    suppress_instrumentation,
)
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext

from otel_redis_cache import contexts

AROUND = NonRecordingSpan(SpanContext(1, 2, is_remote=False))
INNER = NonRecordingSpan(SpanContext(1, 3, is_remote=False))


@contextmanager
def attached(context: Context) -> Iterator[None]:
    token = api.attach(context)
    try:
        yield
    finally:
        api.detach(token)


def test_what_the_api_attaches_is_current_here() -> None:
    assert contexts.current() == api.get_current()
    with attached(Context({"key": "value"})):
        assert contexts.current() is api.get_current()
        assert contexts.current() == {"key": "value"}


def test_what_is_attached_here_is_current_for_the_api() -> None:
    before = contexts.current()
    contexts.attach(Context({"key": "value"}))
    try:
        assert api.get_value("key") == "value"
    finally:
        contexts.attach(before)


def test_a_context_with_a_span_is_the_one_that_the_api_makes() -> None:
    around = Context({"key": "value"})
    made = contexts.with_span(around, AROUND)

    assert made == trace.set_span_in_context(AROUND, around)
    assert type(made) is Context
    assert trace.get_current_span(made) is contexts.span_in(made) is AROUND
    assert around == {"key": "value"}


def test_what_is_no_span_is_none_for_us_as_for_the_api() -> None:
    odd = Context({contexts.SPAN: "a span"})

    assert contexts.span_in(odd) is trace.get_current_span(odd) is INVALID_SPAN
    assert contexts.span_in(Context()) is INVALID_SPAN


def test_a_span_that_is_entered_is_current_until_it_is_left() -> None:
    before = contexts.current()
    entered = contexts.Entered(AROUND)
    assert trace.get_current_span() is AROUND
    entered.leave()

    assert contexts.current() is before


def test_a_span_that_is_not_current_any_more_takes_nobody_elses_place() -> None:
    with attached(Context()):
        entered = contexts.Entered(AROUND)
        contexts.Entered(INNER)
        entered.leave()

        assert trace.get_current_span() is INNER


def test_a_valid_span_is_a_parent_and_an_invalid_one_is_none() -> None:
    with attached(Context()):
        assert not contexts.are_in_a_span()
    with attached(contexts.with_span(Context(), INVALID_SPAN)):
        assert not contexts.are_in_a_span()
    with attached(contexts.with_span(Context(), AROUND)):
        assert contexts.are_in_a_span()


def test_instrumentation_is_suppressed_where_the_api_says_so() -> None:
    assert not contexts.is_suppressed()
    with suppress_instrumentation():
        assert contexts.is_suppressed()
        assert not contexts.SUPPRESSING.isdisjoint(contexts.current())
    with suppress_http_instrumentation():
        assert not contexts.is_suppressed()
    for key in contexts.SUPPRESSING:
        with attached(Context({key: True})):
            assert contexts.is_suppressed()
        with attached(Context({key: False})):
            assert not contexts.is_suppressed()


def answer_of(program: str, **environment: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return run.stdout.strip()


def test_only_what_suppresses_does_so_though_the_import_was_in_a_span() -> None:
    program = """
from opentelemetry import context, trace
context.attach(trace.set_span_in_context(trace.NonRecordingSpan(trace.SpanContext(1, 2, False))))
from otel_redis_cache import contexts
print(contexts.SPAN in contexts.SUPPRESSING, len(contexts.SUPPRESSING) > 0)
"""
    assert answer_of(program) == "False True"


def test_where_the_api_keeps_its_context_elsewhere_the_api_is_asked() -> None:
    program = """
from opentelemetry import context as api
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
class Elsewhere(ContextVarsRuntimeContext):
    pass
api._RUNTIME_CONTEXT = Elsewhere()
from otel_redis_cache import contexts
print(contexts.current is api.get_current, contexts.attach is api.attach)
"""
    assert answer_of(program) == "True True"
