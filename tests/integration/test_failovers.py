"""A primary that dies: telemetry equals what the application saw, until another one has taken over."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from valkey.backoff import NoBackoff
from valkey.cluster import ValkeyCluster
from valkey.exceptions import ValkeyError
from valkey.retry import Retry

from tests.integration.kinds import Kind, Place, only
from tests.integration.waiting import EventLoop
from tests.real.clusters import Cluster
from tests.real.sentinels import Sentinels
from tests.recording import Recording, attributes_of

KEY = "user:1"


def keep_asking(client: Any, kill: Callable[[], None]) -> Counter[str]:
    """What an application sees that asks on, until it has had three answers after the kill."""
    seen: Counter[str] = Counter()
    kill()
    deadline = time.monotonic() + 40
    answers = 0
    while answers < 3:
        assert time.monotonic() < deadline, f"nobody took over: {seen}"
        try:
            reply = client.get(KEY)
        except Exception:  # of whatever library
            answers = 0
            seen["error"] += 1
            time.sleep(0.05)
        else:
            answers += 1
            seen["miss" if reply is None else "hit"] += 1
    return seen


def hold(recording: Recording, seen: Counter[str], target: dict[str, Any]) -> list[dict[str, Any]]:
    """One span and one lookup for each call, to the target as it was configured."""
    spans = [attributes_of(span) for span in recording.spans()]
    assert recording.operations() == ["GET"] * seen.total()
    assert recording.lookups() == {("user", kind): count for kind, count in seen.items()}
    assert sum(recording.counts("db.client.operation.duration").values()) == seen.total()
    for attributes in spans:
        assert {k: v for k, v in attributes.items() if k in target} == target
    assert sum("error.type" in attributes for attributes in spans) == seen["error"]
    for metric, attribute in (
        ("redis.client.retries", "redis.client.retry.count"),
        ("redis.client.redirections", "redis.client.redirection.count"),
    ):
        of_spans = sum(attributes.get(attribute, 0) for attributes in spans)
        assert sum(recording.counts(metric).values()) == of_spans
    return spans


@pytest.fixture
def watched(
    kind: Kind, place: Place, event_loop_of_clients: EventLoop, recording: Recording
) -> Iterator[Any]:
    """A client that is made while we watch: a cluster client forgets where it was told to start."""
    place.call("SET", KEY, "x")
    recording.instrument()
    with kind.connected(place, event_loop_of_clients) as client:
        yield client


@only(lambda kind: kind.is_cluster, because="clusters alone")
def test_a_killed_primary_of_a_cluster(
    kind: Kind, watched: Any, place: Cluster, recording: Recording
) -> None:
    dead = place.owner(KEY)
    seen = keep_asking(watched, dead.kill)
    spans = hold(recording, seen, kind.target(place))

    place.wait_until_served()
    assert seen["hit"] >= 3
    assert spans[-1]["network.peer.port"] == place.owner(KEY).port != dead.port
    assert any("redis.client.retry.count" in span or "error.type" in span for span in spans)


@only(lambda kind: "Sentinel" in kind.name, because="Sentinels alone")
def test_a_killed_master_that_sentinels_watch(
    kind: Kind, watched: Any, place: Sentinels, recording: Recording
) -> None:
    dead = place.primary
    seen = keep_asking(watched, dead.kill)
    spans = hold(recording, seen, kind.target(place))

    assert seen["hit"] + seen["miss"] >= 3
    assert spans[-1]["network.peer.port"] == place.primary.port != dead.port


@only(lambda kind: kind.is_cluster, because="clusters alone")
def test_a_primary_that_hands_over_costs_redirections_alone(
    watched: Any, place: Cluster, recording: Recording
) -> None:
    assert watched.get(KEY) == b"x"
    after = place.fail_over(place.owner(KEY))
    assert watched.get(KEY) == b"x"
    attributes = attributes_of(recording.spans()[-1])

    assert attributes["network.peer.port"] == after.port
    assert attributes["redis.client.redirection.count"] >= 1
    assert "error.type" not in attributes
    assert recording.lookups() == {("user", "hit"): 2}


def test_a_killed_primary_is_one_outage_while_the_others_answer(
    valkey_cluster: Cluster, recording: Recording
) -> None:
    """Each call fails at once, so that the answers of the other primaries come in between."""
    valkey_cluster.revive()
    recording.instrument()
    with ValkeyCluster(
        host=valkey_cluster.host,
        port=valkey_cluster.nodes[0].port,
        cluster_error_retry_attempts=0,
        retry=Retry(NoBackoff(), 0),
    ) as client:
        states = [up_of(recording, client)]
        killed = time.monotonic()
        valkey_cluster.owner(KEY).kill()
        deadline = killed + 30
        while (failed := failures_of(client)) or len(states) == 1:
            assert time.monotonic() < deadline
            states.append(up_of(recording, client) if failed else 1)
        recovered = time.monotonic()
        time.sleep(1.1)
        assert failures_of(client) == 0
        states.append(up_of(recording, client))
    (point,) = recording.metrics()["redis.client.outage.duration"].data.data_points

    assert states[0] == states[-1] == 1
    assert set(states[1:-2]) == {0}
    assert point.count == 1
    assert point.sum == pytest.approx(recovered - killed, rel=0.1, abs=0.3)
    assert recording.lookups()["user", "error"] > 1


def failures_of(client: Any) -> int:
    """How many of a round of calls over all nodes fail."""
    failed = 0
    for i in range(40):
        try:
            client.get(f"user:{i}")
        except ValkeyError:
            failed += 1
    return failed


def up_of(recording: Recording, client: Any) -> int:
    if not recording.points("redis.client.up"):
        client.get(KEY)
    ((_, up),) = recording.points("redis.client.up")
    return int(up)
