"""The insides of redis-py and valkey-py that this package reads; their exceptions: `failures.py`.

What it relies on is held by tests against the oldest and the newest supported client.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from otel_redis_cache.conventions import REDIS, VALKEY
from otel_redis_cache.facts import Target

DEFAULT_PORT = 6379

TOPOLOGY_COMMANDS = ("CLUSTER SLOTS", "CLUSTER SHARDS", "COMMAND", "COMMAND GETKEYS")
"""What a cluster client asks its nodes by itself; a tuple, as a command may be unhashable."""

_CLIENTS = frozenset({"Redis", "Valkey"})
_CLUSTERS = frozenset({"RedisCluster", "ValkeyCluster"})


def queued(pipeline: Any) -> list[Sequence[object]]:
    """The commands that a pipeline will send, each as its arguments."""
    return [args for args, _ in pipeline.command_stack]


def exchange_queue(
    pipeline: Any, sent: Mapping[int, Sequence[object]]
) -> tuple[list[Any], list[Any]] | None:
    """The queue of a pipeline, and one to send in its place, where some commands are others.

    None for a cluster's pipeline, which keeps its commands elsewhere and otherwise.
    """
    queue: list[Any] = getattr(pipeline, "command_stack", [])
    if not all(index < len(queue) and isinstance(queue[index], tuple) for index in sent):
        return None
    changed = list(queue)
    for index, args in sent.items():
        changed[index] = (args, changed[index][1])
    return queue, changed


def put_back(pipeline: Any, queue: list[Any], changed: list[Any]) -> None:
    """Where a pipeline still has what was to be sent, it could not, and may be executed again."""
    if pipeline.command_stack is changed:
        queue.extend(changed[len(queue) :])
        pipeline.command_stack = queue


def is_transaction(pipeline: Any) -> bool:
    """Whether a pipeline will send MULTI and EXEC."""
    explicit = bool(pipeline.explicit_transaction)
    # asyncio's Pipeline has a method `transaction` and keeps the flag elsewhere.
    return explicit or bool(getattr(pipeline, "is_transaction", pipeline.transaction))


def serves(inner: Any, outer: Any) -> bool:
    """Whether a call of one client is made by the client library to serve a call of another.

    A pipeline loads its scripts, and a Sentinel's pool asks the Sentinels for the master.
    """
    if inner is outer:
        return True
    pool = getattr(outer, "connection_pool", None)
    if pool is None:
        return False
    sentinels = getattr(getattr(pool, "sentinel_manager", None), "sentinels", ())
    return pool is getattr(inner, "connection_pool", None) or any(inner is s for s in sentinels)


def is_cluster_node(client: Any) -> bool:
    """Whether a cluster client made this client for one of its nodes.

    What it sends is the cluster client's own traffic, such as the refresh of its topology; calls of
    the application reach the nodes another way.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        return False
    kwargs = cast("Mapping[str, Any]", pool.connection_kwargs)
    on_connect = kwargs.get("redis_connect_func") or kwargs.get("valkey_connect_func")
    maker: object = getattr(on_connect, "__self__", None)
    lineage = {base.__name__ for base in type(maker).__mro__}
    return not lineage.isdisjoint({"RedisCluster", "ValkeyCluster"})


def queues(client: Any) -> bool:
    """Whether a command given to this client now waits in a pipeline."""
    if not hasattr(client, "command_stack"):
        return False
    return not client.watching or bool(client.explicit_transaction)


def sends(pipeline: Any) -> bool:
    """Whether executing this pipeline puts anything on the wire."""
    return bool(pipeline.command_stack) or (bool(pipeline.watching) and is_transaction(pipeline))


def is_client(thing: Any) -> bool:
    """Whether this is a client of redis-py or valkey-py, alone or of a cluster; not a pipeline."""
    lineage = _lineage(thing)
    return not lineage.isdisjoint(_CLIENTS | _CLUSTERS) and not is_pipeline(thing)


def is_pipeline(thing: Any) -> bool:
    """Whether what is sent through this waits for ``execute()``."""
    return not _lineage(thing).isdisjoint({"Pipeline", "ClusterPipeline"})


def is_cluster(client: Any) -> bool:
    """Whether this client spreads keys over the nodes of a cluster."""
    return not _lineage(client).isdisjoint(_CLUSTERS)


def is_asynchronous(client: Any) -> bool:
    """Whether commands of this client are awaited."""
    modules = [base.__module__ for base in type(client).__mro__]
    return any(module.startswith(("redis.asyncio", "valkey.asyncio")) for module in modules)


