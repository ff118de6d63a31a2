"""What one command costs, in things that can be counted: the same on every machine."""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import redis
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_redis_cache import RedisCacheInstrumentor, commands
from tests.real.servers import RedisServer
from tests.recording import Recording


@pytest.fixture
def client(valkey_server: RedisServer) -> Iterator[Any]:
    valkey_server.flush()
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        client.ping()
        yield client


def calls_during(call: Callable[[], Any], warm_up: int = 3) -> Counter[str]:
    """Python functions entered, by module and name."""
    for _ in range(warm_up):
        call()
    seen: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            module = frame.f_globals.get("__name__", "")
            seen[f"{module}.{frame.f_code.co_name}"] += 1

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


def entered(seen: Counter[str], prefix: str) -> int:
    return sum(count for name, count in seen.items() if name.startswith(prefix))


METRIC_CALLS = "opentelemetry.sdk.metrics._internal.instrument."
MEASUREMENTS = "opentelemetry.sdk.metrics._internal.aggregation.aggregate"
SDK_METRICS = "opentelemetry.sdk.metrics."
SDK_SPANS = "opentelemetry.sdk.trace."


@pytest.mark.parametrize(
    ("measurements", "call"),
    [
        pytest.param(1, lambda client: client.get("user:1"), id="GET"),
        pytest.param(1, lambda client: client.set("user:1", "x"), id="SET"),
        pytest.param(2, lambda client: client.set("user:1", "x", ex=60), id="SET with a TTL"),
        pytest.param(1, lambda client: client.mget([f"user:{i}" for i in range(100)]), id="MGET"),
        pytest.param(1, lambda client: client.delete("user:1", "user:2"), id="DEL"),
        pytest.param(
            1, lambda client: client.pipeline().get("a:1").get("b:1").execute(), id="pipeline"
        ),
    ],
)
def test_one_call_is_at_most_one_span_and_one_measurement(
    client: Any, recording: Recording, measurements: int, call: Callable[[Any], Any]
) -> None:
    recording.instrument()
    seen = calls_during(lambda: call(client), warm_up=3)

    assert len(recording.spans()) == 4
    assert seen[MEASUREMENTS] == measurements
    assert seen[METRIC_CALLS + "record"] == 0  # each goes straight to its aggregation
    assert seen[METRIC_CALLS + "add"] == 0
    assert seen[SDK_SPANS + "set_attributes"] <= 1
    assert seen[SDK_SPANS + "set_attribute"] == 0


def test_a_write_back_that_closes_a_miss_is_three_measurements(
    client: Any, recording: Recording
) -> None:
    recording.instrument()

    def writes_back() -> Counter[str]:
        client.delete("user:1")
        client.get("user:1")
        return calls_during(lambda: client.set("user:1", "x", ex=60), warm_up=0)

    writes_back()
    recording.take()
    seen = writes_back()

    assert recording.operations() == ["DEL", "GET", "SET"]
    assert seen[MEASUREMENTS] == 3
    assert seen[METRIC_CALLS + "record"] == 0


@pytest.mark.parametrize(
    ("settings", "budget"),
    [
        pytest.param({}, 6, id="in a span"),
        pytest.param({"traces": False}, 2, id="without spans"),
    ],
)
def test_a_measurement_enters_few_functions_of_the_sdk(
    client: Any, recording: Recording, settings: dict[str, Any], budget: int
) -> None:
    """Budgets that only ever go down, beside what the public API enters."""
    instrumentor = recording.instrument(**settings)
    fast = entered(calls_during(lambda: client.get("user:1")), SDK_METRICS)
    instrumentor.uninstrument()
    recording.instrument(**settings, fast_path="off")
    public = entered(calls_during(lambda: client.get("user:1")), SDK_METRICS)

    assert fast <= budget
    assert public >= 4 * fast


