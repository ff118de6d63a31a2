"""What has arrived and waits to be read: bounded, and read by one thread."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from otel_redis_cache.cli.protocol import METRICS, SPANS, Export

CAPACITY = 16 * 1024 * 1024
"""Bytes, as they came, that may wait, of spans and of metrics: each has room of its own."""
OVERHEAD = 1_000
"""Bytes that a message costs beside its own."""


@dataclass(frozen=True)
class Arrival:
    """A message, and when it came: seconds since the epoch, by this machine's clock."""

    time: float
    export: Export

    @property
    def size(self) -> int:
        """Bytes that it needs in an inbox."""
        return len(self.export.body) + OVERHEAD


class Inbox:
    """Takes messages as they come, and hands them on, one after the other."""

    def __init__(self, read: Callable[[Arrival], None], capacity: int = CAPACITY) -> None:
        """Hand messages to `read`."""
        self.deepest = 0
        """The most bytes that have waited at once."""
        self._read = read
        self._capacity = capacity
        self._waiting = {METRICS: deque[Arrival](), SPANS: deque[Arrival]()}
        self._sizes = Counter[str]()
        self._changed = threading.Condition()
        self._is_closed = False
        self._reading: Future[None] | None = None

    @property
    def depth(self) -> int:
        """Bytes that wait."""
        return self._sizes.total()

    def offer(self, arrival: Arrival) -> bool:
        """Whether there was room for a message; a big one has room where nothing else waits."""
        service = arrival.export.service
        with self._changed:
            size = self._sizes[service]
            if size and size + arrival.size > self._capacity:
                return False
            self._sizes[service] = size + arrival.size
            self.deepest = max(self.deepest, self.depth)
            self._waiting[service].append(arrival)
            self._changed.notify()
        return True

    @contextmanager
    def reading(self) -> Generator[None]:
        """A thread reads; at the end what still waits is read."""
        with ThreadPoolExecutor(1, thread_name_prefix="inbox") as executor:
            self._reading = executor.submit(self._read_all)
            try:
                yield
            finally:
                with self._changed:
                    self._is_closed = True
                    self._changed.notify()
        self.check()

    def check(self) -> None:
        """Raise what has ended the reading, if it has ended early."""
        if self._reading and self._reading.done():
            self._reading.result()

    def _read_all(self) -> None:
        while arrival := self._take():
            self._read(arrival)

    def _take(self) -> Arrival | None:
        """The next message: metrics first, as figures that lack one are wrong; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or any(self._waiting.values()))
            for service, waiting in self._waiting.items():
                if waiting:
                    arrival = waiting.popleft()
                    self._sizes[service] -= arrival.size
                    return arrival
        return None
