"""Removes entries by pattern, and says exactly what it did: ``invalidate(client, "user:*")``.

`SCAN <https://redis.io/docs/latest/commands/scan/>`_ and
`UNLINK <https://redis.io/docs/latest/commands/unlink/>`_ in batches, so that no single command
keeps the server busy. What is removed is what the replies of UNLINK say: others may have removed,
or have written anew, what SCAN had seen. The story is told once, as steps of one client; they
are called for a synchronous client and awaited for an asyncio one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Literal

from otel_redis_cache import clients, clusters, failures, reasons
from otel_redis_cache import conventions as names
from otel_redis_cache.instrumentor import RedisCacheInstrumentor
from otel_redis_cache.operands import count_of
from otel_redis_cache.reasons import Label, label_of
from otel_redis_cache.signals import raised_by_handler
from otel_redis_cache.sweeps import Sweep

MAX_BATCH = 10_000
"""A SCAN with a higher count keeps a server busy for longer than others should have to wait."""

MAX_UNLINK = 50
"""Keys of one UNLINK, which frees strings, and values of up to 64 parts, before it replies."""


@dataclass(frozen=True, slots=True)
class Invalidation:
    """What one :func:`invalidate` did."""

    matched: int
    """Keys that SCAN returned; it may return one twice."""
    removed: int
    """Keys that this call removed: the sum of what UNLINK replied, and of nothing else.

    Keys that a rule says are no cache are among them, and are in no metric and in no span.
    """
    batches: int
    """Batches of keys that were sent to be removed."""
    duration: float
    """Seconds, by a monotonic clock."""
    outcome: Literal["success", "partial", "failure"]
    """``partial``: it failed after something was removed, or a part of the keys was gone through."""
    error: Exception | None
    """What Redis, the network or the client library failed with; None after a success."""


def invalidate(
    client: Any,
    pattern: str | bytes,
    *,
    reason: str | None = None,
    trigger: str | None = None,
    everything: bool = False,
    batch_size: int = 1_000,
    trace_commands: bool = False,
) -> Invalidation:
    """Remove all keys that match a pattern, on every primary of a cluster.

    Keys that are written while this runs may stay. A cluster is asked for its primaries first; a
    key that moves, meanwhile, to a node that was gone through already may stay. Where the client
    is instrumented, this makes one span ``cache.invalidate`` and the metrics
    ``cache.invalidation.requests``, ``cache.invalidation.duration`` and ``cache.invalidations``.

    The application's own response callback of SCAN must keep the form of its reply.

    Args:
        client: a synchronous client of redis-py or valkey-py, alone, by Sentinel or of a cluster.
        pattern: as of `KEYS <https://redis.io/docs/latest/commands/keys/>`_: ``user:*``; a special
            character is taken by its word after a backslash.
        reason: why, as for :class:`otel_redis_cache.invalidation`; if not given, the label of the
            ``with invalidation(...)`` around this, else ``delete``.
        trigger: what set it off; on the span only.
        everything: a pattern of nothing, or of ``*`` only, is meant. Every key is named then, and
            automatic names that were never used before take places among the first ones.
        batch_size: keys that one SCAN looks at, and about as many at most are removed by one
            pipeline of UNLINKs; 1 to 10,000. With asyncio, the event loop waits for a batch to be
            read, named and written: a few ms for 1,000 keys, ten times as long for 10,000.
        trace_commands: whether each SCAN and UNLINK makes a span too.

    Returns:
        What was done. A failure of Redis, the network or the client library (``RedisError``,
        ``OSError`` and what derives from them) is in there, and not raised.

    Raises:
        Exception: whatever else stops it, such as a job's time-out, goes on as it came.
        TypeError: this is no such client, or the pattern is neither text nor bytes.
        ValueError: the pattern is empty, or another argument is not allowed.
    """
    _check_client(client, "invalidate", asynchronous=False)
    work = _begin(client, pattern, reason, trigger, everything, batch_size, trace_commands)
    try:
        with work:
            for step in work.steps():
                work.reply = step()
    finally:  # whatever was interrupted
        work.close()
    return work.result()


async def invalidate_async(
    client: Any,
    pattern: str | bytes,
    *,
    reason: str | None = None,
    trigger: str | None = None,
    everything: bool = False,
    batch_size: int = 1_000,
    trace_commands: bool = False,
) -> Invalidation:
    """Do the same with an asyncio client.

    It may be cancelled at any time. What was removed until then is counted, but for the batch
    whose reply has not come: the server may have removed it, or may still. Arguments, result and
    errors are those of :func:`invalidate`. With a cluster client, the application's own response
    callback of UNLINK must keep its reply, a count.
    """
    _check_client(client, "invalidate_async", asynchronous=True)
    work = _begin(client, pattern, reason, trigger, everything, batch_size, trace_commands)
    try:
        with work:
            for step in work.steps():
                work.reply = await step()
    finally:
        work.close()
    return work.result()


class _Work:
    """One invalidation under way."""

    def __init__(
        self, client: Any, pattern: bytes, label: Label, batch_size: int, *, traced: bool
    ) -> None:
        self._client = client
        self._pattern = pattern
        self._batch_size = batch_size
        self.reply: Any = None
        """Of the step before."""
        self._matched = self._removed = self._batches = self._pages = 0
        self._error: BaseException | None = None
        self._started = self._elapsed = 0
        observer = RedisCacheInstrumentor.observer_of(client)
        self._sweep: Sweep | None = None
        if observer is not None:
            self._sweep = observer.open_sweep(client, pattern, label, traced=traced)

    def __enter__(self) -> None:
        self._started = time.perf_counter_ns()
        if self._sweep is not None:
            self._sweep.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Keep a failure for the result; what is no failure, as a cancellation, goes on."""
        self._elapsed = time.perf_counter_ns() - self._started
        self._error = error
        if self._sweep is not None:
            self._sweep.end(error, self._outcome, self._elapsed)
        return error is not None and failures.is_failure(error) and not raised_by_handler(error)

    def close(self) -> None:
        if self._sweep is not None:
            self._sweep.close(self._elapsed)

    def steps(self) -> Iterator[Callable[[], Any]]:
        """Calls of the client; each has its reply when the next one is asked for."""
        if not clusters.is_cluster(self._client):
            yield from self._pages_of({})
            return
        if clients.is_asynchronous(self._client):
            yield self._client.initialize  # it learns its nodes when it is first used
        yield self._client.cluster_slots
        if not clusters.knows_primaries(self._client, self.reply):
            yield self._client.nodes_manager.initialize
        for node in self._client.get_primaries():
            yield from self._pages_of({"target_nodes": node})

    def _pages_of(self, node: Mapping[str, Any]) -> Iterator[Callable[[], Any]]:
        """Go through all keys of one server, some at a time."""
        cursor = 0
        while True:
            arguments = (cursor, "MATCH", self._pattern, "COUNT", self._batch_size)
            options = {**clients.UNDECODED, **node}
            yield partial(self._client.execute_command, "SCAN", *arguments, **options)
            cursor, keys = clients.scanned(self.reply)
            if keys:
                yield from self._unlink(keys)
            self._pages += 1
            if not cursor:
                return

    def _unlink(self, keys: list[bytes]) -> Iterator[Callable[[], Any]]:
        """Remove keys by as many commands as it takes that each reply is about one cache."""
        self._matched += len(keys)
        self._batches += 1
        commands = self._commands(keys)
        pipeline = clients.unlinking(self._client)
        for _, together in commands:
            pipeline.execute_command("UNLINK", *together)
        yield partial(pipeline.execute, raise_on_error=False)
        failed: BaseException | None = None
        for (cache, _), reply in zip(commands, self.reply, strict=True):
            if isinstance(reply, BaseException):
                failed = failed or reply
                continue
            removed = count_of(reply)
            self._removed += removed
            if self._sweep is not None:
                self._sweep.add(cache, removed)
        if failed is not None:
            raise failed

    def _commands(self, keys: list[bytes]) -> list[tuple[str | None, list[bytes]]]:
        named = self._sweep.name(keys) if self._sweep is not None else None
        pairs = list(zip(named or [None] * len(keys), keys, strict=True))
        if clusters.is_cluster(self._client):  # which follows a key that has moved, alone
            return [(cache, [key]) for cache, key in pairs]
        by_cache: dict[str | None, list[bytes]] = {}
        for cache, key in pairs:
            by_cache.setdefault(cache, []).append(key)
        return [
            (cache, together[start : start + MAX_UNLINK])
            for cache, together in by_cache.items()
            for start in range(0, len(together), MAX_UNLINK)
        ]

    @property
    def _outcome(self) -> Literal["success", "partial", "failure"]:
        if self._error is None:
            return "success"
        return "partial" if self._removed or self._pages else "failure"

    def result(self) -> Invalidation:
        error = self._error if isinstance(self._error, Exception) else None
        return Invalidation(
            self._matched,
            self._removed,
            self._batches,
            self._elapsed / 1e9,
            self._outcome,
            error,
        )


