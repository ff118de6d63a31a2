"""A primary with replicas, and the three Sentinels that watch it and replace it."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from pathlib import Path

from typing_extensions import Self

from .processes import wait_until
from .servers import Kind, RedisServer, Reply

SERVICE = "mymaster"


class Sentinel(RedisServer):
    """One Sentinel; what it has learnt outlives a restart."""

    def __init__(self, kind: Kind, binary: Path):
        super().__init__(kind, binary)
        self.name = secrets.token_hex(20)

    def watch(self, servers: list[RedisServer], others: list[Sentinel]) -> None:
        """Before it starts: the primary, its replicas, and the Sentinels that run already."""
        self._known = [f"known-replica {SERVICE} {s.host} {s.port}" for s in servers[1:]]
        self._known += [f"known-sentinel {SERVICE} {s.host} {s.port} {s.name}" for s in others]
        self._primary = servers[0]

    def command(self, directory: Path) -> list[str | Path]:
        written = directory / "sentinel.conf"
        if not written.exists():  # it goes on writing there itself
            watched = f"{SERVICE} {self._primary.host} {self._primary.port}"
            lines = [f"port {self.port}", f"bind {self.host}", f"dir {directory}"]
            lines += [f"sentinel myid {self.name}", f"sentinel monitor {watched} 2"]
            lines += [f"sentinel down-after-milliseconds {SERVICE} 500"]
            lines += [f"sentinel failover-timeout {SERVICE} 2000"]
            lines += [f"sentinel {known}" for known in self._known]
            written.write_text("\n".join(lines) + "\n")
        return [self.binary, written, "--sentinel"]

    def about_the_primary(self) -> dict[str, str]:
        """What it says of it: flags, how many replicas and other Sentinels it knows."""
        fields = self.call("SENTINEL", "MASTER", SERVICE)
        assert isinstance(fields, list)
        return dict(zip(map(str, fields[::2]), map(str, fields[1::2]), strict=True))


class Sentinels:
    """Three Sentinels, a primary and its replicas, from `with` to the end of it."""

    host = "127.0.0.1"
    service = SERVICE

    def __init__(self, kind: Kind, binary: Path, replicas: int = 1):
        self.servers = [RedisServer(kind, binary) for _ in range(1 + replicas)]
        self.sentinels = [Sentinel(kind, binary) for _ in range(3)]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            for replica in self.servers[1:]:
                replica.call("REPLICAOF", self.host, self.servers[0].port)
            for index, sentinel in enumerate(self.sentinels):
                sentinel.watch(self.servers, self.sentinels[:index])
                stack.enter_context(sentinel)
            self.wait_until_healthy()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Of the Sentinels, as a client is given them."""
        return [(sentinel.host, sentinel.port) for sentinel in self.sentinels]

    @property
    def primary(self) -> RedisServer:
        """The one that most of the Sentinels tell clients of; it may be dead."""
        said = [self._said_by(sentinel) for sentinel in self.sentinels if sentinel.running]
        port = max(said, key=said.count)
        (server,) = [server for server in self.servers if server.port == port]
        return server

    @property
    def replicas(self) -> list[RedisServer]:
        primary = self.primary
        return [server for server in self.servers if server is not primary]

    def _said_by(self, sentinel: Sentinel) -> int:
        address = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        assert isinstance(address, list)
        return int(str(address[1]))

    # What a test does to it.

    def fail_over(self) -> RedisServer:
        """`SENTINEL FAILOVER` of a primary that is well; the new one is returned."""
        old = self.primary
        self.sentinels[0].call("SENTINEL", "FAILOVER", SERVICE)
        return self.wait_for_another_primary(old)

    def wait_for_another_primary(self, than: RedisServer) -> RedisServer:
        """Until all Sentinels tell of another one, and it takes writes."""

        def has_changed() -> bool:
            said = {self._said_by(sentinel) for sentinel in self.sentinels}
            return (
                len(said) == 1
                and than.port not in said
                and self.primary.info("replication")["role"] == "master"
            )

        wait_until(has_changed, timeout=15, what="the Sentinels have another primary")
        return self.primary

    def wait_until_healthy(self) -> None:
        """Until everything runs, and the Sentinels know of it all."""
        wait_until(self.is_healthy, timeout=20, what="the Sentinels know everybody")

    def is_healthy(self) -> bool:
        if not all(one.running for one in (*self.servers, *self.sentinels)):
            return False
        primary = self.primary
        told = primary.info("replication")
        return (
            told["role"] == "master"
            and all(self._follows(replica, primary) for replica in self.replicas)
            and all(self._knows_everybody(sentinel, primary) for sentinel in self.sentinels)
        )

    @staticmethod
    def _follows(replica: RedisServer, primary: RedisServer) -> bool:
        told = replica.info("replication")
        if told.get("master_port") != str(primary.port):  # it came back as a primary
            replica.call("REPLICAOF", primary.host, primary.port)
        return told.get("master_link_status") == "up"

    def _knows_everybody(self, sentinel: Sentinel, primary: RedisServer) -> bool:
        told = sentinel.about_the_primary()
        replicas = sentinel.call("SENTINEL", "REPLICAS", SERVICE)
        return (
            (told["port"], told["flags"]) == (str(primary.port), "master")
            and told["num-other-sentinels"] == str(len(self.sentinels) - 1)
            and isinstance(replicas, list)
            and [_flags(fields) for fields in replicas] == ["slave"] * (len(self.servers) - 1)
        )

    def revive(self) -> None:
        """Undo what a test before did to it, but for who is primary."""
        for one in (*self.servers, *self.sentinels):
            one.revive()
        self.wait_until_healthy()

    # What a server can do too: the primary does it.

    def call(self, *words: str | int) -> Reply:
        return self.primary.call(*words)

    def flush(self) -> None:
        self.primary.flush()

    def reset_stats(self) -> None:
        for server in self.servers:
            server.reset_stats()

    def commandstats(self) -> dict[str, int]:
        return self.primary.commandstats()


def _flags(fields: Reply) -> Reply:
    assert isinstance(fields, list)
    return fields[fields.index("flags") + 1]
