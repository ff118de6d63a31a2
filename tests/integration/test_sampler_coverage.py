"""Whether the intervals of the sampler hold what they promise, on a million keys of real servers.

All 200 runs, which take minutes for each server: `make sampler-coverage`. Otherwise fewer of them, held to
bounds that are wider by what so few runs differ by chance.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import pytest
import redis
import redis.asyncio

from otel_redis_cache.server.estimates import Estimate
from otel_redis_cache.server.sampler import Sampler
from tests.real.servers import RedisServer

RUNS = int(os.environ.get("OTEL_REDIS_CACHE_SAMPLER_RUNS", "12"))
AT_ONCE = 4

KEYS = 1_000_000
BUDGET = 20_000
PERIOD = 15.0
"""Seconds between two cycles."""

PER_MILLE = (150, 120, 100, 90, 80, 70, 60, 55, 50, 50, 50, 40, 30, 20, 15, 8, 5, 4, 2, 1)
SPREADS = (0.3, 0.5, 0.8, 1.0, 1.2)
"""Standard deviations of the logarithm of the sizes, one cache after another."""
SIZES = (40, 100, 60, 200, 30)
"""Medians of the lengths of values, likewise."""

logger = logging.getLogger(__name__)

FILL = """
local cache, first, last = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local median, spread = tonumber(ARGV[4]), tonumber(ARGV[5])
math.randomseed(tonumber(ARGV[6]))
for number = first, last - 1 do
  local radius = math.sqrt(-2 * math.log(1 - math.random()))
  local deviation = radius * math.cos(2 * math.pi * math.random())
  local length = math.min(65536, math.ceil(median * math.exp(spread * deviation)))
  local key, value = cache .. ':' .. number, string.rep('x', length)
  if math.random() < 0.7 then
    redis.call('SET', key, value, 'EX', 86400)
  else
    redis.call('SET', key, value)
  end
end
"""

SUM = """
local reply = redis.call('SCAN', ARGV[1], 'COUNT', 1000)
local entries, size, without_ttl = {}, {}, {}
for _, key in ipairs(reply[2]) do
  local cache = string.match(key, '^[^:]+')
  entries[cache] = (entries[cache] or 0) + 1
  size[cache] = (size[cache] or 0) + redis.call('MEMORY', 'USAGE', key)
  without_ttl[cache] = (without_ttl[cache] or 0) + (redis.call('PTTL', key) < 0 and 1 or 0)
end
local sums = {reply[1]}
for cache, number in pairs(entries) do
  for _, word in ipairs({cache, number, size[cache], without_ttl[cache]}) do
    table.insert(sums, word)
  end
