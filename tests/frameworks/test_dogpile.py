"""dogpile.cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dogpile.cache import make_region
from dogpile.cache.util import sha1_mangle_key

from tests.frameworks.conftest import WHO, Told

Regions = Callable[..., Any]


@pytest.fixture
def region(told: Told) -> Iterator[Regions]:
    made: list[Any] = []

    def make(*, key_mangler: Any = None, **arguments: Any) -> Any:
        region = make_region(key_mangler=key_mangler).configure(
            "dogpile.cache.redis", arguments={"url": told.url, **arguments}
        )
        made.append(region)
        return region

    yield make
    for region in made:
        region.backend.writer_client.close()


def get_user(name: str) -> str:
    return name


def test_the_module_of_a_decorated_function_is_the_name(told: Told, region: Regions) -> None:
    cached = region().cache_on_arguments()(get_user)
    for _ in range(2):
        assert cached(f"{WHO}:1") == f"{WHO}:1"
    keys = told.on_server()
    cached.invalidate(f"{WHO}:1")

    assert keys == {f"{__name__}:get_user|<who>:1"}
    assert told.lookups() == {(__name__, "miss"): 2, (__name__, "hit"): 1}
    assert told.writes() == {__name__: 1}
    assert told.removals() == {__name__: 1}


def test_mutexes_are_a_cache_of_their_own(told: Told, region: Regions) -> None:
    keys: set[str] = set()

    def get_user(name: str) -> str:
        keys.update(told.on_server())
        return name

    options = {"distributed_lock": True, "thread_local_lock": False, "lock_timeout": 9}
    region(**options).cache_on_arguments()(get_user)(WHO)

    assert keys == {f"_lock{__name__}:get_user|<who>"}
    assert told.writes() == {"lock": 1, __name__: 1}
    assert told.names() == {"lock", __name__}


def test_a_key_of_ones_own_is_named_after_its_first_part(told: Told, region: Regions) -> None:
    users = region()
    users.set(f"user:{WHO}", 1)
    users.get(f"user:{WHO}")
    users.get_multi([f"user:{WHO}", WHO])

    assert told.lookups() == {("user", "hit"): 2, ("_default", "miss"): 1}


def test_hashes_of_keys_have_no_name(told: Told, region: Regions) -> None:
    region(key_mangler=sha1_mangle_key).set(f"user:{WHO}", 1)

    assert told.on_server() == {"<hex>"}
    assert told.writes() == {"_default": 1}
