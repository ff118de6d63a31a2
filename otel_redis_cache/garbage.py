"""What runs while the garbage collector does: finalisers, which interrupt their thread at any line.

The thread may hold any lock then, of OpenTelemetry's SDK, of an exporter or of the application's own
metrics, and would wait for itself without end. So nothing is recorded there: it is noted, and told
later, by the next call or collection. Nor is a context variable set there: until 3.11 the collector
may run in the midst of setting another one, which does not survive that.

A collection of metrics holds locks of its own, and is told what counts. Spans end, and with them the
application's span processors run, where it calls us.
"""

from __future__ import annotations

import atexit
import gc
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from opentelemetry.context import Context

from otel_redis_cache import contexts
from otel_redis_cache.forks import renew_after_fork

# The collector says that it starts, and that it stops, to callables that enter no function of Python:
# there a signal that came meanwhile would be handled, and what its handler raises, such as the time-out
# of a job, be lost.


class _Running(set[str]):
    """Not empty while the collector runs, in whichever thread."""

    start = property(None, set[str].update)
    stop = property(None, set[str].difference_update)


class _Latest(deque[object]):
    """What the collector has said last: another object each time."""

    start = stop = property(None, deque[object].append)


running = _Running()
"""Empty nearly always, which is all that a call asks."""

_latest = _Latest(maxlen=1)
_here = threading.local()
_listeners = [partial(setattr, told) for told in (running, _latest, _here)]
gc.callbacks.extend(_listeners)


def is_at_work() -> bool:
    """Whether this thread, or greenlet, is inside the garbage collector; asked where `running` is not empty."""
    said_here: object = getattr(_here, "start", _here)
    return bool(_latest) and said_here is _latest[0]


@atexit.register
def _stop_listening() -> None:
    # What gevent has in the place of threads' own data can no longer be asked for at the very end.
    for listener in _listeners:
        with suppress(ValueError):  # somebody has cleared the list
            gc.callbacks.remove(listener)
    running.clear()


Note = Callable[[], Callable[[], object] | None]
"""Counts what a finaliser did, and gives what ends its span, if it has one. Neither may raise."""

MAX_NOTES = 10_000


class Notes:
    """What finalisers did, until it is told."""

    def __init__(self, lost: Callable[[int], object]) -> None:
        """``lost`` takes how many there was no room for, where nobody calls or collects for long."""
        self.waiting: deque[Note] = deque()
        """Adding to it is one step, which nothing comes in between of."""
        self._tell_lost = lost
        self._lost = 0
        renew_after_fork(self)

    def add(self, note: Note) -> None:
        """Note what is to be done outside of the garbage collector."""
        if len(self.waiting) < MAX_NOTES:
            self.waiting.append(note)
        else:
            self._lost += 1

    def tell(self, *, ends_spans: bool = True) -> None:
        """Do it all, in no span and no context of whoever happens to be here."""
        if not self.waiting or is_at_work():
            return
        before = contexts.current()
        contexts.attach(Context())
        ends: list[Callable[[], object]] = []
        try:
            while self.waiting:
                with suppress(IndexError):  # another thread was faster
                    note = self.waiting.popleft()
                    end = note()
                    if end is not None:
                        ends.append(end)
            if ends_spans:
                while ends:
                    ends.pop(0)()
        finally:
            self.waiting.extend(partial(_return, end) for end in ends)
            contexts.attach(before)
        if self._lost:
            lost, self._lost = self._lost, 0
            self._tell_lost(lost)

    def renew_locks(self) -> None:
        """In a forked child: its parent tells what it has noted."""
        self.waiting.clear()
        self._lost = 0


def _return(end: Callable[[], object]) -> Callable[[], object]:
    return end
