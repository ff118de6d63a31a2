"""What there is to watch, from a URL or from a client of the application; nothing is asked yet.

A client is only read: its address, its credentials, its TLS. It is not used, and not kept.
"""

from __future__ import annotations

import codecs
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from otel_redis_cache import clients, clusters, databases, settings
from otel_redis_cache.conventions import SERVER_ADDRESS, SERVER_PORT, VALKEY
from otel_redis_cache.facts import Target
from otel_redis_cache.settings import SettingError

SENTINEL_PORT = 26_379

Options = Mapping[str, Any]
"""How to open a connection: keywords of the client library's connections."""

Remap = Callable[[tuple[str, int]], tuple[str, int]]

_KEPT = ("username", "password", "credential_provider")
"""Options of the application's connections that ours have too, beside those of TLS."""


class Node(NamedTuple):
    """One server, as it is reached."""

    address: str
    """A host, or the path of a socket."""
    port: int | None
    """None for a socket."""

    def __str__(self) -> str:
        """``localhost:6379``, ``/run/redis.sock``."""
        return self.address if self.port is None else f"{self.address}:{self.port}"

    @property
    def attributes(self) -> dict[str, str | int]:
        """What says on a point which server it is about."""
        if self.port is None:
            return {SERVER_ADDRESS: self.address}
        return {SERVER_ADDRESS: self.address, SERVER_PORT: self.port}


@dataclass(frozen=True)
class Source:
    """One server, one cluster, or what some Sentinels manage."""

    library: str
    """``redis`` or ``valkey``: whose connections are used."""
    target: Target
    """As the client side's metrics call it."""
    nodes: tuple[Node, ...]
    """Where to start: a server, a cluster's seeds, Sentinels."""
    options: Options = field(repr=False)
    database: int = 0
    is_cluster: bool = False
    service: str | None = None
    """What Sentinels call the servers that they manage."""
    sentinel_options: Options = field(default_factory=dict[str, Any], repr=False)
    remap: Remap | None = None
    """Where a node of a cluster is reached that calls itself otherwise."""


def sources_of(server: object) -> list[Source]:
    """What a URL or a client stands for; a client of several databases for each of them.

    Raises:
        SettingError: this is no URL of a server.
        TypeError: this is neither a URL nor a client.
    """
    if isinstance(server, str):
        return [_from_url(cast("str", settings.parse("watch", server)))]
    if clients.is_client(server):
        return [_from_client(server)]
    several = databases.client_of(server)
    if several is not None and several is server:
        return [_from_client(member) for member in databases.members(several)]
    message = (
        "watch_server takes a URL such as redis://localhost:6379/0, or a client of redis-py or "
        f"valkey-py; not {type(server)!r}"
    )
    raise TypeError(message)


def load(wanted: str) -> None:
    """Import here and now what a watch of this URL, or with this client library, uses.

    A child that is forked while another thread imports a module waits for it without end.
    """
    # Whatever is wrong is told by the thread, which meets it again.
    with suppress(Exception):
        codecs.lookup("idna")  # of names of hosts
        importlib.import_module(f"{_library_of(wanted)}.asyncio")


def _from_client(client: Any) -> Source:
    target = clients.target_of(client)
    library = VALKEY if target.system == VALKEY else "redis"
    if clusters.is_cluster(client):
        return _from_cluster(client, library, target)
    pool = client.connection_pool
    options = _options(pool.connection_class, pool.connection_kwargs)
    database = int(pool.connection_kwargs.get("db") or 0)
    service = getattr(pool, "service_name", None)
    if service is None:
        nodes = (_node_of(pool.connection_kwargs),)
        return Source(library, target, nodes, options, database)
    pools = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
    return Source(
        library,
        target,
        tuple(_node_of(pool.connection_kwargs, SENTINEL_PORT) for pool in pools),
        options,
        database,
        service=str(service),
        sentinel_options=_options(pools[0].connection_class, pools[0].connection_kwargs),
    )


