"""However a process is made, runs and ends: each call is counted once, nothing waits for ever."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from otel_redis_cache import RedisCacheInstrumentor
from tests.real.servers import RedisServer
from tests.recording import Recording

ROOT = Path(__file__).parent.parent.parent
DURATION = "db.client.operation.duration"

HEAD = """
import faulthandler, json, os, sys, threading, time
faulthandler.dump_traceback_later(50, exit=True)
url, *way = sys.argv[1:]
"""


@pytest.fixture
def server(valkey_server: RedisServer) -> RedisServer:
    valkey_server.revive()
    valkey_server.flush()
    valkey_server.reset_stats()
    return valkey_server


def run(program: str, directory: Path, *arguments: str) -> str:
    """What a program says, which warns of nothing and ends by itself; one that hangs tells where."""
    path = directory / "program.py"
    path.write_text(HEAD + program)
    # Forks beside threads are what is tested here; newer Pythons warn of them.
    options = ["-W", "error", "-W", "ignore:.*fork:DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *options, path, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


FAMILY = """
import multiprocessing
import redis
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter, InMemoryMetricReader, PeriodicExportingMetricReader)
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from otel_redis_cache import conventions
from tests.recording import Recording

client = redis.Redis.from_url(url)
recording = Recording()
nowhere = open(os.devnull, "w")

def instrument():
    "With threads of the SDK that collect and export all the time."
    recording.tracer_provider.add_span_processor(
        BatchSpanProcessor(ConsoleSpanExporter(out=nowhere), schedule_delay_millis=20))
    recording.meter_provider.add_metric_reader(
        PeriodicExportingMetricReader(ConsoleMetricExporter(out=nowhere), 20))
    groups = {metric.group for metric in conventions.METRICS if metric.group}
    recording.instrument(metrics=",".join(groups))

def counted():
    return [sum(recording.counts(name).values())
            for name in ("cache.requests", "db.client.operation.duration")]

def in_threads(work):
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    return threads

def child(queue, way):
    if way != "fork":
        instrument()
    before = counted()
    for thread in in_threads(lambda: [client.get("user:1") for _ in range(25)]):
        thread.join()
    queue.put([after - earlier for after, earlier in zip(counted(), before)])

if __name__ == "__main__":
    instrument()
    client.get("user:1")
    stop = threading.Event()

    def load():
        # redis-py gives up in a child where a thread of its parent was inside the same pool.
        own = redis.Redis.from_url(url)
        while not stop.is_set():
            own.get("user:1")

    threads = in_threads(load)
    context = multiprocessing.get_context(way[0])
    queue = context.Queue()
    children = [context.Process(target=child, args=(queue, way[0])) for _ in range(int(way[1]))]
    for process in children:
        process.start()
    found = [queue.get(timeout=40) for _ in children]
    for process in children:
        process.join()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps([[process.exitcode for process in children], found, counted()]))
"""


@pytest.mark.parametrize(("way", "children"), [("fork", 6), ("forkserver", 2), ("spawn", 2)])
def test_processes_of_multiprocessing_count_their_own_calls(
    server: RedisServer, tmp_path: Path, way: str, children: int
) -> None:
    codes, found, own = json.loads(run(FAMILY, tmp_path, server.url, way, str(children)))

    assert codes == [0] * children
    assert found == [[100, 100]] * children
    assert own == [server.commandstats()["get"] - 100 * children] * 2


PREFORK = """
import redis
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from tests.recording import Recording

client = redis.Redis.from_url(url)
recording = Recording()
recording.tracer_provider.add_span_processor(
    BatchSpanProcessor(ConsoleSpanExporter(out=open(os.devnull, "w")), schedule_delay_millis=20))
recording.instrument()
client.get("user:1")

def serve(depth):
    "A worker that has workers, as those of uWSGI and Celery may; it says what it has counted."
    before = sum(recording.lookups().values())
    told = []
    for _ in range(3 if depth else 0):
        reading, writing = os.pipe()
        if os.fork() == 0:
            try:
                os.write(writing, json.dumps(serve(depth - 1)).encode())
            finally:
                os._exit(0)
        os.close(writing)
        told.append(reading)
    for _ in range(20):
        client.get("user:1")
    own = sum(recording.lookups().values()) - before
    for reading in told:
        with os.fdopen(reading) as pipe:
            own_of_child = json.load(pipe)
        os.wait()
        own += own_of_child
    return own

