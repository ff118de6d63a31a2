"""How old stream entries are when a consumer gets them; the ids are made to be of a known age."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from otel_redis_cache.conventions import MAX_SERIES
from tests.integration.messaging import CLIENTS, closed, connect, done
from tests.real.servers import RedisServer
from tests.recording import TARGET, Recording

LAG = "redis.client.stream.lag"
STREAM, GROUP = "messaging.destination.name", "messaging.consumer.group.name"
SHAPES: list[dict[str, Any]] = [
    {"protocol": 2},
    {"protocol": 3},
    {"protocol": 3, "decode_responses": True},
]


@pytest.fixture(params=CLIENTS)
async def client(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[Any]:
    made = connect(request.param, server)
    yield made
    await closed(made)


def age(seconds: float) -> str:
    """An id of an entry that was added so long ago."""
    return f"{int((time.time() - seconds) * 1000)}-7"


def fill(server: RedisServer, stream: str, *seconds: float) -> None:
    for i, since in enumerate(sorted(seconds, reverse=True)):
        server.call("XADD", stream, age(since), "n", i)


def group(server: RedisServer, stream: str, name: str = "billing") -> None:
    server.call("XGROUP", "CREATE", stream, name, "0", "MKSTREAM")


def measured(recording: Recording) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Count, and sum in tens of seconds, by stream and group: machines may be slow."""
    metric = recording.metrics().get(LAG)
    points = metric.data.data_points if metric is not None else []
    return {
        (p.attributes.get(STREAM), p.attributes.get(GROUP)): (p.count, round(p.sum, -1))
        for p in points
    }


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CLIENTS)
async def test_each_entry_is_measured_when_it_is_read(
    server: RedisServer, recording: Recording, name: str, shape: dict[str, Any]
) -> None:
    fill(server, "orders:1", 100, 40, 20)
    fill(server, "orders:2", 10)
    fill(server, "other:1", 300)
    group(server, "orders:1")
    client = connect(name, server, **shape)
    recording.instrument(metrics="streams", streams="orders=orders:*")
    await done(client.xread({"orders:1": 0, "orders:2": 0, "other:1": 0}))
    await done(client.xreadgroup("billing", "me", {"orders:1": ">"}, count=2))
    await done(client.xreadgroup("billing", "me", {"orders:1": ">"}, count=2))
    await closed(client)
    groups = server.call("XINFO", "GROUPS", "orders:1")

    assert isinstance(groups, list)
    assert isinstance(groups[0], list)
    assert groups[0][5] == 3  # pending: as many as the group was given
    assert measured(recording) == {
        ("orders", None): (4, 170),
        (None, None): (1, 300),
        ("orders", "billing"): (3, 160),
    }
    assert set(recording.metrics()) == {LAG}
    for attributes, _ in recording.points(LAG):
        assert attributes.keys() >= TARGET


