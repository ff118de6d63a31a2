"""Adding this package changes no reply and no exception, whatever of it breaks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_redis_cache import (
    RedisCacheInstrumentor,
    caches,
    clients,
    commands,
    connections,
    contexts,
    descriptions,
    failures,
    neighbours,
    observe,
    outcomes,
    pools,
    propagation,
    sweeps,
)
from otel_redis_cache import conventions as names
from otel_redis_cache.latencies import Latencies
from otel_redis_cache.outages import Outages
from otel_redis_cache.pools import Pools
from otel_redis_cache.recorder import Recorder
from otel_redis_cache.tallies import Tallies
from otel_redis_cache.traffic import Traffic
from tests.real.servers import RedisServer
from tests.recording import Recording
from tests.safety.application import Memory, run


@pytest.fixture(scope="module")
def undisturbed(valkey_server: RedisServer) -> Memory:
    """What the application remembers without the package."""
    return run(valkey_server.host, valkey_server.port)


class BrokenError(RuntimeError):
    """A fault that only this test can have caused."""


def broken(*_: object, **__: object) -> Any:
    raise BrokenError("user:secret")


STEPS: dict[str, tuple[object, str, str]] = {
    "suppression": (contexts, "is_suppressed", "open"),
    "current context": (contexts, "current", "open"),
    "conflicts": (neighbours.Neighbours, "span_maker", "conflict"),
    "queue": (clients, "queued", "open"),
    "sending": (clients, "sends", "open"),
    "scripts": (clients, "queues", "open"),
    "describe": (commands.Commands, "describe", "describe"),
    "target": (clients, "target_of", "target"),
    "parent": (contexts, "are_in_a_span", "start"),
    "text": (commands.Commands, "text_of", "start"),
    "start": (Recorder, "start", "start"),
    "span in a context": (contexts, "with_span", "start"),
    "attach": (contexts, "attach", "start"),
    "failure": (failures, "failure_of", "outcome"),
    "judge": (outcomes, "judge", "outcome"),
    "condemn": (outcomes, "condemn", "outcome"),
    "names": (caches.Caches, "name_of", "outcome"),
    "tallies": (Tallies, "take", "count"),
    "loads": (Tallies, "follow", "loads"),
    "values": (Recorder, "record_values", "values"),
    "attributes": (descriptions, "outcome_attributes", "attributes"),
    "status": (Recorder, "finish", "attributes"),
    "duration": (Recorder, "record_duration", "duration"),
    "end": (Recorder, "end", "finish"),
    "replies": (observe, "replies_of", "replies"),
    "contact": (failures, "contact_of", "outage"),
    "outage": (Outages, "follow", "outage"),
    "attempts": (Recorder, "count_attempts", "attempts"),
    "attempt": (observe, "Attempts", "attempts"),
    "peer": (connections, "peer_of", "attributes"),
    "latency": (Latencies, "add", "latency"),
    "pools": (clients, "pool_name", "connections"),
    "watching pools": (Pools, "watch", "connections"),
    "connections": (pools, "belongs", "connections"),
    "opening": (pools, "pool_of", "connections"),
    "times of pools": (Recorder, "record_of_pool", "connections"),
    "parts": (sweeps, "around", "open"),
    "sweep": (observe, "Sweep", "open"),
    "reason": (Tallies, "reason_of", "invalidation"),
    "invalidation": (Recorder, "record_invalidation", "invalidation"),
    "replies of messages": (Traffic, "follow", "traffic"),
    "messages": (Traffic, "receive", "traffic"),
    "context": (propagation, "current_carrier", "propagate"),
    "fields and envelopes": (propagation, "with_context", "propagate"),
    "reading a context": (propagation, "context_in", "consume"),
    "consumer": (observe, "Consumption", "consume"),
}


def test_the_same_run_gives_the_same_results(
    valkey_server: RedisServer, recording: Recording, undisturbed: Memory
) -> None:
    recording.instrument()

    assert run(valkey_server.host, valkey_server.port) == undisturbed
    assert len(recording.spans()) > 40
    assert recording.points("otel_redis_cache.errors") == []


@pytest.mark.parametrize("step", STEPS)
def test_a_broken_step_costs_telemetry_and_nothing_else(
    valkey_server: RedisServer,
    recording: Recording,
    undisturbed: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
) -> None:
    owner, name, counted_as = STEPS[step]
    recording.instrument(
        snapshot=True, metrics="default,size,pubsub,streams", propagate_context=True
    )
    if step in ("failure", "status"):
        recording.excuse("cache.invalidation.removed is missing")
    monkeypatch.setattr(owner, name, broken)
    # A broken detach leaves its span current: in a context of this run alone.
    remembered = copy_context().run(run, valkey_server.host, valkey_server.port)
    monkeypatch.undo()

    assert remembered == undisturbed
    assert recording.counts("otel_redis_cache.errors")[counted_as] > 0
    ours = [record for record in caplog.records if record.name == "otel_redis_cache"]
    assert 1 <= len(ours) <= 5  # a helper may serve several steps
    assert "BrokenError" in ours[0].getMessage()
    assert "secret" not in caplog.text


def test_every_step_that_is_counted_can_break() -> None:
    assert {step for _, _, step in STEPS.values()} == set(names.STEPS) - {
        "request_hook",
        "response_hook",  # tests/integration/test_instrumentor.py
        "snapshot",
        "health",  # tests/integration/test_snapshot.py
        "watch",  # tests/integration/test_watch.py
        "finaliser",  # tests/safety/test_garbage.py
    }


class HostileSpan:
    """A span of somebody's SDK that fails at everything."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return broken


