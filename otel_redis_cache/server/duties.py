"""What a watch does every period while it has the lease for it, and what it has learnt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from otel_redis_cache import conventions as names
from otel_redis_cache.server import info
from otel_redis_cache.server.answers import answers, cancelled, fault_of
from otel_redis_cache.server.estimates import Estimate, combined
from otel_redis_cache.server.events import Listener
from otel_redis_cache.server.nodes import SECONDS, Connections, Nodes
from otel_redis_cache.server.readings import Points, Readings
from otel_redis_cache.server.sampler import Sampler
from otel_redis_cache.server.sources import Node, Source
from otel_redis_cache.tallies import Attributes

NameOf = Callable[[bytes], str | None]

Faults = Callable[[Iterable[tuple[Node, object]]], None]
"""Takes what nodes said where that is an exception."""


@dataclass(frozen=True)
class Site:
    """What the duties of one source work with."""

    source: Source
    connections: Connections
    nodes: Nodes
    readings: Readings
    name_of: NameOf
    """The cache that a key is in, if any."""
    note: Faults
    say: Callable[[str], None]
    """Is told what somebody has to change at the server."""


class Duty(Protocol):
    """One of several that each need a lease of their own."""

    role: str
    """What the lease is for."""

    async def attend(self, period: float, until: float, /) -> None:
        """Every period while this process has the lease; from ``until`` on another one may too."""

    async def rest(self) -> None:
        """Another process has the lease: nothing is known any more."""

    async def stop(self) -> None:
        """The process ends: what is known stays so."""

    def read(self, metric: names.Metric) -> Points:
        """What is known now; from any thread."""
        ...


class Reports:
    """What each node says of itself in INFO."""

    role = "watch"
    metrics = frozenset(names.SERVER_METRICS) - info.BY_COMMAND
    question: tuple[str, ...] = ("INFO",)

    def __init__(self, site: Site) -> None:
        """Nobody is asked yet."""
        self._site = site
        self._asked: Iterable[Node] = ()
        self._known: Mapping[names.Metric, Points] = {}
        self._until = 0.0

    async def attend(self, period: float, _until: float, /) -> None:
        """Ask all nodes at once; that two do so for a while is no harm."""
        self._asked = tuple(self._site.nodes)
        said = await answers({node: self._ask(node) for node in self._asked}, SECONDS)
        known: dict[names.Metric, list[tuple[int | float, Attributes]]] = {}
        for node, reply in said.items():
            if isinstance(reply, BaseException):
                continue
            told = info.parse(reply)
            for metric, value, attributes in self._site.readings.points_of(self.role, node, told):
                if metric in self.metrics:
                    series = node.attributes | dict(attributes)
                    known.setdefault(metric, []).append((value, series))
        self._known, self._until = known, time.monotonic() + 2 * period
        self._site.note(said.items())

    async def rest(self) -> None:
        """Forget it all."""
        self._known = {}
        await self.stop()

    async def stop(self) -> None:
        """What is counted from now on is another one's to tell."""
        for node in self._asked:
            self._site.readings.pause(self.role, node)
        self._asked = ()

    def read(self, metric: names.Metric) -> Points:
        """Of the last time, unless that is too long ago."""
        known = self._known
        return known.get(metric, ()) if time.monotonic() < self._until else ()

    async def _ask(self, node: Node) -> bytes:
        reply: bytes = await self._site.connections.to(node).execute_command(*self.question)
        return reply


class Commands(Reports):
    """What each node says of each command that it ran."""

    role = "commands"
    metrics = info.BY_COMMAND
    question = ("INFO", "ALL")


