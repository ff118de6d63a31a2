"""Beside redis-py's own metrics no metric comes from both, and nothing is counted twice.

Each in a process of its own: they use the global provider, which is set once.
"""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest

from otel_redis_cache import conventions
from otel_redis_cache.neighbours import METRICS_OF_REDIS_PY
from tests.real.servers import RedisServer

from .processes import run

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("redis.observability") is None,
    reason="redis-py has metrics of its own from 7.2 on",
)

PROGRAM = """
import asyncio, gc, json, logging, sys
import redis, redis.asyncio
from opentelemetry import metrics
from redis.observability import OTelConfig, get_observability_instance
from redis.observability.config import MetricGroup
from tests.recording import Recording

# redis-py asks the provider for its meter when a pool is collected, and so waits for itself if that
# happens while it asks for it anyway.
gc.disable()

way, groups, mode, url = sys.argv[1:]
said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("otel_redis_cache").addHandler(handler)
recording = Recording()
metrics.set_meter_provider(recording.meter_provider)
observability = get_observability_instance()

def switch_on():
    observability.init(OTelConfig(metric_groups=[MetricGroup[g] for g in groups.split()]))

def use(kind=redis.Redis):
    with kind.from_url(url) as client:
        client.get("user:1")
        client.pipeline().get("user:1").get("user:2").execute()

async def use_asyncio():
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.get("user:1")

def send():
    with redis.Redis.from_url(url) as client, client.pubsub() as subscriber:
        subscriber.subscribe("news:1")
        client.publish("news:1", "x")
        while subscriber.get_message(timeout=5)["type"] != "message":
            pass
        client.xgroup_create("orders:1", "billing", id="0", mkstream=True)
        client.xadd("orders:1", {"a": 1})
        client.xreadgroup("billing", "worker-1", {"orders:1": ">"})

def instrument():
    recording.instrument(on_conflict=mode, metrics="all")

def seen():
    return {
        scope: {
            name: sum(getattr(p, "count", None) or getattr(p, "value", 0)
                      for p in metric.data.data_points)
            for name, metric in found.items()
        }
        for scope, found in recording.metrics_by_scope().items()
    }

stages = []
if way == "theirs first":
    switch_on()
    instrument()
elif way == "ours first":
    instrument()
    switch_on()
else:
    instrument()
    use()
    asyncio.run(use_asyncio())
    stages.append(seen())
    switch_on()
use()
asyncio.run(use_asyncio())
if way == "messages":
    send()
stages.append(seen())
observability.shutdown()
use()
stages.append(seen())
if way == "valkey too":
    import valkey
    use(valkey.Valkey)
    stages.append(seen())
print(json.dumps({"stages": stages, "said": said, "spans": recording.operations()}))
"""
DURATION = "db.client.operation.duration"
OURS, THEIRS = conventions.SCOPE, "redis-py"
CALLS, LOOKUPS = 3, 4
SPANS = ["GET", "MULTI GET", "GET"]
ALL = " ".join(METRICS_OF_REDIS_PY)


def meet(server: RedisServer, way: str, groups: str, mode: str = "yield") -> dict[str, Any]:
    server.flush()
    found: dict[str, Any] = json.loads(run("-c", PROGRAM, way, groups, mode, server.url))
    return found


@pytest.mark.parametrize("way", ["theirs first", "ours first"])
def test_with_all_of_its_groups_no_metric_comes_from_both(
    valkey_server: RedisServer, way: str
) -> None:
    met = meet(valkey_server, way, ALL)
    stage = met["stages"][0]
    assert stage[OURS].keys() & stage[THEIRS].keys() == set()
    assert stage[THEIRS][DURATION] == CALLS
    assert stage[OURS]["cache.requests"] == LOOKUPS
    (line,) = met["said"]
    assert line.startswith("redis.observability is active: leaving ")
    assert DURATION in line


