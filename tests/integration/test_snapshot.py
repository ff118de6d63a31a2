"""`snapshot()` and `health()` on real servers: the same numbers as those exported, and no traffic."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import redis.asyncio
import uvicorn
from fastapi import FastAPI
from opentelemetry.sdk.metrics import Counter, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

from otel_redis_cache import RedisCacheInstrumentor, checkup, health, snapshot, snapshots, tallies
from otel_redis_cache import conventions as names
from otel_redis_cache.windows import Windows
from tests.real.processes import free_ports, wait_until
from tests.real.servers import RedisServer
from tests.recording import Recording
from tests.safety.application import NO_RETRY
from tests.safety.test_fork import in_child

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    with redis.Redis(host=server.host, port=server.port) as client:
        yield client


def work(client: Any) -> None:
    """Hits, misses, errors, writes of every kind and removals of every effect, alone and in batches."""
    client.set("user:1", "secret-value", ex=60)
    client.set("user:1", "x", nx=True)
    client.set("user:2", "x", keepttl=True)
    client.get("user:1")
    client.mget("user:1", "user:9", "cart:1")
    client.hset("cart:1", mapping={"a": 1})
    client.hgetall("cart:1")
    with pytest.raises(redis.ResponseError):
        client.get("cart:1")
    with pytest.raises(redis.ResponseError):
        client.getdel("cart:1")
    with pytest.raises(redis.ResponseError):
        client.set("user:3", "x", ex=0)
    pipe = client.pipeline(transaction=False)
    pipe.get("user:1").get("user:8").delete("user:1", "user:8").execute()
    pipe = client.pipeline()
    pipe.set("session:1", "x", ex=5).get("session:1").expire("session:1", 0).execute()
    client.delete("user:1")
    client.unlink("user:2", "cart:1")
    client.get("page:2")
    other_caller = threading.Thread(target=client.get, args=("page:2",))
    other_caller.start()  # misses what is missed already
    other_caller.join()
    client.flushdb()

    async def asynchronous() -> None:
        kwargs = client.connection_pool.connection_kwargs
        async with redis.asyncio.Redis(host=kwargs["host"], port=kwargs["port"]) as own:
            await own.get("page:1")
            await own.set("page:1", "x", ex=1)
            await own.getdel("page:1")

    asyncio.run(asynchronous())


def exported(recording: Recording) -> dict[str, Any]:
    """What the metrics say, in the words of a snapshot; put together from the points alone."""
    metrics = {
        name: recording.points(name)
        for name in (
            "cache.requests",
            "cache.writes",
            "cache.invalidations",
            "cache.invalidation.requests",
            "cache.stampedes",
        )
    }

    def summed(name: str, **wanted: str | None) -> int:
        return sum(
            value
            for attributes, value in metrics[name]
            if all(
                attributes[key.replace("__", ".")] == value
                for key, value in wanted.items()
                if value
            )
        )

    def counts(cache: str | None) -> dict[str, Any]:
        hits, misses, errors = (
            summed("cache.requests", cache__name=cache, cache__request__type=kind)
            for kind in ("hit", "miss", "error")
        )
        return {
            "requests": summed("cache.requests", cache__name=cache),
            "hits": hits,
            "misses": misses,
            "errors": errors,
            "hit_ratio": hits / (hits + misses) if hits + misses else None,
            "writes": {
                result: {
                    ttl: summed(
                        "cache.writes",
                        cache__name=cache,
                        cache__write__ttl=ttl,
                        cache__write__result=result,
                    )
                    for ttl in ("set", "none", "kept")
                }
                for result in ("stored", "refused", "error")
            },
            "entries_removed": summed("cache.invalidations", cache__name=cache),
            "invalidation_requests": {
                effect: summed(
                    "cache.invalidation.requests",
                    cache__name=cache,
                    cache__invalidation__effect=effect,
                )
                for effect in ("removed", "partial", "none", "unknown", "error")
            },
            "stampedes": summed("cache.stampedes", cache__name=cache),
        }

    every = {attributes["cache.name"] for points in metrics.values() for attributes, _ in points}
    reasons = {
        attributes["cache.invalidation.reason"]
        for attributes, _ in metrics["cache.invalidation.requests"]
    }
    removals = {
        "requests": summed("cache.invalidation.requests"),
        "entries": summed("cache.invalidations"),
    }
    by_reason = [
        {
            "reason": reason,
            "requests": summed("cache.invalidation.requests", cache__invalidation__reason=reason),
            "entries": summed("cache.invalidations", cache__invalidation__reason=reason),
        }
        for reason in reasons
    ]
    by_reason.sort(key=lambda row: (-row["requests"], row["reason"]))
    durations = recording.metrics().get("db.client.operation.duration")
    operations: dict[str, dict[str, Any]] = {}
    for point in durations.data.data_points if durations is not None else ():
        row = operations.setdefault(point.attributes["db.operation.name"], {"count": 0, "max": 0.0})
        row["count"] += point.count
        row["max"] = max(row["max"], point.max)
    return {
        "totals": counts(None),
        "caches": {cache: counts(cache) for cache in sorted(every)},
        "invalidations": {"by_reason": by_reason, "last_hour": removals, "last_day": removals},
        "operations": operations,
        "faults": {**dict.fromkeys(names.STEPS, 0), **recording.counts("otel_redis_cache.errors")},
        "overflows": {
            **dict.fromkeys(names.BOUNDS, 0),
            **recording.counts("otel_redis_cache.overflows"),
        },
    }


def shown() -> dict[str, Any]:
    """A snapshot, in the numbers that metrics have too."""
    taken: dict[str, Any] = json.loads(json.dumps(snapshot()))
    for row in taken["operations"].values():
        assert 0 < row["p50"] <= row["p95"] <= row["p99"] <= row["max"]
        del row["p50"], row["p95"], row["p99"]
    own = ("schema_version", "version", "pid", "started_at", "taken_at", "uptime", "outages")
    return {field: value for field, value in taken.items() if field not in own}


def schema_of(value: Any, path: str = "") -> Any:
    """The fields of a snapshot and their types; of what is by name, the shape of each."""
    if path in (".caches", ".operations"):
        return "by name"
    if isinstance(value, dict):
        return {key: schema_of(inner, f"{path}.{key}") for key, inner in value.items()}
    return "ratio" if path.endswith("hit_ratio") else type(value).__name__


def test_a_snapshot_says_what_is_exported_field_by_field(client: Any, recording: Recording) -> None:
    recording.instrument(snapshot=True)
    for _ in range(3):
        work(client)
    taken = shown()

    assert taken == exported(recording)
    assert taken["totals"]["requests"] == 3 * 14
    totals = taken["totals"]
    assert all(totals[kind] > 0 for kind in ("hits", "misses", "errors", "entries_removed"))
    assert all(totals["invalidation_requests"].values())
    assert totals["stampedes"] == taken["caches"]["page"]["stampedes"] == 3
    assert {ttl for ttls in totals["writes"].values() for ttl, n in ttls.items() if n} == {
        *("set", "none", "kept")
    }
    assert all(sum(ttls.values()) for ttls in totals["writes"].values())
    assert {"_mixed", "cart", "page", "session", "user"} <= set(taken["caches"])
    assert {"DEL", "GET", "MULTI", "PIPELINE"} <= set(taken["operations"])


def test_a_snapshot_says_what_is_exported_under_eight_threads(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument(snapshot=True)
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            totals = snapshot()["totals"]
            assert totals["requests"] == totals["hits"] + totals["misses"] + totals["errors"]

    def run(number: int) -> None:
        with redis.Redis(host=server.host, port=server.port) as own:
            for i in range(100):
                own.set(f"cache{number}:1", "x", ex=60)
                own.mget(f"cache{number}:1", f"cache{number}:{i}")
                own.delete(f"cache{number}:1", "common:1")

    with ThreadPoolExecutor(9) as pool:
        looking = pool.submit(look)
        list(pool.map(run, range(8)))
        stop.set()
        looking.result()
    taken = shown()

    assert taken == exported(recording)
    assert taken["totals"]["requests"] == 8 * 100 * 2
    assert taken["operations"]["MGET"]["count"] == 800
    assert taken["invalidations"]["last_hour"]["requests"] == 800
    assert sum(row["requests"] for row in taken["caches"].values()) == 8 * 100 * 2


def test_the_schema_is_the_same_empty_or_not_instrumented_or_not(
    client: Any, recording: Recording
) -> None:
    never = schema_of(snapshot())
    instrumentor = recording.instrument(snapshot=True)
    unused = snapshot()
    work(client)
    used = snapshot()
    instrumentor.uninstrument()

    assert schema_of(unused) == schema_of(used) == schema_of(snapshot()) == never
    assert unused["caches"] == unused["operations"] == {}
    assert unused["totals"]["hit_ratio"] is None
    one = schema_of(unused["totals"])
    assert {str(schema_of(row)) for row in used["caches"].values()} == {str(one)}
    assert schema_of(used["totals"]) == one
    assert {tuple(row) for row in used["operations"].values()} == {
        ("count", "p50", "p95", "p99", "max")
    }


def test_lookups_are_hits_misses_and_errors_at_every_step(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    steps: list[Callable[[], Any]] = [
        lambda: client.hset("cart:1", "a", 1),
        lambda: client.get("cart:1"),
        lambda: client.get("user:1"),
        lambda: client.set("user:1", "x"),
        lambda: client.mget("user:1", "user:1", "user:2"),
        lambda: client.delete("user:1"),
    ]
    ratios: list[float | None] = []
    for step in steps:
        try:
            step()
        except redis.ResponseError:
            ratios.append(-1)  # an error is in no ratio
        for row in [snapshot()["totals"], *snapshot()["caches"].values()]:
            assert row["requests"] == row["hits"] + row["misses"] + row["errors"]
            assert row["hit_ratio"] is None or 0 <= row["hit_ratio"] <= 1
        ratios.append(snapshot()["totals"]["hit_ratio"])

    assert ratios == [None, -1, None, 0.0, 0.0, 0.5, 0.5]


def test_ten_sets_and_ten_hits_are_a_ratio_of_one(client: Any, recording: Recording) -> None:
    recording.instrument()
    for i in range(10):
        client.set(f"user:{i}", "x")
    for i in range(10):
        client.get(f"user:{i}")

    assert snapshot()["totals"]["hit_ratio"] == 1.0
    assert snapshot()["caches"]["user"]["hit_ratio"] == 1.0


def test_a_miss_a_hit_and_a_miss_are_a_ratio_of_a_third(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.set("user:2", "x")
    for i in (1, 2, 3):
        client.get(f"user:{i}")
    totals = snapshot()["totals"]

    assert (totals["hits"], totals["misses"], totals["hit_ratio"]) == (1, 2, 1 / 3)


def test_cumulative_and_delta_readers_add_up_to_the_snapshot(client: Any) -> None:
    delta = dict.fromkeys((Counter, ObservableCounter), AggregationTemporality.DELTA)
    readers = [InMemoryMetricReader(), InMemoryMetricReader(delta)]
    provider = MeterProvider(readers, shutdown_on_exit=False)
    RedisCacheInstrumentor().instrument(meter_provider=provider, traces=False)
    sums = [0, 0]
    try:
        for _ in range(3):
            client.mget("user:1", "user:2")
            sums = [requests_of(readers[0]), sums[1] + requests_of(readers[1])]
        assert sums == [snapshot()["totals"]["requests"]] * 2 == [6, 6]
        assert requests_of(readers[1]) == 0
        assert requests_of(readers[0]) == snapshot()["totals"]["requests"] == 6
    finally:
        RedisCacheInstrumentor().uninstrument()


def requests_of(reader: InMemoryMetricReader) -> int:
    data = reader.get_metrics_data()
    return sum(
        point.value  # type: ignore[union-attr]
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "cache.requests"
        for point in metric.data.data_points
    )


class Clock:
    now = 50_000.0

    def __call__(self) -> float:
        return self.now


def test_windows_are_right_at_their_edges(client: Any, recording: Recording) -> None:
    instrumentor = recording.instrument()
    clock = Clock()
    counts = instrumentor._tallies
    assert counts is not None
    counts.windows = Windows(clock)
    client.mset({"user:1": "x", "user:2": "x"})
    client.delete("user:1", "user:2")
    seen: list[tuple[int, int, int, int]] = []
    for minutes in (0, 61, 24 * 60 + 1):
        clock.now = Clock.now + 60 * minutes
        found = snapshot()["invalidations"]
        hour, day = found["last_hour"], found["last_day"]
        seen.append((hour["requests"], day["requests"], hour["entries"], day["entries"]))

    assert seen == [(1, 1, 2, 2), (0, 1, 0, 2), (0, 0, 0, 0)]
    assert snapshot()["totals"]["entries_removed"] == 2


def test_numbers_survive_new_clients_loops_threads_and_providers(
    server: RedisServer, recording: Recording
) -> None:
    instrumentor = recording.instrument()

    def get() -> None:
        with redis.Redis(host=server.host, port=server.port) as own:
            own.get("user:1")

    async def get_async() -> None:
        async with redis.asyncio.Redis(host=server.host, port=server.port) as own:
            await own.get("user:1")

    for _ in range(2):
        get()
        asyncio.run(get_async())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: get(), range(8)))
    assert snapshot()["totals"]["misses"] == 12
    instrumentor.uninstrument()
    get()
    assert snapshot()["totals"]["misses"] == 12
    recording.instrument()
    get()
    assert snapshot()["totals"]["misses"] == recording.lookups()["user", "miss"] == 13


def test_a_forked_child_starts_at_zero_while_its_counters_go_on(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    recording.instrument(snapshot=True)
    work(client)
    with (
        redis.Redis(host="127.0.0.1", port=1, retry=NO_RETRY) as nobody,
        pytest.raises(redis.ConnectionError),
    ):
        nobody.get("user:1")
    before = shown()
    parent = snapshot()
    time.sleep(0.05)

    def child() -> list[Any]:
        first = snapshot()
        with redis.Redis(host=server.host, port=server.port) as own:
            own.get("user:1")
            own.delete("user:1")
        return [first, snapshot(), recording.lookups()["user", "miss"], health()]

    first, then, exported_misses, well = in_child(child)

    assert schema_of(first) == schema_of(parent)
    assert first["totals"]["requests"] == first["invalidations"]["last_day"]["requests"] == 0
    assert first["caches"] == first["operations"] == {}
    assert first["outages"] == []
    assert first["pid"] != parent["pid"]
    assert first["started_at"] > parent["taken_at"]
    assert first["uptime"] < 20
    assert then["totals"]["misses"] == then["invalidations"]["last_hour"]["requests"] == 1
    assert then["operations"]["GET"]["count"] == 1
    assert exported_misses == before["caches"]["user"]["misses"] + 1
    assert well["status"] == "healthy"
    assert shown() == before
    assert len(snapshot()["outages"]) == 1


def test_a_fork_while_other_threads_count_and_look_hangs_on_no_lock(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument(snapshot=True)
    stop = threading.Event()

    def load() -> None:
        with redis.Redis(host=server.host, port=server.port) as own:
            while not stop.is_set():
                own.delete("user:1")
                snapshot()

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):

            def child() -> list[Any]:
                with redis.Redis(host=server.host, port=server.port) as own:
                    own.delete("cart:1")
                found = snapshot()
                last_day = found["invalidations"]["last_day"]["requests"]
                return [last_day, list(found["caches"]), health()["status"]]

            assert in_child(child) == [1, ["cart"], "healthy"]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_clients_instrumented_on_their_own_are_in_it_once(
    server: RedisServer, recording: Recording
) -> None:
    other = Recording()
    instrumentor = recording.instrument()
    with (
        redis.Redis(host=server.host, port=server.port) as every,
        redis.Redis(host=server.host, port=server.port) as same,
        redis.Redis(host=server.host, port=server.port) as own,
    ):
        instrumentor.instrument_client(same, **recording.providers)
        instrumentor.instrument_client(own, **other.providers)
        for client in (every, same, own):
            client.get("user:1")
        assert snapshot()["totals"]["misses"] == 3
        instrumentor.uninstrument_client(own)
        assert snapshot()["totals"]["misses"] == 3
        assert recording.lookups()["user", "miss"] + other.lookups()["user", "miss"] == 3


def test_another_provider_starts_at_zero(client: Any, recording: Recording) -> None:
    first = Recording()
    first.instrument().uninstrument()
    first.instrument()
    client.get("user:1")
    RedisCacheInstrumentor().uninstrument()
    recording.instrument()
    assert snapshot()["totals"]["requests"] == 0
    client.get("user:1")

    assert snapshot()["totals"]["requests"] == recording.lookups()["user", "miss"] == 1


def test_latencies_are_kept_with_the_setting_alone(client: Any, recording: Recording) -> None:
    recording.instrument()
    client.get("user:1")
    client.blpop(["queue:1"], timeout=0.01)
    assert snapshot()["operations"] == {}
    recording.instrument().uninstrument()
    recording.instrument(snapshot=True, metrics="none", traces=False)
    client.get("user:1")
    client.blpop(["queue:1"], timeout=0.01)
    taken = snapshot()

    assert list(taken["operations"]) == ["GET"]
    assert taken["operations"]["GET"]["count"] == 1
    # Somebody who wants nothing exported gets the numbers all the same.
    assert taken["totals"]["misses"] == 2


def test_the_times_of_a_snapshot_are_utc_and_agree(recording: Recording) -> None:
    taken = snapshot()
    started, now = (datetime.fromisoformat(taken[at]) for at in ("started_at", "taken_at"))  # type: ignore[literal-required]

    assert started.utcoffset() == now.utcoffset() == timedelta(0)
    assert (now - started).total_seconds() == pytest.approx(taken["uptime"], abs=2)


def test_neither_carries_a_key_a_value_or_a_password(
    server: RedisServer, recording: Recording
) -> None:
    recording.instrument(snapshot=True)
    with redis.Redis(host=server.host, port=server.port) as client:
        work(client)
    url = "redis://somebody:hunter2@127.0.0.1:1/3"
    with (
        redis.Redis.from_url(url, retry=NO_RETRY) as nobody,
        pytest.raises(redis.ConnectionError),
    ):
        nobody.get("user:secret-key")
    text = json.dumps([snapshot(), health()])

    assert "127.0.0.1:1/3" in text
    assert not [word for word in ("secret", "hunter2", "somebody", "user:") if word in text]


@pytest.mark.parametrize("step", ["snapshot", "health"])
def test_neither_raises_whatever_of_it_breaks(
    client: Any, recording: Recording, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    recording.instrument()
    client.get("user:1")
    sound = schema_of(snapshot())

    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("user:secret")

    with monkeypatch.context() as patch:
        patch.setattr(tallies.Tally, "own_items", broken)
        found = {"snapshot": snapshot, "health": health}[step]()
    assert "secret" not in json.dumps(found)
    if step == "snapshot":
        assert schema_of(found) == sound
    else:
        assert found["reasons"][0]["code"] == "faults"  # type: ignore[literal-required]
    assert recording.counts("otel_redis_cache.errors") == {step: 1}
    assert snapshot()["faults"][step] == 1
    assert snapshot()["totals"]["misses"] == 1


def test_reasons_come_top_first_and_are_bounded(client: Any, recording: Recording) -> None:
    counts = recording.instrument()._tallies
    assert counts is not None
    client.get("user:1")
    (known,) = counts.outages.servers
    for i in range(100):
        counts.removals.add((known, ("user", f"reason{i}", "removed")), i + 1)
        counts.removed.add((known, ("user", f"reason{i}")), 2 * i)
    by_reason = snapshot()["invalidations"]["by_reason"]

    assert len(by_reason) == 20
    assert by_reason[0] == {"reason": "reason99", "requests": 100, "entries": 198}
    assert [row["requests"] for row in by_reason] == list(range(100, 80, -1))
    assert snapshot()["totals"]["invalidation_requests"]["removed"] == 5_050


def test_both_are_fast_with_every_tally_full(client: Any, recording: Recording) -> None:
    instrumentor = recording.instrument(snapshot=True)
    recording.opt_in(caches="as many names as rules may give")
    counts = instrumentor._tallies
    assert counts is not None
    client.get("user:1")
    (known,) = counts.outages.servers
    for i in range(2_000):
        counts.requests.add((known, (f"cache{i}", "hit")))
        counts.removals.add((known, (f"cache{i}", "delete", "removed")))
        counts.latencies.add(f"OP{i}", 1_000_000)
    started = time.perf_counter()
    taken = snapshot()
    health()

    assert time.perf_counter() - started < 0.5
    assert taken["totals"]["hits"] == 2_000
    assert len(taken["caches"]) <= 1_500
    assert len(taken["operations"]) <= 200


@pytest.fixture
def bookshop(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[httpx.Client]:
    """The example with its status pages, in this process."""
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setenv("DATABASE", str(tmp_path / "bookshop.db"))
    for module in [name for name in sys.modules if name.startswith("examples.bookshop")]:
        monkeypatch.delitem(sys.modules, module)
    status: Any = importlib.import_module("examples.bookshop.status")
    (port,) = free_ports(1)
    http = uvicorn.Server(uvicorn.Config(status.app, port=port, log_level="critical"))
    thread = threading.Thread(target=http.run)
    thread.start()
    try:
        wait_until(lambda: http.started, timeout=20, what="the bookshop answers")
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Connection": "close"},  # uvicorn ends the one on which an exception came up
            trust_env=False,
            timeout=30,
        ) as browser:
            yield browser
    finally:
        http.should_exit = True
        thread.join(20)


def test_a_status_page_says_what_is_exported(bookshop: httpx.Client, recording: Recording) -> None:
    recording.instrument(snapshot=True)
    for book in (1, 2, 1, 1):
        assert bookshop.get(f"/books/{book}").is_success
        assert bookshop.get(f"/books/{book}/reviews").is_success
    bookshop.put("/books/1/price?price=5")
    bookshop.post("/books/1/reviews", json={"stars": 5})
    body = bookshop.get("/status").json()
    taken = json.loads(json.dumps(snapshot()))

    for moment in ("taken_at", "uptime"):
        del body[moment], taken[moment]
    assert body == taken
    assert shown() == exported(recording)
    assert body["caches"]["book"]["hits"] == body["caches"]["reviews"]["hits"] == 2
    assert body["totals"]["hit_ratio"] == 0.5
    assert body["invalidations"]["by_reason"] == [{"reason": "delete", "requests": 2, "entries": 2}]


async def test_the_status_page_of_the_readme_runs_as_it_stands(
    client: Any, recording: Recording
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (program,) = re.findall(
        r"```python\n(from otel_redis_cache import health.*?)```", readme, re.DOTALL
    )
    app = FastAPI()
    exec(program, {"app": app})
    recording.instrument()
    client.get("user:1")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as browser:
        status, well = await browser.get("/status"), await browser.get("/health")

    assert status.json()["caches"]["user"]["misses"] == 1
    assert well.json() == {"status": "healthy", "reasons": []}


def test_a_health_page_is_503_while_no_server_answers(
    bookshop: httpx.Client, recording: Recording, server: RedisServer
) -> None:
    recording.instrument()
    bookshop.get("/books/1")
    assert bookshop.get("/health").json() == {"status": "healthy", "reasons": []}
    server.kill()
    assert bookshop.get("/books/1").status_code == 500
    ill = bookshop.get("/health")
    server.restart()
    bookshop.get("/books/1")

    assert ill.status_code == 503
    assert ill.json()["status"] == "unhealthy"
    assert bookshop.get("/health").status_code == 200


def test_the_fields_of_a_snapshot_are_those_of_its_type(recording: Recording) -> None:
    assert set(snapshot()) == set(snapshots.Snapshot.__annotations__)
    assert set(health()) == set(checkup.Health.__annotations__)
