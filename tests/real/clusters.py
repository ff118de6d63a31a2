"""The nodes of a cluster: who owns a key, failovers, and slots that move while somebody asks."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from typing_extensions import Self

from .processes import wait_until
from .servers import Kind, RedisServer, Reply

SLOTS = 16_384
NODE_TIMEOUT = 2_000
"""Milliseconds after which nodes hold a silent one for dead."""


class Node(RedisServer):
    """One node; what it knows of the cluster outlives a restart, data does not."""

    ports_needed = 2

    def command(self, directory: Path) -> list[str | Path]:
        _, bus = self._ports
        command = [*super().command(directory), "--cluster-enabled", "yes"]
        command += ["--cluster-port", str(bus), "--cluster-node-timeout", str(NODE_TIMEOUT)]
        command += ["--cluster-allow-replica-migration", "no"]
        return command

    @property
    def name(self) -> str:
        return str(self.call("CLUSTER", "MYID"))

    @property
    def bus(self) -> int:
        return self._ports[1]

    def places(self) -> list[Place]:
        """All nodes of the cluster, as this one sees them."""
        text = self.call("CLUSTER", "NODES")
        assert isinstance(text, str)
        return [_place(line.split()) for line in text.splitlines()]

    def is_well(self, nodes: int) -> bool:
        """Whether it sees so many nodes, none of which has failed, and its own primary."""
        places = self.places()
        flags = set[str]().union(*(place.flags for place in places))
        return (
            len(places) == nodes
            and flags.isdisjoint({"fail", "fail?", "handshake", "noaddr"})
            and "cluster_state:ok" in str(self.call("CLUSTER", "INFO"))
            and self.info("replication").get("master_link_status", "up") == "up"
        )


class Place(NamedTuple):
    """What one node says of another: `primary` is the name of the one that a replica follows."""

    name: str
    port: int
    flags: tuple[str, ...]
    primary: str
    slots: tuple[str, ...]
    """`5461-10922` or one alone."""
    open_slots: tuple[str, ...]
    """On their way; a node tells only of its own."""

    @property
    def is_primary(self) -> bool:
        return self.primary == "-"

    def has(self, slot: int) -> bool:
        ends = (words.partition("-") for words in self.slots)
        return any(int(first) <= slot <= int(last or first) for first, _, last in ends)


def _place(words: list[str]) -> Place:
    name, address, flags, primary, _ping, _pong, _epoch, _link, *slots = words
    port = int(address.partition("@")[0].rpartition(":")[2])
    own = tuple(flag for flag in flags.split(",") if flag != "myself")
    # [93-<-name] comes from there, [93->-name] goes there.
    opened = tuple(slot[1:].partition("-")[0] for slot in slots if slot.startswith("["))
    settled = tuple(slot for slot in slots if not slot.startswith("["))
    return Place(name, port, own, primary, settled, opened)


class Cluster:
    """Primaries that share the slots evenly, each with replicas, from `with` to the end of it."""

    host = "127.0.0.1"

    def __init__(self, kind: Kind, binary: Path, primaries: int, replicas: int = 0):
        self._primaries = primaries
        self.nodes = [Node(kind, binary) for _ in range(primaries * (1 + replicas))]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _join(self) -> None:
        first, *others = self.nodes
        primaries = self.nodes[: self._primaries]
        for index, node in enumerate(primaries):
            start, end = (SLOTS * i // self._primaries for i in (index, index + 1))
            node.call("CLUSTER", "ADDSLOTSRANGE", start, end - 1)
            node.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node in others:
            first.call("CLUSTER", "MEET", self.host, node.port, node.bus)
        names = {node.name for node in self.nodes}

        def all_know_all() -> bool:
            return all({place.name for place in node.places()} == names for node in self.nodes)

        wait_until(all_know_all, timeout=20, what="the nodes know each other")
        for index, node in enumerate(self.nodes[self._primaries :]):
            node.call("CLUSTER", "REPLICATE", primaries[index % self._primaries].name)
        self.wait_until_healthy()

    # Who is who.

    @property
    def primaries(self) -> list[Node]:
        ports = {place.port for place in self._places() if place.is_primary}
        return [node for node in self.nodes if node.running and node.port in ports]

    @property
    def ports(self) -> list[int]:
        """Of the primaries."""
        return [node.port for node in self.primaries]

    def owner(self, key: str) -> Node:
        """The node that has the key's slot, which may be dead."""
        slot = self.slot(key)
        (port,) = [place.port for place in self._places() if place.has(slot)]
        return self._node(port)

    def replica_of(self, node: Node) -> Node:
        """One that runs."""
        places = self._places()
        (name,) = [place.name for place in places if place.port == node.port]
        ports = {place.port for place in places if place.primary == name}
        return next(other for other in self.nodes if other.running and other.port in ports)

    def slot(self, key: str) -> int:
        slot = self._anyone().call("CLUSTER", "KEYSLOT", key)
        assert isinstance(slot, int)
        return slot

    def _places(self) -> list[Place]:
        return self._anyone().places()

    def _anyone(self) -> Node:
        return next(node for node in self.nodes if node.running)

    def _node(self, port: int) -> Node:
        (node,) = [node for node in self.nodes if node.port == port]
        return node

    # What a test does to it.

    def fail_over(self, node: Node) -> Node:
        """A replica takes over from a primary that is well; it is returned."""
        replica = self.replica_of(node)
        replica.call("CLUSTER", "FAILOVER")
        wait_until(lambda: replica in self.primaries, timeout=10, what="the replica took over")
        self.wait_until_healthy()
        return replica

    def wait_until_served(self) -> None:
        """Until each slot has an owner that runs: after a kill, until its replica took over."""

        def is_served() -> bool:
            running = [node for node in self.nodes if node.running]
            ports = {node.port for node in running}
            return all(
                "cluster_state:ok" in str(node.call("CLUSTER", "INFO"))
                and {place.port for place in node.places() if place.slots} <= ports
                for node in running
            )

        wait_until(is_served, timeout=60, what="each slot has an owner that runs")

    def wait_until_healthy(self) -> None:
        """Until all nodes run, agree about everything, and the replicas have what they replicate."""
        wait_until(self.is_healthy, timeout=60, what="the cluster is healthy")

    def is_healthy(self) -> bool:
        if not all(node.running for node in self.nodes):
            return False
        views = [sorted(place[:-1] for place in node.places()) for node in self.nodes]
        return all(view == views[0] for view in views) and all(
            node.is_well(len(self.nodes)) for node in self.nodes
        )

    def begin_migration(self, key: str, to: Node) -> Migration:
        """The key's slot is on its way: its owner answers ASK for what it does not have (any more).

        Where the owner dies meanwhile, the target never learns who took over from it.
        """
        return Migration(self, self.slot(key), self.owner(key), to)

    def revive(self) -> None:
        """Undo what a test before did to it, but for who is primary, and which slot is where."""
        for node in self.nodes:
            node.revive()
        for node in self.nodes:
            for slot in [slot for place in node.places() for slot in place.open_slots]:
                with suppress(RuntimeError):  # one that came back as a replica has dropped it
                    node.call("CLUSTER", "SETSLOT", slot, "STABLE")
        self.wait_until_healthy()

    # What a server can do too.

    def call(self, *words: str | int) -> Reply:
        """One command where its first argument, a key, is at home."""
        return self.owner(str(words[1])).call(*words)

    def flush(self) -> None:
        for node in self.primaries:
            node.flush()

    def reset_stats(self) -> None:
        for node in self.nodes:
            node.reset_stats()

    def commandstats(self) -> dict[str, int]:
        """Summed over the primaries; a replica counts what it replicates too."""
        total = Counter[str]()
        for node in self.primaries:
            total.update(node.commandstats())
        return dict(total)


class Migration:
    """A slot on its way from one node to another."""

    def __init__(self, cluster: Cluster, slot: int, source: Node, target: Node):
        self._cluster = cluster
        self.slot, self.source, self.target = slot, source, target
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.name)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.name)

    def move(self, *keys: str) -> None:
        """From now on ASK for these keys."""
        host, port = self.target.host, self.target.port
        self.source.call("MIGRATE", host, port, "", 0, 5_000, "KEYS", *keys)

    def finish(self) -> None:
        """All keys are moved, and the target owns the slot: from now on MOVED at the source.

        Nodes learn of it from each other; a primary that dies before its replica has loses the slot.
        """
        while keys := self.source.call("CLUSTER", "GETKEYSINSLOT", self.slot, 100):
            assert isinstance(keys, list)
            self.move(*map(str, keys))
        name = self.target.name
        others = [n for n in self._cluster.primaries if n not in (self.source, self.target)]
        for node in (self.target, self.source, *others):
            node.call("CLUSTER", "SETSLOT", self.slot, "NODE", name)
        self._cluster.wait_until_healthy()
