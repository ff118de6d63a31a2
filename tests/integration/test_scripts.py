"""What the setting `scripts` declares of scripts and functions that run on real servers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of

READ = "return redis.call('GET', KEYS[1])"
READ_ALL = "return redis.call('MGET', unpack(KEYS))"
REMOVE = "return redis.call('DEL', unpack(KEYS))"
TAKE = "local v = redis.call('GET', KEYS[1]); redis.call('DEL', KEYS[1]); return v"
READ_HASH = "return redis.call('HGETALL', KEYS[1])"
LIBRARY = """#!lua name=cache
redis.register_function{function_name='fetch', flags={'no-writes'},
  callback=function(keys) return redis.call('GET', keys[1]) end}
redis.register_function('purge', function(keys) return redis.call('DEL', unpack(keys)) end)
"""


def sha(script: str) -> str:
    return hashlib.sha1(script.encode()).hexdigest()


SCRIPTS = {
    sha(READ): "reads",
    sha(READ_ALL): "reads",
    sha(READ_HASH): "reads",
    sha(REMOVE): "removes",
    sha(TAKE): "takes",
    "fetch": "reads",
    "purge": "removes",
}


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(request: pytest.FixtureRequest, server: RedisServer) -> Iterator[Any]:
    with redis.Redis(host=server.host, port=server.port, protocol=request.param) as client:
        client.function_flush()
        client.function_load(LIBRARY)
        client.mset({"user:1": "x", "cart:1": "y"})
        yield client


HIT, MISS = {("user", "hit"): 1}, {("user", "miss"): 1}
READS: dict[str, tuple[Any, dict[tuple[str, str], int]]] = {
    "EVAL": (lambda c: c.eval(READ, 1, "user:1", "an argument"), HIT),
    "EVAL of a missing key": (lambda c: c.eval(READ, 1, "user:2"), MISS),
    "EVAL_RO": (lambda c: c.eval_ro(READ, 1, "user:1"), HIT),
    "EVALSHA": (lambda c: c.evalsha(c.script_load(READ), 1, "user:1"), HIT),
    "a registered script": (lambda c: c.register_script(READ)(keys=["user:2"]), MISS),
    "EVALSHA in capitals": (
        lambda c: c.execute_command("EVALSHA", c.script_load(READ).upper(), 1, "user:1"),
        HIT,
    ),
    "FCALL in capitals": (lambda c: c.fcall("FETCH", 1, "user:1"), HIT),
    "FCALL": (lambda c: c.fcall("fetch", 1, "user:1"), HIT),
    "FCALL_RO": (lambda c: c.fcall_ro("fetch", 1, "user:2"), MISS),
    "several keys": (
        lambda c: c.eval(READ_ALL, 3, "user:1", "user:2", "cart:1"),
        {**HIT, **MISS, ("cart", "hit"): 1},
    ),
    "one key of a list": (lambda c: c.eval(READ_ALL, 1, "user:2"), MISS),
    "an empty container": (lambda c: c.eval(READ_HASH, 1, "user:2"), MISS),
    "a wrong type": (
        lambda c: (
            c.pipeline().lpush("user:3", "x").eval(READ, 1, "user:3").execute(raise_on_error=False)
        ),
        {("user", "error"): 1},
    ),
    "a pipeline": (lambda c: c.pipeline().eval(READ, 1, "user:1").execute(), HIT),
    "no keys": (lambda c: c.eval(READ_ALL.replace("unpack(KEYS)", "'user:1'"), 0), {}),
}


@pytest.mark.parametrize(("call", "lookups"), READS.values(), ids=READS)
def test_a_script_that_reads_has_lookups(
    client: Any, recording: Recording, call: Any, lookups: dict[tuple[str, str], int]
) -> None:
    recording.instrument(scripts=SCRIPTS)
    call(client)

    assert recording.lookups() == lookups


def test_a_script_that_removes_counts_as_its_reply_says(client: Any, recording: Recording) -> None:
    recording.instrument(scripts=SCRIPTS)
    client.eval(REMOVE, 2, "user:1", "user:2")
    client.fcall("purge", 2, "cart:1", "cart:1")
    client.fcall("purge", 1, "cart:1")

    assert recording.counts("cache.invalidations") == {
        ("user", "delete"): 1,
        ("cart", "delete"): 1,
    }
    assert recording.counts("cache.invalidation.requests") == {
        ("user", "delete", "partial"): 1,
        ("cart", "delete", "removed"): 1,
        ("cart", "delete", "none"): 1,
    }
    assert recording.lookups() == {}
    assert client.exists("user:1", "cart:1") == 0


def test_a_script_that_takes_is_a_lookup_and_a_removal(client: Any, recording: Recording) -> None:
    recording.instrument(scripts=SCRIPTS)
    assert client.eval(TAKE, 1, "user:1") == b"x"
    assert client.eval(TAKE, 1, "user:1") is None
    first, second = map(attributes_of, recording.spans())

    assert recording.lookups() == {("user", "hit"): 1, ("user", "miss"): 1}
    assert recording.counts("cache.invalidations") == {("user", "delete"): 1}
    assert (first["cache.hit"], first["cache.invalidation.removed"]) == (True, 1)
    assert (second["cache.hit"], second["cache.invalidation.removed"]) == (False, 0)


def test_a_script_that_nobody_declared_tells_nothing(client: Any, recording: Recording) -> None:
    recording.instrument(scripts={sha(REMOVE): "removes"})
    client.eval(READ, 1, "user:1")
    client.fcall("purge", 1, "user:1")

    assert recording.lookups() == {}
    assert recording.counts("cache.invalidations") == {}


def test_a_script_that_does_otherwise_than_declared_is_an_error_for_each_key(
    client: Any, recording: Recording
) -> None:
    recording.instrument(scripts={sha(REMOVE): "reads"})
    client.eval(REMOVE, 2, "user:1", "user:2")

    assert recording.lookups() == {("user", "error"): 2}


def test_a_script_sent_as_bytes_or_malformed_is_harmless(client: Any, recording: Recording) -> None:
    recording.instrument(scripts=SCRIPTS)
    client.execute_command("EVAL", READ.encode(), 1, "user:1")
    for malformed in (("EVAL",), ("EVALSHA", "x"), ("FCALL", "fetch", "many", "user:1")):
        with pytest.raises(redis.ResponseError):
            client.execute_command(*malformed)

    assert recording.lookups() == HIT
    assert recording.points("otel_redis_cache.errors") == []
