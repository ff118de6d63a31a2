"""fastapi-cache."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import redis.asyncio
from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache

from tests.frameworks.conftest import WHO, Told


@pytest.fixture
async def backend(told: Told) -> AsyncIterator[RedisBackend]:
    async with redis.asyncio.from_url(told.url) as client:
        yield RedisBackend(client)
        FastAPICache.reset()


def application() -> Any:
    made = FastAPI()

    @made.get("/users/{name}")
    @cache(expire=60)
    async def user(name: str) -> str:
        return name

    @made.get("/carts/{name}")
    @cache(expire=60, namespace="carts")
    async def cart(name: str) -> str:
        return name

    return httpx.AsyncClient(transport=httpx.ASGITransport(app=made), base_url="http://shop")


async def test_with_a_prefix_it_is_the_name(told: Told, backend: RedisBackend) -> None:
    FastAPICache.init(backend, prefix="fastapi-cache")
    async with application() as client:
        for path in (f"/users/{WHO}", f"/users/{WHO}", f"/carts/{WHO}"):
            assert (await client.get(path)).json() == WHO
    keys = told.on_server()
    await FastAPICache.clear(namespace="carts")

    assert keys == {"fastapi-cache::<hex>", "fastapi-cache:carts:<hex>"}
    assert told.lookups() == {("fastapi-cache", "miss"): 2, ("fastapi-cache", "hit"): 1}
    assert told.writes() == {"fastapi-cache": 2}


async def test_without_a_prefix_the_namespace_is_the_name(
    told: Told, backend: RedisBackend
) -> None:
    FastAPICache.init(backend)
    async with application() as client:
        for path in (f"/users/{WHO}", f"/carts/{WHO}", f"/carts/{WHO}"):
            assert (await client.get(path)).json() == WHO

    assert told.on_server() == {"::<hex>", ":carts:<hex>"}
    assert told.lookups() == {
        ("fastapi-cache", "miss"): 1,
        ("carts", "miss"): 1,
        ("carts", "hit"): 1,
    }
    assert told.writes() == {"fastapi-cache": 1, "carts": 1}
