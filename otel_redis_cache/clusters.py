"""The insides of the cluster clients of redis-py and valkey-py that this package reads."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, cast

CLUSTERS = frozenset({"RedisCluster", "ValkeyCluster"})

TOPOLOGY_COMMANDS = frozenset({"CLUSTER SLOTS", "CLUSTER SHARDS", "COMMAND", "COMMAND GETKEYS"})
"""What a cluster client asks its nodes by itself."""

MAX_SEEDS = 5
"""Nodes that the address of a cluster names."""

Seeds = tuple[tuple[str, int], ...]
"""(host, port) of each node that a client was told to start from, sorted."""

_seeds: weakref.WeakKeyDictionary[object, Seeds] = weakref.WeakKeyDictionary()


def lineage(thing: Any) -> set[str]:
    """The names of its classes, those of the client libraries only."""
    bases = type(thing).__mro__
    return {b.__name__ for b in bases if b.__module__.partition(".")[0] in ("redis", "valkey")}


def is_cluster(client: Any) -> bool:
    """Whether this client spreads keys over the nodes of a cluster."""
    return not lineage(client).isdisjoint(CLUSTERS)


def shared_by(client: Any) -> Any:
    """What a cluster client has in common with its pipelines; None for any other client."""
    for name in ("cluster_client", "_client"):  # of an asyncio pipeline
        if (found := getattr(client, name, None)) is not None:
            return found
    manager = getattr(client, "nodes_manager", None)
    # asyncio's cannot be referred to weakly, and is the client's alone.
    return manager if manager is None or hasattr(manager, "__weakref__") else client


def host_of(host: object) -> str:
    """As a connection is told it; somebody's URL in the place of a host may carry a password."""
    return str(host or "localhost").rpartition("@")[2].rpartition("://")[2]


def keep_seeds(shared: Any, nodes: Iterable[Any] | None = None) -> None:
    """Remember where a client starts from: it soon knows the nodes that it found instead."""
    known = shared.nodes_manager.startup_nodes.values() if nodes is None else nodes
    _seeds[shared] = _addresses(known)


def seeds_of(shared: Any) -> Seeds:
    """The nodes that the client was told; those it found, where it was made before we watched."""
    found = _seeds.get(shared)
    if found is None:
        found = _addresses(getattr(shared, "nodes_manager", shared).startup_nodes.values())
    return found


def _addresses(nodes: Iterable[Any]) -> Seeds:
    return tuple(sorted({(host_of(node.host), int(node.port)) for node in nodes}))


def asks_by_itself(client: Any) -> bool:
    """Whether a topology command of this client is the client library's own traffic.

    An application that sends such a command through the client of one node is not told apart.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is None:  # a cluster client that is being made
        return is_cluster(client) and not hasattr(client, "commands_parser")
    return maker_of(pool) is not None


def maker_of(pool: Any) -> Any:
    """The cluster client that made a connection pool for one of its nodes; None of any other."""
    kwargs = cast("Mapping[str, Any]", pool.connection_kwargs)
    on_connect = kwargs.get("redis_connect_func") or kwargs.get("valkey_connect_func")
    maker = getattr(on_connect, "__self__", None)
    return maker if is_cluster(maker) else None


def queue_of(pipeline: Any) -> Sequence[Any]:
    """What a cluster's pipeline will send: each with ``args`` and, later, ``result``."""
    owner = getattr(pipeline, "_execution_strategy", pipeline)
    for name in ("_command_queue", "_command_stack", "command_stack"):
        if (found := getattr(owner, name, None)) is not None:
            return cast("Sequence[Any]", found)
    return ()


def results_of(queue: Iterable[Any]) -> list[Any]:
    """The replies to what a cluster's pipeline has sent, errors among them."""
    return [getattr(command, "result", None) for command in queue]


def error_of(
    queue: Sequence[Any], args: Sequence[object], start: int
) -> tuple[int, BaseException | None]:
    """Why a pipeline sends a command again, alone, and where to look for the next one.

    It does so in the order of its queue.
    """
    for index in chain(range(start, len(queue)), range(start)):
        command = queue[index]
        if isinstance(command.result, BaseException) and tuple(command.args) == tuple(args):
            return index + 1, command.result
    return start, None


def is_transaction(pipeline: Any) -> bool:
    """Whether a cluster's pipeline will send MULTI and EXEC."""
    return "TransactionStrategy" in lineage(getattr(pipeline, "_execution_strategy", None))


def sends(pipeline: Any) -> bool:
    """Whether executing a cluster's pipeline puts anything on the wire."""
    if queue_of(pipeline):
        return True
    if not is_transaction(pipeline):
        return False
    strategy = pipeline._execution_strategy
    return bool(strategy._watching and strategy._pipeline_slots)


def queues(pipeline: Any) -> bool:
    """Whether a command given to a cluster's pipeline now waits in it."""
    if not is_transaction(pipeline):
        return True
    strategy = pipeline._execution_strategy
    return not strategy._watching or bool(strategy._explicit_transaction)


def knows_primaries(cluster: Any, slots: Mapping[object, Mapping[str, Any]]) -> bool:
    """Whether a cluster client knows all primaries that its cluster has, as CLUSTER SLOTS says.

    Only where it does not may it learn its nodes anew: valkey-py's asyncio client fails commands of
    the application meanwhile.
    """
    known = {(node.host, node.port) for node in cluster.get_primaries()}
    said = [row["primary"][:2] for row in slots.values()]
    # A node that has no address to tell is the one that was asked.
    return known.issuperset(
        cluster.nodes_manager.remap_host_port(host, int(port)) for host, port in said if host
    )
