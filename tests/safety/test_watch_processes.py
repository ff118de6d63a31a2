"""A watched server and processes: forks, first collections, the end of a process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from otel_redis_cache.server import watch
from tests.integration.watching import PERIOD, watched
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.recording import Recording
from tests.safety.test_fork import in_child

ROOT = Path(__file__).parents[2]
COMMANDS = "redis.commands.processed"
THREAD = "otel_redis_cache.watch"


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == THREAD]


def commands(recording: Recording) -> int:
    """0 while nothing is told."""
    return sum(count for _, count in recording.points(COMMANDS))


def wait_for(recording: Recording, more_than: int = 0) -> int:
    def grown() -> int:
        count = commands(recording)
        return count if count > more_than else 0

    return wait_until(grown, timeout=10, what="commands are counted on")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PERIOD", PERIOD)


def test_a_setting_starts_no_thread_before_somebody_collects(
    valkey_server: RedisServer, recording: Recording
) -> None:
    valkey_server.revive()
    instrumentor = recording.instrument(watch=valkey_server.url)
    time.sleep(2 * PERIOD)
    assert threads() == []

    wait_for(recording)
    assert threads() == [THREAD]

    instrumentor.uninstrument()
    assert threads() == []
    assert commands(recording) == 0


def test_a_url_in_the_settings_that_cannot_be_read_is_one_line(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument(watch="redis://:secret@127.0.0.1:port")
    recording.metrics()
    wait_until(lambda: caplog.records, timeout=10, what="it is said")
    for _ in range(5):
        recording.metrics()
    (record,) = caplog.records
    assert "'redis://127.0.0.1:port', which cannot be read" in record.getMessage()
    assert "secret" not in caplog.text


def test_a_forked_child_where_nobody_collects_has_no_thread_and_its_parent_goes_on(
    valkey_server: RedisServer, recording: Recording
) -> None:
    valkey_server.revive()
    with watched(recording, valkey_server, sample_memory=True, listen_events=True):
        seen = wait_for(recording)

        def work() -> int:
            gc.collect()
            return threading.active_count()

        for _ in range(3):
            assert in_child(work) == 1
            seen = wait_for(recording, seen)


def test_a_forked_child_does_not_watch_what_its_parent_watches(
    valkey_server: RedisServer, recording: Recording
) -> None:
    valkey_server.revive()
    with watched(recording, valkey_server):
        seen = wait_for(recording)

        def work() -> list[int]:
            told = []
            for _ in range(20):
                told.append(commands(recording))
                time.sleep(PERIOD / 4)
            return [sum(told), len(threads())]

        assert in_child(work) == [0, 1]
        wait_for(recording, seen)


def test_a_forked_child_takes_over_from_its_parent(
    valkey_server: RedisServer, recording: Recording
) -> None:
    valkey_server.revive()
    with watched(recording, valkey_server) as mine:
        seen = wait_for(recording)
        closing = threading.Timer(1.0, mine.close)
        closing.start()
        assert in_child(lambda: wait_for(recording)) >= seen
        closing.join()


@contextmanager
def idle_child() -> Iterator[int]:
    """A forked child that only lives, and then ends as a process does."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(writing)
            gc.collect()
            os.read(reading, 1)
            gc.collect()
            status = 0
        finally:
            os._exit(status)
    os.close(reading)
    try:
        yield pid
    finally:
        os.close(writing)
        _, status = os.waitpid(pid, 0)
    assert status == 0


def clients_of(server: RedisServer) -> int:
    """Connections, but for the one that asks."""
    listed = server.call("CLIENT", "LIST")
    assert isinstance(listed, str)
    return len(listed.splitlines()) - 1


def test_a_forked_child_keeps_no_connection_of_its_parent_open(
    new_server: RedisServer, recording: Recording
) -> None:
    new_server.call("CONFIG", "SET", "notify-keyspace-events", "Exe")
    with watched(recording, new_server, sample_memory=True, listen_events=True) as mine:
        seen = wait_for(recording)
        listening = lambda: new_server.call("CLIENT", "LIST", "TYPE", "pubsub")  # noqa: E731
        wait_until(listening, timeout=10, what="it listens")
        before = clients_of(new_server)
        assert before >= 2
        with idle_child():
            wait_for(recording, seen)
            assert clients_of(new_server) == before, "its parent goes on with what it has"
            mine.close()
            wait_until(lambda: clients_of(new_server) == 0, timeout=5, what="all are closed")


