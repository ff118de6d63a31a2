"""Goes through the keys of a server, or through a sample of them, and tells what they are.

Exact where the keys fit the sample; else each number comes with its 95 % interval.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otel_redis_cache.caches import Caches, key_text
from otel_redis_cache.cli.census_findings import KINDS, LIFETIMES, NEVER, Big, Figure, Findings, Row
from otel_redis_cache.cli.proposals import Shapes
from otel_redis_cache.cli.troubles import NONSENSE, explain
from otel_redis_cache.conventions import DEFAULT_CACHE, OTHER_CACHE
from otel_redis_cache.server.answers import answers, cancelled, fault_of
from otel_redis_cache.server.estimates import Estimate, Sample, combined
from otel_redis_cache.server.nodes import Connections, Nodes
from otel_redis_cache.server.sampler import PAUSE, Drawn, Entry, Everything, Onward, Walk, prepare
from otel_redis_cache.server.sources import Node, Source
from otel_redis_cache.settings import Settings

NO_CACHE = "-"
"""What a rule calls keys that are no cache."""

BIGGEST = 10
"""Entries that are shown one by one."""

Heard = Callable[[int, int], None]
"""Told how many keys were asked about, of how many."""


class NodeError(Exception):
    """A node failed us: the cause says how."""

    def __init__(self, node: Node, cause: BaseException) -> None:
        """Name the node."""
        super().__init__(f"{node}: {cause}")
        self.node, self.cause = node, cause


class NobodyError(Exception):
    """There is no server to ask."""


@dataclass(frozen=True)
class Limits:
    """How much may be asked."""

    keys: int
    seconds: float
    seed: int | None = None
    """Where in the keys a sample begins; None: anywhere."""


class Tally:
    """What is known of the keys of one node."""

    def __init__(self, caches: Caches, shapes: Shapes, *, repeats: bool) -> None:
        """``repeats``: whether a key may come twice."""
        self._caches, self._shapes = caches, shapes
        self.sizes: Sample[str] = Sample(repeats=repeats)
        # A key of size 1: so the size of a cache is its entries, with their interval.
        self.counts: Sample[str] = Sample(repeats=repeats)
        self.lifetimes: Sample[tuple[str, str]] = Sample(repeats=repeats)
        self.whole: Sample[str] = Sample(repeats=repeats)
        self.biggest: dict[bytes, tuple[Entry, str]] = {}
        self._least = 0

    @property
    def keys(self) -> int:
        """How many were taken."""
        return self.sizes.keys

    def add(self, entry: Entry) -> None:
        """Take one key."""
        expires = entry.ttl is not None
        cache = self._caches.name_of(entry.key) or NO_CACHE
        self.sizes.add(cache, entry.size, expires=expires)
        self.counts.add(cache, 1, expires=expires)
        self.lifetimes.add((cache, _kind_of(entry.ttl)), 1, expires=expires)
        self.whole.add("", entry.size, expires=expires)
        if cache in (DEFAULT_CACHE, OTHER_CACHE):
            self._shapes.add(key_text(entry.key))
        else:
            self._shapes.spare(key_text(entry.key))
        if entry.size > self._least or len(self.biggest) < BIGGEST:
            self._keep(entry, cache)

    def _keep(self, entry: Entry, cache: str) -> None:
        self.biggest[entry.key] = (entry, cache)
        if len(self.biggest) > BIGGEST:
            del self.biggest[min(self.biggest, key=lambda key: self.biggest[key][0].size)]
        self._least = min(kept.size for kept, _ in self.biggest.values())


@dataclass
class Visit:
    """One node, its keys, and how far we are with them."""

    node: Node
    client: Any
    total: int
    """Keys that it has."""
    share: int
    """Those that are to be asked about."""
    in_cluster: bool
    walk: Walk
    tally: Tally

    @property
    def is_exact(self) -> bool:
        """Whether all keys were asked about."""
        return self.walk.is_over

    @property
    def is_done(self) -> bool:
        """Whether as many were asked about as were wanted."""
        if self.walk.source.is_random:
            return self.tally.keys >= self.share
        return self.walk.is_over

    @property
    def basis(self) -> int:
        """What its sample stands for."""
        return self.tally.keys if self.is_exact else self.total


class Census:
    """A count of all keys of one server or cluster."""

    def __init__(self, source: Source, settings: Settings, caches: Caches, limits: Limits) -> None:
        """Nobody is asked yet."""
        self._source, self._caches, self._limits = source, caches, limits
        self.shapes = Shapes(settings.key_delimiter)
        self._connections = Connections(source)
        self._visits: list[Visit] = []
        self._until = self._began = 0.0
        self.is_short = False
        """Whether the budget ended before the sample was complete."""

    async def take(self, heard: Heard, *, shows_keys: bool) -> Findings:
        """Ask, and tell.

        Raises:
            NodeError: a node did not answer as it should.
            NobodyError: there is no node.
        """
        self._began = time.monotonic()
        self._until = self._began + self._limits.seconds
        try:
            await self._prepare(await self._nodes())
            wanted = sum(visit.share for visit in self._visits)
            heard(0, wanted)

            def tell() -> None:
                heard(sum(min(visit.tally.keys, visit.share) for visit in self._visits), wanted)

            await self._go_all(tell)
            biggest = await self._biggest(shows_keys=shows_keys)
        finally:
            await self._connections.keep()
        return self._findings(biggest)

    async def _nodes(self) -> list[Node]:
        """A cluster's primaries, a replica of what Sentinels manage, or the one server."""
        nodes = Nodes(self._source, self._connections)
        try:
            mute = await nodes.find()
        except NONSENSE as error:
            raise NobodyError(explain(error, str(self._source.nodes[0])).message) from None
        for node, fault in mute.items():
            raise NodeError(node, fault)
        if nodes.mode == "sentinel":
            raise NobodyError(
                "this is a Sentinel: give the name that it has for its servers too, "
                "as redis+sentinel://host:26379/mymaster"
            )
        if not nodes.shards:
            raise NobodyError("nobody there knows such servers: look at the name in the URL")
        if self._source.service is None:
            return nodes.primaries
        return [shard[:2][-1] for shard in nodes.shards]

    async def _prepare(self, nodes: Sequence[Node]) -> None:
        clients = {
            node: self._connections.to(node, self._source.database, "sample") for node in nodes
        }
        said = await answers({node: prepare(client) for node, client in clients.items()})
        told: dict[Node, tuple[int, bool]] = {}
        for node, reply in said.items():
            if isinstance(reply, BaseException):
                raise NodeError(node, reply)
            told[node] = reply
        total = sum(keys for keys, _ in told.values())
        fits = total <= self._limits.keys
        for node, (keys, in_cluster) in told.items():
            share = keys if fits else math.ceil(self._limits.keys * keys / total)
            walk = Walk(self._keys(in_cluster=in_cluster, fits=fits))
            tally = self._tally(repeats=walk.source.repeats)
            self._visits.append(Visit(node, clients[node], keys, share, in_cluster, walk, tally))

    def _tally(self, *, repeats: bool) -> Tally:
        return Tally(self._caches, self.shapes, repeats=repeats)

    def _keys(self, *, in_cluster: bool, fits: bool) -> Everything | Onward | Drawn:
        if fits:
            return Everything()
        if in_cluster:
            return Drawn()
        return Onward(random.Random(self._limits.seed).getrandbits(64))  # noqa: S311

    async def _go_all(self, tell: Callable[[], None]) -> None:
        """Through all nodes at once; all stop where one fails."""
        walks = {v.node: asyncio.create_task(self._go(v, tell)) for v in self._visits}
        try:
            if walks:
                await asyncio.wait(walks.values(), return_when=asyncio.FIRST_EXCEPTION)
        finally:
            await cancelled(walks.values())
            # Asked for after Ctrl-C too: asyncio complains of faults that nobody looked at.
            faults = {node: fault_of(walk) for node, walk in walks.items() if walk.done()}
        for node, fault in faults.items():
            if fault is not None:
                raise NodeError(node, fault)

    async def _go(self, visit: Visit, tell: Callable[[], None]) -> None:
        """Until there is enough, or the time is up."""
        walk, halfway = visit.walk, (self._began + self._until) / 2
        while not visit.is_done:
            if time.monotonic() >= self._until:
                self.is_short = True
                return
            for entry in await walk.step(visit.client):
                visit.tally.add(entry)
            tell()
            # A part of a cluster's walk is no random sample: while there is time, one is drawn.
            is_late = time.monotonic() >= halfway and not visit.is_done
            if visit.in_cluster and not walk.source.is_random and is_late:
                walk.turn_to(Drawn())
                visit.tally = self._tally(repeats=True)
                self.is_short = True
            await asyncio.sleep(PAUSE)

    async def _biggest(self, *, shows_keys: bool) -> list[Big]:
        """The largest entries that were seen, with their types."""
        found = [
            (entry, cache, visit)
            for visit in self._visits
            for entry, cache in visit.tally.biggest.values()
        ]
        found.sort(key=lambda it: it[0].size, reverse=True)
        biggest: list[Big] = []
        for entry, cache, visit in found[:BIGGEST]:
            name = key_text(entry.key) if shows_keys else self._caches.template_of(entry.key)
            said = (await answers({"": visit.client.execute_command("TYPE", entry.key)}))[""]
            kind = said.decode() if isinstance(said, bytes) else ""
            ttl = None if entry.ttl is None else entry.ttl / 1000
            biggest.append(Big(_printable(name), cache, entry.size, ttl, kind))
        return biggest

    def _findings(self, biggest: Sequence[Big]) -> Findings:
        visits = self._visits
        is_exact = all(visit.is_exact for visit in visits)
        asked = sum(visit.tally.keys for visit in visits)
        keys = asked if is_exact else sum(visit.total for visit in visits)
        sizes = combined(v.tally.sizes.estimates(v.basis) for v in visits)
        counts = combined(v.tally.counts.estimates(v.basis) for v in visits)
        lifetimes = combined(v.tally.lifetimes.estimates(v.basis) for v in visits)
        whole = combined(v.tally.whole.estimates(v.basis) for v in visits)
        size = _figure(whole.get(""))
        unseen = 0 if is_exact else _unseen(keys, asked)
        rows = [
            Row(
                cache,
                _figure(counts[cache]),
                _figure(estimate),
                estimate.size / size.value if size.value else 0.0,
                _lifetimes(cache, lifetimes, unseen),
            )
            for cache, estimate in sizes.items()
        ]
        return Findings(
            server=str(self._source.target),
            nodes=len(visits),
            keys=keys,
            asked=asked,
            is_exact=is_exact,
            seconds=time.monotonic() - self._began,
            rows=sorted(rows, key=lambda row: row.size.value, reverse=True),
            size=size,
            biggest=biggest,
        )


def _lifetimes(
    cache: str, estimates: Mapping[tuple[str, str], Estimate], unseen: int
) -> dict[str, Figure]:
    known = {kind: estimates.get((cache, kind)) for kind in KINDS}
    return {
        kind: Figure(0, unseen) if estimate is None else _figure(estimate)
        for kind, estimate in known.items()
    }


def _figure(estimate: Estimate | None) -> Figure:
    return Figure(0, 0) if estimate is None else Figure(estimate.size, estimate.error)


def _unseen(keys: int, asked: int) -> int:
    """As many keys may be of a kind of which none was drawn: more are missed 1 time in 20."""
    if not asked:
        return keys
    return min(keys, math.ceil(3 * keys / asked))


def _kind_of(ttl: int | None) -> str:
    if ttl is None:
        return NEVER
    return next(kind for kind, seconds in LIFETIMES.items() if ttl < seconds * 1000)


def _printable(text: str) -> str:
    """Without what would move a terminal's cursor, or worse."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
