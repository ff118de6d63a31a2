"""Random sequences of commands: what is counted is what the state of the server says.

A sequence goes through redis-py to a real server: command by command, in a pipeline, or in MULTI.
What it must add to our counts comes from an oracle that knows none of our rules (`oracle.py`): it
looks at the server before and after each command; for a batch, at a twin on which the batch is
replayed one command at a time, and both must end in the same state.

`OTEL_REDIS_CACHE_SEQUENCES` sets how many sequences are tried, 2,000 by default. A long run:

    OTEL_REDIS_CACHE_SEQUENCES=50000 pytest tests/differential
"""

from __future__ import annotations

import os

import pytest

from tests.differential.bench import Bench
from tests.differential.comparison import hold_against_the_server

SEQUENCES = int(os.environ.get("OTEL_REDIS_CACHE_SEQUENCES", "2000"))
EACH = max(1, SEQUENCES // 4)
"""On each server."""
MANY = 400
"""Sequences that surely meet everything there is to count."""

EVERYTHING = {
    *(("requests", kind) for kind in ("hit", "miss", "error")),
    *(("invalidations", reason) for reason in ("delete", "expire")),
    *(("writes", ttl, how) for ttl in ("set", "none", "kept") for how in ("stored", "error")),
    *(("writes", ttl, "refused") for ttl in ("none", "kept")),
    ("ttl",),
}


@pytest.mark.timeout(120 + SEQUENCES)
def test_what_is_counted_is_what_the_state_of_the_server_says(bench: Bench) -> None:
    hold_against_the_server(bench, EACH)
    assert bench.met >= (EVERYTHING if EACH >= MANY else set())
