"""The connection pools that report to a meter provider, and what each of them holds.

A pool owns what is known of it, and nothing here keeps a pool alive. Connections are read from the
pool's own containers when somebody asks, without its locks. A connection is one that is open: what was
disconnected stays in its pool as an object, to be opened again.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from otel_redis_cache.forks import renew_after_fork

NO_LIMIT = 2**31
"""What older client libraries give a pool that was told no limit."""

WATCHED = "_otel_redis_cache_watched"
"""The attribute of a pool that holds what is known of it."""

_OURS = "_otel_redis_cache_ours"
_NOTHING: dict[str, Any] = {}


class Pool:
    """What is known of one connection pool: a pool of the client library, or an asyncio cluster client.

    The nodes of such a client are pools of their own, which cannot be held weakly.
    """

    __slots__ = ("__weakref__", "_pool", "is_closed", "name", "pending")

    def __init__(self, pool: object, name: str) -> None:
        """Nobody waits yet."""
        self._pool = weakref.ref(pool)
        self.name = name
        self.pending: set[object] = set()
        """One thing for each checkout under way: added and discarded at once, also under threads."""
        self.is_closed = False
        """Whether the pool was disconnected, and not used since."""

    @property
    def pool(self) -> Any:
        """The pool itself; None where it is collected, or somebody else watches it by now."""
        pool = self._pool()
        return pool if watched(pool) is self else None

    def read(self) -> Holding | None:
        """What it holds now; None where it is closed or gone."""
        pool = self.pool
        if pool is None or (self.is_closed and not self.pending):
            return None
        return Holding(*_count(*_held(pool)), len(self.pending), _limit_of(pool))


class Holding(NamedTuple):
    """What pools of one name hold together."""

    idle: int = 0
    used: int = 0
    pending: int = 0
    """Checkouts under way: those that wait for a connection, or open one."""
    limit: int | None = 0
    """Connections that they may have; None where one of them has no limit."""

    def with_more(self, other: Holding) -> Holding:
        """What pools hold together with others."""
        no_limit = self.limit is None or other.limit is None
        return Holding(
            self.idle + other.idle,
            self.used + other.used,
            self.pending + other.pending,
            None if no_limit else cast("int", self.limit) + cast("int", other.limit),
        )


class Pools:
    """The pools of one meter provider, found when they are used."""

    def __init__(self) -> None:
        """Start with none."""
        self._pools: weakref.WeakSet[Pool] = weakref.WeakSet()
        self._lock = threading.RLock()
        renew_after_fork(self)

    def renew_locks(self) -> None:
        """In a forked child, where a pool begins anew with its first use."""
        self._lock = threading.RLock()
        self.leave()
        self._pools = weakref.WeakSet()

    def watch(self, pool: Any, known: Pool) -> Any:
        """Watch a pool from now on; returns what is known of it, by whoever came first."""
        _, connections = _held(pool)
        first: Any = pool.__dict__.setdefault(WATCHED, known)
        if first is known:
            with self._lock:
                self._pools.add(known)
            for connection in connections:
                belongs(connection, pool)
        return first

    def leave(self) -> None:
        """Watch none of them any more."""
        for pool in self.all():
            leave(pool)

    def all(self) -> list[Any]:
        """Every pool that is watched and alive."""
        return [pool for known in self._known() if (pool := known.pool) is not None]

    def read(self) -> Mapping[str, Holding]:
        """What the pools hold now, by name; without those that are closed."""
        found: dict[str, Holding] = {}
        for known in self._known():
            held = known.read()
            if held is not None:
                so_far = found.get(known.name)
                found[known.name] = held if so_far is None else so_far.with_more(held)
        return found

    def _known(self) -> list[Pool]:
        with self._lock:  # a set that grows cannot be gone through
            return list(self._pools)


def watched(pool: object) -> Any:
    """What is known of a pool; None where nobody watches it."""
    return getattr(pool, "__dict__", _NOTHING).get(WATCHED)


def leave(pool: object) -> None:
    """Watch this pool no more."""
    getattr(pool, "__dict__", _NOTHING).pop(WATCHED, None)


def leave_out(pool: object) -> None:
    """A pool of our own: it is not the application's, and nobody is to watch it."""
    getattr(pool, "__dict__", _NOTHING)[_OURS] = True


def is_ours(pool: object) -> bool:
    """Whether it is one of our own."""
    return _OURS in getattr(pool, "__dict__", _NOTHING)


def belongs(connection: Any, pool: object) -> None:
    """A connection, which may be opened without its pool, knows where it belongs."""
    _pools[_real(connection)] = weakref.ref(pool)


def pool_of(connection: object) -> Any:
    """What is known of the pool that a connection belongs to."""
    found = _pools.get(connection)
    return None if found is None else watched(found())


_pools: weakref.WeakKeyDictionary[object, weakref.ref[Any]] = weakref.WeakKeyDictionary()
"""By connection: the pool that it belongs to."""


def has_node(cluster: Any, node: object) -> bool:
    """Whether this is an asyncio cluster client, and has this node."""
    return any(node is known for known in _nodes(cluster) or ())


def must_wait(pool: Any) -> bool:
    """Whether a checkout of a BlockingConnectionPool has to wait."""
    # Without the queue's lock, which a thread of the process that forked this one may hold.
    queue = getattr(pool.pool, "queue", None)
    return queue is not None and not queue


def must_wait_async(pool: Any) -> bool:
    """The same for asyncio."""
    return not pool.can_get_connection()


def _nodes(pool: Any) -> list[Any] | None:
    """The nodes that an asyncio cluster client knows; None for any other pool."""
    manager = getattr(pool, "nodes_manager", None)
    if manager is None:
        return None
    known = [*manager.nodes_cache.values(), *manager.startup_nodes.values()]
    return list({id(node): node for node in known}.values())


def _held(pool: Any) -> tuple[list[Any], list[Any]]:
    """The connections of a pool that nobody uses, and all of them."""
    nodes = _nodes(pool)
    if nodes is not None:
        idle = [connection for node in nodes for connection in _copy(node._free)]
        return idle, [connection for node in nodes for connection in _copy(node._connections)]
    if hasattr(pool, "_available_connections"):
        idle = _copy(pool._available_connections)
        return idle, idle + _copy(pool._in_use_connections)
    queue = getattr(pool.pool, "queue", ())
    return [one for one in _copy(queue) if one is not None], _copy(pool._connections)


def _copy(container: Iterable[Any]) -> list[Any]:
    """At one moment for all containers of the client libraries: no other thread gets in between."""
    return list(container)


def _count(idle: list[Any], made: list[Any]) -> tuple[int, int]:
    """Open connections, idle and used."""
    free = {id(connection) for connection in idle}
    opened = {id(connection) for connection in made if _is_open(connection)}
    return len(opened & free), len(opened - free)


def _real(connection: Any) -> Any:
    """The connection behind that of client-side caching."""
    is_proxy = type(connection).__name__ == "CacheProxyConnection"
    return connection._conn if is_proxy else connection


def _is_open(connection: Any) -> bool:
    real = _real(connection)
    if hasattr(real, "_sock"):
        return real._sock is not None
    return bool(real.is_connected)  # asyncio


def _limit_of(pool: Any) -> int | None:
    manager = getattr(pool, "nodes_manager", None)
    # Nodes that a cluster client started from are asked for the others, and do nothing else.
    bounded = [pool] if manager is None else list(manager.nodes_cache.values())
    limits = [cast("int", one.max_connections) for one in bounded]
    return None if any(limit >= NO_LIMIT for limit in limits) else sum(limits)
