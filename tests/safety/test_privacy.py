"""What an application puts into its commands leaves the process only as it was asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from otel_redis_cache import consumed
from otel_redis_cache.commands import TABLE
from tests.real.servers import RedisServer
from tests.recording import Recording
from tests.safety.application import NO_RETRY

TOKEN = "tkn7QzX"  # stands for whatever must not leave the process

COMMANDS: tuple[tuple[Any, ...], ...] = (
    ("AUTH", f"u{TOKEN}", f"p{TOKEN}"),
    ("HELLO", 3, "AUTH", f"u{TOKEN}", f"p{TOKEN}"),
    ("ACL SETUSER", f"u{TOKEN}", f">p{TOKEN}"),
    ("CONFIG SET", f"masterauth{TOKEN}", f"p{TOKEN}"),
    ("CONFIG", f"{TOKEN}", f"p{TOKEN}"),
    ("MIGRATE", "127.0.0.1", 1, f"user:{TOKEN}", 0, 5, "AUTH", f"p{TOKEN}"),
    ("EVAL", f"return '{TOKEN}'", 1, f"user:{TOKEN}", f"a{TOKEN}"),
    ("SET", f"user:{TOKEN}", f"v{TOKEN}"),
    ("SET", f"user:{TOKEN}", f"v{TOKEN}", "EX", 60, "NX"),
    ("GET", f"user:{TOKEN}"),
    (f"GET user:{TOKEN}",),
    ("MSET", f"user:{TOKEN}", f"v{TOKEN}"),
    ("HSET", f"user:{TOKEN}2", f"f{TOKEN}", f"v{TOKEN}"),
    ("HGETALL", f"user:{TOKEN}2"),
    ("LPUSH", f"user:{TOKEN}", f"v{TOKEN}"),
    ("ZADD", f"user:{TOKEN}3", 1, f"m{TOKEN}"),
    ("SORT", f"user:{TOKEN}", "BY", f"w{TOKEN}", "GET", f"g{TOKEN}"),
    ("CLIENT SETNAME", f"n{TOKEN}"),
    ("PUBLISH", f"c{TOKEN}", f"m{TOKEN}"),
    ("XADD", f"orders:{TOKEN}", "*", f"f{TOKEN}", f"v{TOKEN}"),
    ("XGROUP CREATE", f"orders:{TOKEN}", f"g{TOKEN}", 0),
    ("XREADGROUP", "GROUP", f"g{TOKEN}", f"c{TOKEN}", "STREAMS", f"orders:{TOKEN}", ">"),
    ("FT.SEARCH", f"i{TOKEN}", f"@name:{TOKEN}"),
    ("SCRIPT LOAD", f"return '{TOKEN}'"),
    ("ECHO", f"e{TOKEN}"),
)


@pytest.fixture
def client(valkey_server: RedisServer) -> Iterator[Any]:
    valkey_server.flush()
    where = {"host": valkey_server.host, "port": valkey_server.port}
    with redis.Redis(**where, retry=NO_RETRY) as client:  # type: ignore[arg-type]
        yield client


def send(call: Callable[..., Any], *args: Any) -> None:
    with contextlib.suppress(redis.RedisError):
        call(*args)


def exercise(client: Any) -> None:
    """Each command alone, in a pipeline and in a transaction; most of them fail, some do not."""
    for args in COMMANDS:
        send(client.execute_command, *args)
        for transaction in (True, False):
            pipe = client.pipeline(transaction=transaction)
            pipe.execute_command(*args)
            pipe.execute_command(*args)
            pipe.execute_command("GET", f"user:{TOKEN}")
            send(pipe.execute)


def test_nothing_of_a_message_is_exported(client: Any, recording: Recording) -> None:
    recording.instrument(metrics="all", propagate_context=True)
    exercise(client)
    with client.pubsub() as subscriber:
        subscriber.subscribe(f"c{TOKEN}")
        client.publish(f"c{TOKEN}", f"m{TOKEN}")
        while (message := subscriber.get_message(timeout=5))["type"] != "message":
            pass
    with consumed(message):
        pass

    assert {"redis.client.pubsub.messages", "redis.client.stream.lag"} <= recording.metrics().keys()
    assert recording.spans()[-1].name == "process"
    assert TOKEN.lower() not in recording.everything().lower()


def test_no_argument_and_no_key_is_exported_by_default(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument()
    exercise(client)
    exported = recording.everything()

    assert len(recording.spans()) > 60
    assert '"user"' in exported  # the cache name is all that is left of a key
    assert TOKEN.lower() not in exported.lower()
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("shape", ["{}", "{}:1", "{{{}}}:1", ":1:{}:1"])
@pytest.mark.parametrize(
    "identifier",
    ["alice@example.com", "+4915112345678", "deadbeefcafe", "550e8400-e29b-41d4-a716-446655440000"],
)
def test_what_identifies_somebody_is_no_cache_name(
    client: Any, recording: Recording, shape: str, identifier: str
) -> None:
    recording.instrument()
    client.get(shape.format(identifier))

    assert identifier not in recording.everything()
    assert recording.lookups() == {("_default", "miss"): 1}


def test_a_name_of_an_unknown_command_drops_what_stands_behind_it(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    send(client.execute_command, f"MYCMD secret{TOKEN}", f"x{TOKEN}")

    assert recording.operations() == ["MYCMD"]
    assert TOKEN not in recording.everything()


def test_keys_are_shown_where_asked_for_and_values_never(client: Any, recording: Recording) -> None:
    recording.instrument(query_text="keys")
    client.set("user:shown", f"v{TOKEN}")
    send(client.execute_command, "AUTH", f"p{TOKEN}")
    client.pipeline().hset("user:hash", f"f{TOKEN}", f"v{TOKEN}").get("user:shown").execute()
    exported = recording.everything()

    assert "SET user:shown ?" in exported
    assert "HSET user:hash ? ?; GET user:shown" in exported
    assert TOKEN not in exported


def test_an_error_text_that_echoes_arguments_is_not_exported(
    client: Any, recording: Recording
) -> None:
    client.set("user:1", "x")
    recording.instrument()
    for transaction in (True, False):
        with pytest.raises(redis.ResponseError, match=TOKEN):
            client.pipeline(transaction=transaction).lpush("user:1", TOKEN).execute()
    with pytest.raises(redis.ResponseError, match=TOKEN):
        client.execute_command("NOSUCH", TOKEN)

    assert TOKEN not in recording.everything()


def test_no_command_of_the_table_shows_an_operand_of_the_application(
    recording: Recording,
) -> None:
    from otel_redis_cache.commands import Commands

    commands = Commands()
    for name in TABLE:
        args = (*name.split(" "), *[f"{TOKEN}{i}" for i in range(9)])
        assert TOKEN not in commands.text_of(commands.describe(args))
