"""A watched server: what it tells, when it is silent, and that nobody else notices."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from otel_redis_cache import SettingError, conventions, watch_server
from otel_redis_cache.server import info
from otel_redis_cache.server.sources import sources_of
from tests.integration.kinds import Kind, Place
from tests.integration.waiting import Waiting
from tests.integration.watching import PERIOD, told, watched
from tests.real.clusters import Cluster
from tests.real.processes import wait_until
from tests.real.sentinels import Sentinels
from tests.real.servers import RedisServer
from tests.recording import Recording

UPTIME, COMMANDS = "redis.uptime", "redis.commands.processed"


def nodes(recording: Recording) -> set[Any]:
    """The ports, or the path of a socket, of all that tell how long they are up."""
    points = recording.points(UPTIME)
    return {found.get("server.port", found["server.address"]) for found, _ in points}


def wait_for(recording: Recording, wanted: set[Any], timeout: float = 10) -> None:
    wait_until(
        lambda: nodes(recording) == wanted, timeout=timeout, what=f"{wanted} tell of themselves"
    )


def about_servers(recording: Recording) -> set[str]:
    """Names of the metrics about servers that have a point now; a histogram keeps its own."""
    kept = {metric.name for metric in conventions.SERVER_METRICS if metric.kind != "histogram"}
    return kept & recording.metrics().keys()


def test_a_server_tells_of_itself(new_server: RedisServer, recording: Recording) -> None:
    with watched(recording, new_server):
        wait_for(recording, {new_server.port})

        for attributes, _ in recording.points(COMMANDS):
            assert attributes == {"server.address": "127.0.0.1", "server.port": new_server.port}
        # It has not done much yet, and does some more until we ask it ourselves.
        asked = int(new_server.info()["total_commands_processed"])
        assert 0 < told(recording, COMMANDS) <= asked
        used = int(new_server.info()["used_memory"])
        assert told(recording, "redis.memory.used") == pytest.approx(used, rel=0.1)


def test_the_time_of_asking_counts_though_the_server_refuses(
    new_server: RedisServer, recording: Recording
) -> None:
    new_server.call("SET", "page:1", "x")
    new_server.call("ACL", "SETUSER", "watcher", "on", ">any", "~*", "&*", "+@all", "-memory|usage")
    url = f"redis://watcher:any@{new_server.host}:{new_server.port}/0"
    with watched(recording, url, sample_memory=True):
        wait_until(
            lambda: told(recording, "cache.sampler.duration") >= 2, timeout=10, what="two cycles"
        )
        assert not recording.points("cache.entries")


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        (["~*", "+@all", "-memory|usage"], "+memory|usage"),
        (["~otel_redis_cache:*", "+@all"], "%R~*"),
        (["~*", "+@all", "-info"], "+info"),
    ],
)
def test_a_command_that_is_denied_is_said_with_the_rule_that_is_missing(
    rules: list[str],
    missing: str,
    new_server: RedisServer,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
) -> None:
    new_server.call("SET", "page:1", "x")
    new_server.call("ACL", "SETUSER", "watcher", "on", ">any", "&*", *rules)
    url = f"redis://watcher:any@{new_server.host}:{new_server.port}/0"
    with watched(recording, url, sample_memory=True):
        wait_until(lambda: caplog.records, timeout=10, what="it is said")
        assert f"(NOPERM; the ACL rule {missing} is missing)" in caplog.text

        new_server.call("ACL", "SETUSER", "watcher", missing)
        wait_until(lambda: told(recording, "cache.entries"), timeout=10, what="it is sampled")
        wait_for(recording, {new_server.port})
    assert len(caplog.records) == 1


def test_sums_go_on_from_the_last_total_after_a_restart_and_a_reset(
    new_server: RedisServer, recording: Recording
) -> None:
    """A3.7, A3.8 of scenarios.md."""
    seen = 0

    def has_grown() -> bool:
        total = told(recording, COMMANDS)
        assert not total or total >= seen, "a sum has fallen"
        return bool(total >= seen + 100)

    with watched(recording, new_server):
        for disturb in (new_server.reset_stats, new_server.restart) * 2:
            for _ in range(100):
                new_server.call("PING")
            wait_until(has_grown, timeout=10, what="commands are counted on")
            seen = told(recording, COMMANDS)
            disturb()


@pytest.mark.parametrize("disturb", ["kill", "pause"])
def test_a_server_that_does_not_answer_has_no_point_and_nobody_waits_for_it(
    disturb: str, new_server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with (
        redis.Redis(port=new_server.port) as client,
        watched(recording, new_server, sample_memory=True, listen_events=True),
    ):
        client.set("page:1", b"x")
        wait_until(lambda: told(recording, "cache.entries"), timeout=10, what="it is sampled")
        before = clients_of(new_server)

        getattr(new_server, disturb)()
        silent = lambda: not about_servers(recording) - {"cache.evictions"}  # noqa: E731
        wait_until(silent, timeout=10, what="nothing is told of a server that is silent")
        longest = 0.0
        for _ in range(1_000):
            started = time.monotonic()
            recording.metrics()
            longest = max(longest, time.monotonic() - started)
        assert longest <= 1
        assert "cache.writes" in recording.metrics()
        assert not about_servers(recording) - {"cache.evictions"}

        new_server.revive()
        wait_for(recording, {new_server.port})
        client.set("page:1", b"x")
        wait_until(lambda: told(recording, "cache.entries"), timeout=10, what="it is sampled")
        wait_until(
            lambda: clients_of(new_server) == before, timeout=10, what="as many connections as ever"
        )


def clients_of(server: RedisServer) -> int:
    """Connections, but for the one that asks."""
    listed = server.call("CLIENT", "LIST")
    assert isinstance(listed, str)
    return len(listed.splitlines()) - 1


def test_after_close_no_thread_no_connection_no_lease_and_no_point_is_left(
    new_server: RedisServer, recording: Recording
) -> None:
    threads = threading.active_count()
    settings = {"watch_commands": True, "sample_memory": True, "listen_events": True}
    with watched(recording, new_server, **settings):
        wait_for(recording, {new_server.port})
        assert threading.active_count() == threads + 1

    assert threading.active_count() == threads
    assert not about_servers(recording)
    assert new_server.call("KEYS", "*") == []
    wait_until(lambda: clients_of(new_server) == 0, timeout=5, what="connections are closed")


def test_closing_takes_a_second_at_most_while_nobody_answers(
    new_server: RedisServer, recording: Recording
) -> None:
    threads = threading.active_count()
    with watched(recording, new_server) as watch:
        wait_for(recording, {new_server.port})
        new_server.pause()
        time.sleep(2 * PERIOD)  # a question is open
        started = time.monotonic()
        watch.close()
        assert time.monotonic() - started <= 1.5
    wait_until(lambda: threading.active_count() == threads, timeout=5, what="the thread ends")
    watch.close()  # once more does no harm
    new_server.resume()


async def test_closing_holds_up_no_asyncio_program(
    new_server: RedisServer, recording: Recording
) -> None:
    longest = 0.0

    async def go_on() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    threads = threading.active_count()
    with watched(recording, new_server) as watch:
        wait_for(recording, {new_server.port})
        new_server.pause()
        await asyncio.sleep(2 * PERIOD)  # a question is open
        going = asyncio.create_task(go_on())
        await asyncio.sleep(0.05)
        started = time.monotonic()
        async with watch:
            pass
        assert 0.2 < time.monotonic() - started <= 1.5
        going.cancel()
        assert longest < 0.2
        assert not about_servers(recording)
    new_server.resume()
    await asyncio.get_running_loop().shutdown_default_executor()
    wait_until(lambda: threading.active_count() == threads, timeout=5, what="the thread ends")


@pytest.fixture
def instrumented(recording: Recording) -> Recording:
    """Before there is a client: a cluster's soon forgets what it was told."""
    recording.instrument()
    return recording


