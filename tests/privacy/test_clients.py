"""What an application does with each kind of client, with every word of it marked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException

from otel_redis_cache import consumed, invalidate, invalidate_async, invalidation
from otel_redis_cache.failures import failure_of
from tests.integration.kinds import CLASSES, Kind
from tests.integration.waiting import EventLoop
from tests.privacy.marks import leaks, mark, marks_in
from tests.real.clusters import Cluster
from tests.real.processes import free_ports
from tests.real.servers import RedisServer
from tests.recording import Recording
from tests.safety.application import NO_RETRY

PASSWORD, USER = mark("password"), mark("user")
KEY, LIST, HASH, STREAM = (f"user:{mark(kind)}" for kind in ("key", "list", "hash", "stream"))
CHANNEL = f"news:{mark('channel')}"

READ = f"-- {mark('body')}\nreturn redis.call('GET', KEYS[1])"
BROKEN = f"return {{ {mark('body')} {mark('source')}"


def write(client: Any) -> None:
    client.set(KEY, mark("value"), ex=60)
    client.hset(HASH, mapping={mark("field"): mark("value")})
    client.rpush(LIST, mark("member"))
    client.xadd(STREAM, {mark("field"): mark("value")})


def read(client: Any) -> None:
    assert client.get(KEY) == mark("value").encode()
    assert client.get(f"user:{mark('none')}") is None
    assert client.hgetall(HASH)
    assert client.xread({STREAM: 0})


def fail(client: Any) -> None:
    """The server says what is wrong, which redis-py writes behind the command."""
    client.lpush(KEY, mark("member"))


def fail_in_a_pipeline(client: Any) -> None:
    client.pipeline(transaction=False).get(KEY).lpush(KEY, mark("member")).execute()


def fail_in_a_transaction(client: Any) -> None:
    client.pipeline(transaction=True).get(KEY).lpush(KEY, mark("member")).execute()


def send_what_is_unknown(client: Any) -> None:
    client.execute_command("NOSUCH", KEY, mark("value"))


def send_what_is_unknown_in_one_word(client: Any) -> None:
    client.execute_command(f"NOSUCH {KEY} {mark('value')}")


def send_what_cannot_be_sent(client: Any) -> None:
    client.set(KEY, {mark("field"): mark("value")})


def run_a_script(client: Any) -> None:
    client.register_script(READ)(keys=[KEY], args=[mark("argument")])


def run_a_broken_script(client: Any) -> None:
    client.eval(BROKEN, 1, KEY, mark("argument"))


def call_a_script_that_is_none(client: Any) -> None:
    client.execute_command("EVALSHA", READ, 1, KEY)


def call_a_function_that_is_none(client: Any) -> None:
    client.execute_command("FCALL", f"{mark('function')}: no function", 1, KEY)


def publish(client: Any) -> None:
    client.publish(CHANNEL, mark("message"))


def name_oneself(client: Any) -> None:
    client.execute_command("CLIENT", "SETNAME", mark("name"))


def log_in(client: Any) -> None:
    client.execute_command("AUTH", USER, PASSWORD)


def say_hello(client: Any) -> None:
    client.execute_command("HELLO", 3, "AUTH", USER, PASSWORD, "SETNAME", mark("name"))


def ask_about_a_user(client: Any) -> None:
    client.execute_command("ACL", "DRYRUN", USER, "GET", KEY)


def configure(client: Any) -> None:
    client.execute_command("CONFIG", "SET", mark("name"), PASSWORD)


STEPS: tuple[Callable[[Any], None], ...] = (
    *(write, read, fail, fail_in_a_pipeline, fail_in_a_transaction),
    *(send_what_is_unknown, send_what_is_unknown_in_one_word, send_what_cannot_be_sent),
    *(run_a_script, run_a_broken_script, call_a_script_that_is_none, call_a_function_that_is_none),
    *(publish, name_oneself, ask_about_a_user, configure),
)


def exercise(client: Any) -> list[str]:
    """The errors of what failed."""
    errors: list[str] = []
    for step in STEPS:
        try:
            step(client)
        except Exception as error:
            errors.append(f"{step.__name__}: {error}")
    return errors


def remove(kind: Kind, client: Any, loop: EventLoop, pattern: str) -> int:
    if kind.is_async:
        done = loop.result_of(invalidate_async(client._behind, pattern))
    else:
        done = invalidate(client, pattern)
    return done.removed


@pytest.mark.parametrize("kind", CLASSES, ids=[kind.name for kind in CLASSES], indirect=True)
def test_nothing_of_what_a_client_does_is_told(
    kind: Kind,
    client: Any,
    event_loop_of_clients: EventLoop,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "otel_redis_cache")
    recording.instrument()
    errors = exercise(client)
    write(client)
    removed = remove(kind, client, event_loop_of_clients, f"user:{mark('key')[:8]}*")

    assert removed == 1
    assert sum(bool(marks_in(error)) for error in errors) > 1
    assert not any(error.startswith(("write:", "read:", "run_a_script:")) for error in errors)
    assert len(recording.spans()) > len(STEPS)
    assert leaks(recording, caplog) == []
    assert {"user", "_default"} >= {cache for cache, _ in recording.lookups()} >= {"user"}


@pytest.fixture
def owner(own_server: RedisServer) -> Iterator[Any]:
    """A server that may be told anything, and its plain client."""
    with redis.Redis(port=own_server.port, retry=NO_RETRY) as client:
        yield client


def test_nothing_of_messages_is_told_with_metrics_of_them(
    owner: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument(metrics="all", propagate_context=True)
    write(owner)
    owner.xgroup_create(STREAM, mark("group"), 0)
    assert owner.xreadgroup(mark("group"), mark("consumer"), {STREAM: ">"})
    with owner.pubsub() as subscriber:
        subscriber.subscribe(CHANNEL)
        subscriber.psubscribe(f"{CHANNEL}*")
        with recording.tracer.start_as_current_span("request"):
            owner.publish(CHANNEL, mark("message"))
        while (message := subscriber.get_message(timeout=5))["type"] != "pmessage":
            pass
    with pytest.raises(ValueError, match=mark("message")), consumed(message):
        raise ValueError(message)

    assert {"redis.client.pubsub.messages", "redis.client.stream.lag"} <= recording.metrics().keys()
    assert recording.spans()[-1].name == "process"
    assert leaks(recording, caplog) == []


def test_nothing_of_who_may_not_is_told(
    owner: Any, own_server: RedisServer, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument()
    for step in (log_in, say_hello):
        with pytest.raises(redis.AuthenticationError):
            step(owner)
    owner.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~none:*", "+@all", "-set")
    denied: list[str] = []
    wrong = f"{PASSWORD}2"
    for password in (wrong, PASSWORD):
        url = f"redis://{USER}:{password}@127.0.0.1:{own_server.port}/0"
        with redis.Redis.from_url(url, retry=NO_RETRY, client_name=mark("name")) as client:
            for args in (("GET", KEY), ("INCR", KEY), ("SET", KEY, mark("value"))):
                with pytest.raises(redis.RedisError) as raised:
                    client.execute_command(*args)
                denied.append(str(raised.value))
            assert invalidate(client, f"{KEY}*").error is None or password == wrong

    assert len(denied) == 6
    assert len(recording.spans()) == 11
    assert leaks(recording, caplog) == []


def test_nothing_of_a_connection_that_fails_is_told(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    (port,) = free_ports(1)
    recording.instrument()
    url = f"redis://{USER}:{PASSWORD}@127.0.0.1:{port}/0?client_name={mark('name')}"
    with redis.Redis.from_url(url, retry=NO_RETRY) as client:
        for _ in range(3):
            with pytest.raises(redis.ConnectionError):
                client.set(KEY, mark("value"))
        assert invalidate(client, f"{KEY}*").outcome == "failure"

    assert recording.operations() == ["SET", "SET", "SET", "cache.invalidate"]
    assert leaks(recording, caplog) == []


def test_a_url_in_the_place_of_a_host_is_told_without_its_login(
    recording: Recording, caplog: pytest.LogCaptureFixture, event_loop_of_clients: EventLoop
) -> None:
    """Of a Sentinel, and of a node of a cluster: nobody can connect there, but calls have spans."""
    login = f"redis://{USER}:{PASSWORD}@"
    recording.instrument()
    sentinels = [(f"{login}localhost", 1)]
    finder = redis.Sentinel(sentinels, sentinel_kwargs={"retry": NO_RETRY}, retry=NO_RETRY)
    with finder.master_for("shop") as client, pytest.raises(redis.RedisError):
        client.get(KEY)

    async def ask() -> None:
        never = redis.asyncio.retry.Retry(NoBackoff(), 0)
        cluster = redis.asyncio.RedisCluster(host=f"{login}localhost", port=1, retry=never)
        try:
            await cluster.get(KEY)
        finally:
            await cluster.aclose()

    with pytest.raises(RedisClusterException):
        event_loop_of_clients.result_of(ask())

    addresses = [(span.attributes or {}).get("server.address") for span in recording.spans()]
    assert addresses == ["localhost:1/shop", "localhost"]
    assert leaks(recording, caplog) == []


def test_nothing_of_what_moved_is_told(
    valkey_cluster: Cluster, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    """A client of one node cannot follow."""
    recording.instrument()
    moved = 0
    with redis.Redis(port=valkey_cluster.nodes[0].port) as client:
        for number in range(20):
            try:
                client.set(f"user:{mark(str(number))}", mark("value"))
            except redis.ResponseError as error:
                moved += failure_of(error).status == "MOVED"
            with pytest.raises(redis.ResponseError):
                client.mset({f"user:{mark(f'{number}{x}')}": mark("value") for x in "abc"})

    assert moved > 3
    assert leaks(recording, caplog) == []


def test_reasons_are_told_as_they_are_given_and_nothing_beside_them(
    owner: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument()
    write(owner)
    with invalidation("deploy", trigger="admin"):
        owner.delete(KEY)
    told = recording.everything()

    assert '"deploy"' in told
    assert '"admin"' in told
    assert leaks(recording, caplog) == []


def test_nothing_that_a_local_cache_has_is_told(
    redis_8_server: RedisServer, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    cache: Any = pytest.importorskip("redis.cache", reason="since redis-py 5.1")
    recording.instrument()
    options = {"protocol": 3, "cache_config": cache.CacheConfig()}
    redis_8_server.flush()
    with redis.Redis(port=redis_8_server.port, **options) as client:
        write(client)
        assert client.get(KEY) == client.get(KEY)

    assert recording.counts("redis.client.csc.requests") == {"hit": 1, "miss": 1}
    assert leaks(recording, caplog) == []
