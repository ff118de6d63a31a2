from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_redis_cache.latencies import (
    BUCKETS,
    LONGEST,
    MAX_OPERATIONS,
    RELATIVE_ERROR,
    SHORTEST,
    Latencies,
    Latency,
    merged,
)

DURATIONS = st.lists(
    st.one_of(
        st.integers(SHORTEST, LONGEST),
        st.integers(100_000, 2_000_000),
        st.sampled_from([SHORTEST, LONGEST, 250_000]),
    ),
    min_size=1,
    max_size=200,
)


@given(DURATIONS, st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_within_its_error_of_the_exact_one(
    durations: list[int], share: float
) -> None:
    latency = Latency()
    for elapsed in durations:
        latency.add(elapsed)
    exact = sorted(durations)[math.ceil(share * len(durations)) - 1] / 1e9

    assert latency.quantile(share) == pytest.approx(exact, rel=RELATIVE_ERROR + 1e-9)
    assert latency.quantile(share) <= latency.longest / 1e9
    assert latency.longest == max(durations)
    assert latency.count == len(durations)


@given(DURATIONS, DURATIONS)
def test_two_merged_are_as_one(first: list[int], second: list[int]) -> None:
    all_of_them, left, right = Latencies(never), Latencies(never), Latencies(never)
    for elapsed in first:
        all_of_them.add("GET", elapsed)
        left.add("GET", elapsed)
    for elapsed in second:
        all_of_them.add("GET", elapsed)
        right.add("GET", elapsed)
    one, two = merged([all_of_them])["GET"], merged([left, right])["GET"]

    assert (one.count, one.longest) == (two.count, two.longest)
    assert [one.quantile(q / 10) for q in range(1, 10)] == [
        two.quantile(q / 10) for q in range(1, 10)
    ]


@pytest.mark.parametrize("elapsed", [-5, 0, 1, 10 * LONGEST, 1 << 62])
def test_what_no_clock_should_say_is_counted_all_the_same(elapsed: int) -> None:
    latency = Latency()
    latency.add(elapsed)

    assert latency.count == 1
    assert 0 <= latency.quantile(0.5) <= max(elapsed, 0) / 1e9


def test_operations_come_by_name() -> None:
    latencies = Latencies(never)
    for operation in ("SET", "GET", "GET"):
        latencies.add(operation, 1_000_000)
    found = merged([latencies])

    assert {operation: latency.count for operation, latency in found.items()} == {
        "GET": 2,
        "SET": 1,
    }
    assert list(found) == ["GET", "SET"]


def test_too_many_operations_are_folded_with_the_total_exact() -> None:
    overflows: list[None] = []
    latencies = Latencies(lambda: overflows.append(None))
    for i in range(10_000):
        latencies.add(f"OP{i}", 1_000_000)
    found = merged([latencies])

    assert len(found) == MAX_OPERATIONS
    assert sum(latency.count for latency in found.values()) == 10_000
    assert found["_OTHER"].count == len(overflows) == 10_000 - (MAX_OPERATIONS - 1)
    assert len(found["_OTHER"]._buckets) == BUCKETS < 500


def test_calls_of_eight_threads_are_all_counted() -> None:
    latencies = Latencies(never)

    def call() -> None:
        for i in range(5_000):
            latencies.add("GET", 100_000 + i)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert merged([latencies])["GET"].count == 40_000


def never() -> None:
    raise AssertionError
