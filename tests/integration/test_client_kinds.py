"""What only some kinds of clients have: where they go, and what they send by themselves."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from otel_redis_cache import RedisCacheInstrumentor, context_of, payload_of
from tests.real.processes import wait_until
from tests.real.sentinels import Sentinels
from tests.real.servers import RedisServer
from tests.real.tls import TlsServer
from tests.recording import Recording, attributes_of
from tests.safety.application import NO_RETRY


def addresses(spans: list[ReadableSpan]) -> set[tuple[Any, Any]]:
    """What they say of where they were sent."""
    seen = map(attributes_of, spans)
    return {(span.get("server.address"), span.get("server.port")) for span in seen}


def peer_port(span: ReadableSpan) -> Any:
    return attributes_of(span).get("network.peer.port")


# Monitor, modules, databases.


def test_a_monitor_works_and_is_no_call(server: RedisServer, recording: Recording) -> None:
    recording.instrument()
    monitor: Any
    with redis.Redis(host=server.host, port=server.port) as client, client.monitor() as monitor:
        client.get("user:1")
        while "GET" not in (seen := monitor.next_command()["command"]):
            pass

    assert seen == "GET user:1"
    assert recording.operations() == ["GET"]
    assert recording.counts("db.client.operation.duration") == {"GET": 1}
    assert recording.points("otel_redis_cache.errors") == []


async def test_a_monitor_of_asyncio_is_no_call(server: RedisServer, recording: Recording) -> None:
    recording.instrument()
    async with (
        redis.asyncio.Redis(host=server.host, port=server.port) as client,
        client.monitor() as monitor,
    ):
        await client.get("user:1")
        while "GET" not in (seen := (await monitor.next_command())["command"]):
            pass

    assert seen == "GET user:1"
    assert recording.operations() == ["GET"]


def test_a_pipeline_of_documents_is_one_batch(
    redis_stack_server: RedisServer, recording: Recording
) -> None:
    redis_stack_server.flush()
    recording.instrument()
    with redis.Redis(host=redis_stack_server.host, port=redis_stack_server.port) as client:
        pipe: Any = client.json().pipeline()
        pipe.set("doc:1", "$", {"a": 1}).get("doc:1").get("doc:2")
        replies = pipe.execute()

    assert replies[0]
    assert replies[2] is None
    assert recording.operations() == ["MULTI"]
    assert recording.lookups() == {("doc", "hit"): 1, ("doc", "miss"): 1}
    assert recording.counts("cache.writes") == {("doc", "kept", "stored"): 1}


def test_select_changes_nothing_of_what_was_configured(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with redis.Redis(host=server.host, port=server.port, single_connection_client=True) as client:
        client.execute_command("SELECT", 1)
        client.set("user:1", "x")
        client.get("user:1")

    assert "db1" in server.info("keyspace")
    assert recording.operations() == ["SELECT", "SET", "GET"]
    assert {attributes_of(span)["db.namespace"] for span in recording.spans()} == {"0"}


# Ways in.


def test_the_peer_of_a_unix_socket_is_its_path(server: RedisServer, recording: Recording) -> None:
    recording.instrument()
    with redis.Redis(unix_socket_path=server.socket, db=2) as client:
        client.get("user:1")
    attributes = attributes_of(recording.span())

    assert addresses(recording.spans()) == {(server.socket, None)}
    assert attributes["network.peer.address"] == server.socket
    assert "network.peer.port" not in attributes
    assert attributes["db.namespace"] == "2"


def test_the_peer_behind_tls_is_the_server(tls_server: TlsServer, recording: Recording) -> None:
    recording.instrument()
    certificate = str(tls_server.certificates.certificate)
    with redis.Redis(
        host=tls_server.host, port=tls_server.tls_port, ssl=True, ssl_ca_certs=certificate
    ) as client:
        client.get("user:1")

    assert addresses(recording.spans()) == {(tls_server.host, tls_server.tls_port)}
    assert peer_port(recording.span()) == tls_server.tls_port


def test_a_server_without_the_right_certificate_is_an_error(
    tls_server: TlsServer, recording: Recording
) -> None:
    recording.instrument()
    with (
        redis.Redis(
            host=tls_server.host, port=tls_server.tls_port, ssl=True, retry=NO_RETRY
        ) as client,
        pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get("user:1")

    assert recording.lookups() == {("user", "error"): 1}
    assert attributes_of(recording.span())["error.type"] == "redis.exceptions.ConnectionError"


def test_waiting_for_a_connection_is_part_of_the_call(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    at_once: Any = {"timeout": 0.2}  # redis-py says that it is an int
    pool = redis.BlockingConnectionPool(
        host=server.host, port=server.port, max_connections=1, **at_once
    )
    with redis.Redis.from_pool(pool) as client:
        with client.pipeline() as holding:
            holding.watch("user:1")
            with pytest.raises(redis.ConnectionError, match="No connection available"):
                client.get("user:1")
        client.get("user:1")
    first, failed, last = recording.spans()

    assert attributes_of(failed)["error.type"] == "redis.exceptions.ConnectionError"
    assert failed.start_time is not None
    assert failed.end_time is not None
    assert failed.end_time - failed.start_time >= 0.2e9
    assert peer_port(failed) is None
    assert peer_port(first) == peer_port(last) == server.port
    assert recording.lookups() == {("user", "miss"): 1, ("user", "error"): 1}


# Sentinel.


def seeds(sentinels: Sentinels) -> str:
    known = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
    return f"{known}/{sentinels.service}"


def close(finder: redis.sentinel.Sentinel) -> None:
    for sentinel in finder.sentinels:
        sentinel.close()


def test_the_address_is_the_sentinels_before_and_after_a_failover(
    sentinels: Sentinels, recording: Recording
) -> None:
    recording.instrument()
    finder = redis.sentinel.Sentinel(sentinels.addresses, socket_timeout=1)
    with finder.master_for(sentinels.service, retry=NO_RETRY) as client:
        client.set("user:1", "x")
        before = sentinels.primary
        before.kill()
        sentinels.wait_for_another_primary(before)

        def answers_elsewhere() -> bool:
            try:
                client.set("user:1", "x")
            except redis.RedisError:  # while it changes
                return False
            return bool(peer_port(recording.spans()[-1]) != before.port)

        wait_until(answers_elsewhere, timeout=15, what="the client found the new primary")
    close(finder)

    assert peer_port(recording.spans()[0]) == before.port
    assert peer_port(recording.spans()[-1]) == sentinels.primary.port
    assert set(recording.operations()) == {"SET"}
    assert addresses(recording.spans()) == {(seeds(sentinels), None)}
    for attributes, _ in recording.points("db.client.operation.duration"):
        assert attributes["server.address"] == seeds(sentinels)


def test_where_no_sentinel_answers_the_address_is_theirs(recording: Recording) -> None:
    recording.instrument()
    finder = redis.sentinel.Sentinel(
        [("127.0.0.1", 1), ("127.0.0.1", 2)], sentinel_kwargs={"retry": NO_RETRY}
    )
    with (
        finder.master_for("mymaster", retry=NO_RETRY) as client,
        pytest.raises(redis.sentinel.MasterNotFoundError),
    ):
        client.get("user:1")
    close(finder)

    assert recording.operations() == ["GET"]
    assert addresses(recording.spans()) == {("127.0.0.1:1,127.0.0.1:2/mymaster", None)}
    assert recording.lookups() == {("user", "error"): 1}


async def test_asyncio_sentinels_are_asked_without_a_span(
    sentinels: Sentinels, recording: Recording
) -> None:
    recording.instrument()
    finder = redis.asyncio.sentinel.Sentinel(sentinels.addresses)
    async with finder.master_for(sentinels.service) as client:
        await asyncio.gather(*(client.get(f"user:{i}") for i in range(5)))
    for sentinel in finder.sentinels:
        await sentinel.aclose()

    assert recording.operations() == ["GET"] * 5
    assert addresses(recording.spans()) == {(seeds(sentinels), None)}


def test_a_replica_is_told_by_its_peer(sentinels: Sentinels, recording: Recording) -> None:
    recording.instrument()
    finder = redis.sentinel.Sentinel(sentinels.addresses)
    (replica,) = sentinels.replicas
    with finder.slave_for(sentinels.service) as client:
        client.get("user:1")
    close(finder)

    assert replica.commandstats()["get"] == 1
    assert recording.operations() == ["GET"]
    assert addresses(recording.spans()) == {(seeds(sentinels), None)}
    assert peer_port(recording.span()) == replica.port


# Several databases, one of which is in use.

several_databases = pytest.mark.skipif(
    importlib.util.find_spec("redis.multidb") is None, reason="redis-py has it since 7.0"
)
# Its close() leaves connections open; it says itself that it is experimental.
unclosed = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def garbage(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test left unclosed is collected in that test, and warns in no other."""
    yield
    if request.node.get_closest_marker("filterwarnings") is not None:
        gc.collect()


