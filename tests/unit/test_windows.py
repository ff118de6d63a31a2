from __future__ import annotations

import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_redis_cache import windows
from otel_redis_cache.windows import DAY, HOUR, Removals, Windows


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("after", "last_hour", "last_day"),
    [
        (0, 1, 1),
        (3_599, 1, 1),
        (3_600, 0, 1),
        (61 * 60, 0, 1),
        (86_399, 0, 1),
        (86_400, 0, 0),
        (24 * 3_600 + 60, 0, 0),
    ],
)
def test_a_removal_leaves_each_window_at_its_edge(
    clock: Clock, after: int, last_hour: int, last_day: int
) -> None:
    removals = Windows(clock)
    removals.add(1, 3)
    clock.now += after

    assert removals.last(HOUR) == Removals(last_hour, 3 * last_hour)
    assert removals.last(DAY) == Removals(last_day, 3 * last_day)


def test_ten_an_hour_are_240_a_day(clock: Clock) -> None:
    removals = Windows(clock)
    for i in range(240):
        removals.add(1, 1)
        clock.now += 360 if i < 239 else 0

    assert removals.last(DAY) == Removals(240, 240)
    assert removals.last(HOUR) == Removals(10, 10)


def test_five_thousand_within_an_hour_are_five_thousand(clock: Clock) -> None:
    removals = Windows(clock)
    for _ in range(5_000):
        removals.add(1, 2)
        clock.now += 0.7

    assert removals.last(HOUR) == removals.last(DAY) == Removals(5_000, 10_000)


Step = tuple[float, int, int]
STEPS = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from([0, 0.5, 1, 3_599, 3_600, 3_601, 86_399, 86_400, 86_401]),
            st.floats(0, 100_000, allow_nan=False),
        ),
        st.integers(0, 5),
        st.integers(0, 500),
    ),
    max_size=60,
)


@given(STEPS)
def test_a_window_is_what_a_list_of_all_events_says(steps: list[Step]) -> None:
    clock = Clock()
    removals = Windows(clock)
    events: list[tuple[int, int, int]] = []
    for wait, requests, entries in steps:
        clock.now += wait
        removals.add(requests, entries)
        events.append((int(clock.now), requests, entries))
        for seconds in (HOUR, DAY):
            within = [event for event in events if int(clock.now) - event[0] < seconds]
            expected = Removals(sum(e[1] for e in within), sum(e[2] for e in within))
            assert removals.last(seconds) == expected


def test_memory_is_bounded_by_the_seconds_of_a_day(clock: Clock) -> None:
    removals = Windows(clock)
    for _ in range(DAY + 20_000):
        removals.add(1, 1)
        clock.now += 1
        if clock.now % 10_000 == 0:
            assert len(removals._seconds) <= DAY + 1
    columns = (removals._seconds, removals._requests, removals._entries)

    assert len(removals._seconds) <= DAY + 1
    assert sum(map(sys.getsizeof, columns)) < 3 * 1024 * 1024
    assert removals.last(DAY) == Removals(DAY - 1, DAY - 1)
    assert removals.last(HOUR) == Removals(HOUR - 1, HOUR - 1)


def test_rows_that_no_window_reaches_are_given_back(clock: Clock) -> None:
    removals = Windows(clock)
    for _ in range(1_000):
        removals.add(1, 1)
        clock.now += 1
    clock.now += DAY
    removals.add(1, 1)

    assert len(removals._seconds) == 2
    assert removals.last(DAY) == Removals(1, 1)


def test_reading_a_full_day_is_fast(clock: Clock) -> None:
    removals = Windows(clock)
    for _ in range(DAY):
        removals.add(1, 1)
        clock.now += 1
    started = time.perf_counter()
    for _ in range(1_000):
        removals.last(HOUR)

    # A walk over the rows would take more than a second.
    assert time.perf_counter() - started < 0.5


def test_removals_of_eight_threads_are_all_counted() -> None:
    removals = Windows()

    def add() -> None:
        for _ in range(5_000):
            removals.add(1, 2)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert removals.last(windows.DAY) == Removals(40_000, 80_000)
