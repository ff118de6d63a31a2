"""What `cache.item.size` measures, held against what the server says of the same values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of

TEXT = "größe 漢字 🙂"


@pytest.fixture(params=[False, True], ids=["bytes", "text"])
def client(request: pytest.FixtureRequest, server: RedisServer) -> Iterator[Any]:
    with redis.Redis(host=server.host, port=server.port, decode_responses=request.param) as client:
        yield client


def sizes(recording: Recording) -> dict[tuple[str, str], tuple[int, int]]:
    """Of each cache and direction, how many values were measured, and their bytes."""
    metric = recording.metrics().get("cache.item.size")
    points = metric.data.data_points if metric is not None else ()
    return {
        (p.attributes["cache.name"], p.attributes["cache.io.direction"]): (p.count, p.sum)
        for p in points
    }


@pytest.mark.parametrize(
    "value", ["", "x" * 99, b"\x00\xff" * 7, 0, -12, 10**20, 1.5, 1e-9, TEXT], ids=repr
)
def test_a_value_is_as_large_as_the_server_says(
    server: RedisServer, recording: Recording, value: Any
) -> None:
    with redis.Redis(host=server.host, port=server.port) as client:
        recording.instrument(metrics="default,size")
        client.set("user:1", value)
        client.get("user:1")
    held = server.call("STRLEN", "user:1")

    assert sizes(recording) == {("user", "write"): (1, held), ("user", "read"): (1, held)}
    assert [attributes_of(span)["cache.item.size"] for span in recording.spans()] == [held, held]


def test_decoded_text_has_the_size_that_it_has_on_the_server(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    recording.instrument(metrics="default,size")
    client.set("user:1", TEXT)
    client.get("user:1")

    held = server.call("STRLEN", "user:1")
    assert sizes(recording) == {("user", "write"): (1, held), ("user", "read"): (1, held)}


MEASURED: dict[str, tuple[Any, str, int, int]] = {
    "GET": (lambda c: c.get("user:1"), "read", 1, 5),
    "GETEX": (lambda c: c.getex("user:1", ex=5), "read", 1, 5),
    "GETDEL": (lambda c: c.getdel("user:1"), "read", 1, 5),
    "MGET": (lambda c: c.mget("user:1", "user:none", "user:1"), "read", 2, 10),
    "MGET of one": (lambda c: c.mget("user:1"), "read", 1, 5),
    "HGET": (lambda c: c.hget("user:2", "name"), "read", 1, 3),
    "HMGET": (lambda c: c.hmget("user:2", "name", "mail", "none"), "read", 2, 7),
    "a pipeline": (
        lambda c: c.pipeline(transaction=False).get("user:1").hget("user:2", "name").execute(),
        *("read", 2, 8),
    ),
    "a transaction": (lambda c: c.pipeline().get("user:1").execute(), "read", 1, 5),
    "SET": (lambda c: c.set("user:3", "1234567"), "write", 1, 7),
    "SETEX": (lambda c: c.execute_command("SETEX", "user:3", 9, "1234567"), "write", 1, 7),
    "SETNX": (lambda c: c.execute_command("SETNX", "user:3", "1234567"), "write", 1, 7),
    "MSET": (lambda c: c.mset({"user:3": "1234567", "user:4": "12"}), "write", 2, 9),
    "MSETNX": (lambda c: c.msetnx({"user:3": "1234567", "user:4": "12"}), "write", 2, 9),
    "HSET": (lambda c: c.hset("user:3", mapping={"a": "1", "b": "22"}), "write", 2, 3),
    "HSETNX": (lambda c: c.hsetnx("user:3", "a", "333"), "write", 1, 3),
}


@pytest.mark.parametrize(("call", "direction", "count", "total"), MEASURED.values(), ids=MEASURED)
def test_each_value_is_measured_once(
    client: Any, recording: Recording, call: Any, direction: str, count: int, total: int
) -> None:
    client.set("user:1", "12345")
    client.hset("user:2", mapping={"name": "abc", "mail": "defg"})
    recording.instrument(metrics="default,size")
    call(client)
    shown = attributes_of(recording.span()).get("cache.item.size")

    assert sizes(recording) == {("user", direction): (count, total)}
    assert shown == (total if count == 1 else None)


NOT_MEASURED: dict[str, Any] = {
    "a miss": lambda c: c.get("user:none"),
    "a hash, which the client parses": lambda c: c.hgetall("user:2"),
    "a refused write": lambda c: c.set("user:1", "x", nx=True),
    "a part of a value": lambda c: c.append("user:1", "x"),
    "a number that is counted up": lambda c: c.incr("user:n"),
    "a fact about a value": lambda c: c.strlen("user:1"),
    "a dump": lambda c: c.execute_command("DUMP", "user:n", NEVER_DECODE=True),
    "text beyond ASCII that is long": lambda c: c.set("user:3", "ü" * 70_000),
    "a key that is no cache": lambda c: c.set("locks:1", "x"),
}


@pytest.mark.parametrize("call", NOT_MEASURED.values(), ids=NOT_MEASURED)
def test_what_cannot_be_told_without_encoding_anew_is_not_measured(
    client: Any, recording: Recording, call: Any
) -> None:
    client.set("user:1", "12345")
    client.hset("user:2", mapping={"name": "abc"})
    recording.instrument(metrics="default,size", caches="locks:*=-", auto_caches=True)
    call(client)

    assert sizes(recording) == {}
    assert "cache.item.size" not in attributes_of(recording.span())


def test_what_a_response_callback_made_a_list_of_has_no_size(
    server: RedisServer, recording: Recording
) -> None:
    with redis.Redis(host=server.host, port=server.port) as client:
        for command in ("GET", "HGET"):
            client.set_response_callback(command, lambda value, **_: [value, b"more"])
        client.set("user:1", "12345")
        client.hset("user:2", "name", "abc")
        recording.instrument(metrics="default,size")
        assert client.get("user:1") == [b"12345", b"more"]
        client.hget("user:2", "name")

    assert sizes(recording) == {}
    assert all("cache.item.size" not in attributes_of(span) for span in recording.spans())


def test_sizes_are_no_metric_unless_asked_for(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.set("user:1", "x")

    assert "cache.item.size" not in recording.metrics()
    assert attributes_of(recording.span())["cache.item.size"] == 1


READS: dict[str, Any] = {
    "GET": lambda c: c.get("user:1"),
    "GETEX": lambda c: c.getex("user:1", persist=True),
    "MGET": lambda c: c.mget("user:1"),
    "HGET": lambda c: c.hget("user:2", "name"),
    "HMGET": lambda c: c.hmget("user:2", ["name"]),
    "HGETALL": lambda c: c.hgetall("user:2"),
    "HVALS": lambda c: c.hvals("user:2"),
    "SMEMBERS": lambda c: c.smembers("user:3"),
    "LRANGE": lambda c: c.lrange("user:4", 0, -1),
    "ZRANGE": lambda c: c.zrange("user:5", 0, -1),
}


def test_five_of_the_ten_ways_to_read_a_whole_value_can_be_measured(
    client: Any, recording: Recording
) -> None:
    """Strings and fields; what redis-py makes a dict, a set or a list of has no size of its own."""
    client.set("user:1", "12345")
    client.hset("user:2", mapping={"name": "abc"})
    client.sadd("user:3", "a")
    client.rpush("user:4", "a")
    client.zadd("user:5", {"a": 1})
    recording.instrument(metrics="default,size")
    measured: set[str] = set()
    before = 0
    for name, read in READS.items():
        read(client)
        count = sizes(recording).get(("user", "read"), (0, 0))[0]
        measured |= {name} if count > before else set()
        before = count

    assert measured == {"GET", "GETEX", "MGET", "HGET", "HMGET"}
    assert recording.lookups() == {("user", "hit"): len(READS)}