QUICK_CHECKS = {
    "health_check_probes": 1,
    "health_check_delay": 0,
    "health_check_interval": 0.1,
    "min_num_failures": 1,
}


def several(package: str, *servers: RedisServer) -> Any:
    """A client that uses the first of the servers, while it is well."""
    config = importlib.import_module(f"{package}.multidb.config")
    client = importlib.import_module(f"{package}.multidb.client")
    databases = [
        config.DatabaseConfig(
            client_kwargs={"host": server.host, "port": server.port}, weight=1 / (1 + index)
        )
        for index, server in enumerate(servers)
    ]
    return client.MultiDBClient(config.MultiDbConfig(databases, **QUICK_CHECKS))


def both(first: RedisServer, second: RedisServer) -> tuple[str, None]:
    return ",".join(sorted(f"{one.host}:{one.port}" for one in (first, second))), None


@several_databases
@unclosed
def test_a_call_to_one_of_several_databases_is_one_span_whichever_answers(
    redis_server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with RedisServer("redis", redis_server.binary) as first:
        client = several("redis", first, redis_server)
        client.get("user:1")
        time.sleep(0.3)  # a few checks of health
        client.pipeline().get("user:1").get("cart:1").execute()
        first.kill()
        client.get("user:1")
        client.close()
    spans = recording.spans()

    assert recording.operations() == ["GET", "MULTI GET", "GET"]
    assert addresses(spans) == {both(first, redis_server)}
    assert [peer_port(span) for span in spans] == [first.port, first.port, redis_server.port]
    assert recording.lookups() == {("user", "miss"): 3, ("cart", "miss"): 1}
    assert recording.counts("db.client.operation.duration") == {"GET": 2, "MULTI GET": 1}
    assert recording.points("otel_redis_cache.errors") == []


@several_databases
@unclosed
def test_a_batch_for_several_databases_tells_its_failed_commands(
    redis_server: RedisServer, recording: Recording
) -> None:
    redis_server.flush()
    redis_server.call("LPUSH", "list:1", "x")
    recording.instrument()
    client = several("redis", redis_server)
    with pytest.raises(redis.ResponseError):
        client.pipeline().get("user:1").get("list:1").execute()
    client.close()

    assert recording.operations() == ["MULTI GET"]
    assert attributes_of(recording.span())["redis.batch.failed.index"] == 1
    assert recording.lookups() == {("user", "miss"): 1, ("list", "error"): 1}


@several_databases
@unclosed
def test_what_is_sent_to_one_of_several_databases_carries_its_span(
    redis_server: RedisServer, recording: Recording
) -> None:
    redis_server.flush()
    recording.instrument(propagate_context=True)
    client = several("redis", redis_server)
    client.xadd("orders:1", {"total": 5})
    client.pipeline().get("user:1").xadd("orders:1", {"total": 6}).execute()
    entries = client.xrange("orders:1")
    client.close()
    alone, batch, _ = recording.spans()
    carried = [trace.get_current_span(context_of(entry)).get_span_context() for entry in entries]
    made = [span.get_span_context() for span in (alone, batch)]

    assert [alone.name, batch.name] == ["XADD", "MULTI"]
    assert [one.span_id for one in carried] == [one.span_id for one in made if one]
    assert [payload_of(entry) for entry in entries] == [{b"total": b"5"}, {b"total": b"6"}]


@several_databases
@unclosed
def test_the_pipelines_of_a_watched_client_of_several_databases_are_watched(
    redis_server: RedisServer, recording: Recording
) -> None:
    """Also where single clients are watched, and no other is."""
    client = several("redis", redis_server)
    RedisCacheInstrumentor.instrument_client(client, **recording.providers)
    client.pipeline().get("user:1").get("cart:1").execute()
    RedisCacheInstrumentor.uninstrument_client(client)
    client.pipeline().get("user:2").execute()
    client.close()

    assert recording.operations() == ["MULTI GET"]
    assert recording.lookups() == {("user", "miss"): 1, ("cart", "miss"): 1}


@several_databases
@unclosed
async def test_asyncio_calls_to_several_databases_are_one_span(
    redis_server: RedisServer, valkey_server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    client = several("redis.asyncio", redis_server, valkey_server)
    async with client:
        await client.get("user:1")
        await asyncio.sleep(0.3)
        await client.pipeline().get("user:1").get("cart:1").execute()
    for database, _ in client.get_databases():
        await database.client.aclose()

    assert recording.operations() == ["GET", "MULTI GET"]
    assert addresses(recording.spans()) == {both(redis_server, valkey_server)}
    assert recording.points("otel_redis_cache.errors") == []
