"""The kinds of clients that redis-py and valkey-py offer: the same behaviour is wanted of each.

But for `MultiDBClient`, which has neither `WATCH` nor pipelines without MULTI: test_client_kinds.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, TypeAlias

import pytest
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
import valkey
import valkey.asyncio
import valkey.asyncio.cluster
import valkey.asyncio.sentinel
import valkey.cluster
import valkey.sentinel

from tests.integration.waiting import EventLoop, Waiting
from tests.real.clusters import Cluster
from tests.real.sentinels import Sentinels
from tests.real.servers import RedisServer

Place: TypeAlias = RedisServer | Cluster | Sentinels
"""Where a client goes; all of them flush, call, and tell their commandstats."""

Address = tuple[str, int | None]


@dataclass(frozen=True)
class Kind:
    """One kind of client."""

    name: str
    place: str
    """The fixture that it goes to."""
    make: Callable[[Kind, Any], Any]
    address: Callable[[Any], Address]
    """What spans say in `server.address` and `server.port`."""
    library: ModuleType = redis
    is_async: bool = False
    is_cluster: bool = False
    is_way_in: bool = False
    """Whether it differs from others only by how it connects."""
    batches_otherwise: bool = False
    """Whether a pipeline gets its connection in another way."""
    has_transactions: bool = True
    is_for_threads: bool = True

    @property
    def package(self) -> ModuleType:
        """With the classes that are called, or awaited."""
        package: ModuleType = self.library.asyncio if self.is_async else self.library
        return package

    @property
    def system(self) -> str:
        """`db.system.name`."""
        return self.library.__name__

    def class_of(self, module: Any, suffix: str = "") -> Any:
        return getattr(module, f"{self.system.capitalize()}{suffix}")

    def target(self, place: Place) -> dict[str, str | int]:
        """What every span says of where it was sent."""
        address, port = self.address(place)
        target: dict[str, str | int] = {"db.system.name": self.system, "db.namespace": "0"}
        target["server.address"] = address
        return target if port is None else {**target, "server.port": port}

    def error(self, name: str) -> str:
        """`error.type` of one of the library's exceptions."""
        return f"{self.system}.exceptions.{name}"

    @contextmanager
    def connected(self, place: Place, loop: EventLoop) -> Iterator[Any]:
        """A client that is there, and closed in the end; one of asyncio waits for its replies."""
        if not self.is_async:
            with self.make(self, place) as client:
                yield client
                for sentinel in sentinels_of(client):
                    sentinel.close()
            return

        async def make() -> Any:
            return self.make(self, place)

        with Waiting(loop.result_of(make()), loop) as client:
            yield client
            for sentinel in sentinels_of(client):
                loop.result_of(sentinel.aclose())


def sentinels_of(client: Any) -> list[Any]:
    """The clients by which one learns of the master; nobody closes them with it."""
    pool = getattr(client, "connection_pool", None)
    manager = getattr(pool, "sentinel_manager", None)
    return [] if manager is None else manager.sentinels


# How they are made.


def by_host(**options: Any) -> Callable[[Kind, RedisServer], Any]:
    def make(kind: Kind, server: RedisServer) -> Any:
        return kind.class_of(kind.package)(host=server.host, port=server.port, **options)

    return make


def by_socket(kind: Kind, server: RedisServer) -> Any:
    return kind.class_of(kind.package)(unix_socket_path=server.socket)


def by_tls(kind: Kind, server: Any) -> Any:
    certificate = str(server.certificates.certificate)
    return kind.class_of(kind.package)(
        host=server.host, port=server.tls_port, ssl=True, ssl_ca_certs=certificate
    )


def by_blocking_pool(kind: Kind, server: RedisServer) -> Any:
    pool = kind.package.BlockingConnectionPool(host=server.host, port=server.port)
    return kind.class_of(kind.package).from_pool(pool)


def by_sentinels(kind: Kind, sentinels: Sentinels) -> Any:
    finder = kind.package.sentinel.Sentinel(sentinels.addresses)
    return finder.master_for(sentinels.service)


def by_seeds(kind: Kind, cluster: Cluster) -> Any:
    """Told of two nodes: the asyncio client; of one: the other."""
    if not kind.is_async:
        return kind.class_of(kind.package.cluster, "Cluster")(
            host=cluster.host, port=cluster.nodes[0].port
        )
    node_class = kind.package.cluster.ClusterNode
    seeds = [node_class(node.host, node.port) for node in cluster.nodes[:2]]
    return kind.class_of(kind.package.cluster, "Cluster")(startup_nodes=seeds)