def test_each_kind_of_client_says_whom_to_watch(
    instrumented: Recording,
    kind: Kind,
    place: Place,
    client: Any,
) -> None:
    given = client._behind if isinstance(client, Waiting) else client
    (source,) = sources_of(given)
    assert source.target.attributes == kind.target(place)
    if isinstance(place, Cluster):
        wanted: set[Any] = {node.port for node in place.nodes}
    elif isinstance(place, Sentinels):
        wanted = {server.port for server in place.servers}
    else:
        address, port = kind.address(place)
        wanted = {address if port is None else port}

    with watched(instrumented, given):
        wait_for(instrumented, wanted)


def test_a_client_of_several_databases_is_watched_at_each(
    valkey_server: RedisServer, redis_server: RedisServer, recording: Recording
) -> None:
    multidb = pytest.importorskip("redis.multidb.client", reason="redis-py before 6.5 has none")
    from redis.multidb.config import DatabaseConfig, MultiDbConfig

    for server in (valkey_server, redis_server):
        server.revive()
    databases = [
        DatabaseConfig(from_url=server.url, weight=1.0) for server in (valkey_server, redis_server)
    ]
    with pytest.warns(UserWarning, match="experimental"):
        client = multidb.MultiDBClient(MultiDbConfig(databases_config=databases))
    try:
        client.ping()
        with watched(recording, client):
            wait_for(recording, {valkey_server.port, redis_server.port})
    finally:
        client.close()