@pytest.mark.parametrize("transaction", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", CLIENTS)
async def test_entries_are_measured_in_batches(
    server: RedisServer, recording: Recording, name: str, protocol: int, transaction: bool
) -> None:
    fill(server, "orders:1", 50, 10)
    group(server, "orders:1")
    client = connect(name, server, protocol=protocol)
    recording.instrument(metrics="streams", streams="orders=orders:*")
    pipe = client.pipeline(transaction=transaction)
    pipe.xread({"orders:1": 0})
    pipe.get("orders:1")  # fails
    pipe.xreadgroup("billing", "me", {"orders:1": ">"})
    await done(pipe.execute(raise_on_error=False))
    await closed(client)

    assert measured(recording) == {("orders", None): (2, 60), ("orders", "billing"): (2, 60)}


@pytest.mark.parametrize("protocol", [2, 3])
async def test_entries_are_measured_as_they_came_from_the_wire(
    server: RedisServer, recording: Recording, protocol: int
) -> None:
    fill(server, "orders:1", 50, 10)
    recording.instrument(metrics="streams")
    with connect("redis", server, protocol=protocol) as client:
        client.set_response_callback("XREAD", lambda reply, **_: reply)
        raw = client.xread({"orders:1": 0})

    assert type(raw) is (dict if protocol == 3 else list)
    assert measured(recording) == {(None, None): (2, 60)}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", CLIENTS)
async def test_entries_that_are_claimed_are_measured_again(
    server: RedisServer, recording: Recording, name: str, protocol: int
) -> None:
    fill(server, "orders:1", 90, 30)
    group(server, "orders:1")
    server.call("XREADGROUP", "GROUP", "billing", "dead", "STREAMS", "orders:1", ">")
    client = connect(name, server, protocol=protocol)
    (first, _), _ = await done(client.xrange("orders:1"))
    recording.instrument(metrics="streams", streams="orders=orders:*")
    await done(client.xautoclaim("orders:1", "billing", "me", 0, justid=True))
    await done(client.xclaim("orders:1", "billing", "me", 0, [first], justid=True))
    ids_alone = measured(recording)
    await done(client.xautoclaim("orders:1", "billing", "me", 0))
    automatically = measured(recording)
    await done(client.xclaim("orders:1", "billing", "me", 0, [first]))
    await closed(client)

    assert ids_alone == {}
    assert automatically == {("orders", "billing"): (2, 120)}
    assert measured(recording) == {("orders", "billing"): (3, 210)}


async def test_what_hands_out_no_entry_is_not_measured(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    fill(server, "orders:1", 90, 30)
    group(server, "orders:1")
    server.call("XREADGROUP", "GROUP", "billing", "me", "STREAMS", "orders:1", ">")
    (first, _), _ = await done(client.xrange("orders:1"))
    await done(client.xdel("orders:1", first))
    recording.instrument(metrics="streams")
    history = await done(client.xreadgroup("billing", "me", {"orders:1": "0"}))
    assert str(first) in str(history)  # deleted, and told without its fields
    await done(client.xreadgroup("billing", "me", {"orders:1": ">"}))
    await done(client.xread({"nothing:1": 0}))
    await done(client.xread({"orders:1": "$"}, block=1))
    await done(client.xrange("orders:1"))
    with pytest.raises(Exception, match="NOGROUP"):
        await done(client.xreadgroup("nobody", "me", {"orders:1": ">"}))

    assert measured(recording) == {(None, None): (1, 30)}  # the pending one that is left
    assert recording.counts("otel_redis_cache.errors") == {}


async def test_no_lag_is_below_zero_and_none_is_made_of_ids_that_are_no_time(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    server.call("XADD", "orders:1", "1-1", "n", "1")
    fill(server, "orders:1", -600)
    recording.instrument(metrics="streams")
    await done(client.xread({"orders:1": 0}))

    assert measured(recording) == {(None, None): (1, 0)}


async def test_an_empty_poll_makes_no_span_and_a_read_makes_one(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    group(server, "orders:1")
    recording.instrument(metrics="all")
    for _ in range(3):
        await done(client.xreadgroup("billing", "me", {"orders:1": ">"}, block=5))
    fill(server, "orders:1", 10)
    await done(client.xreadgroup("billing", "me", {"orders:1": ">"}, block=5))

    assert recording.operations() == ["XREADGROUP"]
    assert recording.counts("redis.client.blocked.duration") == {"XREADGROUP": 4}
    assert measured(recording) == {(None, None): (1, 10)}


async def test_lag_is_off_by_default(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    fill(server, "orders:1", 10)
    recording.instrument()
    await done(client.xread({"orders:1": 0}))

    assert LAG not in recording.metrics()


def test_names_of_groups_are_few_and_look_like_names(
    server: RedisServer, recording: Recording
) -> None:
    fill(server, "orders:1", 10)
    names = [f"group-{chr(ord('a') + i)}" for i in range(22)]
    for name in ("3f2a9c1e7b", "x" * 60, *names):
        group(server, "orders:1", name)
    recording.instrument(metrics="streams", streams="orders=orders:*")
    with connect("redis", server) as client:
        for name in ("3f2a9c1e7b", "x" * 60, *names):
            client.xreadgroup(name, "me", {"orders:1": ">"})
    found = measured(recording)

    assert found["orders", "_other"] == (4, 40)
    assert found.keys() == {("orders", name) for name in ("_other", *names[:20])}
    assert recording.counts("otel_redis_cache.overflows") == {"names": 2}
    assert "3f2a9c1e7b" not in recording.everything()


def test_series_are_bounded_with_their_counts_exact(
    server: RedisServer, recording: Recording
) -> None:
    count = MAX_SERIES + 100
    rules = {f"name{i}": f"orders:{i}" for i in range(count)}
    recording.instrument(metrics="streams,pubsub", streams=rules, channels=rules)
    with connect("redis", server) as client:
        pipe = client.pipeline()
        for key in rules.values():
            pipe.xadd(key, {"a": "b"})
            pipe.publish(key, "x")
        pipe.execute()
        client.xread(dict.fromkeys(rules.values(), 0))

    for name in (LAG, "redis.client.pubsub.messages"):
        assert len(recording.points(name)) <= MAX_SERIES
        assert sum(value for _, value in recording.points(name)) == count
    assert recording.counts("otel_redis_cache.overflows")["series"] >= 200
