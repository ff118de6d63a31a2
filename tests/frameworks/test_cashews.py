"""cashews: its decorators, tags, transactions, and client-side caching."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from cashews import Cache

from tests.frameworks.conftest import WHO, Told

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")


@pytest.fixture
async def cache(told: Told) -> AsyncIterator[Cache]:
    cache = Cache()
    cache.setup(told.url)
    yield cache
    await cache.close()


async def get_user(name: str) -> str:
    return name


async def test_without_a_template_the_module_is_the_name(told: Told, cache: Cache) -> None:
    cached = cache(ttl="1m")(get_user)
    for _ in range(2):
        await cached(f"{WHO}:1")

    assert told.on_server() == {f"{__name__}:get_user:name:<who>:1"}
    assert told.lookups() == {(__name__, "miss"): 1, (__name__, "hit"): 1}
    assert told.writes() == {__name__: 1}


@pytest.mark.parametrize(
    ("decorator", "options", "name", "key"),
    [
        ("cache", {}, "user", "user:<who>"),
        ("cache", {"prefix": "v1"}, "v1", "v1:user:<who>"),
        ("early", {"early_ttl": "30s"}, "early", "early:v2:user:<who>"),
        ("soft", {"soft_ttl": "30s"}, "soft", "soft:user:<who>"),
        ("hit", {"cache_hits": 9}, "hit", "hit:user:<who>"),
        ("failover", {}, "fail", "fail:user:<who>"),
    ],
)
async def test_with_a_template_its_first_part_is_the_name_or_how_it_is_cached(
    told: Told, cache: Cache, decorator: str, options: dict[str, Any], name: str, key: str
) -> None:
    decorate = getattr(cache, decorator)
    await decorate(ttl="1m", key="user:{name}", **options)(get_user)(WHO)

    assert key in told.on_server()
    assert told.writes() == {name: 1}
    assert told.names() == {name}


async def test_locks_and_limits_have_names_of_their_own(told: Told, cache: Cache) -> None:
    await cache.locked(ttl="1m", key="user:{name}")(get_user)(WHO)
    await cache.rate_limit(limit=9, period="1m", key="user:{name}")(get_user)(WHO)

    assert told.on_server() == {"rate_limit:user:<who>"}
    assert told.writes() == {"locked": 1}
    assert told.names() == {"locked", "rate_limit"}


async def test_tags_are_a_cache(told: Told, cache: Cache) -> None:
    await cache(ttl="1m", key="user:{name}", tags=["users:{name}"])(get_user)(WHO)
    keys = told.on_server()
    await cache.delete_tags(f"users:{WHO}")

    assert keys == {"user:<who>", "_tag:users:<who>"}
    assert told.on_server() == set()
    assert told.names() == {"user", "tag"}


async def test_the_locks_of_a_transaction_are_a_cache(told: Told, cache: Cache) -> None:
    async with cache.transaction():
        await cache.set(f"user:{WHO}", 1)
        assert told.on_server() == {":tx_lock:user:<who>"}

    assert told.on_server() == {"user:<who>"}
    assert told.writes() == {"tx_lock": 1, "user": 1}
    assert told.names() == {"tx_lock", "user"}


async def test_with_client_side_caching_the_prefix_is_not_the_name(told: Told) -> None:
    cache = Cache()
    cache.setup(told.url, client_side=True)
    await cache.set(f"user:{WHO}", 1)
    await cache.set(WHO, 1)
    keys = told.on_server()
    await cache.delete(f"user:{WHO}")
    await cache.close()

    assert keys == {"cashews:user:<who>", "cashews:<who>"}
    assert told.writes() == {"user": 1, "cashews": 1}
    assert told.removals() == {"user": 1}
