"""Numbers under load, and what they cost: S2 of `docs/scenarios.md`."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import quantiles
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.sdk.trace import ReadableSpan

from otel_redis_cache import Invalidation, invalidate, invalidate_async
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of
from tests.safety.test_cost import calls_during

THREADS, TASKS, CALLS = 8, 10, 25
"""2,000 calls in all."""


def remove_by_threads(server: RedisServer, patterns: list[str]) -> list[Invalidation]:
    with (
        redis.Redis(host=server.host, port=server.port) as client,
        ThreadPoolExecutor(len(patterns)) as threads,
    ):
        return list(threads.map(lambda pattern: invalidate(client, pattern), patterns))


def remove_by_tasks(server: RedisServer, patterns: list[str]) -> list[Invalidation]:
    async def run() -> list[Invalidation]:
        async with redis.asyncio.Redis(host=server.host, port=server.port) as client:
            return await asyncio.gather(*(invalidate_async(client, p) for p in patterns))

    return asyncio.run(run())


@pytest.mark.parametrize("remove", [remove_by_threads, remove_by_tasks], ids=["threads", "tasks"])
def test_fifteen_invalidations_of_twenty_keys_at_once_are_fifteen_and_three_hundred(
    server: RedisServer,
    recording: Recording,
    remove: Callable[[RedisServer, list[str]], list[Invalidation]],
) -> None:
    """A2.1."""
    caches = [f"cache-{letter}" for letter in "abcdefghijklmno"]
    for cache in caches:
        server.call("MSET", *(word for i in range(20) for word in (f"{cache}:{i}", "x")))
    recording.instrument()
    results = remove(server, [f"{cache}:*" for cache in caches])

    assert [(r.outcome, r.removed) for r in results] == [("success", 20)] * 15
    assert recording.counts("cache.invalidation.requests") == {
        (cache, "delete", "removed"): 1 for cache in caches
    }
    assert recording.counts("cache.invalidations") == {(cache, "delete"): 20 for cache in caches}
    assert server.call("DBSIZE") == 0


def plan(seed: int) -> list[tuple[str, str]]:
    """What one task does: of the keys 0 to 9, which nobody writes, the even ones are there."""
    dice = random.Random(seed)
    caches = ("user", "cart", "page")
    return [
        ("get", f"{dice.choice(caches)}:{dice.randrange(10)}")
        if dice.random() < 0.7
        else ("set", f"{dice.choice(caches)}:new{dice.randrange(100)}")
        for _ in range(CALLS)
    ]


def fill(server: RedisServer) -> None:
    for cache in ("user", "cart", "page"):
        for i in range(0, 10, 2):
            server.call("SET", f"{cache}:{i}", "x")
    server.reset_stats()


def run_plans(server: RedisServer) -> list[tuple[str, str]]:
    """Eight threads with an event loop each, ten tasks in each; all that they have done."""

    async def run(thread: int) -> None:
        async with redis.asyncio.Redis(host=server.host, port=server.port) as client:

            async def work(task: int) -> None:
                for command, key in plan(thread * TASKS + task):
                    await (client.get(key) if command == "get" else client.set(key, "x"))

            await asyncio.gather(*(work(task) for task in range(TASKS)))

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda thread: asyncio.run(run(thread)), range(THREADS)))
    return [step for seed in range(THREADS * TASKS) for step in plan(seed)]


def test_two_thousand_calls_of_tasks_in_threads_are_counted_exactly(
    server: RedisServer, recording: Recording
) -> None:
    """A2.2: by a plan that is known beforehand; and the server says the same."""
    fill(server)
    recording.instrument()
    done = run_plans(server)
    lookups: Counter[tuple[str, str]] = Counter()
    writes: Counter[tuple[str, str, str]] = Counter()
    for command, key in done:
        cache, _, name = key.partition(":")
        if command == "set":
            writes[cache, "none", "stored"] += 1
        else:
            lookups[cache, "miss" if int(name) % 2 else "hit"] += 1
    operations = Counter(command.upper() for command, _ in done)
    stats = server.commandstats()

    assert recording.lookups() == lookups
    assert recording.counts("cache.writes") == writes
    assert recording.counts("db.client.operation.duration") == operations
    assert operations.total() == len(recording.spans()) == 2_000
    assert lookups.total() + writes.total() == 2_000
    assert (stats["get"], stats["set"]) == (operations["GET"], operations["SET"])


def test_hits_and_misses_are_the_server_s_while_only_get_runs(
    server: RedisServer, recording: Recording
) -> None:
    """A2.3: what else moves `keyspace_hits` is no lookup; `commandstats` reconciles all the same."""
    fill(server)
    recording.instrument()
    with (
        redis.Redis(host=server.host, port=server.port) as client,
        ThreadPoolExecutor(THREADS) as threads,
    ):
        list(threads.map(client.get, [f"user:{i % 10}" for i in range(1_000)]))
        alone, ours = keyspace(server), recording.lookups()
        for key in ("user:0", "user:1"):
            client.exists(key)
            client.ttl(key)
            client.type(key)
        list(threads.map(client.get, [f"user:{i % 10}" for i in range(100)]))
    durations = recording.counts("db.client.operation.duration")

    assert ours == {("user", "hit"): alone[0], ("user", "miss"): alone[1]}
    assert alone == (500, 500)
    assert keyspace(server) == (500 + 50 + 3, 500 + 50 + 3)
    assert recording.lookups() == {("user", "hit"): 550, ("user", "miss"): 550}
    assert server.commandstats()["get"] == durations["GET"] == 1_100


def keyspace(server: RedisServer) -> tuple[int, int]:
    stats = server.info("stats")
    return int(stats["keyspace_hits"]), int(stats["keyspace_misses"])


@contextmanager
def load(server: RedisServer) -> Iterator[None]:
    """Four threads that call without a pause."""
    done = threading.Event()
    with redis.Redis(host=server.host, port=server.port) as client:

        def work(seed: int) -> None:
            dice = random.Random(seed)
            while not done.is_set():
                client.get(f"key:{dice.randrange(20)}")
                client.set(f"key:{dice.randrange(20)}", "x", ex=60)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        client.get("key:0")
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()


@pytest.mark.parametrize("keys", [10, 200_000])
def test_a_collection_under_load_is_quick_and_asks_the_server_for_nothing(
    server: RedisServer, recording: Recording, keys: int
) -> None:
    """A2.4: however many keys there are; best of three, as others may have the machine meanwhile."""
    server.call("DEBUG", "POPULATE", keys, "key")
    recording.instrument(traces=False)
    p95: list[float] = []
    with load(server):
        for _ in range(3):
            took = [collection(recording) for _ in range(40)]
            p95.append(quantiles(took, n=20)[-1])

    assert min(p95) < 0.05
    assert set(server.commandstats()) <= {"get", "set", "client|setinfo", "hello"}
    assert sum(recording.lookups().values()) == server.commandstats()["get"] > 100


def collection(recording: Recording) -> float:
    time.sleep(0.005)
    start = time.perf_counter()
    assert recording.metrics()
    return time.perf_counter() - start


def test_a_call_costs_no_more_after_twenty_thousand_others(
    valkey_server: RedisServer, recording: Recording
) -> None:
    """A2.5: nothing is gone through that grows with what has been; counted, so that it is exact."""
    valkey_server.flush()
    recording.instrument(traces=False, snapshot=True)
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        client.set("user:1", "x")
        early = calls_during(lambda: client.get("user:1"))
        for _ in range(200):
            pipe: Any = client.pipeline(transaction=False)
            for _ in range(50):
                pipe.get("user:1").delete("user:2")
            pipe.execute()
        late = calls_during(lambda: client.get("user:1"))

    assert {name: n for name, n in late.items() if name.startswith("otel_redis_cache.")} == {
        name: n for name, n in early.items() if name.startswith("otel_redis_cache.")
    }


def test_spans_of_gathered_work_have_the_right_parents(
    server: RedisServer, recording: Recording
) -> None:
    """A2.7: one logical operation is one parent, each of its commands a child of it."""

    async def request(client: Any, number: int) -> tuple[int, int]:
        with recording.tracer.start_as_current_span("request") as parent:
            await asyncio.sleep(0)
            await client.get(f"user:{number}")
            await client.pipeline().set(f"user:{number}", "x").get(f"user:{number}").execute()
            await invalidate_async(client, f"user:{number}", trace_commands=True)
        return number, parent.get_span_context().span_id

    async def run() -> dict[int, int]:
        async with redis.asyncio.Redis(host=server.host, port=server.port) as client:
            return dict(await asyncio.gather(*(request(client, i) for i in range(30))))

    recording.instrument(key_attribute="full")
    parents = asyncio.run(run())
    spans = recording.spans()
    sweeps = {id_of(span): span for span in spans if span.name == "cache.invalidate"}
    children = {name: [s for s in spans if s.name == name] for name in ("GET", "MULTI", "SCAN")}

    assert {name: len(found) for name, found in children.items()} == dict.fromkeys(children, 30)
    for span in (*children["GET"], *children["MULTI"]):
        (key, *_) = attributes_of(span)["cache.key"]
        assert parent_of(span) == parents[int(key.partition(":")[2])]
    assert sorted(map(parent_of, sweeps.values())) == sorted(parents.values())
    assert sorted(map(parent_of, children["SCAN"])) == sorted(sweeps)


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def test_the_slow_bucket_leads_to_the_span_of_the_slow_call(
    server: RedisServer, recording: Recording
) -> None:
    """A2.7: among many that are quick."""
    recording.instrument()
    with redis.Redis(host=server.host, port=server.port) as client:
        for i in range(100):
            client.get(f"user:{i}")
            if i == 50:
                server.pause()
                threading.Timer(0.3, server.resume).start()
                client.get("user:slow")
    slowest = max(recording.spans(), key=lambda span: (span.end_time or 0) - (span.start_time or 0))
    (point,) = recording.metrics()["db.client.operation.duration"].data.data_points
    exemplar = max(point.exemplars, key=lambda exemplar: exemplar.value)

    assert exemplar.value >= 0.25
    assert exemplar.span_id == id_of(slowest)
    assert len(point.exemplars) > 1
