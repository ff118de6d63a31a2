"""One watcher among many processes: who holds a key with a time to live watches, and renews it."""

from __future__ import annotations

import math
import time

from otel_redis_cache.facts import Failure
from otel_redis_cache.failures import failure_of, is_failure
from otel_redis_cache.server.info import parse
from otel_redis_cache.server.nodes import Connections, Nodes
from otel_redis_cache.server.sources import Node

KEY = "otel_redis_cache:{lease}:"
"""What stands before the role; in a cluster all roles are on one node."""

# A server whose memory is full is the last one to be left unwatched.
SCRIPT = """#!lua flags=allow-oom
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {holder, redis.call('PTTL', KEYS[1])} end
if ARGV[2] == '0' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return {ARGV[1], 0}
"""
"""Take what nobody else holds, renew it, or give it back after 0 ms; who holds it, and how long."""

PERIODS = 3
"""For which a lease is taken."""

SILENT_PERIODS = 20
"""Before asking again where it was denied: a server keeps a log of what it denies."""

PASSING = frozenset(
    {"ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "MOVED", "NOREPLICAS"}
    | {"READONLY", "TRYAGAIN"}
)
"""Answers that say nothing of who may do what; the next one will be another."""

HOPS = 4
"""From a node to the one that it names, and so on."""


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
        self.refusal: str | None = None
        """``error.type``, where the server does not let us take it."""
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

    async def release(self) -> None:
        """Let another process take it at once; this one may have it without knowing so."""
        if self._start is not None and self.refusal is None:
            await self._take(0)
            self.is_held = False

    def _start_at(self, node: Node) -> None:
        self._start = self._at = node
        self._key = KEY + self._role

    async def _take(self, seconds: float) -> Exception | None:
        try:
            for _ in range(HOPS):
                if await self._take_here(seconds):
                    break
        except Exception as error:
            if not is_failure(error):
                raise
            return None if self._is_refusal(failure_of(error)) else error
        return None

    async def _take_here(self, seconds: float) -> bool:
        """Whether the node answered; else it named another one, which is the next."""
        words = (SCRIPT, 1, self._key, self._holder, round(seconds * 1_000))
        try:
            reply = await self._connections.to(self._at).execute_command("EVAL", *words)
        except Exception as error:
            if not is_failure(error) or not await self._is_elsewhere(error):
                raise
            return False
        holder, left = reply
        self.is_held = holder == self._holder.encode()
        self.free_in = math.inf if self.is_held or left < 0 else left / 1_000
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
        told = parse(await self._connections.to(self._at).execute_command("INFO"))
        if self._at == self._start:  # its primary has a key of its own
            self._key += f":{told.get('run_id', '')}"
        self._at = Node(told.get("master_host", ""), int(told.get("master_port", 0)))
        return True

    def _is_refusal(self, failure: Failure) -> bool:
        """Whether the server does not let us, or its primary cannot be asked; else nothing is learnt."""
        is_behind = self._nodes.is_alone and self._at != self._start
        is_refused = failure.status not in PASSING and (failure.status is not None or is_behind)
        if is_refused:
            self.refusal = failure.type
            self.is_held = False
        if self._start is not None:
            self._start_at(self._start)
        return is_refused