def _from_cluster(client: Any, library: str, target: Target) -> Source:
    manager = client.nodes_manager
    # A synchronous client keeps them in its manager, an asyncio one by itself.
    kwargs: Options = getattr(client, "connection_kwargs", None) or manager.connection_kwargs
    seeds = clusters.seeds_of(clusters.shared_by(client))
    known = [(str(node.host), int(node.port)) for node in client.get_nodes()]
    return Source(
        library,
        target,
        tuple(dict.fromkeys(Node(host, port) for host, port in (*seeds, *known))),
        _options(kwargs.get("connection_class"), kwargs),
        is_cluster=True,
        remap=getattr(manager, "address_remap", None),
    )


def _from_url(url: str) -> Source:
    scheme, _, rest = url.partition("://")
    kind, _, sentinel = scheme.partition("+")
    library = _library_of(url)
    kind = kind.replace("valkey", "redis")  # both libraries know these
    if not sentinel:
        return _from_client(_client(library, f"{kind}://{rest}", url))
    login, at, rest = rest.rpartition("@")
    hosts, _, path = rest.partition("/")
    service, _, others = path.partition("/")
    service, _, options = service.partition("?")
    # As of the one server that the Sentinels will name.
    single = f"{kind}://{login}{at}localhost/{others or f'?{options}'}"
    one = _from_client(_client(library, single, url))
    sentinels = tuple(filter(None, map(_sentinel, hosts.split(","))))
    if not service or len(sentinels) <= hosts.count(","):
        raise _unreadable(url)
    address = f"{','.join(map(str, sentinels[: clusters.MAX_SEEDS]))}/{service}"
    return Source(
        library,
        Target(one.target.system, address, None, str(one.database)),
        sentinels,
        one.options,
        one.database,
        service=service,
        sentinel_options={k: v for k, v in one.options.items() if k not in _KEPT},
    )


def _client(library: str, url: str, given: str) -> Any:
    """An asyncio client that is never used: its library knows how to read a URL."""
    if _cuts_a_password(url):
        raise _unreadable(given)
    try:
        made = importlib.import_module(f"{library}.asyncio").from_url(url)
        # A port that is no number is told only here.
        clients.target_of(made)
    except ValueError:
        # Its text may carry a part of a password.
        raise _unreadable(given) from None
    return made


def _cuts_a_password(url: str) -> bool:
    """Whether an @ stands behind the host: that host is a piece of a password with a / or a # in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    return parts.scheme != "unix" and "@" in parts.path + parts.fragment


def _unreadable(url: str) -> SettingError:
    shown, allowed = settings.without_secrets(url), settings.FIELDS["watch"].metadata["allowed"]
    return SettingError(f"watch is {shown!r}, which cannot be read; allowed: {allowed}", "watch")


def _library_of(wanted: str) -> str:
    """The client library that a URL asks for, else the other one: both speak with all servers."""
    wanted = VALKEY if wanted.startswith("valkey") else "redis"
    names = (wanted, *({"redis", "valkey"} - {wanted}))
    found = next((name for name in names if importlib.util.find_spec(name) is not None), None)
    if found is None:
        message = "watch_server needs redis-py or valkey-py, and neither is installed"
        raise ImportError(message)
    return found


def _sentinel(text: str) -> Node | None:
    """None where this is no address."""
    host, _, port = text.strip().partition(":")
    if not host or not (port or str(SENTINEL_PORT)).isdigit():
        return None
    return Node(host, int(port or SENTINEL_PORT))


def _node_of(kwargs: Options, default_port: int = clients.DEFAULT_PORT) -> Node:
    if (path := kwargs.get("path")) is not None:
        return Node(str(path), None)
    return Node(clusters.host_of(kwargs.get("host")), int(kwargs.get("port") or default_port))


def _options(connection_class: Any, kwargs: Options) -> dict[str, Any]:
    """Who we are, and TLS, as the application's connections have it."""
    lineage = {base.__name__ for base in getattr(connection_class, "__mro__", ())}
    is_tls = "SSLConnection" in lineage or bool(kwargs.get("ssl"))
    options = {name: kwargs[name] for name in _KEPT if kwargs.get(name) is not None}
    if is_tls:
        options |= {name: kwargs[name] for name in kwargs if name.startswith("ssl_")}
    return options | {"ssl": is_tls}
