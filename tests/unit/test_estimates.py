"""The statistics of a sample, held against all samples that there could be."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_redis_cache.server.estimates import Estimate, Sample, combined

Key = tuple[str | None, int, bool]

KEYS = st.lists(
    st.tuples(st.sampled_from(["sessions", "users", None]), st.integers(50, 10**9), st.booleans()),
    min_size=1,
    max_size=12,
)


def sample_of(keys: Sequence[Key], *, repeats: bool = False) -> Sample:
    sample = Sample(repeats=repeats)
    for cache, size, expires in keys:
        sample.add(cache, size, expires=expires)
    return sample


@given(KEYS)
def test_a_sample_of_all_keys_is_exact(keys: list[Key]) -> None:
    estimates = sample_of(keys).estimates(len(keys))

    for cache in ("sessions", "users"):
        mine = [key for key in keys if key[0] == cache]
        expected = Estimate(
            entries=len(mine),
            size=sum(size for _, size, _ in mine),
            error=0,
            without_ttl=sum(not expires for _, _, expires in mine),
        )
        assert estimates.get(cache, Estimate(0, 0, 0, 0)) == expected
    assert None not in estimates


@given(KEYS, st.data())
def test_all_samples_of_a_size_are_right_on_average(keys: list[Key], data: st.DataObject) -> None:
    drawn = data.draw(st.integers(1, len(keys)))
    nothing = Estimate(0, 0, 0, 0)
    results = [
        sample_of(chosen).estimates(len(keys)) for chosen in itertools.combinations(keys, drawn)
    ]
    exact = sample_of(keys).estimates(len(keys))

    for cache, known in exact.items():
        found = [result.get(cache, nothing) for result in results]
        # Each one is rounded, by half a key and half a byte at most.
        assert abs(statistics.mean(each.entries for each in found) - known.entries) <= 0.5
        assert abs(statistics.mean(each.size for each in found) - known.size) <= 0.5
        assert abs(statistics.mean(each.without_ttl for each in found) - known.without_ttl) <= 0.5


def test_the_error_is_that_of_all_samples_there_could_be() -> None:
    keys: list[Key] = [("users", 100 + 10 * n, True) for n in range(8)]
    keys += [("sessions", 400, True), ("sessions", 500, True), (None, 10**6, True)] * 2
    results = [
        sample_of(chosen).estimates(len(keys)).get("users", Estimate(0, 0, 0, 0))
        for chosen in itertools.combinations(keys, 10)
    ]
    deviation = statistics.pstdev(result.size for result in results)

    # The deviation, times Student's factor for the 4 to 7 keys that were drawn of the cache.
    assert 2.2 * deviation < statistics.mean(result.error for result in results) < 3 * deviation


def test_19_of_20_intervals_hold_where_sizes_differ_by_much() -> None:
    source = random.Random(7)
    keys: list[Key] = [
        (f"cache-{number % 50}", math.ceil(50 + 100 * source.lognormvariate(0, 1)), True)
        for number in range(20_000)
    ]
    exact = sample_of(keys).estimates(len(keys))
    held = [
        abs(estimate.size - exact[cache].size) <= estimate.error
        for _ in range(100)
        for cache, estimate in sample_of(source.sample(keys, 2_000)).estimates(len(keys)).items()
    ]

    assert len(held) == 100 * 50
    assert 0.91 <= statistics.mean(held) <= 0.985


@pytest.mark.parametrize("repeats", [False, True])
def test_a_larger_sample_has_a_smaller_error(repeats: bool) -> None:
    source = random.Random(3)
    keys: list[Key] = [("users", source.randint(50, 500), True) for _ in range(4_000)]
    errors = [
        sample_of(keys[:drawn], repeats=repeats).estimates(8_000)["users"].error
        for drawn in (40, 400, 4_000)
    ]

    assert errors == sorted(errors, reverse=True)
    assert errors[1] / errors[2] > 3


def test_drawing_each_key_by_itself_is_never_exact() -> None:
    keys: list[Key] = [("users", 100 + number, True) for number in range(100)]

    assert sample_of(keys).estimates(100)["users"].error == 0
    assert sample_of(keys, repeats=True).estimates(100)["users"].error > 0


def test_a_few_keys_say_little() -> None:
    keys: list[Key] = [("users", 100, True), *[(None, 100, True)] * 999]
    (estimate,) = sample_of(keys).estimates(10_000).values()

    assert (estimate.entries, estimate.size) == (10, 1_000)
    assert estimate.error > 10 * estimate.size


def test_equal_keys_do_not_say_that_there_are_no_others() -> None:
    estimate = sample_of([("users", 100, True)] * 1_000).estimates(100_000)["users"]

    assert estimate.size == 100 * 100_000
    assert 0.001 < estimate.error / estimate.size < 0.01


@given(KEYS, st.integers(0, 100))
def test_no_sample_is_too_small_to_be_read(keys: list[Key], total: int) -> None:
    for estimate in sample_of(keys).estimates(total).values():
        assert min(estimate) >= 0


def test_without_keys_there_is_nothing_to_tell() -> None:
    assert Sample().estimates(0) == {}
    assert Sample().estimates(10) == {}


def test_nodes_of_a_cluster_add_up_and_their_errors_add_up_in_squares() -> None:
    first = {"users": Estimate(10, 1_000, 30, 1), "sessions": Estimate(5, 50, 0, 5)}
    second = {"users": Estimate(20, 3_000, 40, 2)}

    assert combined([first, second, {}]) == {
        "users": Estimate(30, 4_000, 50, 3),
        "sessions": Estimate(5, 50, 0, 5),
    }
    assert combined([]) == {}


def test_a_part_of_a_cluster_is_not_the_whole() -> None:
    assert combined([{"users": Estimate(10, 1_000, 30, 1)}, None]) == {}