APPLICATION = """
import gc, os, sys, threading, time
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otel_redis_cache import watch_server
from otel_redis_cache.server import watch

watch.PERIOD = 0.2
reader = InMemoryMetricReader()
url, way = sys.argv[1:]
watched = watch_server(url, meter_provider=MeterProvider([reader]), sample_memory=True)

def names():
    data = reader.get_metrics_data()
    scopes = [s for r in (data.resource_metrics if data else ()) for s in r.scope_metrics]
    return {metric.name for scope in scopes for metric in scope.metrics}

deadline = time.monotonic() + 20
while not {"redis.uptime", "cache.sampler.duration"} <= names() and time.monotonic() < deadline:
    time.sleep(0.05)
assert "redis.uptime" in names()
if way == "fork":
    pid = os.fork()
    if pid == 0:
        gc.collect()
        names()
        time.sleep(0.5)
        sys.exit(0)
    os.waitpid(pid, 0)
if way == "close":
    watched.close()
if way == "raise":
    raise SystemExit(0)
"""


@pytest.mark.parametrize("way", ["end", "close", "fork", "raise"])
@pytest.mark.parametrize("library", ["redis", "valkey"])
def test_a_process_ends_at_once_and_says_nothing(
    way: str, library: str, valkey_server: RedisServer
) -> None:
    valkey_server.revive()
    valkey_server.flush()
    valkey_server.call("SET", "page:1", "x")
    url = valkey_server.url.replace("redis", library)
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", APPLICATION, url, way]
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert time.monotonic() - started < 30
    # The lease is given back, so that another process need not wait for it.
    assert valkey_server.call("KEYS", "otel_redis_cache:*") == []


def test_a_process_ends_although_the_server_does_not_answer(new_server: RedisServer) -> None:
    program = APPLICATION + "\nos.kill(int(os.environ['SERVER']), 19)\ntime.sleep(0.5)\n"
    command = [sys.executable, "-X", "dev", "-c", program, new_server.url, "end"]
    environment = {**os.environ, "SERVER": str(new_server.pid)}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    new_server.resume()
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


SLOW_NAME = """
import socket, time
from otel_redis_cache import watch_server

def look_up(*_, **__):
    print("asked", flush=True)
    time.sleep(60)

socket.getaddrinfo = look_up
watch_server("redis://slow.test:6379")
time.sleep(1)
"""


def test_a_process_ends_although_a_name_is_still_looked_up() -> None:
    command = [sys.executable, "-X", "dev", "-c", SLOW_NAME]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.returncode) == ("asked\n", 0)


ORPHAN = """
if os.fork() == 0:
    os.close(1)
    os.read(0, 1)
    os._exit(0)
print("ready", flush=True)
os.kill(os.getpid(), 9)
"""


def test_the_death_of_a_parent_ends_its_connections_while_a_child_lives(
    new_server: RedisServer,
) -> None:
    command = [sys.executable, "-c", APPLICATION + ORPHAN, new_server.url, "orphan"]
    parent = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert parent.wait(10) == -9
        wait_until(lambda: clients_of(new_server) == 0, timeout=5, what="all are closed")


def test_many_watches_end_in_the_time_of_one(new_server: RedisServer, recording: Recording) -> None:
    with ExitStack() as stack:
        for database in range(5):
            url = f"{new_server.url.rpartition('/')[0]}/{database}"
            stack.enter_context(watched(recording, url))
        wait_for(recording)
        new_server.pause()
        time.sleep(2 * PERIOD)  # a question is open
        started = time.monotonic()
        watch._stop_all()
        assert time.monotonic() - started <= 2 * watch.CLOSING
        new_server.resume()


IMPORTS = """
import sys, threading

class Seen:
    def find_spec(self, name, *_):
        if threading.current_thread().name == "otel_redis_cache.watch":
            found.append(name)

found = []
sys.meta_path.insert(0, Seen())
url, way = sys.argv[1:]
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
import otel_redis_cache
from otel_redis_cache.server import watch

watch.PERIOD = 0.2
reader = InMemoryMetricReader()
provider = MeterProvider([reader])
if way == "setting":
    otel_redis_cache.RedisCacheInstrumentor().instrument(watch=url, meter_provider=provider)
else:
    otel_redis_cache.watch_server(url, meter_provider=provider)

import time
deadline = time.monotonic() + 20
while "redis.uptime" not in str(reader.get_metrics_data()):
    assert time.monotonic() < deadline
    time.sleep(0.05)
print(found)
"""


@pytest.mark.parametrize("way", ["setting", "code"])
@pytest.mark.parametrize("library", ["redis", "valkey"])
def test_the_thread_imports_nothing_that_a_fork_could_come_in_between_of(
    way: str, library: str, valkey_server: RedisServer
) -> None:
    valkey_server.revive()
    url = valkey_server.url.replace("redis", library)
    command = [sys.executable, "-c", IMPORTS, url, way]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
