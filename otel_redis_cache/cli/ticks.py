"""How commands that go on for a while keep time, and hear that they shall end."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

YEAR = 365 * 86_400


class Amount(click.FloatRange):
    """A number above zero, such as of seconds; what is no number, or without an end, is refused."""

    def __init__(self, most: int = YEAR) -> None:
        """Take no more than `most`."""
        super().__init__(min=0, max=most, min_open=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number, which is one."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


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
