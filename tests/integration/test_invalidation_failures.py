"""An ``invalidate()`` that is denied, cut off, cancelled or interrupted says what it did all the same."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.trace import INVALID_SPAN, get_current_span
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from otel_redis_cache import (
    RedisCacheInstrumentor,
    invalidate,
    invalidate_async,
    invalidation,
    reasons,
    sweeps,
)
from tests.integration.removing import fill
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of
from tests.safety.test_interruptions import strike_at

NO_RETRY = Retry(NoBackoff(), 0)


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    with redis.Redis(host=server.host, port=server.port, retry=NO_RETRY) as client:
        fill(client, user=1_000)
        yield client


def before_scan(number: int, strike: Callable[[], object]) -> Callable[..., None]:
    """A request hook that strikes before this SCAN, and once."""
    scans = iter(range(1, 1_000))

    def hook(_: Any, __: Any, args: Any, ___: Any) -> None:
        if args[0] == "SCAN" and next(scans) == number:
            strike()

    return hook


def hold_writes(server: RedisServer) -> None:
    server.call("CLIENT", "PAUSE", 10_000, "WRITE")


def cut_off(server: RedisServer) -> None:
    """Kill the connection while the next UNLINK waits for its reply."""

    def kill() -> None:
        server.call("CLIENT", "KILL", "TYPE", "normal")
        server.call("CLIENT", "UNPAUSE")

    hold_writes(server)
    threading.Timer(0.2, kill).start()


def told(recording: Recording) -> tuple[Any, ...]:
    """Effect, error type, removed and status of the only invalidation."""
    (span,) = [span for span in recording.spans() if span.name == "cache.invalidate"]
    attributes = attributes_of(span)
    ((_, _, effect),) = recording.counts("cache.invalidation.requests")
    assert recording.counts("cache.invalidation.duration") == recording.counts(
        "cache.invalidation.requests"
    )
    assert span.status.description is None
    removed = attributes["cache.invalidation.removed"]
    assert sum(recording.counts("cache.invalidations").values()) == removed
    assert recording.points("otel_redis_cache.errors") == []
    return effect, attributes["error.type"], removed, span.status.status_code.name


@contextmanager
def limited_to(server: RedisServer, *rules: str) -> Iterator[Any]:
    """A client of a user that may not do everything."""
    server.call("ACL", "SETUSER", "limited", "reset", "on", "nopass", *rules)
    with redis.Redis(host=server.host, port=server.port, username="limited", password="x") as user:
        yield user
    server.call("ACL", "DELUSER", "limited")


def test_a_user_who_may_not_remove_fails_and_removes_nothing(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    recording.instrument()
    with limited_to(server, "~*", "+@all", "-unlink") as user:
        done = invalidate(user, "user:*")

    assert (done.outcome, done.removed, done.batches) == ("failure", 0, 1)
    assert isinstance(done.error, NoPermissionError)
    assert client.dbsize() == 1_000
    assert told(recording) == ("error", "NOPERM", 0, "ERROR")
    attributes = attributes_of(recording.spans()[0])
    assert attributes["db.response.status_code"] == "NOPERM"


def test_a_user_who_may_not_remove_some_keys_removes_the_others(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    fill(client, cart=5)
    recording.instrument()
    with limited_to(server, "~user:*", "+@all") as user:
        done = invalidate(user, "*", everything=True, batch_size=10_000)

    assert (done.outcome, done.matched, done.removed) == ("partial", 1_005, 1_000)
    assert client.dbsize() == 5
    assert told(recording) == ("partial", "NOPERM", 1_000, "ERROR")


def test_a_user_who_may_not_scan_fails(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    recording.instrument()
    with limited_to(server, "~*", "+@all", "-scan") as user:
        done = invalidate(user, "user:*")

    assert (done.outcome, done.matched, done.batches) == ("failure", 0, 0)
    assert told(recording) == ("error", "NOPERM", 0, "ERROR")


def test_a_connection_that_is_killed_midway_leaves_a_partial_result(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    recording.instrument(request_hook=before_scan(3, lambda: cut_off(server)))
    done = invalidate(client, "user:*", batch_size=100, trace_commands=True)

    assert done.outcome == "partial"
    assert isinstance(done.error, redis.ConnectionError)
    assert 0 < done.removed == 1_000 - client.dbsize()
    assert done.removed < done.matched
    assert told(recording) == (
        "partial",
        "redis.exceptions.ConnectionError",
        done.removed,
        "ERROR",
    )


def test_a_client_that_tries_again_is_no_failure(server: RedisServer, recording: Recording) -> None:
    recording.instrument(request_hook=before_scan(3, lambda: cut_off(server)))
    retry: Any = Retry(NoBackoff(), 3)
    with redis.Redis(
        host=server.host, port=server.port, retry=retry, retry_on_error=[redis.ConnectionError]
    ) as client:
        fill(client, user=1_000)
        done = invalidate(client, "user:*", batch_size=100, trace_commands=True)

    assert (done.outcome, done.removed, done.error) == ("success", 1_000, None)


def test_a_server_that_becomes_a_replica_midway_leaves_a_partial_result(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    demote = before_scan(3, lambda: server.call("REPLICAOF", "127.0.0.1", 1))
    recording.instrument(request_hook=demote)
    try:
        done = invalidate(client, "user:*", batch_size=100, trace_commands=True)
    finally:
        server.call("REPLICAOF", "NO", "ONE")

    assert done.outcome == "partial"
    assert isinstance(done.error, redis.ReadOnlyError)
    assert 0 < done.removed == 1_000 - client.dbsize()
    assert told(recording) == ("partial", "READONLY", done.removed, "ERROR")


def test_a_server_that_is_gone_is_a_failure(recording: Recording) -> None:
    recording.instrument()
    done = invalidate(redis.Redis(host="127.0.0.1", port=1, retry=NO_RETRY), "user:*")

    assert (done.outcome, done.matched, done.removed, done.batches) == ("failure", 0, 0, 0)
    assert isinstance(done.error, redis.ConnectionError)
    assert told(recording) == ("error", "redis.exceptions.ConnectionError", 0, "ERROR")
    assert recording.counts("cache.invalidation.requests") == {("user", "delete", "error"): 1}


async def test_a_task_that_is_cancelled_midway_has_told_what_it_removed(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    task: Any = None

    def cancel_while_it_waits() -> None:
        hold_writes(server)
        asyncio.get_running_loop().call_later(0.2, task.cancel)

    recording.instrument(request_hook=before_scan(3, cancel_while_it_waits))
    async with redis.asyncio.Redis(host=server.host, port=server.port) as other:
        removing = invalidate_async(other, "user:*", batch_size=100, trace_commands=True)
        task = asyncio.create_task(removing)
        with pytest.raises(asyncio.CancelledError):
            await task
        server.call("CLIENT", "UNPAUSE")
        assert await other.ping()

    removed = 1_000 - client.dbsize()
    assert removed > 0
    assert told(recording) == ("partial", "asyncio.exceptions.CancelledError", removed, "ERROR")
    assert sweeps.open_sweep.get() is None


class JobTimeoutError(Exception):
    """What a job queue raises out of its signal handler."""


def time_out(*_: object) -> None:
    raise JobTimeoutError


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("strike", "error"),
    [
        (interrupt, KeyboardInterrupt),
        (lambda: signal.raise_signal(signal.SIGALRM), JobTimeoutError),
    ],
)
def test_an_interrupt_goes_on_and_leaves_nothing_open(
    server: RedisServer, client: Any, recording: Recording, strike: Any, error: Any
) -> None:
    recording.instrument(request_hook=before_scan(3, strike))
    before = signal.signal(signal.SIGALRM, time_out)
    try:
        with pytest.raises(error):
            invalidate(client, "user:*", batch_size=100, trace_commands=True)
    finally:
        signal.signal(signal.SIGALRM, before)

    removed = 1_000 - client.dbsize()
    assert removed > 0
    assert told(recording)[::2] == ("partial", removed)
    assert get_current_span() is INVALID_SPAN
    assert sweeps.open_sweep.get() is None
    recording.instrument()
    client.get("user:1")
    assert recording.operations()[-1] == "GET"


class CircuitOpenError(Exception):
    """What the application's own client raises."""


