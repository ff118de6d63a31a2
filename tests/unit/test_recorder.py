from __future__ import annotations

import time

import pytest

from otel_redis_cache.facts import Contact, Failure, Outcome, Target
from otel_redis_cache.recorder import Recorder
from otel_redis_cache.settings import Settings
from tests.recording import Recording


def recorder_of(recording: Recording) -> Recorder:
    return Recorder(Settings(), recording.tracer_provider, recording.meter_provider)


@pytest.mark.parametrize(
    ("metric", "blocking"),
    [("db.client.operation.duration", False), ("redis.client.blocked.duration", True)],
)
def test_durations_stay_under_the_bound_with_the_total_exact(
    recording: Recording, metric: str, blocking: bool
) -> None:
    recorder = recorder_of(recording)
    for i in range(3_000):
        failure = Failure("OOM", "OOM") if i % 2 else None
        target = Target("redis", f"host{i}")
        recorder.record_duration(target, "GET", 1_000, failure, None, blocking=blocking)
    points = recording.points(metric)

    assert len(points) <= 1_500
    assert sum(count for _, count in points) == 3_000
    assert not any("otel.metric.overflow" in attributes for attributes, _ in points)
    folded = [found for found in points if found[0]["server.address"] == "_other"]
    assert [count for _, count in folded] == [800, 800]
    assert {attributes.get("error.type") for attributes, _ in folded} == {None, "_OTHER"}
    assert recording.counts("otel_redis_cache.overflows") == {"series": 1_600}


def test_the_bound_holds_for_all_observers_of_a_provider(recording: Recording) -> None:
    for number in range(20):
        recorder = recorder_of(recording)
        for i in range(200):
            target = Target("redis", f"host{number}-{i}")
            recorder.record_duration(target, "GET", 1_000, None, None, blocking=False)
    points = recording.points("db.client.operation.duration")

    assert len(points) <= 1_500
    assert sum(count for _, count in points) == 4_000


def test_invalidations_stay_under_the_bound_with_the_total_exact(recording: Recording) -> None:
    recording.opt_in(caches="as many names as rules may give")
    recorder = recorder_of(recording)
    for i in range(3_000):
        recorder.record_invalidation("redis", f"cache{i}", "delete", ("none", "error")[i % 2], 1)
    points = recording.points("cache.invalidation.duration")

    assert len(points) <= 1_500
    assert sum(count for _, count in points) == 3_000
    folded = [count for attributes, count in points if attributes["cache.name"] == "_other"]
    assert folded == [800, 800]
    assert recording.counts("otel_redis_cache.overflows") == {"series": 1_600}


def test_outages_stay_under_the_bound_with_the_total_exact(recording: Recording) -> None:
    recorder = recorder_of(recording)
    outages, now = recorder.tallies.outages, time.perf_counter_ns()
    for i in range(3_000):
        target, error_type = Target("redis", f"host{i}"), f"error{i % 2}"
        for contact, started in ((Contact.UNREACHED, now), (Contact.ANSWERED, now + 1)):
            over = outages.follow(
                target,
                contact,
                error_type,
                started=started,
                attempted=started,
                started_unix=0,
                ended=started,
            )
        assert over is not None
        recorder.record_outage(over)
    last = Target("redis", "host2999")
    outages.follow(
        last,
        Contact.UNREACHED,
        "",
        started=now + 2,
        attempted=now + 2,
        started_unix=0,
        ended=now + 2,
    )
    lengths = recording.points("redis.client.outage.duration")
    ups = recording.points("redis.client.up")

    assert len(lengths) == 1_401
    assert sum(count for _, count in lengths) == 3_000
    assert lengths[-1] == (
        {"db.system.name": "redis", "server.address": "_other", "error.type": "_OTHER"},
        1_600,
    )
    # 1,500 servers are remembered; of those that share a point one is down.
    assert ups == [({"db.system.name": "redis", "server.address": "_other"}, 0)]
    assert recording.counts("otel_redis_cache.overflows") == {"series": 1_600 + 1_600}


def test_a_failure_is_told_by_its_type_and_status(recording: Recording) -> None:
    recorder = recorder_of(recording)
    target = Target("redis", "localhost")
    for failure in (None, Failure("OOM", "OOM"), Failure("redis.exceptions.TimeoutError")):
        recorder.record_duration(target, "GET", 1_000, failure, None, blocking=False)

    assert recording.counts("db.client.operation.duration") == {
        "GET": 1,
        ("GET", "OOM", "OOM"): 1,
        ("GET", "redis.exceptions.TimeoutError"): 1,
    }


def test_metrics_that_are_left_get_nothing_more_and_come_back(recording: Recording) -> None:
    recorder = recorder_of(recording)
    target = Target("redis", "here")
    outcome = Outcome()
    outcome.lookups["user", "hit"] = 1

    def happen() -> None:
        recorder.record_duration(target, "GET", 1_000, None, None, blocking=False)
        recorder.tallies.take(target, outcome)

    happen()
    assert recorder.leave({"db.client.operation.duration", "cache.requests", "not.ours"}) == [
        "cache.requests",
        "db.client.operation.duration",
    ]
    happen()
    assert recording.counts("db.client.operation.duration") == {"GET": 1}
    assert "cache.requests" not in recording.metrics()
    assert recording.counts("cache.hit_ratio") == {"user": 1.0}

    assert recorder.leave(set()) == []
    happen()
    assert recording.counts("db.client.operation.duration") == {"GET": 2}
    assert recording.lookups() == {("user", "hit"): 3}


def test_what_is_left_to_redis_py_is_not_left_for_valkey_py(recording: Recording) -> None:
    recorder = recorder_of(recording)
    recorder.leave({"db.client.operation.duration", "cache.requests"})
    outcome = Outcome()
    outcome.lookups["user", "hit"] = 1
    for system in ("redis", "valkey"):
        target = Target(system, "here")
        recorder.record_duration(target, "GET", 1_000, None, None, blocking=False)
        recorder.tallies.take(target, outcome)

    for metric in ("db.client.operation.duration", "cache.requests"):
        ((attributes, count),) = recording.points(metric)
        assert (attributes["db.system.name"], count) == ("valkey", 1)
