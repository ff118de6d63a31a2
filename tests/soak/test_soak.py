"""The short form of `make soak`, with other faults each time; and what a soak finds where something is wrong.

`OTEL_REDIS_CACHE_SOAK` says for how many seconds there is load, 20 if it is not set. CI takes a minute.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

from tests.real.collector import Collector
from tests.real.servers import RedisServer, servers_available
from tests.soak import faults, page, verdict
from tests.soak.accounts import Account, Command, Event, error_type
from tests.soak.exports import Exports
from tests.soak.faults import Strike
from tests.soak.network import Network
from tests.soak.soak import Soak
from tests.soak.workers import Entry, Listener, Worker, number_of, value_of

SECONDS = float(os.environ.get("OTEL_REDIS_CACHE_SOAK", "20"))


@pytest.mark.timeout(240 + 2 * SECONDS)
def test_nothing_is_lost_or_leaked_while_faults_strike_all_that_it_depends_on(
    valkey_server: RedisServer, collector_binary: Path
) -> None:
    seed = random.randrange(10**6)
    soak = Soak(servers_available(), collector_binary, seed=seed, seconds=SECONDS)
    found = soak.run(lambda _: None)
    repeat = f"make soak ARGS='--minutes {SECONDS / 60:.2f} --seed {seed}'"

    assert found["findings"] == [], repeat
    assert found["calls"] > 100 * SECONDS
    assert found["failed"] > 0
    assert found["spans"]["taken"] > found["spans"]["dropped"] + found["spans"]["refused"]
    struck = {name.partition(":")[0] for name in found["faults"]}
    assert struck == {"mortal", "steady", "network", "cluster", "collector"}, repeat
    if SECONDS >= 60:
        assert len(found["faults"]) == 5 + 4 + 5 + 3 + 2, repeat


# What a worker thinks of replies.


def told_by(replies: list[tuple[str, Any]], *, tries_again: bool = False) -> list[Event]:
    """What a worker says when it is answered so: a command's name, and the reply."""
    told: list[Event] = []
    worker = Worker("direct", 1, 1, told.append, tries_again=tries_again)
    for name, reply in replies:
        value = value_of("user:1-1", 1) if name == "SET" else ""
        worker._commands = [Command(name, ("user:1-1",), value)]
        worker.operation = name
        if name == "SET":
            worker._entries.setdefault("user:1-1", Entry()).written = 1
        worker.note(reply, time.monotonic())
    return told


def test_a_worker_has_nothing_to_say_about_what_it_wrote() -> None:
    ours = value_of("user:1-1", 1)

    assert told_by([("GET", None), ("SET", True), ("GET", ours), ("DEL", 1), ("GET", None)]) == []


@pytest.mark.parametrize(
    ("replies", "kind"),
    [
        ([("SET", True), ("GET", value_of("user:1-2", 1))], "wrong"),
        ([("SET", True), ("GET", value_of("user:1-1", 2))], "wrong"),
        ([("SET", True), ("GET", value_of("user:1-1", 1)[:-1])], "wrong"),
        ([("SET", True), ("DEL", 1), ("GET", value_of("user:1-1", 1))], "wrong"),
        ([("DEL", 1)], "wrong"),
        ([("SET", True), ("GET", None)], "vanished"),
        ([("SET", True), ("DEL", 0)], "vanished"),
        ([("GET", redis.TimeoutError())], "failure"),
    ],
)
def test_a_worker_says_what_it_cannot_have_got(replies: list[tuple[str, Any]], kind: str) -> None:
    assert [event.kind for event in told_by(replies)] == [kind]


def test_after_a_failure_a_key_may_be_there_or_not() -> None:
    ours = value_of("user:1-1", 1)
    lost = ("SET", redis.ConnectionError())

    assert [it.kind for it in told_by([lost, ("GET", None)])] == ["failure"]
    assert [it.kind for it in told_by([lost, ("GET", ours), ("GET", None)])] == ["failure"]


def test_a_value_is_known_by_its_key_and_number() -> None:
    assert number_of("user:1-1", value_of("user:1-1", 40)) == 40
    assert number_of("user:1-1", "user:1-1#x:") is None


def test_a_message_that_comes_twice_is_said() -> None:
    class Twice:
        def get_message(self, **_: object) -> dict[str, str]:
            return {"type": "message", "data": "1 7"}

    told: list[Event] = []
    listener = Listener(told.append)
    listener.turn(Twice())
    listener.turn(Twice())

    assert [event.kind for event in told] == ["wrong"]


# What faults explain.

