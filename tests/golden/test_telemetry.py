"""Everything that a small story exports, as a whole: a changed snapshot is a changed interface."""

from __future__ import annotations

import contextlib
from typing import Any

import redis
from inline_snapshot import snapshot

from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of


def story(client: Any) -> None:
    client.get("user:1")
    client.set("user:1", "x", ex=60)
    client.mget("user:1", "user:2", "cart:1")
    client.delete("user:1", "cart:1")
    client.pipeline().hgetall("cart:1").lpush("jobs:1", "a").expire("jobs:1", 5).execute()
    with contextlib.suppress(redis.ResponseError):
        client.pipeline(transaction=False).get("user:1").get("jobs:1").execute()
    client.blpop("jobs:1", timeout=1)
    client.rename("nothing:1", "nothing:2") if client.exists("nothing:1") else client.ping()


def seen(attributes: dict[str, Any]) -> str:
    """The attributes beside the target, which is the same everywhere, and who answered."""
    target = ("db.system.name", "db.namespace", "server.address", "server.port")
    assert set(target) <= attributes.keys() or "otel_redis_cache" in str(attributes)
    target += ("network.peer.address", "network.peer.port")
    return " ".join(f"{k}={v}" for k, v in sorted(attributes.items()) if k not in target)


def test_the_spans_of_a_story(valkey_server: RedisServer, recording: Recording) -> None:
    valkey_server.flush()
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        recording.instrument()
        story(client)
    spans = [
        f"{s.name} | {s.kind.name} | {s.status.status_code.name} | {seen(attributes_of(s))}"
        for s in recording.spans()
    ]

    assert spans == snapshot(
        [
            "GET | CLIENT | UNSET | cache.hit=False cache.name=user db.operation.name=GET db.query.text=GET ?",
            "SET | CLIENT | UNSET | cache.item.size=1 cache.name=user cache.ttl=60.0 db.operation.name=SET db.query.text=SET ? ? EX ?",
            "MGET | CLIENT | UNSET | cache.hits=1 cache.item.size=1 cache.misses=2 db.operation.name=MGET db.query.text=MGET ? ? ?",
            "DEL | CLIENT | UNSET | cache.invalidation.reason=delete cache.invalidation.removed=1 db.operation.name=DEL db.query.text=DEL ? ?",
            "MULTI | CLIENT | UNSET | cache.hit=False cache.ttl=5.0 db.operation.batch.size=3 db.operation.name=MULTI db.query.text=HGETALL ?; LPUSH ? ?; EXPIRE ? ?",
            "PIPELINE GET | CLIENT | ERROR | cache.hits=0 cache.misses=1 db.operation.batch.size=2 db.operation.name=PIPELINE GET db.query.text=GET ? db.response.status_code=WRONGTYPE error.type=WRONGTYPE redis.batch.failed.count=1 redis.batch.failed.index=1 redis.batch.failed.operation=GET",
            "BLPOP | CLIENT | UNSET | cache.name=jobs db.operation.name=BLPOP db.query.text=BLPOP ? ?",
            "EXISTS | CLIENT | UNSET | cache.name=nothing db.operation.name=EXISTS db.query.text=EXISTS ?",
            "PING | CLIENT | UNSET | db.operation.name=PING db.query.text=PING",
        ]
    )


