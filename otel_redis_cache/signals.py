"""Exceptions that an application raises out of its signal handlers, at any line, ours included."""

from __future__ import annotations

import signal


def raised_by_handler(fault: BaseException) -> bool:
    """Whether this exception comes out of a signal handler: a job's time-out, for example.

    It is the application's, wherever it struck; only faults of our own may be contained.
    """
    codes: set[object] = set()
    for number in signal.valid_signals():
        handler: object = signal.getsignal(number)
        function = getattr(handler, "__func__", handler)
        codes.add(getattr(function, "__code__", None))
    codes.discard(None)
    traceback = fault.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False
