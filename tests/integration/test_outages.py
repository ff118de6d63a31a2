"""Servers that are really killed, stopped, paused and started again: S3 of `docs/scenarios.md`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest
import redis

from otel_redis_cache import health
from tests.integration.callers import PATIENCE, Caller
from tests.integration.removing import CLIENTS
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.recording import Recording

INTERVAL = 0.05
"""Seconds between two calls of an application."""

LENGTH = 1.5
"""Seconds for which a server is gone."""

pytestmark = pytest.mark.usefixtures("alone")

UNREACHED = "ConnectionError"
SILENT = "TimeoutError"


class Downtime(threading.Thread):
    """Takes a server away, and brings it back; knows exactly when it was gone."""

    def __init__(
        self, take_away: Callable[[], object], bring_back: Callable[[], object], seconds: float
    ) -> None:
        super().__init__()
        self._take_away, self._bring_back, self._length = take_away, bring_back, seconds
        self.began = self.ended = 0.0

    def run(self) -> None:
        time.sleep(0.4)
        self._take_away()
        self.began = time.perf_counter()
        time.sleep(self._length)
        self._bring_back()
        self.ended = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Watched:
    """What was exported after each call of a caller."""

    def __init__(self, recording: Recording, caller: Caller) -> None:
        self._recording, self._caller = recording, caller
        self.looks: list[tuple[bool, int]] = []
        """Of each call: whether it failed, and what `redis.client.up` said then."""
        self.misses_while_down: set[int] = set()
        self.ratios_while_down: set[float | None] = set()

    def call(self, *command: str) -> None:
        failed = isinstance(self._caller.call(*command), Exception)
        ((_, up),) = self._recording.points("redis.client.up")
        self.looks.append((failed, up))
        if failed:
            self.misses_while_down.add(self._recording.lookups().get(("user", "miss"), 0))
            self.ratios_while_down.add(self._recording.counts("cache.hit_ratio").get("user"))

    def call_until_over(self, downtime: Downtime) -> None:
        """A hit and a miss in turn, until some time after the server is back."""
        downtime.start()
        while downtime.is_alive() or time.perf_counter() < downtime.ended + 0.4:
            self.call("get", f"user:{len(self.looks) % 2}")
            time.sleep(INTERVAL)

    @property
    def states(self) -> list[int]:
        """What `redis.client.up` has been, one after the other."""
        return [up for up, _ in groupby(up for _, up in self.looks)]

    @property
    def errors_before_down(self) -> int:
        """Calls that had failed when it said so first, this one included."""
        first = [up for _, up in self.looks].index(0)
        return sum(failed for failed, _ in self.looks[: first + 1])


def outages(recording: Recording) -> list[tuple[str, int, float]]:
    """The class of the error, how many outages, and how long they were together."""
    metric = recording.metrics().get("redis.client.outage.duration")
    points: list[Any] = [] if metric is None else list(metric.data.data_points)
    for point in points:
        assert point.attributes["server.address"] == "127.0.0.1"
    return [
        (point.attributes["error.type"].rpartition(".")[2], point.count, point.sum)
        for point in points
    ]


def hold(watched: Watched, recording: Recording, caller: Caller, downtime: Downtime) -> None:
    """What has to be so of every downtime, however it came about."""
    ((_, count, seconds),) = outages(recording)
    lookups = recording.lookups()
    hits = sum(reply == b"x" for reply in caller.replies)
    misses = sum(reply is None for reply in caller.replies)

    # A3.1: up, down, up; and no flapping.
    assert watched.states == [1, 0, 1]
    # A3.2: one record, as long as the server was gone.
    assert count == 1
    assert abs(seconds - downtime.seconds) <= max(downtime.seconds / 10, INTERVAL + PATIENCE)
    # A3.3: a lookup that fails is an error, and no miss.
    assert len(caller.errors) > 3
    assert lookups == {
        ("user", "hit"): hits,
        ("user", "miss"): misses,
        ("user", "error"): len(caller.errors),
    }
    assert len(watched.misses_while_down) == 1
    assert len(watched.ratios_while_down) == 1
    # A3.5: the first success has ended it, with the very client that had failed.
    last_failure = max(i for i, (failed, _) in enumerate(watched.looks) if failed)
    assert watched.looks[last_failure + 1] == (False, 1)
    assert health()["status"] == "healthy"


def test_a_killed_server_is_one_outage_as_long_as_it_was_gone(
    own_server: RedisServer, caller: Caller, recording: Recording
) -> None:
    """A3.1, A3.2, A3.3, A3.5."""
    recording.instrument()
    caller.call("set", "user:0", "x")
    watched = Watched(recording, caller)

    def bring_back() -> None:
        own_server.restart()
        own_server.call("SET", "user:0", "x")

    downtime = Downtime(own_server.kill, bring_back, LENGTH)
    watched.call_until_over(downtime)
    caller.replies.remove(True)  # of the SET

    hold(watched, recording, caller, downtime)
    assert watched.errors_before_down == 1
    assert outages(recording)[0][0] == UNREACHED


def stop(server: RedisServer) -> Downtime:
    return Downtime(server.pause, server.resume, LENGTH)


def pause(server: RedisServer) -> Downtime:
    return Downtime(
        lambda: server.call("CLIENT", "PAUSE", int(LENGTH * 1_000), "ALL"),
        lambda: server.call("PING"),  # which is answered when the pause is over
        LENGTH - 0.1,
    )


@pytest.mark.parametrize("silence", [stop, pause], ids=["SIGSTOP", "CLIENT PAUSE"])
def test_a_silent_server_is_one_outage_as_long_as_it_was_silent(
    own_server: RedisServer,
    caller: Caller,
    recording: Recording,
    silence: Callable[[RedisServer], Downtime],
) -> None:
    """A3.1, A3.2, A3.3, A3.5: found out at the third time-out, dated to the first."""
    recording.instrument()
    caller.call("set", "user:0", "x")
    watched, downtime = Watched(recording, caller), silence(own_server)
    watched.call_until_over(downtime)
    caller.replies.remove(True)

    hold(watched, recording, caller, downtime)
    assert watched.errors_before_down == 3
    assert outages(recording)[0][0] == SILENT


@pytest.mark.parametrize(("retries", "states"), [(0, [0, 1]), (2, [1])], ids=["fails", "retried"])
@pytest.mark.parametrize("library", CLIENTS)
def test_a_connection_killed_under_a_call_is_an_outage_only_if_the_call_fails(
    own_server: RedisServer, recording: Recording, library: str, retries: int, states: list[int]
) -> None:
    """A call that is saved by a retry is a retry."""
    recording.instrument()
    with Caller(library, own_server, retries, socket_timeout=5) as caller:
        caller.call("ping")
        watched = Watched(recording, caller)
        own_server.call("CLIENT", "PAUSE", 5_000, "WRITE")

        def kill() -> None:
            own_server.call("CLIENT", "KILL", "TYPE", "normal")
            own_server.call("CLIENT", "UNPAUSE")

        killer = threading.Timer(0.2, kill)
        killer.start()
        watched.call("set", "user:1", "x")  # held by the pause, and cut off there
        killer.join()
        watched.call("set", "user:1", "x")

    assert watched.states == states
    lengths = outages(recording)
    if retries:
        assert (caller.errors, lengths) == ([], [])
        assert sum(recording.counts("redis.client.retries").values()) == 1
    else:
        assert len(caller.errors) == 1
        ((error, count, seconds),) = lengths
        assert (error, count) == (UNREACHED, 1)
        assert 0.2 <= seconds < 0.5 + PATIENCE


def test_a_restart_is_over_when_the_data_is_loaded(
    own_server: RedisServer, caller: Caller, recording: Recording
) -> None:
    """LOADING is an answer of a server that serves nobody: it ends no outage, and begins none."""
    own_server.call("DEBUG", "POPULATE", 1_000, "user")
    own_server.call("SAVE")
    recording.instrument()
    caller.call("get", "user:0")
    slowly = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")

    def bring_back() -> None:
        own_server.restart(*slowly)
        wait_until(lambda: answers(own_server), timeout=20, what="the data is loaded")

    watched, downtime = Watched(recording, caller), Downtime(own_server.kill, bring_back, 0.5)
    watched.call_until_over(downtime)
    ((error, count, seconds),) = outages(recording)
    refusals = recording.counts("db.client.operation.duration").get(("GET", "LOADING", "LOADING"))

    assert watched.states == [1, 0, 1]
    assert (error, count) == (UNREACHED, 1)
    assert downtime.seconds > 1.2
    assert abs(seconds - downtime.seconds) <= max(downtime.seconds / 10, INTERVAL + PATIENCE)
    told = sum("BusyLoadingError" in type(error).__name__ for error in caller.errors)
    assert told > 0
    assert refusals == told


def answers(server: RedisServer) -> bool:
    try:
        return server.call("EXISTS", "user:0") == 1
    except (OSError, RuntimeError):
        return False


@pytest.mark.parametrize("library", CLIENTS)
def test_a_worker_that_waits_for_jobs_tells_of_an_outage_when_its_wait_is_broken_off(
    own_server: RedisServer, recording: Recording, library: str
) -> None:
    """A blocking call may have waited for long before, and waits for long behind."""
    recording.instrument(traces=False)
    with Caller(library, own_server, socket_timeout=10) as worker:
        worker.call("ping")
        downtime = Downtime(own_server.kill, own_server.restart, 0.5)
        downtime.start()
        time.sleep(INTERVAL)
        while not worker.errors:
            worker.call("blpop", ["queue:1"], timeout=5)
        ups = [up_of(recording)]
        downtime.join()
        job = threading.Timer(2, own_server.call, ("LPUSH", "queue:1", "job"))
        job.start()
        worker.call("blpop", ["queue:1"], timeout=5)
        job.join()
        ups.append(up_of(recording))
    ((_, count, seconds),) = outages(recording)

    assert (ups, count) == ([0, 1], 1)
    assert abs(seconds - downtime.seconds) <= INTERVAL + PATIENCE


def up_of(recording: Recording) -> Any:
    ((_, up),) = recording.points("redis.client.up")
    return up


@pytest.mark.parametrize("library", CLIENTS)
def test_a_worker_whose_polls_find_nothing_is_up(
    own_server: RedisServer, recording: Recording, library: str
) -> None:
    recording.instrument()
    with Caller(library, own_server) as worker:
        worker.call("blpop", ["queue:1"], timeout=0.05)
        assert worker.call("blpop", ["queue:1"], timeout=0.05) is None
        assert isinstance(worker.call("blpop", ["queue:1"], timeout=5), Exception)  # impatient

        assert up_of(recording) == 1
    assert outages(recording) == []


def test_a_subscriber_makes_no_calls_so_that_nothing_is_known_of_its_server(
    own_server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with (
        redis.Redis(host=own_server.host, port=own_server.port) as client,
        client.pubsub() as subscriber,
    ):
        subscriber.subscribe("news")
        assert subscriber.get_message(timeout=1) is not None
        assert recording.points("redis.client.up") == []
        client.publish("news", "x")

        assert up_of(recording) == 1


def test_a_server_that_is_not_asked_for_ten_minutes_has_no_point(
    own_server: RedisServer, recording: Recording
) -> None:
    counts = recording.instrument()._tallies
    assert counts is not None
    with Caller("redis", own_server) as caller:
        caller.call("ping")
        (server,) = counts.outages.servers.values()
        server.used -= 599 * 10**9  # as if that had been long ago
        assert up_of(recording) == 1
        server.used -= 2 * 10**9
        assert recording.points("redis.client.up") == []
        caller.call("ping")

        assert up_of(recording) == 1
