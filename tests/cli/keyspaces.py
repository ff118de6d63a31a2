"""Keys of which a test knows everything, and what the server has of them."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

TTLS: Mapping[str, int | None] = {
    "none": None,
    "under_1_minute": 55,
    "under_1_hour": 3_500,
    "under_1_day": 80_000,
    "under_7_days": 600_000,
    "longer": 700_000,
}
"""By the kind that it is: far enough from where kinds meet that no test runs into the next one."""

SHARES = {"page": 40, "session": 25, "user": 15, "search": 12, "feed": 6, "job": 2}
"""Of 100 keys."""

SPREADS = {"page": 0.3, "session": 0.5, "user": 0.8, "search": 1.0, "feed": 1.0, "job": 0.5}
"""Standard deviations of the logarithm of the sizes."""


class Keyspace:
    """What was written: entries and lifetimes by cache."""

    def __init__(self) -> None:
        self.entries: Counter[str] = Counter()
        self.lifetimes: dict[str, Counter[str]] = defaultdict(Counter)

    def fill(self, client: Any, keys: int, kinds: Sequence[str] = tuple(TTLS)) -> None:
        """Write keys of all caches, of sizes and of some times to live by chance."""
        chance = random.Random(1)
        for cache, share in SHARES.items():
            first = self.entries[cache]
            for start in range(first, first + keys * share // 100, 2_000):
                end = min(start + 2_000, first + keys * share // 100)
                with client.pipeline(transaction=False) as pipeline:
                    for number in range(start, end):
                        kind = chance.choice(kinds)
                        size = min(20_000, int(100 * chance.lognormvariate(0, SPREADS[cache])) + 1)
                        pipeline.set(f"{cache}:{number}", "x" * size, ex=TTLS[kind])
                        self.lifetimes[cache][kind] += 1
                        self.entries[cache] += 1
                    pipeline.execute()


def memory(client: Any) -> Counter[str]:
    """Bytes by the first part of a key, each key asked about."""
    found: Counter[str] = Counter()
    cursor = -1
    while cursor:
        cursor, keys = client.scan(max(cursor, 0), count=2_000)
        with client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.memory_usage(key)
            for key, size in zip(keys, pipeline.execute(), strict=True):
                found[key.partition(b":")[0].decode()] += size
    return found


def watch_for_slow_commands(client: Any) -> None:
    client.config_set("slowlog-log-slower-than", 5_000)
    client.slowlog_reset()


def always_slow(client: Any) -> list[bytes]:
    """Those that took over 5 ms, and do each time: a busy machine may keep a server waiting once."""
    suspects = {entry["command"] for entry in client.slowlog_get(1_000)} - {b"SLOWLOG RESET"}
    found: list[bytes] = []
    for command in suspects:
        client.slowlog_reset()
        for _ in range(5):
            with suppress(Exception):
                client.execute_command(*command.split())
        again = [entry for entry in client.slowlog_get(1_000) if entry["command"] == command]
        found += [command] * (len(again) == 5)
    return found
