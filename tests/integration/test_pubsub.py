"""Pub/Sub messages, counted where they are sent and where they arrive; the server says how many."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
import redis.asyncio.cluster
from opentelemetry.instrumentation.utils import suppress_instrumentation
from redis.cluster import RedisCluster
from valkey.cluster import ValkeyCluster

from otel_redis_cache import RedisCacheInstrumentor, clients
from tests.integration.messaging import CLIENTS, closed, connect, done, messages_of
from tests.real.clusters import Cluster
from tests.real.servers import RedisServer
from tests.recording import TARGET, Recording, attributes_of

MESSAGES = "redis.client.pubsub.messages"


@pytest.fixture(params=CLIENTS)
async def client(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[Any]:
    made = connect(request.param, server)
    yield made
    await closed(made)


async def test_messages_are_counted_where_they_are_sent_and_where_they_arrive(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    recording.instrument(metrics="pubsub", channels="news=news:*")
    pubsub = client.pubsub()
    await done(pubsub.subscribe("news:1", "other:1"))
    await done(pubsub.psubscribe("news:*"))
    confirmations = await messages_of(pubsub, 3)
    taken = [await done(client.publish("news:1", "x")) for _ in range(5)]
    taken += [await done(client.publish("other:1", b"y")) for _ in range(2)]
    await messages_of(pubsub, sum(taken))
    subscribers = server.call("PUBSUB", "NUMSUB", "news:1")
    await closed(pubsub)

    assert [message["type"] for message in confirmations] == ["subscribe"] * 2 + ["psubscribe"]
    assert subscribers == ["news:1", 1]
    assert server.commandstats()["publish"] == 7
    assert recording.counts(MESSAGES) == {
        ("publish", "news"): 5,
        ("receive", "news"): sum(taken[:5]),
        "publish": 2,
        "receive": sum(taken[5:]),
    }
    assert sum(taken) == 12
    assert set(recording.metrics()) == {MESSAGES}


async def test_messages_of_batches_count_where_the_server_took_them(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    recording.instrument(metrics="pubsub")
    for transaction in (True, False):
        pipe = client.pipeline(transaction=transaction)
        pipe.publish("news:1", "x")
        pipe.set("user:1", "x")
        pipe.spublish("news:2", "x")
        pipe.lpush("user:1", "no list")
        pipe.execute_command("PUBLISH", "news:1", "x")
        await done(pipe.execute(raise_on_error=False))
    watching = client.pipeline()
    await done(watching.watch("user:1"))
    await done(client.set("user:1", "changed"))
    watching.multi()
    watching.publish("news:1", "never sent")
    with pytest.raises(Exception, match="Watched variable changed"):
        await done(watching.execute())

    stats = server.commandstats()
    assert (stats["publish"], stats["spublish"]) == (4, 2)
    assert recording.counts(MESSAGES) == {"publish": 6}


async def test_publish_makes_a_span_and_a_subscriber_makes_none(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    pubsub = client.pubsub()
    await done(pubsub.subscribe("news:1"))
    await messages_of(pubsub, 1)
    for _ in range(5):
        assert await done(pubsub.get_message(timeout=0.01)) is None
    await done(client.publish("news:1", "secret"))
    await messages_of(pubsub, 1)
    await done(pubsub.ping())
    await done(pubsub.unsubscribe())
    await closed(pubsub)

    assert server.commandstats()["subscribe"] == 1
    assert recording.operations() == ["PUBLISH"]
    assert attributes_of(recording.span())["db.query.text"] == "PUBLISH ? ?"
    assert recording.points(MESSAGES) == []  # off by default
    assert "secret" not in recording.everything()


async def test_a_refused_message_is_not_counted(client: Any, recording: Recording) -> None:
    recording.instrument(metrics="pubsub")
    with pytest.raises(Exception, match="wrong number of arguments"):
        await done(client.execute_command("PUBLISH", "news:1"))

    assert recording.points(MESSAGES) == []


async def test_sharded_messages_count_alike(client: Any, recording: Recording) -> None:
    recording.instrument(metrics="pubsub", channels="news=news:{id}")
    pubsub = client.pubsub()
    await done(pubsub.execute_command("SSUBSCRIBE", "news:1"))
    assert await done(pubsub.parse_response(block=True)) is not None
    await done(client.execute_command("SPUBLISH", "news:1", "x"))
    kind, channel, data = await done(pubsub.parse_response(block=True))
    await closed(pubsub)

    assert (kind, channel, data) == (b"smessage", b"news:1", b"x")
    assert recording.counts(MESSAGES) == {("publish", "news"): 1, ("receive", "news"): 1}


@pytest.mark.parametrize("options", [{"protocol": 3}, {"decode_responses": True}], ids=str)
@pytest.mark.parametrize("name", CLIENTS)
async def test_messages_count_in_every_shape(
    server: RedisServer, recording: Recording, name: str, options: dict[str, Any]
) -> None:
    recording.instrument(metrics="pubsub", channels="news=news:*")
    client = connect(name, server, **options)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await done(pubsub.subscribe("news:1"))
    await done(client.publish("news:1", "x"))
    (message,) = await messages_of(pubsub, 1)
    await closed(pubsub)
    await closed(client)

    assert message["data"] in ("x", b"x")
    assert recording.counts(MESSAGES) == {("publish", "news"): 1, ("receive", "news"): 1}


@pytest.mark.parametrize("name", ["redis", "valkey"])
def test_handlers_get_what_they_would_get(
    server: RedisServer, recording: Recording, name: str
) -> None:
    recording.instrument(metrics="pubsub")
    got: list[Any] = []
    all_there = threading.Event()

    def handle(message: Any) -> None:
        got.append(message)
        if len(got) == 3:
            all_there.set()

    with connect(name, server) as client:
        pubsub = client.pubsub()
        pubsub.subscribe(**{"news:1": handle})
        thread = pubsub.run_in_thread(sleep_time=0.01)
        for i in range(3):
            client.publish("news:1", i)
        assert all_there.wait(10)
        thread.stop()
        thread.join()

    assert [message["data"] for message in got] == [b"0", b"1", b"2"]
    assert recording.counts(MESSAGES) == {"publish": 3, "receive": 3}


async def test_an_asyncio_subscriber_that_runs_is_counted(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument(metrics="pubsub")
    got: asyncio.Queue[Any] = asyncio.Queue()

    async def handle(message: Any) -> None:
        await got.put(message["data"])

    async with (
        redis.asyncio.Redis(host=server.host, port=server.port) as client,
        client.pubsub() as pubsub,
    ):
        await pubsub.subscribe(**{"news:1": handle})
        running = asyncio.create_task(pubsub.run())
        await client.publish("news:1", "x")
        assert await asyncio.wait_for(got.get(), 10) == b"x"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert recording.counts(MESSAGES) == {"publish": 1, "receive": 1}


def test_a_subscriber_belongs_to_the_client_that_made_it(
    server: RedisServer, recording: Recording
) -> None:
    with connect("redis", server) as watched, connect("redis", server) as other:
        recording.opt_in(metrics="pubsub")
        RedisCacheInstrumentor.instrument_client(watched, metrics="pubsub", **recording.providers)
        subscribers = [watched.pubsub(), other.pubsub()]
        for pubsub in subscribers:
            pubsub.subscribe("news:1")
            assert pubsub.get_message(timeout=1)["type"] == "subscribe"
        assert other.publish("news:1", "x") == 2
        for pubsub in subscribers:
            assert pubsub.get_message(timeout=1)["data"] == b"x"
            pubsub.close()
        RedisCacheInstrumentor.uninstrument_client(watched)

    assert recording.counts(MESSAGES) == {"receive": 1}


@pytest.mark.parametrize("cluster_class", [RedisCluster, ValkeyCluster])
def test_a_subscriber_of_a_cluster_receives_for_the_cluster(
    cluster: Cluster, recording: Recording, cluster_class: Any
) -> None:
    recording.instrument(metrics="pubsub", channels="news=news:*")
    channels = [f"news:{i}" for i in range(6)]  # on every node
    with cluster_class(host=cluster.host, port=cluster.ports[0]) as client:
        pubsub = client.pubsub()
        pubsub.subscribe("news:all")
        for channel in channels:
            pubsub.ssubscribe(channel)
        with suppress_instrumentation():  # what is published is another test's
            client.publish("news:all", "x")
            for channel in channels:
                node = client.get_node_from_key(channel)
                client.execute_command("SPUBLISH", channel, "x", target_nodes=node)
        data: list[Any] = []
        for _ in range(400):
            found = [pubsub.get_message(timeout=0.01), pubsub.get_sharded_message()]
            data += [m["data"] for m in found if m and m["type"].endswith("message")]
            if len(data) == 7:
                break
        target = clients.target_of(client)
        pubsub.close()

    assert data == [b"x"] * 7
    assert recording.counts(MESSAGES) == {("receive", "news"): 7}
    for attributes, _ in recording.points(MESSAGES):
        assert {k: v for k, v in attributes.items() if k in TARGET} == target.attributes


@pytest.mark.skipif(
    not hasattr(redis.asyncio.cluster, "ClusterPubSub"),
    reason="redis-py's asyncio cluster clients have subscribers from 8 on",
)
async def test_a_subscriber_of_an_asyncio_cluster_receives_for_the_cluster(
    cluster: Cluster, recording: Recording
) -> None:
    recording.instrument(metrics="pubsub")
    client: Any
    async with redis.asyncio.RedisCluster(host=cluster.host, port=cluster.ports[0]) as client:
        pubsub = client.pubsub()
        for channel in ("news:1", "news:2", "news:3", "news:4"):
            await pubsub.ssubscribe(channel)
            with suppress_instrumentation():
                await client.execute_command("SPUBLISH", channel, "x")
        data: list[Any] = []
        for _ in range(400):
            found = await pubsub.get_sharded_message(timeout=0.01)
            data += [found["data"]] if found and found["type"] == "smessage" else []
            if len(data) == 4:
                break
        target = clients.target_of(client)
        await pubsub.aclose()

    assert data == [b"x"] * 4
    ((attributes, received),) = recording.points(MESSAGES)
    assert received == 4
    assert attributes == {**target.attributes, "redis.client.pubsub.message.direction": "receive"}
