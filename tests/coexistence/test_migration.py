"""What `docs/migration.md` says of others is what they emit, and what it says of us is what we emit."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_redis_cache import conventions
from tests.collector.prometheus_names import LABELS_OF, label_of, names_of
from tests.collector.promql import reads_of
from tests.conformance.audit import REGISTRY
from tests.real.servers import RedisServer

from .processes import run

PAGE = Path(__file__).parents[2] / "docs" / "migration.md"

has_metrics = pytest.mark.skipif(
    importlib.util.find_spec("redis.observability") is None,
    reason="redis-py has metrics of its own from 7.2 on",
)

STORY = """
import contextlib, gc, json, sys
import redis
from opentelemetry import metrics
from tests.recording import Recording

gc.disable()
recording = Recording()

def tell(url):
    with redis.Redis.from_url(url) as client:
        client.set("user:1", "x", ex=5)
        client.pipeline().get("user:1").set("cart:1", "y").execute()
        with contextlib.suppress(redis.ResponseError):
            client.lpush("user:1", "x")
        client.blpop("jobs:1", timeout=0.1)
        client.xadd("orders", {"a": 1})
        client.xread({"orders": 0})
        with client.pubsub() as subscriber:
            subscriber.subscribe("news")
            client.publish("news", "x")
            while subscriber.get_message(timeout=5)["type"] != "message":
                pass
"""

CONTRIB = f"""{STORY}
from opentelemetry.instrumentation.redis import RedisInstrumentor
RedisInstrumentor().instrument(tracer_provider=recording.tracer_provider)
tell(sys.argv[1])
spans = recording.take()
print(json.dumps({{
    "scopes": sorted({{span.instrumentation_scope.name for span in spans}}),
    "names": [span.name for span in spans],
    "attributes": sorted({{name for span in spans for name in span.attributes}}),
    "events": sorted({{event.name for span in spans for event in span.events}}),
    "texts": [span.status.description for span in spans if span.status.description],
    "statements": [span.attributes.get("db.statement") for span in spans],
}}))
"""

REDIS_PY = f"""{STORY}
from redis.observability import OTelConfig, get_observability_instance
from redis.observability.config import MetricGroup
metrics.set_meter_provider(recording.meter_provider)
get_observability_instance().init(OTelConfig(metric_groups=list(MetricGroup)))
tell(sys.argv[1])
found = recording.metrics_by_scope()["redis-py"]
print(json.dumps([
    {{
        "name": metric.name,
        "kind": type(metric.data).__name__.lower(),
        "unit": metric.unit,
        "points": [dict(point.attributes) for point in metric.data.data_points],
    }}
    for metric in found.values()
]))
"""


def section(title: str) -> str:
    page = PAGE.read_text(encoding="utf-8")
    found = page.split(f"\n## {title}\n")[1]
    return found.partition("\n## ")[0]


def tables(title: str) -> Iterator[list[list[str]]]:
    """The rows of each table of a section, without its head."""
    for table in re.findall(r"(?:^\|.*\n)+", section(title), re.MULTILINE):
        rows = [re.split(r"(?<!\\)\|", row)[1:-1] for row in table.splitlines()]
        yield [[cell.strip().replace("\\|", "|") for cell in row] for row in rows[2:]]


def quoted(rows: list[list[str]], column: int) -> list[str]:
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[column])]


CONTRIBS, REDIS_PYS = "From opentelemetry-instrumentation-redis", "From redis-py's own metrics"


def test_the_spans_of_contrib_are_as_the_page_says(valkey_server: RedisServer) -> None:
    valkey_server.flush()
    said = json.loads(run("-c", CONTRIB, valkey_server.url))
    attributes, _ = tables(CONTRIBS)
    scope, *others = quoted(attributes, 0)

    assert said["scopes"] == [scope.removeprefix("scope ")]
    assert {name for name in others if "." in name} == set(said["attributes"])
    assert said["events"] == ["exception"]
    assert "WRONGTYPE" in said["texts"][0]
    assert "GET SET" in said["names"]
    assert "GET ?\nSET ? ?" in said["statements"]


def test_our_spans_are_as_the_page_says() -> None:
    attributes, queries = tables(CONTRIBS)
    scope, *ours = quoted(attributes, 1)
    queried = {
        name for query in quoted(queries, 1) for name in re.findall(r"span\.([\w.]+)", query)
    }

    assert scope == conventions.SCOPE
    assert len(queried) == 5
    assert {*ours, *queried} <= REGISTRY.spans["client"].uses.keys()


@pytest.fixture(scope="module")
def metrics_of_redis_py(valkey_server: RedisServer) -> list[dict[str, Any]]:
    valkey_server.flush()
    found: list[dict[str, Any]] = json.loads(run("-c", REDIS_PY, valkey_server.url))
    return found


@has_metrics
def test_the_metrics_of_redis_py_are_as_the_page_says(
    metrics_of_redis_py: list[dict[str, Any]],
) -> None:
    attributes, metrics, _ = tables(REDIS_PYS)
    emitted = {name for m in metrics_of_redis_py for point in m["points"] for name in point}
    (duration,) = (m for m in metrics_of_redis_py if m["name"] == "db.client.operation.duration")
    measured = {point["db.operation.name"] for point in duration["points"]}

    assert set(quoted(attributes, 0)) <= emitted
    assert set(quoted(metrics, 0)) - {"BLPOP"} == {m["name"] for m in metrics_of_redis_py}
    assert "BLPOP" in measured
    assert "LPUSH" not in measured  # it failed


def test_our_metrics_are_as_the_page_says() -> None:
    attributes, metrics, _ = tables(REDIS_PYS)
    of_metrics = {name for metric in REGISTRY.metrics.values() for name in metric.uses}

    assert set(quoted(attributes, 1)) <= of_metrics
    assert set(quoted(metrics, 1)) <= REGISTRY.metrics.keys()
    for row in metrics:
        asked = re.search(r'metrics="default,\w+"', row[2])
        for name in quoted([row], 1):
            level = REGISTRY.metrics[name].group.metric_requirement_level
            assert level == ("opt_in" if asked else "recommended")


@has_metrics
def test_queries_for_redis_py_read_what_it_emits(metrics_of_redis_py: list[dict[str, Any]]) -> None:
    labels = {
        name: {label_of(attribute) for point in metric["points"] for attribute in point}
        for metric in metrics_of_redis_py
        for name in names_of(
            conventions.Metric(
                metric["name"],
                "counter" if metric["name"].endswith(("errors", "messages")) else metric["kind"],
                metric["unit"],
                "",
                (),
            )
        )
    }
    *_, queries = tables(REDIS_PYS)

    read = hold(quoted(queries, 1), labels)
    assert len(read) == 5


def test_queries_for_us_read_what_we_emit() -> None:
    *_, queries = tables(REDIS_PYS)

    read = hold(quoted(queries, 2), LABELS_OF)
    assert len(read) == 4


def hold(queries: list[str], labels: dict[str, set[str]]) -> set[str]:
    """The metrics that queries read; those and their labels have to be there."""
    read: set[str] = set()
    for query in queries:
        reads = reads_of(query)
        read |= reads.metrics
        assert reads.metrics <= labels.keys(), query
        assert all(label in labels[metric] for metric, label in reads.matchers), query
        known = set[str]().union(*(labels[metric] for metric in reads.metrics))
        assert reads.labels <= known | {"le"}, query
    return read
