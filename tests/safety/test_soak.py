"""A run over a server that is killed every five seconds: not one call is lost or counted twice, no outage but these.

With faults of every kind, and a Collector: `tests/soak`.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.retry
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import get_current_span
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from otel_redis_cache import RedisCacheInstrumentor
from otel_redis_cache.calls import open_scope
from tests.real.servers import RedisServer
from tests.recording import Recording

SECONDS = 12.0
PERIOD, DOWN = 5.0, 0.7
THREADS, TASKS = 4, 12
CACHES = ("user", "cart", "page")


class Counting(SpanProcessor):
    """Spans that were begun and ended, and what they said of failures."""

    def __init__(self) -> None:
        self.begun, self.ended, self._lock = 0, Counter[tuple[str, str]](), threading.Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        with self._lock:
            self.begun += 1

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            self.ended[span.name, str((span.attributes or {}).get("error.type", ""))] += 1


class Seen:
    """What one worker of the application has got, call by call, in the words of the metrics."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        """(operation, class of its exception)."""
        self.lookups: Counter[tuple[str, str]] = Counter()
        self.writes: Counter[tuple[str, str, str]] = Counter()
        self.removed: Counter[str] = Counter()
        self.removals: Counter[tuple[str, str]] = Counter()

    def call(self, operation: str, commands: list[Command], replies: Any) -> None:
        """The replies of a call's commands, or the exception that came instead."""
        failed = isinstance(replies, BaseException)
        self.calls[operation, name_of(replies) if failed else ""] += 1
        for position, command in enumerate(commands):
            self._command(*command, None if failed else replies[position], failed=failed)

    def _command(
        self, name: str, keys: list[str], ttl: int | None, reply: Any, *, failed: bool
    ) -> None:
        cache = keys[0].partition(":")[0]
        if name == "get":
            found = "miss" if reply is None else "hit"
            self.lookups[cache, "error" if failed else found] += 1
        elif name == "set":
            self.writes[cache, "set" if ttl else "none", "error" if failed else "stored"] += 1
        else:
            effect = "error" if failed else ("none", "partial", "removed")[reply]
            self.removals[cache, effect] += 1
            self.removed[cache] += 0 if failed else reply

    def __add__(self, other: Seen) -> Seen:
        both = Seen()
        for name, counted in vars(both).items():
            counted.update(vars(self)[name])
            counted.update(vars(other)[name])
        return both


def name_of(error: BaseException) -> str:
    module = type(error).__module__
    return type(error).__name__ if module == "builtins" else f"{module}.{type(error).__name__}"


Command = tuple[str, list[str], "int | None"]
"""Name, keys, and the time to live that it gives."""


def commands(dice: random.Random) -> Iterator[tuple[str, list[Command]]]:
    """What one worker does, without end: ``get``, ``set``, ``delete``, and batches of all three."""

    def command(name: str) -> Command:
        cache = dice.choice(CACHES)
        keys = [f"{cache}:{n}" for n in dice.sample(range(30), 2 if name == "delete" else 1)]
        return name, keys, dice.choice((None, 60)) if name == "set" else None

    for step in count():
        if step % 4:
            yield "", [command(dice.choice(("get", "get", "get", "set", "set", "delete")))]
        else:
            yield dice.choice(("PIPELINE", "MULTI")), [command(n) for n in ("get", "set", "delete")]


def send(client: Any, command: Command) -> Any:
    """Make a call of a client, or queue it in a pipeline."""
    name, keys, ttl = command
    if name == "set":
        return client.set(keys[0], "x", ex=ttl)
    return getattr(client, name)(*keys)


def work(client: Any, seen: Seen, seed: int, is_over: Callable[[], bool]) -> None:
    """One thread of the application."""
    for batch, planned in commands(random.Random(seed)):
        if is_over():
            return
        try:
            if batch:
                pipe = client.pipeline(transaction=batch == "MULTI")
                for command in planned:
                    send(pipe, command)
                replies: Any = pipe.execute()
            else:
                replies = [send(client, planned[0])]
        except redis.RedisError as error:
            replies = error
            time.sleep(0.005)
        seen.call(batch or operation_of(planned), planned, replies)


