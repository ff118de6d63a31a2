"""Pipelines, transactions, WATCH, scripts and locks of every kind of client on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.trace import StatusCode

from tests.integration.kinds import (
    BATCHING,
    Kind,
    Place,
    batches,
    ids,
    only,
    outside_clusters,
    with_transactions,
)
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of
from tests.safety.application import NO_RETRY


@pytest.fixture(params=BATCHING, ids=ids(BATCHING))
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
async def async_client(server: RedisServer) -> AsyncIterator[Any]:
    async with redis.asyncio.Redis(host=server.host, port=server.port) as client:
        yield client


@batches()
def test_a_batch_is_one_span_one_duration_and_every_lookup(
    client: Any, recording: Recording, transaction: bool
) -> None:
    client.set("user:{1}", "x")
    recording.instrument()
    pipe = client.pipeline(transaction=transaction)
    pipe.get("user:{1}").get("user:{1}:2").hget("cart:{1}", "name").set("user:{1}:3", "y", ex=9)
    replies = pipe.execute()
    operation = "MULTI" if transaction else "PIPELINE"
    attributes = attributes_of(recording.span())

    assert replies[:2] == [b"x", None]
    assert recording.span().name == operation
    assert attributes["db.operation.batch.size"] == 4
    assert attributes["db.query.text"] == "GET ?; GET ?; HGET ? ?; SET ? ? EX ?"
    assert (attributes["cache.hits"], attributes["cache.misses"]) == (1, 2)
    assert recording.lookups() == {("user", "hit"): 1, ("user", "miss"): 1, ("cart", "miss"): 1}
    assert recording.counts("cache.writes") == {("user", "set", "stored"): 1}
    assert recording.counts("db.client.operation.duration") == {operation: 1}


def test_a_batch_of_one_command_is_that_command(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.pipeline().get("user:1").execute()
    attributes = attributes_of(recording.span())

    assert recording.span().name == "GET"
    assert "db.operation.batch.size" not in attributes
    assert attributes["cache.hit"] is False


def test_a_batch_of_one_kind_is_named_after_it(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.pipeline(transaction=False).get("user:1").get("user:2").execute()
    attributes = attributes_of(recording.span())

    assert recording.span().name == "PIPELINE GET"
    assert attributes["db.query.text"] == "GET ?"
    assert attributes["cache.name"] == "user"


def test_an_empty_pipeline_sends_nothing_and_makes_nothing(
    client: Any, recording: Recording
) -> None:
    recording.instrument()

    assert client.pipeline().execute() == []
    assert recording.spans() == []
    assert recording.counts("db.client.operation.duration") == {}


@batches()
@pytest.mark.parametrize("raises", [False, True])
def test_a_failed_command_in_a_batch_leaves_the_others_counted(
    kind: Kind, client: Any, recording: Recording, transaction: bool, raises: bool
) -> None:
    client.set("user:{1}", "x")
    client.lpush("list:{1}", "x")
    recording.instrument()
    pipe = client.pipeline(transaction=transaction)
    pipe.get("user:{1}").get("list:{1}").get("user:{1}:2")
    pipe.delete("user:{1}")
    pipe.get("list:{1}")
    if raises:
        with pytest.raises(kind.library.ResponseError, match="Command # 2 "):
            pipe.execute()
    else:
        pipe.execute(raise_on_error=False)
    span = recording.span()
    attributes = attributes_of(span)

    assert recording.lookups() == {
        ("user", "hit"): 1,
        ("user", "miss"): 1,
        ("list", "error"): 2,
    }
    assert recording.counts("cache.invalidations") == {("user", "delete"): 1}
    assert span.status.status_code is StatusCode.ERROR
    assert attributes["error.type"] == "WRONGTYPE"
    assert attributes["redis.batch.failed.count"] == 2
    assert attributes["redis.batch.failed.index"] == 1
    assert attributes["redis.batch.failed.operation"] == "GET"


@only(with_transactions, because="it has no transactions", among=BATCHING)
def test_a_command_refused_while_queued_fails_the_whole_transaction(
    kind: Kind, client: Any, recording: Recording
) -> None:
    client.set("user:1", "x")
    recording.instrument()
    pipe = client.pipeline(transaction=True)
    pipe.get("user:1").execute_command("GET", "user:1", "too", "many")
    with pytest.raises(kind.library.ResponseError):
        pipe.execute()
    attributes = attributes_of(recording.span())

    assert recording.lookups() == {("user", "error"): 2}
    assert attributes["error.type"] == "ERR"
    assert attributes["redis.batch.failed.count"] == 2
    assert attributes["redis.batch.failed.index"] == 1


def test_an_expire_in_the_same_batch_gives_a_write_its_ttl(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    client.pipeline().set("user:{1}", "x").expire("user:{1}", 60).set("user:{1}:2", "x").execute()

    assert recording.counts("cache.writes") == {
        ("user", "set", "stored"): 1,
        ("user", "none", "stored"): 1,
    }


def test_a_lost_connection_makes_every_lookup_of_a_batch_an_error(recording: Recording) -> None:
    recording.instrument()
    client: Any = redis.Redis(host="127.0.0.1", port=1, retry=NO_RETRY)
    with pytest.raises(redis.ConnectionError):
        client.pipeline().get("user:1").mget("user:2", "cart:1").execute()

    assert recording.lookups() == {("user", "error"): 2, ("cart", "error"): 1}
    assert "redis.batch.failed.count" not in attributes_of(recording.span())


def test_a_response_callback_that_fails_makes_lookups_errors(
    client: Any, recording: Recording
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    client.set_response_callback("GET", broken)
    recording.instrument()
    with pytest.raises(ZeroDivisionError):
        client.pipeline(transaction=False).get("user:1").get("user:2").execute()

    assert recording.lookups() == {("user", "error"): 2}


@only(with_transactions, because="it has no transactions", among=BATCHING)
def test_an_optimistic_lock_that_lost_is_no_error_and_no_lookup(
    kind: Kind, client: Any, recording: Recording
) -> None:
    recording.instrument()
    with client.pipeline(transaction=True) as pipe:
        pipe.watch("user:{1}")
        assert pipe.get("user:{1}") is None
        client.set("user:{1}", "changed")
        pipe.multi()
        pipe.get("user:{1}")
        pipe.get("user:{1}:2")
        with pytest.raises(kind.library.WatchError):
            pipe.execute()

    assert recording.operations() == ["WATCH", "GET", "SET", "MULTI GET"]
    assert recording.spans()[-1].status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes_of(recording.spans()[-1])
    assert recording.lookups() == {("user", "miss"): 1}


@only(
    lambda kind: kind.has_transactions and not (kind.is_cluster and kind.is_async),
    because="it has no transactions, or only takes what is awaited",
    among=BATCHING,
)
def test_a_transaction_that_is_tried_again_is_seen_each_time(
    place: Place, client: Any, recording: Recording
) -> None:
    recording.instrument()
    tries: list[int] = []

    def change(pipe: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            place.call("SET", "user:1", "other")
        pipe.multi()
        pipe.set("user:1", "mine")
        pipe.get("user:1")

    assert client.transaction(change, "user:1")[1] == b"mine"
    assert recording.operations() == ["WATCH", "MULTI", "WATCH", "MULTI"]
    assert recording.lookups() == {("user", "hit"): 1}


def test_a_script_that_the_server_lost_is_one_call_without_an_error(
    client: Any, recording: Recording
) -> None:
    client.script_flush()
    recording.instrument()
    script = client.register_script("return redis.call('SET', KEYS[1], ARGV[1])")
    script(keys=["user:1"], args=["x"])
    script(keys=["user:1"], args=["y"])
    first, second = recording.spans()

    assert [first.name, second.name] == ["EVALSHA", "EVALSHA"]
    assert first.status.status_code is StatusCode.UNSET
    assert attributes_of(first)["redis.client.script.loads"] == 1
    assert "redis.client.script.loads" not in attributes_of(second)
    assert attributes_of(first)["db.stored_procedure.name"] == script.sha
    assert recording.counts("db.client.operation.duration") == {"EVALSHA": 2}


@only(outside_clusters, because="a cluster's pipeline loads no scripts", among=BATCHING)
def test_a_script_in_a_pipeline_is_part_of_the_batch(client: Any, recording: Recording) -> None:
    client.script_flush()
    recording.instrument()
    script = client.register_script("return 1")
    pipe = client.pipeline()
    script(client=pipe)
    pipe.get("user:1")

    assert pipe.execute() == [1, None]
    assert recording.operations() == ["MULTI"]
    assert attributes_of(recording.span())["redis.client.script.loads"] == 1


def test_a_script_takes_arguments_that_can_be_read_once(client: Any, recording: Recording) -> None:
    client.script_flush()
    recording.instrument()
    script = client.register_script("return ARGV[2]")

    assert script(args=iter(["a", "b"])) == b"b"


def test_a_script_that_fails_is_an_error(kind: Kind, client: Any, recording: Recording) -> None:
    recording.instrument()
    script = client.register_script("return redis.error_reply('WRONGTYPE no')")
    with pytest.raises(kind.library.ResponseError):
        script(keys=["user:1"])

    assert attributes_of(recording.span())["error.type"] == "WRONGTYPE"


def test_an_unknown_script_without_a_repair_is_an_error(
    kind: Kind, client: Any, recording: Recording
) -> None:
    recording.instrument()
    with pytest.raises(kind.library.exceptions.NoScriptError):
        client.evalsha("0" * 40, 0)

    assert attributes_of(recording.span())["error.type"] == "NOSCRIPT"


def test_a_lock_not_obtained_is_no_error(client: Any, recording: Recording) -> None:
    rules = {"-": "lock:*"}
    recording.instrument(caches=rules)
    with client.lock("lock:job", timeout=5):
        assert not client.lock("lock:job", timeout=5, blocking=False).acquire()

    assert recording.operations() == ["SET", "SET", "EVALSHA"]
    assert {span.status.status_code for span in recording.spans()} == {StatusCode.UNSET}
    assert recording.counts("cache.writes") == {}


async def test_asyncio_batches_scripts_and_locks_are_seen_alike(
    async_client: Any, recording: Recording
) -> None:
    await async_client.script_flush()
    await async_client.lpush("list:1", "x")
    recording.instrument()
    pipe = async_client.pipeline()
    assert await pipe.set("user:1", "x").get("user:1").get("user:2").execute() == [True, b"x", None]
    with pytest.raises(redis.ResponseError):
        await async_client.pipeline().get("list:1").get("user:1").execute()
    script = async_client.register_script("return 7")
    assert await script() == 7
    async with async_client.lock("lock:job", timeout=5):
        pass
    async with async_client.pipeline() as watching:
        await watching.watch("user:1")
        await watching.get("user:1")
        await async_client.set("user:1", "y")
        watching.multi()
        watching.get("user:1")
        with pytest.raises(redis.WatchError):
            await watching.execute()

    assert recording.operations() == [
        "MULTI",
        "MULTI GET",
        "EVALSHA",
        "SET",
        "EVALSHA",
        "WATCH",
        "GET",
        "SET",
        "GET",
    ]
    failed = [s.name for s in recording.spans() if s.status.status_code is StatusCode.ERROR]
    assert failed == ["MULTI GET"]
    assert attributes_of(recording.spans()[1])["redis.batch.failed.index"] == 0
    assert recording.lookups() == {
        ("user", "hit"): 3,
        ("user", "miss"): 1,
        ("list", "error"): 1,
    }


def test_a_failed_command_is_on_the_duration_whatever_else_is_off(
    client: Any, recording: Recording
) -> None:
    client.set("user:1", "x")
    recording.instrument(metrics="operations", traces=False)
    client.pipeline(transaction=False).get("user:1").lpush("user:1", "y").execute(
        raise_on_error=False
    )

    assert recording.counts("db.client.operation.duration") == {
        ("PIPELINE", "WRONGTYPE", "WRONGTYPE"): 1
    }


def test_an_expire_of_a_batch_is_about_its_own_key(
    valkey_server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        batch, transaction = client.pipeline(transaction=False), client.pipeline()
        batch.mset({"user:1": "x", "cart:1": "y"})
        batch.expire("user:1", 60)
        batch.execute()
        transaction.set("page:1", "x")
        transaction.expire("page:1", 0)
        transaction.execute()

        assert (client.ttl("cart:1"), client.exists("page:1")) == (-1, 0)
    assert recording.counts("cache.writes") == {
        ("user", "set", "stored"): 1,
        ("cart", "none", "stored"): 1,
        ("page", "none", "stored"): 1,
    }
