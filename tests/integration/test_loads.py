"""From a miss to the write-back, and stampedes, as applications make them on real servers."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.integration.kinds import CLASSES, Kind, Place, ids, only, outside_clusters
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of


@pytest.fixture(params=CLASSES, ids=ids(CLASSES))
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


one_caller = only(
    lambda kind: not kind.is_async,
    because="each call of an asyncio client is a task here, so another caller",
    among=CLASSES,
)


def loads(recording: Recording) -> dict[str, tuple[int, float]]:
    """Of each cache, how many loads there were, and their sum in seconds."""
    metric = recording.metrics().get("cache.load.duration")
    points = metric.data.data_points if metric is not None else ()
    return {point.attributes["cache.name"]: (point.count, point.sum) for point in points}


def read_through(client: Any, key: str, seconds: float = 0.0) -> Any:
    """What an application does."""
    value = client.get(key)
    if value is None:
        time.sleep(seconds)
        value = b"loaded"
        client.set(key, value, ex=60)
    return value


@one_caller
def test_a_read_through_is_one_load_as_long_as_the_application_took(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    read_through(client, "user:1", seconds=0.1)
    started = time.perf_counter()
    read_through(client, "user:1", seconds=0.1)

    count, seconds = loads(recording)["user"]
    assert count == 1
    assert 0.1 <= seconds <= time.perf_counter() - started + 1
    assert recording.counts("cache.stampedes") == {}
    assert all("cache.stampede" not in attributes_of(span) for span in recording.spans())


WRITE_BACKS: dict[str, tuple[Any, Any]] = {
    "GET, SET": (lambda c: c.get("user:1"), lambda c: c.set("user:1", "x")),
    "GET, a pipeline": (
        lambda c: c.get("user:1"),
        lambda c: c.pipeline(transaction=False).set("user:1", "x").expire("user:1", 5).execute(),
    ),
    "a pipeline, MSET": (
        lambda c: c.pipeline().get("user:{1}").execute(),
        lambda c: c.mset({"user:{1}": "x", "user:{1}:2": "y"}),
    ),
    "GETEX, SETNX": (lambda c: c.getex("user:1", ex=5), lambda c: c.set("user:1", "x", nx=True)),
    "MGET, SET": (lambda c: c.mget("user:1", "user:1"), lambda c: c.set(b"user:1", "x")),
    "HGET, HSET": (lambda c: c.hget("user:1", "name"), lambda c: c.hset("user:1", "name", "x")),
    "HMGET, HSET": (
        lambda c: c.hmget("user:1", "name", "mail"),
        lambda c: c.hset("user:1", mapping={"name": "x", "mail": "y"}),
    ),
    "HGETALL, HSET": (lambda c: c.hgetall("user:1"), lambda c: c.hset("user:1", "name", "x")),
    "SMEMBERS, SADD": (lambda c: c.smembers("user:1"), lambda c: c.sadd("user:1", "x")),
    "LRANGE, RPUSH": (lambda c: c.lrange("user:1", 0, -1), lambda c: c.rpush("user:1", "x")),
    "ZRANGE, ZADD": (lambda c: c.zrange("user:1", 0, -1), lambda c: c.zadd("user:1", {"x": 1})),
}


@pytest.mark.parametrize(("read", "write"), WRITE_BACKS.values(), ids=WRITE_BACKS)
def test_a_write_back_ends_the_miss(
    client: Any, recording: Recording, read: Any, write: Any
) -> None:
    recording.instrument()
    read(client)
    write(client)
    write(client)

    assert loads(recording)["user"][0] == 1


NO_LOADS: dict[str, Any] = {
    "a write without a miss": lambda c: c.set("user:1", "x"),
    "another key": lambda c: (c.get("user:1"), c.set("user:2", "x")),
    "another field": lambda c: (c.hget("user:1", "name"), c.hset("user:1", "mail", "x")),
    "a probe": lambda c: (c.exists("user:1"), c.set("user:1", "x")),
    "a key that was deleted": lambda c: (c.get("user:1"), c.delete("user:1"), c.set("user:1", "x")),
    "a database that was flushed": lambda c: (c.get("user:1"), c.flushdb(), c.set("user:1", "x")),
    "one batch": lambda c: c.pipeline().get("user:1").set("user:1", "x").execute(),
    "GETSET": lambda c: c.set("user:1", "x", get=True),
    "a write that was refused": lambda c: (c.get("user:1"), c.set("user:1", "x", xx=True)),
}


@pytest.mark.parametrize("story", NO_LOADS.values(), ids=NO_LOADS)
def test_what_is_no_load(client: Any, recording: Recording, story: Any) -> None:
    recording.instrument()
    story(client)

    assert loads(recording) == {}


@only(outside_clusters, because="a cluster has one database", among=CLASSES)
def test_a_copy_into_another_database_is_no_load(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.set("user:2", "x")
    client.get("user:1")
    client.copy("user:2", "user:1", destination_db=1)
    client.delete("user:2")

    assert loads(recording) == {}


def test_what_another_process_has_written_is_not_this_ones_load(
    client: Any, place: Place, recording: Recording
) -> None:
    recording.instrument()
    client.get("user:1")
    place.call("SET", "user:1", "x")
    client.get("user:1")
    client.set("user:1", "y")

    assert loads(recording) == {}


@only(lambda kind: kind.name == "redis", because="the window is ours, and takes its seconds")
def test_a_miss_is_forgotten_after_the_window(client: Any, recording: Recording) -> None:
    recording.instrument(load_window=1)
    client.get("user:1")
    time.sleep(1.1)
    client.get("user:1")
    client.get("user:2")
    time.sleep(1.1)
    client.set("user:2", "x")

    assert loads(recording) == {}
    assert recording.counts("cache.stampedes") == {}


def test_callers_that_miss_what_is_being_loaded_are_one_stampede(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    missed, loaded = threading.Barrier(8), threading.Event()

    def work() -> None:
        client.get("user:1")
        missed.wait(timeout=10)
        loaded.wait(timeout=10)

    threads = [threading.Thread(target=work) for _ in range(7)]
    for thread in threads:
        thread.start()
    missed.wait(timeout=10)
    client.set("user:1", "x")
    loaded.set()
    for thread in threads:
        thread.join()
    shown = [attributes_of(span).get("cache.stampede") for span in recording.spans()]

    assert recording.counts("cache.stampedes") == {"user": 1}
    assert sorted(map(str, shown)) == ["None"] * 2 + ["True"] * 6  # the first miss, and the SET
    assert loads(recording)["user"][0] == 1


async def test_tasks_that_miss_what_is_being_loaded_are_one_stampede_for_each_key(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    async with redis.asyncio.Redis(host=server.host, port=server.port) as client:

        async def read_through(key: str) -> None:
            if await client.get(key) is None:
                await asyncio.sleep(0.2)
                await client.set(key, "x")

        await asyncio.gather(*(read_through(f"user:{i % 3}") for i in range(12)))

    assert recording.lookups() == {("user", "miss"): 12}
    assert recording.counts("cache.stampedes") == {"user": 3}
    assert loads(recording)["user"][0] == 3


@one_caller
def test_one_caller_that_looks_again_behind_a_lock_is_no_stampede(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    for key in ("user:1", "user:2"):
        client.get(key)
        with client.lock(f"lock:{key}"):
            client.get(key)
            client.set(key, "x", get=True)

    assert recording.lookups()["user", "miss"] == 6
    assert recording.counts("cache.stampedes") == {}
    assert loads(recording)["user"][0] == 2
    assert all("cache.stampede" not in attributes_of(span) for span in recording.spans())


@one_caller
def test_requests_that_share_one_worker_thread_are_told_apart_by_their_traces(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    with ThreadPoolExecutor(1) as worker:
        for _ in range(5):
            with recording.tracer.start_as_current_span("request"):
                worker.submit(copy_context().run, client.get, "user:1").result()

    shown = [attributes_of(span).get("cache.stampede") for span in recording.spans()]
    assert recording.counts("cache.stampedes") == {"user": 1}
    assert shown == [None, True, True, True, True]


def test_a_refused_write_that_finds_a_value_ends_the_miss(
    client: Any, place: Place, recording: Recording
) -> None:
    recording.instrument()
    client.get("user:1")
    place.call("SET", "user:1", "theirs")
    assert client.set("user:1", "mine", nx=True, get=True) == b"theirs"
    client.set("user:1", "later")

    assert loads(recording) == {}


@only(lambda kind: kind.name == "redis", because="it is our time that is measured")
def test_thousands_of_missing_fields_are_followed_in_linear_time(
    client: Any, recording: Recording
) -> None:
    recording.instrument(traces=False)
    fields = [f"f{i}" for i in range(4_000)]

    def took() -> float:
        started = time.process_time()
        client.hmget("user:1", fields)
        return time.process_time() - started

    client.hmget("user:2", fields[:1])
    took()
    # A quarter of a second and more where each field looks at all others; what else the process does
    # meanwhile, such as collecting garbage, strikes one of them at most.
    assert min(took() for _ in range(3)) < 0.15


def test_a_write_that_returns_the_old_value_meets_no_miss_of_others(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    client.get("user:1")
    client.get("user:2")
    thread = threading.Thread(
        target=lambda: (client.set("user:1", "x", get=True), client.getdel("user:2"))
    )
    thread.start()
    thread.join()

    assert recording.counts("cache.stampedes") == {}
    assert loads(recording)["user"][0] == 1


def test_without_the_group_nothing_is_followed(client: Any, recording: Recording) -> None:
    instrumentor = recording.instrument(metrics="operations,cache,ratio,ttl")
    client.get("user:1")
    client.get("user:1")
    client.set("user:1", "x")

    assert not {"cache.load.duration", "cache.stampedes"} & recording.metrics().keys()
    assert instrumentor._tallies is not None
    assert not instrumentor._tallies.open_misses.by_key


def test_the_load_is_an_exemplar_of_the_span_that_wrote_back(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    read_through(client, "user:1")
    (point,) = recording.metrics()["cache.load.duration"].data.data_points
    get, write = recording.spans()

    assert write.context is not None
    assert [e.span_id for e in point.exemplars] == [write.context.span_id]
    assert get.name == "GET"
