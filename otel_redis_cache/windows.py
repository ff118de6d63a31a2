"""What was removed in the last hour and the last day, to the second."""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from otel_redis_cache.forks import renew_after_fork

HOUR, DAY = 3_600, 86_400

MAX_ROWS = DAY
"""One row for each second of a day that removed something: about 2 MiB at most."""


class Removals(NamedTuple):
    """What was asked to be removed, and what was."""

    requests: int = 0
    entries: int = 0


class Windows:
    """Removals over the seconds that have just passed.

    One row for each second that had a removal, with the counts up to and including it. A window is
    then one subtraction, found by bisection. The first row is what was before all others.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` tells seconds, and never goes back."""
        self.clock = clock
        self.renew_locks()
        renew_after_fork(self)

    def renew_locks(self) -> None:
        """Begin anew, as a forked child does."""
        self._lock = threading.RLock()
        self._seconds = array("q", [-(1 << 62)])
        self._requests = array("q", [0])
        self._entries = array("q", [0])

    def add(self, requests: int, entries: int) -> None:
        """Count what one call asked to remove, and removed."""
        with self._lock:
            second = int(self.clock())
            if second > self._seconds[-1]:
                self._forget(second - DAY)
                self._seconds.append(second)
                self._requests.append(self._requests[-1])
                self._entries.append(self._entries[-1])
            self._requests[-1] += requests
            self._entries[-1] += entries

    def last(self, seconds: int) -> Removals:
        """What was removed in this second and those before it, so many in all; at most a day."""
        with self._lock:
            before = bisect_right(self._seconds, int(self.clock()) - seconds) - 1
            return Removals(
                self._requests[-1] - self._requests[before],
                self._entries[-1] - self._entries[before],
            )

    def _forget(self, until: int) -> None:
        """Drop what no window reaches any more, once it is half of the rows."""
        rows = len(self._seconds)
        if rows < MAX_ROWS and self._seconds[rows // 2] > until:
            return
        # The last of them stays, as what was before all others.
        old = bisect_right(self._seconds, until) - 1
        for column in (self._seconds, self._requests, self._entries):
            del column[:old]