def test_an_exception_of_the_application_goes_on_after_it_was_recorded(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    class Guarded(redis.Redis):
        scans = 0

        def execute_command(self, *args: Any, **options: Any) -> Any:
            self.scans += 1
            if self.scans > 2:
                raise CircuitOpenError
            return super().execute_command(*args, **options)

    recording.instrument()
    with (
        Guarded(host=server.host, port=server.port) as guarded,
        pytest.raises(CircuitOpenError),
    ):
        invalidate(guarded, "user:*", batch_size=100)

    removed = 1_000 - client.dbsize()
    assert removed > 0
    assert told(recording)[::2] == ("partial", removed)
    assert sweeps.open_sweep.get() is None


def test_a_time_out_that_another_thread_injects_goes_on(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    raised: list[BaseException] = []

    def inject() -> None:
        ident = ctypes.c_ulong(threading.get_ident())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(JobTimeoutError))

    class Injected(redis.Redis):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            reply = super().execute_command(*args, **options)
            inject()
            return reply

    def job() -> None:
        with Injected(host=server.host, port=server.port) as injected:
            try:
                invalidate(injected, "user:*", batch_size=100)
            except JobTimeoutError as error:
                raised.append(error)

    recording.instrument()
    thread = threading.Thread(target=job)
    thread.start()
    thread.join()

    assert len(raised) == 1


def test_an_interrupt_at_any_line_leaves_no_sweep_behind_and_a_label_hardly_ever(
    server: RedisServer, recording: Recording
) -> None:
    """A label stays where its block's own end is struck in its first lines."""
    recording.instrument()
    recording.excuse("cache.invalidation.removed is missing")  # what was struck says less
    left: list[str] = []
    struck = 0

    def strike(number: int, client: Any) -> str | None:
        def remove() -> None:
            with invalidation("deploy"):
                invalidate(client, "user:*")

        client.set("user:1", "x")
        where = strike_at(number, remove)
        assert sweeps.around(client, ("SCAN", 0), is_batch=False) is None
        if reasons.current() is not None:
            left.append(where or "")
        return where

    with redis.Redis(host=server.host, port=server.port) as client:
        for number in itertools.count(1):
            if copy_context().run(strike, number, client) is None:
                break
            struck = number

    assert struck > 500
    assert set(left) <= {"__exit__"}
    assert len(left) <= 2


def test_where_this_package_is_off_it_only_removes(
    server: RedisServer, client: Any, recording: Recording
) -> None:
    import opentelemetry.instrumentation.redis as contrib

    other = contrib.RedisInstrumentor()
    other.instrument(**recording.providers)
    try:
        recording.instrument(on_conflict="off")
        done = invalidate(client, "user:*")
    finally:
        RedisCacheInstrumentor().uninstrument()
        other.uninstrument()

    assert (done.outcome, done.removed) == ("success", 1_000)
    assert recording.spans() == []
    assert recording.counts("cache.invalidation.requests") == {}
