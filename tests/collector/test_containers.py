"""Servers in containers, the way many users of testcontainers have theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

if TYPE_CHECKING:
    # Only here: testcontainers reads its settings at import, and the fixtures make them first.
    from testcontainers.community.redis import RedisContainer
    from testcontainers.community.valkey import ValkeyContainer


def test_a_redis_container_answers(redis_container: RedisContainer) -> None:
    with redis_container.get_client() as client:
        assert client.ping()


def test_a_valkey_container_answers(valkey_container: ValkeyContainer) -> None:
    with redis.Redis(
        host=valkey_container.get_host(), port=valkey_container.get_exposed_port()
    ) as client:
        assert client.ping()
