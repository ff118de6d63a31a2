"""aiocache: its decorators, its locks, and a cache used by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiocache
import pytest
from aiocache.lock import RedLock

from tests.frameworks.conftest import WHO, Told
from tests.real.servers import RedisServer

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")

FUNCTION = f"{__name__}get_user"


@pytest.fixture(autouse=True)
async def configured(server: RedisServer) -> AsyncIterator[None]:
    where = {"endpoint": server.host, "port": server.port}
    where["cache"] = "aiocache.RedisCache"
    aiocache.caches.set_config({"default": where, "named": {**where, "namespace": "main"}})
    yield
    for alias in ("default", "named"):
        await cache_of(alias).close()


def cache_of(alias: str) -> Any:
    return aiocache.caches.get(alias)


async def get_user(name: Any, *, tenant: str = "") -> Any:
    return name


@pytest.mark.parametrize("name", [WHO, f"{WHO}:1", f"({WHO})[{WHO}", {WHO: [WHO]}])
async def test_a_decorated_function_is_the_cache(told: Told, name: Any) -> None:
    cached = aiocache.cached(alias="default")(get_user)
    for _ in range(2):
        await cached(name, tenant=WHO)
    await cached(name)

    shown = repr(name).replace(WHO, "<who>")
    assert told.on_server() == {
        f"{FUNCTION}({shown},)[('tenant', '<who>')]",
        f"{FUNCTION}({shown},)[]",
    }
    assert told.lookups() == {(FUNCTION, "miss"): 2, (FUNCTION, "hit"): 1}
    assert told.writes() == {FUNCTION: 2}


async def test_a_key_too_long_to_be_told_from_others_is_in_the_default_cache(told: Told) -> None:
    await aiocache.cached(alias="default")(get_user)(WHO * 99)

    assert told.lookups() == {("_default", "miss"): 1}


async def test_the_lock_against_stampedes_is_in_the_cache_of_its_function(told: Told) -> None:
    await aiocache.cached_stampede(alias="default", lease=2)(get_user)(WHO)

    assert told.lookups() == {(FUNCTION, "miss"): 2}
    assert told.writes() == {FUNCTION: 2}
    assert told.names() == {FUNCTION}


async def test_a_namespace_is_the_name(told: Told) -> None:
    cache = cache_of("named")
    await aiocache.cached(alias="named")(get_user)(WHO)
    await cache.set(WHO, 1)
    async with RedLock(cache, WHO, 2):
        keys = told.on_server()

    assert keys == {f"main:{FUNCTION}('<who>',)[]", "main:<who>", "main:<who>-lock"}
    assert told.lookups() == {("main", "miss"): 1}
    assert told.names() == {"main"}


async def test_a_key_of_ones_own_is_named_after_its_first_part(told: Told) -> None:
    builder = aiocache.cached(alias="default", key_builder=lambda _, name: f"user:{name}")
    await builder(get_user)(WHO)
    await aiocache.cached(alias="default", key=WHO)(get_user)(WHO)

    assert told.on_server() == {"user:<who>", "<who>"}
    assert told.lookups() == {("user", "miss"): 1, ("_default", "miss"): 1}


async def test_the_elements_of_a_multi_cached_call_have_no_name(told: Told) -> None:
    @aiocache.multi_cached("names", alias="default")
    async def get_users(names: list[str]) -> dict[str, str]:
        return {name: name for name in names}

    await get_users(names=[f"{WHO}1", f"{WHO}2"])

    assert told.on_server() == {"<who>1", "<who>2"}
    assert told.lookups() == {("_default", "miss"): 2}
    assert told.writes() == {"_default": 2}
