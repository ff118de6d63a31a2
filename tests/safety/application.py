"""A small application that uses a Redis in every way that is observed, and remembers all it got.

The same run with and without the package, and with each of its steps broken, must remember the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from otel_redis_cache import (
    Invalidation,
    consumed,
    invalidate,
    invalidate_async,
    invalidation,
    payload_of,
)

NO_RETRY = Retry(NoBackoff(), 0)

Memory = list[tuple[str, Any]]


def run(host: str, port: int) -> Memory:
    """Every reply, and every exception by type and text."""
    memory: Memory = []
    with redis.Redis(host=host, port=port) as client:
        client.flushall()
        client.script_flush()
        _synchronous(client, memory)
    asyncio.run(_asynchronous(host, port, memory))
    nobody: Any
    with redis.Redis(host="127.0.0.1", port=1, retry=NO_RETRY) as nobody:
        _remember(memory, "down", lambda: nobody.get("user:1"))
        _remember(memory, "invalidate down", lambda: done(invalidate(nobody, "user:*")))
        _remember(memory, "pipeline down", lambda: nobody.pipeline().get("user:1").execute())
    _remember(memory, "cut off", lambda: _cut_off(host, port))
    return memory


def _cut_off(host: str, port: int) -> Any:
    """A call whose connection is lost, and that is tried again; a pool would look before it."""
    again: Any = {"retry": Retry(NoBackoff(), 1), "retry_on_error": [redis.ConnectionError]}
    again["single_connection_client"] = True
    with redis.Redis(host=host, port=port) as other, redis.Redis(host, port, **again) as client:
        client.client_setname("cut-off")
        (one,) = [known for known in other.client_list() if known["name"] == "cut-off"]
        other.client_kill_filter(_id=one["id"])
        return client.get("user:1")


def _remember(memory: Memory, name: str, call: Callable[[], Any]) -> None:
    try:
        memory.append((name, call()))
    except Exception as error:
        memory.append((name, (type(error), str(error))))


def _synchronous(client: Any, memory: Memory) -> None:
    def remember(name: str, call: Callable[[], Any]) -> None:
        _remember(memory, name, call)

    remember("miss", lambda: client.get("user:1"))
    remember("set", lambda: client.set("user:1", "x", ex=100))
    remember("hit", lambda: client.get("user:1"))
    remember("mget", lambda: client.mget("user:1", "cart:1"))
    remember("hash", lambda: client.hset("cart:1", mapping={"a": 1, "b": 2}))
    remember("hgetall", lambda: client.hgetall("cart:1"))
    remember("wrong type", lambda: client.lpush("user:1", "x"))
    remember("unknown", lambda: client.execute_command("NO.SUCH", "x"))
    remember("refused", lambda: client.set("user:1", {"no": "value"}))  # type: ignore[arg-type]
    remember("delete", lambda: client.delete("user:1", "user:2"))
    remember("expire", lambda: client.expire("cart:1", 0))
    remember("bytes", lambda: client.execute_command(b"set", b"k", memoryview(b"v")))
    remember("blocked", lambda: client.blpop("queue:1", timeout=0.01))
    remember("script", lambda: client.register_script("return ARGV[1]")(args=["x"]))
    remember("lock", partial(_locked, client))
    remember("pipeline", lambda: client.pipeline().set("a:1", 1).get("a:1").execute())
    remember("failing", lambda: client.pipeline().get("a:1").lpush("a:1", 1).execute())
    remember(
        "failing softly",
        lambda: [
            str(reply)
            for reply in client.pipeline(transaction=False)
            .lpush("a:1", 1)
            .get("a:1")
            .execute(raise_on_error=False)
        ],
    )
    remember("aborted", lambda: client.pipeline().execute_command("GET").get("a:1").execute())
    remember("watch", partial(_watched, client))
    remember("scan", lambda: sorted(client.scan_iter("*")))
    remember("labelled", partial(_labelled, client))
    remember("invalidate", partial(_invalidated, client))
    remember("messages", partial(_messages, client))
    remember("invalidate in vain", lambda: done(invalidate(client, "nothing:*")))


def done(result: Invalidation) -> tuple[Any, ...]:
    """All of a result but how long it took."""
    return result.matched, result.removed, result.batches, result.outcome, str(result.error)


def _invalidated(client: Any) -> tuple[Any, ...]:
    client.mset({"gone:1": 1, "gone:2": 2, "kept:1": 3})
    with invalidation(reason="deploy", trigger="admin"):
        return done(invalidate(client, "gone:*")), sorted(client.scan_iter("*"))


def _labelled(client: Any) -> int:
    client.set("gone:1", 1)
    with invalidation(reason="deploy", trigger="admin"):
        return int(client.delete("gone:1"))


def _messages(client: Any) -> list[Any]:
    """What a consumer gets, once what may have been sent along is taken out."""
    got: list[Any] = []
    with client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.subscribe("news:1")
        client.publish("news:1", "alone")
        client.pipeline().publish("news:1", b"batch").xadd("orders:1", {"a": 1}, id="5-1").execute()
        client.xadd("orders:1", {"b": 2}, id="5-2")
        while len(got) < 2:
            message = subscriber.get_message(timeout=5)
            got += [] if message is None else [message]
    entries = client.xread({"orders:1": 0})[0][1]
    payloads: list[Any] = []
    for message in (*got, *entries):
        with consumed(message):
            payloads.append(payload_of(message))
    return payloads


def _locked(client: Any) -> list[bool]:
    with client.lock("lock:1", timeout=5):
        return [client.lock("lock:1", blocking=False).acquire()]


def _watched(client: Any) -> Any:
    with client.pipeline() as pipe:
        pipe.watch("a:1")
        before = pipe.get("a:1")
        client.set("a:1", "changed")
        pipe.multi()
        pipe.set("a:1", "lost")
        try:
            pipe.execute()
        except redis.WatchError as error:
            return before, str(error), client.get("a:1")


async def _asynchronous(host: str, port: int, memory: Memory) -> None:
    client: Any
    async with redis.asyncio.Redis(host=host, port=port) as client:
        for name, call in {
            "set": lambda: client.set("user:1", "x"),
            "get": lambda: client.get("user:1"),
            "wrong type": lambda: client.lpush("user:1", "x"),
            "pipeline": lambda: client.pipeline().get("user:1").get("user:2").execute(),
            "failing": lambda: client.pipeline().get("user:1").lpush("user:1", 1).execute(),
            "script": lambda: client.register_script("return ARGV[1]")(args=["x"]),
            "gathered": lambda: asyncio.gather(*(client.get(f"user:{i}") for i in range(10))),
        }.items():
            try:
                memory.append((f"asyncio {name}", await call()))
            except Exception as error:
                memory.append((f"asyncio {name}", (type(error), str(error))))
        await client.set("gone:1", "x")
        memory.append(("asyncio invalidate", done(await invalidate_async(client, "gone:*"))))
        task = asyncio.create_task(client.blpop("queue:1", timeout=5))
        await asyncio.sleep(0.02)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            memory.append(("asyncio cancelled", None))
