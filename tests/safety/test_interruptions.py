"""Exceptions that strike at any line, calls inside calls, and what outlives a call."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import itertools
import logging
import signal
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import Mock

import pytest
import redis
import redis.asyncio
from opentelemetry.trace import INVALID_SPAN, get_current_span

from otel_redis_cache import RedisCacheInstrumentor, calls
from otel_redis_cache.recorder import Recorder
from otel_redis_cache.tallies import Tallies
from tests.real.servers import RedisServer
from tests.recording import Recording


@pytest.fixture
def client(valkey_server: RedisServer) -> Iterator[Any]:
    valkey_server.flush()
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        yield client


def still_watched(client: Any, recording: Recording) -> bool:
    spans, lookups = len(recording.spans()), sum(recording.lookups().values())
    client.get("after:1")
    return (
        get_current_span() is INVALID_SPAN
        and calls.open_scope.get() is None
        and len(recording.spans()) == spans + 1
        and sum(recording.lookups().values()) == lookups + 1
    )


@pytest.mark.parametrize("hook", ["request_hook", "response_hook"])
def test_an_interrupt_inside_a_hook_leaves_no_call_open(
    client: Any, recording: Recording, hook: str
) -> None:
    strikes = [1]

    def interrupted(*_: object) -> None:
        if strikes and strikes.pop():
            raise KeyboardInterrupt

    recording.instrument(**{hook: interrupted})
    with pytest.raises(KeyboardInterrupt):
        client.get("user:1")

    assert recording.operations() == ["GET"]
    assert still_watched(client, recording)


class JobTimeoutError(Exception):
    """What a job queue raises out of its signal handler."""


@pytest.mark.parametrize(
    ("owner", "step"),
    [(Recorder, "start"), (Recorder, "record_duration"), (Recorder, "end"), (Tallies, "take")],
)
def test_a_time_out_of_the_application_is_never_contained(
    client: Any, recording: Recording, monkeypatch: pytest.MonkeyPatch, owner: type, step: str
) -> None:
    def time_out(*_: object) -> None:
        raise JobTimeoutError

    recording.instrument()
    before = signal.signal(signal.SIGUSR1, time_out)
    step_of_ours = getattr(owner, step)

    def strike(*args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return step_of_ours(*args, **kwargs)

    try:
        with monkeypatch.context() as patched:
            patched.setattr(owner, step, strike)
            with pytest.raises(JobTimeoutError):
                client.get("user:1")
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert recording.points("otel_redis_cache.errors") == []
    assert still_watched(client, recording)


def test_a_log_handler_that_raises_does_no_harm(
    client: Any, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RaisingHandler(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise RuntimeError("log handler")

    def broken(*_: object) -> None:
        raise RuntimeError("hook")

    handler = RaisingHandler()
    logging.getLogger("otel_redis_cache").addHandler(handler)
    try:
        recording.instrument(request_hook=broken)
        assert client.get("user:1") is None
    finally:
        logging.getLogger("otel_redis_cache").removeHandler(handler)

    assert recording.counts("otel_redis_cache.errors") == {"request_hook": 1}
    assert still_watched(client, recording)


async def test_asyncio_clients_that_are_dropped_can_be_collected(
    valkey_server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    dropped: list[weakref.ref[Any]] = []
    values: list[weakref.ref[Any]] = []

    class Value(str):
        __slots__ = ("__weakref__",)

    for i in range(10):
        client = redis.asyncio.Redis(host=valkey_server.host, port=valkey_server.port)
        value = Value("x" * 10)
        await client.set(f"user:{i}", value)
        dropped.append(weakref.ref(client))
        values.append(weakref.ref(value))
        await client.aclose()
        del client, value
    gc.collect()

    assert [ref() for ref in dropped if ref() is not None] == []
    assert [ref() for ref in values if ref() is not None] == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_open_connection_keeps_nothing_of_its_first_call(
    valkey_server: RedisServer, recording: Recording
) -> None:
    """asyncio's transports keep the context of the call that made them, as long as they live."""
    recording.instrument()

    class Value(str):
        __slots__ = ("__weakref__",)

    async with redis.asyncio.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        value = Value("x" * 10)
        await client.set("user:1", value)
        gone = weakref.ref(value)
        del value
        gc.collect()
        assert gone() is None
        await client.get("user:1")


def test_a_client_that_answers_to_any_attribute_works(
    valkey_server: RedisServer, recording: Recording
) -> None:
    class Dynamic(redis.Redis):
        def __getattr__(self, name: str) -> Any:
            raise KeyError(name)

    recording.instrument()
    with Dynamic(host=valkey_server.host, port=valkey_server.port) as client:
        client.connection = None  # of which redis-py asks before it has one
        assert client.get("none:1") is None

    assert recording.operations() == ["GET"]


