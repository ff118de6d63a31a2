"""`otel-redis-cache namespaces` as a user runs it, on keys of which everything is known."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.cli.keyspaces import SHARES, TTLS, Keyspace, always_slow, memory, watch_for_slow_commands
from tests.real.clusters import Cluster
from tests.real.processes import free_ports
from tests.real.sentinels import Sentinels
from tests.real.servers import RedisServer
from tests.real.terminals import HEARING_CTRL_C

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "otel_redis_cache.cli.main", "namespaces"]
KEYS = 20_000
PASSWORD = "hunter2-is-secret"
ESCAPE = "\x1b"

IN_A_TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def found(url: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """What it says as JSON; with remarks where it ended with 1."""
    ended = run("--redis-url", url, "--json", *arguments, **environment)
    assert ended.returncode in (0, 1), ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == bool(document["remarks"])
    return document


def caches(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["cache"]: row for row in document["caches"]}


def entries(document: Mapping[str, Any]) -> dict[str, int]:
    return {cache: row["entries"]["value"] for cache, row in caches(document).items()}


@pytest.fixture
def client(new_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(port=new_server.port, socket_timeout=20) as client:
        yield client


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    """One kind of server, up and empty: for what does not depend on the server."""
    redis_server.revive()
    redis_server.flush()
    redis_server.reset_stats()
    return redis_server


@pytest.fixture
def shop(server: RedisServer) -> Iterator[Any]:
    with redis.Redis(port=server.port, socket_timeout=20) as client:
        yield client


@pytest.fixture
def own_server(valkey_server: RedisServer) -> Iterator[RedisServer]:
    """One that the test may change or end."""
    with RedisServer(valkey_server.kind, valkey_server.binary) as server:
        yield server


@pytest.fixture
def owner(own_server: RedisServer) -> Iterator[Any]:
    """A client of it."""
    with redis.Redis(port=own_server.port, socket_timeout=20) as client:
        yield client


def write(client: Any, *names: str) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.set(name, "x")
        pipeline.execute()


def test_keys_that_fit_the_sample_are_told_exactly(new_server: RedisServer, client: Any) -> None:
    written = Keyspace()
    written.fill(client, KEYS)
    client.hset("user:all", mapping={str(number): "x" * 60 for number in range(2_000)})
    watch_for_slow_commands(client)

    document = found(new_server.url)

    assert always_slow(client) == []
    assert (document["exact"], document["asked"]) == (True, client.dbsize())
    sizes = memory(client)
    assert document["bytes"] == {"value": sizes.total(), "error": 0}
    told = caches(document)
    assert told.keys() == SHARES.keys()
    for cache, row in told.items():
        is_user = cache == "user"
        assert row["entries"] == {"value": written.entries[cache] + is_user, "error": 0}
        assert row["bytes"] == {"value": sizes[cache], "error": 0}
        assert row["share"] == pytest.approx(sizes[cache] / sizes.total(), abs=1e-6)
        expected = {kind: written.lifetimes[cache][kind] for kind in TTLS}
        expected["none"] += is_user
        assert {kind: it["value"] for kind, it in row["ttl"].items()} == expected
        assert row["without_ttl"]["value"] == expected["none"]
    big = document["biggest"][0]
    size = client.memory_usage("user:all")
    assert big == {"key": "user:{}", "cache": "user", "bytes": size, "ttl": None, "type": "hash"}
    assert document["remarks"] == []


def test_the_tables_say_it_in_a_plain_way_without_a_terminal(
    server: RedisServer, shop: Any
) -> None:
    Keyspace().fill(shop, 1_000)
    ended = run("--redis-url", server.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "all 1,000 keys were asked about: the numbers are exact" in ended.stdout
    assert re.search(r"^page +400 +[\d.]+ kB +[\d.]+% +█* +\d+ *$", ended.stdout, re.MULTILINE)
    assert not {ESCAPE, "\r"} & set(ended.stdout)


def test_a_sample_says_that_it_is_one(server: RedisServer, shop: Any) -> None:
    Keyspace().fill(shop, 5_000)
    ended = run("--redis-url", server.url, "--sample", "1000")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(r"1,0\d\d of 5,000 keys were asked about: the numbers are est", ended.stdout)
    assert re.search(r"^page +[12],\d{3} ±\d+ +\d", ended.stdout, re.MULTILINE)
    assert "Biggest entries that were seen" in ended.stdout


def test_the_same_seed_is_the_same_sample(server: RedisServer, shop: Any) -> None:
    Keyspace().fill(shop, 5_000)
    first, again, other = (
        found(server.url, "--sample", "500", "--seed", seed)["caches"] for seed in "112"
    )
    assert first == again != other


def test_a_budget_that_ends_early_is_a_remark_and_the_numbers_are_a_sample(
    server: RedisServer, shop: Any
) -> None:
    Keyspace().fill(shop, KEYS)
    ended = run("--redis-url", server.url, "--budget", "0.4", "--json")
    document = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert 0 < document["asked"] < KEYS
    assert (document["exact"], document["keys"]) == (False, KEYS)
    assert document["seconds"] < 10
    (remark,) = document["remarks"]
    assert remark.startswith("The budget of 0.4 s ended early: the numbers are a sample of ")
    assert ended.stderr == f"{remark}\n"
    page = caches(document)["page"]["entries"]
    assert abs(page["value"] - 8_000) < 2 * page["error"]


def test_csv_has_the_numbers_of_json(server: RedisServer, shop: Any, tmp_path: Path) -> None:
    Keyspace().fill(shop, 1_000)
    file = tmp_path / "keys.csv"
    document = found(server.url, "--csv", str(file))
    here = run("--redis-url", server.url, "--csv", "-")
    assert (here.returncode, here.stdout, here.stderr) == (0, file.read_text(), "")
    rows = {row["cache"]: row for row in csv.DictReader(io.StringIO(here.stdout))}
    assert rows.keys() == caches(document).keys()
    for cache, row in caches(document).items():
        assert int(rows[cache]["entries"]) == row["entries"]["value"]
        assert int(rows[cache]["bytes"]) == row["bytes"]["value"]
        for kind, figure in row["ttl"].items():
            assert int(rows[cache][f"ttl_{kind}"]) == figure["value"]
            assert int(rows[cache][f"ttl_{kind}_error"]) == figure["error"] == 0


class Page(HTMLParser):
    """Tags, what they refer to, and the text of a page; each tag that opens must close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [str(value) for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag != "meta":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def test_the_page_is_one_file_with_plots_and_nothing_from_elsewhere(
    server: RedisServer, shop: Any, tmp_path: Path
) -> None:
    Keyspace().fill(shop, 2_000)
    write(shop, "page:<script>alert(1)</script>")
    file = tmp_path / "keys.html"
    arguments = ("--html", str(file), "--sample", "500", "--show-keys")
    ended = run("--redis-url", server.url, *arguments, "--caches", "<b>&=page:*,rest=*")
    assert (ended.returncode, ended.stderr) == (0, "")
    text = file.read_text()
    page = Page(text)
    assert page.tags.count("svg") == 2
    assert page.tags.count("rect") > 6
    assert "script" not in page.tags
    assert page.references == []
    assert "url(" not in text
    assert "@import" not in text
    assert "://" not in text
    for word in ("<b>&", "rest", "Memory by cache", "Time to live of the entries", "< 7 d"):
        assert word in page.text
    assert "±" in page.text


def test_keys_are_masked_unless_asked_for(server: RedisServer, shop: Any) -> None:
    write(shop, "user:alice:profile", "bob@example.org", f"evil:{ESCAPE}[2J\n")
    masked = run("--redis-url", server.url)
    assert masked.returncode == 0
    for secret in ("alice", "bob", "example", "[2J"):
        assert secret not in masked.stdout
    assert "user:{}:{}" in masked.stdout
    shown = run("--redis-url", server.url, "--show-keys")
    assert "user:alice:profile" in shown.stdout
    assert "bob@example.org" in shown.stdout
    assert "evil:\\x1b[2J\\n" in shown.stdout
    assert ESCAPE not in shown.stdout


def test_a_server_without_keys_is_told(server: RedisServer, shop: Any, tmp_path: Path) -> None:
    file = tmp_path / "keys.html"
    ended = run("--redis-url", server.url, "--propose-rules", "--html", str(file))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "There are no keys." in ended.stdout
    assert "There are no keys." in Page(file.read_text()).text
    assert found(server.url)["caches"] == []


class TestNames:
    def test_rules_come_from_the_environment(self, server: RedisServer, shop: Any) -> None:
        write(shop, "sess:1", "sess:2", "locks:1", "other:1")
        rules = "sessions=sess:*,locks:*=-"
        document = found(server.url, OTEL_REDIS_CACHE_CACHES=rules)
        assert entries(document) == {"sessions": 2, "-": 1, "_default": 1}

    def test_an_option_wins_over_the_environment(self, server: RedisServer, shop: Any) -> None:
        write(shop, "sess:1", "sess:2")
        rules = ("--caches", "right=sess:*")
        document = found(server.url, *rules, OTEL_REDIS_CACHE_CACHES="wrong=sess:*")
        assert entries(document) == {"right": 2}

    def test_without_rules_the_first_part_is_the_name(self, server: RedisServer, shop: Any) -> None:
        write(shop, "user:1", "user:2", "{cart}:1", "nothing", ":1:django:5")
        assert entries(found(server.url)) == {"user": 2, "cart": 1, "_default": 1, "django": 1}

    def test_the_database_of_the_url_is_counted(self, server: RedisServer, shop: Any) -> None:
        write(shop, "user:1")
        shop.select(3)
        write(shop, "sess:1", "sess:2")
        assert entries(found(f"redis://127.0.0.1:{server.port}/3")) == {"sess": 2}


class TestProposals:
    def test_proposed_rules_name_what_had_no_name(self, server: RedisServer, shop: Any) -> None:
        write(shop, *(f"user:{n}" for n in range(50)))
        write(shop, *(f"{n}:report:{n}" for n in range(40)))
        write(shop, *(f"cart/{n}" for n in range(30)), *(f"u:{n}" for n in range(20)))
        write(shop, *(f"tok-{n * 7919:08x}" for n in range(25)))
        before = found(server.url, "--propose-rules")
        assert entries(before) == {"user": 50, "_default": 115}
        assert {rule["cache"]: rule["entries"] for rule in before["proposed_rules"]} == {
            "report": 40,
            "cart": 30,
            "u": 20,
            "tok": 25,
        }
        settings = before["proposed_settings"]
        assert entries(found(server.url, **settings)) == {
            "user": 50,
            "report": 40,
            "cart": 30,
            "u": 20,
            "tok": 25,
        }

    def test_rules_that_are_there_stay_in_front(self, server: RedisServer, shop: Any) -> None:
        write(shop, *(f"sess:{n}" for n in range(20)), *(f"cart/{n}" for n in range(20)))
        document = found(server.url, "--propose-rules", "--caches", "sessions=sess:*,x:*=-")
        settings = document["proposed_settings"]
        assert settings == {"OTEL_REDIS_CACHE_CACHES": "sessions=sess:*,x:*=-,cart=cart/*"}

    def test_identifiers_are_no_rules(self, server: RedisServer, shop: Any) -> None:
        write(shop, *(f"{n * 7919:032x}" for n in range(200)))
        write(shop, *(f"alice/{n}" for n in range(9)), "bob@example.org")
        ended = run("--redis-url", server.url, "--propose-rules")
        assert ended.returncode == 0
        assert "No rules to propose" in ended.stdout
        assert not re.search("alice|bob", ended.stdout)

    def test_no_rule_takes_keys_that_have_a_name(self, server: RedisServer, shop: Any) -> None:
        write(shop, *(f"{n}:report:{n}" for n in range(40)), "user:report:1")
        document = found(server.url, "--propose-rules")
        assert document["proposed_rules"] == []


class TestClusters:
    def test_all_primaries_are_counted(self, cluster: Cluster) -> None:
        url = f"redis://127.0.0.1:{cluster.ports[0]}"
        with redis.RedisCluster.from_url(url) as client:
            for number in range(900):
                client.set(f"{('user', 'page', 'page')[number % 3]}:{number}", "x", ex=80_000)
        document = found(url)
        assert (document["nodes"], document["exact"]) == (3, True)
        assert entries(document) == {"page": 600, "user": 300}
        assert caches(document)["page"]["ttl"]["under_1_day"] == {"value": 600, "error": 0}
        with_replica = found(f"redis://127.0.0.1:{cluster.replica_of(cluster.primaries[0]).port}")
        assert entries(with_replica) == entries(document)

        sample = found(url, "--sample", "300")
        assert (sample["exact"], sample["keys"]) == (False, 900)
        told = caches(sample)["page"]["entries"]
        assert abs(told["value"] - 600) <= 2 * told["error"]

    def test_a_budget_that_ends_early_leaves_a_sample_that_no_hash_tag_deceives(
        self, cluster: Cluster
    ) -> None:
        url = f"redis://127.0.0.1:{cluster.ports[0]}"
        with redis.RedisCluster.from_url(url) as client:
            for start in range(0, 9_000, 500):
                with client.pipeline() as pipeline:
                    for number in range(start, start + 500):
                        cache = "user" if number % 3 else "{tagged}"
                        pipeline.set(f"{cache}:{number}", "x")
                    pipeline.execute()
        document = found(url, "--budget", "0.4")
        assert (document["exact"], document["keys"]) == (False, 9_000)
        assert len(document["remarks"]) == 1
        told = caches(document)["tagged"]["entries"]
        assert abs(told["value"] - 3_000) <= 2 * told["error"]


def test_of_what_sentinels_manage_a_replica_is_asked(sentinels: Sentinels) -> None:
    primary, replica = sentinels.servers
    if "slave" in primary.info("replication")["role"]:
        primary, replica = replica, primary
    for number in range(30):
        primary.call("SET", f"user:{number}", "x")
    primary.call("WAIT", 1, 5_000)
    primary.reset_stats()
    addresses = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
    document = found(f"redis+sentinel://{addresses}/{sentinels.service}")
    assert entries(document) == {"user": 30}
    assert replica.commandstats()["memory|usage"] == 30
    assert "memory|usage" not in primary.commandstats()


class TestProgress:
    def test_in_a_terminal_a_bar_shows_the_time_left(self, server: RedisServer, shop: Any) -> None:
        Keyspace().fill(shop, KEYS)
        ended = subprocess.run(
            [sys.executable, "-c", IN_A_TERMINAL, *COMMAND, "--redis-url", server.url],
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0
        assert re.search(r"[\d,]+ of 20,000 keys.*?\d+ s left", ended.stdout)
        assert f"{ESCAPE}[" in ended.stdout
        assert "all 20,000 keys were asked about" in ended.stdout

    def test_ctrl_c_ends_it_with_one_line(self, server: RedisServer, shop: Any) -> None:
        Keyspace().fill(shop, KEYS)
        shop.config_resetstat()
        with subprocess.Popen(
            [sys.executable, "-c", HEARING_CTRL_C, *COMMAND, "--redis-url", server.url],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while "cmdstat_memory|usage" not in shop.info("commandstats"):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=20)
        said = "Stopped before all was seen: a shorter --budget tells what there is.\n"
        assert (process.returncode, output, errors) == (130, "", said)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A port where whatever is said gets this answer; nothing: the connection is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reply() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1_000)
                    connection.sendall(answer)

        thread = threading.Thread(target=reply, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def refusal(*arguments: str, **environment: str) -> str:
    """The one line that says why it could not be done."""
    ended = run(*arguments, **environment)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert PASSWORD not in ended.stderr
    return ended.stderr.rstrip()


class TestTrouble:
    def test_nobody_listens(self) -> None:
        (port,) = free_ports(1)
        assert refusal("--redis-url", f"redis://user:{PASSWORD}@127.0.0.1:{port}/0") == (
            f"Error: no answer from 127.0.0.1:{port}: Connection refused; "
            "is a Redis there, and is this its address?"
        )

    def test_the_name_of_the_host_is_not_known(self) -> None:
        said = refusal("--redis-url", "redis://no-such-host.invalid:6379")
        assert said.startswith("Error: no answer from no-such-host.invalid:6379")

    def test_a_server_that_says_nothing(self, server: RedisServer) -> None:
        server.pause()
        try:
            said = refusal("--redis-url", server.url)
        finally:
            server.resume()
        assert said.startswith(f"Error: no answer from 127.0.0.1:{server.port} in time")

    def test_a_server_that_is_gone_midway(self, own_server: RedisServer, owner: Any) -> None:
        Keyspace().fill(owner, KEYS)
        owner.config_resetstat()
        command = [*COMMAND, "--redis-url", own_server.url]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
            while "cmdstat_memory|usage" not in owner.info("commandstats"):
                assert process.poll() is None
            own_server.kill()
            output, errors = process.communicate(timeout=20)
        assert (process.returncode, output, errors.count("\n")) == (2, "", 1)
        assert errors.startswith(f"Error: no answer from 127.0.0.1:{own_server.port}")

    @pytest.mark.parametrize("user", ["", f"who:{PASSWORD}@", f":{PASSWORD}@"])
    def test_the_password_is_wrong(self, own_server: RedisServer, owner: Any, user: str) -> None:
        owner.config_set("requirepass", "another")
        said = refusal("--redis-url", f"redis://{user}127.0.0.1:{own_server.port}/0")
        assert said.startswith(
            f"Error: 127.0.0.1:{own_server.port} refuses this user or password ("
        )

    def test_a_missing_permission_is_named(self, own_server: RedisServer, owner: Any) -> None:
        write(owner, "user:1")
        rules = ("ACL", "SETUSER", "who", "on", f">{PASSWORD}", "~*", "+@all")
        for missing in ("memory|usage", "pttl", "scan", "dbsize", "info"):
            owner.execute_command(*rules, f"-{missing}")
            said = refusal("--redis-url", f"redis://who:{PASSWORD}@127.0.0.1:{own_server.port}/0")
            assert f"the ACL rule +{missing} is missing" in said

    def test_keys_that_may_not_be_read_are_named(self, own_server: RedisServer, owner: Any) -> None:
        write(owner, "user:1")
        owner.execute_command("ACL", "SETUSER", "who", "on", "nopass", "+@all", "~other:*")
        said = refusal("--redis-url", f"redis://who:{PASSWORD}@127.0.0.1:{own_server.port}/0")
        assert "the ACL rule %R~* is missing" in said

    def test_a_user_who_may_do_no_more_than_is_needed(
        self, own_server: RedisServer, owner: Any
    ) -> None:
        write(owner, "user:1", "user:2")
        needed = ("+info", "+dbsize", "+scan", "+memory|usage", "+pttl")
        owner.execute_command("ACL", "SETUSER", "who", "on", "nopass", "~*", *needed)
        assert entries(found(f"redis://who:x@127.0.0.1:{own_server.port}/0")) == {"user": 2}

    @pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
    def test_what_answers_is_no_redis(self, answer: bytes) -> None:
        with answering(answer) as port:
            said = refusal("--redis-url", f"redis://x:{PASSWORD}@127.0.0.1:{port}")
        assert f"127.0.0.1:{port}" in said
        assert ("is no Redis" in said) == bool(answer)

    def test_a_sentinel_without_a_name(self, sentinels: Sentinels) -> None:
        host, port = sentinels.addresses[0]
        assert "redis+sentinel://" in refusal("--redis-url", f"redis://{host}:{port}")
        said = refusal("--redis-url", f"redis+sentinel://{host}:{port}/another")
        assert "look at the name in the URL" in said

    @pytest.mark.parametrize(
        "url",
        [
            PASSWORD,
            f"http://user:{PASSWORD}@localhost",
            f"redis://:{PASSWORD}/x@localhost:port/0",
            f"redis+sentinel://:{PASSWORD}@localhost",
        ],
    )
    def test_a_url_that_is_none(self, url: str) -> None:
        assert refusal("--redis-url", url).startswith("Error: --redis-url is no URL of a server")

    @pytest.mark.parametrize("rules", ["sessions", "a=", "a={id}x", "_other=x:*"])
    def test_rules_that_are_none(self, rules: str) -> None:
        url = "redis://127.0.0.1:1"
        said = refusal("--redis-url", url, "--caches", rules)
        assert said.startswith("Error: caches ")
        assert refusal("--redis-url", url, OTEL_REDIS_CACHE_CACHES=rules) == said

    def test_a_file_that_has_no_place_is_told_before_anybody_is_asked(self, tmp_path: Path) -> None:
        file = tmp_path / "missing" / "keys.html"
        for option in ("--html", "--csv"):
            said = refusal("--redis-url", "redis://127.0.0.1:1", option, str(file))
            assert said.startswith(f"Error: {file} cannot be written: ")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--sample", "0"],
            ["--budget", "0"],
            ["--budget", "soon"],
            ["--json", "--csv", "-"],
            ["--html", "/"],
        ],
    )
    def test_options_that_make_no_sense(self, arguments: list[str]) -> None:
        ended = run("--redis-url", "redis://127.0.0.1:1", *arguments)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert arguments[0] in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_no_server_is_named(self) -> None:
        ended = run()
        assert ended.returncode == 2
        assert "--redis-url" in ended.stderr


def test_help_shows_an_example_and_the_exit_codes() -> None:
    ended = run("--help")
    assert ended.returncode == 0
    assert "Example: otel-redis-cache namespaces" in ended.stdout
    assert "Exit codes: 0 done" in ended.stdout