class Samples:
    """Entries and memory by cache, estimated from samples of keys."""

    def __init__(self, site: Site) -> None:
        """A replica is asked where there is one."""
        self.role = f"sample:{site.source.database}"
        self._site = site
        self._samplers: dict[Node, Sampler] = {}
        self._cycle: asyncio.Task[None] | None = None
        self._known: Mapping[str, Estimate] = {}
        self._until = 0.0

    async def attend(self, period: float, _until: float, /) -> None:
        """Begin a step of each sample, unless the last one is still being made."""
        if self._cycle is None or self._cycle.done():
            self._cycle = asyncio.create_task(self._go_on(period))

    async def rest(self) -> None:
        """Stop, and forget it all."""
        await self.stop()
        self._known, self._samplers = {}, {}

    async def stop(self) -> None:
        """End the step that is being made."""
        if self._cycle is not None:
            await cancelled([self._cycle])
            self._cycle = None

    def read(self, metric: names.Metric) -> Points:
        """Of the last samples."""
        value_of = _ESTIMATED.get(metric)
        if value_of is None or time.monotonic() >= self._until:
            return
        for cache, estimate in self._known.items():
            target = self._site.source.target
            yield value_of(estimate), {**target.attributes, names.CACHE_NAME: cache}

    async def _go_on(self, period: float) -> None:
        started = time.monotonic()
        sampled = [shard[-1] if len(shard) == 1 else shard[1] for shard in self._site.nodes.shards]
        name_of = self._site.name_of
        self._samplers = {n: self._samplers.get(n) or Sampler(name_of) for n in sampled}
        said = await answers({node: self._step(node) for node in sampled})
        if not any(isinstance(reply, BaseException) for reply in said.values()):
            self._known = combined(sampler.estimates for sampler in self._samplers.values())
            now = time.monotonic()
            self._until = now + 2 * period + 2 * (now - started)
        self._site.note(said.items())

    async def _step(self, node: Node) -> None:
        source, sampler = self._site.source, self._samplers[node]
        try:
            await sampler.cycle(self._site.connections.to(node, source.database, "sample"))
        finally:
            duration = self._site.readings.sampler_duration
            duration.record(sampler.asked, source.target.attributes)


_ESTIMATED: Mapping[names.Metric, Callable[[Estimate], int]] = {
    names.CACHE_ENTRIES: lambda estimate: estimate.entries,
    names.CACHE_ESTIMATED_SIZE: lambda estimate: estimate.size,
    names.CACHE_ESTIMATED_SIZE_ERROR: lambda estimate: estimate.error,
    names.CACHE_ENTRIES_WITHOUT_TTL: lambda estimate: estimate.without_ttl,
}


class Events:
    """Expirations and evictions by cache, from what each primary publishes."""

    def __init__(self, site: Site) -> None:
        """Nobody is listened to yet."""
        self.role = f"listen:{site.source.database}"
        self._site = site
        self._listener = Listener(site.name_of, self._count, site.say)
        self._listening: dict[Node, asyncio.Task[None]] = {}
        self._until = 0.0

    async def attend(self, _period: float, until: float, /) -> None:
        """Listen to each primary there is now, unless another process may do so, too."""
        now = time.monotonic()
        if now >= self._until:
            await self.rest()  # what waits to be read may be what another process has counted
        self._until = until
        if now >= until:
            return
        ended = {node: task for node, task in self._listening.items() if task.done()}
        self._site.note((node, fault_of(task)) for node, task in ended.items())
        primaries = self._site.nodes.primaries
        left = [task for node, task in self._listening.items() if node not in primaries]
        await cancelled(left)
        self._listening = {
            node: task
            for node, task in self._listening.items()
            if node in primaries and not task.done()
        }
        for node in primaries:
            if node not in self._listening:
                self._listening[node] = asyncio.create_task(self._listen(node))

    async def rest(self) -> None:
        """Hang up, and tell nothing."""
        await self.stop()
        self._listening = {}

    async def stop(self) -> None:
        """Hang up."""
        await cancelled(self._listening.values())

    def read(self, metric: names.Metric) -> Points:
        """All that was counted since the process began to listen."""
        if metric is not names.CACHE_EVICTIONS or not self._listening:
            return ()
        return self._site.readings.evictions_of(self._site.source.target)

    async def _listen(self, node: Node) -> None:
        database = self._site.source.database
        await self._listener.listen(self._site.connections.to(node, database, "listen"))

    def _count(self, cache: str, reason: str) -> None:
        """Not where the lease was not renewed for so long that another process may listen now."""
        if time.monotonic() >= self._until:
            return
        self._site.readings.evictions.add((self._site.source.target, (cache, reason)))
