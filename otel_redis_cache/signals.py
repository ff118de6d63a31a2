"""Exceptions that an application raises out of its signal handlers, at any line, ours included."""

from __future__ import annotations

import signal
from types import CodeType, FrameType


def raised_by_handler(fault: BaseException) -> bool:
    """Whether this exception comes out of a signal handler: a job's time-out, for example.

    It is the application's, wherever it struck; only faults of our own may be contained. A handler
    is known by what it is called with, a signal's number and the frame that it interrupted: it may
    be a method, a partial, or no longer be registered.
    """
    traceback = fault.__traceback__
    while traceback is not None:
        arguments = _arguments(traceback.tb_frame.f_code, traceback.tb_frame)
        if any(isinstance(value, FrameType) for value in arguments) and any(
            isinstance(value, int) and value in signal.valid_signals() for value in arguments
        ):
            return True
        traceback = traceback.tb_next
    return False


def _arguments(code: CodeType, frame: FrameType) -> list[object]:
    values: list[object] = [
        frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount]
    ]
    if code.co_flags & 0x04:  # inspect.CO_VARARGS: they follow the named ones
        rest: object = frame.f_locals.get(
            code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
        )
        values += rest if isinstance(rest, tuple) else ()
    return values
