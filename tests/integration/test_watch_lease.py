"""Of many processes that watch one server, one asks it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from otel_redis_cache.server import lease
from tests.integration.watching import PERIOD, told, watched
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.recording import Recording

ROOT = Path(__file__).parents[2]

UPTIME = "redis.uptime"
CALLS = "redis.cmd.calls"
KEY = "otel_redis_cache:{lease}:watch"

WATCHER = """
import sys, time
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otel_redis_cache import watch_server
from otel_redis_cache.server import watch

watch.PERIOD = float(sys.argv[2])
reader = InMemoryMetricReader()
watch_server(sys.argv[1], meter_provider=MeterProvider([reader]))
while True:
    data = reader.get_metrics_data()
    has_points = data is not None and bool(data.resource_metrics)
    print("tells" if has_points else "silent", flush=True)
    time.sleep(0.05)
"""
"""A process that says ten times a second whether it has something to tell of a server."""


class Watcher:
    """One of several processes."""

    def __init__(self, url: str, log: Path, period: float):
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", WATCHER, url, str(period)],
                stdout=output,
                stderr=output,
                cwd=ROOT,
            )

    @property
    def says(self) -> str:
        lines = self._log.read_text().splitlines()
        return lines[-1] if lines else ""

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)


@contextmanager
def watchers(url: str, directory: Path, period: float = PERIOD) -> Iterator[list[Watcher]]:
    """Three of them, all of which say something."""
    with ExitStack() as stack:
        started: list[Watcher] = []
        for number in range(3):
            started.append(Watcher(url, directory / f"{number}.log", period))
            stack.callback(started[-1].end)
        wait_until(
            lambda: all(one.says in ("tells", "silent") for one in started),
            timeout=30,
            what="all of them have started",
        )
        yield started


def telling(some: list[Watcher]) -> list[Watcher]:
    assert all(one.says in ("tells", "silent") for one in some), [one.says for one in some]
    return [one for one in some if one.says == "tells"]


def infos(server: RedisServer) -> int:
    return server.commandstats().get("info", 0)


def test_one_of_three_processes_watches_and_another_takes_over_from_it(
    new_server: RedisServer, tmp_path: Path
) -> None:
    period = 1.0
    with watchers(new_server.url, tmp_path, period) as started:
        wait_until(lambda: len(telling(started)) == 1, timeout=10, what="one of them tells")
        time.sleep(period)  # each asks once what kind of server it is
        before, since = infos(new_server), time.monotonic()
        for _ in range(20):
            assert len(telling(started)) == 1
            time.sleep(0.1)
        # One of them asks, not all three.
        assert infos(new_server) - before <= (time.monotonic() - since) / period + 2

        (first,) = telling(started)
        first.end()  # SIGKILL
        killed = time.monotonic()
        others = [one for one in started if one is not first]
        wait_until(lambda: telling(others), timeout=10, what="another one takes over")
        assert time.monotonic() - killed <= 3 * period + 0.5
        assert len(telling(others)) == 1


def test_a_watch_that_is_closed_lets_another_process_take_over_at_once(
    new_server: RedisServer, recording: Recording, tmp_path: Path
) -> None:
    with watched(recording, new_server) as mine, watchers(new_server.url, tmp_path) as others:
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        time.sleep(4 * PERIOD)
        assert telling(others) == []
        holder = new_server.call("GET", KEY)
        assert re.fullmatch(rf"[^:]+:{os.getpid()}:[0-9a-f]{{32}}", str(holder))

        mine.close()
        assert new_server.call("GET", KEY) != holder
        wait_until(lambda: telling(others), timeout=10, what="another one takes over")


def test_of_two_watches_in_one_process_one_asks(
    new_server: RedisServer, recording: Recording
) -> None:
    with watched(recording, new_server):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        other = Recording()
        with watched(other, new_server):
            time.sleep(5 * PERIOD)
            assert not other.points(UPTIME)
            assert told(recording, UPTIME)


def test_each_task_has_a_lease_of_its_own(new_server: RedisServer, recording: Recording) -> None:
    """A process that samples is not kept from it by one that does not."""
    new_server.call("SET", "page:1", "x")
    with watched(recording, new_server):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        other = Recording()
        with watched(other, new_server, sample_memory=True):
            wait_until(lambda: told(other, "cache.entries"), timeout=10, what="it samples")
            assert not other.points(UPTIME)
            assert not recording.points("cache.entries")


def test_a_lease_that_was_flushed_is_taken_again(
    new_server: RedisServer, recording: Recording
) -> None:
    with watched(recording, new_server):
        for _ in range(3):
            wait_until(lambda: new_server.call("EXISTS", KEY), timeout=10, what="it is taken")
            new_server.flush()
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")


def test_a_lease_is_not_what_a_full_server_evicts_first(
    new_server: RedisServer, recording: Recording
) -> None:
    """It would be, by `volatile-ttl`, if its key expired with it."""
    limit = int(new_server.info("memory")["used_memory"]) + 2 * 1024 * 1024
    policy = ("maxmemory-policy", "volatile-ttl", "maxmemory-samples", 64)
    new_server.call("CONFIG", "SET", "maxmemory", limit, *policy)
    with watched(recording, new_server):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        holder = new_server.call("GET", KEY)
        for page in range(600):
            new_server.call("SET", f"page:{page}", "x" * 10_240, "EX", 3_600)
            if page % 20 == 0:
                assert new_server.call("GET", KEY) == holder
        assert int(new_server.info("stats")["evicted_keys"]) > 100


def test_two_who_watch_because_the_lease_was_lost_are_one_again(
    new_server: RedisServer, recording: Recording
) -> None:
    other = Recording()
    both = (recording, other)

    def telling() -> list[Recording]:
        return [one for one in both if one.points(UPTIME)]

    with watched(recording, new_server), watched(other, new_server):
        for _ in range(5):
            wait_until(lambda: len(telling()) == 1, timeout=10, what="one of them tells")
            new_server.flush()
            wait_until(lambda: new_server.call("EXISTS", KEY), timeout=10, what="it is taken")
            time.sleep(1.5 * PERIOD)
            assert len(telling()) == 1


def test_a_server_whose_memory_is_full_is_watched(
    new_server: RedisServer, recording: Recording
) -> None:
    new_server.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(RuntimeError, match="OOM"):
        new_server.call("SET", "page:1", "x")
    with watched(recording, new_server):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        assert told(recording, "redis.maxmemory") == 1


LIMITED = [
    (["~*", "+@all", "-@write", "-@scripting"], r"NOPERM; the ACL rule \+eval is missing"),
    # The script may run, but not write; not every server says what.
    (["~*", "+@all", "-@write"], r"(ERR|_OTHER)(; the ACL rule \+set is missing)?"),
    (["~user:*", "+@all"], r"NOPERM; the ACL rule ~otel_redis_cache:{lease}:\* is missing"),
    (["~*", "+info"], r"NOPERM; the ACL rule \+eval is missing"),
]


@pytest.mark.parametrize(("rules", "error"), LIMITED, ids=[" ".join(rules) for rules, _ in LIMITED])
def test_where_no_lease_can_be_taken_this_is_said_once_and_a_leader_is_named(
    rules: list[str],
    error: str,
    new_server: RedisServer,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
) -> None:
    new_server.call("ACL", "SETUSER", "limited", "on", ">secret", *rules)
    url = f"redis://limited:secret@127.0.0.1:{new_server.port}"
    with watched(recording, url):
        wait_until(lambda: caplog.records, timeout=10, what="it is said")
        time.sleep(5 * PERIOD)
        assert not recording.points(UPTIME)
    (record,) = caplog.records
    said = record.getMessage()
    assert f"127.0.0.1:{new_server.port} does not let us take the lease" in said
    assert re.search(rf"\(({error})\)", said)
    assert "watch_leader" in said
    assert "secret" not in said
    log = new_server.call("ACL", "LOG")
    assert isinstance(log, list)
    assert len(log) <= 2  # it is not asked for again each time

    with watched(recording, url, watch_leader=True):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
    assert len(caplog.records) == 1


def test_a_permission_that_goes_is_noticed_at_once_and_one_that_comes_soon(
    new_server: RedisServer, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    new_server.call("ACL", "SETUSER", "user", "on", ">secret", "~*", "+@all")
    with watched(recording, f"redis://user:secret@127.0.0.1:{new_server.port}"):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        for command, times in (("eval", lease.SILENT_PERIODS), ("info", 1)):
            new_server.call("ACL", "SETUSER", "user", f"-{command}")
            wait_until(lambda: not told(recording, UPTIME), timeout=3 * PERIOD + 1, what="silence")
            new_server.call("ACL", "SETUSER", "user", f"+{command}")
            wait_until(
                lambda: told(recording, UPTIME),
                timeout=(times + 2) * PERIOD + 1,
                what="it tells again",
            )
    said = [record.getMessage() for record in caplog.records]
    assert [re.findall(r"the ACL rule (\S+) is missing", line) for line in said] == [
        ["+eval"],
        ["+info"],
    ]


def test_a_leader_that_could_take_the_lease_watches_only_where_it_does(
    new_server: RedisServer, recording: Recording
) -> None:
    with watched(recording, new_server):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        other = Recording()
        with watched(other, new_server, watch_leader=True):
            time.sleep(5 * PERIOD)
            assert not other.points(UPTIME)


def test_a_password_that_is_wrong_for_a_moment_is_no_refusal(
    new_server: RedisServer,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease, "SILENT_PERIODS", 10_000)
    new_server.call("ACL", "SETUSER", "user", "on", ">secret", "~*", "+@all")
    with watched(recording, f"redis://user:secret@127.0.0.1:{new_server.port}"):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        new_server.call("ACL", "SETUSER", "user", "resetpass", ">other")
        new_server.call("CLIENT", "KILL", "USER", "user")
        wait_until(lambda: not recording.points(UPTIME), timeout=10, what="it is let in no more")
        time.sleep(3 * PERIOD)
        new_server.call("ACL", "SETUSER", "user", ">secret")
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells again")
    assert caplog.records
    assert not [one for one in caplog.records if "watch_leader" in one.getMessage()]


def test_a_server_that_has_too_many_clients_for_a_moment_does_not_refuse(
    new_server: RedisServer,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease, "SILENT_PERIODS", 10_000)
    with (
        watched(recording, new_server),
        socket.create_connection((new_server.host, new_server.port), timeout=5) as inside,
    ):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        inside.sendall(b"CONFIG SET maxclients 1\r\nCLIENT KILL TYPE normal SKIPME yes\r\n")
        wait_until(lambda: not recording.points(UPTIME), timeout=10, what="it is let in no more")
        time.sleep(3 * PERIOD)
        inside.sendall(b"CONFIG SET maxclients 100\r\n")
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells again")
    assert caplog.records
    assert not [one for one in caplog.records if "watch_leader" in one.getMessage()]


def test_a_lease_that_never_expires_is_free(new_server: RedisServer, recording: Recording) -> None:
    new_server.call("SET", KEY, "somebody")
    with watched(recording, new_server):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        assert new_server.call("GET", KEY) != "somebody"
        ttl = new_server.call("PTTL", KEY)
        assert isinstance(ttl, int)
        assert ttl > 0


def test_a_server_that_takes_no_writes_is_watched(
    new_server: RedisServer, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    new_server.call("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(RuntimeError, match="NOREPLICAS"):
        new_server.call("SET", "page:1", "x")
    with watched(recording, new_server):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        new_server.call("CONFIG", "SET", "min-replicas-to-write", "0")
        wait_until(lambda: new_server.call("EXISTS", KEY), timeout=10, what="the lease is taken")
    assert not caplog.records


def test_a_server_that_takes_no_writes_is_left_to_who_holds_its_lease(
    new_server: RedisServer, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    new_server.call("SET", KEY, "somebody", "PX", lease.SPARE + 3_000)
    new_server.call("CONFIG", "SET", "min-replicas-to-write", "1")
    with watched(recording, new_server):
        wait_until(
            lambda: new_server.commandstats().get("get", 0) > 2, timeout=10, what="it has asked"
        )
        assert not recording.points(UPTIME)
        # The key is still there when the time of its holder is over.
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        assert new_server.call("GET", KEY) == "somebody"
    assert not caplog.records


def test_a_lease_that_is_over_is_free_before_its_key_expires(
    new_server: RedisServer, recording: Recording
) -> None:
    new_server.call("SET", KEY, "somebody", "PX", lease.SPARE + 1_000)
    started = time.monotonic()
    with watched(recording, new_server):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        assert time.monotonic() - started >= 0.9


def test_who_watches_commands_is_not_kept_from_it_by_one_who_does_not(
    new_server: RedisServer, recording: Recording
) -> None:
    def told_of_commands(by: Recording) -> set[str]:
        return {attributes["cmd"] for attributes, _ in by.points(CALLS)}

    with watched(recording, new_server):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        other = Recording()
        with watched(other, new_server, watch_commands=True):
            wait_until(lambda: "info" in told_of_commands(other), timeout=10, what="commands")
            assert not other.points(UPTIME)
            assert not told_of_commands(recording)
            assert told(recording, UPTIME)


def test_no_more_is_needed_than_what_is_said_to_be(
    new_server: RedisServer, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    needed = ("+eval", "+get", "+set", "+del", "+pttl", "+info")
    new_server.call("ACL", "SETUSER", "user", "on", ">secret", "~otel_redis_cache:*", *needed)
    url = f"redis://user:secret@127.0.0.1:{new_server.port}"
    with watched(recording, url):
        wait_until(lambda: told(recording, UPTIME), timeout=10, what="it tells")
        other = Recording()
        with watched(other, url):
            time.sleep(5 * PERIOD)
            assert not other.points(UPTIME)
    assert not caplog.records
