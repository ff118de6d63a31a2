"""How connections are taken from their pools, opened and given back: what is wrapped around that.

A checkout in steady state enters one function of this file. All else happens where a pool is seen for
the first time, where a connection is opened, or where a checkout waits or fails.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from time import perf_counter_ns
from typing import Any

from otel_redis_cache import clients, failures, garbage, pools
from otel_redis_cache import conventions as names
from otel_redis_cache.guard import harmless
from otel_redis_cache.observe import Observer
from otel_redis_cache.pools import Holding, Pool
from otel_redis_cache.recorder import Recorder
from otel_redis_cache.seams import Make, Method, Row, Seams

_unwatched: weakref.WeakKeyDictionary[Any, object] = weakref.WeakKeyDictionary()
"""Pools that nobody watches, and the era in which this was found out."""

_OPENING = "_otel_redis_cache_opening"
_TAKEN = "_otel_redis_cache_taken"


class Watch(Pool):
    """What telemetry makes of one pool; times are in nanoseconds."""

    __slots__ = ("_observer", "times_all")

    def __init__(self, pool: object, name: str, observer: Observer) -> None:
        """``times_all``: each checkout and each use, with the group ``pool_times``."""
        super().__init__(pool, name)
        # A pool is no reason for an observer to live, nor is one that is gone a reason to be asked.
        left = weakref.ref(pool)
        self._observer = weakref.ref(observer, lambda _: pools.leave(left()))
        self.times_all = names.POOL_TIMES in observer.groups

    @property
    def recorder(self) -> Recorder:
        """Of the observer; whoever asks has one."""
        observer = self._observer()
        assert observer is not None
        return observer.recorder

    @harmless("connections")
    def read(self) -> Holding | None:
        """What it holds now; an odd pool must not keep the others from being read."""
        return super().read()

    @harmless("connections")
    def must_wait(self, ask: Callable[[Any], bool], pool: Any) -> bool:
        """Whether a checkout has to wait."""
        return ask(pool)

    @harmless("connections")
    def obtained(self, connection: Any, started: int) -> None:
        """A connection was taken from the pool."""
        taken = perf_counter_ns()
        self.record(names.CONNECTION_WAIT_TIME, taken - started)
        if self.times_all:
            connection.__dict__[_TAKEN] = self, taken

    @harmless("connections")
    def failed(self, error: BaseException, started: int) -> None:
        """A checkout ended without a connection.

        A pool that does not wait is one that waits no time: what it refuses is a time-out too.
        """
        elapsed = perf_counter_ns() - started
        is_timeout = failures.pool_is_exhausted(error)
        self.record(names.CONNECTION_WAIT_TIME, elapsed, is_timeout=is_timeout)

    @harmless("connections")
    def used(self, taken: int) -> None:
        """A connection was in use until now."""
        self.record(names.CONNECTION_USE_TIME, perf_counter_ns() - taken)

    @harmless("connections")
    def opened(self, started: int) -> None:
        """A connection was opened, and has introduced itself."""
        self.record(names.CONNECTION_CREATE_TIME, perf_counter_ns() - started)

    @harmless("connections")
    def record(self, metric: names.Metric, elapsed: int, *, is_timeout: bool = False) -> None:
        """Record how long something took, in nanoseconds; later where a finaliser did it."""
        if garbage.running and garbage.is_at_work():
            note = partial(self.record, metric, elapsed, is_timeout=is_timeout)
            self.recorder.tallies.notes.add(note)
            return
        if is_timeout:
            self.recorder.tallies.pool_timeouts.add(self.name)
        self.recorder.record_of_pool(metric, self.name, elapsed)


class Finder:
    """Finds out who watches a pool when it is used for the first time."""

    def __init__(self, seams: Seams) -> None:
        """``seams`` know who watches whom."""
        self._seams = seams

    @property
    def recorder(self) -> Recorder:
        """Takes what goes wrong here."""
        return self._seams.observers()[0].recorder

    @harmless("connections")
    def meet(self, pool: Any) -> Watch | None:
        """What is known of a pool; None where nobody watches it, or its cluster is not ready yet.

        Nor where a finaliser asks: other pools may be gone through just then.
        """
        if garbage.running and garbage.is_at_work():
            return None
        era = self._seams.era
        observer = self._seams.observer_of_pool(pool)
        is_watched = observer is not None and observer.watches_pools and not observer.is_off
        if observer is None or not is_watched or pools.is_ours(pool):
            _unwatched[pool] = era
            return None
        name = clients.pool_name(pool)
        if name is None:
            return None
        counts = observer.recorder.tallies
        met: Watch = counts.pools.watch(pool, Watch(pool, counts.pool_name_of(name), observer))
        return met

    @harmless("connections")
    def meet_node(self, node: Any) -> Watch | None:
        """The same for a node of an asyncio cluster client, by the client that has it."""
        for observer in self._seams.observers():
            for cluster in observer.recorder.tallies.pools.all():
                if pools.has_node(cluster, node):
                    known: Watch | None = pools.watched(cluster)
                    return known
        return None

    @harmless("connections")
    def made(self, pool: Any, connection: Any) -> None:
        """A pool has made a connection, which is not open yet."""
        if pools.watched(pool) is not None:
            pools.belongs(connection, pool)

    @harmless("connections")
    def made_for_node(self, node: Any, connection: Any) -> Watch | None:
        """The same for a node, where it is new."""
        known: Watch | None = pools.pool_of(connection) or self.meet_node(node)
        if known is not None:
            pools.belongs(connection, known.pool)
        return known

    @harmless("connections")
    def opening(self, connection: Any) -> None:
        """A connection is about to be opened."""
        connection.__dict__[_OPENING] = perf_counter_ns()

    @harmless("connections")
    def opened(self, connection: Any) -> None:
        """A connection is open, and has introduced itself; a second word of that is not heard."""
        started = connection.__dict__.pop(_OPENING, None)
        known: Watch | None = pools.pool_of(connection)
        if started is not None and known is not None:
            known.is_closed = False
            known.opened(started)

    @harmless("connections")
    def returned(self, connection: Any) -> None:
        """A connection is given back to its pool, which is not known where both are garbage."""
        known: tuple[Watch, int] | None = connection.__dict__.pop(_TAKEN, None)
        if known is not None:
            watch, taken = known
            watch.used(taken)

    @harmless("connections")
    def closed(self, pool: Any) -> None:
        """A pool was disconnected."""
        known: Watch | None = pools.watched(pool)
        if known is not None:
            known.is_closed = True


def _checkout(must_wait: Callable[[Any], bool] | None = None) -> Make:
    """Wrap what takes a connection from a pool; a plain pool never waits."""

    def make(seams: Seams, original: Method) -> Method:
        meet, watched = Finder(seams).meet, pools.WATCHED

        @functools.wraps(original)
        def get_connection(self: Any, *args: Any, **kwargs: Any) -> Any:
            watch = self.__dict__.get(watched)
            if watch is None and _unwatched.get(self) is not seams.era:
                watch = meet(self)
            if watch is None:
                return original(self, *args, **kwargs)
            connection, checkout, started = None, object(), perf_counter_ns()
            waits = must_wait is not None and watch.must_wait(must_wait, self)
            watch.is_closed = False
            try:
                watch.pending.add(checkout)
                connection = original(self, *args, **kwargs)
                watch.pending.discard(checkout)
                if waits or watch.times_all:
                    watch.obtained(connection, started)
            except BaseException as error:
                watch.pending.discard(checkout)
                if connection is None:
                    watch.failed(error, started)
                else:  # interrupted here: nobody else knows of the connection
                    with suppress(Exception):
                        self.release(connection)
                raise
            return connection

        return get_connection

    return make


def _checkout_async(must_wait: Callable[[Any], bool] | None = None) -> Make:
    """The same with one ``await``."""

    def make(seams: Seams, original: Method) -> Method:
        meet, watched = Finder(seams).meet, pools.WATCHED

        @functools.wraps(original)
        async def get_connection(self: Any, *args: Any, **kwargs: Any) -> Any:
            watch = self.__dict__.get(watched)
            if watch is None and _unwatched.get(self) is not seams.era:
                watch = meet(self)
            if watch is None:
                return await original(self, *args, **kwargs)
            connection, checkout, started = None, object(), perf_counter_ns()
            waits = must_wait is not None and watch.must_wait(must_wait, self)
            watch.is_closed = False
            try:
                watch.pending.add(checkout)
                connection = await original(self, *args, **kwargs)
                watch.pending.discard(checkout)
                if waits or watch.times_all:
                    watch.obtained(connection, started)
            except BaseException as error:
                watch.pending.discard(checkout)
                if connection is None:
                    watch.failed(error, started)
                else:
                    with suppress(Exception):
                        await self.release(connection)
                raise
            return connection

        return get_connection

    return make


def _acquire(seams: Seams, original: Method) -> Method:
    """Wrap what takes a connection, maybe not open yet, from a node of an asyncio cluster client."""
    finder = Finder(seams)

    @functools.wraps(original)
    def acquire_connection(self: Any, *args: Any, **kwargs: Any) -> Any:
        started = perf_counter_ns()
        try:
            connection = original(self, *args, **kwargs)
        except BaseException as error:
            watch = finder.meet_node(self)
            if watch is not None:
                watch.failed(error, started)
            raise
        watch = pools.pool_of(connection) or finder.made_for_node(self, connection)
        if watch is not None and watch.times_all:
            watch.obtained(connection, started)
        return connection

    return acquire_connection


def _use_node(seams: Seams, original: Method) -> Method:
    """Older nodes take a connection, use it and have it back in one go."""
    finder = Finder(seams)

    @functools.wraps(original)
    async def use(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch = None if hasattr(self, "release") else finder.meet_node(self)
        taken = perf_counter_ns()
        try:
            return await original(self, *args, **kwargs)
        finally:
            if watch is not None and watch.times_all:
                watch.used(taken)

    return use


# What follows notes something and goes on to the real thing, which may be awaited by the caller.


def _use_cluster(seams: Seams, original: Method) -> Method:
    meet = Finder(seams).meet

    @functools.wraps(original)
    def use(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch = self.__dict__.get(pools.WATCHED)
        if watch is None and _unwatched.get(self) is not seams.era:
            watch = meet(self)
        if watch is not None:
            watch.is_closed = False
        return original(self, *args, **kwargs)

    return use


def _make(seams: Seams, original: Method) -> Method:
    made = Finder(seams).made

    @functools.wraps(original)
    def make_connection(self: Any, *args: Any, **kwargs: Any) -> Any:
        connection = original(self, *args, **kwargs)
        made(self, connection)
        return connection

    return make_connection


def _release(seams: Seams, original: Method) -> Method:
    returned = Finder(seams).returned

    @functools.wraps(original)
    def release(self: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
        returned(connection)
        return original(self, connection, *args, **kwargs)

    return release


def _close(seams: Seams, original: Method) -> Method:
    closed = Finder(seams).closed

    @functools.wraps(original)
    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        if args[0] if args else kwargs.get("inuse_connections", True):
            closed(self)
        return original(self, *args, **kwargs)

    return close


def _open(seams: Seams, original: Method) -> Method:
    opening = Finder(seams).opening

    @functools.wraps(original)
    def connect(self: Any, *args: Any, **kwargs: Any) -> Any:
        opening(self)
        return original(self, *args, **kwargs)

    return connect


def _introduce(seams: Seams, original: Method) -> Method:
    opened = Finder(seams).opened

    @functools.wraps(original)
    def on_connect(self: Any, *args: Any, **kwargs: Any) -> Any:
        reply = original(self, *args, **kwargs)
        opened(self)
        return reply

    return on_connect


def _introduce_async(seams: Seams, original: Method) -> Method:
    opened = Finder(seams).opened

    @functools.wraps(original)
    async def on_connect(self: Any, *args: Any, **kwargs: Any) -> Any:
        reply = await original(self, *args, **kwargs)
        opened(self)
        return reply

    return on_connect


_POOLS: tuple[tuple[str, str, Make, Make], ...] = (
    ("ConnectionPool", "get_connection", _checkout(), _checkout_async()),
    (
        "BlockingConnectionPool",
        "get_connection",
        _checkout(pools.must_wait),
        _checkout_async(pools.must_wait_async),
    ),
    ("ConnectionPool", "make_connection", _make, _make),
    ("BlockingConnectionPool", "make_connection", _make, _make),
    ("ConnectionPool", "disconnect", _close, _close),
    ("BlockingConnectionPool", "disconnect", _close, _close),
    ("Connection", "_connect", _open, _open),
    ("UnixDomainSocketConnection", "_connect", _open, _open),
    ("AbstractConnection", "on_connect", _introduce, _introduce_async),
    ("AbstractConnection", "on_connect_check_health", _introduce, _introduce_async),
)


def rows(library: str, client: str) -> Iterator[Row]:
    """The methods of a library whose client class has this name."""
    group = names.CONNECTIONS
    for module, is_async in ((f"{library}.connection", 0), (f"{library}.asyncio.connection", 1)):
        for owner, method, make, make_async in _POOLS:
            yield Row(module, owner, method, make_async if is_async else make, group)
        for owner in ("ConnectionPool", "BlockingConnectionPool"):
            yield Row(module, owner, "release", _release, names.POOL_TIMES)
    module = f"{library}.asyncio.cluster"
    yield Row(module, f"{client}Cluster", "initialize", _use_cluster, group)
    yield Row(module, f"{client}Cluster", "_determine_nodes", _use_cluster, group)
    yield Row(module, f"{client}Cluster", "aclose", _close, group)
    yield Row(module, "ClusterNode", "acquire_connection", _acquire, group)
    yield Row(module, "ClusterNode", "release", _release, names.POOL_TIMES)
    yield Row(module, "ClusterNode", "execute_command", _use_node, names.POOL_TIMES)
    yield Row(module, "ClusterNode", "execute_pipeline", _use_node, names.POOL_TIMES)
