"""What the command line writes, with marked passwords in what it is given and marked keys on the server."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from otel_redis_cache.cli.main import main
from tests.privacy.marks import DISGUISES, mark, marks_in
from tests.real.processes import Process, free_ports, wait_until
from tests.real.servers import RedisServer

ROOT = Path(__file__).parents[2]
USER, PASSWORD = mark("user"), mark("password")
KEYS = (
    *(f"user:{mark(f'key{number}')}" for number in range(30)),
    *(f"{form(f'key{number}')}:profile" for form in DISGUISES.values() for number in range(20)),
    mark("key"),
)


def run(*arguments: str, **environment: str) -> Result:
    """In this process, as starting 30 of them would take a minute."""
    kept = {name: None for name in os.environ if name.startswith("OTEL_")}
    try:
        return CliRunner().invoke(main, arguments, env={**kept, **environment})
    finally:
        logging.disable(logging.NOTSET)  # which doctor leaves as it is, as its process ends


def fill(server: RedisServer) -> str:
    """The URL of a server with such keys."""
    server.call("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all")
    for key in KEYS:
        server.call("SET", key, mark("value"))
    return f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}/0"


@pytest.fixture
def url(own_server: RedisServer) -> str:
    return fill(own_server)


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "JSON"])
def test_doctor_shows_names_of_caches_and_no_key(url: str, form: tuple[str, ...]) -> None:
    (port,) = free_ports(1)
    endpoint = f"http://{USER}:{PASSWORD}@127.0.0.1:{port}"
    protocol = "http/protobuf"
    ended = run(
        *("doctor", "--redis-url", url, *form),
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer {PASSWORD}",
        OTEL_REDIS_CACHE_WATCH=url,
        OTEL_REDIS_CACHE_KEY_SECRET=PASSWORD,
        OTEL_REDIS_CACHE_PASSWORD=PASSWORD,
    )

    assert "user 30" in ended.output
    assert "OTEL_REDIS_CACHE_PASSWORD is no setting" in ended.output
    assert marks_in(ended.output) == []


@pytest.mark.parametrize("command", ["doctor", "namespaces", "demo"])
@pytest.mark.parametrize(
    "broken",
    [
        "redis://{user}:{password}2@127.0.0.1:{port}/0",
        "redis://{user}:{password}@127.0.0.1:1/0",
        "redis://{user}:{password}@127.0.0.1:port/0",
        "redis://{user}:p@{password}/w@127.0.0.1:{port}/0",
        "redis://{user}:12/{password}@127.0.0.1:{port}/0",
        "redis://{user}:12#{password}@127.0.0.1:{port}/0",
        "redis+sentinel://{user}:{password}@127.0.0.1:{port}/shop",
        "redis://127.0.0.1:{port}/0?username={user}&password={password}2",
        "http://{user}:{password}@127.0.0.1:{port}/0",
    ],
)
def test_no_piece_of_a_password_is_shown_where_a_url_is_wrong(
    shared_server: RedisServer, command: str, broken: str
) -> None:
    given = broken.format(user=USER, password=PASSWORD, port=shared_server.port)
    ended = run(command, "--redis-url", given)

    assert ended.exit_code > 0
    assert marks_in(ended.output) == []


@pytest.fixture(scope="module")
def shared_server(valkey_server: RedisServer) -> Iterator[RedisServer]:
    with RedisServer("valkey", valkey_server.binary) as server:
        fill(server)
        yield server


def test_namespaces_masks_keys_in_every_form(url: str, tmp_path: Path) -> None:
    page, table = tmp_path / "keys.html", tmp_path / "keys.csv"
    files = ("--html", str(page), "--csv", str(table))
    shown = run("namespaces", "--redis-url", url, "--propose-rules", *files)
    document = run("namespaces", "--redis-url", url, "--propose-rules", "--json")

    told = json.loads(document.stdout)
    assert {row["cache"] for row in told["caches"]} == {"user", "_default"}
    assert {big["key"] for big in told["biggest"]} <= {"user:{}", "{}:{}", "{}"}
    written = page.read_text("utf-8") + table.read_text("utf-8")
    assert marks_in(shown.output + document.output + written) == []


def test_namespaces_shows_keys_where_asked_for_and_no_value(url: str) -> None:
    ended = run("namespaces", "--redis-url", url, "--json", "--show-keys")

    told = json.loads(ended.stdout)
    assert {big["key"] for big in told["biggest"]} <= set(KEYS)
    assert mark("value") not in ended.output
    assert mark("password") not in ended.output


MISSED = {
    "namespaces": ("MEMORY", "MEMORY"),
    "doctor": ("MEMORY", "MEMORY"),
    "demo": ("HELLO", "ERR"),
}
"""A command that is taken away from a server, and what is said where it is missed."""


@pytest.mark.parametrize("command", MISSED)
def test_what_a_server_says_of_a_command_that_it_does_not_know_is_not_shown(
    redis_server: RedisServer, command: str
) -> None:
    """It quotes the operands: of MEMORY USAGE a key, of HELLO a password."""
    missed, told = MISSED[command]
    with RedisServer("redis", redis_server.binary) as server:
        server.restart("--rename-command", missed, "")
        ended = run(command, "--redis-url", f"{fill(server)}?protocol=3")

    assert marks_in(ended.output) == []
    assert told in ended.output


def test_config_shows_no_secret(tmp_path: Path) -> None:
    secrets: Mapping[str, str] = {
        "OTEL_REDIS_CACHE_WATCH": f"redis://{USER}:{PASSWORD}@127.0.0.1/0?password={PASSWORD}",
        "OTEL_REDIS_CACHE_KEY_SECRET": PASSWORD,
        "OTEL_REDIS_CACHE_KEY_ATTRIBUTE": "hash",
    }
    ended = [run("config", **secrets), run("config", "--json", **secrets)]
    endpoint = f"http://{USER}:{PASSWORD}@127.0.0.1:4317"
    ended.append(run("config", "all", "--endpoint", endpoint, "--output", str(tmp_path)))

    assert [each.exit_code for each in ended] == [0, 0, 2]
    assert "(not shown)" in ended[0].output
    assert marks_in("".join(each.output for each in ended)) == []
    assert list(tmp_path.iterdir()) == []


def accepts(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


SHOP = f"""
import sys
import redis
from otel_redis_cache import RedisCacheInstrumentor, otlp

