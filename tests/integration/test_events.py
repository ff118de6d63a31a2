"""What expires and what is evicted, heard from real servers, and held against what they count."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import random
import shlex
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
import redis.asyncio
import valkey.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from otel_redis_cache.server import events
from otel_redis_cache.server.events import Listener
from tests.real.clusters import Cluster
from tests.real.servers import RedisServer
from tests.real.wires import Wire

CLIENTS: dict[str, Any] = {"redis": redis.asyncio.Redis, "valkey": valkey.asyncio.Valkey}


class Heard:
    """What a listener counted, and what it said."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.said: list[str] = []
        self.listener = Listener(self._name_of, self._count, self.said.append)

    def _name_of(self, key: bytes) -> str | None:
        name = key.partition(b":")[0].decode()
        return None if name == "locks" else name

    def _count(self, cache: str, reason: str) -> None:
        self.counts[cache, reason] += 1


@asynccontextmanager
async def listening(*ports: int, library: str = "redis", **options: Any) -> AsyncIterator[Heard]:
    """One listener of these nodes, each by a client of its own with one connection."""
    heard = Heard()
    retry: Any = importlib.import_module(f"{library}.asyncio.retry").Retry
    backoff: Any = importlib.import_module(f"{library}.backoff").NoBackoff
    made: dict[str, Any] = {"max_connections": 1, "socket_timeout": 1, "socket_connect_timeout": 1}
    made |= {"host": "127.0.0.1", "retry": retry(backoff(), 0), **options}
    clients = [CLIENTS[library](port=port, **made) for port in ports]
    tasks = [asyncio.create_task(heard.listener.listen(client)) for client in clients]
    try:
        yield heard
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in clients:
            await client.aclose()


