"""One watcher among many processes: who holds a key with a time to live watches, and renews it."""

from __future__ import annotations

import math
import time

from otel_redis_cache.conventions import OTHER_ERROR
from otel_redis_cache.failures import failure_of, is_failure, reason_of
from otel_redis_cache.server.info import parse
from otel_redis_cache.server.nodes import Connections, Nodes
from otel_redis_cache.server.sources import Node

KEY = "otel_redis_cache:{lease}:"
"""What stands before the role; in a cluster all roles are on one node."""

WIDE = ":all"
"""How a holder ends who watches all that Sentinels manage, and so each of those servers."""

# A server whose memory is full is the last one to be left unwatched.
SCRIPT = """#!lua flags=allow-oom
local me, lease, spare, wide = unpack(ARGV)
local function is_wide(holder) return holder:sub(-#wide) == wide end
for number, key in ipairs(KEYS) do
    local holder = redis.call('GET', key)
    local left = redis.call('PTTL', key) - spare
    if left > 0 and holder ~= me then
        if is_wide(holder) or (number == 1 and not is_wide(me)) then return {holder, left} end
    end
end
if lease == '0' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], me, 'PX', lease + spare) end
return {me, 0}
"""
"""Take what nobody else holds, renew it, or give it back after 0 ms; who holds it, and how long.

The first key is the one to take. Where somebody has the second one who watches this server too,
among others, it is not taken; and who watches more takes it from who watches less. A key that never
expires has nothing left: it was restored, or persisted, and is free.
"""

SPARE = 24 * 3_600_000
"""Milliseconds for which a key outlives the lease.

A full server that evicts what expires next has better candidates then.
"""

PERIODS = 3
"""For which a lease is taken."""

SILENT_PERIODS = 3
"""Before asking again where it was denied.

A server's ``ACL LOG`` has one entry for all that is denied again within a minute.
"""

REFUSALS = frozenset({"NOPERM", "ERR", OTHER_ERROR})
"""``error.type`` where the script is unknown or not allowed; any other answer will be another."""

UNWRITABLE = frozenset({"MISCONF", "NOREPLICAS"})
"""Answers of a server that goes on to be read."""

HOPS = 4
"""From a node to the one that it names, and so on."""

MOST_CLIENTS = "max number of clients"
"""What a server says that will have room again; in a cluster in other words."""


class Lease:
    """What makes one of many processes watch."""

    def __init__(self, role: str, holder: str, connections: Connections, nodes: Nodes) -> None:
        """``holder`` is unique among all processes."""
        self._role = role
        self._holder = holder
        self._connections = connections
        self._nodes = nodes
        self._start: Node | None = None
        self._silent_until = 0.0
        self.is_held = False
        self.held_until = 0.0
        """When it is over, unless it is renewed; who holds it and hears nothing still does."""
        self.refusal: str | None = None
        """Why, where the server does not let us take it."""
        self.free_in = math.inf
        """Seconds until that of another process expires, unless it is renewed."""

    async def renew(self, period: float) -> Exception | None:
        """Take it, or go on with it; where nobody answers, all stays as it was.

        Returns:
            Why nobody did.
        """
        node = self._nodes.primaries[0]
        if node != self._start:
            self._start_at(node)
        elif self.refusal is not None and time.monotonic() < self._silent_until:
            return None
        failure = await self._take(PERIODS * period)
        self._silent_until = time.monotonic() + SILENT_PERIODS * period
        return failure

    @property
    def places(self) -> tuple[Node, ...]:
        """Where it was last, if it was asked for at all."""
        return () if self._start is None else (self._at,)

    async def release(self) -> None:
        """Let another process take it at once; this one may have it without knowing so."""
        if self._start is not None and self.refusal is None:
            await self._take(0)
            self.is_held = False

    def _start_at(self, node: Node) -> None:
        self._start = self._at = node
        self._keys: tuple[str, ...] = (KEY + self._role,)

    async def _take(self, seconds: float) -> Exception | None:
        self.free_in = math.inf
        try:
            if self._is_behind:
                await self._go_up()
            for _ in range(HOPS):
                if await self._take_here(seconds):
                    break
        except Exception as error:
            if not is_failure(error):
                raise
            return None if self._is_refusal(error) else error
        return None

    async def _take_here(self, seconds: float) -> bool:
        """Whether the node answered; else it named another one, which is the next."""
        client = self._connections.to(self._at)
        words = (SCRIPT, len(self._keys), *self._keys)
        values = (self._holder, round(seconds * 1_000), SPARE, WIDE)
        asked = time.monotonic()
        try:
            holder, left = await client.execute_command("EVAL", *words, *values)
        except Exception as error:
            if not is_failure(error):
                raise
            if failure_of(error).status not in UNWRITABLE:
                if not await self._is_elsewhere(error):
                    raise
                return False
            # Nobody can take it: two who watch are better than none.
            holder = await client.execute_command("GET", self._keys[0])
            left = await client.execute_command("PTTL", self._keys[0]) - SPARE
        self.is_held = left <= 0 or holder == self._holder.encode()
        if self.is_held:
            self.held_until = asked + seconds
        self.free_in = math.inf if self.is_held else left / 1_000
        self.refusal = None
        return True

    async def _is_elsewhere(self, error: Exception) -> bool:
        """Whether the node says that another one has the key, which is asked next."""
        status = failure_of(error).status
        if status == "MOVED":
            host, _, port = str(error).rpartition(" ")[2].rpartition(":")
            self._at = self._nodes.reached(host, int(port), self._at)
            return True
        if status != "READONLY" or not self._nodes.is_alone:
            return False
        await self._go_up()
        return True

    @property
    def _is_behind(self) -> bool:
        """Whether one replica is watched, whose primary has the lease."""
        return self._nodes.is_alone and self._at != self._start

    async def _go_up(self) -> None:
        """From the one server that is watched to its primary, which may be another one by now."""
        start = self._nodes.primaries[0]
        self._start_at(start)
        for _ in range(HOPS):
            told = parse(await self._connections.to(self._at).execute_command("INFO"))
            if told.get("role") != "slave":
                break
            if self._at == start:  # its primary has a key of its own
                key = self._keys[-1]
                self._keys = (f"{key}:{told.get('run_id', '')}", key)
            self._at = Node(told.get("master_host", ""), int(told.get("master_port", 0)))

    def _is_refusal(self, error: Exception) -> bool:
        """Whether the server does not let us; else nothing is learnt."""
        kind = failure_of(error).type
        is_refused = kind in REFUSALS and MOST_CLIENTS not in str(error)
        if is_refused:
            self.refusal = reason_of(error, keys=f"~{KEY}*")
            self.is_held = False
        if self._start is not None and not self._is_behind:
            self._start_at(self._start)
        return is_refused
