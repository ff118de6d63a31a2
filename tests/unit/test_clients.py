from __future__ import annotations

import asyncio
import gc
import re
import weakref

import pytest
import redis
import redis.asyncio
import redis.exceptions
import redis.sentinel
import valkey
import valkey.exceptions
from redis._parsers.base import BaseParser
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    DataError,
    MaxConnectionsError,
    ResponseError,
    WatchError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from otel_redis_cache import clients, clusters, failures
from otel_redis_cache.facts import Contact, Failure


@pytest.mark.parametrize(
    ("answer", "type_", "status"),
    [
        ("WRONGTYPE Operation against a key", "WRONGTYPE", "WRONGTYPE"),
        ("ERR unknown command 'x'", "ERR", "ERR"),
        ("OOM command not allowed", "OOM", "OOM"),
        ("NOSCRIPT No matching script", "NOSCRIPT", "NOSCRIPT"),
        ("READONLY You can't write", "READONLY", "READONLY"),
        ("LOADING Redis is loading", "LOADING", "LOADING"),
        ("NOAUTH Authentication required.", "NOAUTH", "NOAUTH"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS", "WRONGPASS"),
        ("NOPERM this user has no permissions", "NOPERM", "NOPERM"),
        ("EXECABORT Transaction discarded", "EXECABORT", "EXECABORT"),
        ("MOVED 3999 127.0.0.1:6381", "MOVED", "MOVED"),
        ("CLUSTERDOWN The cluster is down", "CLUSTERDOWN", "CLUSTERDOWN"),
        ("BUSYKEY Target key name already exists.", "BUSYKEY", "BUSYKEY"),
        ("MISCONF Redis is configured", "MISCONF", "MISCONF"),
        ("MYOWN something", "_OTHER", "_OTHER"),
        ("oops thing", "ERR", "ERR"),
        ("ERR max number of clients reached", "MAXCLIENTS", "ERR"),
        ("ERR Client sent AUTH, but no password is set", "AuthenticationError", "ERR"),
        ("ERR invalid password", "AuthenticationError", "ERR"),
    ],
)
def test_an_answer_of_the_server_is_named_by_its_prefix(
    answer: str, type_: str, status: str
) -> None:
    assert failures.failure_of(BaseParser.parse_error(answer)) == Failure(type_, status)


@pytest.mark.parametrize(
    "error",
    [
        "Command # 2 (LPUSH k OOM val) of pipeline caused error: WRONGTYPE Operation",
        "Command # 2 (LPUSH k val) of pipeline caused error: ('WRONGTYPE Operation',)",
        "Command # 2 (x\n) of pipeline caused error: y) of pipeline caused error: WRONGTYPE Op",
    ],
)
def test_an_error_of_a_pipeline_is_read_behind_its_arguments(error: str) -> None:
    assert failures.failure_of(ResponseError(error)) == Failure("WRONGTYPE", "WRONGTYPE")
    assert failures.failed_index(ResponseError(error)) == 1


@pytest.mark.parametrize(
    ("error", "type_"),
    [
        (RedisConnectionError("refused"), "redis.exceptions.ConnectionError"),
        (RedisTimeoutError("slow"), "redis.exceptions.TimeoutError"),
        (MaxConnectionsError("Too many connections"), "redis.exceptions.MaxConnectionsError"),
        (asyncio.CancelledError(), "asyncio.exceptions.CancelledError"),
        (ZeroDivisionError("callback"), "ZeroDivisionError"),
        (DataError("secret"), "redis.exceptions.DataError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_without_an_answer_the_exception_names_the_failure(
    error: BaseException, type_: str
) -> None:
    assert failures.failure_of(error) == Failure(type_, None)


def test_what_the_client_refuses_was_not_asked_for() -> None:
    assert failures.refused(DataError("x"))
    assert failures.refused(WatchError("x"))
    assert not failures.refused(RedisConnectionError("x"))
    assert not failures.refused(ResponseError("x"))


@pytest.mark.parametrize(
    ("error", "contact"),
    [
        (None, Contact.ANSWERED),
        (ResponseError("WRONGTYPE Operation against a key"), Contact.ANSWERED),
        (WatchError("Watched variable changed."), Contact.ANSWERED),
        (redis.exceptions.AuthenticationError("invalid username-password pair"), Contact.ANSWERED),
        (redis.exceptions.BusyLoadingError("Redis is loading"), Contact.UNKNOWN),
        (redis.exceptions.MasterDownError("Link with MASTER is down"), Contact.UNKNOWN),
        (redis.exceptions.ReadOnlyError("You can't write"), Contact.ANSWERED),
        (RedisConnectionError("max number of clients reached"), Contact.UNKNOWN),
        (RedisConnectionError("Error 111 connecting to localhost:6379."), Contact.UNREACHED),
        (RedisConnectionError("Connection closed by server."), Contact.UNREACHED),
        (RedisConnectionError(OSError("reset")), Contact.UNREACHED),
        (valkey.exceptions.ConnectionError("Error 111 connecting"), Contact.UNREACHED),
        (redis.sentinel.MasterNotFoundError("No master found for 'mymaster'"), Contact.UNREACHED),
        (ConnectionResetError(104, "reset"), Contact.UNREACHED),
        (RedisTimeoutError("Timeout reading from socket"), Contact.TIMED_OUT),
        (valkey.exceptions.TimeoutError("Timeout connecting to server"), Contact.TIMED_OUT),
        (TimeoutError(), Contact.TIMED_OUT),
        (asyncio.TimeoutError(), Contact.TIMED_OUT),
        (MaxConnectionsError("Too many connections"), Contact.UNKNOWN),
        (RedisConnectionError("Too many connections"), Contact.UNKNOWN),
        (RedisConnectionError("No connection available."), Contact.UNKNOWN),
        (RedisConnectionError("Invalid Database"), Contact.UNKNOWN),
        (DataError("Invalid input of type: 'dict'."), Contact.UNKNOWN),
        (asyncio.CancelledError(), Contact.UNKNOWN),
        (KeyboardInterrupt(), Contact.UNKNOWN),
        (ValueError("of a response callback"), Contact.UNKNOWN),
    ],
)
def test_only_a_failure_of_the_network_says_that_a_server_was_not_reached(
    error: BaseException | None, contact: Contact
) -> None:
    assert failures.contact_of(error) is contact


@pytest.mark.parametrize(
    ("url", "address", "port", "namespace"),
    [
        ("redis://localhost", "localhost", None, "0"),
        ("redis://cache.internal:6379/3", "cache.internal", None, "3"),
        ("redis://:secret@10.0.0.1:6380/1", "10.0.0.1", 6380, "1"),
        ("rediss://cache:6390", "cache", 6390, "0"),
        ("unix:///run/redis.sock?db=2", "/run/redis.sock", None, "2"),
    ],
)
@pytest.mark.parametrize("library", [redis, redis.asyncio])
def test_the_target_is_the_configured_address(
    library: object, url: str, address: str, port: int | None, namespace: str
) -> None:
    target = clients.target_of(library.Redis.from_url(url))  # type: ignore[attr-defined]

    assert (target.system, target.address, target.port, target.namespace) == (
        "redis",
        address,
        port,
        namespace,
    )


def test_a_url_in_the_place_of_a_host_shows_no_password() -> None:
    client = redis.Redis(host="redis://user:secret@cache.internal")

    assert clients.target_of(client).address == "cache.internal"


def test_clients_of_one_address_share_a_target() -> None:
    first, second = redis.Redis(port=7000), redis.Redis(port=7000)

    assert clients.target_of(first) == clients.target_of(second)
    assert hash(clients.target_of(first)) == hash(clients.target_of(second))
    assert clients.target_of(first.pipeline()) is clients.target_of(first)
    assert clients.target_of(redis.Redis(port=7001)) != clients.target_of(first)


def test_valkey_clients_are_another_system() -> None:
    class Mine(valkey.Valkey):  # type: ignore[misc]
        pass

    assert clients.target_of(Mine()).system == "valkey"


def test_a_sentinel_target_is_the_sentinels_and_the_service() -> None:
    sentinel = redis.Sentinel([("s1", 26379), ("s2", 26380)])
    target = clients.target_of(sentinel.master_for("mymaster"))

    assert (target.address, target.port) == ("s1:26379,s2:26380/mymaster", None)


def test_a_target_does_not_keep_a_pool_alive() -> None:
    client = redis.Redis(port=7002)
    clients.target_of(client)
    pool = weakref.ref(client.connection_pool)
    del client
    gc.collect()

    assert pool() is None


def test_prefixes_are_words() -> None:
    assert all(re.fullmatch("[A-Z]+", prefix) for prefix in failures.PREFIXES)


def test_a_pipeline_that_is_sent_again_looks_for_its_commands_in_linear_time() -> None:
    looked: list[int] = []

    class Queued:
        def __init__(self, i: int) -> None:
            self.args = ("GET", f"user:{i}")

        @property
        def result(self) -> Exception:
            looked.append(1)
            return redis.ResponseError("ASK")

    queue = [Queued(i) for i in range(1_000)]
    position = 0
    for command in queue:
        position, error = clusters.error_of(queue, command.args, position)
        assert error is not None

    assert len(looked) <= 3 * len(queue)
