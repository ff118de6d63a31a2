"""Whether the intervals that `namespaces` states hold the truth, and what the server has of it.

50 runs on a million keys, which take a quarter of an hour for each server: `make namespaces-coverage`.
Otherwise fewer of them on fewer keys, held to bounds that are wider by what so few runs differ by
chance.
"""

from __future__ import annotations

import json
import logging
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.cli.keyspaces import TTLS, Keyspace, always_slow, memory, watch_for_slow_commands
from tests.real.servers import RedisServer

RUNS = int(os.environ.get("OTEL_REDIS_CACHE_NAMESPACES_RUNS", "4"))
KEYS = int(
    os.environ.get("OTEL_REDIS_CACHE_NAMESPACES_KEYS", "1_000_000" if RUNS >= 50 else "20_000")
)
SAMPLE = KEYS // 20
BUDGET = 60.0

KINDS = tuple(kind for kind in TTLS if kind != "under_1_minute")
"""Times to live that are longer than all runs together."""

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "otel_redis_cache.cli.main", "namespaces", "--json"]

logger = logging.getLogger(__name__)


@pytest.fixture
def client(new_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(port=new_server.port, socket_timeout=60) as client:
        yield client


def sampled(url: str, seed: int) -> dict[str, Any]:
    limits = ["--sample", str(SAMPLE), "--budget", str(BUDGET), "--seed", str(seed)]
    ended = subprocess.run(
        [*COMMAND, "--redis-url", url, *limits],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * BUDGET,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    document: dict[str, Any] = json.loads(ended.stdout)
    assert document["seconds"] <= BUDGET
    assert (document["keys"], document["exact"]) == (KEYS, False)
    return document


@pytest.mark.timeout(3600)
def test_19_of_20_intervals_hold_the_truth(new_server: RedisServer, client: Any) -> None:
    written = Keyspace()
    written.fill(client, KEYS, KINDS)
    assert client.dbsize() == KEYS
    sizes = memory(client)
    watch_for_slow_commands(client)

    held: dict[str, list[bool]] = {"entries": [], "bytes": [], "ttl": []}
    for seed in range(RUNS):
        document = sampled(new_server.url, seed)

        def note(kind: str, figure: dict[str, int], truth: int) -> None:
            held[kind].append(abs(figure["value"] - truth) <= figure["error"])

        for row in document["caches"]:
            cache = row["cache"]
            note("entries", row["entries"], written.entries[cache])
            note("bytes", row["bytes"], sizes[cache])
            for kind in KINDS:
                note("ttl", row["ttl"][kind], written.lifetimes[cache][kind])

    assert always_slow(client) == []
    everything = [one for some in held.values() for one in some]
    coverage = statistics.mean(everything)
    by_kind = ", ".join(f"{kind} {statistics.mean(some):.1%}" for kind, some in held.items())
    told = (new_server.kind, new_server.version, RUNS, KEYS, coverage, by_kind)
    logger.info("%s %s: %d runs on %d keys, %.2f held: %s", *told)
    # The intervals of one run depend on each other: what one run has by chance is that of a few.
    independent = RUNS * 6
    chance = 3 * math.sqrt(0.95 * 0.05) * (1 / math.sqrt(independent) - 1 / math.sqrt(50 * 6))
    assert 0.90 - max(0.0, chance) <= coverage <= 0.99 + max(0.0, chance)
