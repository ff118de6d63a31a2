"""`otel-redis-cache top` as a user runs it: in a real terminal, with real telemetry, and without either."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from otel_redis_cache.cli.main import main
from tests.real.processes import Process, free_ports, wait_until
from tests.real.servers import RedisServer
from tests.real.terminals import CTRL_C, ENTER, ESCAPE, Terminal

ROOT = Path(__file__).parents[2]
TOP = (sys.executable, "-m", "otel_redis_cache.cli.main", "top")
FREE_PORTS = ("--grpc-port", "0", "--http-port", "0")

SHOP = """
import sys, time
import redis
from otel_redis_cache import RedisCacheInstrumentor, otlp

url, endpoint = sys.argv[1:]
telemetry = otlp.configure(
    service_name="shop", endpoint=endpoint, metric_export_interval=0.5, span_export_delay=0.5
)
RedisCacheInstrumentor().instrument()
client = redis.Redis.from_url(url)
client.set("user:1", "Ada", ex=60)
end = time.monotonic() + 60
while time.monotonic() < end:
    client.mget("user:1", "user:1", "user:1", "user:2")
    try:
        client.lpush("user:1", "x")
    except redis.ResponseError:
        pass
    time.sleep(0.05)
"""
"""Three hits, a miss and a failure, 20 times a second."""

COLOURED = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")
SHARE = pytest.approx(0.75, rel=1e-3)


@contextmanager
def shop(server: RedisServer, endpoint: str, directory: Path) -> Iterator[Process]:
    """The shop, sending to an endpoint."""
    command = [sys.executable, "-c", SHOP, server.url, endpoint]
    process = Process(command, log=directory / "shop.log", environment={"PYTHONPATH": str(ROOT)})
    try:
        yield process
    finally:
        process.end()


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TOP, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refused(*arguments: str | Path) -> str:
    """The one line that says why, from the command in this process."""
    ended = CliRunner().invoke(main, ["top", *map(str, arguments)])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("Error: ")
    return ended.stderr


def endpoint_of(screen: str) -> str:
    found = re.search(r"OTLP_ENDPOINT=(\S+)", screen)
    assert found, screen
    return found[1]


def test_a_process_sees_its_cache_on_the_screen(redis_server: RedisServer, tmp_path: Path) -> None:
    with Terminal(*TOP, *FREE_PORTS) as terminal:
        endpoint = endpoint_of(terminal.wait_for("Nothing has arrived yet"))
        with shop(redis_server, endpoint, tmp_path):
            caches = terminal.wait_for(lambda text: re.search(r"user +[\d,.]+ +75\.0% ", text))
            assert "1 sender" in caches
            terminal.type("2")
            terminal.wait_for(lambda text: re.search(rf":{redis_server.port} +up", text))
            terminal.type("3")
            terminal.wait_for(lambda text: re.search(rf":{redis_server.port}/0 +\d+ +\d+", text))
            terminal.type("4")
            terminal.wait_for(lambda text: re.search(r"MGET +user +[\d.]+ +- +shop", text))
            terminal.type("5")
            terminal.wait_for(lambda text: re.search(r"LPUSH .*WRONGTYPE +shop", text))
            terminal.type(ENTER)
            terminal.wait_for(lambda text: re.search(r"LPUSH .*WRONGTYPE +[\d.]+ +█", text))
            terminal.resize(160, 48)
            terminal.wait_for(lambda text: "Connections ─" in text and "Trace" in text)
            terminal.type("1p/")
            terminal.wait_for(lambda text: "PAUSED" in text and "error or service" in text)
            terminal.type("nobody" + ENTER)
            terminal.wait_for("Nothing has “nobody” in it.")
            terminal.type(ESCAPE)
            terminal.wait_for(lambda text: re.search(r"user +[\d,.]+ +75\.0% ", text))
            terminal.type("q")
            assert terminal.wait() == 0


@pytest.mark.parametrize("how", ["q", CTRL_C, signal.SIGTERM])
def test_it_leaves_the_terminal_as_it_was(how: str | signal.Signals) -> None:
    with Terminal(*TOP, *FREE_PORTS) as terminal:
        before = terminal.modes
        terminal.wait_for("Quit")
        assert terminal.modes != before
        if isinstance(how, str):
            terminal.type(how)
        else:
            terminal.process.send_signal(how)
        assert terminal.wait() == 0
        assert terminal.modes == before
        wait_until(lambda: b"\x1b[?1049l" in terminal.written, timeout=5, what="the other screen")
        assert b"\x1b[?25h" in terminal.written
        assert COLOURED.search(terminal.written)
        assert "Traceback" not in terminal.text()


def test_colours_are_off_where_they_are_unwelcome() -> None:
    with Terminal(*TOP, *FREE_PORTS, environment={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for("Quit")
        terminal.type("q")
        assert terminal.wait() == 0
        assert not COLOURED.search(terminal.written)


def test_what_was_recorded_is_replayed(redis_server: RedisServer, tmp_path: Path) -> None:
    recording = tmp_path / "shop.otlp"
    grpc, http = free_ports(2)
    listening = ("--grpc-port", str(grpc), "--http-port", str(http))
    with shop(redis_server, f"http://127.0.0.1:{grpc}", tmp_path):
        ended = run("--seconds", "5", "--json", "--record", recording, *listening)
    assert (ended.returncode, ended.stderr) == (0, "")
    live = json.loads(ended.stdout)
    assert [(row["name"], row["hit_ratio"]) for row in live["caches"]] == [("user", SHARE)]

    ended = run("--replay", recording, "--speed", "1000", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    replayed = json.loads(ended.stdout.splitlines()[-1])
    assert [(row["name"], row["hit_ratio"]) for row in replayed["caches"]] == [("user", SHARE)]

    ended = run("--replay", recording, "--speed", "1000", "--seconds", "1")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(r"^user +[\d.,]+ +75\.0%", ended.stdout, re.MULTILINE)
    assert ESCAPE not in ended.stdout

    with Terminal(*TOP, "--replay", recording, "--speed", "1000") as terminal:
        terminal.wait_for(lambda text: re.search(r"user +[\d,.]+ +75\.0% ", text))
        assert "replays shop.otlp" in terminal.wait_for("END OF THE RECORDING")


def test_json_is_a_line_each_second_until_it_is_ended() -> None:
    with Terminal(*TOP, *FREE_PORTS, "--json", columns=200) as terminal:
        terminal.wait_for(lambda text: text.count('"intake"') >= 2)
        terminal.type(CTRL_C)
        assert terminal.wait() == 0
    lines = terminal.written.decode().replace("^C", "").splitlines()
    views: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert len(views) >= 3
    assert all(later["time"] > view["time"] for view, later in pairwise(views))


def test_a_report_in_time_is_all_that_is_asked_for() -> None:
    began = time.monotonic()
    ended = run(*FREE_PORTS, "--seconds", "0.5")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "0 spans/s, 0 points/s, 0 series, 0 senders\n"
    assert time.monotonic() - began < 30


class TestTrouble:
    def test_a_screen_needs_a_terminal(self) -> None:
        ended = run(*FREE_PORTS)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.count("\n") == 1
        assert "--seconds 10 for one report" in ended.stderr

    @pytest.mark.parametrize("option", ["--grpc-port", "--http-port"])
    def test_a_port_that_is_taken_is_one_line(self, redis_server: RedisServer, option: str) -> None:
        other = {"--grpc-port": "--http-port", "--http-port": "--grpc-port"}[option]
        said = refused(option, str(redis_server.port), other, "0", "--json")
        assert f"127.0.0.1:{redis_server.port}" in said
        assert "another port" in said

    def test_a_screen_that_is_closed_is_no_terminal(self) -> None:
        ended = subprocess.run(
            ["sh", "-c", '"$@" <&- >&-', "sh", *TOP, *FREE_PORTS],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 2
        assert ended.stderr.startswith("Error: the screen needs a terminal: ")
        assert ended.stderr.count("\n") == 1

    @pytest.mark.parametrize("option", ["--json", "--grpc-port=0"])
    def test_a_place_that_is_full_is_one_line(self, option: str) -> None:
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            ended = subprocess.run(
                [*TOP, *FREE_PORTS, "--seconds", "0.2", option],
                cwd=ROOT,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                check=False,
            )
        assert (ended.returncode, ended.stderr) == (
            2,
            "Error: cannot write: No space left on device; write to another place\n",
        )

    def test_in_a_terminal_too(self, redis_server: RedisServer) -> None:
        with Terminal(*TOP, "--grpc-port", str(redis_server.port), columns=200) as terminal:
            assert terminal.wait() == 2
            terminal.wait_for("another port")
            assert terminal.text().strip().count("\n") == 0

    def test_a_port_of_the_browser_that_is_taken_is_one_line(
        self, redis_server: RedisServer
    ) -> None:
        said = refused(*FREE_PORTS, "--serve", "--serve-port", str(redis_server.port))
        assert f"127.0.0.1:{redis_server.port}" in said

    def test_a_broken_recording_is_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "broken"
        path.write_bytes(b"no recording")
        assert str(path) in refused("--replay", path, "--json")

    def test_a_recording_that_is_there_already_is_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "kept"
        path.write_bytes(b"kept")
        assert str(path) in refused("--record", path, *FREE_PORTS, "--json")
        assert path.read_bytes() == b"kept"

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--grpc-port", "65536"),
            ("--http-port", "-1"),
            ("--serve-port", "0"),
            ("--speed", "0"),
            ("--speed", "inf"),
            ("--speed", "nan"),
            ("--seconds", "soon"),
            ("--seconds", "nan"),
            ("--seconds", "inf"),
            ("--record", "a", "--replay", "b"),
            ("--serve", "--json"),
            ("--colour",),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, arguments: tuple[str, ...]) -> None:
        ended = CliRunner().invoke(main, ["top", *arguments])
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert arguments[0] in ended.stderr

    @pytest.mark.parametrize(
        ("module", "option"), [("textual", ()), ("textual_serve", ("--serve",))]
    )
    def test_a_missing_library_is_one_line(
        self, tmp_path: Path, module: str, option: tuple[str, ...]
    ) -> None:
        (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError(name='{module}')")
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        with Terminal(
            *(*TOP, *FREE_PORTS, *option), columns=200, environment={"PYTHONPATH": path}
        ) as terminal:
            assert terminal.wait() == 2
            terminal.wait_for(f"top needs {module}: pip install 'otel-redis-cache[cli]'")


def test_other_commands_do_not_wait_for_the_screen() -> None:
    imported = "import sys; from otel_redis_cache.cli import main; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", imported], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"textual", "textual_serve", "aiohttp"} & set(ended.stdout.split())


def test_help_shows_an_example() -> None:
    ended = run("--help")
    assert ended.returncode == 0
    assert "Example: otel-redis-cache top" in ended.stdout
