"""The clients that tests of messages use: of both libraries, synchronous and not, driven alike."""

from __future__ import annotations

import inspect
import time
from typing import Any

from tests.integration.removing import CLIENTS
from tests.real.servers import RedisServer

__all__ = ["CLIENTS", "closed", "connect", "done", "messages_of"]


def connect(name: str, server: RedisServer, **options: Any) -> Any:
    return CLIENTS[name](host=server.host, port=server.port, **options)


async def done(result: Any) -> Any:
    """What a client returned, once it is there."""
    return await result if inspect.isawaitable(result) else result


async def closed(thing: Any) -> None:
    await done(thing.aclose() if hasattr(thing, "aclose") else thing.close())


async def messages_of(pubsub: Any, count: int) -> list[Any]:
    """The next messages and confirmations, waited for."""
    found: list[Any] = []
    deadline = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < deadline, found
        message = await done(pubsub.get_message(timeout=0.05))
        found += [] if message is None else [message]
    return found
