"""Servers that belong together: the nodes of a cluster, and a Sentinel beside its server."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import redis
from typing_extensions import Self

from .processes import Process, free_ports, start_on_free_ports, wait_until
from .servers import RedisServer

SLOTS = 16_384


def _asks(port: int, *command: str | int) -> str:
    """A reply as text; empty where nobody answers yet."""
    with redis.Redis(port=port, decode_responses=True) as client:
        try:
            return str(client.execute_command(*command))
        except redis.RedisError:
            return ""


class Cluster:
    """Primaries on free loopback ports that share the slots evenly, from `with` to the end of it."""

    host = "127.0.0.1"

    def __init__(self, binary: Path, directory: Path, primaries: int):
        self._binary = binary
        self._directory = directory
        self._primaries = primaries
        self._nodes: list[Process] = []
        self.ports: list[int] = []

    def __enter__(self) -> Self:
        start_on_free_ports(2 * self._primaries, self._start)
        return self

    def __exit__(self, *exception: object) -> None:
        for node in self._nodes:
            node.end(5)

    def _start(self, *ports: int) -> None:
        self.ports, buses = list(ports[: self._primaries]), ports[self._primaries :]
        for port, bus in zip(self.ports, buses, strict=True):
            directory = self._directory / str(port)
            directory.mkdir()
            command = [self._binary, "--port", str(port), "--bind", self.host, "--save", ""]
            command += ["--dir", directory, "--cluster-enabled", "yes"]
            command += ["--cluster-port", str(bus)]
            self._nodes.append(Process(command, log=directory / "log"))
        try:
            self._join(buses)
        except TimeoutError as late:
            self.__exit__()
            self._nodes = []
            raise RuntimeError(str(late)) from late

    def _join(self, buses: tuple[int, ...]) -> None:
        first = self.ports[0]
        for index, (port, bus) in enumerate(zip(self.ports, buses, strict=True)):
            wait_until(lambda port=port: _asks(port, "PING"), timeout=10, what="the node answers")
            start, end = (SLOTS * i // self._primaries for i in (index, index + 1))
            _asks(port, "CLUSTER ADDSLOTSRANGE", start, end - 1)
            if port != first:
                _asks(first, "CLUSTER MEET", self.host, port, bus)
        wait_until(self._is_up, timeout=20, what="the cluster is up")

    def _is_up(self) -> bool:
        def agrees(port: int) -> bool:
            info = _asks(port, "CLUSTER INFO")
            known = f"'cluster_known_nodes': '{self._primaries}'"
            return "'cluster_state': 'ok'" in info and known in info

        return all(agrees(port) for port in self.ports)


class Sentinel:
    """One Sentinel that watches a running server as `mymaster`."""

    host = "127.0.0.1"

    def __init__(self, server: RedisServer, directory: Path):
        (self.port,) = free_ports(1)
        written = directory / "sentinel.conf"
        written.write_text(
            f"port {self.port}\nbind {self.host}\ndir {directory}\n"
            f"sentinel monitor mymaster {server.host} {server.port} 1\n"
        )
        self._stack = ExitStack()
        process = Process([server.binary, written, "--sentinel"], log=directory / "sentinel.log")
        self._stack.callback(process.end, 5)

    def __enter__(self) -> Self:
        try:
            wait_until(self._knows_the_master, timeout=10, what="the Sentinel knows its master")
        except TimeoutError:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _knows_the_master(self) -> bool:
        # A Sentinel's own `is_ok` needs a moment; the client refuses a master it holds for down.
        return "'flags': 'master'" in _asks(self.port, "SENTINEL MASTER", "mymaster")
