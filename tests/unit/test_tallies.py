from __future__ import annotations

import threading

import pytest

from otel_redis_cache.facts import Outcome, Target
from otel_redis_cache.tallies import HitRatio, Tallies, Tally, in_use, of

TARGET = Target("redis", "localhost")


class Clock:
    now = 0.0


def test_bumps_of_eight_threads_are_all_counted() -> None:
    tally: Tally[str] = Tally()

    def bump() -> None:
        for _ in range(10_000):
            tally.add("key")

    threads = [threading.Thread(target=bump) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert tally.items() == [("key", 80_000)]


def test_what_was_counted_before_a_fork_is_not_the_childs_own() -> None:
    tally: Tally[str] = Tally()
    tally.add("a", 3)
    tally.add("b", 2)
    tally.renew_locks()
    assert tally.own_items() == []
    tally.add("a")
    tally.add("c", 4)

    assert tally.own_items() == [("a", 1), ("c", 4)]
    assert tally.items() == [("a", 4), ("b", 2), ("c", 4)]
    tally.renew_locks()  # a grandchild
    tally.add("b")
    assert tally.own_items() == [("b", 1)]


def test_series_stay_under_the_bound_with_the_total_exact() -> None:
    counts = Tallies()
    for i in range(10_000):
        counts.requests.add((TARGET, (f"cache{i}", "hit")))
    items = counts.requests.items()

    assert len(items) <= 1_500
    assert sum(count for _, count in items) == 10_000
    assert dict(items)[TARGET, ("_other", "hit")] == 10_000 - 1_200
    assert counts.overflows.items() == [("series", 8_800)]


def test_too_many_targets_are_folded_with_the_total_exact() -> None:
    counts = Tallies()
    for i in range(5_000):
        counts.requests.add((Target("redis", f"host{i}"), ("user", "hit")))
    items = counts.requests.items()

    assert len(items) <= 1_500
    assert sum(count for _, count in items) == 5_000
    assert [t.address for (t, _), _ in items].count("_other") == 1


def test_an_outcome_is_counted_once_for_each_cache_and_kind() -> None:
    counts, outcome = Tallies(), Outcome()
    outcome.lookups = {("user", "hit"): 3, ("user", "miss"): 1}
    outcome.writes = {("user", "set", "stored"): 2}
    outcome.removed = {("user", "delete"): 2, ("cart", "delete"): 0}
    outcome.removals = {("user", "delete", "removed"): 1}
    counts.take(TARGET, outcome)

    assert dict(counts.requests.items()) == {
        (TARGET, ("user", "hit")): 3,
        (TARGET, ("user", "miss")): 1,
    }
    assert dict(counts.writes.items()) == {(TARGET, ("user", "set", "stored")): 2}
    assert dict(counts.removed.items()) == {(TARGET, ("user", "delete")): 2}
    assert dict(counts.removals.items()) == {(TARGET, ("user", "delete", "removed")): 1}


def ratio_of(ratio: HitRatio, now: float) -> dict[str, float]:
    return {str(found["cache.name"]): value for value, found in ratio.read(now)}


def test_the_first_ratio_is_from_the_start() -> None:
    counts = Tallies()
    ratio = HitRatio(counts.requests, 0)
    counts.requests.add((TARGET, ("user", "hit")), 3)
    counts.requests.add((TARGET, ("user", "miss")), 1)

    assert ratio_of(ratio, 1000) == {"user": 0.75}


def test_a_ratio_is_over_the_window_and_absent_without_lookups() -> None:
    counts = Tallies()
    ratio = HitRatio(counts.requests, 0)
    counts.requests.add((TARGET, ("user", "hit")), 10)
    assert ratio_of(ratio, 15) == {"user": 1.0}
    counts.requests.add((TARGET, ("user", "miss")), 10)

    assert ratio_of(ratio, 30) == {"user": 0.5}
    assert ratio_of(ratio, 75) == {"user": 0.0}
    assert ratio_of(ratio, 90) == {}
    assert ratio_of(ratio, 500) == {}


def test_what_was_long_before_the_first_collection_is_soon_forgotten() -> None:
    counts = Tallies()
    ratio = HitRatio(counts.requests, 0)
    counts.requests.add((TARGET, ("user", "hit")), 1_000_000)
    assert ratio_of(ratio, 5_000) == {"user": 1.0}
    counts.requests.add((TARGET, ("user", "miss")), 100)

    assert ratio_of(ratio, 5_015) == {"user": 0.0}


def test_a_shorter_window_is_followed_at_once() -> None:
    counts = Tallies()
    ratio = counts.ratio
    ratio.window = 10.0
    start = ratio._history[0][0]
    counts.requests.add((TARGET, ("user", "hit")), 1)
    ratio.read(start + 5)
    counts.requests.add((TARGET, ("user", "miss")), 1)

    assert ratio_of(ratio, start + 15) == {"user": 0.0}


def test_errors_are_in_no_ratio() -> None:
    counts = Tallies()
    ratio = HitRatio(counts.requests, 0)
    counts.requests.add((TARGET, ("user", "error")), 10)
    assert ratio_of(ratio, 0) == {}
    counts.requests.add((TARGET, ("user", "hit")), 1)

    assert ratio_of(ratio, 1) == {"user": 1.0}


def test_targets_of_one_cache_are_one_ratio() -> None:
    counts = Tallies()
    ratio = HitRatio(counts.requests, 0)
    counts.requests.add((TARGET, ("user", "hit")), 1)
    counts.requests.add((Target("redis", "other"), ("user", "miss")), 1)

    assert ratio_of(ratio, 0) == {"user": 0.5}


def test_frequent_collections_leave_a_bounded_history() -> None:
    ratio = HitRatio(Tallies().requests, 0)
    for i in range(100_000):
        ratio.read(i / 100)

    assert len(ratio._history) <= 62


class Provider:
    """Stands for any meter provider: tallies only need it to be told apart."""


def test_a_provider_keeps_its_tallies_while_it_lives() -> None:
    provider = Provider()
    counts = of(provider)
    counts.silent = True

    assert of(provider) is counts
    assert not counts.silent
    assert of(Provider()) is not counts


def test_tallies_in_use_are_those_that_report_each_once() -> None:
    class Proxy(Provider):
        def __init__(self, real: object) -> None:
            self._real_meter_provider = real

    first, second, real = Provider(), Provider(), Provider()
    proxy = Proxy(real)
    silent, used, through = of(first), of(second), of(proxy)
    silent.silent = True

    assert of(real) is through
    found = in_use()
    assert used in found
    assert silent not in found
    assert found.count(through) == 1


@pytest.mark.parametrize("bound", ["requests", "writes", "removed", "removals"])
def test_every_tally_is_bounded(bound: str) -> None:
    tally = getattr(Tallies(), bound)
    for i in range(2_000):
        tally.add((TARGET, (f"cache{i}", "x", "y")))

    assert len(tally.items()) <= 1_500


def test_a_bump_inside_a_bump_does_not_deadlock() -> None:
    """As a signal handler makes it, at any line of the same thread."""
    tally: Tally[object] = Tally()

    class Key:
        def __hash__(self) -> int:
            tally.add("inner")
            return 1

    thread = threading.Thread(target=tally.add, args=(Key(),), daemon=True)
    thread.start()
    thread.join(5)

    assert not thread.is_alive()
    assert dict(tally.items())["inner"] >= 1
