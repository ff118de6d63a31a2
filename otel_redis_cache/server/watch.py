"""One daemon thread that asks servers how they are, while the application goes on."""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import os
import selectors
import socket
import threading
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

CLOSING = 1.0
"""Seconds that closing may take."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop that shares nothing with a forked child, and has no threads."""

    def __init__(self) -> None:
        """Wait with ``poll``: what a child does to an ``epoll`` happens to its parent too."""
        super().__init__(getattr(selectors, "PollSelector", selectors.SelectSelector)())
        self._process = os.getpid()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Say nothing in a child about what is left of its parent's tasks when it ends."""
        if os.getpid() == self._process:
            super().call_exception_handler(context)

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        """Look up a name here: threads of asyncio's keep a process from ending."""
        return socket.getaddrinfo(*args, **kwargs)


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

    def end(self) -> None:
        """Stop it, and wait for that, but not for long."""
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CLOSING)

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
    ) -> None:
        """Nobody is asked yet; ``sources`` is called in the thread."""
        self._sources = sources
        self._settings = settings
        self.recorder = Recorder(_without_groups(settings), None, meter_provider)
        known = NamesOfServer(self.recorder.tallies.automatic_names)
        self._caches = Caches(settings, known, overflowed=lambda: None)
        self._readings = readings.of(meter_provider)
        self._period = PERIOD
        self._running: Running | None = None
        self._is_closed = False
        self._before: list[Running | None] = []
        """Of parent processes; what they have open must not be closed here."""
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

    def stop(self) -> None:
        """Let another process watch; what was learnt last stays true for as long as ever."""
        with self._lock:
            self._is_closed = True
        if self._running is not None:
            self._running.end()

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
        self._before.append(self._running)
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
    for watch in list(_watches):
        watch.stop()