def _begin(
    client: Any,
    pattern: object,
    reason: object,
    trigger: object,
    everything: bool,  # noqa: FBT001  # all are passed on as they were given
    batch_size: object,
    traced: bool,  # noqa: FBT001
) -> _Work:
    if type(batch_size) is not int or not 1 <= batch_size <= MAX_BATCH:
        raise ValueError(f"batch_size must be a whole number, 1 to {MAX_BATCH}, not {batch_size!r}")
    label = _label(reason, trigger)
    return _Work(client, _bytes(client, pattern, everything), label, batch_size, traced=traced)


def _bytes(client: Any, pattern: object, everything: bool) -> bytes:  # noqa: FBT001
    """The pattern as it is sent."""
    if isinstance(pattern, str):
        pattern = clients.encoded(client, pattern)
    if not isinstance(pattern, bytes):
        raise TypeError(f"a pattern is str or bytes, not {type(pattern).__name__}")
    if pattern.strip(b"*"):
        return pattern
    if not everything:
        raise ValueError(
            f"the pattern {pattern.decode()[:8]!r} says nothing about a key: "
            "name what to remove, or say everything=True for every key of the database"
        )
    return b"*"


def _label(reason: object, trigger: object) -> Label:
    """What was given; without a reason, that of the block around, with its trigger."""
    around = reasons.current() if reason is None else None
    if around is None:
        return label_of(names.DELETE if reason is None else reason, trigger)
    return around if trigger is None else label_of(around.reason, trigger)


def _check_client(client: Any, function: str, *, asynchronous: bool) -> None:
    what = f"{type(client).__module__}.{type(client).__qualname__}"
    if clients.is_pipeline(client):
        raise TypeError(
            f"{function} takes a client, not a pipeline ({what}): give it the client that made it"
        )
    if not clients.is_client(client):
        raise TypeError(f"{function} takes a client of redis-py or valkey-py, not {what}")
    if clients.is_asynchronous(client) != asynchronous:
        right = "invalidate(...)" if asynchronous else "await invalidate_async(...)"
        raise TypeError(f"{function} does not take {what}: use {right} for it")
