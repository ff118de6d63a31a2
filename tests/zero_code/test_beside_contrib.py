"""Next to opentelemetry-instrumentation-redis nothing is counted or traced twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.collector import Collector
from tests.real.servers import RedisServer

from .applications import (
    Ended,
    Environment,
    durations,
    exporting_to,
    lookups,
    spans_by_scope,
)

OURS, CONTRIBS = "otel_redis_cache", "opentelemetry.instrumentation.redis"

APPLICATION = """
import asyncio, os
import redis, redis.asyncio

url = os.environ["REDIS_URL"]

with redis.Redis.from_url(url) as client:
    client.set("user:1", "Ada", ex=60)
    client.mget("user:1", "user:2")
    with client.pipeline() as pipeline:
        pipeline.get("user:1").get("user:3").execute()

async def main():
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.get("user:1")
        await client.delete("user:1")

asyncio.run(main())
print("done")
"""
CALLS = 5
LOOKUPS = {("user", "hit"): 3, ("user", "miss"): 2}


@pytest.fixture
def crowded(tmp_path: Path) -> Environment:
    """Both instrumentations are installed, and `opentelemetry-instrument` loads both."""
    pytest.importorskip(CONTRIBS)
    return Environment(tmp_path / "venv")


def run(environment: Environment, server: RedisServer, collector: Collector, choice: str) -> Ended:
    settings = {"REDIS_URL": server.url, **exporting_to(collector)}
    if choice:
        settings["OTEL_REDIS_CACHE_ON_CONFLICT"] = choice
    ended = environment.run(APPLICATION, settings)
    collector.stop()
    assert ended.result == ("done\n", 0)
    stats = server.commandstats()
    asked = {name: stats[name] for name in ("set", "get", "mget", "del")}
    assert asked == {"set": 1, "get": 3, "mget": 1, "del": 1}
    return ended


def test_spans_are_left_to_contrib_and_the_cache_is_counted_exactly(
    crowded: Environment, server: RedisServer, collector: Collector
) -> None:
    ended = run(crowded, server, collector, "")
    assert spans_by_scope(collector) == {CONTRIBS: CALLS}
    assert (durations(collector), lookups(collector)) == (CALLS, LOOKUPS)
    (line,) = ended.own_lines
    assert "opentelemetry-instrumentation-redis is active" in line
    assert ended.stderr == f"{line}\n"


def test_both_make_spans_where_the_user_asks_for_both(
    crowded: Environment, server: RedisServer, collector: Collector
) -> None:
    ended = run(crowded, server, collector, "both")
    assert spans_by_scope(collector) == {CONTRIBS: CALLS, OURS: CALLS}
    assert (durations(collector), lookups(collector)) == (CALLS, LOOKUPS)
    assert ended.stderr == ""


def test_we_are_off_where_the_user_asks_for_it(
    crowded: Environment, server: RedisServer, collector: Collector
) -> None:
    ended = run(crowded, server, collector, "off")
    assert spans_by_scope(collector) == {CONTRIBS: CALLS}
    assert (durations(collector), lookups(collector)) == (0, {})
    assert len(ended.own_lines) == 1
