"""Keeps faults of our own from the application.

The few steps that every call has catch them in place, and hand them to :func:`contain`: a guard
around a method is one more function that is entered.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

from otel_redis_cache.signals import raised_by_handler


class Contains(Protocol):
    """Counts a fault of ours, and says so once."""

    def contain(self, step: str, fault: BaseException) -> None:
        """See :meth:`otel_redis_cache.recorder.Recorder.contain`."""


class Recorded(Protocol):
    """Whoever has steps to guard."""

    @property
    def recorder(self) -> Contains:
        """Takes the faults."""
        ...


_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S", bound=Recorded)


def contain(recorded: Recorded, step: str, fault: Exception) -> None:
    """Count a fault of ours; an exception of the application's signal handler goes on."""
    if raised_by_handler(fault):
        raise fault
    with suppress(Exception):  # of a log handler, for example
        recorded.recorder.contain(step, fault)


def harmless(
    step: str,
) -> Callable[[Callable[Concatenate[_S, _P], _R]], Callable[Concatenate[_S, _P], _R | None]]:
    """Guard one of our own steps; what fails gives None."""

    def guard(
        method: Callable[Concatenate[_S, _P], _R],
    ) -> Callable[Concatenate[_S, _P], _R | None]:
        @functools.wraps(method)
        def guarded(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R | None:
            try:
                return method(self, *args, **kwargs)
            except Exception as fault:  # noqa: BLE001  # see above
                contain(self, step, fault)
                return None

        if [*inspect.signature(method).parameters] != ["self", "call"]:
            return guarded
        step_of_call = cast("Callable[[_S, object], _R]", method)

        # The same where there is one argument, as every call has several such steps.
        @functools.wraps(method)
        def guarded_step(self: _S, call: object, /) -> _R | None:
            try:
                return step_of_call(self, call)
            except Exception as fault:  # noqa: BLE001  # see above
                contain(self, step, fault)
                return None

        return cast("Callable[Concatenate[_S, _P], _R | None]", guarded_step)

    return guard
