"""One daemon thread that asks servers how they are, while the application goes on."""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import functools
import os
import selectors
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any

from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.metrics import MeterProvider
from typing_extensions import Self

from otel_redis_cache import conventions as names
from otel_redis_cache.caches import Caches, FirstNames
from otel_redis_cache.calls import open_scope, silence
from otel_redis_cache.forks import renew_after_fork
from otel_redis_cache.guard import harmless
from otel_redis_cache.recorder import Recorder
from otel_redis_cache.server import readings
from otel_redis_cache.server.answers import answers
from otel_redis_cache.server.readings import Points
from otel_redis_cache.server.rounds import Rounds
from otel_redis_cache.server.sources import Source
from otel_redis_cache.settings import SettingError, Settings

PERIOD = 15.0
"""Seconds between two questions."""

LASTING = 2 * PERIOD
"""Seconds for which an address is good that was found when nobody waited for it any more."""

CLOSING = 1.0
"""Seconds that closing may take."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop that shares nothing with a forked child, and lets a process end."""

    def __init__(self) -> None:
        """Wait with ``poll``: what a child does to an ``epoll`` happens to its parent too."""
        self._waiting = getattr(selectors, "PollSelector", selectors.SelectSelector)()
        super().__init__(self._waiting)
        self._process = os.getpid()
        self._lookups: dict[object, asyncio.Future[tuple[Any, float]]] = {}
        """What each that is slow has found, and when."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Say nothing in a child about what is left of its parent's tasks when it ends."""
        if os.getpid() == self._process:
            super().call_exception_handler(context)

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        """Look up a name in a thread of its own: those of asyncio's keep a process from ending.

        Who asks for a name that is slow gives up; who asks next has what was found meanwhile, unless
        that is nothing, or too old.
        """
        asked = (args, tuple(sorted(kwargs.items())))
        found = self._lookups.get(asked)
        if found is None or _is_of_no_use(found):
            found = self.create_future()
            look = functools.partial(self._look_up, found, *args, **kwargs)
            threading.Thread(target=look, name="otel_redis_cache.lookup", daemon=True).start()
            self._lookups[asked] = found
        told, _ = await asyncio.shield(found)
        if self._lookups.get(asked) is found:
            del self._lookups[asked]
        if isinstance(told, Exception):
            raise told
        return told

    def _look_up(self, found: asyncio.Future[tuple[Any, float]], *args: Any, **kwargs: Any) -> None:
        told: object
        try:
            told = socket.getaddrinfo(*args, **kwargs)
        except (OSError, UnicodeError) as error:
            told = error
        with suppress(RuntimeError):  # the watch has ended meanwhile
            self.call_soon_threadsafe(found.set_result, (told, time.monotonic()))

    def let_go(self) -> None:
        """In a forked child: leave every connection to the parent, and say nothing to a server.

        As long as somebody has a socket open, the server sees no end of it. To close it is left to
        the object that it belongs to: what has its number by then is something that may be closed.
        """
        transports = list(vars(self).get("_transports", {}).values())  # also those that rest
        sockets = [transport.get_extra_info("socket") for transport in transports]
        numbers = {found.fileno() for found in sockets if found is not None}
        numbers |= set(self._waiting.get_map() or ())
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            for number in numbers - {-1}:
                os.dup2(nothing, number, inheritable=False)
        finally:
            os.close(nothing)


def _is_of_no_use(found: asyncio.Future[tuple[Any, float]]) -> bool:
    """Whether a name that nobody waited for has to be looked up again."""
    if not found.done():
        return False
    told, when = found.result()
    return isinstance(told, Exception) or time.monotonic() > when + LASTING


class Running:
    """The thread of a watch, in one process."""

    def __init__(self, make: Callable[[], list[Rounds]], period: float, recorder: Recorder) -> None:
        """Start it; ``make`` is called there."""
        self.rounds: list[Rounds] = []
        self.recorder = recorder
        self._make = make
        self._period = period
        self._loop = Loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=self._live, name="otel_redis_cache.watch", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def stop(self) -> None:
        """Tell it to end."""
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)

    def wait(self, seconds: float) -> None:
        """Until it has ended, but not for longer."""
        self._thread.join(max(seconds, 0))

    def let_go(self) -> None:
        """In a forked child, where there is no such thread."""
        self._loop.let_go()

    @harmless("watch")
    def _live(self) -> None:
        # What is done here is no call of the application, whoever makes spans of those.
        open_scope.set(silence)
        try:
            with suppress_instrumentation():
                self._loop.run_until_complete(self._watch())
        finally:
            self._loop.close()

    async def _watch(self) -> None:
        try:
            self.rounds = self._make()
        except (SettingError, ImportError) as error:
            self.recorder.say_once("nothing is watched: %s", error)
        for rounds in self.rounds:
            rounds.begin(self._period)
        await self._stop.wait()
        await answers({rounds: rounds.leave() for rounds in self.rounds})


