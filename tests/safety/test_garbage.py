"""Finalisers run at any line, where their thread may hold any lock: nothing waits, nothing is lost."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

import otel_redis_cache
from otel_redis_cache import (
    RedisCacheInstrumentor,
    consumed,
    garbage,
    invalidate,
    invalidate_async,
)
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of

from .test_fork import in_child

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_what_dies_at_any_line_waits_for_nothing_and_is_counted(
    valkey_server: RedisServer, temporality: str
) -> None:
    valkey_server.revive()
    valkey_server.flush()
    server = valkey_server.host, str(valkey_server.port), valkey_server.socket
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.safety.litter", *server, temporality],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["seen"] == said["expected"]
    assert said["errors"] == 0
    assert said["strikes"] > (200 if temporality == "delta" else 1_000)
    assert said["deaths"] >= said["strikes"]
    # What dies is another's, and never the peer of a call that it interrupts.
    socket = valkey_server.socket
    assert said["peers"].keys() == {"127.0.0.1 127.0.0.1", f"{socket} {socket}"}


@pytest.fixture
def client(valkey_server: RedisServer) -> Iterator[Any]:
    valkey_server.revive()
    valkey_server.flush()
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        yield client


class Dying:
    """Does something when it is collected."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.itself = self

    def __del__(self) -> None:
        self.work()


def collect_at_work(waiting: Any) -> None:
    """Begin a coroutine, or a generator, and let it die in a reference cycle; nobody else may hold it."""
    copy_context().run(waiting.send, None)
    cycle: list[Any] = [waiting]
    cycle.append(cycle)
    del waiting, cycle
    gc.collect()


def test_a_finaliser_in_the_midst_of_a_call_of_its_own_client_makes_a_call(
    client: Any, recording: Recording
) -> None:
    def collect(reply: Any, **_: Any) -> Any:
        Dying(lambda: client.get("late:1"))
        gc.collect()
        return reply

    recording.instrument()
    client.set_response_callback("STRLEN", collect)
    client.strlen("user:1")

    assert recording.lookups() == {("late", "miss"): 1}
    assert recording.counts("db.client.operation.duration") == {"STRLEN": 1, "GET": 1}
    assert recording.operations() == ["STRLEN"]


def test_a_finaliser_is_counted_wherever_it_strikes(client: Any, recording: Recording) -> None:
    def in_a_hook(*_: object) -> None:
        Dying(lambda: client.get("hook:1"))
        gc.collect()

    recording.instrument(request_hook=in_a_hook)
    client.strlen("user:1")
    with suppress_instrumentation():
        Dying(lambda: client.get("exporter:1"))
        gc.collect()

    assert recording.lookups() == {("hook", "miss"): 1, ("exporter", "miss"): 1}