print(serve(3))
"""


def test_workers_of_workers_count_their_own_calls(server: RedisServer, tmp_path: Path) -> None:
    counted = int(run(PREFORK, tmp_path, server.url))

    assert counted == (1 + 3 + 9 + 27) * 20
    assert server.commandstats()["get"] == counted + 1


def test_many_event_loops_one_after_another_and_in_threads(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()

    async def use(name: str) -> None:
        async with redis.asyncio.Redis(host=server.host, port=server.port) as client:
            await asyncio.gather(*(client.get(f"{name}:1") for _ in range(5)))

    def use_loops(name: str) -> None:
        for _ in range(10):
            asyncio.run(use(name))

    names = [f"cache_{letter}" for letter in "abcd"]
    threads = [threading.Thread(target=use_loops, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    use_loops("alone")

    expected = {(name, "miss"): 50 for name in (*names, "alone")}
    assert recording.lookups() == expected
    assert recording.counts(DURATION) == {"GET": 250}
    assert server.commandstats()["get"] == len(recording.spans()) == 250


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent
import redis
from tests.recording import Recording

recording = Recording()
recording.instrument()
client = redis.Redis.from_url(url, max_connections=100)

def request(number):
    with recording.tracer.start_as_current_span(f"request {number}") as span:
        for _ in range(10):
            client.get(f"user:{number}")
            gevent.sleep(0)
    return span.get_span_context().span_id

parents = [one.get() for one in [gevent.spawn(request, number) for number in range(50)]]
found = [span.parent.span_id for span in recording.spans()]
print(json.dumps([
    sum(recording.lookups().values()),
    sum(recording.counts("db.client.operation.duration").values()),
    [found.count(parent) for parent in parents],
    max(reading for reading in recording.counts("db.client.connection.count").values()),
]))
"""


def test_greenlets_of_gevent_are_told_apart(server: RedisServer, tmp_path: Path) -> None:
    pytest.importorskip("gevent")
    lookups, durations, by_parent, connections = json.loads(run(GREENLETS, tmp_path, server.url))

    assert lookups == durations == server.commandstats()["get"] == 500
    assert by_parent == [10] * 50
    assert connections > 1, "they have waited for each other"


IMPORTED_ANEW = """
import redis
from tests.recording import Recording

recording = Recording()
recording.instrument()
client = redis.Redis.from_url(url)

def purge(package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]

def told():
    durations = recording.counts("db.client.operation.duration")
    return [sum(recording.lookups().values()), durations.get("GET"), len(recording.spans())]

client.get("user:1")
purge("otel_redis_cache")
import otel_redis_cache
instrumentor = otel_redis_cache.RedisCacheInstrumentor()
instrumentor.instrument(**recording.providers)
client.get("user:1")
once = told()
instrumentor.uninstrument()
client.get("user:1")
untouched = not hasattr(redis.Redis.execute_command, "__wrapped__")
purge("redis")
import redis
instrumentor.instrument(**recording.providers)
redis.Redis.from_url(url).get("cart:1")
print(json.dumps([once, untouched, told()]))
"""


def test_what_is_imported_anew_takes_over(server: RedisServer, tmp_path: Path) -> None:
    once, untouched, afterwards = json.loads(run(IMPORTED_ANEW, tmp_path, server.url))

    assert once == [2, 2, 2]
    assert untouched
    assert afterwards == [3, 3, 3]


IN_FLIGHT = """
import atexit
import redis

def last(client):
    client.get("user:1")
    print("bye", flush=True)

client = redis.Redis.from_url(url)
atexit.register(last, client)
from tests.recording import Recording
recording = Recording()
recording.instrument()
atexit.register(last, client)

def load():
    own = redis.Redis.from_url(url)
    while True:
        own.pipeline().get("user:1").set("user:1", 1).execute()

for _ in range(8):
    threading.Thread(target=load, daemon=True).start()
time.sleep(0.2)
"""


def test_a_process_ends_while_calls_are_in_flight(server: RedisServer, tmp_path: Path) -> None:
    for _ in range(3):
        assert run(IN_FLIGHT, tmp_path, server.url) == "bye\nbye\n"


