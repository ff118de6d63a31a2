"""What it took to get an answer: the node that gave it, and the attempts before."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from inspect import isawaitable
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.retry
import redis.backoff
import redis.retry
import valkey
import valkey.asyncio
import valkey.backoff
from redis.backoff import NoBackoff
from redis.retry import Retry

from otel_redis_cache import connections
from tests.real.servers import RedisServer
from tests.real.wires import Wire
from tests.recording import Recording, attributes_of

CLIENTS: dict[str, Any] = {
    "redis": redis.Redis,
    "redis.asyncio": redis.asyncio.Redis,
    "valkey": valkey.Valkey,
    "valkey.asyncio": valkey.asyncio.Valkey,
}
RETRIES = 2


def retrying(name: str, **target: Any) -> Any:
    """A client that tries again, twice, at once."""
    library = redis if name.startswith("redis") else valkey
    package: Any = library.asyncio if name.endswith("asyncio") else library
    retry = package.retry.Retry(library.backoff.NoBackoff(), RETRIES)
    errors = [library.ConnectionError]
    return CLIENTS[name](retry=retry, retry_on_error=errors, **target)


async def awaited(value: Awaitable[Any]) -> Any:
    return await value


class Line:
    """Runs commands of a client of either kind in one event loop."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._loop = asyncio.new_event_loop()

    def __call__(self, step: Callable[[Any], Any]) -> Any:
        async def run() -> Any:
            reply = step(self.client)
            return await reply if isawaitable(reply) else reply

        return self._loop.run_until_complete(run())

    def close(self) -> None:
        close = getattr(self.client, "aclose", self.client.close)
        self(lambda _: close())
        self._loop.close()