KILLED = Strike("mortal", "killed", 10, 12, frozenset({faults.CONNECTION}), loses_data=True)
PAUSED = Strike("mortal", "clients paused", 10, 12, frozenset({faults.TIMEOUT}), loses_data=False)


@pytest.mark.parametrize(
    ("event", "strike", "is_explained"),
    [
        (Event("failure", "direct", faults.CONNECTION, 11, 11.5), KILLED, True),
        (Event("failure", "direct", faults.CONNECTION, 9, 10.5), KILLED, True),
        (Event("failure", "direct", faults.CONNECTION, 14, 14.5), KILLED, True),
        (Event("failure", "direct", faults.CONNECTION, 16, 16.5), KILLED, False),
        (Event("failure", "direct", faults.CONNECTION, 8, 9), KILLED, False),
        (Event("failure", "direct", "OOM", 11, 11.5), KILLED, False),
        (Event("failure", "proxied", faults.CONNECTION, 11, 11.5), KILLED, False),
        (Event("vanished", "direct", "", 20, 20.5, since=11), KILLED, True),
        (Event("vanished", "direct", "", 20, 20.5, since=13), KILLED, False),
        (Event("vanished", "direct", "", 11, 11.5, since=9), PAUSED, False),
        (Event("repeated", "direct", "", 11, 11.5, since=9), PAUSED, True),
        (Event("repeated", "direct", "", 20, 20.5, since=9), PAUSED, False),
        (Event("wrong", "direct", "", 11, 11.5, since=9), KILLED, False),
    ],
)
def test_a_fault_explains_what_it_does_where_and_when_it_strikes(
    event: Event, strike: Strike, is_explained: bool
) -> None:
    assert faults.explains([strike], event) == is_explained


def test_what_nothing_explains_is_a_finding(tmp_path: Path) -> None:
    events = tmp_path / "events"
    explained = Event("failure", "direct", faults.CONNECTION, 11, 11.5)
    events.write_text(explained.line() + explained._replace(route="proxied").line())

    counted, findings = verdict.of_events([KILLED], events)

    assert counted == {faults.CONNECTION: 1}
    assert findings == [
        f"failure on proxied: {faults.CONNECTION}: 1 x with no fault that explains it"
    ]


# What is compared in the end.


def an_account() -> Account:
    account = Account()
    account.call("direct", "GET", [Command("GET", ("user:1",))], ["x"])
    account.call("direct", "GET", [Command("GET", ("user:1",))], redis.ConnectionError())
    account.call("proxied", "SET", [Command("SET", ("cart:1",), "x", 60)], [True])
    account.call("proxied", "DEL", [Command("DEL", ("cart:1", "cart:2"))], [1])
    account.call("proxied", "PUBLISH", [Command("PUBLISH", ("news:1",), "x")], [1])
    account.invalidation("direct", "sweep", "removed", 50)
    return account


def test_an_account_outlives_its_way_through_json() -> None:
    account = an_account()

    assert vars(Account.of_json(json.loads(json.dumps(account.as_json())))) == vars(account)
    assert (account.calls, account.failed) == (5, 1)


@pytest.mark.parametrize("name", sorted(vars(Account()).keys() - {"answered", "unanswered"}))
def test_one_count_less_is_a_finding(name: str) -> None:
    account = an_account()
    telemetry = copy.deepcopy(account)
    assert list(verdict.of_counts(account, telemetry)) == []
    counter = getattr(telemetry, name)
    if not counter:
        counter["direct", "x"] += 2
    counter[next(iter(counter))] -= 1

    assert len(list(verdict.of_counts(account, telemetry))) == 1


def spans_of(account: Account) -> tuple[dict[str, Any], Counter[tuple[str, ...]]]:
    planned: Counter[tuple[str, ...]] = Counter({("cache.invalidate", ""): 1})
    for (_, operation, error), count in account.operations.items():
        planned[operation, error] += count
    rows = [[*key, count] for key, count in planned.items()]
    return {"begun": planned.total(), "ended": rows, "taken": rows, "refused": []}, planned


@pytest.mark.parametrize("change", ["nothing", "open", "lost", "invented", "miscounted"])
def test_a_span_that_is_lost_is_a_finding(collector: Collector, change: str) -> None:
    account = an_account()
    counting, written = spans_of(account)
    exports = Exports(collector)
    exports.spans = Counter(written)
    if change == "open":
        counting["begun"] += 1
    elif change == "lost":
        exports.spans["GET", ""] -= 1
    elif change == "invented":
        exports.spans["GET", ""] += 1
    elif change == "miscounted":
        account.operations["direct", "GET", ""] += 1
    findings = list(verdict.of_spans(account, account, counting, exports))

    assert len(findings) == (change != "nothing")
    counting["refused"] = [["GET", "", 1]]
    if change == "invented":  # by a Collector whose answer was lost
        assert list(verdict.of_spans(account, account, counting, exports)) == []