@pytest.fixture
def guarded(redis_server: RedisServer) -> Iterator[RedisServer]:
    """Asks for a user and a password."""
    with RedisServer("redis", redis_server.binary) as server:
        server.call("ACL", "SETUSER", "app", "on", ">p@ss/w?rd", "~*", "&*", "+@all")
        yield server


def test_a_url_may_have_a_password_and_name_a_socket(
    guarded: RedisServer, recording: Recording
) -> None:
    login = "app:p%40ss%2Fw%3Frd@"
    with watched(recording, f"redis://{login}127.0.0.1:{guarded.port}/3"):
        wait_for(recording, {guarded.port})
    with watched(recording, f"valkey://{login}127.0.0.1:{guarded.port}"):
        wait_for(recording, {guarded.port})
    with watched(recording, f"unix://{login}{guarded.socket}"):
        wait_for(recording, {guarded.socket})


WRONG = [
    ("localhost:6379", "'localhost:6379'"),
    ("http://user:secret@cache", "'http://cache'"),
    ("redis://:secret@cache:port", "'redis://cache:port'"),
    ("redis://:se/cret@cache", "'redis://cache'"),
    ("redis+sentinel://:secret@cache:26379", "'redis+sentinel://cache:26379'"),
    ("redis+sentinel://:secret@cache:no/mymaster", "'redis+sentinel://cache:no/mymaster'"),
    ("redis://:secret@cache?db=secret", "'redis://cache'"),
    ("redis://user:pa://secret@cache:port/0", "'redis://cache:port/0'"),
    ("redis://cache:port/0?password=abc@secret", "'redis://'"),
    ("redis://user:se?secret@cache:port", "'redis://'"),
    ("redis+sentinel://u:pw@h:bad/name?password=x@secret", "'redis+sentinel://'"),
    ("redis://[secret", "'redis://'"),
    ("redis://u:p@[secret", "'redis://'"),
    ("redis://user:secret", "'redis://'"),
    ("redis://:se/secret", "'redis://'"),
    ("redis://user:secret/0", "'redis://'"),
    ("user:secret", "''"),
    ("user:secret@redis://cache", "'redis://cache'"),
    ("redis://[::1]:6379?db=secret", "'redis://[::1]:6379'"),
    ("unix://", "'unix://'"),
]


@pytest.mark.parametrize(("url", "shown"), WRONG)
def test_a_url_that_is_none_is_one_clear_error_without_its_password(url: str, shown: str) -> None:
    with pytest.raises(SettingError) as raised:
        watch_server(url)

    assert str(raised.value).startswith(f"watch is {shown}")
    assert "secret" not in str(raised.value)
    assert "secret" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("thing", [None, 6379, b"redis://x", object(), redis.ConnectionPool()])
def test_what_is_no_client_is_one_clear_error(thing: object) -> None:
    with pytest.raises(TypeError, match=r"watch_server takes a URL such as .* not <class"):
        watch_server(thing)


def test_a_pipeline_is_no_client() -> None:
    with pytest.raises(TypeError, match="watch_server takes"):
        watch_server(redis.Redis().pipeline())


def test_an_unknown_option_names_the_known_ones() -> None:
    with pytest.raises(SettingError, match=r"'traces' is no option of watch_server; allowed are c"):
        watch_server("redis://localhost", traces=True)
    with pytest.raises(SettingError, match=r"sample_memory is 'much'; allowed: true or false"):
        watch_server("redis://localhost", sample_memory="much")


