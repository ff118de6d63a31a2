"""Keys that really expire at a server that is watched: S5 of `docs/scenarios.md`."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
import redis

from otel_redis_cache import conventions
from tests.integration.watching import PERIOD, told, watched
from tests.real.collector import CONFIGURATION
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.recording import Recording

SHORT, LONG = 200, 50
"""Keys that expire at once, and keys that stay."""


@pytest.fixture
def publishing(new_server: RedisServer) -> RedisServer:
    """A server that publishes what expires and what it evicts."""
    new_server.call("CONFIG", "SET", "notify-keyspace-events", "Exe")
    return new_server


def client_of(server: RedisServer) -> redis.Redis:
    return redis.Redis(host=server.host, port=server.port)


def wait_for_the_listener(server: RedisServer) -> None:
    wait_until(lambda: server.call("PUBSUB", "CHANNELS"), timeout=10, what="somebody listens")


def expired(recording: Recording) -> int:
    count = recording.counts("cache.evictions").get(("user", "expired"), 0)
    assert isinstance(count, int)
    return count


def test_two_hundred_expirations_are_counted_within_two_seconds(
    publishing: RedisServer, recording: Recording
) -> None:
    """A5.1: not as invalidations, and not as evictions."""
    recording.instrument(metrics="all")
    with watched(recording, publishing, listen_events=True), client_of(publishing) as client:
        wait_for_the_listener(publishing)
        for i in range(LONG):
            client.set(f"user:long{i}", "x", ex=600)
        pipeline = client.pipeline(transaction=False)
        for i in range(SHORT):
            pipeline.set(f"user:{i}", "x", px=500)
        pipeline.execute()
        wait_until(
            lambda: expired(recording) == SHORT <= told(recording, "redis.keys.expired"),
            timeout=2.5,
            what="all are counted within 2 s of their expiration",
        )
        stats, leases = publishing.info("stats"), publishing.call("KEYS", "otel_redis_cache:*")
        assert isinstance(leases, list)
        there = int(str(publishing.call("DBSIZE"))) - len(leases)
        ours = told(recording, "redis.keys.expired"), told(recording, "redis.keys.evicted")

    assert there == LONG
    # A lease of a watch that was kept from its work for long expires, too.
    assert SHORT <= ours[0] <= SHORT + 2
    assert SHORT <= int(stats["expired_keys"]) <= SHORT + 2
    assert (ours[1], stats["evicted_keys"]) == (0, "0")
    assert recording.counts("cache.invalidations") == {}
    assert recording.counts("cache.invalidation.requests") == {}
    # What is heard is no message of the application's.
    assert recording.counts("redis.client.pubsub.messages") == {}
    assert set(recording.operations()) == {"SET", "PIPELINE SET"}


def test_of_two_processes_one_listens_and_the_other_takes_over(
    publishing: RedisServer, recording: Recording
) -> None:
    other = Recording()

    def listeners() -> set[str]:
        text = publishing.call("CLIENT", "LIST", "TYPE", "pubsub")
        assert isinstance(text, str)
        return {line.partition(" ")[0] for line in text.splitlines()}

    def expire(start: int) -> None:
        for i in range(start, start + 20):
            publishing.call("SET", f"user:{i}", "x", "PX", "50")

    with ExitStack() as first:
        first.enter_context(watched(recording, publishing, listen_events=True))
        wait_for_the_listener(publishing)
        with watched(other, publishing, listen_events=True):
            time.sleep(3 * PERIOD)
            before = listeners()
            assert len(before) == 1
            expire(0)
            wait_until(lambda: expired(recording) == 20, timeout=5, what="the first counts")
            assert expired(other) == 0
            first.close()
            wait_until(lambda: listeners() - before, timeout=5, what="the other one listens")
            expire(20)
            wait_until(lambda: expired(other) == 20, timeout=5, what="the other one counts")


def test_a_key_that_expires_when_it_is_looked_at_is_a_miss_and_one_expiration(
    publishing: RedisServer, recording: Recording
) -> None:
    """A5.3: whoever removes it then removes nothing."""
    publishing.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    recording.instrument()
    with watched(recording, publishing, listen_events=True), client_of(publishing) as client:
        wait_for_the_listener(publishing)
        client.set("user:1", "x", px=20)
        client.set("user:2", "x", px=20)
        time.sleep(0.3)
        counted_before = expired(recording)
        found = client.get("user:1")
        removed = client.unlink("user:2")
        wait_until(lambda: expired(recording) == 2, timeout=5, what="both are counted")
        lookups = recording.lookups()

    assert (counted_before, found, removed) == (0, None, 0)
    assert int(publishing.info("stats")["expired_keys"]) in (2, 3)  # or a lease, too
    assert lookups == {("user", "miss"): 1}
    assert recording.counts("cache.invalidations") == {}
    assert recording.counts("cache.invalidation.requests") == {("user", "delete", "none"): 1}


def test_times_to_live_are_told_from_what_was_asked_for_and_not_from_the_server_s_guess(
    publishing: RedisServer, recording: Recording
) -> None:
    """A5.4: what `INFO` guesses is passed on under its own name, said to be a guess, used nowhere."""
    recording.instrument()
    with watched(recording, publishing), client_of(publishing) as client:
        for i in range(LONG):
            client.set(f"user:{i}", "x", ex=600)
        left = [client.pttl(f"user:{i}") / 1000 for i in range(LONG)]
        wait_until(
            lambda: recording.points("redis.db.avg_ttl"), timeout=10, what="the guess is told"
        )
        ((of_guess, _),) = recording.points("redis.db.avg_ttl")
        (ours,) = recording.metrics()["cache.ttl"].data.data_points

    assert of_guess["db"] == "0"
    assert ours.sum / ours.count == pytest.approx(sum(left) / LONG, abs=2)
    assert (ours.count, ours.sum) == (LONG, LONG * 600)
    assert "own estimate" in conventions.DATABASE_TTL.description
    rules = (CONFIGURATION / "prometheus" / "rules.yaml").read_text(encoding="utf-8")
    assert "avg_ttl" not in rules