def test_what_a_finaliser_does_is_counted_by_the_next_collection(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    for name in ("first", "second"):
        Dying(lambda name=name: client.pipeline().get(f"{name}:1").set(f"{name}:1", 1).execute())
        gc.collect()

        assert recording.lookups()[name, "miss"] == 1
    assert recording.spans() == []


def test_nothing_else_in_a_finaliser_makes_a_span(client: Any, recording: Recording) -> None:
    client.mset({"page:1": 1, "page:2": 2})
    recording.instrument()

    Dying(lambda: invalidate(client, "page:*"))
    gc.collect()

    assert recording.spans() == []
    assert recording.counts("cache.invalidations") == {("page", "delete"): 2}
    assert client.keys() == []


class Watching(SpanProcessor):
    """Where spans end: inside of the garbage collector, or not."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.seen.append((span.name, garbage.is_at_work()))


async def test_a_call_whose_coroutine_is_collected_ends_its_span_afterwards(
    valkey_server: RedisServer, recording: Recording
) -> None:
    recording.tracer_provider.add_span_processor(watching := Watching())
    async with redis.asyncio.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        await client.ping()
        recording.instrument()
        collect_at_work(client.get("user:1"))
        assert watching.seen == []
        await client.strlen("user:1")

    assert watching.seen == [("GET", False), ("STRLEN", False)]
    assert attributes_of(recording.spans()[0])["error.type"] == "GeneratorExit"
    assert recording.counts("db.client.operation.duration").keys() == {
        "STRLEN",
        ("GET", "GeneratorExit"),
    }


@pytest.mark.parametrize("wait", ["asynchronously", "in a generator"])
async def test_a_consumer_that_is_collected_ends_its_span_afterwards(
    client: Any, recording: Recording, wait: str
) -> None:
    def work() -> Iterator[None]:
        with consumed({"type": "message", "channel": b"news", "data": b"x"}):
            yield

    async def work_asynchronously() -> None:
        with consumed({"type": "message", "channel": b"news", "data": b"x"}):
            await asyncio.sleep(60)

    recording.tracer_provider.add_span_processor(watching := Watching())
    recording.instrument()
    collect_at_work(work() if wait == "in a generator" else work_asynchronously())
    assert watching.seen == []
    client.strlen("user:1")

    assert watching.seen == [("process", False), ("STRLEN", False)]
    assert attributes_of(recording.spans()[0])["error.type"] == "GeneratorExit"


async def test_an_invalidation_that_is_collected_is_told_afterwards(
    valkey_server: RedisServer, client: Any, recording: Recording
) -> None:
    client.mset({"page:1": 1, "page:2": 2})
    recording.tracer_provider.add_span_processor(watching := Watching())
    async with redis.asyncio.Redis(host=valkey_server.host, port=valkey_server.port) as late:
        await late.ping()
        recording.instrument()
        collect_at_work(invalidate_async(late, "page:*"))
        assert watching.seen == []
        client.strlen("user:1")

    assert watching.seen == [("cache.invalidate", False), ("STRLEN", False)]
    assert attributes_of(recording.spans()[0])["error.type"] == "GeneratorExit"
    assert recording.counts("cache.invalidation.requests") == {("page", "delete", "error"): 1}
    assert recording.counts("cache.invalidation.duration") == {("page", "delete", "error"): 1}


class Asking(SpanProcessor):
    """Calls Redis where a span ends."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.ended: list[str] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span.name)
        if len(self.ended) < 10:
            self._client.get("processor:1")


def test_what_a_span_processor_calls_where_a_span_ends_is_not_observed(
    client: Any, recording: Recording
) -> None:
    recording.tracer_provider.add_span_processor(asking := Asking(client))
    recording.instrument()
    client.strlen("user:1")
    client.pipeline().strlen("user:1").execute()

    assert asking.ended == ["STRLEN", "STRLEN"]
    assert recording.lookups() == {}


async def test_no_span_ends_within_a_collection(
    valkey_server: RedisServer, recording: Recording
) -> None:
    """The metrics SDK holds a lock there, and what a span processor does may wait for it."""
    recording.tracer_provider.add_span_processor(watching := Watching())
    async with redis.asyncio.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        await client.ping()
        instrumentor = recording.instrument()
        collect_at_work(client.get("user:1"))
        for _ in range(2):
            assert recording.counts("db.client.operation.duration") == {("GET", "GeneratorExit"): 1}
            assert watching.seen == []
        instrumentor.uninstrument()

    assert watching.seen == [("GET", False)]
    assert attributes_of(recording.span())["error.type"] == "GeneratorExit"
    assert recording.counts("db.client.operation.duration") == {("GET", "GeneratorExit"): 1}


@pytest.mark.parametrize("told_by", ["a pipeline", "invalidate", "a subscriber", "uninstrument"])
async def test_a_span_that_was_left_ends_with_whatever_comes_next(
    valkey_server: RedisServer, client: Any, recording: Recording, told_by: str
) -> None:
    async with redis.asyncio.Redis(host=valkey_server.host, port=valkey_server.port) as late:
        await late.ping()
        instrumentor = recording.instrument(metrics="default,pubsub")
        subscriber = client.pubsub()
        subscriber.subscribe("news")
        recording.take()
        collect_at_work(late.get("user:1"))
        assert recording.spans() == []
        if told_by == "a pipeline":
            client.pipeline().strlen("user:1").execute()
        elif told_by == "invalidate":
            invalidate(client, "page:*")
        elif told_by == "a subscriber":
            with redis.Redis(host=valkey_server.host, port=valkey_server.port) as other:
                RedisCacheInstrumentor.uninstrument_client(other)
                with suppress_instrumentation():
                    other.publish("news", "x")
            while subscriber.get_message(timeout=5)["type"] != "message":
                pass
        else:
            instrumentor.uninstrument()
        subscriber.close()

    assert recording.operations()[0] == "GET"


def test_a_refused_checkout_in_a_finaliser_is_a_timeout(
    valkey_server: RedisServer, recording: Recording
) -> None:
    pool = redis.ConnectionPool(host=valkey_server.host, port=valkey_server.port, max_connections=1)
    client = redis.Redis(connection_pool=pool)
    recording.instrument(metrics="default,connections")
    client.ping()
    taken = pool.get_connection()
    counted: list[int] = []

    def call() -> None:
        with suppress(redis.ConnectionError):
            client.get("late:1")
        timeouts = RedisCacheInstrumentor.observers()[0].recorder.tallies.pool_timeouts
        counted.append(len(timeouts.items()))

    Dying(call)
    gc.collect()
    pool.release(taken)

    assert counted == [0]
    assert list(recording.counts("db.client.connection.timeouts").values()) == [1]
    client.close()


def test_notes_are_bounded_and_what_is_lost_is_said(
    client: Any, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "MAX_NOTES", 3)
    recording.instrument()
    for _ in range(5):
        Dying(lambda: client.get("late:1"))
        gc.collect()
    client.strlen("user:1")

    assert recording.lookups() == {("late", "miss"): 3}
    assert recording.counts("otel_redis_cache.errors") == {"finaliser": 2}


def test_a_finaliser_sends_no_context_along(client: Any, recording: Recording) -> None:
    recording.instrument(propagate_context=True)
    with recording.tracer.start_as_current_span("request"):
        Dying(lambda: client.xadd("late", {"a": "1"}))
        gc.collect()

    assert [fields for _, fields in client.xrange("late")] == [{b"a": b"1"}]


def test_a_forked_child_does_not_count_what_its_parent_has_noted(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    Dying(lambda: client.get("late:1"))
    gc.collect()

    assert in_child(lambda: list(recording.lookups())) == []
    assert recording.lookups() == {("late", "miss"): 1}


def test_no_function_of_ours_is_entered_where_the_collector_starts_and_stops() -> None:
    """It would handle a signal there, and lose what the handler raises."""
    ours = str(Path(otel_redis_cache.__file__).parent)
    entered: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(ours):
            entered.append(frame.f_code.co_name)

    gc.collect()
    sys.setprofile(note)
    try:
        gc.collect()
    finally:
        sys.setprofile(None)

    assert entered == []


BETWEEN_LINES = """
import faulthandler, gc, sys
faulthandler.enable()
faulthandler.dump_traceback_later(50, exit=True)
import redis
from tests.recording import Recording

recording = Recording()
recording.instrument(metrics="cache,operations,connections,pool_times")
client = redis.Redis.from_url(sys.argv[1])
late = redis.Redis.from_url(sys.argv[1])
died = 0

class Dying:
    def __init__(self):
        self.itself = self

    def __del__(self):
        global died
        late.get("late:1")
        died += 1

late.get("late:1")
gc.collect()
gc.freeze()
gc.set_threshold(int(sys.argv[2]))
for _ in range(1_000):
    Dying()
    client.get("user:1")
gc.disable()
gc.collect()
lookups = recording.lookups()
print(lookups == {("user", "miss"): 1_000, ("late", "miss"): died + 1}, died == 1_000)
"""


@pytest.mark.parametrize("threshold", ["1", "7", "40"])
def test_the_collector_may_strike_within_a_line(valkey_server: RedisServer, threshold: str) -> None:
    """Until Python 3.11 wherever C allocates."""
    valkey_server.revive()
    valkey_server.flush()
    done = subprocess.run(
        [sys.executable, "-c", BETWEEN_LINES, valkey_server.url, threshold],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("True True\n", "", 0)
