"""Switching on and off, for all clients and for one, with every setting."""

from __future__ import annotations

import copy
import gc
import logging
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, cast

import pytest
import redis
import redis.asyncio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import Span

from otel_redis_cache import RedisCacheInstrumentor, SettingError
from otel_redis_cache.methods import ROWS
from otel_redis_cache.seams import Row
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of


@pytest.fixture
def client(valkey_server: RedisServer) -> Iterator[Any]:
    valkey_server.flush()
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        yield client


def wrapped_methods() -> set[str]:
    """The rows that the installed libraries have."""
    return {
        f"{row.module}.{row.owner}.{row.method}"
        for row in ROWS
        if row.method in vars(owner_of(row))
    }


def owner_of(row: Row) -> type:
    """A class without anything where the installed library has none."""
    installed: Any = object
    with suppress(ModuleNotFoundError):
        installed = getattr(import_module(row.module), row.owner, object)
    return cast("type", installed)


def class_attributes() -> dict[str, object]:
    """Every wrapped method, and everything else that these classes have of their own."""
    return {
        f"{row.module}.{row.owner}.{name}": value
        for row in ROWS
        for name, value in vars(owner_of(row)).items()
        if not name.startswith("__") or name in ("__call__", "__init__")
    }


def test_uninstrument_puts_the_same_objects_back(recording: Recording) -> None:
    before = class_attributes()
    instrumentor = recording.instrument(metrics="all")
    changed = {k for k, v in class_attributes().items() if v is not before[k]}
    instrumentor.uninstrument()
    after = class_attributes()

    assert changed == wrapped_methods()
    assert len(changed) > 60
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


def left_on(client: Any) -> set[str]:
    """What of ours a client, its pool and its connections hold."""
    pool = client.connection_pool
    held = [client, pool, *pool._available_connections, *pool._in_use_connections]
    return {name for one in held for name in vars(one) if "otel" in name}


def test_instances_hold_nothing_of_ours_after_uninstrument(
    client: Any, recording: Recording
) -> None:
    instrumentor = recording.instrument(metrics="all")
    client.get("user:1")
    client.pipeline().get("user:1").get("user:2").execute()
    assert left_on(client)
    instrumentor.uninstrument()
    assert left_on(client) == set()

    instrumentor.instrument_client(client, **recording.providers)
    client.get("user:1")
    assert left_on(client)
    instrumentor.uninstrument_client(client)
    assert left_on(client) == set()


async def test_asyncio_instances_hold_nothing_of_ours_after_uninstrument(
    valkey_server: RedisServer, recording: Recording
) -> None:
    instrumentor = recording.instrument(metrics="all")
    async with redis.asyncio.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        await client.get("user:1")
        assert left_on(client)
        instrumentor.uninstrument()
        assert left_on(client) == set()


def test_instrumenting_again_goes_on_with_the_same_provider(
    client: Any, recording: Recording
) -> None:
    for _ in range(3):
        instrumentor = recording.instrument()
        client.get("user:1")
        instrumentor.uninstrument()
    client.get("user:1")

    assert recording.lookups() == {("user", "miss"): 3}
    assert len(recording.spans()) == 3


def test_another_provider_starts_at_zero_and_silences_the_first(client: Any) -> None:
    first, second = Recording(), Recording()
    first.instrument().uninstrument()
    instrumentor = first.instrument()
    client.get("user:1")
    instrumentor.uninstrument()
    instrumentor = second.instrument()
    client.get("user:1")
    instrumentor.uninstrument()

    assert second.lookups() == {("user", "miss"): 1}
    assert first.lookups() == {}
    instrumentor = first.instrument()
    client.get("user:1")
    instrumentor.uninstrument()
    assert first.lookups() == {("user", "miss"): 2}
    assert second.lookups() == {}


def test_counts_stay_exported_after_uninstrument(client: Any, recording: Recording) -> None:
    instrumentor = recording.instrument()
    client.get("user:1")
    instrumentor.uninstrument()

    assert recording.lookups() == {("user", "miss"): 1}