def hostile_span(*_: object, **__: object) -> HostileSpan:
    return HostileSpan()


@pytest.mark.parametrize("start_span", [broken, hostile_span])
def test_a_hostile_tracer_is_contained(
    valkey_server: RedisServer,
    recording: Recording,
    undisturbed: Memory,
    monkeypatch: pytest.MonkeyPatch,
    start_span: Callable[..., Any],
) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("hostile")
    monkeypatch.setattr(type(tracer), "start_span", start_span)
    recording.instrument()

    assert copy_context().run(run, valkey_server.host, valkey_server.port) == undisturbed
    monkeypatch.undo()
    assert sum(recording.lookups().values()) > 0
    assert sum(recording.counts("db.client.operation.duration").values()) > 40


def test_a_hostile_meter_is_contained(
    valkey_server: RedisServer, recording: Recording, undisturbed: Memory, monkeypatch: Any
) -> None:
    from opentelemetry.sdk.metrics import Histogram

    recording.instrument()
    monkeypatch.setattr(Histogram, "record", broken)

    assert run(valkey_server.host, valkey_server.port) == undisturbed
    monkeypatch.undo()
    assert len(recording.spans()) > 40


def test_uninstrumenting_during_a_call_leaves_the_call_alone(
    valkey_server: RedisServer, recording: Recording
) -> None:
    import redis

    instrumentor = recording.instrument()

    def leave(*_: object, **__: object) -> bytes:
        instrumentor.uninstrument()
        return b"reply"

    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        client.set_response_callback("GET", leave)
        assert client.get("user:1") == b"reply"

    assert recording.operations() == ["GET"]
    assert RedisCacheInstrumentor()._seams.observer is None


def test_a_fault_is_said_once_for_each_step(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder.__new__(Recorder)
    instrumentor = recording.instrument()
    observer = instrumentor._seams.observer
    assert observer is not None
    recorder = observer.recorder
    with caplog.at_level(logging.DEBUG, "otel_redis_cache"):
        for step in ("start", "start", "count"):
            try:
                broken()
            except BrokenError as fault:
                recorder.contain(step, fault)

    said = [record.getMessage() for record in caplog.records]
    assert ["'start'" in said[0], "'count'" in said[1], len(said)] == [True, True, 2]
