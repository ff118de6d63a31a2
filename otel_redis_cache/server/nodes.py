"""Which nodes a source has, and connections of our own to them.

Never one of the application's pools: its calls must not wait for ours, nor count them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from otel_redis_cache import pools
from otel_redis_cache.failures import is_failure
from otel_redis_cache.server.answers import answers
from otel_redis_cache.server.info import parse
from otel_redis_cache.server.sources import Node, Options, Source

T = TypeVar("T")

SECONDS = 1.0
"""That a server may take to answer, and to be connected to."""

Shard = tuple[Node, ...]
"""A primary, or the one server that is watched, and behind it its replicas."""

MOST_ASKED = 10
"""Nodes that are asked at once who else there is."""


class Connections:
    """Our own clients: one for each node, database and use."""

    def __init__(self, source: Source) -> None:
        """Find the client library; nothing is connected before it is used."""
        self._source = source
        self._redis = importlib.import_module(f"{source.library}.asyncio")
        self._kinds = importlib.import_module(f"{source.library}.asyncio.connection")
        self._clients: dict[tuple[Node, int, str], Any] = {}

    def to(self, node: Node, database: int = 0, use: str = "") -> Any:
        """An asyncio client that replies in RESP2, undecoded, and never tries again by itself.

        One that has no particular use leaves INFO as it came.
        """
        client = self._kept(node, database, use, self._source.options)
        if not use:
            client.set_response_callback("INFO", _as_it_came)
        return client

    def to_sentinel(self, node: Node) -> Any:
        """The same for a Sentinel, which may have credentials of its own."""
        return self._kept(node, 0, "guide", self._source.sentinel_options)

    async def keep(self, nodes: Iterable[Node] = ()) -> None:
        """Close what leads to any other node."""
        kept = set(nodes)
        gone = {key: self._clients.pop(key) for key in list(self._clients) if key[0] not in kept}
        await answers(
            {k: client.connection_pool.disconnect() for k, client in gone.items()}, SECONDS
        )

    def _kept(self, node: Node, database: int, use: str, options: Options) -> Any:
        key = (node, database, use)
        if key not in self._clients:
            self._clients[key] = self._made(node, database, dict(options))
        return self._clients[key]

    def _made(self, node: Node, database: int, options: dict[str, Any]) -> Any:
        is_tls = options.pop("ssl", False)
        if node.port is None:
            kind = self._kinds.UnixDomainSocketConnection
            options |= {"path": node.address}
        else:
            kind = self._kinds.SSLConnection if is_tls else self._kinds.Connection
            options |= {"host": node.address, "port": node.port}
        options |= {"db": database, "protocol": 2}
        options |= {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS}
        known = _keywords(kind)
        # What introduces the client library to the server costs commands.
        options |= dict.fromkeys({"driver_info"} & known or {"lib_name", "lib_version"})
        # What only synchronous connections know, as OCSP, is left out.
        options = {name: value for name, value in options.items() if name in known}
        pool = self._redis.ConnectionPool(connection_class=kind, **options)
        pools.leave_out(pool)
        return self._redis.Redis(connection_pool=pool)


class Nodes:
    """The nodes of one source, found anew each time: some leave, some take over from others."""

    def __init__(self, source: Source, connections: Connections) -> None:
        """Start with those that are configured."""
        self._source = source
        self._connections = connections
        self._guides = source.nodes
        """Whom to ask about the others, first the one that told last time."""
        self.mode = "cluster" if source.is_cluster else ""
        """``standalone``, ``cluster`` or ``sentinel``; empty until it is known."""
        self.shards: tuple[Shard, ...] = ()
        self._mute: dict[Node, BaseException] = {}

    def __iter__(self) -> Iterator[Node]:
        """All of them, each once."""
        return iter(dict.fromkeys(node for shard in self.shards for node in shard))

    @property
    def primaries(self) -> list[Node]:
        """Those that take writes, or the one server that is watched."""
        return [shard[0] for shard in self.shards]

    @property
    def is_alone(self) -> bool:
        """Whether one server is watched, whoever else there is."""
        return self._source.service is None and self.mode != "cluster"

    @property
    def guides(self) -> tuple[Node, ...]:
        """Who is asked about the others; Sentinels are not watched themselves."""
        return self._guides

    async def find(self) -> dict[Node, BaseException]:
        """Ask who is there; where nobody tells, it is who was there last time.

        Returns:
            Why, by node, where nobody told.
        """
        self._mute = {}
        if self._source.service is not None:
            found = await self._first_answer(self._managed)
        else:
            self.mode = self.mode or await self._first_answer(self._mode) or ""
            if self.mode == "cluster":
                found = await self._first_answer(self._slots)
            else:
                found = (self._source.nodes[:1],)
        if found:
            self.shards = found
        return self._mute

    async def _first_answer(self, ask: Callable[[Node], Coroutine[Any, Any, T | None]]) -> T | None:
        """Of the one that told last time, else of any other."""
        guides = self._guides
        for some in (guides[:1], guides[1 : 1 + MOST_ASKED]):
            said = await answers({node: ask(node) for node in some}, SECONDS)
            for node, reply in said.items():
                if isinstance(reply, BaseException):
                    if not is_failure(reply):
                        raise reply
                    self._mute[node] = reply
                elif reply is not None:
                    self._mute = {}
                    self._guides = (node, *(other for other in guides if other != node))
                    return reply
        return None

    async def _mode(self, node: Node) -> str | None:
        reply = await self._connections.to(node).execute_command("INFO", "server")
        told = parse(reply)
        return told.get("redis_mode") or told.get("server_mode")  # as Valkey calls it

    async def _slots(self, node: Node) -> tuple[Shard, ...]:
        """``[[first slot, last slot, [host, port, ...] of the primary, ... of its replicas], ...]``."""
        reply: list[list[Any]] = await self._connections.to(node).execute_command(
            "CLUSTER", "SLOTS"
        )
        shards: dict[Node, set[Node]] = {}
        for _, _, *places in reply:
            primary, *replicas = (
                self.reached(_text(host or b""), port, node) for host, port, *_ in places
            )
            shards.setdefault(primary, set()).update(replicas)
        found = tuple((primary, *sorted(shards[primary])) for primary in sorted(shards))
        others = (other for shard in found for other in shard if other != node)
        self._guides = tuple(dict.fromkeys((node, *others, *self._source.nodes)))
        return found

    def reached(self, host: str, port: int, told_by: Node) -> Node:
        """Where a node is that another one told of; without an address it is that other one."""
        place = (told_by.address if host in ("", "?") else host, port)
        remap = self._source.remap
        return Node(*place) if remap is None else Node(*remap(place))

    async def _managed(self, sentinel: Node) -> tuple[Shard, ...] | None:
        """The primary that a Sentinel names, and its replicas that are up.

        Second are those that follow it, or else the primary again: a replica that lost its link
        has old keys.
        """
        client = self._connections.to_sentinel(sentinel)
        service = self._source.service
        primary = await client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        if primary is None:
            return None
        replies = await client.execute_command("SENTINEL", "REPLICAS", service)
        told = [dict(zip(reply[::2], reply[1::2], strict=False)) for reply in replies]
        linked: dict[bool, list[Node]] = {True: [], False: []}
        for fields in told:
            if b"down" not in fields[b"flags"]:
                is_linked = fields.get(b"master-link-status") == b"ok"
                linked[is_linked].append(_node(fields[b"ip"], fields[b"port"]))
        first = _node(*primary)
        return ((first, *(sorted(linked[True]) or [first]), *sorted(linked[False])),)


def _node(host: bytes, port: bytes) -> Node:
    return Node(_text(host), int(port))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _as_it_came(reply: bytes, **_: object) -> bytes:
    return reply


def _keywords(kind: type) -> set[str]:
    """What a class of connections can be told."""
    made_by = (vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base))
    return {name for init in made_by for name in inspect.signature(init).parameters}