LATE_PROVIDER = """
import sys
import redis
from opentelemetry import metrics, trace
from otel_redis_cache import RedisCacheInstrumentor
from tests.recording import Recording

recording, instrumentor = Recording(), RedisCacheInstrumentor()
instrumentor.instrument()
client = redis.Redis.from_url(sys.argv[1])
client.get("user:1")
metrics.set_meter_provider(recording.meter_provider)
client.get("user:1")
trace.set_tracer_provider(recording.tracer_provider)
client.get("user:1")
instrumentor.uninstrument()
instrumentor.instrument()
client.get("user:1")
assert recording.lookups() == {("user", "miss"): 3}, recording.lookups()
assert recording.counts("db.client.operation.duration") == {"GET": 3}
assert recording.operations() == ["GET", "GET"]
"""


def test_providers_set_after_instrument_get_what_happens_from_then_on(
    valkey_server: RedisServer,
) -> None:
    """Until then nobody listens, and a call is only passed on."""
    valkey_server.flush()
    command = [sys.executable, "-c", LATE_PROVIDER, valkey_server.url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 0, ran.stderr


def test_a_meter_provider_is_not_kept_alive(client: Any) -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    instrumentor = RedisCacheInstrumentor()
    instrumentor.instrument(meter_provider=provider)
    client.get("user:1")
    instrumentor.uninstrument()
    gone = weakref.ref(provider)
    del provider
    gc.collect()

    assert gone() is None


def test_one_client_alone_is_watched(
    client: Any, valkey_server: RedisServer, recording: Recording
) -> None:
    other: Any = redis.Redis(host=valkey_server.host, port=valkey_server.port)
    RedisCacheInstrumentor.instrument_client(client, **recording.providers)
    client.get("user:1")
    client.pipeline().get("user:1").get("user:2").execute()
    client.register_script("return 1")()
    other.get("user:1")
    other.pipeline().get("user:1").execute()
    RedisCacheInstrumentor.uninstrument_client(client)
    client.get("user:1")
    other.close()

    assert recording.operations() == ["GET", "MULTI GET", "EVALSHA"]
    assert recording.lookups() == {("user", "miss"): 3}


def test_a_client_can_be_left_and_watched_again(client: Any, recording: Recording) -> None:
    execute_command = vars(redis.Redis)["execute_command"]
    for _ in range(3):
        RedisCacheInstrumentor.instrument_client(client, **recording.providers)
        client.get("user:1")
        RedisCacheInstrumentor.uninstrument_client(client)
        assert vars(redis.Redis)["execute_command"] is execute_command

    assert len(recording.spans()) == 3
    assert recording.lookups() == {("user", "miss"): 3}


def test_global_and_per_client_together_give_one_span(client: Any, recording: Recording) -> None:
    own = Recording()
    instrumentor = recording.instrument()
    RedisCacheInstrumentor.instrument_client(client, **own.providers)
    client.get("user:1")
    client.pipeline().get("user:1").get("user:2").execute()
    instrumentor.uninstrument()
    client.get("user:1")
    RedisCacheInstrumentor.uninstrument_client(client)
    client.get("user:1")

    assert own.operations() == ["GET", "MULTI GET", "GET"]
    assert recording.spans() == []
    assert recording.lookups() == {}


def test_leaving_a_client_leaves_what_watches_all(client: Any, recording: Recording) -> None:
    recording.instrument()
    RedisCacheInstrumentor.uninstrument_client(client)
    RedisCacheInstrumentor.instrument_client(client, **Recording().providers)
    RedisCacheInstrumentor.uninstrument_client(client)
    client.get("user:1")

    assert recording.operations() == ["GET"]


async def test_one_asyncio_client_alone_is_watched(
    valkey_server: RedisServer, recording: Recording
) -> None:
    where: Any = {"host": valkey_server.host, "port": valkey_server.port}
    client: Any
    async with redis.asyncio.Redis(**where) as client, redis.asyncio.Redis(**where) as other:
        RedisCacheInstrumentor.instrument_client(client, **recording.providers)
        await client.get("user:1")
        await client.pipeline().get("user:1").get("user:2").execute()
        await other.get("user:1")
        RedisCacheInstrumentor.uninstrument_client(client)

    assert recording.operations() == ["GET", "MULTI GET"]


def test_what_a_watched_client_makes_is_watched_and_left_with_it(
    client: Any, recording: Recording
) -> None:
    RedisCacheInstrumentor.instrument_client(client, **recording.providers)
    pipe = client.pipeline()
    single = client.client()
    twin = copy.copy(client)
    single.get("user:1")
    twin.get("user:1")
    pipe.get("user:1").get("user:2").execute()
    assert recording.operations() == ["GET", "GET", "MULTI GET"]
    RedisCacheInstrumentor.uninstrument_client(client)
    single.get("user:1")
    twin.get("user:1")
    pipe.get("user:1").execute()
    single.close()

    assert len(recording.spans()) == 3


def test_a_client_of_its_own_provider_is_not_silenced_by_another(client: Any) -> None:
    first, second = Recording(), Recording()
    RedisCacheInstrumentor.instrument_client(client, **first.providers)
    first.instrument().uninstrument()
    instrumentor = second.instrument()
    client.get("user:1")
    RedisCacheInstrumentor.uninstrument_client(client)
    instrumentor.uninstrument()

    assert first.lookups() == {("user", "miss"): 1}
    assert second.lookups() == {}


def test_an_unhashable_client_can_be_watched(
    valkey_server: RedisServer, recording: Recording
) -> None:
    class Unhashable(redis.Redis):
        __hash__ = None  # type: ignore[assignment]

    with Unhashable(host=valkey_server.host, port=valkey_server.port) as client:
        RedisCacheInstrumentor.instrument_client(client, **recording.providers)
        client.get("user:1")
        RedisCacheInstrumentor.uninstrument_client(client)

    assert recording.operations() == ["GET"]


def test_an_old_library_beside_a_good_one_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from otel_redis_cache import instrumentor

    def too_old(needs: list[str]) -> object:
        return "conflict" if needs == ["redis >= 5.0"] else None

    monkeypatch.setattr(instrumentor, "get_dependency_conflicts", too_old)

    assert RedisCacheInstrumentor().instrumentation_dependencies() == ["valkey >= 6.0"]


def test_an_empty_transaction_is_a_span_without_text(client: Any, recording: Recording) -> None:
    recording.instrument(query_text="keys")
    with client.pipeline() as pipe:
        pipe.watch("user:1")
        pipe.multi()
        assert pipe.execute() == []

    assert recording.operations() == ["WATCH", "MULTI"]
    assert "db.query.text" not in attributes_of(recording.spans()[1])
    assert recording.points("otel_redis_cache.errors") == []


def test_a_failed_call_has_no_response_for_a_hook(client: Any, recording: Recording) -> None:
    replies: list[Any] = []
    recording.instrument(response_hook=lambda _, __, reply: replies.append(reply))
    client.lpush("user:1", "x")
    with pytest.raises(redis.ResponseError):
        client.get("user:1")

    assert replies == [1]


def test_a_watched_client_is_not_kept_alive(
    valkey_server: RedisServer, recording: Recording
) -> None:
    client = redis.Redis(host=valkey_server.host, port=valkey_server.port)
    RedisCacheInstrumentor.instrument_client(client, **recording.providers)
    client.get("none:1")
    gone = weakref.ref(client)
    client.close()
    del client
    gc.collect()

    assert gone() is None
    RedisCacheInstrumentor().uninstrument_client(redis.Redis())  # nobody is watched any more


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(TypeError, match="takes a Redis or Valkey client, not <class 'str'>"):
        RedisCacheInstrumentor.instrument_client("redis://localhost")


def test_a_wrapper_put_on_top_of_ours_stays_and_ours_falls_silent(
    client: Any, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = vars(redis.Redis)["execute_command"]
    instrumentor = recording.instrument()
    ours = vars(redis.Redis)["execute_command"]
    seen: list[str] = []

    def on_top(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(args[0])
        return ours(self, *args, **kwargs)

    on_top.__wrapped__ = ours  # type: ignore[attr-defined]
    monkeypatch.setattr(redis.Redis, "execute_command", on_top)
    client.get("user:1")
    instrumentor.uninstrument()
    client.get("user:1")

    assert vars(redis.Redis)["execute_command"] is on_top
    assert seen == ["GET", "GET"]
    assert len(recording.spans()) == 1
    instrumentor = recording.instrument()
    client.get("user:1")
    assert len(recording.spans()) == 2
    monkeypatch.undo()
    instrumentor.uninstrument()
    assert vars(redis.Redis)["execute_command"] is original


def test_a_wrong_setting_stops_instrument_and_changes_nothing(recording: Recording) -> None:
    before = vars(redis.Redis)["execute_command"]
    with pytest.raises(SettingError, match="query_text is 'all'; allowed: sanitized, keys or off"):
        recording.instrument(query_text="all")

    assert vars(redis.Redis)["execute_command"] is before
    assert not RedisCacheInstrumentor().is_instrumented_by_opentelemetry


LATE_IMPORT = """
import sys
from tests.recording import Recording

recording = Recording()
instrumentor = recording.instrument()
assert "redis" not in sys.modules
import redis
redis.Redis.from_url(sys.argv[1]).get("user:1")
assert recording.operations() == ["GET"]
instrumentor.uninstrument()
assert not hasattr(redis.Redis.execute_command, "__wrapped__")
"""


def test_a_client_library_is_wrapped_when_it_is_imported(valkey_server: RedisServer) -> None:
    subprocess.run([sys.executable, "-c", LATE_IMPORT, valkey_server.url], check=True, timeout=60)


def test_a_library_imported_after_uninstrument_is_left_alone() -> None:
    program = """
from tests.recording import Recording
Recording().instrument().uninstrument()
import redis
assert not hasattr(redis.Redis.execute_command, "__wrapped__")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


FIRST_COMMANDS = """
import sys, threading
import redis
from opentelemetry.instrumentation.redis import RedisInstrumentor
from tests.recording import Recording

sys.setswitchinterval(1e-6)
recording = Recording()
contrib = RedisInstrumentor()
contrib.instrument(tracer_provider=recording.tracer_provider)
for _ in range(40):
    clients = [redis.Redis.from_url(sys.argv[1]) for _ in range(8)]
    for client in clients:
        client.ping()
    instrumentor = recording.instrument()
    start = threading.Barrier(len(clients))

    def first(client):
        start.wait()
        client.get("user:1")

    threads = [threading.Thread(target=first, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    instrumentor.uninstrument()
assert recording.spans() == [], len(recording.spans())
assert recording.lookups() == {("user", "miss"): 320}, recording.lookups()
"""


def test_first_commands_of_many_threads_all_make_way(valkey_server: RedisServer) -> None:
    valkey_server.flush()
    ran = subprocess.run(
        [sys.executable, "-c", FIRST_COMMANDS, valkey_server.url],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("is active: leaving spans to it") == 40


def test_the_library_that_is_installed_is_needed() -> None:
    assert "redis >= 5.0" in RedisCacheInstrumentor().instrumentation_dependencies()


def test_hooks_see_the_call_and_its_reply(client: Any, recording: Recording) -> None:
    requests: list[tuple[Any, ...]] = []
    replies: list[Any] = []

    def on_request(span: Span, instance: Any, args: Any, kwargs: Any) -> None:
        span.set_attribute("request", True)
        requests.append((instance, args, kwargs))

    def on_response(span: Span, instance: Any, response: Any) -> None:
        span.set_attribute("response", True)
        replies.append(response)

    recording.excuse("request is not in the registry", "response is not in the registry")
    recording.instrument(request_hook=on_request, response_hook=on_response)
    client.set("user:1", "x")
    pipe = client.pipeline()
    pipe.get("user:1").get("user:2").execute()

    assert requests[0][:2] == (client, ["SET", "user:1", "x"])
    assert requests[1][0] is pipe
    assert requests[1][1] == [("GET", "user:1"), ("GET", "user:2")]
    assert replies == [True, [b"x", None]]
    for span in recording.spans():
        assert attributes_of(span)["request"] is attributes_of(span)["response"] is True


def test_a_hook_that_raises_never_stops_a_command_and_is_said_once(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("user:secret")

    recording.instrument(request_hook=broken, response_hook=broken)
    for _ in range(3):
        assert client.get("user:1") is None

    assert recording.lookups() == {("user", "miss"): 3}
    assert recording.counts("otel_redis_cache.errors") == {"request_hook": 3, "response_hook": 3}
    assert len([r for r in caplog.records if r.name == "otel_redis_cache"]) == 2
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("settings", "spans"),
    [
        ({"include_commands": "get"}, ["GET", "MULTI"]),
        ({"exclude_commands": ["GET"]}, ["SET", "MULTI"]),
        ({"exclude_commands": ["GET", "SET"]}, []),
        ({"include_commands": "SET", "exclude_commands": "GET"}, ["SET", "MULTI"]),
        ({"require_parent_span": True}, []),
        ({"traces": False}, []),
    ],
)
def test_filters_decide_about_spans_and_metrics_stay_exact(
    client: Any, recording: Recording, settings: dict[str, Any], spans: list[str]
) -> None:
    recording.instrument(**settings)
    client.get("user:1")
    client.set("user:1", "x")
    client.pipeline().get("user:1").set("user:1", "y").execute()

    assert recording.operations() == spans
    assert recording.lookups() == {("user", "miss"): 1, ("user", "hit"): 1}
    assert recording.counts("db.client.operation.duration") == {"GET": 1, "SET": 1, "MULTI": 1}


def test_a_required_parent_makes_spans_inside_it(client: Any, recording: Recording) -> None:
    recording.instrument(require_parent_span=True)
    with recording.tracer.start_as_current_span("request"):
        client.get("user:1")

    assert recording.operations() == ["GET"]


POOLS = {
    f"db.client.connection.{what}" for what in ("count", "max", "pending_requests", "create_time")
}

TIMES = {"db.client.connection.wait_time", "db.client.connection.use_time"}


@pytest.mark.parametrize(
    ("groups", "present"),
    [
        ("none", set()),
        ("operations", {"db.client.operation.duration"}),
        ("cache", {"cache.requests"}),
        ("ratio", {"cache.hit_ratio"}),
        ("connections", POOLS),
        ("pool_times", POOLS | TIMES),
        ("resilience", {"redis.client.up"}),
        (
            "default",
            {
                *("db.client.operation.duration", "cache.requests", "cache.hit_ratio"),
                *("redis.client.up", *POOLS),
            },
        ),
    ],
)
def test_groups_switch_metrics(
    valkey_server: RedisServer, recording: Recording, groups: str, present: set[str]
) -> None:
    recording.instrument(metrics=groups)
    # Older pools have no limit unless they are told one.
    with redis.Redis(port=valkey_server.port, max_connections=10) as client:
        client.get("user:1")
        names = {name for name in recording.metrics() if recording.points(name)}

    assert names == present
    assert recording.operations() == ["GET"]


@pytest.mark.parametrize(
    ("mode", "one", "batch"),
    [
        ("sanitized", "SET ? ? EX ?", "GET ?; SET ? ?"),
        ("keys", "SET user:1 ? EX ?", "GET user:1; SET user:1 ?"),
        ("off", None, None),
    ],
)
def test_query_text_has_three_modes(
    client: Any, recording: Recording, mode: str, one: str | None, batch: str | None
) -> None:
    recording.instrument(query_text=mode)
    client.set("user:1", "x", ex=5)
    client.pipeline().get("user:1").set("user:1", "y").execute()
    texts = [attributes_of(span).get("db.query.text") for span in recording.spans()]

    assert texts == [one, batch]


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, None),
        ({"key_attribute": "template"}, ("user:{}", "cart:{}")),
        ({"key_attribute": "full"}, ("user:1", "cart:2")),
    ],
)
def test_keys_are_shown_only_as_asked(
    client: Any, recording: Recording, settings: dict[str, Any], shown: object
) -> None:
    recording.instrument(**settings)
    client.mget("user:1", "cart:2")

    assert attributes_of(recording.span()).get("cache.key") == shown


def test_hashed_keys_and_at_most_ten_of_them(client: Any, recording: Recording) -> None:
    recording.instrument(key_attribute="hash", key_secret="s")
    client.mget([f"user:{i}" for i in range(20)])
    pipe = client.pipeline()
    for i in range(20):
        pipe.get(f"user:{i}")
    pipe.execute()
    first, second = (attributes_of(span)["cache.key"] for span in recording.spans())

    assert len(first) == len(set(first)) == 10
    assert first == second
    assert "user" not in "".join(first)


def test_probes_are_lookups_only_when_asked_for(client: Any, recording: Recording) -> None:
    instrumentor = recording.instrument()
    client.exists("user:1")
    assert recording.lookups() == {}
    instrumentor.uninstrument()
    recording.instrument(count_probes=True)
    client.exists("user:1")

    assert recording.lookups() == {("user", "miss"): 1}


def test_durations_may_be_told_apart_by_cache(client: Any, recording: Recording) -> None:
    recording.instrument(duration_by_cache=True)
    client.get("user:1")
    client.mget("user:1", "cart:1")
    client.ping()

    assert recording.counts("db.client.operation.duration") == {
        ("GET", "user"): 1,
        "MGET": 1,
        "PING": 1,
    }


def test_keys_that_are_no_cache_have_spans_and_durations_alone(
    client: Any, recording: Recording
) -> None:
    recording.instrument(caches="locks:*=-,users=user:*")
    client.set("locks:1", "x", nx=True)
    client.get("locks:1")
    client.delete("locks:1")
    client.get("user:1")

    assert recording.lookups() == {("users", "miss"): 1}
    assert recording.counts("cache.writes") == {}
    assert recording.counts("cache.invalidation.requests") == {}
    assert len(recording.spans()) == 4
    assert "cache.hit" not in attributes_of(recording.spans()[1])


def test_a_resource_without_an_instance_is_said_once(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    provider = MeterProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    RedisCacheInstrumentor().instrument(
        tracer_provider=recording.tracer_provider, meter_provider=provider
    )
    client.get("user:1")
    client.get("user:1")

    (line,) = [r.getMessage() for r in caplog.records if r.name == "otel_redis_cache"]
    assert line.startswith("the resource has no service.instance.id")


def test_without_conflict_nothing_is_said(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "otel_redis_cache"):
        recording.instrument()
        client.get("user:1")

    assert [r for r in caplog.records if r.name == "otel_redis_cache"] == []


def test_without_any_provider_a_call_is_only_passed_on(client: Any) -> None:
    instrumentor = RedisCacheInstrumentor()
    instrumentor.instrument()
    client.set("user:1", "x")
    (observer,) = instrumentor.observers()
    seen = observer.recorder.tallies
    try:
        assert client.get("user:1") == b"x"
        assert seen.requests.items() == []
        assert seen.outages.servers == {}
    finally:
        instrumentor.uninstrument()


def test_a_snapshot_needs_no_provider(client: Any) -> None:
    instrumentor = RedisCacheInstrumentor()
    instrumentor.instrument(snapshot=True)
    try:
        client.get("user:1")
        (observer,) = instrumentor.observers()
        assert observer.recorder.tallies.requests.items() != []
    finally:
        instrumentor.uninstrument()
