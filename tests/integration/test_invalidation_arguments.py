"""What ``invalidate()`` takes: any pattern, the right client, and nothing by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from otel_redis_cache import invalidate, invalidate_async
from tests.integration.removing import CLIENTS, Way, fill
from tests.real.servers import RedisServer
from tests.recording import Recording


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    with redis.Redis(host=server.host, port=server.port) as client:
        yield client


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        (b"\xff\xfe:*", b"\xff\xfe:\x00\r\n"),
        ("ключ:*", "ключ:1".encode()),
        ("\udcff:*", b"\xff:1"),
        ("\ud800:*", "\ud800:1".encode("utf-8", "surrogatepass")),
        ("\udcff\ud800*", "\udcff\ud800:1".encode("utf-8", "surrogatepass")),
        (r"a\*b", b"a*b"),
        ("x" * 10_000 + "*", b"x" * 10_001),
        ("🦔*", "🦔".encode()),
        ("\x00*", b"\x00"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"decode_responses": True}], ids=["bytes", "decoded"])
def test_any_pattern_removes_exactly_the_keys_with_its_bytes(
    way: Way, client: Any, recording: Recording, pattern: Any, key: bytes, options: Any
) -> None:
    fill(client, other=3)
    client.set(key, "x")
    recording.instrument()
    done = way(pattern, options)

    assert (done.removed, done.outcome) == (1, "success")
    assert client.dbsize() == 3
    assert recording.points("otel_redis_cache.errors") == []
    recording.everything().encode()  # nothing that an exporter could not send


def test_a_lossy_client_does_not_turn_a_character_into_a_wildcard(way: Way, client: Any) -> None:
    fill(client, user=3)
    for errors in ("replace", "ignore"):
        assert way("\ud800*", {"encoding_errors": errors}).matched == 0
        assert way("user:\ud800", {"encoding_errors": errors}).matched == 0
    assert client.dbsize() == 3


def test_a_client_s_own_encoding_is_that_of_its_patterns(way: Way, client: Any) -> None:
    client.set("größe:1".encode("latin-1"), "x")

    assert way("größe:*", {"encoding": "latin-1"}).removed == 1


def test_neither_a_pattern_nor_a_key_leaves_the_process(
    way: Way, client: Any, recording: Recording
) -> None:
    client.mset({"alice@example.com:1": "x", "alice@example.com:2": "x"})
    recording.instrument()
    assert way("alice@example.com:*", trace_commands=True).removed == 2
    assert way("alice@example.com:*").matched == 0

    assert recording.counts("cache.invalidations") == {("_default", "delete"): 2}
    assert "alice" not in recording.everything()


@pytest.mark.parametrize("pattern", ["", b"", "*", b"**"])
def test_all_keys_are_only_removed_when_everything_is_said(
    way: Way, client: Any, pattern: Any
) -> None:
    fill(client, user=3, cart=2)
    with pytest.raises(ValueError, match="say everything=True"):
        way(pattern)
    assert client.dbsize() == 5
    assert way(pattern, everything=True).removed == 5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pattern": 7}, TypeError, "a pattern is str or bytes, not int"),
        ({"pattern": None}, TypeError, "a pattern is str or bytes, not NoneType"),
        ({"reason": ""}, ValueError, "reason must be text that is not empty, not ''"),
        ({"trigger": 7}, ValueError, "trigger must be text that is not empty, not int"),
        ({"batch_size": 0}, ValueError, "a whole number, 1 to 10000, not 0"),
        ({"batch_size": True}, ValueError, "a whole number, 1 to 10000, not True"),
        ({"batch_size": 10_001}, ValueError, "a whole number, 1 to 10000, not 10001"),
    ],
)
def test_a_wrong_argument_is_one_clear_error(
    way: Way, arguments: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        way(**{"pattern": "user:*", **arguments})


async def test_only_the_right_kind_of_client_is_taken(client: Any) -> None:
    right: Any
    wrong: Any
    for make in CLIENTS.values():
        one: Any = make()
        right, wrong = invalidate, invalidate_async
        if "asyncio" in make.__module__:
            right, wrong = wrong, right
        for either in (right, wrong):
            with pytest.raises(TypeError, match="not a pipeline"):
                await either(one.pipeline(), "user:*")
        with pytest.raises(TypeError, match=rf"use .*{right.__name__}\(\.\.\.\) for it"):
            await wrong(one, "user:*")
        with pytest.raises(TypeError, match="takes a client of redis-py or valkey-py, not"):
            await right(one.pubsub(), "user:*")
    for nobody in (None, "redis://localhost", object()):
        with pytest.raises(TypeError, match="takes a client of redis-py or valkey-py, not"):
            invalidate(nobody, "user:*")