def test_an_unsampled_call_builds_no_text_and_no_attributes_of_its_outcome(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(ALWAYS_OFF)
    instrumentor = recording.instrument(query_text="sanitized")
    built: list[str] = []
    text_of = commands.Commands.text_of

    def remember(self: Any, command: Any) -> str:
        built.append(command.rule.name)
        return text_of(self, command)

    seen = calls_during(lambda: client.get("user:1"))
    monkeypatch.setattr(commands.Commands, "text_of", remember)
    texts = instrumentor._seams.observer._commands._texts  # type: ignore[union-attr]
    before = dict(texts)
    client.get("user:2")
    client.pipeline().get("user:1").set("user:1", "x").execute()
    instrumentor.uninstrument()

    assert entered(seen, "otel_redis_cache.commands.text_with_keys") == 0
    assert entered(seen, "otel_redis_cache.descriptions.") == 0
    assert entered(seen, SDK_SPANS) <= 1  # whether the tracer is enabled
    assert entered(seen, "otel_redis_cache.") <= 75  # it is a miss
    assert texts == before
    assert built == []


def test_a_get_enters_few_functions_of_ours(client: Any, recording: Recording) -> None:
    """Budgets that only ever go down; raise them with a reason."""
    recording.instrument()
    client.set("user:1", "x")
    hit = entered(calls_during(lambda: client.get("user:1")), "otel_redis_cache.")
    miss = entered(calls_during(lambda: client.get("user:2")), "otel_redis_cache.")

    beside_a_miss = entered(calls_during(lambda: client.get("user:1")), "otel_redis_cache.")

    assert hit <= HIT_BUDGET
    assert miss <= MISS_BUDGET
    assert beside_a_miss <= HIT_BUDGET_BESIDE_A_MISS


# 7 below the call: the connection and its peer, where it could be tried again, twice, with what is
# tried, and the pool's checkout; 16 for the span, from its start to what exporters get; 7 for what came
# of it; 1 to see whether another instrumentation has come.
HIT_BUDGET = 45
MISS_BUDGET = 89  # remembered, with its key and by whom, until it is written back
HIT_BUDGET_BESIDE_A_MISS = HIT_BUDGET + 3  # of another key, which is so nearly always


def test_a_get_that_makes_no_span_enters_fewer(client: Any) -> None:
    recording = Recording()
    recording.instrument(traces=False)
    client.set("user:1", "x")
    seen = calls_during(lambda: client.get("user:1"))
    RedisCacheInstrumentor().uninstrument()

    assert entered(seen, "otel_redis_cache.") <= 23


def test_each_command_of_a_batch_and_each_key_of_a_command_enters_few(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    keys = [f"user:{i}" for i in range(100)]
    client.mset(dict.fromkeys(keys, "x"))

    def pipeline() -> None:
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.get(key)
        pipe.execute()

    batch = entered(calls_during(pipeline), "otel_redis_cache.")
    reading = entered(calls_during(lambda: client.mget(keys)), "otel_redis_cache.")

    client.get("user:x")  # from here on a miss is open, which none of them is about
    batch_beside = entered(calls_during(pipeline), "otel_redis_cache.")
    reading_beside = entered(calls_during(lambda: client.mget(keys)), "otel_redis_cache.")

    assert batch <= HIT_BUDGET + 60
    assert reading <= HIT_BUDGET + 19  # one that names all keys at once, where they begin alike
    assert batch_beside <= 100 * 6 + HIT_BUDGET + 3
    assert reading_beside <= 100 * 2 + HIT_BUDGET + 40


def test_while_nobody_listens_a_call_enters_few_functions_of_ours(client: Any) -> None:
    instrumentor = RedisCacheInstrumentor()
    instrumentor.instrument()
    seen = calls_during(lambda: client.get("user:1"))
    instrumentor.uninstrument()

    assert entered(seen, "otel_redis_cache.") <= 8


def test_without_an_observer_a_call_enters_few_functions_of_ours(
    client: Any, recording: Recording
) -> None:
    other = redis.Redis()
    instrumentor = recording.instrument()
    instrumentor.instrument_client(other, **recording.providers)
    instrumentor.uninstrument()
    seen = calls_during(lambda: client.get("user:1"))
    instrumentor.uninstrument_client(other)

    assert entered(seen, "otel_redis_cache.") <= 7


def test_a_pipeline_of_a_hundred_thousand_commands_has_a_bounded_text(
    client: Any, recording: Recording
) -> None:
    recording.instrument()
    pipe = client.pipeline(transaction=False)
    for i in range(100_000):
        pipe.get(f"user:{i}") if i % 2 else pipe.ttl("user:1")
    pipe.execute()
    (span,) = recording.spans()

    assert len(str((span.attributes or {})["db.query.text"])) <= 1_024
    assert len(span.name) <= 64
    assert recording.lookups() == {("user", "miss"): 50_000}


def test_memory_does_not_grow_with_calls(client: Any) -> None:
    recording = Recording(ALWAYS_OFF)
    instrumentor = recording.instrument()

    def call(start: int) -> None:
        for i in range(start, start + 400):
            client.get(f"user:{i}")
            client.get(f"k{i}x:1")

    tracemalloc.start()
    for start in range(0, 10_000, 400):  # fills the open misses, twice
        call(start)
    before, _ = tracemalloc.get_traced_memory()
    call(20_000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    instrumentor.uninstrument()

    assert after - before < 64 * 1024
