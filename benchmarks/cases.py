"""What is done in a round: one operation, again and again, on keys that are there."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any, NamedTuple

KEYS = tuple(f"user:{number}" for number in range(100))
VALUE = "x" * 100

Operation = Callable[[], Any]
"""One call and its reply; of an asyncio client something to await."""


def get(client: Any) -> Operation:
    upcoming = cycle(KEYS).__next__
    return lambda: client.get(upcoming())


def pipeline(client: Any) -> Operation:
    def operate() -> Any:
        pipe = client.pipeline(transaction=False)
        for key in KEYS:
            pipe.get(key)
        return pipe.execute()

    return operate


def mget(client: Any) -> Operation:
    return lambda: client.mget(KEYS)


class Case(NamedTuple):
    """One way to use a client."""

    label: str
    make: Callable[[Any], Operation]
    keys: int
    """Asked for in one operation."""
    share: float
    """Of the operations in a round: long ones are done less often."""
    is_async: bool = False
    threads: int = 1


CASES = {
    "get": Case("GET", get, 1, 1),
    "asyncio-get": Case("GET, asyncio", get, 1, 1, is_async=True),
    "threads-get": Case("GET, 8 threads", get, 1, 1, threads=8),
    "pipeline": Case("pipeline of 100 GET", pipeline, 100, 0.04),
    "asyncio-pipeline": Case("pipeline of 100 GET, asyncio", pipeline, 100, 0.04, is_async=True),
    "mget": Case("MGET of 100", mget, 100, 0.2),
    "asyncio-mget": Case("MGET of 100, asyncio", mget, 100, 0.2, is_async=True),
}
