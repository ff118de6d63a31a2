"""What expires and what is evicted, by cache, from the keyspace events that a server publishes.

A server publishes them only where ``notify-keyspace-events`` says so: this listener says what is
missing there and leaves the configuration alone. What happens while nobody listens is published to
nobody, and so not counted. A key is named here, and goes no further.
https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from otel_redis_cache.conventions import EVICTED, EXPIRED
from otel_redis_cache.failures import failure_of, is_failure, reason_of

SETTING = "notify-keyspace-events"

NEEDED = "Exe"
"""Flags of the setting: events by kind (``E``), of what expires (``x``) and of what is evicted."""

SILENCE = 15.0
"""Seconds without an event after which the server is asked whether it is there; as long again for
its answer."""

AT_ONCE = 100
"""Events that are counted before other tasks have their turn."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds before connecting again; twice as long each time."""


class Listener:
    """Counts expirations and evictions of the nodes that it is given, one task for each."""

    def __init__(
        self,
        name_of: Callable[[bytes], str | None],
        count: Callable[[str, str], None],
        say: Callable[[str], None],
    ) -> None:
        """Name keys by ``name_of`` (None: no cache); ``count`` is given a cache and a reason.

        ``say`` is given what somebody should know, once.
        """
        self._name_of = name_of
        self._count = count
        self._say = say
        self._said: set[str] = set()

    async def listen(self, client: Any) -> None:
        """Count what a node publishes about the client's database, until cancelled.

        Needs one connection of the client's pool, and connects again whenever it is lost: the
        client itself better does not.

        Raises:
            Exception: what ``name_of``, ``count`` or ``say`` raise.
        """
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            await self._listen_until_lost(client)
            lasted = time.monotonic() - began
            pause = FIRST_PAUSE if lasted > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _listen_until_lost(self, client: Any) -> None:
        connection: Mapping[str, Any] = client.get_connection_kwargs()
        database = connection.get("db") or 0
        reasons = {
            f"__keyevent@{database}__:{reason}".encode(): reason for reason in (EXPIRED, EVICTED)
        }
        node = str(connection.get("path") or f"{connection.get('host')}:{connection.get('port')}")
        subscription = client.pubsub()
        try:
            if await self._is_replica(client, node):
                return
            await self._look_at_setting(client, node)
            await subscription.subscribe(*reasons)
            await self._receive(subscription, reasons)
        except Exception as failure:
            if not is_failure(failure):
                raise
            if failure_of(failure).status == "NOPERM":
                reason = reason_of(failure, keys="")
                self._say_once(
                    f"{node} does not let us listen to __keyevent@{database}__:* ({reason}); "
                    f"cache.evictions needs the ACL rules &__keyevent@{database}__:*, +subscribe, "
                    "+ping and +info"
                )
        finally:
            await subscription.aclose()

    async def _receive(self, subscription: Any, reasons: Mapping[bytes, str]) -> None:
        """Count until the connection is lost, or was and the client library has made another."""
        awaited = set(reasons)
        is_asked = False
        for number in itertools.count(1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            # Its public twin, get_message, tells redis-py's own metrics of each message.
            reply: list[object] | None
            reply = await subscription.parse_response(block=False, timeout=SILENCE)
            if reply is None:
                if is_asked:
                    return
                await subscription.ping()
            is_asked = reply is None
            match reply:
                case [b"message", bytes(channel), bytes(key)] if channel in reasons:
                    cache = self._name_of(key)
                    if cache is not None:
                        self._count(cache, reasons[channel])
                case [b"subscribe", channel, _]:
                    if channel not in awaited:
                        return
                    awaited.discard(channel)
                case _:
                    pass

    async def _is_replica(self, client: Any, node: str) -> bool:
        """Say who publishes what is asked for: what a primary drops, its replicas call ``del``."""
        told: Mapping[str, Any] = await client.info("replication")
        if told.get("role") != "slave":
            return False
        primary = f"{told.get('master_host')}:{told.get('master_port')}"
        self._say_once(
            f"{node} is a replica, which does not publish what expires and what is evicted; for "
            f"cache.evictions watch its primary, {primary}, or what their Sentinels manage"
        )
        return True

    async def _look_at_setting(self, client: Any, node: str) -> None:
        """Say what the server would have to be told, if anything."""
        try:
            settings: Mapping[str, str] = await client.config_get(SETTING)
        except Exception as failure:
            if failure_of(failure).status not in {"NOPERM", "ERR"}:
                raise
            settings = {}
        flags = settings.get(SETTING)
        if flags is None:
            self._say_once(
                f"{node} does not let us see {SETTING}, so we cannot tell whether it publishes "
                f"what cache.evictions counts; it does with {NEEDED} among these flags"
            )
        elif missing := missing_of(flags):
            self._say_once(
                f"{node} does not publish what cache.evictions counts; this would change it: "
                f"CONFIG SET {SETTING} '{flags}{missing}'"
            )

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._say(message)


def missing_of(flags: str) -> str:
    """The flags that have to be added to those that are there; ``A`` stands for ``x``, ``e``, more."""
    there = {*flags, *("xe" if "A" in flags else "")}
    return "".join(flag for flag in NEEDED if flag not in there)