url, endpoint = sys.argv[1:]
telemetry = otlp.configure(service_name="shop", endpoint=endpoint)
RedisCacheInstrumentor().instrument()
with redis.Redis.from_url(url) as client:
    for key in {KEYS[:40]!r}:
        client.set(key, {mark("value")!r}, ex=60)
        client.mget(key, f"{{key}}x")
        for transaction in (True, False):
            try:
                client.pipeline(transaction).get(key).lpush(key, {mark("member")!r}).execute()
            except redis.ResponseError:
                pass
telemetry.shutdown()
"""


def test_top_shows_and_records_what_was_sent_and_that_has_no_key(url: str, tmp_path: Path) -> None:
    record = tmp_path / "shop.recording"
    grpc_port, http_port = map(str, free_ports(2))
    ports = ("--grpc-port", grpc_port, "--http-port", http_port)
    command = (sys.executable, "-m", "otel_redis_cache.cli.main", "top", "--json", *ports)
    top = Process([*command, "--record", str(record)], log=tmp_path / "top.log")
    try:
        wait_until(lambda: accepts(int(grpc_port)), timeout=30, what="top listens")
        shop = subprocess.run(
            [sys.executable, "-c", SHOP, url, f"http://127.0.0.1:{grpc_port}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        )
        wait_until(lambda: '"user"' in top.output(), timeout=30, what="top shows it")
    finally:
        top.end()
    shown = top.log.read_text("utf-8")

    assert b"LPUSH ?" in record.read_bytes()
    assert marks_in(shown + shop.stdout + shop.stderr) == []
    assert marks_in(record.read_bytes().decode("latin-1")) == []
