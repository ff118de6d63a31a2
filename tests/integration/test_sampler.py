"""Entries and memory by cache, sampled from real servers, and held against what they have."""

from __future__ import annotations

import math
import statistics
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import redis
import redis.asyncio
import valkey.asyncio

from otel_redis_cache.caches import Caches, FirstNames
from otel_redis_cache.server.estimates import Estimate, combined
from otel_redis_cache.server.sampler import BATCH, QUICK, Sampler
from otel_redis_cache.settings import from_keywords
from tests.real.clusters import Cluster
from tests.real.servers import RedisServer

ALL_THE_TIME = math.inf


def name_of(key: bytes) -> str:
    return key.partition(b":")[0].strip(b"{}").decode()


def told(sampler: Sampler) -> Mapping[str, Estimate]:
    assert sampler.estimates is not None
    return sampler.estimates


@asynccontextmanager
async def asking(port: int, **options: Any) -> AsyncIterator[Any]:
    async with redis.asyncio.Redis(port=port, max_connections=1, **options) as client:
        yield client


@pytest.fixture
def client(new_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(port=new_server.port, socket_timeout=10) as client:
        yield client


def fill(client: Any, cache: str, keys: int, *, without_ttl: int = 0, start: int = 0) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for number in range(start, start + keys):
            expires = None if number < start + without_ttl else 3600
            pipeline.set(f"{cache}:{number}", "x" * (1 + number % 500), ex=expires)
        pipeline.execute()


def truth(client: Any, naming: Callable[[bytes], str | None] = name_of) -> dict[str, Estimate]:
    """What the server has, key by key."""
    found: dict[str, Estimate] = {}
    for key in client.scan_iter(count=1000):
        cache = naming(key)
        if cache is not None:
            before = found.get(cache, Estimate(0, 0, 0, 0))
            size = before.size + client.memory_usage(key)
            without_ttl = before.without_ttl + (client.pttl(key) == -1)
            found[cache] = Estimate(before.entries + 1, size, 0, without_ttl)
    return found


@pytest.mark.parametrize("library", [redis.asyncio.Redis, valkey.asyncio.Valkey])
async def test_keys_that_fit_the_budget_are_told_exactly(
    new_server: RedisServer, client: Any, library: Any
) -> None:
    fill(client, "sessions", 300, without_ttl=20)
    fill(client, "users", 150)
    client.hset("users:hash", mapping={str(number): "x" * 100 for number in range(1_000)})
    client.rpush("queue:1", *range(5_000))
    sampler = Sampler(name_of, milliseconds=ALL_THE_TIME)

    async with library(port=new_server.port, max_connections=1) as asynchronous:
        await sampler.cycle(asynchronous)

    assert sampler.estimates == truth(client)
    assert told(sampler)["sessions"][0] == 300
    assert told(sampler)["sessions"].without_ttl == 20
    assert told(sampler)["users"].without_ttl == 1


async def test_a_server_without_keys_has_no_caches(new_server: RedisServer, client: Any) -> None:
    sampler = Sampler(name_of)
    async with asking(new_server.port) as asynchronous:
        await sampler.cycle(asynchronous)
        assert sampler.estimates == {}

        fill(client, "users", 10)
        await sampler.cycle(asynchronous)
        assert sampler.estimates == truth(client)

        client.flushall()
        await sampler.cycle(asynchronous)
        assert sampler.estimates == {}


async def test_names_are_those_of_calls_and_as_few(new_server: RedisServer, client: Any) -> None:
    overflows: list[None] = []
    rules = {"caches": "sessions=sess:*,locks:*=-", "auto_caches": True, "max_auto_caches": 2}
    settings = from_keywords(rules, {})
    caches = Caches(settings, FirstNames(), lambda: overflows.append(None))
    for cache in ("sess", "locks"):
        fill(client, cache, 5)
    for number in range(10):
        fill(client, f"prefix-{'abcdefghij'[number]}", 3)
    sampler = Sampler(caches.name_of, milliseconds=ALL_THE_TIME)

    async with asking(new_server.port) as asynchronous:
        await sampler.cycle(asynchronous)

    entries = {cache: estimate.entries for cache, estimate in told(sampler).items()}
    assert len(entries) == 4
    assert (entries.pop("sessions"), entries.pop("_other")) == (5, 24)
    assert list(entries.values()) == [3, 3]
    assert len(overflows) == 24


async def test_the_database_of_the_client_is_sampled(new_server: RedisServer, client: Any) -> None:
    fill(client, "users", 10)
    client.select(3)
    fill(client, "sessions", 20)
    sampler = Sampler(name_of)

    async with asking(new_server.port, db=3) as asynchronous:
        await sampler.cycle(asynchronous)

    assert {cache: found.entries for cache, found in told(sampler).items()} == {"sessions": 20}


async def test_a_cycle_ends_after_its_time_and_the_next_one_goes_on(
    new_server: RedisServer, client: Any
) -> None:
    fill(client, "users", 1_000)
    sampler = Sampler(name_of, milliseconds=0)
    cycles = 0
    async with asking(new_server.port) as asynchronous:
        while sampler.estimates is None:
            cycles += 1
            client.config_resetstat()
            await sampler.cycle(asynchronous)
            asked = client.info("commandstats").get("cmdstat_memory|usage", {"calls": 0})["calls"]
            assert asked <= BATCH

    assert cycles >= 1_000 / BATCH
    assert sampler.estimates == truth(client)


async def test_a_sample_tells_while_it_grows_and_more_exactly_once_it_is_large(
    new_server: RedisServer, client: Any
) -> None:
    fill(client, "users", 4_000)
    fill(client, "sessions", 1_000)
    sampler = Sampler(name_of, keys=2_000, milliseconds=0, seed=1)
    errors: list[int] = []
    async with asking(new_server.port) as asynchronous:
        while len(set(errors[-8:])) > 1 or len(errors) < 8:
            await sampler.cycle(asynchronous)
            if "sessions" in told(sampler):
                errors.append(told(sampler)["sessions"].error)
            assert len(errors) < 1_000

    assert max(errors) > 2 * errors[-1] > 0


async def test_samples_go_on_until_all_keys_were_asked_for(
    new_server: RedisServer, client: Any
) -> None:
    fill(client, "users", 5_000)
    asked: Counter[bytes] = Counter()

    def note(key: bytes) -> str:
        asked[key] += 1
        return "users"

    sampler = Sampler(note, keys=500, milliseconds=ALL_THE_TIME)
    async with asking(new_server.port) as asynchronous:
        for _ in range(11):
            await sampler.cycle(asynchronous)

    assert len(asked) == 5_000
    assert max(asked.values()) <= 2


async def test_samples_begin_where_their_seed_says(new_server: RedisServer, client: Any) -> None:
    fill(client, "users", 5_000)

    async def keys_of(seed: int | None) -> frozenset[bytes]:
        seen: list[bytes] = []
        sampler = Sampler(
            lambda key: str(seen.append(key)), keys=200, milliseconds=ALL_THE_TIME, seed=seed
        )
        async with asking(new_server.port) as asynchronous:
            await sampler.cycle(asynchronous)
        return frozenset(seen)

    first, again, other = await keys_of(1), await keys_of(1), await keys_of(2)
    # A hash table that still grows gives batches that differ a little.
    assert len(first & again) > 150
    assert len(first & other) < 50
    assert len({await keys_of(None) for _ in range(4)}) > 1


async def test_estimates_are_right_on_average_while_keys_come_and_go(
    new_server: RedisServer, client: Any
) -> None:
    fill(client, "users", 7_000)
    fill(client, "sessions", 3_000, without_ttl=3_000)
    ended = threading.Event()

    def replace() -> None:
        with redis.Redis(port=new_server.port) as writer:
            for number in range(10**6):
                if ended.wait(0.001):
                    return
                for cache, rate in (("users", 7), ("sessions", 3)):
                    first = number * rate
                    size = 7_000 if cache == "users" else 3_000
                    writer.delete(*(f"{cache}:{n}" for n in range(first, first + rate)))
                    fill(writer, cache, rate, start=size + first, without_ttl=rate * (rate == 3))

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        found: list[Mapping[str, Estimate]] = []
        async with asking(new_server.port) as asynchronous:
            for seed in range(20):
                sampler = Sampler(name_of, keys=1_000, milliseconds=ALL_THE_TIME, seed=seed)
                await sampler.cycle(asynchronous)
                found.append(told(sampler))
    finally:
        ended.set()
        thread.join()

    error = 10_000 * math.sqrt(0.3 * 0.7 / 1_000 / len(found))
    for field in ("entries", "without_ttl"):
        mean = statistics.mean(getattr(estimates["sessions"], field) for estimates in found)
        assert abs(mean - 3_000) < 5 * error
    assert all(estimates["users"].without_ttl == 0 for estimates in found)


class Vanishing:
    """The client, but each other key is gone before it is asked about."""

    def __init__(self, asynchronous: Any, server: RedisServer) -> None:
        self._client, self._server = asynchronous, server
        self._shown: set[bytes] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def scan(self, *args: Any, **options: Any) -> tuple[int, list[bytes]]:
        cursor, keys = await self._client.scan(*args, **options)
        # A hash table that grows may show keys again, which were asked about then.
        new = [key for key in keys if key not in self._shown]
        self._shown.update(new)
        if new:
            self._server.call("DEL", *(key.decode() for key in new[::2]))
        return cursor, keys


async def test_keys_that_vanish_before_they_are_asked_about_do_not_count(
    new_server: RedisServer, client: Any
) -> None:
    fill(client, "users", 400)
    sampler = Sampler(name_of, milliseconds=ALL_THE_TIME)

    async with asking(new_server.port) as asynchronous:
        await sampler.cycle(Vanishing(asynchronous, new_server))

    assert 150 < client.dbsize() < 250
    assert sampler.estimates == truth(client)


async def test_a_table_that_shrinks_meanwhile_shows_no_key_twice(
    new_server: RedisServer, client: Any
) -> None:
    fill(client, "users", 6_000)
    asked: Counter[bytes] = Counter()

    def note(key: bytes) -> str:
        asked[key] += 1
        return "users"

    sampler = Sampler(note, milliseconds=0)
    async with asking(new_server.port) as asynchronous:
        for _ in range(20):
            await sampler.cycle(asynchronous)
        assert sampler.estimates is None
        client.delete(*(f"users:{number}" for number in range(5_900)))
        while sampler.estimates is None:
            await sampler.cycle(asynchronous)

    assert set(asked.values()) == {1}


async def test_a_server_that_outgrows_the_budget_is_estimated(
    new_server: RedisServer, client: Any
) -> None:
    fill(client, "users", 900)
    sampler = Sampler(name_of, keys=1_000, milliseconds=0)
    async with asking(new_server.port) as asynchronous:
        await sampler.cycle(asynchronous)
        fill(client, "users", 9_100, start=900)
        while sampler.estimates is None:
            await sampler.cycle(asynchronous)
        assert told(sampler)["users"].entries == 10_000
        assert told(sampler)["users"].error > 0

        client.flushall()
        fill(client, "sessions", 50)
        for _ in range(1_000):
            await sampler.cycle(asynchronous)
            if sampler.estimates.keys() == {"sessions"} and not told(sampler)["sessions"].error:
                break

    assert sampler.estimates == truth(client)


@contextmanager
def nothing_slow(client: Any) -> Iterator[None]:
    """No command took over 5 ms each time, though a busy machine may keep a server waiting."""
    client.config_set("slowlog-log-slower-than", 5_000)
    client.slowlog_reset()
    yield
    commands = {entry["command"] for entry in client.slowlog_get(100)} - {b"SLOWLOG RESET"}
    for command in commands:
        client.slowlog_reset()
        for _ in range(5):
            client.execute_command(*command.split())
        assert len([e for e in client.slowlog_get(100) if e["command"] == command]) < 5


async def test_huge_containers_keep_no_other_client_waiting(
    new_server: RedisServer, client: Any
) -> None:
    client.config_set("busy-reply-threshold", 0)
    client.eval(
        """
        for n = 1, 200000 do
          redis.call('HSET', 'huge:hash', n, 'x')
          redis.call('SADD', 'huge:set', 'm' .. n)
          redis.call('ZADD', 'huge:zset', n, n)
          redis.call('RPUSH', 'huge:list', n)
          redis.call('XADD', 'huge:stream', '*', 'f', n)
        end
        """,
        0,
    )
    fill(client, "users", 100)
    with nothing_slow(client):
        sampler = Sampler(name_of, milliseconds=ALL_THE_TIME)
        async with asking(new_server.port) as asynchronous:
            await sampler.cycle(asynchronous)

    assert sampler.estimates == truth(client)
    assert told(sampler)["huge"].size > 10 * 10**6


def calls(client: Any) -> dict[str, tuple[int, float]]:
    """How many of each command, and their seconds."""
    told = client.info("commandstats").items()
    return {name[len("cmdstat_") :]: (row["calls"], row["usec"] / 1e6) for name, row in told}


@pytest.fixture
def documents(redis_stack_server: RedisServer) -> Iterator[Any]:
    """A client of a server with 15 JSON documents, each of which `MEMORY USAGE` walks for ms."""
    with redis.Redis(port=redis_stack_server.port, socket_timeout=10) as client:
        client.flushall()
        numbers = f"[{'1,' * 600_000}1]"
        for number in range(15):
            client.execute_command("JSON.SET", f"documents:{number}", "$", numbers)
        client.config_resetstat()
        yield client
        client.flushall()


async def test_large_documents_are_asked_about_one_by_one(
    documents: Any, redis_stack_server: RedisServer
) -> None:
    sampler = Sampler(name_of, milliseconds=ALL_THE_TIME)
    async with asking(redis_stack_server.port) as asynchronous:
        await sampler.cycle(asynchronous)

    asked = calls(documents)
    (usages, seconds), (times, _) = asked["memory|usage"], asked["time"]
    assert seconds / usages > 2 * QUICK, "they are not large enough to tell"
    assert usages == 15 <= times / 2  # a batch has a TIME before and one after
    assert sampler.estimates == truth(documents)


async def test_a_cycle_of_large_documents_ends_after_its_time_and_the_next_one_goes_on(
    documents: Any, redis_stack_server: RedisServer
) -> None:
    sampler = Sampler(name_of, milliseconds=20)
    cycles = 0
    async with asking(redis_stack_server.port) as asynchronous:
        while sampler.estimates is None:
            documents.config_resetstat()
            await sampler.cycle(asynchronous)
            cycles += 1
            usages, seconds = calls(documents).get("memory|usage", (0, 0.0))
            assert usages <= 1 or seconds * (usages - 1) / usages < 0.06

    assert 15 * 2 * QUICK / 0.06 < cycles <= 30
    assert sampler.estimates == truth(documents)


async def test_batches_grow_while_the_server_is_quick(new_server: RedisServer, client: Any) -> None:
    fill(client, "users", 3_000)
    client.config_resetstat()
    async with asking(new_server.port) as asynchronous:
        await Sampler(name_of, milliseconds=ALL_THE_TIME).cycle(asynchronous)

    asked = calls(client)
    assert asked["memory|usage"][0] == 3_000
    assert asked["time"][0] / 2 < 3_000 / 10


async def test_keys_are_asked_about_one_by_one_where_the_server_does_not_tell_the_time(
    new_server: RedisServer, client: Any
) -> None:
    fill(client, "users", 50)
    client.acl_setuser("watcher", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    client.acl_setuser("watcher", enabled=True, commands=["-time"])
    client.config_resetstat()
    sampler = Sampler(name_of, milliseconds=ALL_THE_TIME)
    async with asking(new_server.port, username="watcher", password="any") as asynchronous:
        await sampler.cycle(asynchronous)

    refused = client.info("commandstats")["cmdstat_time"]["rejected_calls"]
    assert refused / 2 >= calls(client)["memory|usage"][0] == 50
    assert sampler.estimates == truth(client)


async def test_what_the_server_refuses_is_raised_and_the_next_cycle_goes_on(
    new_server: RedisServer, client: Any
) -> None:
    fill(client, "users", 250)
    client.acl_setuser("watcher", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    client.acl_setuser("watcher", enabled=True, commands=["-memory|usage"])
    sampler = Sampler(name_of, milliseconds=ALL_THE_TIME)
    async with asking(new_server.port, username="watcher", password="any") as asynchronous:
        with pytest.raises(redis.ResponseError, match="memory"):
            await sampler.cycle(asynchronous)
        assert sampler.estimates is None
        assert sampler.asked > 0
        client.acl_setuser("watcher", enabled=True, commands=["+memory|usage"])
        await sampler.cycle(asynchronous)

    assert sampler.estimates == truth(client)


async def test_it_tells_how_long_it_asked(new_server: RedisServer, client: Any) -> None:
    fill(client, "users", 2_000)
    client.config_resetstat()
    async with asking(new_server.port) as asynchronous:
        sampler = Sampler(name_of, milliseconds=ALL_THE_TIME)
        await sampler.cycle(asynchronous)

    cost = sum(row["usec"] for row in client.info("commandstats").values()) / 1e6
    assert cost < sampler.asked < 10


async def sampled(ports: list[int], **options: Any) -> dict[str, Estimate]:
    """All nodes together."""
    samplers: list[Sampler] = []
    for port in ports:
        samplers.append(Sampler(name_of, milliseconds=ALL_THE_TIME, **options))
        async with asking(port) as asynchronous:
            await samplers[-1].cycle(asynchronous)
    return combined(sampler.estimates for sampler in samplers)


async def test_a_cluster_is_the_sum_of_its_nodes_primaries_or_replicas(cluster: Cluster) -> None:
    with redis.RedisCluster(port=cluster.ports[0], host="127.0.0.1") as client:
        for number in range(600):
            client.set(f"users:{number}", "x" * number)
            client.set(f"{{sessions}}:{number}", "x", ex=3600)
        client.wait(1, 5_000, target_nodes=redis.RedisCluster.PRIMARIES)
    replicas = [cluster.replica_of(node).port for node in cluster.primaries]

    found = await sampled(cluster.ports)

    assert (found["users"].entries, found["users"].without_ttl) == (600, 600)
    assert (found["sessions"].entries, found["sessions"].without_ttl) == (600, 0)
    assert found["users"].error == found["sessions"].error == 0
    of_replicas = await sampled(replicas)
    assert of_replicas["users"][::3] == found["users"][::3]
    assert of_replicas["sessions"].entries == 600

    estimated = await sampled(replicas, keys=150)
    assert estimated["users"].error > 0
    assert estimated["users"].entries + estimated["sessions"].entries == 1_200


@pytest.mark.parametrize("kind", ["valkey", "redis", "redis_8"])
async def test_keys_of_one_hash_tag_in_a_cluster_deceive_no_interval(
    kind: str, request: pytest.FixtureRequest
) -> None:
    shared: RedisServer = request.getfixturevalue(f"{kind}_server")
    held: list[bool] = []
    with Cluster(shared.kind, shared.binary, 1) as one, redis.Redis(port=one.ports[0]) as client:
        fill(client, "users", 8_000)
        fill(client, "{sessions}", 2_000)
        client.config_resetstat()
        known = truth(client)
        for seed in range(30):
            for cache, estimate in (await sampled(one.ports, keys=500, seed=seed)).items():
                held.append(abs(estimate.size - known[cache].size) <= estimate.error)

    assert len(held) == 60
    assert sum(held) >= 50


async def test_a_key_that_is_on_its_way_to_another_node_counts_again_when_it_has_arrived(
    cluster: Cluster,
) -> None:
    source, target = cluster.primaries[:2]
    keys = [f"users:{number}" for number in range(300)]
    moved = next(key for key in keys if cluster.owner(key) is source)
    for key in keys:
        cluster.call("SET", key, "x")
    migration = cluster.begin_migration(moved, target)
    try:
        migration.move(moved)
        assert (await sampled(cluster.ports))["users"].entries == 299
    finally:
        migration.finish()

    assert (await sampled(cluster.ports))["users"].entries == 300
