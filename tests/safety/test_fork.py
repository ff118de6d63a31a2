"""A forked child counts its own calls, and hangs on no lock of its parent."""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from otel_redis_cache import histograms
from tests.real.servers import RedisServer
from tests.recording import Recording


def in_child(work: Callable[[], Any], timeout: float = 20.0) -> Any:
    """What a forked child returns; a child that hangs is a failure."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], timeout)
    if not ready:
        os.kill(pid, 9)
    os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    assert answer, "the child hung or died"
    return json.loads(answer)


def test_a_child_goes_on_from_its_parents_counts_with_its_own_increases(
    valkey_server: RedisServer, recording: Recording
) -> None:
    valkey_server.flush()
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        recording.instrument()
        for _ in range(3):
            client.get("user:1")

        def work() -> list[int]:
            before = recording.lookups()["user", "miss"]
            for _ in range(5):
                client.get("user:1")
            return [before, recording.lookups()["user", "miss"]]

        before, after = in_child(work)

        assert after - before == 5
        assert recording.lookups() == {("user", "miss"): 3}


def test_a_fork_while_other_threads_count_leaves_no_lock_held(
    valkey_server: RedisServer, recording: Recording
) -> None:
    stop = threading.Event()

    def load() -> None:
        with redis.Redis(host=valkey_server.host, port=valkey_server.port) as own:
            while not stop.is_set():
                own.get("user:1")

    recording.instrument(metrics="cache")
    counts = recording.instrument  # keep the fixture's instrumentor alive in the child
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):

            def work() -> int:
                with redis.Redis(host=valkey_server.host, port=valkey_server.port) as own:
                    own.get("cart:1")
                return recording.lookups()["cart", "miss"]

            assert in_child(work) == 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert counts is not None


def locks_of_the_sdk(recording: Recording) -> list[Any]:
    """Those of its metrics that a measurement or a collection takes."""
    consumer: Any = recording.meter_provider._measurement_consumer
    (storage,) = consumer._reader_storages.values()
    matches = [m for found in storage._instrument_view_instrument_matches.values() for m in found]
    kept = [a for match in matches for a in match._attributes_aggregation.values()]
    owners = [consumer, storage, *matches, *kept, *(one._reservoir for one in kept)]
    return [owner._lock for owner in owners if hasattr(owner, "_lock")]


def test_a_fork_while_a_thread_is_inside_the_sdk_leaves_none_of_its_locks_held(
    valkey_server: RedisServer, recording: Recording
) -> None:
    recording.instrument()
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        client.get("user:1")
        recording.lookups()
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with ExitStack() as stack:
                for lock in locks_of_the_sdk(recording):
                    stack.enter_context(lock)
                held.set()
                done.wait(60)

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(10)

        def work() -> int:
            client.get("user:1")
            return int(recording.counts("db.client.operation.duration")["GET"])

        try:
            assert in_child(work) == 2
        finally:
            done.set()
            holder.join()


def test_a_fork_renews_the_locks_of_each_provider_once(
    valkey_server: RedisServer, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many histograms it has: with many series that takes long."""
    recording.instrument(metrics="default,connections,size")
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        client.set("user:1", "x", ex=60)
        client.get("user:1")
    renewed: list[Any] = []
    owners_of_locks = histograms._owners_of_locks

    def watched(consumer: Any) -> Iterator[Any]:
        renewed.append(consumer)
        return owners_of_locks(consumer)

    monkeypatch.setattr(histograms, "_owners_of_locks", watched)
    times, consumers = in_child(lambda: [len(renewed), len({*map(id, renewed)})])

    assert times == consumers > 0
