"""One client of each library, synchronous or not, whose calls are made one after another."""

from __future__ import annotations

import asyncio
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.backoff
import redis.retry
import valkey
import valkey.asyncio
import valkey.asyncio.retry
import valkey.backoff
import valkey.retry
from typing_extensions import Self

from tests.integration.removing import CLIENTS
from tests.real.servers import RedisServer

RETRIES: dict[str, Any] = {
    "redis": redis.retry.Retry,
    "valkey": valkey.retry.Retry,
    "redis.asyncio": redis.asyncio.retry.Retry,
    "valkey.asyncio": valkey.asyncio.retry.Retry,
}
LIBRARIES: dict[str, Any] = {"redis": redis, "valkey": valkey}
PATIENCE = 0.2
"""Seconds after which a caller gives an attempt up."""


class Caller:
    """An application that makes one call after another, and remembers what became of each."""

    def __init__(self, library: str, server: RedisServer, retries: int = 0, **options: Any) -> None:
        self.library = library
        self.replies: list[Any] = []
        self.errors: list[Exception] = []
        self.loop = asyncio.new_event_loop() if "asyncio" in library else None
        module = LIBRARIES[library.partition(".")[0]]
        self.client = CLIENTS[library](
            **{
                "host": server.host,
                "port": server.port,
                "retry": RETRIES[library](module.backoff.ConstantBackoff(0.05), retries),
                "retry_on_error": [module.ConnectionError] if retries else None,
                "socket_timeout": PATIENCE,
                "socket_connect_timeout": PATIENCE,
                **options,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.loop is None:
            self.client.close()
        else:
            self.loop.run_until_complete(self.client.aclose())
            self.loop.close()

    def call(self, command: str, *args: Any, **options: Any) -> Any:
        """The reply, or the exception, of one call."""
        try:
            reply = getattr(self.client, command)(*args, **options)
            if self.loop is not None:
                reply = self.loop.run_until_complete(reply)
        except Exception as error:
            self.errors.append(error)
            return error
        self.replies.append(reply)
        return reply