end
return sums
"""


class Truth(NamedTuple):
    """What the server has of one cache."""

    entries: int
    size: int
    without_ttl: int


@pytest.fixture
def client(new_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(port=new_server.port, socket_timeout=30) as client:
        yield client


@pytest.fixture
def truth(client: Any) -> dict[str, Truth]:
    """A million keys, and what they add up to."""
    assert sum(PER_MILLE) == 1000
    fill, add_up = client.register_script(FILL), client.register_script(SUM)
    for number, share in enumerate(PER_MILLE):
        name, shape = f"cache-{'abcdefghijklmnopqrst'[number]}", number % len(SIZES)
        for first in range(0, share * KEYS // 1000, 1000):
            seed = number * KEYS + first + 1
            fill(args=[name, first, first + 1000, SIZES[shape], SPREADS[shape], seed])
    found: dict[str, Truth] = {}
    cursor = b"0"
    while cursor != b"0" or not found:
        cursor, *sums = add_up(args=[cursor])
        for cache, *numbers in zip(*[iter(sums)] * 4, strict=True):
            before = found.get(cache.decode(), (0, 0, 0))
            found[cache.decode()] = Truth(*(a + b for a, b in zip(before, numbers, strict=True)))
    assert sum(cache.entries for cache in found.values()) == client.dbsize() == KEYS
    return found


@pytest.mark.timeout(1800)
def test_19_of_20_intervals_hold_the_truth_and_asking_for_them_costs_little(
    new_server: RedisServer, client: Any, truth: Mapping[str, Truth]
) -> None:
    client.config_set("slowlog-log-slower-than", 5000)
    client.slowlog_reset()
    client.config_resetstat()
    results = asyncio.run(_samples(new_server.port))
    seconds_a_run = _seconds_of_server(client) / RUNS
    _hold_the_slow_log(client)

    held = [
        abs(estimates[cache].size - truth[cache].size) <= estimates[cache].error
        for estimates in results
        for cache in estimates
    ]
    widths = {
        cache: statistics.median(found[cache].error / known.size for found in results)
        for cache, known in truth.items()
        if known.entries >= KEYS * 0.05
    }
    coverage, width = statistics.mean(held), statistics.median(widths.values())
    _tell(new_server, results, truth, f"{coverage:.2%} held, half-width {width:.2%}")
    chance = 3 * math.sqrt(0.95 * 0.05) * (1 / math.sqrt(len(held)) - 1 / math.sqrt(200 * 20))
    assert 0.91 - chance <= coverage <= 0.985 + max(0.0, chance)
    assert width <= 0.10
    for cache, known in truth.items():
        found = [estimates[cache] for estimates in results if cache in estimates]
        _hold_unbiased([each.entries for each in found], known.entries)
        _hold_unbiased([each.without_ttl for each in found], known.without_ttl)

    client.config_resetstat()
    asyncio.run(_cycle(new_server.port))
    seconds_a_cycle = _seconds_of_server(client)
    logger.info("server: %.4f s a sample, %.4f s a cycle", seconds_a_run, seconds_a_cycle)
    assert seconds_a_cycle <= PERIOD * 0.01


async def _samples(port: int) -> list[Mapping[str, Estimate]]:
    """The results of all runs, each from its own place in the keys: its seed."""

    async def some(seeds: Iterable[int]) -> list[Mapping[str, Estimate]]:
        found: list[Mapping[str, Estimate]] = []
        async with redis.asyncio.Redis(port=port, max_connections=1) as client:
            for seed in seeds:
                sampler = Sampler(_name_of, keys=BUDGET, milliseconds=math.inf, seed=seed)
                await sampler.cycle(client)
                assert sampler.estimates is not None
                found.append(sampler.estimates)
        return found

    results = await asyncio.gather(*(some(range(n, RUNS, AT_ONCE)) for n in range(AT_ONCE)))
    return list(chain(*results))


async def _cycle(port: int) -> None:
    async with redis.asyncio.Redis(port=port, max_connections=1) as client:
        await Sampler(_name_of).cycle(client)


def _name_of(key: bytes) -> str:
    return key.partition(b":")[0].decode()


def _seconds_of_server(client: Any) -> float:
    """What all commands but those of the test took, which has none but CONFIG since the reset."""
    return sum(row["usec"] for row in client.info("commandstats").values()) / 1e6


def _hold_the_slow_log(client: Any) -> None:
    """No command took over 5 ms, but where the machine kept the server waiting: asked again, it is quick."""
    slow = {entry["command"] for entry in client.slowlog_get(1000)}
    for command in slow - {b"CONFIG RESETSTAT", b"SLOWLOG RESET", b"INFO commandstats"}:
        client.slowlog_reset()
        for _ in range(5):
            client.execute_command(*command.split())
        again = [entry for entry in client.slowlog_get(1000) if entry["command"] == command]
        assert len(again) < 5, again


def _hold_unbiased(estimates: list[int], known: int) -> None:
    """The mean is where the truth is, within five of its standard errors."""
    share = known / KEYS
    error = KEYS * math.sqrt(share * (1 - share) / BUDGET / len(estimates))
    assert abs(statistics.mean(estimates) - known) <= 5 * error


def _tell(
    server: RedisServer,
    results: list[Mapping[str, Estimate]],
    truth: Mapping[str, Truth],
    summary: str,
) -> None:
    logger.info("%s %s: %s runs, %s", server.kind, server.version, len(results), summary)
    for cache, known in sorted(truth.items()):
        found = [estimates[cache] for estimates in results if cache in estimates]
        held = statistics.mean(abs(e.size - known.size) <= e.error for e in found)
        width = statistics.median(e.error / known.size for e in found)
        bias = statistics.mean(e.size for e in found) / known.size - 1
        row = (cache, known.entries, held, width, bias)
        logger.info("%s %7d keys: %.3f held, half-width %.3f, off by %+.4f", *row)
