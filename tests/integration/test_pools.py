"""Connection pools: what they hold, as the server sees it, and how long one waits for a connection."""

from __future__ import annotations

import asyncio
import gc
import importlib
import socket
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, cast

import pytest
import redis
import redis.asyncio
from redis.sentinel import Sentinel as SentinelClient

from otel_redis_cache import RedisCacheInstrumentor, clients
from otel_redis_cache.checkouts import Watch
from tests.real.clusters import Cluster
from tests.real.processes import wait_until
from tests.real.sentinels import Sentinels
from tests.real.servers import RedisServer
from tests.recording import Recording
from tests.safety.test_fork import in_child

COUNT = "db.client.connection.count"
MAX = "db.client.connection.max"
PENDING = "db.client.connection.pending_requests"
TIMEOUTS = "db.client.connection.timeouts"
CREATED = "db.client.connection.create_time"
WAITED = "db.client.connection.wait_time"
USED = "db.client.connection.use_time"
NAME = "tests-of-pools"


@pytest.fixture(params=["redis", "valkey"])
def library(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.fixture(params=["ConnectionPool", "BlockingConnectionPool"])
def pool_class(request: pytest.FixtureRequest, library: ModuleType) -> Any:
    return getattr(library, request.param)


@pytest.fixture(params=["ConnectionPool", "BlockingConnectionPool"])
def async_pool_class(request: pytest.FixtureRequest, library: ModuleType) -> Any:
    return getattr(importlib.import_module(f"{library.__name__}.asyncio"), request.param)


def client_of(pool: Any) -> Any:
    """A client of the library that the pool is of."""
    name = type(pool).__module__.rpartition(".")[0]
    module = importlib.import_module(name)
    return getattr(module, "Valkey" if name.startswith("valkey") else "Redis")(connection_pool=pool)


def at(server: RedisServer) -> dict[str, Any]:
    return {"host": server.host, "port": server.port, "client_name": NAME}


def connected(host: str, port: int, client_name: str = NAME) -> int:
    """What CLIENT LIST says of the connections of these tests, or of one of them."""
    with socket.create_connection((host, port)) as own:
        own.sendall(b"CLIENT LIST\r\nQUIT\r\n")
        with own.makefile("rb") as said:
            return said.read().count(f"name={client_name} ".encode())


def held(recording: Recording) -> dict[tuple[str, str], int]:
    return recording.counts(COUNT)


def name_of(server: RedisServer, db: int = 0) -> str:
    return f"{server.host}:{server.port}/{db}"


def no_series(recording: Recording) -> bool:
    return not any(recording.points(name) for name in (COUNT, MAX, PENDING))


def test_counts_are_what_the_server_says(
    server: RedisServer, recording: Recording, pool_class: Any
) -> None:
    recording.instrument()
    pool, name = pool_class(max_connections=7, **at(server)), name_of(server)
    with client_of(pool) as client:
        assert held(recording) == {}
        client.get("user:1")
        assert held(recording) == {(name, "idle"): 1, (name, "used"): 0}
        with ExitStack() as stack:
            for _ in range(3):
                pubsub = stack.enter_context(client.pubsub())
                pubsub.subscribe("news")
            assert held(recording) == {(name, "idle"): 0, (name, "used"): 3}
            assert connected(server.host, server.port) == 3
        idle, used = held(recording)[name, "idle"], held(recording)[name, "used"]
        assert (idle + used, used) == (connected(server.host, server.port), 0)
        assert recording.counts(MAX) == {name: 7}
        assert recording.counts(PENDING) == {name: 0}
        assert recording.counts(CREATED) == {name: 3}
    pool.disconnect()

    assert connected(server.host, server.port) == 0
    assert no_series(recording)


async def test_counts_of_asyncio_pools_are_what_the_server_says(
    server: RedisServer, recording: Recording, async_pool_class: Any
) -> None:
    recording.instrument()
    pool, name = async_pool_class(max_connections=7, **at(server)), name_of(server)
    client = client_of(pool)
    await asyncio.gather(*(client.get("user:1") for _ in range(3)))
    assert held(recording) == {
        (name, "idle"): connected(server.host, server.port),
        (name, "used"): 0,
    }
    pubsub = client.pubsub()
    await pubsub.subscribe("news")
    assert held(recording) == {
        (name, "idle"): connected(server.host, server.port) - 1,
        (name, "used"): 1,
    }
    assert recording.counts(MAX) == {name: 7}
    assert recording.counts(CREATED) == {name: connected(server.host, server.port)}
    await pubsub.aclose()
    await pool.disconnect()

    assert connected(server.host, server.port) == 0
    assert no_series(recording)


def test_a_closed_pool_that_is_used_again_comes_back(
    server: RedisServer, recording: Recording, pool_class: Any
) -> None:
    recording.instrument()
    pool, name = pool_class(**at(server)), name_of(server)
    client = client_of(pool)
    with client.pubsub() as pubsub:
        pubsub.subscribe("news")
        client.get("user:1")
    pool.disconnect()
    assert no_series(recording)
    client.get("user:1")

    assert held(recording) == {
        (name, "idle"): connected(server.host, server.port),
        (name, "used"): 0,
    }
    assert connected(server.host, server.port) == 1
    pool.disconnect()


def test_a_pool_whose_server_is_gone_holds_nothing_and_is_still_there(
    redis_server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    name = name_of(redis_server)
    with redis.Redis(**at(redis_server)) as client:
        client.get("user:1")
        redis_server.kill()
        try:
            with pytest.raises(redis.ConnectionError):
                client.get("user:1")
            assert held(recording) == {(name, "idle"): 0, (name, "used"): 0}
        finally:
            redis_server.revive()
        client.get("user:1")
        assert held(recording) == {(name, "idle"): 1, (name, "used"): 0}
        assert recording.counts(CREATED) == {name: 2}  # those that failed are none


def test_a_collected_pool_leaves_no_series(
    server: RedisServer, recording: Recording, pool_class: Any
) -> None:
    recording.instrument(metrics="all")
    pool = pool_class(**at(server))
    client = client_of(pool)
    client.get("user:1")
    left = weakref.ref(pool)
    assert held(recording) != {}
    with client.monitor() as monitor:  # takes a connection, and closes it
        del monitor
    del pool, client
    gc.collect()

    assert left() is None
    assert no_series(recording)


async def test_a_collected_asyncio_pool_leaves_no_series(
    server: RedisServer, recording: Recording, async_pool_class: Any
) -> None:
    recording.instrument(metrics="all")
    pool = async_pool_class(**at(server))
    client = client_of(pool)
    await client.get("user:1")
    left = weakref.ref(pool)
    assert held(recording) != {}
    async with client.monitor() as monitor:  # takes the connection, and closes it
        del monitor
    del pool, client
    await asyncio.sleep(0)
    gc.collect()

    assert left() is None
    assert no_series(recording)


def test_pools_of_one_name_are_summed_and_other_databases_kept_apart(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with (
        redis.Redis(max_connections=4, **at(server)) as one,
        redis.Redis(max_connections=5, **at(server)) as same,
        redis.Redis(max_connections=6, db=2, **at(server)) as other,
    ):
        for client in (one, same, other):
            client.get("user:1")
        assert held(recording) == {
            (name_of(server), "idle"): 2,
            (name_of(server), "used"): 0,
            (name_of(server, 2), "idle"): 1,
            (name_of(server, 2), "used"): 0,
        }
        assert recording.counts(MAX) == {name_of(server): 9, name_of(server, 2): 6}
        same.close()
        assert held(recording)[name_of(server), "idle"] == 1


def test_clients_that_share_a_pool_are_counted_once(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    pool = redis.ConnectionPool(**at(server))
    clients: list[Any] = [redis.Redis(connection_pool=pool) for _ in range(3)]
    for client in clients:
        client.get("user:1")

    assert held(recording) == {(name_of(server), "idle"): 1, (name_of(server), "used"): 0}
    owner: Any = redis.Redis.from_pool(redis.ConnectionPool(db=1, **at(server)))
    with owner:
        owner.get("user:1")
        assert held(recording)[name_of(server, 1), "idle"] == 1
    assert (name_of(server, 1), "idle") not in held(recording)
    pool.disconnect()


def test_a_client_of_one_connection_uses_it_all_the_time(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with redis.Redis(single_connection_client=True, **at(server)) as client:
        client.get("user:1")
        assert held(recording) == {(name_of(server), "idle"): 0, (name_of(server), "used"): 1}
    assert no_series(recording)


def test_a_pool_without_a_limit_has_no_maximum(
    server: RedisServer, recording: Recording, library: ModuleType
) -> None:
    recording.instrument()
    pool = library.ConnectionPool(max_connections=2**31, **at(server))
    client_of(pool).get("user:1")
    assert held(recording) != {}
    assert recording.points(MAX) == []
    pool.disconnect()


def exhausted(error: BaseException) -> bool:
    return str(error).startswith(("Too many connections", "No connection available"))


def test_an_exhausted_pool_is_a_time_out(
    server: RedisServer, recording: Recording, pool_class: Any
) -> None:
    recording.instrument()
    wait = {"timeout": 0.05} if "Blocking" in pool_class.__name__ else {}
    pool, name = pool_class(max_connections=1, **wait, **at(server)), name_of(server)
    client = client_of(pool)
    with client.pubsub() as pubsub:
        pubsub.subscribe("news")
        for _ in range(2):
            with pytest.raises(Exception) as refused:  # of either library
                client.get("user:1")
            assert exhausted(refused.value)
    client.get("user:1")

    assert recording.counts(TIMEOUTS) == {name: 2}
    assert recording.counts(WAITED) == {name: 2}
    assert recording.counts(PENDING) == {name: 0}
    (point,) = recording.metrics()[WAITED].data.data_points
    assert (point.sum >= 2 * 0.05) == bool(wait)
    pool.disconnect()
    assert recording.counts(TIMEOUTS) == {name: 2}  # a count goes on


async def test_an_exhausted_asyncio_pool_is_a_time_out(
    server: RedisServer, recording: Recording, async_pool_class: Any
) -> None:
    recording.instrument()
    wait = {"timeout": 0.05} if "Blocking" in async_pool_class.__name__ else {}
    pool, name = async_pool_class(max_connections=1, **wait, **at(server)), name_of(server)
    client = client_of(pool)
    pubsub = client.pubsub()
    await pubsub.subscribe("news")
    with pytest.raises(Exception) as refused:
        await client.get("user:1")
    await pubsub.aclose()
    await client.get("user:1")

    assert exhausted(refused.value)
    assert recording.counts(TIMEOUTS) == {name: 1}
    assert recording.counts(WAITED) == {name: 1}
    assert recording.counts(PENDING) == {name: 0}
    await pool.disconnect()


def test_a_server_that_refuses_is_no_time_out_of_the_pool(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with (
        redis.Redis(username="nobody", password="wrong", **at(server)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.get("user:1")

    assert recording.points(TIMEOUTS) == []
    assert recording.points(CREATED) == []
    assert sum(recording.counts(WAITED).values()) == 1


def test_waits_uses_and_who_waits_are_visible_when_the_pool_is_too_small(
    server: RedisServer, recording: Recording, library: ModuleType
) -> None:
    recording.instrument(metrics="default, pool_times")
    pool = library.BlockingConnectionPool(max_connections=2, timeout=10, **at(server))
    client, name = client_of(pool), name_of(server)
    threads = [threading.Thread(target=client.blpop, args=("empty", 0.5)) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: recording.counts(PENDING) == {name: 3}, timeout=5, what="three wait")
    assert held(recording) == {(name, "idle"): 0, (name, "used"): 2}
    for thread in threads:
        thread.join()

    assert recording.counts(PENDING) == {name: 0}
    assert recording.counts(WAITED) == recording.counts(USED) == {name: 5}
    (waits,) = recording.metrics()[WAITED].data.data_points
    (uses,) = recording.metrics()[USED].data.data_points
    assert 0.4 < waits.max < 2
    assert 0.4 < uses.min < 2
    pool.disconnect()


async def test_waits_and_who_waits_are_visible_in_asyncio(
    server: RedisServer, recording: Recording, library: ModuleType
) -> None:
    recording.instrument()
    module = importlib.import_module(f"{library.__name__}.asyncio")
    pool = module.BlockingConnectionPool(max_connections=2, timeout=10, **at(server))
    client, name = client_of(pool), name_of(server)
    await asyncio.gather(client.get("a:1"), client.get("a:1"))
    tasks = [asyncio.create_task(client.blpop("empty", 0.5)) for _ in range(5)]
    await asyncio.sleep(0.2)
    assert recording.counts(PENDING) == {name: 3}
    assert held(recording) == {(name, "idle"): 0, (name, "used"): 2}
    tasks[4].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert recording.counts(PENDING) == {name: 0}
    assert recording.counts(WAITED) == {name: 3}  # of seven: two waited, one gave up
    assert recording.points(USED) == []
    await pool.disconnect()


def test_a_use_lasts_until_the_connection_is_given_back(
    server: RedisServer, recording: Recording, pool_class: Any
) -> None:
    recording.instrument(metrics="pool_times")
    pool, name = pool_class(**at(server)), name_of(server)
    with client_of(pool) as client:
        client.get("user:1")
        client.pipeline().get("user:1").get("user:2").execute()
        assert recording.counts(USED) == recording.counts(WAITED) == {name: 2}
        with client.pubsub() as pubsub:
            pubsub.subscribe("news")
            time.sleep(0.1)
            assert recording.counts(USED) == {name: 2}
    (uses,) = recording.metrics()[USED].data.data_points
    assert (uses.count, uses.max > 0.1) == (3, True)
    pool.disconnect()


async def test_a_use_in_asyncio_lasts_until_the_connection_is_given_back(
    server: RedisServer, recording: Recording, async_pool_class: Any
) -> None:
    recording.instrument(metrics="pool_times")
    pool, name = async_pool_class(**at(server)), name_of(server)
    client = client_of(pool)
    await client.get("user:1")
    await client.pipeline().get("user:1").execute()

    assert recording.counts(USED) == recording.counts(WAITED) == {name: 2}
    await pool.disconnect()


def test_a_lost_connection_that_is_opened_again_is_another_one(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with redis.Redis(**at(server)) as client, client.pubsub() as pubsub:
        pubsub.subscribe("news")
        told: Any = pubsub.get_message(timeout=1)
        assert told["type"] == "subscribe"
        assert recording.counts(CREATED) == {name_of(server): 1}
        server.call("CLIENT", "KILL", "TYPE", "pubsub")
        with suppress(redis.ConnectionError):  # older clients tell, newer ones connect again
            pubsub.get_message(timeout=1)
        pubsub.subscribe("more news")
        assert connected(server.host, server.port) == 1
        # Opened by the one who holds it, without a checkout.
        assert recording.counts(CREATED) == {name_of(server): 2}


def test_the_pool_of_a_socket_is_named_by_its_path(
    redis_server: RedisServer, recording: Recording, tmp_path: Path
) -> None:
    path = f"{tmp_path}/redis.sock"
    with UnixServer(redis_server.binary, path):
        recording.instrument()
        with redis.Redis(unix_socket_path=path, db=3) as client:
            client.get("user:1")
            assert held(recording) == {(f"{path}/3", "idle"): 1, (f"{path}/3", "used"): 0}
            assert recording.counts(CREATED) == {f"{path}/3": 1}


class UnixServer:
    """A server that listens on a socket of the file system alone."""

    def __init__(self, binary: Path, path: str) -> None:
        from tests.real.processes import Process

        command = [binary, "--port", "0", "--unixsocket", path, "--save", ""]
        self._process = Process(command, log=Path(f"{path}.log"))
        self._path = path

    def __enter__(self) -> None:
        wait_until(lambda: Path(self._path).exists(), timeout=10, what="the socket is there")

    def __exit__(self, *exception: object) -> None:
        self._process.end(5)


def test_a_sentinels_pool_is_named_by_its_sentinels_and_service(
    sentinels: Sentinels, recording: Recording
) -> None:
    recording.instrument()
    asked = SentinelClient(sentinels.addresses)
    every = [f"{host}:{port}" for host, port in sentinels.addresses]
    name = f"{','.join(every)}/{sentinels.service}/0"
    with asked.master_for(sentinels.service) as master:
        master.get("user:1")
        assert held(recording)[name, "idle"] == 1
        assert recording.counts(CREATED)[name] == 1
        # The pool of the Sentinel that was asked is one too.
        assert sum(held(recording).get((f"{one}/0", "idle"), 0) for one in every) == 1
        for client in asked.sentinels:
            client.close()
    assert no_series(recording)


async def test_an_asyncio_sentinels_pool_is_named_the_same(
    sentinels: Sentinels, recording: Recording
) -> None:
    recording.instrument()
    asked: Any = redis.asyncio.Sentinel(sentinels.addresses)
    every = [f"{host}:{port}" for host, port in sentinels.addresses]
    name = f"{','.join(every)}/{sentinels.service}/0"
    master: Any = asked.master_for(sentinels.service)
    await master.get("user:1")
    assert held(recording)[name, "idle"] == 1
    assert recording.counts(CREATED)[name] == 1
    for client in (master, *asked.sentinels):
        await client.aclose()
        await client.connection_pool.disconnect()
    assert no_series(recording)


CLUSTERS = {"redis": "RedisCluster", "valkey": "ValkeyCluster"}


def test_the_nodes_of_a_cluster_are_one_pool(
    cluster: Cluster, recording: Recording, library: ModuleType
) -> None:
    recording.instrument(metrics="default, pool_times")
    cluster_class = getattr(
        importlib.import_module(f"{library.__name__}.cluster"), CLUSTERS[library.__name__]
    )
    client = cluster_class(host=cluster.host, port=cluster.ports[0], max_connections=4)
    for i in range(20):
        client.get(f"user:{i}")
    ((name, _), *_) = held(recording)
    nodes = clients.pools_of(client)

    assert name.endswith("/0")
    assert held(recording) == {(name, "idle"): 3, (name, "used"): 0}
    assert recording.counts(MAX) == {name: 12}
    assert recording.counts(USED)[name] >= 20
    assert recording.points("otel_redis_cache.errors") == []
    client.close()
    for pool in nodes:
        pool.disconnect()
    assert no_series(recording)


async def test_the_nodes_of_an_asyncio_cluster_are_one_pool(
    cluster: Cluster, recording: Recording, library: ModuleType
) -> None:
    recording.instrument(metrics="default, pool_times")
    cluster_class = getattr(
        importlib.import_module(f"{library.__name__}.asyncio.cluster"), CLUSTERS[library.__name__]
    )
    own = f"{NAME}-{library.__name__}"  # of a session's cluster
    client = cluster_class(
        host=cluster.host, port=cluster.ports[0], max_connections=2, client_name=own
    )
    for i in range(20):
        await client.get(f"user:{i}")
    name = f"{cluster.host}:{cluster.ports[0]}/0"

    assert recording.counts(CREATED) == {name: 4}  # one to the node that is asked for the others
    idle = sum(connected(cluster.host, node.port, own) for node in cluster.nodes)
    assert held(recording) == {(name, "idle"): idle, (name, "used"): 0}
    assert recording.counts(MAX) == {name: 2 * len(client.nodes_manager.nodes_cache)}
    assert recording.counts(USED)[name] >= 20
    assert recording.points("otel_redis_cache.errors") == []
    waiting = [asyncio.create_task(client.blpop("empty", 0.3)) for _ in range(2)]
    await asyncio.sleep(0.1)
    assert held(recording) == {(name, "idle"): idle - 1, (name, "used"): 2}
    with pytest.raises(Exception):  # noqa: B017  # of either library
        await client.blpop("empty", 0.3)
    assert recording.counts(TIMEOUTS)[name] >= 1
    await asyncio.gather(*waiting)
    await client.aclose()
    assert no_series(recording)
    if library is redis:  # valkey-py's cannot be used again
        await client.initialize()
        assert held(recording)[name, "idle"] >= 1
    left = weakref.ref(client)
    await client.aclose()
    del client, waiting
    await asyncio.sleep(0)
    gc.collect()
    assert left() is None


def test_a_client_with_an_observer_of_its_own_reports_to_its_own_provider(
    server: RedisServer, recording: Recording
) -> None:
    own, name = Recording(), name_of(server)
    recording.instrument()
    with redis.Redis(**at(server)) as client, redis.Redis(**at(server)) as other:
        for each in (client, other):
            each.get("user:1")
        assert held(recording)[name, "idle"] == 2
        RedisCacheInstrumentor.instrument_client(client, **own.providers)
        client.get("user:1")
        assert (held(recording)[name, "idle"], held(own)[name, "idle"]) == (1, 1)
        RedisCacheInstrumentor.uninstrument_client(client)
        assert no_series(own)
        client.get("user:1")
        assert held(recording)[name, "idle"] == 2


def test_without_the_group_pools_are_left_alone(server: RedisServer, recording: Recording) -> None:
    before = redis.ConnectionPool.get_connection
    recording.instrument(metrics="operations, cache")

    assert redis.ConnectionPool.get_connection is before
    RedisCacheInstrumentor().uninstrument()
    recording.instrument()
    assert redis.ConnectionPool.get_connection is not before
    assert "release" not in {method for _, method in RedisCacheInstrumentor._seams._wrapped}


def test_nothing_is_observed_once_nobody_watches(server: RedisServer, recording: Recording) -> None:
    instrumentor = recording.instrument()
    with redis.Redis(**at(server)) as client:
        client.get("user:1")
        instrumentor.uninstrument()
        assert no_series(recording)
        client.get("user:1")
        assert no_series(recording)
        again = Recording()
        again.instrument()
        assert no_series(again)
        client.get("user:1")
        assert (no_series(recording), no_series(again)) == (True, False)


def test_a_child_counts_its_own_connections(server: RedisServer, recording: Recording) -> None:
    recording.instrument()
    name = name_of(server)
    with redis.Redis(**at(server)) as client, client.pubsub() as pubsub:
        pubsub.subscribe("news")
        client.get("user:1")

        def work() -> list[Any]:
            before = held(recording)
            client.get("user:1")
            return [len(before), held(recording)[name, "idle"], held(recording)[name, "used"]]

        assert in_child(work) == [0, 1, 0]
        assert held(recording) == {(name, "idle"): 1, (name, "used"): 1}


def test_pending_is_exact_under_threads(server: RedisServer, recording: Recording) -> None:
    recording.instrument()
    pool_class: Any = redis.BlockingConnectionPool
    pool = pool_class(max_connections=2, timeout=0.01, **at(server))
    client = client_of(pool)
    outcomes: list[bool] = []

    def load() -> None:
        for i in range(200):
            try:
                client.get(f"user:{i}")
                outcomes.append(True)
            except redis.ConnectionError:
                outcomes.append(False)

    threads = [threading.Thread(target=load) for _ in range(12)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        idle, used = (held(recording).get((name_of(server), s), 0) for s in ("idle", "used"))
        assert 0 <= idle <= 2
        assert 0 <= used <= 2
        assert 0 <= sum(recording.counts(PENDING).values()) <= 12

    assert recording.counts(PENDING) == {name_of(server): 0}
    assert sum(recording.counts(TIMEOUTS).values()) == outcomes.count(False)
    pool.disconnect()


QUICK: dict[str, Any] = (
    {"driver_info": None}
    if hasattr(redis, "DriverInfo")
    else {"lib_name": None, "lib_version": None}
)
"""Without telling the server which library this is, which is what takes longest."""


def grown(clients: Callable[[int], None]) -> int:
    """Bytes between the 5,000th and the 10,000th client."""
    clients(5_000)
    gc.collect()
    tracemalloc.start()
    clients(5_000)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return after


@pytest.mark.timeout(240)
def test_ten_thousand_short_lived_clients_leave_nothing(
    redis_server: RedisServer, recording: Recording
) -> None:
    recording.instrument(traces=False)

    def clients(count: int) -> None:
        for _ in range(count):
            with redis.Redis(host=redis_server.host, port=redis_server.port, **QUICK) as client:
                client.get("user:1")

    assert grown(clients) < 256 * 1024
    assert no_series(recording)
    assert sum(recording.counts(CREATED).values()) == 10_000


@pytest.mark.timeout(240)
def test_ten_thousand_short_lived_asyncio_clients_leave_nothing(
    redis_server: RedisServer, recording: Recording
) -> None:
    recording.instrument(traces=False)

    async def one() -> None:
        place: Any = {"host": redis_server.host, "port": redis_server.port, **QUICK}
        async with redis.asyncio.Redis(**place) as client:
            await client.get("user:1")

    async def several(count: int) -> None:
        for _ in range(count // 10):
            await asyncio.gather(*(one() for _ in range(10)))

    assert grown(lambda count: asyncio.run(several(count))) < 256 * 1024
    assert no_series(recording)
    assert sum(recording.counts(CREATED).values()) == 10_000


def test_a_pool_that_cannot_be_read_keeps_no_other_from_being_read(
    server: RedisServer, recording: Recording
) -> None:
    class OddPool(redis.ConnectionPool):
        """Keeps its connections where nobody else looks."""

        kept: ClassVar[list[Any]] = []

        @property
        def _available_connections(self) -> Any:
            if looked:
                raise RuntimeError("user:secret")
            return self.kept

        @_available_connections.setter
        def _available_connections(self, kept: Any) -> None:
            type(self).kept = kept

    looked: list[bool] = []
    recording.instrument()
    with (
        redis.Redis(connection_pool=OddPool(db=1, **at(server))) as odd,
        redis.Redis(**at(server)) as client,
    ):
        odd.get("user:1")
        client.get("user:1")
        looked.append(True)
        assert {name for name, _ in held(recording)} == {name_of(server)}
        assert recording.counts("otel_redis_cache.errors")["connections"] > 0
        looked.clear()


def test_a_connection_without_a_dictionary_is_as_good_as_any(
    server: RedisServer, recording: Recording
) -> None:
    class Bare:
        """Looks like a connection, and can keep nothing."""

        __slots__ = ("_inner",)

        def __init__(self, **options: Any) -> None:
            object.__setattr__(self, "_inner", redis.Connection(**options))

        def __getattr__(self, name: str) -> Any:
            return getattr(object.__getattribute__(self, "_inner"), name)

    recording.instrument(metrics="default,pool_times")
    pool: Any = redis.ConnectionPool(connection_class=cast("Any", Bare), **at(server))
    client: Any = redis.Redis(connection_pool=pool)
    with client:
        assert client.get("user:1") is None
        assert client.pipeline().get("user:1").execute() == [None]

    assert recording.operations() == ["GET", "GET"]


async def test_an_interrupted_asyncio_checkout_loses_no_connection(
    server: RedisServer, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    class InterruptError(BaseException):
        """As a job's time-out, right after the pool has given a connection."""

    def strike(*_: object) -> None:
        raise InterruptError

    recording.instrument(metrics="default,pool_times")
    pool = redis.asyncio.BlockingConnectionPool(max_connections=1, timeout=1, **at(server))
    async with redis.asyncio.Redis(connection_pool=pool) as client:
        await client.get("user:1")
        with monkeypatch.context() as patched:
            patched.setattr(Watch, "obtained", strike)
            with pytest.raises(InterruptError):
                await client.get("user:1")
        assert await client.get("user:1") is None
        assert held(recording) == {(name_of(server), "idle"): 1, (name_of(server), "used"): 0}
    await pool.aclose()
