"""What goes on while a server is gone, and behind it: S3 of `docs/scenarios.md`."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest
import redis
import redis.asyncio
import valkey
import valkey.asyncio

from otel_redis_cache import RedisCacheInstrumentor, health, snapshot
from tests.differential.wire import Wire
from tests.integration.callers import Caller
from tests.integration.test_consistency import Collections
from tests.real.servers import RedisServer
from tests.recording import Recording

pytestmark = pytest.mark.usefixtures("alone")


class Refuser:
    """Listens, and hangs up on whoever comes; counts them."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._socket = socket.create_server((self.host, 0))
        self.port: int = self._socket.getsockname()[1]
        self.attempts = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.attempts += 1
                connection.close()


@pytest.mark.parametrize("library", ["redis", "redis.asyncio"])
def test_an_outage_costs_no_attempt_more_than_without_the_package(
    recording: Recording, library: str
) -> None:
    """A3.6."""
    attempts: list[int] = []
    for instrumented in (False, True):
        if instrumented:
            recording.instrument()
        with closing(Refuser()) as refuser:
            target: Any = refuser
            with Caller(library, target, retries=1) as caller:
                for _ in range(5):
                    caller.call("get", "user:1")
                    recording.metrics()
            attempts.append(refuser.attempts)
        assert len(caller.errors) == 5

    assert attempts[0] == attempts[1] >= 5
    assert recording.lookups() == {("user", "error"): 5}
    assert recording.counts("redis.client.up") == {(): 0}


def test_increases_are_right_across_a_restart_that_resets_the_server(
    own_server: RedisServer, recording: Recording
) -> None:
    """A3.7: each call adds one, whatever the server has forgotten."""
    collections = Collections()
    RedisCacheInstrumentor().instrument(meter_provider=collections.provider, traces=False)
    seen: list[int] = []
    before = own_server.info("server")["run_id"], commands_processed(own_server)
    with Caller("redis", own_server) as caller:
        for step in range(60):
            if step == 20:
                assert commands_processed(own_server) > before[1] + 20
                own_server.kill()
            elif step == 40:
                own_server.restart()
                assert commands_processed(own_server) < before[1] + 20
            caller.call("get", "user:1")
            cumulative, delta = collections.lookups()
            assert cumulative == delta
            seen.append(cumulative.total())
    cumulative, _ = collections.lookups()
    collections.provider.shutdown()

    assert own_server.info("server")["run_id"] != before[0]
    assert seen == list(range(1, 61))
    assert cumulative == {("user", "miss"): 40, ("user", "error"): 20}
    assert recording.metrics() == {}


def commands_processed(server: RedisServer) -> int:
    return int(server.info("stats")["total_commands_processed"])


@pytest.mark.parametrize("gone", ["killed", "stopped"])
def test_a_collection_without_a_server_takes_no_time_and_says_what_is_known(
    own_server: RedisServer, recording: Recording, gone: str
) -> None:
    """A3.8: while calls hang, too."""
    recording.instrument()
    took: list[float] = []
    with (
        Caller("redis", own_server) as caller,
        Caller("redis", own_server, socket_timeout=2) as patient,
    ):
        caller.call("get", "user:1")
        patient.call("get", "user:1")
        own_server.kill() if gone == "killed" else own_server.pause()
        for _ in range(3):
            caller.call("get", "user:1")
        hanging = threading.Thread(target=patient.call, args=("get", "user:1"))
        hanging.start()
        for look in (recording.metrics, recording.meter_provider.force_flush, snapshot, health):
            start = time.perf_counter()
            look()
            took.append(time.perf_counter() - start)
        ups, lookups, well = (
            recording.counts("redis.client.up"),
            recording.lookups(),
            health()["status"],
        )
        hanging.join()

    assert max(took) < 1
    assert ups == {(): 0}
    assert lookups[("user", "miss")] == 2
    assert lookups[("user", "error")] >= 3
    assert well == "unhealthy"
    assert sum(recording.counts("db.client.operation.duration").values()) == 6


@pytest.fixture
def wire(server: RedisServer) -> Iterator[Wire]:
    """One connection to ask the server by, which is there before and after."""
    with closing(Wire(server.host, server.port)) as made:
        yield made


def connections(wire: Wire) -> tuple[int, int]:
    """(received so far, open now) as the server knows it."""
    text = b"".join(
        reply for reply in wire.ask([("INFO", "everything")]) if isinstance(reply, bytes)
    )
    info = dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    return int(info["total_connections_received"]), int(info["connected_clients"])


POOL = 5
"""Connections that a pool may have."""


def ask_by_threads(library: Any, server: RedisServer, look: Any) -> None:
    pool = library.BlockingConnectionPool(host=server.host, port=server.port, max_connections=POOL)
    with ThreadPoolExecutor(10) as threads, library.Redis(connection_pool=pool) as client:
        for _ in threads.map(client.get, [f"user:{i}" for i in range(100)]):
            look()
    pool.disconnect()


def ask_by_tasks(library: Any, server: RedisServer, look: Any) -> None:
    async def run() -> None:
        pool = library.asyncio.BlockingConnectionPool(
            host=server.host, port=server.port, max_connections=POOL
        )
        client = library.asyncio.Redis(connection_pool=pool)
        await asyncio.gather(*(client.get(f"user:{i}") for i in range(100)))
        look()
        await client.aclose()
        await pool.disconnect()

    asyncio.run(run())


@pytest.mark.parametrize("library", [redis, valkey], ids=["redis", "valkey"])
@pytest.mark.parametrize("ask", [ask_by_threads, ask_by_tasks], ids=["threads", "tasks"])
def test_a_hundred_requests_need_no_more_connections_than_the_pool_may_have(
    server: RedisServer, wire: Wire, recording: Recording, library: Any, ask: Any
) -> None:
    """A3.9: neither the requests nor what is collected meanwhile connects anew."""
    recording.instrument()
    received, open_before = connections(wire)

    def look() -> None:
        recording.metrics()
        health()
        snapshot()

    ask(library, server, look)

    def is_as_before() -> bool:
        return connections(wire)[1] == open_before

    deadline = time.monotonic() + 5
    while not is_as_before() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert 1 <= connections(wire)[0] - received <= POOL
    assert is_as_before()
    assert recording.lookups() == {("user", "miss"): 100}
