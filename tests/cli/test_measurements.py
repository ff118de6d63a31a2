"""The model of metrics: quantiles, cumulative and delta, rates, bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from dirty_equals import IsApprox

from otel_redis_cache import conventions as names
from otel_redis_cache.cli.measurements import (
    MEMORY,
    CacheFigures,
    Distribution,
    Level,
    Measurements,
    Point,
    ServerFigures,
)

BOUNDS = (0.001, 0.01, 0.1)
LOADS = Distribution(BOUNDS, (0, 1, 1, 0), largest=0.02)
TTLS = Distribution((60.0, 300.0), (1, 4, 0), largest=300.0)


def lookups(
    cache: str, kind: str, count: int, *, time: float, start: float = 0.0, **given: Any
) -> Point:
    attributes = {"cache.name": cache, "cache.request.type": kind}
    return Point("cache.requests", attributes, Distribution(counts=(count,)), start, time, **given)


def total(metric: str, count: int, **attributes: str) -> Point:
    return Point(metric, dotted(attributes), Distribution(counts=(count,)), 0.0, 1.0)


def durations(counts: tuple[int, ...], **attributes: str) -> Point:
    value = Distribution(BOUNDS, counts)
    return Point("db.client.operation.duration", dotted(attributes), value, 0.0, 1.0)


def seconds(metric: str, value: Distribution, cache: str) -> Point:
    return Point(metric, {"cache.name": cache}, value, 0.0, 1.0)


def removed(reason: str, count: int) -> Point:
    return total(
        "cache.invalidations", count, cache_name="product", cache_invalidation_reason=reason
    )


def gauge(metric: str, value: int, **attributes: str) -> Point:
    counts = Distribution(counts=(value,))
    return Point(metric, dotted(attributes), counts, 0.0, 1.0, is_level=True)


def dotted(attributes: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "."): value for name, value in attributes.items()}


def record(measurements: Measurements, points: Iterable[Point]) -> None:
    """They arrive at the moment that they are about."""
    arrived = list(points)
    measurements.record(arrived, now=max(point.time for point in arrived))


def only(measurements: Measurements, now: float = 2.0) -> CacheFigures:
    [cache] = measurements.caches(now)
    return cache


class TestDistribution:
    @pytest.mark.parametrize(
        ("counts", "share", "expected"),
        [
            ((10, 0, 0, 0), 0.5, 0.0005),
            ((0, 10, 0, 0), 0.5, 0.0055),
            ((5, 5, 0, 0), 0.5, 0.001),
            ((50, 40, 10, 0), 0.95, 0.055),
            ((0, 0, 1, 0), 1.0, 0.1),
        ],
    )
    def test_a_quantile_is_interpolated_within_its_bucket(
        self, counts: tuple[int, ...], share: float, expected: float
    ) -> None:
        assert Distribution(BOUNDS, counts).quantile(share) == pytest.approx(expected)

    def test_the_overflow_is_reported_as_the_highest_bound(self) -> None:
        assert Distribution(BOUNDS, (1, 0, 0, 99)).quantile(0.5) == 0.1

    def test_nothing_recorded_has_no_quantile(self) -> None:
        assert Distribution(BOUNDS, (0, 0, 0, 0)).quantile(0.5) is None
        assert Distribution().quantile(0.5) is None

    def test_distributions_of_the_same_buckets_add_up(self) -> None:
        total = Distribution(BOUNDS, (1, 2, 3, 4)) + Distribution(BOUNDS, (1, 0, 0, 1))
        assert total == Distribution(BOUNDS, (2, 2, 3, 5))

    def test_of_different_buckets_the_newer_ones_win(self) -> None:
        newer = Distribution((1.0,), (7, 0))
        assert Distribution(BOUNDS, (1, 1, 1, 1)) + newer == newer


class TestCeiling:
    @pytest.mark.parametrize(
        ("counts", "share", "expected"),
        [
            ((10, 0, 0, 0), 0.5, 0.001),
            ((5, 5, 0, 0), 0.5, 0.001),
            ((4, 6, 0, 0), 0.5, 0.01),
            ((4, 0, 6, 0), 0.5, 0.1),
            ((1, 0, 0, 9), 0.5, 0.1),
        ],
    )
    def test_it_is_the_end_of_the_bucket_that_is_reached(
        self, counts: tuple[int, ...], share: float, expected: float
    ) -> None:
        assert Distribution(BOUNDS, counts).ceiling(share) == expected

    def test_it_is_the_largest_value_where_the_bucket_goes_on_beyond_that(self) -> None:
        assert Distribution(BOUNDS, (0, 0, 3, 0), largest=0.015).ceiling(0.5) == 0.015
        assert Distribution(BOUNDS, (0, 3, 1, 0), largest=0.015).ceiling(0.5) == 0.01

    def test_in_the_overflow_it_is_the_largest_value(self) -> None:
        assert Distribution(BOUNDS, (0, 0, 0, 1), largest=7.0).ceiling(0.5) == 7.0

    def test_nothing_recorded_has_none(self) -> None:
        assert Distribution(BOUNDS, (0, 0, 0, 0)).ceiling(0.5) is None
        assert Distribution().ceiling(0.5) is None

    def test_the_largest_of_a_sum_is_the_largest_of_all(self) -> None:
        small, large = (Distribution(BOUNDS, (0, 1, 0, 0), each) for each in (0.002, 0.008))
        assert (small + large).largest == (large + small).largest == 0.008
        unknown = Distribution(BOUNDS, (0, 1, 0, 0))
        assert (unknown + small).largest == 0.002
        assert (unknown + unknown).largest is None


class TestTotals:
    def test_a_cumulative_value_replaces_the_one_before(self) -> None:
        measurements = Measurements()
        record(measurements, [lookups("product", "hit", 10, time=1)])
        record(measurements, [lookups("product", "hit", 15, time=2)])
        assert only(measurements).hits == 15

    def test_a_delta_comes_on_top(self) -> None:
        measurements = Measurements()
        for time in (1, 2, 3):
            record(measurements, [lookups("product", "hit", 10, time=time, cumulative=False)])
        assert only(measurements).hits == 30

    def test_a_restarted_series_goes_on_from_its_total(self) -> None:
        measurements = Measurements()
        record(measurements, [lookups("product", "hit", 10, time=1)])
        record(measurements, [lookups("product", "hit", 12, time=9, start=5.0)])
        record(measurements, [lookups("product", "hit", 13, time=10, start=5.0)])
        assert only(measurements).hits == 23

    def test_a_value_that_falls_is_a_restart_too(self) -> None:
        measurements = Measurements()
        record(measurements, [lookups("product", "hit", 10, time=1)])
        record(measurements, [lookups("product", "hit", 3, time=2)])
        assert only(measurements).hits == 13

    def test_processes_add_up(self) -> None:
        measurements = Measurements()
        record(measurements, [lookups("product", "hit", 10, time=1, process="a")])
        record(measurements, [lookups("product", "hit", 5, time=1, process="b")])
        assert only(measurements).hits == 15

    def test_what_exceeds_the_bound_is_dropped_and_counted(self) -> None:
        measurements = Measurements(max_series=2)
        record(measurements, [lookups(f"cache{n}", "hit", 1, time=1) for n in range(5)])
        record(measurements, [lookups("cache0", "hit", 7, time=2)])
        assert [(cache.name, cache.hits) for cache in measurements.caches(2.0)] == [
            ("cache0", 7),
            ("cache1", 1),
        ]
        assert measurements.dropped == 3


class TestCaches:
    def test_figures_of_a_cache(self) -> None:
        measurements = Measurements()
        record(
            measurements,
            [
                lookups("product", "hit", 8, time=2),
                lookups("product", "miss", 2, time=2),
                lookups("product", "error", 1, time=2),
                total("cache.writes", 4, cache_name="product", cache_write_result="stored"),
                total("cache.writes", 9, cache_name="product", cache_write_result="refused"),
                total(
                    "cache.invalidations",
                    3,
                    cache_name="product",
                    cache_invalidation_reason="delete",
                ),
                total(
                    "cache.invalidations",
                    0,
                    cache_name="product",
                    cache_invalidation_reason="expire",
                ),
                total("cache.stampedes", 2, cache_name="product", server_address="a"),
                total("cache.stampedes", 1, cache_name="product", server_address="b"),
                seconds("cache.load.duration", LOADS, "product"),
                seconds("cache.ttl", TTLS, "product"),
                durations((4, 0, 0, 0), db_operation_name="GET", cache_name="product"),
                durations((4, 0, 0, 0), db_operation_name="SET", cache_name="product"),
            ],
        )
        cache = only(measurements)
        assert cache == CacheFigures(
            name="product",
            hits=8,
            misses=2,
            errors=1,
            rate=5.5,
            trend=[0.8],
            latency=Distribution(BOUNDS, (8, 0, 0, 0)),
            load=LOADS,
            stampedes=3,
            writes=4,
            ttl=TTLS,
            invalidations={"delete": 3},
        )
        assert (cache.lookups, cache.hit_ratio) == (11, 0.8)

    def test_a_cache_without_an_answered_lookup_has_no_hit_ratio(self) -> None:
        assert CacheFigures("product", errors=3).hit_ratio is None

    def test_the_most_frequent_reason_of_removals_comes_first(self) -> None:
        measurements = Measurements()
        for reason, count in {"delete": 3, "expire": 3, "deploy": 40}.items():
            removed = {"cache_name": "product", "cache_invalidation_reason": reason}
            record(measurements, [total("cache.invalidations", count, **removed)])
        reasons = [*only(measurements).invalidations.items()]
        assert reasons == [("deploy", 40), ("delete", 3), ("expire", 3)]

    def test_the_busiest_comes_first(self) -> None:
        measurements = Measurements()
        record(
            measurements,
            [lookups("a", "hit", 1, time=1), lookups("b", "hit", 9, time=1)],
        )
        assert [cache.name for cache in measurements.caches(2.0)] == ["b", "a"]

    def test_the_rate_is_that_of_the_last_seconds(self) -> None:
        measurements = Measurements()
        for time, count in ((100, 100_000), (110, 100_050), (115, 100_100), (120, 100_200)):
            record(measurements, [lookups("product", "hit", count, time=time)])
        assert only(measurements, 120).rate == IsApprox(15.0)

    def test_an_export_at_the_same_moment_has_no_rate_of_its_own(self) -> None:
        measurements = Measurements()
        record(measurements, [lookups("product", "hit", 10, time=0)])
        assert only(measurements).rate == 0

    def test_the_trend_is_the_hit_ratio_of_each_interval(self) -> None:
        measurements = Measurements(max_steps=3)
        totals: Iterator[tuple[int, int]] = iter([(0, 4), (1, 7), (3, 9), (3, 9), (7, 9)])
        for time, (hits, misses) in enumerate(totals, start=1):
            record(
                measurements,
                [
                    lookups("product", "hit", hits, time=time),
                    lookups("product", "miss", misses, time=time),
                ],
            )
        # The first interval is forgotten, the one without a lookup is left out.
        assert only(measurements).trend == [0.25, 0.5, 1.0]


def counted(cache: str = "product", **given: Any) -> Point:
    return lookups(cache, "hit", **given)


def rates(measurements: Measurements, now: float) -> dict[tuple[str, ...], float]:
    return measurements.rates(names.CACHE_REQUESTS, names.CACHE_NAME, now=now)


class TestRates:
    def test_the_clock_of_a_sender_may_be_an_hour_off(self) -> None:
        for hour in (-3600.0, 3600.0):
            measurements = Measurements()
            for second in range(20):
                point = counted(count=5 * second, time=5_000 + hour + second, start=1_000 + hour)
                measurements.record([point], now=5_000 + second)
            assert rates(measurements, 5_019) == {("product",): 5.0}

    def test_processes_that_send_at_different_intervals_add_up(self) -> None:
        measurements = Measurements()
        for second in range(0, 181, 60):
            measurements.record([counted(count=600 * (second // 60), time=second)], now=second)
        for second in range(170, 181):
            measurements.record([counted(count=second, time=second, process="b")], now=second)
        assert rates(measurements, 180) == {("product",): 11.0}

    def test_deltas_are_of_their_own_interval_also_after_a_pause(self) -> None:
        measurements = Measurements()
        for start in (100, 700):
            delta = counted(count=50, start=start, time=start + 10, cumulative=False)
            measurements.record([delta], now=start + 10)
        assert rates(measurements, 710) == {("product",): 5.0}

    def test_a_process_that_is_silent_counts_nothing_and_is_forgotten_later(self) -> None:
        measurements = Measurements()
        for second in range(30):
            measurements.record([counted(count=second, time=second)], now=second)
        assert rates(measurements, 31) == {("product",): 1.0}
        assert rates(measurements, 60) == {("product",): 0.0}
        assert rates(measurements, 29 + MEMORY + 1) == {}

    def test_a_process_that_runs_for_long_begins_with_its_average(self) -> None:
        measurements = Measurements()
        measurements.record([counted(count=360_000, start=0, time=36_000)], now=36_000)
        assert rates(measurements, 36_000) == {("product",): 10.0}

    def test_what_a_known_process_reports_for_the_first_time_is_new(self) -> None:
        measurements = Measurements()
        old = counted(count=1, start=0, time=36_000)
        measurements.record([old], now=36_000)
        new = counted("session", count=60, start=0, time=36_060)
        measurements.record([replace(old, time=36_060), new], now=36_060)
        assert rates(measurements, 36_060)["session",] == 1.0

    def test_an_export_in_several_messages_is_one_collection(self) -> None:
        measurements = Measurements()
        for cache in ("product", "session"):
            measurements.record([counted(cache, count=360_000, start=0, time=36_000)], now=36_000)
        assert rates(measurements, 36_000) == {("product",): 10.0, ("session",): 10.0}

    def test_two_processes_that_say_the_same_of_themselves_are_told_apart_by_their_start(
        self,
    ) -> None:
        measurements = Measurements()
        for second in range(100, 121):
            for start, per_second in ((0, 1_000), (50, 1)):
                value = per_second * (second - start)
                measurements.record([counted(count=value, start=start, time=second)], now=second)
        assert rates(measurements, 120) == {("product",): 1_001.0}

    def test_what_was_overtaken_on_the_way_is_no_restart(self) -> None:
        measurements = Measurements()
        for time, arrival in ((100, 100), (104, 104), (102, 104.5), (106, 106)):
            measurements.record([counted(count=5 * time, time=time)], now=arrival)
        assert only(measurements, 106).hits == 5 * 106
        assert rates(measurements, 106) == {("product",): 5.0}

    def test_exports_that_were_held_up_do_not_make_a_slow_sender_silent(self) -> None:
        measurements = Measurements()
        for time, arrival in ((0, 0), (60, 60), (120, 240.0), (180, 240.01), (240, 240.02)):
            measurements.record([counted(count=time, time=time)], now=arrival)
        assert rates(measurements, 270)["product",] > 0


class TestLevels:
    def test_a_level_may_fall_and_is_not_added_up(self) -> None:
        measurements = Measurements()
        for second, value in enumerate((5, 3, 0, -2)):
            measurements.record([level(value, time=second)], now=second)
        assert [each.value for each in levels(measurements, 3)] == [-2]

    def test_deltas_of_a_level_add_up(self) -> None:
        measurements = Measurements()
        for second, value in enumerate((5, 3, -6)):
            measurements.record([level(value, time=second, cumulative=False)], now=second)
        assert [each.value for each in levels(measurements, 3)] == [2]

    def test_that_of_a_process_that_is_silent_is_not_known(self) -> None:
        measurements = Measurements()
        for second in range(10):
            measurements.record([level(5, time=second)], now=second)
        assert levels(measurements, 11)
        assert not levels(measurements, 60)


def test_series_that_are_long_silent_make_room() -> None:
    measurements = Measurements(max_series=2)
    for second, cache in ((0, "a"), (MEMORY, "b"), (MEMORY + 1, "c")):
        measurements.record([counted(cache, count=1, time=second)], now=second)
    assert (measurements.series, measurements.dropped) == (2, 0)
    assert rates(measurements, MEMORY + 1).keys() == {("b",), ("c",)}


def level(value: int, *, time: float, **given: Any) -> Point:
    counts = Distribution(counts=(value,))
    pool = {"db.client.connection.pool.name": "a"}
    return Point("db.client.connection.count", pool, counts, 0.0, time, is_level=True, **given)


def levels(measurements: Measurements, now: float) -> list[Level]:
    return measurements.levels(names.CONNECTION_COUNT, now)


def test_operations_merge_caches_and_errors() -> None:
    measurements = Measurements()
    record(
        measurements,
        [
            durations((3, 0, 0, 0), db_operation_name="SET", cache_name="product"),
            durations((5, 0, 0, 0), db_operation_name="GET", cache_name="product"),
            durations((0, 2, 0, 0), db_operation_name="GET", cache_name="session"),
            durations(
                (1, 0, 0, 0), db_operation_name="GET", cache_name="session", error_type="WRONGTYPE"
            ),
        ],
    )
    assert [
        (operation.name, operation.latency.counts, operation.errors)
        for operation in measurements.operations()
    ] == [("GET", (6, 2, 0, 0), 1), ("SET", (3, 0, 0, 0), 0)]


class TestWhatCameOnTop:
    def test_it_is_counted_by_an_attribute_the_most_first(self) -> None:
        measurements = Measurements()
        record(measurements, [removed("delete", 3), removed("deploy", 5)])
        before = measurements.totals()
        record(measurements, [removed("delete", 4), removed("deploy", 45), removed("expire", 2)])
        grown = measurements.totals().since(before)
        counts = grown.of(names.CACHE_INVALIDATIONS, names.INVALIDATION_REASON)
        assert [(reason, total.count) for reason, total in counts.items()] == [
            ("deploy", 40),
            ("expire", 2),
            ("delete", 1),
        ]
        assert grown.all_of(names.CACHE_INVALIDATIONS).count == 43

    def test_what_did_not_grow_is_left_out(self) -> None:
        measurements = Measurements()
        record(measurements, [removed("delete", 3)])
        nothing = measurements.totals().since(measurements.totals())
        assert nothing.of(names.CACHE_INVALIDATIONS, names.INVALIDATION_REASON) == {}
        assert nothing.all_of(names.CACHE_INVALIDATIONS).count == 0

    def test_a_histogram_is_that_of_what_was_recorded_since(self) -> None:
        before, after = Distribution(BOUNDS, (5, 1, 0, 0)), Distribution(BOUNDS, (5, 1, 4, 0))
        assert (after - before).quantile(0.5) == pytest.approx(0.055)

    def test_only_what_is_asked_for_counts(self) -> None:
        measurements = Measurements()
        for reason, number in (("expired", 3), ("evicted", 8)):
            dropped = {"cache_name": "product", "cache_eviction_reason": reason}
            record(measurements, [total("cache.evictions", number, **dropped)])
        where = {names.EVICTION_REASON: names.EVICTED}
        found = measurements.totals().of(names.CACHE_EVICTIONS, names.CACHE_NAME, where)
        assert {cache: it.count for cache, it in found.items()} == {"product": 8}


class TestServer:
    def test_figures_of_a_server(self) -> None:
        measurements = Measurements()
        record(
            measurements,
            [
                total("redis.keys.evicted", 7),
                seconds("redis.client.outage.duration", LOADS, "-"),
                seconds("db.client.connection.create_time", LOADS, "-"),
                durations((3, 0, 0, 0), db_operation_name="GET"),
                durations((0, 2, 0, 0), db_operation_name="GET", error_type="ConnectionError"),
            ],
        )
        record(
            measurements,
            [
                gauge("redis.client.up", 1),
                gauge("redis.memory.used", 5_000_000),
                gauge("redis.maxmemory", 6_000_000),
            ],
        )
        assert measurements.server() == ServerFigures(
            is_up=True,
            memory=5_000_000,
            limit=6_000_000,
            evicted=7,
            outages=2,
            connected=2,
            failed=2,
        )

    def test_nothing_is_known_before_the_first_export(self) -> None:
        assert Measurements().server() == ServerFigures()

    def test_a_level_may_fall(self) -> None:
        measurements = Measurements()
        for up in (1, 0):
            record(measurements, [gauge("redis.client.up", up)])
        assert measurements.server().is_up is False

    def test_of_several_the_lowest_level_counts(self) -> None:
        measurements = Measurements()
        record(
            measurements,
            [
                gauge("redis.client.up", up, server_address=name)
                for name, up in (("a", 1), ("b", 0), ("c", 1))
            ],
        )
        assert measurements.server().is_up is False

    def test_levels_are_bounded_too(self) -> None:
        measurements = Measurements(max_series=2)
        for value in (1, 2):
            record(
                measurements,
                [gauge("redis.memory.used", value, server_port=f"{port}") for port in range(3)],
            )
        assert len(measurements.totals().levels) == measurements.dropped == 2
