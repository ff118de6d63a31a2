"""Why entries were removed: ``with invalidation(reason=...)`` around commands on a real server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio

from otel_redis_cache import invalidation
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of


@pytest.fixture
def client(server: RedisServer, recording: Recording) -> Any:
    recording.instrument()
    with redis.Redis(host=server.host, port=server.port) as client:
        yield client


def test_every_removal_on_purpose_carries_the_reason(client: Any, recording: Recording) -> None:
    client.mset({f"user:{i}": "x" for i in range(6)})
    with invalidation(reason="model_update", trigger="admin"):
        client.delete("user:1")
        client.unlink("user:nobody")
        client.expire("user:2", 0)
        client.getdel("user:3")
        client.rename("user:4", "user:5")
        client.pipeline().delete("user:5").expire("user:0", -1).execute()
        client.flushdb()
        client.expire("user:9", 60)

    assert recording.counts("cache.invalidations") == {("user", "model_update"): 5}
    requests = recording.counts("cache.invalidation.requests")
    assert {reason for _, reason, _ in requests} == {"model_update"}
    assert requests["user", "model_update", "removed"] == 5
    assert requests["user", "model_update", "none"] == 1
    assert requests["_mixed", "model_update", "unknown"] == 1
    told = [s for s in map(attributes_of, recording.spans()) if "cache.invalidation.reason" in s]
    assert {(s["cache.invalidation.reason"], s["cache.invalidation.trigger"]) for s in told} == {
        ("model_update", "admin")
    }
    assert all(
        "trigger" not in str(attributes)
        for attributes, _ in recording.points("cache.invalidations")
    )


def test_what_a_write_removes_in_passing_keeps_its_own_reason(
    client: Any, recording: Recording
) -> None:
    client.sadd("tags:1", "a")
    with invalidation(reason="model_update"):
        client.sinterstore("tags:1", "nobody:1", "nobody:2")

    requests = recording.counts("cache.invalidation.requests")
    assert list(requests) == [("tags", "overwrite", "unknown")]


def test_a_removal_that_fails_carries_the_reason_too(client: Any, recording: Recording) -> None:
    client.set("user:1", "x")
    with invalidation(reason="deploy"), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.hdel("user:1", "field")

    assert recording.counts("cache.invalidation.requests") == {("user", "deploy", "error"): 1}


def test_a_pipeline_has_the_label_of_where_it_is_executed(
    client: Any, recording: Recording
) -> None:
    client.set("user:1", "x")
    pipeline = client.pipeline()
    with invalidation(reason="queued"):
        pipeline.delete("user:1")
    with invalidation(reason="sent"):
        pipeline.execute()

    assert recording.counts("cache.invalidations") == {("user", "sent"): 1}


async def test_asyncio_tasks_and_threads_carry_the_reason(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with (
        redis.Redis(host=server.host, port=server.port) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        client.mset({f"user:{i}": "x" for i in range(20)})
        async with redis.asyncio.Redis(host=server.host, port=server.port) as other:
            with invalidation(reason="deploy"):
                await asyncio.gather(*(other.delete(f"user:{i}") for i in range(10)))
                await asyncio.to_thread(client.delete, "user:10")
                carried: Any = invalidation.carry(client.delete)
            await asyncio.wrap_future(pool.submit(carried, "user:11"))
            await asyncio.wrap_future(pool.submit(client.delete, "user:12"))

    assert recording.counts("cache.invalidations") == {
        ("user", "deploy"): 12,
        ("user", "delete"): 1,
    }


def test_ten_thousand_reasons_leave_ten_and_other_with_exact_totals(
    client: Any, recording: Recording
) -> None:
    client.mset({f"user:{i}": "x" for i in range(10_000)})
    for i in range(10_000):
        with invalidation(reason=f"reason{i}"):
            client.delete(f"user:{i}")
    client.delete("user:0")

    own = {("user", f"reason{i}"): 1 for i in range(10)}
    assert recording.counts("cache.invalidations") == {**own, ("user", "_other"): 9_990}
    requests = recording.counts("cache.invalidation.requests")
    assert sum(requests.values()) == 10_001
    assert len(requests) == 10 + 1 + 1
    assert recording.counts("otel_redis_cache.overflows") == {"reasons": 9_990}
    assert attributes_of(recording.spans()[-2])["cache.invalidation.reason"] == "_other"
