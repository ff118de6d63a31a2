"""Every command of the table on real servers, alone and in batches, with every word of it marked."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from otel_redis_cache.commands import TABLE
from tests.integration import cases
from tests.integration.case import DATA, Case
from tests.integration.test_command_table import ONLY_ON, Bench
from tests.integration.waiting import EventLoop, Waiting
from tests.privacy.marks import DISGUISES, Marked, key_before, key_behind, leaks, mark, marks_in
from tests.real.servers import RedisServer
from tests.recording import Recording
from tests.safety.application import NO_RETRY

SERVERS = ("valkey", "redis_8")
NEIGHBOUR, FAILING = "GET other:none", "GET other:list"
WAYS = ("alone", "pipeline", "MULTI", "failing pipeline", "failing MULTI")

families = pytest.mark.parametrize(
    ("server", "family"),
    [(name, family) for family in cases.CASES for name in ONLY_ON.get(family, SERVERS)],
    indirect=["server"],
)
"""Each on every newer server that knows it."""


@pytest.fixture
def server(request: pytest.FixtureRequest) -> RedisServer:
    running: RedisServer = request.getfixturevalue(f"{request.param}_server")
    return running


@pytest.fixture(scope="module")
def loop() -> Iterator[EventLoop]:
    with EventLoop() as loop:
        yield loop


@pytest.fixture
def bench(server: RedisServer) -> Iterator[Bench]:
    with contextlib.closing(Bench(server)) as made:
        yield made


@pytest.fixture
def clients(bench: Bench, loop: EventLoop) -> Iterator[list[Any]]:
    """A synchronous one, and one of asyncio, of each protocol."""
    made = redis.asyncio.Redis(port=bench.server.port, protocol=3)
    with Waiting(made, loop) as asynchronous:
        yield [bench.client, asynchronous]


class Exercise:
    """Sends cases, and keeps how many failed, and how many failures quote what was sent."""

    def __init__(self, bench: Bench, marked: Marked) -> None:
        self._bench = bench
        self._marked = marked
        self.sent = self.failed = self.quoted = 0

    def send(self, client: Any, case: Case, ways: Iterable[str] = WAYS) -> None:
        for way in ways:
            self._load(case)
            try:
                send(client, way, self._marked.args(case.text), self._marked)
            except redis.RedisError as error:
                self.failed += 1
                self.quoted += bool(marks_in(str(error)))
            self.sent += 1

    def _load(self, case: Case) -> None:
        self._bench.plain.all(map(self._marked.args, ("FLUSHALL", *DATA, *case.setup)))


def send(client: Any, way: str, args: tuple[Any, ...], marked: Marked) -> None:
    """One command, alone or in a batch with a neighbour, about which the client may raise."""
    if way == "alone":
        client.execute_command(*args)
        return
    batch = client.pipeline(transaction="MULTI" in way)
    batch.execute_command(*args)
    batch.execute_command(*marked.args(FAILING if "failing" in way else NEIGHBOUR))
    batch.execute()


@families
def test_nothing_behind_the_delimiter_is_told(
    bench: Bench,
    clients: list[Any],
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    family: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    exercise = Exercise(bench, Marked(key_behind))
    recording.instrument()
    for case in bench.cases_of(family):
        for client in clients:
            exercise.send(client, case)

    assert exercise.sent >= 25
    assert exercise.quoted > 5
    assert exercise.failed < exercise.sent
    assert len(recording.spans()) > 0.9 * exercise.sent  # no empty poll has one
    assert leaks(recording, caplog) == []


@families
def test_no_identifier_before_the_delimiter_is_told(
    bench: Bench, recording: Recording, caplog: pytest.LogCaptureFixture, family: str
) -> None:
    """With every metric there is; the forms of identifiers take turns."""
    caplog.set_level(logging.DEBUG)
    exercises = [Exercise(bench, Marked(key_before(form))) for form in DISGUISES.values()]
    recording.instrument(metrics="all", snapshot=True, duration_by_cache=True, count_probes=True)
    for number, case in enumerate(bench.cases_of(family)):
        exercises[number % len(exercises)].send(bench.client, case, ("alone", "failing MULTI"))

    assert sum(exercise.quoted for exercise in exercises) > 1
    assert leaks(recording, caplog) == []
    assert {cache for cache, _ in recording.lookups()} <= {"_default", "_mixed"}


LEADS_ELSEWHERE = {
    *("MONITOR", "PSYNC", "QUIT", "SYNC"),
    *(f"{kind}SUBSCRIBE" for kind in ("", "P", "S", "UN", "PUN", "SUN")),
}
"""What makes something else of a connection, or has no reply of its own."""


@pytest.mark.parametrize("server", ["valkey", "redis_8", "redis_stack"], indirect=True)
def test_nothing_is_told_of_any_other_command(
    server: RedisServer, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of connections, servers and clusters, with operands that most of them refuse."""
    caplog.set_level(logging.DEBUG)
    tried = {case.command.rule.name for found in cases.CASES.values() for case in found}
    others = sorted(TABLE.keys() - tried - LEADS_ELSEWHERE)
    quoted = 0
    with (
        RedisServer(server.kind, server.binary) as own,
        redis.Redis(port=own.port, retry=NO_RETRY, socket_timeout=1) as client,
    ):
        recording.instrument()
        for name in others:
            for count in (1, 2, 4):
                args = (*name.split(" "), *(mark(f"{name}{number}") for number in range(count)))
                for way in ("alone", "pipeline", "failing MULTI"):
                    try:
                        send(client, way, args, Marked(key_behind))
                    except Exception as error:  # also of what the client makes of replies
                        quoted += bool(marks_in(str(error)))

    assert len(others) > 200
    assert quoted > len(others)
    assert leaks(recording, caplog) == []