class NamesOfServer(FirstNames):
    """The names of caches that calls have, and as many again that only keys of a server have.

    They are names apart: those of other applications' keys must take no place of this one's.
    """

    def __init__(self, of_calls: FirstNames) -> None:
        """Start with none of its own."""
        super().__init__()
        self._of_calls = of_calls

    def admit(self, name: str, at_most: int) -> bool:
        """Whether this name is one of either."""
        return name in self._of_calls.names or super().admit(name, at_most)


class Watch:
    """A server that is watched until ``close()``.

    The thread starts with :meth:`start`, or when collections ask for the first time; in a forked
    child it is the latter, so that a child where nobody collects has none.
    """

    def __init__(
        self,
        sources: Callable[[], Iterable[Source]],
        settings: Settings,
        meter_provider: MeterProvider | None = None,
        *,
        period: float | None = None,
    ) -> None:
        """Nobody is asked yet; ``sources`` is called in the thread.

        ``period``: seconds between two questions, where somebody looks on and cannot wait.
        """
        self._sources = sources
        self._settings = settings
        self.recorder = Recorder(_without_groups(settings), None, meter_provider)
        known = NamesOfServer(self.recorder.tallies.automatic_names)
        self._caches = Caches(settings, known, overflowed=lambda: None)
        self._readings = readings.of(meter_provider)
        self._period = PERIOD if period is None else period
        self._running: Running | None = None
        self._is_closed = False
        self._before: list[Running] = []
        """Of parent processes; what is left of their tasks must not come to an end here."""
        self._lock = threading.RLock()
        renew_after_fork(self)
        self._readings.watches.append(self)
        _watches.add(self)

    def __enter__(self) -> Self:
        """Close it at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """Close it at the end of the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()

    @harmless("watch")
    def start(self) -> None:
        """Begin now, unless it has begun, or the process ends."""
        with self._lock:
            is_ending = not threading.main_thread().is_alive()
            if self._running is None and not self._is_closed and not is_ending:
                self._running = Running(self._rounds, self._period, self.recorder)

    def close(self) -> None:
        """Stop watching: no thread, no connection and no point is left. Takes a second at most."""
        if self in self._readings.watches:
            self._readings.watches.remove(self)
        self.stop()
        self.wait(CLOSING)

    async def aclose(self) -> None:
        """``close()`` in an asyncio program, which goes on meanwhile."""
        await asyncio.to_thread(self.close)

    def stop(self) -> None:
        """Let another process watch; what was learnt last stays true for as long as ever."""
        with self._lock:
            self._is_closed = True
        if self._running is not None:
            self._running.stop()

    def wait(self, seconds: float) -> None:
        """Until it has stopped, but not for longer."""
        if self._running is not None:
            self._running.wait(seconds)

    def read(self, metric: names.Metric) -> Points:
        """What is known now; collections ask for it."""
        if self._running is None:
            self.start()
        running = self._running
        if running is not None:
            for rounds in running.rounds:
                yield from rounds.read(metric)

    def renew_locks(self) -> None:
        """In a forked child, which has no such thread, and tries for the lease by itself."""
        self._lock = threading.RLock()
        if self._running is not None:
            self._before.append(self._running)
            # A fault cannot be counted here: locks of others may not be new yet.
            with suppress(Exception):
                self._running.let_go()
        self._running = None

    def _rounds(self) -> list[Rounds]:
        holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"
        every = (self._settings, self.recorder, self._readings, self._caches.name_of, holder)
        return [Rounds(source, *every) for source in self._sources()]


def _without_groups(settings: Settings) -> Settings:
    """A recorder that has nothing to record of calls."""
    return dataclasses.replace(settings, metrics=frozenset())


_watches: weakref.WeakSet[Watch] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """All at once: the end of a process takes no longer for many of them."""
    watches, until = list(_watches), time.monotonic() + CLOSING
    for watch in watches:
        watch.stop()
    for watch in watches:
        watch.wait(until - time.monotonic())