@pytest.mark.parametrize(
    ("way", "groups"),
    [("theirs first", "COMMAND"), ("ours first", "COMMAND"), ("ours first", "RESILIENCY")],
)
def test_each_call_has_one_duration_from_whoever_makes_them(
    valkey_server: RedisServer, way: str, groups: str
) -> None:
    met = meet(valkey_server, way, groups)
    stage = met["stages"][0]
    durations = {scope: found[DURATION] for scope, found in stage.items() if DURATION in found}
    is_left = "COMMAND" in groups
    assert durations == {THEIRS if is_left else OURS: CALLS}
    assert stage[OURS]["cache.requests"] == LOOKUPS
    assert met["spans"][:3] == SPANS
    assert len(met["said"]) == is_left


@pytest.mark.parametrize(
    ("groups", "left"),
    [
        ("PUBSUB", {"redis.client.pubsub.messages"}),
        ("STREAMING", {"redis.client.stream.lag"}),
        ("RESILIENCY", set[str]()),
    ],
)
def test_messages_and_lags_come_from_whoever_makes_them(
    valkey_server: RedisServer, groups: str, left: set[str]
) -> None:
    stage = meet(valkey_server, "messages", groups)["stages"][1]
    measured = {"redis.client.pubsub.messages", "redis.client.stream.lag"}
    assert measured & stage.get(THEIRS, {}).keys() == left
    assert measured & stage[OURS].keys() == measured - left


def test_metrics_that_are_switched_on_after_our_first_command_are_left_from_then_on(
    valkey_server: RedisServer,
) -> None:
    before, after, _ = meet(valkey_server, "later", "COMMAND")["stages"]
    assert (before[OURS][DURATION], before.get(THEIRS)) == (CALLS, None)
    assert (after[OURS][DURATION], after[THEIRS][DURATION]) == (CALLS, CALLS)
    assert after[OURS]["cache.requests"] == 2 * LOOKUPS


def test_what_redis_py_goes_on_to_record_after_its_shutdown_stays_left(
    valkey_server: RedisServer,
) -> None:
    """Its collectors do not hear of it."""
    _, stage = meet(valkey_server, "ours first", "COMMAND")["stages"]
    assert stage[THEIRS][DURATION] > CALLS
    assert DURATION not in stage[OURS]


def test_durations_of_valkey_py_are_not_left_to_redis_py(valkey_server: RedisServer) -> None:
    pytest.importorskip("valkey")
    *_, before, after = meet(valkey_server, "valkey too", "COMMAND")["stages"]
    assert after[OURS][DURATION] - before[OURS][DURATION] == 2
    assert after[THEIRS] == before[THEIRS]


@pytest.mark.parametrize(("mode", "ours"), [("both", CALLS), ("off", None)])
def test_a_conflict_over_metrics_can_be_settled_otherwise(
    valkey_server: RedisServer, mode: str, ours: int | None
) -> None:
    met = meet(valkey_server, "theirs first", "COMMAND", mode)
    stage = met["stages"][0]
    assert stage[THEIRS][DURATION] == CALLS
    assert stage.get(OURS, {}).get(DURATION) == ours
    assert met["spans"][:3] == (SPANS if mode == "both" else [])
    assert met["said"] == (
        []
        if mode == "both"
        else ["redis.observability is active: this package is off (on_conflict=off)"]
    )


def test_the_groups_of_redis_py_have_the_metrics_that_we_leave_for_them() -> None:
    """And no other metric of the contract."""
    from opentelemetry.sdk.metrics import MeterProvider
    from redis.observability.config import MetricGroup, OTelConfig
    from redis.observability.metrics import RedisMetricsCollector

    contract = {metric.name for metric in conventions.METRICS}
    provider = MeterProvider(shutdown_on_exit=False)
    for group in MetricGroup:
        config = OTelConfig(metric_groups=[group])
        instruments = vars(RedisMetricsCollector(provider.get_meter(group.name or ""), config))
        made = {getattr(instrument, "name", None) for instrument in instruments.values()}
        left = set(METRICS_OF_REDIS_PY.get(group.name or "", ()))
        assert left <= made
        assert made & contract <= left
