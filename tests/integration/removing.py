"""The ways in which tests invalidate: by each library, synchronous and not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
import valkey
import valkey.asyncio

from otel_redis_cache import Invalidation, invalidate, invalidate_async
from tests.real.servers import RedisServer

Way = Callable[..., Invalidation]
CLIENTS: dict[str, Any] = {
    "redis": redis.Redis,
    "valkey": valkey.Valkey,
    "redis.asyncio": redis.asyncio.Redis,
    "valkey.asyncio": valkey.asyncio.Valkey,
}


def fill(client: Any, **counts: int) -> None:
    client.mset({f"{name}:{i}": "x" for name, count in counts.items() for i in range(count)})


def way_of(name: str, server: RedisServer) -> Way:
    """Invalidates by a client of its own."""
    make = CLIENTS[name]
    target = {"host": server.host, "port": server.port}

    def remove(pattern: Any, client_options: Any = None, **options: Any) -> Invalidation:
        if "asyncio" not in name:
            with make(**target, **(client_options or {})) as client:
                return invalidate(client, pattern, **options)

        async def run() -> Invalidation:
            client = make(**target, **(client_options or {}))
            try:
                return await invalidate_async(client, pattern, **options)
            finally:
                await client.aclose()

        return asyncio.run(run())

    return remove
