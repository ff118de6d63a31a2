"""When a server could not be reached, as the calls of this process saw it.

An outage begins when a call fails on the network, dated to its start, or with the third time-out in
a row, dated to the start of the first; it does not begin where a call that was started later had an
answer already. It ends with the answer to an attempt that was made after that failure: one that was in
flight may have had its answer before. Answers are all that tell: an error reply is one, but for those
that a server gives to whatever it is asked.

Of a cluster some nodes answer while another one does not: its outage ends with the first answer after
the last failure, which is known when a second has passed without one more.

A call that waits for data may have waited for hours when its connection breaks: it dates an outage
to its end, and what it was answered dates the recovery to its start.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from otel_redis_cache.conventions import MAX_SERIES
from otel_redis_cache.facts import OTHER_TARGETS, Contact, Target
from otel_redis_cache.forks import renew_after_fork

TIMEOUTS = 3
"""Time-outs in a row that make an outage."""

CALM = 10**9
"""Nanoseconds without a failure that end an outage of a cluster, whose other nodes answer meanwhile."""

HISTORY = 50
"""Outages that are remembered after their end."""

IN_USE = 600
"""Seconds after its last call in which a server is in use."""


@dataclass(frozen=True)
class Outage:
    """One time in which a server did not answer."""

    target: Target
    error_type: str
    began: int
    """Nanoseconds of the clock that calls are timed with."""
    began_unix: int
    """Nanoseconds of unix time, to be shown."""
    ended: int | None = None

    def seconds(self, now: int = 0) -> float:
        """How long it lasted, or has lasted until now where it goes on."""
        return max((now if self.ended is None else self.ended) - self.began, 0) / 1e9

    @property
    def began_at(self) -> str:
        """ISO 8601, UTC."""
        return utc(self.began_unix / 1e9)

    @property
    def ended_at(self) -> str | None:
        """ISO 8601, UTC; None while it goes on."""
        return None if self.ended is None else utc(self.began_unix / 1e9 + self.seconds())


class Server:
    """What the calls to one target have seen of it."""

    __slots__ = (
        "answered",
        "failed",
        "first_timeout",
        "is_well",
        "noticed",
        "outage",
        "over",
        "recovered",
        "shown_as",
        "target",
        "timeouts",
        "used",
    )

    def __init__(self, target: Target, shown_as: Target) -> None:
        """Nothing is known to be wrong. ``shown_as``: the target, or one for too many of them."""
        self.target = target
        self.shown_as = shown_as
        self.used = 0
        """When the latest call ended."""
        self.answered = 0
        """When the latest call was started that had an answer."""
        self.timeouts = 0
        """Time-outs since the last answer."""
        self.first_timeout: tuple[int, int] = (0, 0)
        """When the first of them was started; in unix time too."""
        self.outage: Outage | None = None
        self.noticed = 0
        """When the call ended whose failure began the outage."""
        self.failed = 0
        """When the latest call of the outage ended that failed."""
        self.recovered = 0
        """When there was an answer again after that; 0 where there was none yet."""
        self.over = 0
        """When the last outage had ended."""
        self.is_well = True
        """No outage, and no time-out since the last answer: there is nothing to follow."""

    def is_in_use(self, now: int) -> bool:
        """Whether there was a call within the last ten minutes."""
        return now - self.used <= IN_USE * 10**9

    def well_since(self, one_of_many: bool) -> int:  # noqa: FBT001
        """What failed that was started before says nothing new: there was an answer since.

        Of several nodes, another one may have given that answer.
        """
        return self.over if one_of_many else self.answered

    def is_out(self, now: int) -> bool:
        """Whether an outage goes on: not one that only waits for a call to end it."""
        return self.outage is not None and not (self.recovered and now - self.failed >= CALM)


class Outages:
    """The servers that this process uses, and when they could not be reached."""

    def __init__(self, overflowed: Callable[[], None] = lambda: None) -> None:
        """``overflowed`` is called for each server that shares its series with others."""
        self._overflowed = overflowed
        self.renew_locks()
        renew_after_fork(self)

    def renew_locks(self) -> None:
        """Begin anew, as a forked child does."""
        self._lock = threading.RLock()
        self._history: deque[Outage] = deque(maxlen=HISTORY)
        self.servers: dict[Target, Server] = {}
        """Every server used. The answer of one that is well changes nothing but when it answered and
        was used, which the caller sets itself: that is what nearly all calls cost."""
        self._shown: set[Target] = set()
        """Those that have a series of their own."""

    def follow(
        self,
        target: Target,
        contact: Contact,
        error_type: str,
        *,
        started: int,
        attempted: int,
        started_unix: int,
        ended: int,
        waited: bool = False,
        one_of_many: bool = False,
    ) -> Outage | None:
        """Take what became of one call, and when its first and its last attempt were made.

        ``waited``: the call asked the server to wait for data. ``one_of_many``: the target is
        several nodes, of which it went to one. Returns the outage that it ended.
        """
        with self._lock:
            server = self._server_of(target)
            server.used = max(server.used, ended)
            over = None
            if contact is Contact.ANSWERED:
                server.answered = max(server.answered, attempted)
                server.timeouts = 0
                if server.outage is not None and attempted > server.noticed:
                    server.recovered = server.recovered or (attempted if waited else ended)
                    if not one_of_many or ended - server.failed >= CALM:
                        over = self._close(server)
            elif contact is not Contact.UNKNOWN and started > server.well_since(one_of_many):
                began = (started, started_unix)
                if contact is Contact.TIMED_OUT:
                    began = min(server.first_timeout, began) if server.timeouts else began
                    server.first_timeout = began
                    server.timeouts += 1
                elif waited:
                    began = (ended, started_unix + ended - started)
                is_out = contact is Contact.UNREACHED or server.timeouts >= TIMEOUTS
                if is_out and not server.is_out(started):
                    over = self._close(server)
                if server.outage is None and is_out:
                    server.outage = Outage(target, error_type, *began)
                    server.noticed = ended
                server.failed, server.recovered = ended, 0
            server.is_well = server.outage is None and not server.timeouts
            return over

    def _close(self, server: Server) -> Outage | None:
        """The outage that a server has recovered from, if there is one that nobody has ended yet."""
        if server.outage is None:
            return None
        over = replace(server.outage, ended=server.recovered)
        self._history.append(over)
        server.outage = None
        server.over = server.recovered
        return over

    def in_use(self, now: int) -> list[Server]:
        """A copy of the servers in use, which no call can change."""
        with self._lock:
            return [copy.copy(server) for server in self.servers.values() if server.is_in_use(now)]

    def all(self) -> list[Outage]:
        """The last outages that have ended, and those that go on."""
        now = time.perf_counter_ns()
        with self._lock:
            going_on = [
                server.outage
                if server.is_out(now)
                else replace(server.outage, ended=server.recovered)
                for server in self.servers.values()
                if server.outage is not None
            ]
            return [*self._history, *going_on]

    def _server_of(self, target: Target) -> Server:
        found = self.servers.get(target)
        if found is None:
            if len(self.servers) >= MAX_SERIES:
                del self.servers[next(iter(self.servers))]  # comes back with its next call
            found = self.servers[target] = Server(target, self._shown_as(target))
        return found

    def _shown_as(self, target: Target) -> Target:
        if len(self._shown) < MAX_SERIES - 100:
            self._shown.add(target)
        if target in self._shown:
            return target
        self._overflowed()
        return OTHER_TARGETS[target.system]


def servers_of(trackers: Iterable[Outages], now: int) -> list[Server]:
    """Every server in use once, as the latest call to it saw it."""
    found: dict[Target, Server] = {}
    for tracker in trackers:
        for server in tracker.in_use(now):
            known = found.get(server.target)
            if known is None or known.used <= server.used:
                found[server.target] = server
    return list(found.values())


def last_of(trackers: Iterable[Outages]) -> list[Outage]:
    """The last outages, the oldest first."""
    found = [outage for tracker in trackers for outage in tracker.all()]
    return sorted(found, key=lambda outage: outage.began_unix)[-HISTORY:]


def utc(unix: float) -> str:
    """A moment, in seconds of unix time, as ISO 8601."""
    return datetime.fromtimestamp(unix, timezone.utc).isoformat()
