"""Names that a watch looks up: what is found too late is there for who asks soon, and not later."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from otel_redis_cache.server import watch
from otel_redis_cache.server.watch import Loop


class Names:
    """A resolver that answers when it is told to; what it says is numbered."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.may_answer = threading.Event()

    def look_up(self, *_: Any) -> str:
        self.asked += 1
        number = self.asked
        assert self.may_answer.wait(10)
        if self.fails:
            raise socket.gaierror(number)
        return f"answer {number}"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.look_up)
    return made


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


async def ask(seconds: float = 10) -> Any:
    looked_up = asyncio.get_running_loop().getaddrinfo("slow.test", 6379)
    return await asyncio.wait_for(looked_up, seconds)


async def give_up(names: Names) -> None:
    """Ask for a name whose look-up ends when nobody waits for it any more."""
    with contextlib.suppress(asyncio.TimeoutError):
        await ask(0.05)
    assert names.asked == 1
    names.may_answer.set()
    deadline = time.monotonic() + 10
    while any(thread.name == "otel_redis_cache.lookup" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)  # the loop is told


def test_what_was_found_late_is_for_who_asks_soon(loop: Loop, slow: Names) -> None:
    async def story() -> None:
        await give_up(slow)
        assert await ask() == "answer 1"
        assert await ask() == "answer 2"

    loop.run_until_complete(story())


def test_what_was_found_long_ago_is_looked_up_again(
    loop: Loop, slow: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LASTING", 0.1)

    async def story() -> None:
        await give_up(slow)
        await asyncio.sleep(0.2)
        assert await ask() == "answer 2"

    loop.run_until_complete(story())


def test_a_name_that_was_not_found_when_nobody_waited_is_looked_up_again(
    loop: Loop, slow: Names
) -> None:
    async def story() -> None:
        slow.fails = True
        await give_up(slow)
        slow.fails = False
        assert await ask() == "answer 2"

    loop.run_until_complete(story())


def test_a_name_that_is_not_found_is_said_to_all_who_wait(loop: Loop, slow: Names) -> None:
    async def story() -> None:
        slow.fails = True
        waiting = [asyncio.ensure_future(ask()) for _ in range(2)]
        await asyncio.sleep(0.01)
        slow.may_answer.set()
        said = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in said] == [socket.gaierror] * 2
        assert slow.asked == 1

    loop.run_until_complete(story())