def test_a_server_that_did_less_than_was_answered_is_a_finding() -> None:
    account = an_account()
    done = {"set": 1, "del": 1, "publish": 1}

    assert list(verdict.of_server(account, done, 0)) == []
    assert len(list(verdict.of_server(account, done | {"del": 0}, 0))) == 1
    assert len(list(verdict.of_server(account, done | {"set": 2}, 0))) == 1
    assert list(verdict.of_server(account, done | {"set": 2}, 1)) == []


def states(**changes: Any) -> dict[str, dict[str, Any]]:
    state: dict[str, Any] = {
        "calls": 1000,
        "rss": 80 << 20,
        "files": 30,
        "threads": 17,
        "tasks": 9,
        "objects": {"Call": 1},
        "open_spans": 0,
        "traced": 1000,
    }
    return {"warm": state, "soaked": state | changes, "traced": state, "end": state | changes}


@pytest.mark.parametrize(
    ("changes", "is_leak"),
    [
        ({}, False),
        ({"rss": 90 << 20}, False),
        ({"rss": 110 << 20}, True),
        ({"files": 60}, True),
        ({"threads": 30}, True),
        ({"tasks": 30}, True),
        ({"objects": {"Call": 1000}}, True),
        ({"traced": 1 << 20}, True),
    ],
)
def test_what_has_grown_is_a_finding(changes: dict[str, Any], is_leak: bool) -> None:
    assert bool(list(verdict.of_leaks(states(**changes)))) == is_leak


def test_a_span_that_was_open_in_a_pause_is_a_finding() -> None:
    assert len(list(verdict.of_leaks(states(open_spans=1)))) == 2


# The parts that strike.


def test_errors_are_called_as_telemetry_calls_them() -> None:
    assert error_type(OutOfMemoryError()) == "OOM"
    assert error_type(redis.ConnectionError()) == faults.CONNECTION
    assert error_type(asyncio.CancelledError()) == "asyncio.exceptions.CancelledError"
    assert error_type(OSError()) == "OSError"


@pytest.mark.parametrize("name", ["cut", "reset", "half_close", "stall", "refuse"])
def test_a_network_loses_what_it_is_told_to(valkey_server: RedisServer, name: str) -> None:
    undone: dict[str, Callable[[Network], None]] = {
        "half_close": Network.close_the_other_half,
        "stall": Network.flow,
        "refuse": Network.accept,
    }
    with Network(valkey_server.port) as network:
        retry = Retry(NoBackoff(), 0)
        options: dict[str, Any] = {"socket_timeout": 0.3, "retry": retry}
        options["single_connection_client"] = True
        with redis.Redis(port=network.port, **options) as client:
            assert client.ping()
            getattr(network, name)()
            if name == "refuse":
                network.cut()
            with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
                client.ping()
            undone.get(name, lambda _: None)(network)
            assert client.ping()


def test_files_of_a_killed_collector_are_read_up_to_where_it_was_killed(
    collector: Collector,
) -> None:
    exports = Exports(collector)
    span = '{"spanId":"%s","name":"GET","attributes":[]}'
    line = '{"resourceSpans":[{"scopeSpans":[{"spans":[%s]}]}]}\n'
    whole = line % ",".join(span % name for name in "ab")
    (collector.directory / "traces.jsonl").write_text(whole + line % (span % "b") + whole[:40])
    exports.after_a_kill()
    exports.read()

    assert exports.spans == {("GET", ""): 2}
    assert (exports.copies, exports.torn) == (1, 1)
    assert list(collector.directory.glob("*.jsonl")) == []


def test_the_page_is_made_from_the_document() -> None:
    written = page.DOCUMENT.with_suffix(".md").read_text(encoding="utf-8")

    assert written == page.render(json.loads(page.DOCUMENT.read_text(encoding="utf-8")))


def test_every_test_that_the_page_names_exists() -> None:
    root = page.DOCUMENT.parents[1]
    named = re.findall(r"`(tests/[\w/]+\.py)`", page.DOCUMENT.with_suffix(".md").read_text("utf-8"))

    assert len(named) > 10
    assert [name for name in named if not (root / name).is_file()] == []
