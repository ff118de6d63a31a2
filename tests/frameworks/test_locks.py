"""The locks of redis-py, whose key is the name that the application gave."""

from __future__ import annotations

import pytest
import redis
import redis.asyncio

from tests.frameworks.conftest import WHO, Told


@pytest.mark.parametrize(
    ("key", "name"), [(f"lock:{WHO}", "lock"), (f"orders:{WHO}:lock", "orders"), (WHO, "_default")]
)
def test_a_lock_is_named_after_the_first_part_of_its_key(told: Told, key: str, name: str) -> None:
    with redis.from_url(told.url) as client:
        lock = client.lock(key, timeout=9)
        with lock:
            assert told.on_server() == {key.replace(WHO, "<who>")}
            assert not client.lock(key, timeout=9).acquire(blocking=False)
            lock.extend(9)

    assert told.on_server() == set()
    assert told.names() == {name}
    assert set(told.writes()) == {name}


async def test_a_lock_of_an_asyncio_client_is_too(told: Told) -> None:
    async with redis.asyncio.from_url(told.url) as client, client.lock(f"lock:{WHO}", timeout=9):
        assert told.on_server() == {"lock:<who>"}

    assert told.names() == {"lock"}
    assert told.writes() == {"lock": 1}
