"""How many entries and how much memory each cache has, from a bounded sample of one node's keys.

Where the keys fit the budget, all of them are asked for; else as many as fit it. In a standalone
server these are the next ones of a ``SCAN`` that goes on where the last sample ended: it walks the
keys by their hashes, which the server seeds by chance, so that a part of the walk is a random
sample of them. In a cluster it may walk them slot by slot, and so by their hash tags: there each
key is drawn by ``RANDOMKEY``.
https://redis.io/docs/latest/commands/memory-usage/
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from otel_redis_cache.failures import failure_of
from otel_redis_cache.server.estimates import Estimate, Sample

KEYS = 20_000
"""Keys of one sample, unless told otherwise: 10 % for the size of a cache that has 5 % of them."""

MILLISECONDS = 150
"""Of asking in one cycle, unless told otherwise: 1 % of the 15 s between two cycles."""

BATCH = 100
"""Keys that are asked for at once at most; the first time and after a slow batch it is one."""

QUICK = 0.002
"""Seconds of the server's time for a batch, below which the next one may be twice as large.

`MEMORY USAGE` of most types looks at a few elements; of a module's type, as a JSON document, at all.
"""

PAUSE = 0.01
"""Seconds between two batches, for the server's other clients and this process's other threads."""

_ELSEWHERE = {"MOVED", "ASK", "TRYAGAIN"}
"""Answers about keys that have left this node of a cluster, or are about to."""

_GONE, _NEVER_EXPIRES = -2, -1


class Sampler:
    """Estimates entries and memory by cache of one node, a bounded step at a time."""

    def __init__(
        self,
        name_of: Callable[[bytes], str | None],
        *,
        keys: int = KEYS,
        milliseconds: float = MILLISECONDS,
        seed: int | None = None,
    ) -> None:
        """Name keys by ``name_of`` (None: no cache), with a budget for each sample and each cycle.

        Args:
            name_of: The same rules as for calls.
            keys: As many are asked for in one sample, give or take a batch; where there are no more
                in the client's database, all of them.
            milliseconds: As long is asked in one cycle, give or take a batch, which is one key
                where keys are slow; a sample may take several cycles.
            seed: Where in the keys of a server the first sample begins; None: anywhere.
        """
        self.estimates: Mapping[str, Estimate] | None = None
        """By cache, of the last sample; the very first one tells while it grows.

        None until there is something to tell. A cache with so few keys that none was drawn is not
        in it.
        """
        self.asked = 0.0
        """Seconds of asking in the last cycle, without pauses: no less than what it cost the server.

        Of one that was raised from, too.
        """
        self._name_of = name_of
        self._budget = keys
        self._seconds = milliseconds / 1000
        self._onward = Onward(random.Random(seed).getrandbits(64))  # noqa: S311
        self._walk = Walk(self._onward)
        self._sample: Sample[str] | None = None
        self._is_first = True

    async def cycle(self, client: Any) -> None:
        """Go on with the sample, through one node's own asyncio client of one database.

        Raises:
            Exception: what the client raises, and its replies; the next cycle goes on.
        """
        self.asked = 0.0
        with self._asking():
            total, sample = await self._begin(client)
        while not self._has_enough(sample, total):
            await asyncio.sleep(PAUSE)
            with self._asking():
                await self._take(client, sample)
            if self.asked >= self._seconds:
                break
        done = self._has_enough(sample, total)
        is_random = self._walk.source.is_random
        if done or (self._is_first and is_random):
            self.estimates = sample.estimates(total if is_random else sample.keys)
        if done:
            self._sample, self._is_first = None, False

    @contextmanager
    def _asking(self) -> Generator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.asked += time.perf_counter() - started

    async def _begin(self, client: Any) -> tuple[int, Sample[str]]:
        """How many keys there are, and the sample of them that is growing."""
        total, in_cluster = await prepare(client)
        sample = self._sample
        outgrown = not self._walk.source.is_random and total > 2 * self._budget
        if sample is None or outgrown:
            if total <= self._budget:
                self._walk.turn_to(Everything())
            else:
                self._walk.turn_to(Drawn() if in_cluster else self._onward)
            sample = self._sample = Sample(repeats=self._walk.source.repeats)
        return total, sample

    def _has_enough(self, sample: Sample[str], total: int) -> bool:
        if self._walk.source.is_random:
            return sample.keys >= min(self._budget, total)
        return self._walk.is_over

    async def _take(self, client: Any, sample: Sample[str]) -> None:
        try:
            entries = await self._walk.step(client)
        except BaseException:
            if not self._walk.source.is_random:
                self._sample = None  # without these keys it would never be exact
            raise
        for entry in entries:
            sample.add(self._name_of(entry.key), entry.size, expires=entry.ttl is not None)


class Entry(NamedTuple):
    """What a node says of one key."""

    key: bytes
    size: int
    """Bytes of memory."""
    ttl: int | None
    """Milliseconds that are left; None where it never expires."""


class Walk:
    """Asks a node about keys of a source, in batches as large as the node is quick."""

    def __init__(self, source: Source) -> None:
        """Begin with one key."""
        self.source = source
        self._size = 1
        self._waiting: list[bytes] = []

    def turn_to(self, source: Source) -> None:
        """Go on with the keys of this source."""
        if source is not self.source:
            self.source, self._waiting = source, []

    @property
    def is_over(self) -> bool:
        """Whether there are no more keys."""
        return self.source.is_exhausted and not self._waiting

    async def step(self, client: Any) -> list[Entry]:
        """Ask about some more keys; without those that are not there any more.

        Raises:
            Exception: what the client raises, and its replies; the next step goes on.
        """
        size, self._size = self._size, 1  # after what raises, too
        if not self._waiting:
            self._waiting = list(await self.source.keys(client, size))
        keys, self._waiting = self._waiting[:size], self._waiting[size:]
        seconds, answers = await _asked_about(client, keys)
        if seconds < QUICK:
            self._size = min(max(size, 2 * len(keys)), BATCH)
        return [
            Entry(key, memory, None if ttl == _NEVER_EXPIRES else ttl)
            for key, (memory, ttl) in zip(keys, answers, strict=True)
            if memory is not None and ttl is not None and ttl != _GONE
        ]


async def prepare(client: Any) -> tuple[int, bool]:
    """How many keys the client's database has, and whether it is of a cluster's node.

    A replica in a cluster answers about keys from now on.
    """
    asking = client.pipeline(transaction=False)
    asking.dbsize()
    asking.info("cluster")
    total, info = await asking.execute()
    in_cluster = bool(info.get("cluster_enabled"))
    if in_cluster:
        await client.execute_command("READONLY")
    return total, in_cluster


class Source(Protocol):
    """Where the keys of a sample come from, a batch at a time."""

    is_random: bool
    """Whether a part of the keys stands for all; else only all of them do."""
    repeats: bool
    """Whether the same key may come twice."""
    is_exhausted: bool

    async def keys(self, client: Any, count: int) -> Sequence[bytes]:
        """Some more of them: about so many."""
        ...


class Everything:
    """All keys, once each, though a hash table that shrinks meanwhile shows some again."""

    is_random = repeats = is_exhausted = False

    def __init__(self) -> None:
        """From the beginning."""
        self._cursor = 0
        self._seen: set[int] = set()

    async def keys(self, client: Any, count: int) -> Sequence[bytes]:
        """Those that were not seen before."""
        self._cursor, found = await client.scan(self._cursor, count=count)
        self.is_exhausted = not self._cursor
        fresh = {hash(key): key for key in found}
        fresh = {mark: key for mark, key in fresh.items() if mark not in self._seen}
        self._seen.update(fresh)
        return list(fresh.values())


class Onward:
    """The keys of a standalone server as its hashes order them, round and round.

    Any number is a cursor: the server takes as many bits of it as its hash table has.
    """

    is_random = True
    repeats = is_exhausted = False

    def __init__(self, cursor: int) -> None:
        """Begin anywhere."""
        self._cursor = cursor

    async def keys(self, client: Any, count: int) -> Sequence[bytes]:
        """The next ones."""
        self._cursor, found = await client.scan(self._cursor, count=count)
        return list(found)


class Drawn:
    """Keys of a cluster's node, each drawn by itself."""

    is_random = repeats = True
    is_exhausted = False

    async def keys(self, client: Any, count: int) -> Sequence[bytes]:
        """Draw again."""
        asking = client.pipeline(transaction=False)
        for _ in range(count):
            asking.randomkey()
        return [key for key in await asking.execute() if key is not None]


async def _asked_about(
    client: Any, keys: Sequence[bytes]
) -> tuple[float, list[tuple[int | None, int | None]]]:
    """Seconds that it took the server, the memory and the time to live of each key."""
    asking = client.pipeline(transaction=False)
    asking.time()
    for key in keys:
        asking.memory_usage(key)
        asking.pttl(key)
    asking.time()
    began, *answers, ended = await asking.execute(raise_on_error=False)
    replies = [_number(reply) for reply in answers]
    return _between(began, ended), list(zip(replies[::2], replies[1::2], strict=True))


def _between(began: object, ended: object) -> float:
    """Seconds between two replies of TIME; without end where the server does not tell them."""
    match began, ended:
        case (int(second), int(micro)), (int(last_second), int(last_micro)):
            return last_second - second + (last_micro - micro) / 1e6
        case _:
            return math.inf


def _number(reply: object) -> int | None:
    """An answer about a key; None where the key is not here any more."""
    if isinstance(reply, Exception):
        if failure_of(reply).type in _ELSEWHERE:
            return None
        raise reply
    return reply if isinstance(reply, int) else None
