"""What `cache.ttl` records, held against the time to live that the server reports afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis

from tests.integration.case import DUMPED
from tests.integration.kinds import CLASSES, Kind, ids, only, outside_clusters
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of

SECONDS = 600


@pytest.fixture(params=CLASSES, ids=ids(CLASSES))
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


def in_ten_minutes() -> float:
    return time.time() + SECONDS


def lifetimes(recording: Recording) -> dict[str, tuple[int, float]]:
    """Of each cache, how many were recorded, and their sum in seconds."""
    metric = recording.metrics().get("cache.ttl")
    points = metric.data.data_points if metric is not None else ()
    return {point.attributes["cache.name"]: (point.count, point.sum) for point in points}


GIVEN: dict[str, Any] = {
    "SET EX": lambda c: c.set("user:1", "x", ex=SECONDS),
    "SET EX as a timedelta": lambda c: c.set("user:1", "x", ex=timedelta(seconds=SECONDS)),
    "SET PX": lambda c: c.set("user:1", "x", px=SECONDS * 1000),
    "SET EXAT": lambda c: c.set("user:1", "x", exat=int(in_ten_minutes())),
    "SET PXAT": lambda c: c.set("user:1", "x", pxat=int(in_ten_minutes() * 1000)),
    "SET NX EX": lambda c: c.set("user:1", "x", ex=SECONDS, nx=True),
    "SET GET EX": lambda c: c.set("user:1", "x", ex=SECONDS, get=True),
    "SET in small letters": lambda c: c.execute_command("set", "user:1", "x", "ex", str(SECONDS)),
    "SET with views of bytes": lambda c: c.execute_command(
        "SET", "user:1", "x", memoryview(b"EX"), memoryview(bytearray(b"600"))
    ),
    "SETEX": lambda c: c.execute_command("SETEX", "user:1", SECONDS, "x"),
    "PSETEX": lambda c: c.psetex("user:1", SECONDS * 1000, "x"),
    "EXPIRE": lambda c: (c.set("user:1", "x"), c.expire("user:1", SECONDS)),
    "EXPIRE NX": lambda c: (c.set("user:1", "x"), c.expire("user:1", SECONDS, nx=True)),
    "EXPIREAT": lambda c: (
        c.set("user:1", "x"),
        c.expireat("user:1", datetime.now(timezone.utc) + timedelta(seconds=SECONDS)),
    ),
    "PEXPIRE": lambda c: (c.lpush("user:1", "x"), c.pexpire("user:1", SECONDS * 1000)),
    "PEXPIREAT": lambda c: (
        c.set("user:1", "x"),
        c.pexpireat("user:1", int(in_ten_minutes() * 1000)),
    ),
    "RESTORE": lambda c: c.restore("user:1", SECONDS * 1000, DUMPED),
    "RESTORE ABSTTL": lambda c: c.restore(
        "user:1", int(in_ten_minutes() * 1000), DUMPED, absttl=True
    ),
    "a pipeline": lambda c: c.pipeline(transaction=False).set("user:1", "x", ex=SECONDS).execute(),
    "a transaction": lambda c: (
        c.pipeline().lpush("user:1", "x").expire("user:1", SECONDS).execute()
    ),
}


@pytest.mark.parametrize("command", GIVEN.values(), ids=GIVEN)
def test_a_time_to_live_is_recorded_as_the_server_has_it(
    client: Any, recording: Recording, command: Any
) -> None:
    recording.instrument()
    command(client)
    left = client.pttl("user:1") / 1000
    shown = [attributes_of(span).get("cache.ttl") for span in recording.spans()]

    assert lifetimes(recording).keys() == {"user"}
    assert lifetimes(recording)["user"] == (1, pytest.approx(left, abs=2))
    assert [seconds for seconds in shown if seconds is not None] == [pytest.approx(left, abs=2)]


NOT_GIVEN: dict[str, Any] = {
    "SET": lambda c: c.set("user:1", "y"),
    "SET KEEPTTL": lambda c: c.set("user:1", "y", keepttl=True),
    "SET NX that is refused": lambda c: c.set("user:1", "y", ex=SECONDS, nx=True),
    "SET XX that is refused": lambda c: c.set("user:none", "y", ex=SECONDS, xx=True),
    "SET with a past time": lambda c: c.set("user:1", "y", exat=1_000_000_000),
    "SET that fails": lambda c: (
        c.pipeline(transaction=False)
        .execute_command("SET", "user:1", "y", "EX", "soon")
        .execute(raise_on_error=False)
    ),
    "GETEX, which renews": lambda c: c.getex("user:1", ex=SECONDS),
    "EXPIRE of a missing key": lambda c: c.expire("user:none", SECONDS),
    "EXPIRE that is refused": lambda c: c.expire("user:1", 1, gt=True),
    "EXPIRE of zero": lambda c: c.expire("user:1", 0),
    "EXPIREAT of a past time": lambda c: c.expireat("user:1", 1_000_000_000),
    "PERSIST": lambda c: c.persist("user:1"),
    "RESTORE without": lambda c: c.restore("user:2", 0, DUMPED),
    "RENAME": lambda c: c.rename("user:1", "user:2{user:1}"),
}


@pytest.mark.parametrize("command", NOT_GIVEN.values(), ids=NOT_GIVEN)
def test_no_time_to_live_is_recorded_where_none_was_given(
    client: Any, recording: Recording, command: Any
) -> None:
    client.set("user:1", "x", ex=SECONDS)
    recording.instrument()
    command(client)

    assert lifetimes(recording) == {}
    assert all("cache.ttl" not in attributes_of(span) for span in recording.spans())


def test_two_hundred_and_fifty_keys_have_two_hundred_and_fifty_times_to_live(
    client: Any, recording: Recording
) -> None:
    """A5.2: the sum tells what was asked for; entries without one are counted apart."""
    recording.instrument()
    for i in range(200):
        client.set(f"user:{i}", "x", px=500)
    for i in range(50):
        client.set(f"user:long{i}", "x", ex=600)
    client.set("user:plain", "x")
    client.set("user:long1", "x")  # drops the time to live that it had

    assert lifetimes(recording) == {"user": (250, pytest.approx(200 * 0.5 + 50 * 600))}
    assert recording.counts("cache.writes") == {
        ("user", "set", "stored"): 250,
        ("user", "none", "stored"): 2,
    }
    assert client.ttl("user:long1") == -1


def test_a_batch_with_several_times_to_live_shows_none_on_its_span(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    client.pipeline().set("user:{1}", "x", ex=60).set("user:{1}:2", "x", ex=90).execute()

    assert lifetimes(recording) == {"user": (2, 150.0)}
    assert "cache.ttl" not in attributes_of(recording.span())


def test_a_key_that_is_no_cache_has_no_time_to_live(client: Any, recording: Recording) -> None:
    recording.instrument(caches="locks:*=-", auto_caches=True)
    client.set("locks:1", "x", ex=60)
    client.set("user:1", "x", ex=60)

    assert lifetimes(recording) == {"user": (1, 60.0)}


def test_without_the_group_no_time_to_live_is_recorded(client: Any, recording: Recording) -> None:
    recording.instrument(metrics="operations,cache")
    client.set("user:1", "x", ex=60)

    assert "cache.ttl" not in recording.metrics()
    assert attributes_of(recording.span())["cache.ttl"] == 60.0


@pytest.fixture
def fields_client(valkey_server: RedisServer) -> Iterator[Any]:
    valkey_server.flush()
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        yield client


def test_each_field_that_took_a_time_to_live_is_recorded(
    fields_client: Any, recording: Recording
) -> None:
    fields_client.hset("user:1", mapping={"name": "a", "mail": "b"})
    recording.instrument()
    fields_client.execute_command(
        *("HEXPIRE", "user:1", 600, "FIELDS", 4, "name", "mail", "none", "name")
    )
    fields_client.execute_command(
        *("HPEXPIRE", "user:1", 100_000, "GT", "FIELDS", 1, "name")  # is refused
    )
    fields_client.execute_command(
        *("HSETEX", "user:2", "EX", 60, "FIELDS", 2, "name", "a", "mail", "b")
    )

    left = fields_client.execute_command("HTTL", "user:1", "FIELDS", 2, "name", "mail")
    assert left == [pytest.approx(600, abs=2)] * 2
    assert lifetimes(recording) == {"user": (4, 2 * 600.0 + 2 * 60.0)}
    assert [attributes_of(span).get("cache.ttl") for span in recording.spans()][:3] == [
        600.0,
        None,
        60.0,
    ]


def test_each_key_of_msetex_is_recorded(fields_client: Any, recording: Recording) -> None:
    recording.instrument()
    fields_client.execute_command("MSETEX", 2, "user:1", "x", "cart:1", "y", "EX", 60)

    assert fields_client.ttl("cart:1") == pytest.approx(60, abs=2)
    assert lifetimes(recording) == {"user": (1, 60.0), "cart": (1, 60.0)}


@only(outside_clusters, because="each node has statistics of its own", among=CLASSES)
def test_two_hundred_expired_keys_are_neither_invalidations_nor_hits(
    client: Any, recording: Recording
) -> None:
    """A5.1 and A5.3, as far as the client sees them: what expires is nobody's removal."""
    recording.instrument()
    for i in range(200):
        client.set(f"user:{i}", "x", px=300)
    for i in range(50):
        client.set(f"user:long{i}", "x", ex=600)
    deadline = time.monotonic() + 5
    while client.dbsize() > 50 and time.monotonic() < deadline:
        time.sleep(0.02)
    removed = client.unlink("user:0")
    found = client.mget([f"user:{i}" for i in range(200)])

    assert client.dbsize() == 50
    assert client.info("stats")["expired_keys"] == 200
    assert client.info("stats")["evicted_keys"] == 0
    assert removed == 0
    assert found == [None] * 200
    assert recording.lookups() == {("user", "miss"): 200}
    assert recording.counts("cache.invalidations") == {}
    assert recording.counts("cache.invalidation.requests") == {("user", "delete", "none"): 1}


def test_a_key_that_has_expired_is_a_miss_and_its_removal_removes_nothing(
    server: RedisServer, recording: Recording
) -> None:
    """A5.3, where the access itself is what makes the server drop it."""
    client = redis.Redis(host=server.host, port=server.port)
    server.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    try:
        recording.instrument()
        client.set("user:1", "x", px=20)
        client.set("user:2", "x", px=20)
        time.sleep(0.1)
        server.reset_stats()
        assert client.get("user:1") is None
        assert client.unlink("user:2") == 0
        stats = server.info("stats")
    finally:
        server.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        client.close()

    assert (stats["expired_keys"], stats["keyspace_misses"]) == ("2", "1")
    assert recording.lookups() == {("user", "miss"): 1}
    assert recording.counts("cache.invalidations") == {}
    assert recording.counts("cache.invalidation.requests") == {("user", "delete", "none"): 1}
