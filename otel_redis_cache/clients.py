"""The insides of redis-py and valkey-py that this package reads; their exceptions: `failures.py`.

What it relies on is held by tests against the oldest and the newest supported client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast
from weakref import ref

from otel_redis_cache import clusters, databases
from otel_redis_cache.clusters import CLUSTERS, MAX_SEEDS, Seeds, host_of, lineage
from otel_redis_cache.conventions import REDIS, VALKEY
from otel_redis_cache.facts import Target

DEFAULT_PORT = 6379

_CLIENTS = frozenset({"Redis", "Valkey"})


def queued(pipeline: Any) -> list[Sequence[object]]:
    """The commands that a pipeline will send, each as its arguments."""
    if is_of_cluster(pipeline):
        return [command.args for command in clusters.queue_of(pipeline)]
    if is_of_several(pipeline):
        return [args for args, _ in databases.queue_of(pipeline)]
    return [args for args, _ in pipeline.command_stack]


def is_transaction(pipeline: Any) -> bool:
    """Whether a pipeline will send MULTI and EXEC."""
    if is_of_cluster(pipeline):
        return clusters.is_transaction(pipeline)
    if is_of_several(pipeline):
        members = databases.members(databases.client_of(pipeline))
        return not any(map(clusters.is_cluster, members))
    explicit = bool(pipeline.explicit_transaction)
    # asyncio's Pipeline has a method `transaction` and keeps the flag elsewhere.
    return explicit or bool(getattr(pipeline, "is_transaction", pipeline.transaction))


def serves(inner: Any, outer: Any) -> bool:
    """Whether a call of one client is made by the client library to serve a call of another.

    A pipeline loads its scripts, a Sentinel's pool asks the Sentinels for the master, a cluster's
    pipeline sends again what has moved, and a client of several databases sends through one of them.
    """
    if inner is outer:
        return True
    pool = getattr(outer, "connection_pool", None)
    if pool is None:
        if (several := databases.client_of(outer)) is not None:
            return any(serves(inner, member) for member in databases.members(several))
        shared = clusters.shared_by(outer)
        return shared is not None and shared is clusters.shared_by(inner)
    sentinels = getattr(getattr(pool, "sentinel_manager", None), "sentinels", ())
    return pool is getattr(inner, "connection_pool", None) or any(inner is s for s in sentinels)


def pool_name(pool: Any) -> str | None:
    """``address:port/db`` of a connection pool, as configured; all nodes of a cluster have one name.

    None while a cluster client is being made, and does not know yet where it is going.
    """
    owner = clusters.maker_of(pool) or pool
    if not clusters.is_cluster(owner):
        return str(_target_of_pool(pool, _system(pool)))
    return str(target_of(owner)) if hasattr(owner, "nodes_manager") else None


def pools_of(client: Any) -> list[Any]:
    """The connection pools of a client; an asyncio cluster client is the one of its nodes."""
    pool = getattr(client, "connection_pool", None)
    if (several := databases.client_of(client)) is not None:
        return [pool for member in databases.members(several) for pool in pools_of(member)]
    if pool is not None or not clusters.is_cluster(client):
        return [] if pool is None else [pool]
    if is_asynchronous(client):
        return [client]
    made = "valkey_connection" if _system(client) == VALKEY else "redis_connection"
    nodes = [getattr(node, made) for node in client.get_nodes()]
    return [node.connection_pool for node in nodes if node is not None]


def queues(client: Any) -> bool:
    """Whether a command given to this client now waits in a pipeline."""
    if not is_pipeline(client):
        return False
    if is_of_cluster(client):
        return clusters.queues(client)
    if is_of_several(client):
        return True
    return not client.watching or bool(client.explicit_transaction)


def sends(pipeline: Any) -> bool:
    """Whether executing this pipeline puts anything on the wire."""
    if is_of_cluster(pipeline):
        return clusters.sends(pipeline)
    if is_of_several(pipeline):
        return bool(databases.queue_of(pipeline))
    return bool(pipeline.command_stack) or (bool(pipeline.watching) and is_transaction(pipeline))


def is_of_cluster(client: Any) -> bool:
    """Whether this is a client of a cluster, or its pipeline: it has a pool for each node."""
    return getattr(client, "connection_pool", None) is None and databases.client_of(client) is None


def is_one_of_many(client: Any) -> bool:
    """Whether what a client is configured for is several servers, of which a call goes to one."""
    pool = getattr(client, "connection_pool", None)
    return pool is None or hasattr(pool, "service_name")


def is_of_several(client: Any) -> bool:
    """Whether this is a client of several databases, or its pipeline: each has a client."""
    return (
        getattr(client, "connection_pool", None) is None and databases.client_of(client) is not None
    )


def is_client(thing: Any) -> bool:
    """Whether this is a client of redis-py or valkey-py, alone or of a cluster; not a pipeline."""
    return not lineage(thing).isdisjoint(_CLIENTS | CLUSTERS) and not is_pipeline(thing)


def is_pipeline(thing: Any) -> bool:
    """Whether what is sent through this waits for ``execute()``."""
    return not lineage(thing).isdisjoint({"Pipeline", "ClusterPipeline"})


def is_asynchronous(client: Any) -> bool:
    """Whether commands of this client are awaited."""
    modules = [base.__module__ for base in type(client).__mro__]
    return any(module.startswith(("redis.asyncio", "valkey.asyncio")) for module in modules)


def encoded(client: Any, text: str) -> bytes:
    """A pattern as this client would send it, and also where it would refuse to.

    Never with a lossy error handler: what it puts in or leaves out could match other keys.
    """
    encoder = client.get_encoder()
    errors: str = encoder.encoding_errors
    with suppress(UnicodeEncodeError):
        return text.encode(encoder.encoding)
    with suppress(UnicodeEncodeError):
        lossless = errors if errors == "surrogatepass" else "surrogateescape"
        return text.encode(encoder.encoding, lossless)
    return text.encode("utf-8", "surrogatepass")


UNDECODED: Mapping[str, Any] = {"NEVER_DECODE": []}
"""Options of a command whose reply is wanted as bytes, whatever the client was told."""


def scanned(reply: Any) -> tuple[int, list[bytes]]:
    """The next cursor and the keys of a SCAN; a cluster client says the cursor of each node."""
    cursor, keys = reply
    if isinstance(cursor, dict):
        (cursor,) = cast("dict[str, int]", cursor).values()
    return cursor, keys


def unlinking(client: Any) -> Any:
    """A pipeline that says what UNLINK replied, whatever an application's callback makes of it.

    The nodes of an asyncio cluster client share its callbacks, so that they apply there.
    """
    pipeline = client.pipeline(transaction=False)
    for callbacks in ("response_callbacks", "cluster_response_callbacks"):
        if hasattr(pipeline, callbacks):
            setattr(pipeline, callbacks, {})
    return pipeline


def target_of(client: Any) -> Target:
    """Where a client, or a pipeline of it, was configured to go."""
    pool = getattr(client, "connection_pool", None)
    owner = clusters.shared_by(client) if pool is None else pool
    if owner is None:
        owner = client  # of several databases, which is what its pipelines share
    target = _targets.get(ref(owner))
    if target is None:
        target = _configured_target(client, owner)
        _targets[ref(owner, _forget)] = target
    return target


def receives_for(subscriber: Any, cluster_subscriber: Any) -> None:
    """Note that a subscriber of one node receives what was asked of a cluster."""
    _targets[ref(subscriber, _forget)] = target_of(cluster_subscriber.cluster)


def target_of_subscriber(subscriber: Any) -> Target:
    """Where a subscriber was configured to go."""
    found = _targets.get(ref(subscriber))
    return target_of(getattr(subscriber, "cluster", subscriber)) if found is None else found


def _configured_target(client: Any, owner: Any) -> Target:
    system = _system(client)
    if is_of_cluster(client):
        return Target(system, *_address_of(clusters.seeds_of(owner)), "0")
    if is_of_several(client):
        return _target_of_several(list(map(target_of, databases.members(owner))))
    return _target_of_pool(owner, system)


def _target_of_pool(pool: Any, system: str) -> Target:
    address, port = _configured_address(pool)
    kwargs = cast("Mapping[str, Any]", pool.connection_kwargs)
    return Target(system, address, port, str(kwargs.get("db") or 0))


def _target_of_several(targets: Sequence[Target]) -> Target:
    """All databases by address, as the nodes of a cluster are; the index that the first one has."""
    first = targets[0]
    hosts = {(str(target.address), target.port or DEFAULT_PORT) for target in targets}
    return Target(first.system, *_address_of(tuple(sorted(hosts))), first.namespace)


def _configured_address(pool: Any) -> tuple[str, int | None]:
    service = getattr(pool, "service_name", None)
    kwargs = cast("Mapping[str, Any]", pool.connection_kwargs)
    if service is not None:
        return f"{','.join(_sentinels(pool))}/{service}", None
    if (path := kwargs.get("path")) is not None:
        return str(path), None
    port = int(kwargs.get("port") or DEFAULT_PORT)
    return host_of(kwargs.get("host")), None if port == DEFAULT_PORT else port


def _address_of(seeds: Seeds) -> tuple[str, int | None]:
    """At most 5 nodes that a cluster client starts from; their port where they share it."""
    shown, ports = seeds[:MAX_SEEDS], {port for _, port in seeds}
    if len(ports) > 1:
        return ",".join(f"{host}:{port}" for host, port in shown), None
    (port,) = ports or {DEFAULT_PORT}
    return ",".join(host for host, _ in shown), None if port == DEFAULT_PORT else port


def _sentinels(pool: Any) -> Iterable[str]:
    for sentinel in pool.sentinel_manager.sentinels[:5]:
        kwargs = sentinel.connection_pool.connection_kwargs
        yield f"{host_of(kwargs.get('host'))}:{kwargs.get('port', 26379)}"


def _system(client: Any) -> str:
    return VALKEY if _module(client).partition(".")[0] == "valkey" else REDIS


def _module(client: Any) -> str:
    """The client library's module, also for an application's subclass."""
    for base in type(client).__mro__:
        if base.__module__.partition(".")[0] in ("redis", "valkey"):
            return base.__module__
    return "redis"


_targets: dict[ref[Any], Target] = {}
"""By whom they are of, held weakly: a ``WeakKeyDictionary`` that is asked without a function of Python."""


def _forget(owner: ref[Any]) -> None:
    _targets.pop(owner, None)