def test_a_wrong_password_is_said_once_and_not_shown(
    new_server: RedisServer, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    new_server.call("CONFIG", "SET", "requirepass", "right")
    with watched(recording, f"redis://:wrong-secret@127.0.0.1:{new_server.port}"):
        wait_until(lambda: caplog.records, timeout=10, what="somebody is told")
        time.sleep(5 * PERIOD)

    said = [record.getMessage() for record in caplog.records]
    assert len(said) <= 2  # about the lease and about what was asked
    assert str(new_server.port) in said[0]
    assert "WRONGPASS" in said[0]
    assert "secret" not in caplog.text
    assert not about_servers(recording)


def test_a_fault_of_ours_is_counted_and_the_watch_goes_on(
    new_server: RedisServer,
    recording: Recording,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: object) -> dict[str, str]:
        raise LookupError("user:secret")

    with watched(recording, new_server):
        wait_for(recording, {new_server.port})
        with monkeypatch.context() as patched:
            patched.setattr(info, "parse", broken)
            counted = lambda: recording.counts("otel_redis_cache.errors").get("watch", 0)  # noqa: E731
            wait_until(lambda: counted() >= 2, timeout=10, what="faults are counted")
            wait_until(lambda: not nodes(recording), timeout=10, what="nothing is told")
        wait_for(recording, {new_server.port})

    assert len(caplog.records) == 1
    assert "LookupError" in caplog.text
    assert "secret" not in caplog.text


def test_what_a_watch_asks_is_nobodys_call(new_server: RedisServer, recording: Recording) -> None:
    recording.instrument(metrics="all", snapshot=True)
    settings = {"watch_commands": True, "sample_memory": True, "listen_events": True}
    with redis.Redis(port=new_server.port) as client:
        client.set("page:1", b"x")
        with watched(recording, new_server, **settings):
            wait_until(lambda: told(recording, "cache.entries"), timeout=10, what="it is sampled")
            client.get("page:1")

            assert recording.operations() == ["SET", "GET"]
            operations = recording.counts("db.client.operation.duration")
            assert operations == {"SET": 1, "GET": 1}
            assert recording.lookups() == {("page", "hit"): 1}
            used = recording.counts("db.client.connection.count")
            assert sum(used.values()) == 1
            created = recording.points("db.client.connection.create_time")
            assert [count for _, count in created] == [1]


def test_caches_have_the_names_that_calls_give_them(
    new_server: RedisServer, recording: Recording
) -> None:
    recording.instrument(caches="pages=p:*,locks:*=-", auto_caches=True)
    with redis.Redis(port=new_server.port) as client:
        for key in ("p:1", "p:2", "locks:1", "user:1"):
            client.set(key, b"x")
    recording.opt_in(sample_memory=True)
    with watch_server(new_server.url, meter_provider=recording.meter_provider, sample_memory=True):
        wait_until(lambda: recording.counts("cache.entries"), timeout=10, what="it is sampled")
        assert recording.counts("cache.entries") == {"pages": 2, "user": 1}


def test_names_that_only_the_server_has_take_no_place_of_this_process(
    new_server: RedisServer, recording: Recording
) -> None:
    recording.instrument(max_auto_caches=2)
    recording.opt_in(sample_memory=True)
    with redis.Redis(port=new_server.port) as client:
        for name in ("others", "many", "more"):
            new_server.call("SET", f"{name}:1", "x")
        with watch_server(
            new_server.url, meter_provider=recording.meter_provider, sample_memory=True
        ):
            wait_until(lambda: recording.counts("cache.entries"), timeout=10, what="it is sampled")
            client.get("cart:1")
        assert recording.lookups() == {("cart", "miss"): 1}


def test_each_command_is_told_of_only_where_asked_for(
    new_server: RedisServer, recording: Recording
) -> None:
    with watched(recording, new_server):
        wait_for(recording, {new_server.port})
        assert not {n for n in about_servers(recording) if n.startswith("redis.cmd")}
    with watched(recording, new_server, watch_commands=True):
        wait_for(recording, {new_server.port})
        assert "info" in {at["cmd"] for at, _ in recording.points("redis.cmd.calls")}


def test_a_watch_that_is_opened_again_goes_on_with_its_sums(
    new_server: RedisServer, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    with watched(recording, new_server):
        for _ in range(50):
            new_server.call("PING")
        wait_until(lambda: told(recording, COMMANDS) > 50, timeout=10, what="commands are counted")
        before = told(recording, COMMANDS)
    new_server.restart()
    with watched(recording, new_server):
        wait_until(lambda: told(recording, COMMANDS) > before, timeout=10, what="it goes on")
    assert not caplog.records
