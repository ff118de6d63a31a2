"""Faults that are really provoked, each told apart by `error.type`: A3.10 of `docs/scenarios.md`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, NamedTuple

import pytest

from tests.differential.wire import Wire
from tests.integration.callers import LIBRARIES, Caller
from tests.integration.removing import CLIENTS
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of

pytestmark = pytest.mark.usefixtures("alone")

GET, SET = ("get", "user:1"), ("set", "user:1", "x")


class Fault(NamedTuple):
    """How a server is broken, how an application meets it, and what is told of it."""

    provoke: Callable[[RedisServer], AbstractContextManager[object]]
    error: str
    status: str | None
    command: tuple[str, ...] = GET
    options: dict[str, Any] | None = None
    up: int = 1
    """0 where the network failed; an answer of any kind begins no outage."""


@contextmanager
def told(server: RedisServer, *commands: tuple[str, ...]) -> Iterator[Wire]:
    """A server with other orders, from a connection that is there before and after."""
    with closing(Wire(server.host, server.port)) as wire:
        before = [wire.ask([("CONFIG", "GET", c[2])]) for c in commands if c[0] == "CONFIG"]
        assert wire.ask(commands) == [b"OK"] * len(commands)
        try:
            yield wire
        finally:
            for found in before:
                setting: Any = found[0]
                assert isinstance(setting, list)
                wire.ask([("CONFIG", "SET", *setting)])
            wire.ask([("REPLICAOF", "NO", "ONE"), ("ACL", "DELUSER", "app")])


def user(*rules: str) -> Callable[[RedisServer], AbstractContextManager[object]]:
    return lambda server: told(server, ("ACL", "SETUSER", "app", "on", ">secret", "~*", *rules))


def config(**settings: str) -> Callable[[RedisServer], AbstractContextManager[object]]:
    orders = [("CONFIG", "SET", k.replace("_", "-"), v) for k, v in settings.items()]
    return lambda server: told(server, *orders)


def replica(**settings: str) -> Callable[[RedisServer], AbstractContextManager[object]]:
    orders = [("CONFIG", "SET", k.replace("_", "-"), v) for k, v in settings.items()]
    return lambda server: told(server, *orders, ("REPLICAOF", "127.0.0.1", "1"))


@contextmanager
def loading(server: RedisServer) -> Iterator[None]:
    """A server that reads its data anew, slowly."""
    server.call("DEBUG", "POPULATE", 2_000, "user")
    slowly = config(key_load_delay="500", loading_process_events_interval_bytes="1024")
    with slowly(server), closing(Wire(server.host, server.port)) as wire:
        reload = threading.Thread(target=wire.ask, args=([("DEBUG", "RELOAD")],))
        reload.start()
        wait_until(lambda: refuses(server, "LOADING"), timeout=10, what="the server loads")
        yield
        reload.join()
    server.flush()
    server.call("SAVE")  # for the next restart


@contextmanager
def busy(server: RedisServer) -> Iterator[None]:
    """A server that runs a script without end."""
    with config(busy_reply_threshold="10")(server), closing(Wire(server.host, server.port)) as wire:
        script = threading.Thread(target=wire.ask, args=([("EVAL", "while true do end", "0")],))
        script.start()
        wait_until(lambda: refuses(server, "BUSY"), timeout=10, what="the server is busy")
        yield
        server.call("SCRIPT", "KILL")
        script.join()


def refuses(server: RedisServer, prefix: str) -> bool:
    try:
        server.call("GET", "user:1")
    except RuntimeError as refusal:
        return prefix in str(refusal)
    return False


@contextmanager
def killed(server: RedisServer) -> Iterator[None]:
    server.kill()
    yield
    server.restart()


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    server.pause()
    yield
    server.resume()


WRONG = {"username": "app", "password": "wrong"}
RIGHT = {"username": "app", "password": "secret"}
FAULTS = {
    "wrong password": Fault(user("+@all"), "WRONGPASS", "WRONGPASS", options=WRONG),
    "no password": Fault(config(requirepass="secret"), "NOAUTH", "NOAUTH"),
    "not allowed": Fault(user("+@all", "-get"), "NOPERM", "NOPERM", options=RIGHT),
    "loading": Fault(loading, "LOADING", "LOADING"),
    "replica": Fault(replica(), "READONLY", "READONLY", SET),
    "stale replica": Fault(replica(replica_serve_stale_data="no"), "MASTERDOWN", "MASTERDOWN"),
    "no replicas": Fault(config(min_replicas_to_write="1"), "NOREPLICAS", "NOREPLICAS", SET),
    "out of memory": Fault(config(maxmemory="1"), "OOM", "OOM", SET),
    "busy": Fault(busy, "BUSY", "BUSY"),
    # With RESP2, asyncio clients write on before they read the refusal, and lose it.
    "too many clients": Fault(config(maxclients="1"), "MAXCLIENTS", "ERR", options={"protocol": 3}),
    "killed": Fault(killed, "ConnectionError", None, up=0),
    "stopped": Fault(stopped, "TimeoutError", None),
}


def test_faults_are_told_apart() -> None:
    assert len({(fault.error, fault.status) for fault in FAULTS.values()}) == len(FAULTS)


@pytest.mark.parametrize("library", CLIENTS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_by_its_type(
    server: RedisServer, recording: Recording, name: str, library: str
) -> None:
    """A3.10: on the span and on the duration; the server knows of it too."""
    fault, module = FAULTS[name], library.partition(".")[0]
    recording.instrument()
    rejected = int(server.info("stats")["rejected_connections"])
    with Caller(library, server, **(fault.options or {})) as caller:
        with fault.provoke(server):
            answer = caller.call(*fault.command)
        up = recording.points("redis.client.up")
    error = fault.error
    if fault.status is None:
        error = f"{module}.exceptions.{fault.error}"
        assert isinstance(answer, getattr(LIBRARIES[module], fault.error))
    attributes = attributes_of(recording.span())
    told = {"error.type": error, "db.response.status_code": fault.status}
    operation = fault.command[0].upper()

    assert isinstance(answer, Exception)
    assert {key: attributes.get(key) for key in told} == told
    assert recording.counts("db.client.operation.duration") == {
        (operation, *(text for text in told.values() if text)): 1
    }
    if fault.command == GET:
        assert recording.lookups() == {("user", "error"): 1}
    else:
        assert recording.counts("cache.writes") == {("user", "none", "error"): 1}
    assert [value for _, value in up] == [fault.up]
    if error == "MAXCLIENTS":
        assert int(server.info("stats")["rejected_connections"]) > rejected
    elif fault.status is not None:
        assert f"errorstat_{fault.status}" in server.info("errorstats")


@pytest.mark.parametrize("library", CLIENTS)
def test_an_exhausted_pool_is_told_by_the_class_of_its_exception(
    server: RedisServer, recording: Recording, library: str
) -> None:
    """A3.10: `MaxConnectionsError` where the library has one; the server was not asked."""
    recording.instrument()
    with Caller(library, server, max_connections=1) as caller:
        error = exhausted(caller, server)
    failed = [span for span in recording.spans() if "error.type" in attributes_of(span)]
    kind = type(error)

    assert isinstance(error, LIBRARIES[library.partition(".")[0]].ConnectionError)
    (attributes,) = map(attributes_of, failed)
    assert attributes["error.type"] == f"{kind.__module__}.{kind.__qualname__}"
    assert "db.response.status_code" not in attributes
    assert recording.counts("redis.client.up") == {(): 1}


def exhausted(caller: Caller, server: RedisServer) -> Exception:
    """What a second call gets while the first one has the only connection."""
    client = caller.client
    if caller.loop is None:
        with client.pipeline() as pipe:
            pipe.watch("user:1")
            answer = caller.call("get", "user:1")
    else:

        async def both() -> Any:
            calls = (client.get("user:1"), client.get("user:2"))
            first, second = await asyncio.gather(*calls, return_exceptions=True)
            return second or first

        answer = caller.loop.run_until_complete(both())
    assert server.commandstats().get("get", 0) == (caller.loop is not None)
    return answer