# What their spans say.


def host_and_port(server: RedisServer) -> Address:
    return server.host, server.port


def path(server: RedisServer) -> Address:
    return server.socket, None


def tls_port(server: Any) -> Address:
    return server.host, server.tls_port


def sentinels_and_service(sentinels: Sentinels) -> Address:
    known = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
    return f"{known}/{sentinels.service}", None


def only_seed(cluster: Cluster) -> Address:
    return cluster.host, cluster.nodes[0].port


def both_seeds(cluster: Cluster) -> Address:
    return ",".join(sorted(f"{node.host}:{node.port}" for node in cluster.nodes[:2])), None


_HAS_TRANSACTIONS = hasattr(redis.cluster, "TransactionStrategy")
"""Cluster clients of redis-py since 6.0; of valkey-py none."""

_SYNCHRONOUS = (
    Kind("redis", "redis_server", by_host(protocol=2), host_and_port),
    Kind("redis RESP3", "valkey_server", by_host(protocol=3), host_and_port),
    Kind("redis blocking pool", "valkey_server", by_blocking_pool, host_and_port, is_way_in=True),
    Kind(
        "redis single connection",
        "redis_server",
        by_host(single_connection_client=True),
        host_and_port,
        is_way_in=True,
        batches_otherwise=True,
        is_for_threads=False,
    ),
    Kind("redis unix socket", "valkey_server", by_socket, path, is_way_in=True),
    Kind("redis TLS", "tls_server", by_tls, tls_port, is_way_in=True),
    Kind(
        "redis Sentinel",
        "redis_sentinels",
        by_sentinels,
        sentinels_and_service,
        is_way_in=True,
        batches_otherwise=True,
    ),
    Kind(
        "RedisCluster",
        "redis_cluster",
        by_seeds,
        only_seed,
        is_cluster=True,
        has_transactions=_HAS_TRANSACTIONS,
    ),
    Kind("valkey", "valkey_server", by_host(), host_and_port, library=valkey),
    Kind("valkey RESP3", "redis_server", by_host(protocol=3), host_and_port, library=valkey),
    Kind(
        "valkey Sentinel",
        "valkey_sentinels",
        by_sentinels,
        sentinels_and_service,
        library=valkey,
        is_way_in=True,
    ),
    Kind(
        "ValkeyCluster",
        "valkey_cluster",
        by_seeds,
        only_seed,
        library=valkey,
        is_cluster=True,
        has_transactions=False,
    ),
)


def _of_asyncio(kind: Kind) -> Kind:
    address = both_seeds if kind.is_cluster else kind.address
    return replace(kind, name=f"asyncio {kind.name}", is_async=True, address=address)


KINDS = (*_SYNCHRONOUS, *map(_of_asyncio, _SYNCHRONOUS))


CLASSES = tuple(kind for kind in KINDS if not kind.is_way_in)
"""Each client class, for what does not depend on how it connects."""

BATCHING = (*CLASSES, *(kind for kind in _SYNCHRONOUS if kind.batches_otherwise))
"""Those too whose pool hands out connections in another way."""


def ids(kinds: Sequence[Kind]) -> list[str]:
    return [kind.name for kind in kinds]


def only(
    wanted: Callable[[Kind], bool], because: str, among: Sequence[Kind] = KINDS
) -> pytest.MarkDecorator:
    """The test is for some of the kinds; `because` says what the others cannot do."""
    kinds = [kind for kind in among if wanted(kind)]
    if not kinds:  # in this version of the libraries
        return pytest.mark.skip(reason=because)
    return pytest.mark.parametrize("kind", kinds, ids=ids(kinds), indirect=True)


def outside_clusters(kind: Kind) -> bool:
    return not kind.is_cluster


def with_transactions(kind: Kind) -> bool:
    return kind.has_transactions


def batches() -> pytest.MarkDecorator:
    """The test is for pipelines, and for transactions where the kind has some."""
    cases = [
        pytest.param(kind, transaction, id=f"{kind.name} {'MULTI' if transaction else 'PIPELINE'}")
        for kind in BATCHING
        for transaction in (False, True)
        if kind.has_transactions or not transaction
    ]
    return pytest.mark.parametrize(("kind", "transaction"), cases, indirect=["kind"])