async def until(found: Callable[[], object], what: str, timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while not found():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


async def subscribed(server: RedisServer, channels: int = 2) -> None:
    def are_there() -> bool:
        reply = server.call("PUBSUB", "CHANNELS")
        return isinstance(reply, list) and len(reply) == channels

    await until(are_there, "the listener has subscribed")


def publish(server: RedisServer, flags: str = "Exe") -> None:
    server.call("CONFIG", "SET", "notify-keyspace-events", flags)


def expire(server: RedisServer, *keys: str) -> None:
    """Written to be gone at once; looked at afterwards, so that the server drops them."""
    for key in keys:
        server.call("SET", key, "x", "PX", 1)
    time.sleep(0.01)
    server.call("EXISTS", *keys)


def stat(server: RedisServer, name: str) -> int:
    return int(server.info("stats")[name])


@pytest.mark.parametrize("library", CLIENTS)
@pytest.mark.parametrize("protocol", [2, 3])
async def test_what_expires_is_counted_by_cache(
    new_server: RedisServer, library: str, protocol: int
) -> None:
    publish(new_server)
    async with listening(new_server.port, library=library, protocol=protocol) as heard:
        await subscribed(new_server)
        expire(new_server, *(f"user:{i}" for i in range(20)), "cart:1", "locks:1", "plain")
        new_server.call("SET", "user:kept", "x")
        new_server.call("DEL", "user:kept")
        await until(lambda: heard.counts.total() >= 22, "all are counted")

    assert heard.counts == {
        ("user", "expired"): 20,
        ("cart", "expired"): 1,
        ("plain", "expired"): 1,
    }
    assert stat(new_server, "expired_keys") == 23
    assert heard.said == []


async def test_what_is_evicted_is_counted_by_cache(new_server: RedisServer) -> None:
    publish(new_server)
    async with listening(new_server.port) as heard:
        await subscribed(new_server)
        limit = int(new_server.info("memory")["used_memory"]) + 1024 * 1024
        new_server.call("CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", "allkeys-lru")
        for i in range(300):
            new_server.call("SET", f"page:{i}", "x" * 10_240)
        evicted = stat(new_server, "evicted_keys")
        await until(lambda: heard.counts.total() >= evicted, "all are counted")

    assert heard.counts == {("page", "evicted"): evicted}
    assert evicted == 300 - int(str(new_server.call("DBSIZE"))) > 100


async def test_another_database_is_another_target(new_server: RedisServer) -> None:
    publish(new_server)
    async with listening(new_server.port, db=1) as heard:
        await subscribed(new_server)
        expire(new_server, "user:1")
        async with CLIENTS["redis"](port=new_server.port, db=1) as client:
            await client.set("cart:1", "x", px=1)
            await asyncio.sleep(0.01)
            await client.exists("cart:1")
        await until(lambda: heard.counts, "one is counted")
        await asyncio.sleep(0.2)

    assert heard.counts == {("cart", "expired"): 1}
    assert stat(new_server, "expired_keys") == 2


@pytest.mark.parametrize("flags", ["", "K$", "KA", "Ex", "KEgx"])
async def test_a_server_that_publishes_too_little_is_said_once_with_what_would_change_it(
    new_server: RedisServer, flags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says works as it stands, keeps the flags, and is left to somebody else."""
    monkeypatch.setattr(events, "FIRST_PAUSE", 0.01)
    publish(new_server, flags)
    before = new_server.call("CONFIG", "GET", "notify-keyspace-events")
    async with listening(new_server.port) as heard:
        await subscribed(new_server)
        await killed(new_server)
        after = new_server.call("CONFIG", "GET", "notify-keyspace-events")
        (said,) = heard.said
        _, command = said.split("this would change it: ")
        assert new_server.call(*shlex.split(command)) == "OK"
        reply = new_server.call("CONFIG", "GET", "notify-keyspace-events")
        expire(new_server, "user:1")
        await until(lambda: heard.counts, "one is counted")

    assert after == before
    assert isinstance(reply, list)
    assert isinstance(reply[1], str)
    assert {*flags, "E"} <= {*reply[1]}
    assert f"127.0.0.1:{new_server.port}" in said
    assert heard.counts == {("user", "expired"): 1}


@pytest.mark.parametrize("flags", ["Exe", "KEA", "AEm"])
async def test_a_server_that_publishes_enough_is_not_talked_about(
    new_server: RedisServer, flags: str
) -> None:
    publish(new_server, flags)
    async with listening(new_server.port) as heard:
        await subscribed(new_server)

    assert heard.said == []


async def test_where_the_setting_may_not_be_seen_it_says_that_it_cannot_tell(
    new_server: RedisServer,
) -> None:
    publish(new_server)
    rules = ("on", ">secret", "~*", "&*", "+@all", "-config")
    new_server.call("ACL", "SETUSER", "watcher", *rules)
    async with listening(new_server.port, username="watcher", password="secret") as heard:
        await subscribed(new_server)
        expire(new_server, "user:1")
        await until(lambda: heard.counts, "one is counted all the same")

    (said,) = heard.said
    assert "cannot tell" in said
    assert "secret" not in said


async def test_where_the_channels_may_not_be_subscribed_to_it_says_so(
    new_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(events, "LONGEST_PAUSE", 0.02)
    publish(new_server)
    rules = ("on", ">secret", "~*", "resetchannels", "+@all")
    new_server.call("ACL", "SETUSER", "watcher", *rules)
    async with listening(new_server.port, username="watcher", password="secret") as heard:
        await until(lambda: heard.said, "it says so")
        refused = new_server.commandstats()
        await until(lambda: new_server.commandstats() != refused, "it tries again")
        (said,) = heard.said
        new_server.call("ACL", "SETUSER", "watcher", "&__keyevent@0__:*")
        await subscribed(new_server)

    assert "ACL" in said
    assert "__keyevent@0__:*" in said


async def test_it_connects_again_and_goes_on(
    new_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a connection that was killed, and after a server that was."""
    monkeypatch.setattr(events, "FIRST_PAUSE", 0.05)
    publish(new_server)
    async with listening(new_server.port) as heard:
        await subscribed(new_server)
        expire(new_server, "user:1")
        await until(lambda: heard.counts["user", "expired"] == 1, "the first")
        await killed(new_server)
        expire(new_server, "user:2")
        await until(lambda: heard.counts["user", "expired"] == 2, "the second")
        new_server.kill()
        await asyncio.sleep(0.3)
        new_server.restart("--notify-keyspace-events", "Exe")
        await subscribed(new_server)
        expire(new_server, "user:3")
        await until(lambda: heard.counts["user", "expired"] == 3, "the third")

    assert heard.said == []


async def test_a_restart_that_lost_the_setting_is_said(
    new_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the client library connects again by itself."""
    monkeypatch.setattr(events, "FIRST_PAUSE", 0.05)
    publish(new_server)
    retry = Retry(ConstantBackoff(0.1), 50)
    errors = [redis.ConnectionError]
    async with listening(new_server.port, retry=retry, retry_on_error=errors) as heard:
        await subscribed(new_server)
        new_server.restart()
        await until(lambda: heard.said, "it says so")


async def test_a_connection_that_died_in_silence_is_replaced(
    new_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SILENCE", 0.2)
    monkeypatch.setattr(events, "FIRST_PAUSE", 0.05)
    publish(new_server)
    with Wire(new_server.port) as wire:
        async with listening(wire.port) as heard:
            await subscribed(new_server)
            await asyncio.sleep(1)  # quiet is not dead
            assert stat(new_server, "total_connections_received") < 100
            connected = pubsub_clients(new_server)
            wire.silence()
            await until(lambda: pubsub_clients(new_server) - connected, "it connects again")
            await subscribed(new_server)
            expire(new_server, "user:1")
            await until(lambda: heard.counts, "one is counted")

    assert len(connected) == 1


def pubsub_clients(server: RedisServer) -> set[str]:
    text = server.call("CLIENT", "LIST", "TYPE", "pubsub")
    assert isinstance(text, str)
    return {line.partition(" ")[0] for line in text.splitlines()}


async def killed(server: RedisServer) -> None:
    """The listener's connection; there is another one when this is over."""
    before = pubsub_clients(server)
    assert server.call("CLIENT", "KILL", "TYPE", "pubsub") == 1
    await until(lambda: pubsub_clients(server) - before, "the listener has subscribed again")


async def test_it_leaves_no_connection_behind(new_server: RedisServer) -> None:
    publish(new_server)
    for _ in range(5):
        async with listening(new_server.port):
            await subscribed(new_server)

    assert int(new_server.info("clients")["connected_clients"]) == 1  # who asks


async def test_of_a_cluster_each_primary_is_heard(cluster: Cluster) -> None:
    for node in cluster.primaries:
        publish(node)
    try:
        async with listening(*(node.port for node in cluster.primaries)) as heard:
            for node in cluster.primaries:
                await subscribed(node)
            async with redis.asyncio.RedisCluster(
                host=cluster.host, port=cluster.primaries[0].port
            ) as client:
                for i in range(100):
                    await client.set(f"user:{i}", "x", px=100)
            await until(lambda: heard.counts.total() >= 100, "all are counted")
    finally:
        for node in cluster.primaries:
            publish(node, "")

    counted = [stat(node, "expired_keys") for node in cluster.primaries]
    assert heard.counts == {("user", "expired"): 100}
    assert sum(counted) == 100
    assert all(counted)


async def test_a_replica_publishes_nothing_until_it_is_promoted_and_it_says_so(
    new_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(events, "LONGEST_PAUSE", 0.2)
    with RedisServer(new_server.kind, new_server.binary) as replica:
        publish(replica)
        replica.call("REPLICAOF", new_server.host, new_server.port)
        await until(lambda: replica.info("replication")["master_link_status"] == "up", "it follows")
        async with CLIENTS["redis"](port=replica.port) as client, client.pubsub() as everything:
            await everything.psubscribe("__keyevent@0__:e*")
            async with listening(replica.port) as heard:
                expire(new_server, "user:1")
                await until(lambda: replica.call("DBSIZE") == 0, "it is gone there too")
                await until(lambda: heard.said, "it says so")
                assert "__keyevent@0__:expired" not in await published(everything)

                replica.call("REPLICAOF", "NO", "ONE")
                await subscribed(replica)
                expire(replica, "user:2")
                await until(lambda: heard.counts, "one is counted")
                assert "__keyevent@0__:expired" in await published(everything)

    assert heard.counts == {("user", "expired"): 1}
    (said,) = heard.said
    assert f"127.0.0.1:{replica.port} is a replica" in said
    assert f"watch its primary, 127.0.0.1:{new_server.port}" in said


async def published(subscription: Any) -> list[str]:
    """The channels of what was published so far."""
    found = []
    while message := await subscription.get_message(timeout=0.3):
        found.append(message["channel"].decode())
    return found


FLOOD = 100_000


async def test_a_flood_is_counted_exactly_in_little_memory_and_blocks_nobody(
    new_server: RedisServer,
) -> None:
    publish(new_server)
    process = psutil.Process()
    async with listening(new_server.port) as heard:
        await subscribed(new_server)
        await fill(new_server)
        resident, blocks = process.memory_info().rss, sys.getallocatedblocks()
        pauses = asyncio.create_task(longest_pause())
        await until(lambda: heard.counts.total() >= FLOOD, "all are counted", timeout=60)
        grown = process.memory_info().rss - resident
        kept = sys.getallocatedblocks() - blocks
        pauses.cancel()
        longest = await pauses

    assert heard.counts.total() == stat(new_server, "expired_keys") == FLOOD
    assert grown < 20_000_000
    assert kept < 20_000
    assert longest < 1


async def fill(server: RedisServer) -> None:
    """Keys that will all expire at the same time."""
    dice = random.Random(7)
    at = int((time.time() + 4) * 1000)
    async with CLIENTS["redis"](port=server.port) as client:
        for _ in range(FLOOD // 5_000):
            pipeline = client.pipeline(transaction=False)
            for number in itertools.islice(iter(lambda: dice.getrandbits(64), None), 5_000):
                pipeline.set(f"user:{number}", "x", pxat=at)
            await pipeline.execute()


async def longest_pause() -> float:
    """For how long the event loop did nothing else."""
    longest = 0.0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began)
    return longest


async def test_a_fault_of_the_counting_is_told_to_who_runs_it(new_server: RedisServer) -> None:
    publish(new_server)
    async with CLIENTS["redis"](port=new_server.port) as client:
        listener = Listener(lambda key: str(1 // 0), lambda cache, reason: None, print)
        task = asyncio.create_task(listener.listen(client))
        await subscribed(new_server)
        expire(new_server, "user:1")
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(task, 5)