async def work_async(client: Any, seen: Seen, seed: int, is_over: Callable[[], bool]) -> None:
    """One task of it."""
    for batch, planned in commands(random.Random(seed)):
        if is_over():
            return
        try:
            if batch:
                pipe = client.pipeline(transaction=batch == "MULTI")
                for command in planned:
                    send(pipe, command)
                replies: Any = await pipe.execute()
            else:
                replies = [await send(client, planned[0])]
        except redis.RedisError as error:
            replies = error
            await asyncio.sleep(0.005)
        seen.call(batch or operation_of(planned), planned, replies)


def operation_of(planned: list[Command]) -> str:
    return {"delete": "DEL"}.get(planned[0][0], planned[0][0].upper())


class Application:
    """Threads, and an event loop with tasks, at one server; some of its clients try again."""

    def __init__(self, server: RedisServer) -> None:
        self._target = {"host": server.host, "port": server.port, "socket_timeout": 3}
        self._over = threading.Event()
        self._seen = [Seen() for _ in range(THREADS + TASKS)]
        self.left: list[object] = []
        """Spans, scopes and tasks that were still there when a worker had ended."""
        self._threads = [
            threading.Thread(target=self._run_thread, args=(number,)) for number in range(THREADS)
        ]
        self._threads.append(threading.Thread(target=lambda: asyncio.run(self._run_tasks())))
        for thread in self._threads:
            thread.start()

    def end(self) -> Seen:
        """All that it has seen."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return sum(self._seen, Seen())

    def _run_thread(self, number: int) -> None:
        retry = Retry(ConstantBackoff(0.02), number % 2)
        with redis.Redis(**self._target, retry=retry) as client:
            work(client, self._seen[number], number, self._over.is_set)
        self._note_what_is_left()

    async def _run_tasks(self) -> None:
        # Once more: an asyncio client may not notice that a connection is from before the restart.
        retry = redis.asyncio.retry.Retry(ConstantBackoff(0.02), 1)
        async with redis.asyncio.Redis(**self._target, retry=retry) as client:
            await asyncio.gather(
                *(self._run_task(client, number) for number in range(THREADS, THREADS + TASKS))
            )
        self.left += asyncio.all_tasks() - {asyncio.current_task()}

    async def _run_task(self, client: Any, number: int) -> None:
        await work_async(client, self._seen[number], number, self._over.is_set)
        self._note_what_is_left()

    def _note_what_is_left(self) -> None:
        scope = open_scope.get()
        open_call = None if scope is None else scope.call
        current = get_current_span() if get_current_span().get_span_context().is_valid else None
        self.left += [one for one in (open_call, current) if one is not None]


@pytest.mark.timeout(120 + SECONDS)
def test_every_call_is_counted_once_while_a_server_is_killed_every_five_seconds(
    valkey_server: RedisServer, recording: Recording
) -> None:
    before = set(threading.enumerate())
    counting = Counting()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(counting)
    RedisCacheInstrumentor().instrument(
        tracer_provider=tracers, meter_provider=recording.meter_provider
    )
    with RedisServer("valkey", valkey_server.binary) as server:
        application = Application(server)
        kills = 0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end - PERIOD:
            time.sleep(PERIOD - DOWN)
            server.kill()
            kills += 1
            recording.metrics()
            time.sleep(DOWN)
            server.restart()
        time.sleep(max(end - time.monotonic(), 1))
        seen = application.end()
    durations: Counter[tuple[str, str]] = Counter()
    for attributes, value in recording.points("db.client.operation.duration"):
        durations[attributes["db.operation.name"], attributes.get("error.type", "")] += value
    removals: Counter[tuple[str, str]] = Counter()
    for (cache, _, effect), n in recording.counts("cache.invalidation.requests").items():
        removals[cache, effect] += n

    assert kills >= SECONDS // (PERIOD + 2)
    assert seen.calls.total() > 100 * SECONDS
    assert sum(n for (_, error), n in seen.calls.items() if error) > kills * (THREADS + TASKS)
    assert recording.lookups() == seen.lookups
    assert recording.counts("cache.writes") == seen.writes
    assert {c: n for (c, _), n in recording.counts("cache.invalidations").items()} == seen.removed
    assert removals == seen.removals
    assert durations == seen.calls
    assert counting.ended == seen.calls
    assert counting.begun == seen.calls.total()
    assert sum(recording.counts("redis.client.outage.duration").values()) == kills
    assert recording.counts("redis.client.up") == {(): 1}
    assert recording.points("otel_redis_cache.errors") == []
    assert application.left == []
    assert set(threading.enumerate()) == before