@pytest.fixture(params=list(CLIENTS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def line(name: str, **target: Any) -> Iterator[Line]:
    made = Line(retrying(name, **target))
    try:
        yield made
    finally:
        made.close()


@contextmanager
def closing_at_once() -> Iterator[tuple[int, list[int]]]:
    """A port that takes each connection, remembers it, and closes it."""
    taken: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take() -> None:
            while True:
                try:
                    connection, (_, port) = listener.accept()
                except OSError:
                    return
                taken.append(port)
                connection.close()

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield listener.getsockname()[1], taken
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def test_a_span_names_the_node_that_answered(
    name: str, valkey_server: RedisServer, recording: Recording
) -> None:
    with line(name, host="localhost", port=valkey_server.port) as run:
        recording.instrument()
        run(lambda client: client.get("user:1"))
        run(lambda client: client.pipeline().get("user:1").get("user:2").execute())
    one, batch = (attributes_of(span) for span in recording.spans())

    assert one["server.address"] == batch["server.address"] == "localhost"
    for attributes in (one, batch):
        assert attributes["network.peer.address"] in ("127.0.0.1", "::1")
        assert attributes["network.peer.port"] == valkey_server.port


def test_a_node_is_asked_for_its_address_once_for_each_connection(
    valkey_server: RedisServer, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    ask = connections._asked
    monkeypatch.setattr(connections, "_asked", lambda socket: asked.append(1) or ask(socket))
    recording.instrument()
    with redis.Redis(port=valkey_server.port, retry=Retry(NoBackoff(), 1)) as client:
        for _ in range(5):
            client.get("user:1")
        assert len(asked) == 1
        client.connection_pool.disconnect()
        client.get("user:1")

    assert len(asked) == 2
    assert {attributes_of(s)["network.peer.port"] for s in recording.spans()} == {
        valkey_server.port
    }


def test_an_error_of_the_server_has_a_node_and_a_lost_connection_has_none(
    name: str, valkey_server: RedisServer, recording: Recording
) -> None:
    valkey_server.flush()
    with line(name, host="127.0.0.1", port=valkey_server.port) as run:
        run(lambda client: client.lpush("list:1", "x"))
        recording.instrument()
        with pytest.raises((redis.ResponseError, valkey.ResponseError)):
            run(lambda client: client.get("list:1"))
    with line(name, port=1) as run, pytest.raises((redis.RedisError, valkey.ValkeyError)):
        run(lambda client: client.get("user:1"))
    wrong, lost = (attributes_of(span) for span in recording.spans())

    assert wrong["network.peer.port"] == valkey_server.port
    assert "network.peer.address" not in lost
    assert "network.peer.port" not in lost


def test_a_call_saved_by_a_retry_is_no_error(
    name: str, valkey_server: RedisServer, recording: Recording
) -> None:
    valkey_server.flush()
    with Wire(valkey_server.port) as wire, line(name, host=wire.host, port=wire.port) as run:
        recording.instrument()
        assert run(lambda client: client.get("user:1")) is None
        run(lambda client: client.get("user:1"))
    first, second = (attributes_of(span) for span in recording.spans())

    assert first["redis.client.retry.count"] == 1
    assert "error.type" not in first
    assert first["network.peer.port"] == wire.port
    assert "redis.client.retry.count" not in second
    library = name.partition(".")[0]
    assert recording.counts("redis.client.retries") == {f"{library}.exceptions.ConnectionError": 1}
    assert recording.lookups() == {("user", "miss"): 2}


@pytest.mark.parametrize("transaction", [False, True])
def test_a_pipeline_that_is_sent_again_is_one_call(
    name: str, valkey_server: RedisServer, recording: Recording, transaction: bool
) -> None:
    valkey_server.flush()
    with (
        Wire(valkey_server.port, cuts=2) as wire,
        line(name, host=wire.host, port=wire.port) as run,
    ):
        recording.instrument()
        replies = run(
            lambda client: (
                client.pipeline(transaction=transaction).get("user:1").set("user:1", "x").execute()
            )
        )

    assert replies == [None, True]
    assert attributes_of(recording.span())["redis.client.retry.count"] == 2
    assert sum(recording.counts("redis.client.retries").values()) == 2
    assert recording.lookups() == {("user", "miss"): 1}


def test_a_retry_that_ends_with_an_error_is_both(
    name: str, valkey_server: RedisServer, recording: Recording
) -> None:
    with (
        Wire(valkey_server.port, cuts=RETRIES + 1) as wire,
        line(name, host=wire.host, port=wire.port) as run,
    ):
        recording.instrument()
        with pytest.raises((redis.ConnectionError, valkey.ConnectionError)):
            run(lambda client: client.get("user:1"))
    attributes = attributes_of(recording.span())

    assert wire.cuts == 0
    assert attributes["redis.client.retry.count"] == RETRIES
    assert attributes["error.type"].endswith(".ConnectionError")
    assert recording.lookups() == {("user", "error"): 1}


# valkey-py does not try again where the server closes the connection that it has just taken.
def test_every_attempt_to_connect_but_the_first_is_a_retry(name: str, recording: Recording) -> None:
    recording.instrument()
    with (
        closing_at_once() as (port, taken),
        line(name, host="127.0.0.1", port=port) as run,
        pytest.raises((redis.RedisError, valkey.ValkeyError)),
    ):
        run(lambda client: client.get("user:1"))
    attributes = attributes_of(recording.span())

    assert attributes.get("redis.client.retry.count", 0) == len(taken) - 1
    assert sum(recording.counts("redis.client.retries").values()) == len(taken) - 1
    assert recording.lookups() == {("user", "error"): 1}


def test_without_the_group_no_attempts_are_counted(
    valkey_server: RedisServer, recording: Recording
) -> None:
    recording.instrument(metrics="cache")
    with Wire(valkey_server.port) as wire, line("redis", port=wire.port) as run:
        run(lambda client: client.get("user:1"))

    assert recording.points("redis.client.retries") == []
    assert attributes_of(recording.span())["redis.client.retry.count"] == 1


async def test_a_retry_that_was_never_made_is_not_counted(recording: Recording) -> None:
    recording.instrument()
    client: Any = redis.asyncio.Redis(
        port=1,
        retry_on_error=[ConnectionError],
        retry=redis.asyncio.retry.Retry(redis.backoff.ConstantBackoff(5), 3),
    )
    with pytest.raises((TimeoutError, asyncio.TimeoutError)):
        await asyncio.wait_for(client.get("user:1"), 0.2)
    assert recording.counts("redis.client.retries") == {}


def test_what_only_looks_like_a_socket_has_no_address() -> None:
    class Socket:
        """Without getpeername(), as that of a server in memory."""

        __slots__ = ()

    class Connection:
        _sock = Socket()

    connection = Connection()

    assert connections.peer_of(connection) == {}
    assert connections.peer_of(connection) == {}


def test_a_transaction_whose_connection_was_lost_has_failed_and_was_not_tried_again(
    name: str, valkey_server: RedisServer, recording: Recording
) -> None:
    """The client calls that a WatchError, as if a watched key had changed."""
    valkey_server.flush()
    with (
        Wire(valkey_server.port, word=b"EXEC") as wire,
        line(name, host=wire.host, port=wire.port) as run,
    ):
        recording.instrument()
        pipe = run(lambda client: client.pipeline())
        run(lambda _: pipe.watch("user:1"))
        pipe.multi()
        pipe.get("user:1")
        with pytest.raises((redis.WatchError, valkey.WatchError)):
            run(lambda _: pipe.execute())
    _, executed = (attributes_of(span) for span in recording.spans())

    assert executed["error.type"].endswith("ConnectionError")
    assert "redis.client.retry.count" not in executed
    assert recording.points("redis.client.retries") == []
    assert recording.lookups() == {("user", "error"): 1}
    assert [up for _, up in recording.points("redis.client.up")] == [0]
