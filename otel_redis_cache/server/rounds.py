"""What a watch does with one source, period after period."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from contextlib import suppress

from otel_redis_cache import conventions as names
from otel_redis_cache.failures import is_failure, reason_of
from otel_redis_cache.recorder import Recorder
from otel_redis_cache.server.answers import PATIENCE, answers, cancelled
from otel_redis_cache.server.duties import (
    Commands,
    Duty,
    Events,
    NameOf,
    Reports,
    Samples,
    Site,
)
from otel_redis_cache.server.lease import KEY, WIDE, Lease
from otel_redis_cache.server.nodes import Connections, Nodes
from otel_redis_cache.server.readings import Points, Readings
from otel_redis_cache.server.sources import Node, Source
from otel_redis_cache.settings import Settings

_OWN_KEYS = KEY.encode()


class Rounds:
    """Finds the nodes, renews the leases, and attends to what it has the lease for."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        recorder: Recorder,
        readings: Readings,
        name_of: NameOf,
        holder: str,
    ) -> None:
        """``holder`` is unique among all processes."""
        self._source = source
        self._leads = settings.watch_leader
        self._recorder = recorder
        self._connections = Connections(source)
        self._nodes = Nodes(source, self._connections)

        def name_of_others(key: bytes) -> str | None:
            return None if key.startswith(_OWN_KEYS) else name_of(key)

        site = Site(
            *(source, self._connections, self._nodes, readings),
            *(name_of_others, self._note, recorder.say_once),
        )
        duties: list[Duty] = [Reports(site)]
        if settings.watch_commands:
            duties.append(Commands(site))
        if settings.sample_memory:
            duties.append(Samples(site))
        if settings.listen_events:
            duties.append(Events(site))
        self._leaving = asyncio.Event()
        if source.service is not None:
            holder += WIDE
        self._duties = [
            (duty, Lease(duty.role, holder, self._connections, self._nodes)) for duty in duties
        ]

    def begin(self, period: float) -> None:
        """Go round after round, from now on."""
        self._going = asyncio.create_task(self._go_on(period))

    async def leave(self) -> None:
        """Let another process take over, and close every connection; what is known stays so."""
        self._leaving.set()
        await asyncio.wait([self._going], timeout=PATIENCE)
        await cancelled([self._going])
        for duty, _ in self._duties:
            await duty.stop()
        await answers({self: self._release()}, PATIENCE)
        await answers({self: self._connections.keep()}, PATIENCE)

    def read(self, metric: names.Metric) -> Points:
        """What is known now; from any thread."""
        for duty, _ in self._duties:
            yield from duty.read(metric)

    async def _go_on(self, period: float) -> None:
        """A fault of ours ends the round that it is in."""
        while not self._leaving.is_set():
            started = time.monotonic()
            said = await answers({self._source.nodes[0]: self._go_round(period)})
            self._note(said.items())
            free_in = min(lease.free_in for _, lease in self._duties)
            pause = max(min(started + period - time.monotonic(), free_in), period / 20)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), pause)

    async def _release(self) -> None:
        for _, lease in self._duties:
            await lease.release()

    async def _go_round(self, period: float) -> None:
        self._note((await self._nodes.find()).items())
        if self._nodes.mode == "sentinel":
            self._recorder.say_once(
                "%s is a Sentinel: to watch what it manages, watch redis+sentinel://%s/name",
                *(self._source.nodes[0],) * 2,
            )
            return
        if not self._nodes.shards:
            return
        leased = {node for _, lease in self._duties for node in lease.places}
        await self._connections.keep({*self._nodes, *self._nodes.guides, *leased})
        for duty, lease in self._duties:
            failure = await lease.renew(period)
            self._note((place, failure) for place in lease.places)
            is_refused = failure is not None or lease.refusal is not None
            if lease.is_held or (self._leads and is_refused):
                # Where no lease can be had, nobody but the leader watches.
                await duty.attend(period, lease.held_until if lease.refusal is None else math.inf)
            else:
                await duty.rest()
                self._say_why(lease)

    def _say_why(self, lease: Lease) -> None:
        if lease.refusal is not None:
            self._recorder.say_once(
                "%s does not let us take the lease that makes one of many processes watch it (%s); "
                "nothing about it is emitted. Allow EVAL, GET, SET, DEL and PTTL of %s*, or set "
                "watch_leader in exactly one process",
                lease.places[0],
                lease.refusal,
                KEY,
                once_for=f"lease {lease.refusal}",
            )

    def _note(self, said: Iterable[tuple[Node, object]]) -> None:
        """Say once why a node does not tell; count what is a fault of ours."""
        for node, fault in said:
            if not isinstance(fault, BaseException):
                continue
            if is_failure(fault):
                reason = reason_of(fault, keys="%R~*")
                self._recorder.say_once(
                    "%s does not tell what it is asked (%s); what it would is not emitted until "
                    "it does; said once",
                    node,
                    reason,
                    once_for=f"watch {reason}",
                )
            else:
                self._recorder.contain("watch", fault)