AT_THE_END = """
import atexit
import redis
from tests.recording import Recording, end_badly_where_telemetry_differs
from tests.safety.test_fork import locks_of_the_sdk

recording = Recording()
recording.instrument(metrics="cache,operations,connections,pool_times")
client = redis.Redis.from_url(url)

class Held:
    def __init__(self):
        self.client, self.say = client, print

    def __del__(self):
        try:
            self.client.get("late:1")
        except ImportError as fault:  # redis-py imports where its client was closed before
            trace = fault.__traceback__
            while trace is not None:
                assert "/otel_redis_cache/" not in trace.tb_frame.f_code.co_filename
                trace = trace.tb_next
        self.say("done", flush=True)

client.get("user:1")
held = Held()
if way == ["module"]:
    redis.held = held
    del held

def stop():
    "As threads do that are stopped in the midst of the SDK."
    end_badly_where_telemetry_differs()  # while the SDK can be asked
    for lock in locks_of_the_sdk(recording):
        lock.acquire()

atexit.register(stop)
"""


@pytest.mark.parametrize("place", ["main", "module"])
def test_a_finaliser_at_the_end_of_the_interpreter_does_its_work(
    server: RedisServer, tmp_path: Path, place: str
) -> None:
    assert run(AT_THE_END, tmp_path, server.url, place) == "done\n"


class Load:
    """Calls in threads, or in tasks of event loops, until it is told to stop."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.made: list[int] = []
        """Lookups."""
        self.faults: list[BaseException] = []

    def start(self, kind: str) -> None:
        work, many = {"threads": (self._call, 8), "tasks": (self._loop, 2)}[kind]
        self._threads = [threading.Thread(target=self._guard, args=(work,)) for _ in range(many)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as fault:
            self.faults.append(fault)

    def _call(self) -> None:
        client: Any
        with redis.Redis(host=self._server.host, port=self._server.port) as client:
            while not self._is_over.is_set():
                client.get("user:1")
                client.pipeline().get("user:1").get("user:2").execute()
                self.made.append(3)

    def _loop(self) -> None:
        asyncio.run(self._tasks())

    async def _tasks(self) -> None:
        client: Any
        async with redis.asyncio.Redis(host=self._server.host, port=self._server.port) as client:
            await asyncio.gather(*(self._task(client) for _ in range(4)))

    async def _task(self, client: Any) -> None:
        while not self._is_over.is_set():
            await client.get("user:1")
            await client.pipeline().get("user:1").get("user:2").execute()
            self.made.append(3)


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_calls_go_on_while_it_is_switched_on_and_off(
    server: RedisServer, recording: Recording, kind: str
) -> None:
    load = Load(server)
    load.start(kind)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        recording.instrument()
        time.sleep(0.005)
        RedisCacheInstrumentor().uninstrument()
    recording.instrument()
    load.stop()

    assert load.faults == []
    seen = sum(recording.lookups().values())
    alone, batches = recording.operations().count("GET"), recording.operations().count("MULTI GET")
    assert seen == alone + 2 * batches
    assert recording.counts(DURATION) == {"GET": alone, "MULTI GET": batches}
    assert 0 < seen <= sum(load.made) == server.commandstats()["get"]
    with redis.Redis(host=server.host, port=server.port) as client:
        client.get("user:1")
    assert sum(recording.lookups().values()) == seen + 1


SUBINTERPRETER = """
program = f'''
import sys
sys.path[:] = {sys.path!r}
import redis
from tests.recording import Recording
recording = Recording()
recording.instrument()
redis.Redis.from_url({url!r}).get("user:1")
print(recording.lookups(), recording.operations(), flush=True)
'''
try:
    import _interpreters
    other = _interpreters.create("legacy")
    run = _interpreters.exec
except ImportError:
    import _xxsubinterpreters as _interpreters
    other = _interpreters.create(isolated=False)
    run = _interpreters.run_string
said = run(other, program)
assert said is None, said
_interpreters.destroy(other)
"""


def test_a_subinterpreter_that_may_have_threads_counts_its_own_calls(
    server: RedisServer, tmp_path: Path
) -> None:
    assert run(SUBINTERPRETER, tmp_path, server.url) == "{('user', 'miss'): 1} ['GET']\n"
