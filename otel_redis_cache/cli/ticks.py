"""How commands that go on for a while keep time, and hear that they shall end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopped_by_signals() -> Generator[threading.Event]:
    """An event that Ctrl-C sets, and a polite kill; the second time they act as ever."""
    stopped = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        stopped.set()
        signal.signal(number, before[number])

    before = {
        int(number): signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tick(interval: float, seconds: float, stopped: threading.Event) -> Iterator[float]:
    """The seconds gone by, now and then, until the time is up or the event is set."""
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        yield elapsed
        if stopped.wait(min(interval, seconds - elapsed)):
            return