def test_a_script_runs_on_a_mock(client: Any, recording: Recording) -> None:
    recording.instrument()
    script = client.register_script("return 1")
    mock = Mock()
    mock.evalsha.return_value = 5

    assert script(client=mock) == 5


def test_another_module_of_the_name_of_a_client_can_be_imported(tmp_path: Path) -> None:
    package = tmp_path / "valkey"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "client.py").write_text("Valkey = None\nanswer = 42\n")
    program = """
    import sys
    sys.path.insert(0, sys.argv[1])
    from tests.recording import Recording
    Recording().instrument()
    import valkey.client
    assert valkey.client.answer == 42
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], check=True, timeout=60
    )


def test_a_call_inside_a_response_callback_is_a_call_of_its_own(
    client: Any, valkey_server: RedisServer, recording: Recording
) -> None:
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as other:

        def ask_another(response: Any, **_: Any) -> Any:
            return other.get("inner:1") or response

        client.set_response_callback("GET", ask_another)
        recording.instrument()
        client.get("outer:1")

    assert recording.lookups() == {("inner", "miss"): 1, ("outer", "miss"): 1}
    assert recording.operations() == ["GET", "GET"]


def test_a_hook_that_uses_redis_is_not_observed_itself(
    client: Any, valkey_server: RedisServer, recording: Recording
) -> None:
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as other:

        def use_redis(*_: object) -> None:
            other.incr("hooks")
            client.incr("hooks")

        recording.instrument(request_hook=use_redis, response_hook=use_redis)
        client.get("user:1")

    assert recording.operations() == ["GET"]
    assert recording.points("otel_redis_cache.errors") == []
    RedisCacheInstrumentor().uninstrument()
    assert client.get("hooks") == b"4"


async def test_a_task_destroyed_with_its_loop_is_no_fault_of_ours(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    call = calls.Call(_observer(), client, ("GET", "user:1"), {})

    async def enter() -> None:
        call.observer.begin(call)

    await asyncio.create_task(enter())
    call.observer.end(call, None)
    call.close()

    assert recording.points("otel_redis_cache.errors") == []


def _observer() -> Any:
    return RedisCacheInstrumentor._seams.observer


class StrikeError(BaseException):
    """Raised at one chosen line of ours."""


def strike_at(number: int, call: Any) -> str | None:
    """Interrupt one call at its so-maniest line of ours; where that was, None if it has fewer."""
    lines = 0
    where: list[str] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if not frame.f_globals.get("__name__", "").startswith("otel_redis_cache."):
            return None
        if event == "line":
            lines += 1
            if lines == number:
                where.append(frame.f_code.co_name)
                raise StrikeError
        return trace

    with contextlib.suppress(StrikeError):
        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(None)
    return where[0] if where else None


def test_an_interrupt_at_any_line_leaves_nothing_behind(client: Any, recording: Recording) -> None:
    """But while the call is closed, which is a dozen lines that nothing can stand behind."""
    recording.instrument()
    client.get("user:1")
    left_open: list[str] = []
    numbers = itertools.count(1)
    while copy_context().run(_strike_and_look, next(numbers), client, left_open):
        pass

    assert next(numbers) > 200
    assert set(left_open) <= {"observed", "close", "end_span", "guarded_step", "_leave_span"}
    assert len(left_open) <= 12


def _strike_and_look(number: int, client: Any, left_open: list[str]) -> str | None:
    where = strike_at(number, lambda: client.get("user:1"))
    scope = calls.open_scope.get()
    if (scope is not None and scope.call is not None) or get_current_span() is not INVALID_SPAN:
        left_open.append(where or "")
    return where


@pytest.mark.parametrize("form", ["function", "method", "partial", "callable", "one-shot"])
def test_a_time_out_is_known_in_whatever_form_its_handler_has(
    client: Any, recording: Recording, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    class Handler:
        def handle(self, number: int, frame: FrameType | None) -> None:
            raise JobTimeoutError

        __call__ = handle

    def function(number: int, frame: FrameType | None) -> None:
        raise JobTimeoutError

    def with_more(_: str, *args: object) -> None:
        raise JobTimeoutError

    def one_shot(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        raise JobTimeoutError

    forms: dict[str, Any] = {
        "function": function,
        "method": Handler().handle,
        "partial": functools.partial(with_more, "x"),
        "callable": Handler(),
        "one-shot": one_shot,
    }
    recording.instrument()
    before = signal.signal(signal.SIGUSR1, forms[form])
    take = Tallies.take

    def strike(*args: Any) -> None:
        signal.raise_signal(signal.SIGUSR1)
        take(*args)

    monkeypatch.setattr(Tallies, "take", strike)
    try:
        with pytest.raises(JobTimeoutError):
            client.get("user:1")
    finally:
        signal.signal(signal.SIGUSR1, before)
