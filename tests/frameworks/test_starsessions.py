"""starsessions, which keeps the sessions of a Starlette application in Redis.

Starlette's own sessions are a signed cookie.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import redis.asyncio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.stores.redis import RedisStore

from tests.frameworks.conftest import Told


async def visit(request: Request) -> JSONResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse(request.session["visits"])


@pytest.mark.parametrize(
    ("options", "name"), [({}, "starsessions"), ({"prefix": "sessions:"}, "sessions")]
)
async def test_sessions_are_one_cache(told: Told, options: dict[str, Any], name: str) -> None:
    async with redis.asyncio.from_url(told.url) as connection:
        store = RedisStore(connection=connection, **options)
        application = Starlette(
            routes=[Route("/", visit)],
            middleware=[
                Middleware(SessionMiddleware, store=store, lifetime=60, cookie_https_only=False),
                Middleware(SessionAutoloadMiddleware),
            ],
        )
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            await client.get("/")
            told.secrets.add(client.cookies["session"])
            assert (await client.get("/")).json() == 2

    assert told.on_server() == {options.get("prefix", "starsessions.") + "<hex>"}
    assert told.lookups() == {(name, "hit"): 1}
    assert told.writes() == {name: 2}
    assert told.names() == {name}