def test_the_metrics_of_a_story(valkey_server: RedisServer, recording: Recording) -> None:
    valkey_server.flush()
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        recording.instrument()
        story(client)
    found: list[str] = []
    for name, metric in recording.metrics().items():
        found.append(
            f"{name} | {type(metric.data).__name__} | {metric.unit} | {metric.description}"
        )
        for attributes, value in recording.points(name):
            rest = " ".join(
                f"{k}={v}".replace(str(valkey_server.port), "PORT")
                for k, v in sorted(attributes.items())
                if not k.startswith("server.")
            )
            found.append(f"    {rest} = {value}")

    assert found == snapshot(
        [
            "db.client.connection.create_time | Histogram | s | The time it took to create a new connection.",
            "    db.client.connection.pool.name=127.0.0.1:PORT/0 = 1",
            "db.client.operation.duration | Histogram | s | Duration of database client operations.",
            "    db.namespace=0 db.operation.name=GET db.system.name=redis = 1",
            "    db.namespace=0 db.operation.name=SET db.system.name=redis = 1",
            "    db.namespace=0 db.operation.name=MGET db.system.name=redis = 1",
            "    db.namespace=0 db.operation.name=DEL db.system.name=redis = 1",
            "    db.namespace=0 db.operation.name=MULTI db.system.name=redis = 1",
            "    db.namespace=0 db.operation.name=PIPELINE GET db.response.status_code=WRONGTYPE db.system.name=redis error.type=WRONGTYPE = 1",
            "    db.namespace=0 db.operation.name=EXISTS db.system.name=redis = 1",
            "    db.namespace=0 db.operation.name=PING db.system.name=redis = 1",
            "cache.ttl | Histogram | s | Times to live that writes and the EXPIRE family gave to entries.",
            "    cache.name=user db.system.name=redis = 1",
            "    cache.name=jobs db.system.name=redis = 1",
            "cache.load.duration | Histogram | s | Time from a miss to the write-back of the same key in this process.",
            "    cache.name=user db.system.name=redis = 1",
            "redis.client.blocked.duration | Histogram | s | Duration of commands that wait at the server for data to arrive.",
            "    db.namespace=0 db.operation.name=BLPOP db.system.name=redis = 1",
            "cache.requests | Sum | {request} | Keys or fields asked for, by what came of it.",
            "    cache.name=user cache.request.type=miss db.namespace=0 db.system.name=redis = 3",
            "    cache.name=user cache.request.type=hit db.namespace=0 db.system.name=redis = 1",
            "    cache.name=cart cache.request.type=miss db.namespace=0 db.system.name=redis = 2",
            "    cache.name=jobs cache.request.type=error db.namespace=0 db.system.name=redis = 1",
            "cache.writes | Sum | {entry} | Keys written, by what became of their time to live and by result.",
            "    cache.name=user cache.write.result=stored cache.write.ttl=set db.namespace=0 db.system.name=redis = 1",
            "    cache.name=jobs cache.write.result=stored cache.write.ttl=kept db.namespace=0 db.system.name=redis = 1",
            "cache.invalidations | Sum | {entry} | Entries removed, where the reply tells.",
            "    cache.invalidation.reason=delete cache.name=_mixed db.namespace=0 db.system.name=redis = 1",
            "cache.invalidation.requests | Sum | {request} | Commands and calls of invalidate() that ask for removal, by effect.",
            "    cache.invalidation.effect=partial cache.invalidation.reason=delete cache.name=_mixed db.namespace=0 db.system.name=redis = 1",
            "cache.hit_ratio | Gauge | 1 | Hits / (hits + misses) of this process over the last minute; not to be averaged.",
            "    cache.name=user db.system.name=redis = 0.25",
            "    cache.name=cart db.system.name=redis = 0.0",
            "redis.client.up | Gauge | {server} | 1, or 0 while calls to a server fail on the network; no point 10 minutes after the last call.",
            "    db.namespace=0 db.system.name=redis = 1",
        ]
    )


def test_the_scope_and_its_schema(valkey_server: RedisServer, recording: Recording) -> None:
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        recording.instrument()
        client.ping()
    scope = recording.span().instrumentation_scope

    assert scope is not None
    assert (scope.name, scope.version, scope.schema_url) == snapshot(
        ("otel_redis_cache", "0.1.0", "https://opentelemetry.io/schemas/1.44.0")
    )


def test_buckets_of_histograms(valkey_server: RedisServer, recording: Recording) -> None:
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        recording.instrument()
        client.ping()
        client.blpop("none:1", timeout=0.01)
    buckets = {
        name: list(metric.data.data_points[0].explicit_bounds)
        for name, metric in recording.metrics().items()
        if hasattr(metric.data.data_points[0], "explicit_bounds")
    }

    assert buckets == snapshot(
        {
            "db.client.connection.create_time": [
                0.0001,
                0.00025,
                0.0005,
                0.001,
                0.0025,
                0.005,
                0.01,
                0.025,
                0.05,
                0.1,
                0.25,
                0.5,
                1.0,
                2.5,
                5.0,
                10.0,
            ],
            "db.client.operation.duration": [
                0.0001,
                0.00025,
                0.0005,
                0.001,
                0.0025,
                0.005,
                0.01,
                0.025,
                0.05,
                0.1,
                0.25,
                0.5,
                1.0,
                2.5,
                5.0,
                10.0,
            ],
            "redis.client.blocked.duration": [
                0.001,
                0.01,
                0.1,
                0.5,
                1.0,
                2.5,
                5.0,
                10.0,
                30.0,
                60.0,
                120.0,
                300.0,
            ],
        }
    )