def _lineage(thing: Any) -> set[str]:
    """The names of its classes, those of the client libraries only."""
    bases = type(thing).__mro__
    return {b.__name__ for b in bases if b.__module__.partition(".")[0] in ("redis", "valkey")}


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
    owner = client if pool is None else pool  # a cluster client has a pool for each node
    target = _targets.get(owner)
    if target is None:
        target = _targets[owner] = _configured_target(client, pool)
    return target


def receives_for(subscriber: Any, cluster_subscriber: Any) -> None:
    """Note that a subscriber of one node receives what was asked of a cluster."""
    _targets[subscriber] = target_of(cluster_subscriber.cluster)


def target_of_subscriber(subscriber: Any) -> Target:
    """Where a subscriber was configured to go."""
    found = _targets.get(subscriber)
    return target_of(getattr(subscriber, "cluster", subscriber)) if found is None else found


def _configured_target(client: Any, pool: Any) -> Target:
    system = VALKEY if _module(client).partition(".")[0] == "valkey" else REDIS
    if is_cluster(client):
        return Target(system, *_seeds(client.nodes_manager), "0")
    address, port = _configured_address(pool)
    kwargs = cast("Mapping[str, Any]", pool.connection_kwargs)
    return Target(system, address, port, str(kwargs.get("db") or 0))


def _configured_address(pool: Any) -> tuple[str, int | None]:
    service = getattr(pool, "service_name", None)
    kwargs = cast("Mapping[str, Any]", pool.connection_kwargs)
    if service is not None:
        return f"{','.join(_sentinels(pool))}/{service}", None
    if (path := kwargs.get("path")) is not None:
        return str(path), None
    port = int(kwargs.get("port") or DEFAULT_PORT)
    # Somebody's URL in the place of a host may carry a password.
    host = str(kwargs.get("host") or "localhost").rpartition("@")[2].rpartition("://")[2]
    return host, None if port == DEFAULT_PORT else port


def _seeds(nodes_manager: Any) -> tuple[str, int | None]:
    """At most 5 nodes that a cluster client starts from, sorted; their port where they share it."""
    seeds = {(str(node.host), int(node.port)) for node in nodes_manager.startup_nodes.values()}
    shown, ports = sorted(seeds)[:5], {port for _, port in seeds}
    if len(ports) > 1:
        return ",".join(f"{host}:{port}" for host, port in shown), None
    (port,) = ports or {DEFAULT_PORT}
    return ",".join(host for host, _ in shown), None if port == DEFAULT_PORT else port


def _sentinels(pool: Any) -> Iterable[str]:
    for sentinel in pool.sentinel_manager.sentinels[:5]:
        kwargs = sentinel.connection_pool.connection_kwargs
        yield f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 26379)}"


def _module(client: Any) -> str:
    """The client library's module, also for an application's subclass."""
    for base in type(client).__mro__:
        if base.__module__.partition(".")[0] in ("redis", "valkey"):
            return base.__module__
    return "redis"


def other_span_maker(client: Any) -> str | None:
    """Another instrumentation that makes spans of this client's calls."""
    contrib = sys.modules.get("opentelemetry.instrumentation.redis")
    if contrib is not None and (
        contrib.RedisInstrumentor().is_instrumented_by_opentelemetry
        or cast("dict[str, object]", vars(client)).get("_is_instrumented_by_opentelemetry")
    ):
        return "opentelemetry-instrumentation-redis"
    for package in ("redis", "valkey"):
        if getattr(sys.modules.get(package), "_datadog_patch", False):
            return "ddtrace"
    wrapper: Any = getattr(cast("object", client), "execute_command", None)
    while wrapper is not None:
        if str(getattr(wrapper, "__module__", "")).startswith("sentry_sdk."):
            return "sentry-sdk"
        wrapper = getattr(wrapper, "__wrapped__", None)
    return None


def records_own_durations() -> bool:
    """Whether redis-py's own observability records command durations."""
    providers = sys.modules.get("redis.observability.providers")
    config = sys.modules.get("redis.observability.config")
    if providers is None or config is None:
        return False
    instance = providers.get_observability_instance()
    if not instance.is_enabled():
        return False
    return bool(instance.get_provider_manager().config.metric_groups & config.MetricGroup.COMMAND)


_targets: weakref.WeakKeyDictionary[object, Target] = weakref.WeakKeyDictionary()
