"""What `top` makes of what it has received: rows of caches, servers, pools and calls."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE as CUMULATIVE,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from otel_redis_cache.cli import calls
from otel_redis_cache.cli.inbox import Arrival
from otel_redis_cache.cli.overview import CacheRow, Overview, PoolRow, ServerRow
from otel_redis_cache.cli.protocol import METRICS, SPANS, MetricsRequest, SpansRequest, parse

SERVER = {"server.address": "redis", "server.port": "6380"}
BOOK = {"cache.name": "book"}
HIT = {"cache.request.type": "hit"}


class Screen:
    """An overview with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 10_000.0
        self.overview = Overview(lambda: self.now)

    def take(self, request: MetricsRequest | SpansRequest, after: float = 1.0) -> None:
        """Some time later this arrives."""
        self.now += after
        service = METRICS if isinstance(request, MetricsRequest) else SPANS
        export = parse(service, request.SerializeToString())
        self.overview.note(export, is_dropped=False)
        self.overview.read(Arrival(self.now, export))


@pytest.fixture
def screen() -> Screen:
    return Screen()


class Process:
    """One that exports every second."""

    def __init__(self, screen: Screen, name: str = "a"):
        self._screen = screen
        self._name = name
        self._began = screen.now

    def export(self, *values: tuple[str, str, float, dict[str, str]], after: float = 1.0) -> None:
        """Of each a metric, the kind of it, a value and attributes."""
        request = MetricsRequest()
        of_resource = request.resource_metrics.add()
        of_resource.resource.attributes.add(
            key="service.instance.id"
        ).value.string_value = self._name
        metrics = of_resource.scope_metrics.add().metrics
        for name, kind, value, attributes in values:
            metric = metrics.add(name=name)
            if kind == "gauge":
                point = metric.gauge.data_points.add(as_int=int(value))
            elif kind == "histogram":
                point = metric.histogram.data_points.add(
                    explicit_bounds=[0.001, 0.01], bucket_counts=[0, int(value), 0]
                )
                metric.histogram.aggregation_temporality = CUMULATIVE
            else:
                point = metric.sum.data_points.add(as_int=int(value))
                metric.sum.is_monotonic = kind == "counter"
                metric.sum.aggregation_temporality = CUMULATIVE
            point.start_time_unix_nano = int(self._began * 1e9)
            point.time_unix_nano = int((self._screen.now + after) * 1e9)
            for key, text in attributes.items():
                point.attributes.add(key=key).value.string_value = text
        self._screen.take(request, after)


def spans(*durations: float, trace_id: int = 1, failed: bool = False, **given: Any) -> SpansRequest:
    """Calls that took so many seconds; of another library where `system` says so."""
    request = SpansRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    for number, seconds in enumerate(durations, start=1):
        span = of_resource.scope_spans.add().spans.add(name="GET", trace_id=as_bytes(trace_id, 16))
        span.span_id = as_bytes(given.get("first", 0) + number, 8)
        span.start_time_unix_nano = number
        span.end_time_unix_nano = number + round(seconds * 1e9)
        span.status.code = Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_OK
        attributes = {"db.system.name": given.get("system", "redis"), "cache.name": "book"}
        if failed:
            attributes["error.type"] = "OOM"
        for key, text in attributes.items():
            span.attributes.add(key=key).value.string_value = text
    return request


def as_bytes(number: int, size: int) -> bytes:
    return number.to_bytes(size, "big")


def about(value: float, share: float = 1e-6) -> Any:
    return pytest.approx(value, rel=share)


class TestCaches:
    def test_a_row(self, screen: Screen) -> None:
        process = Process(screen)
        for second in range(1, 12):
            process.export(
                ("cache.requests", "counter", 8 * second, BOOK | {"cache.request.type": "hit"}),
                ("cache.requests", "counter", 2 * second, BOOK | {"cache.request.type": "miss"}),
                ("cache.requests", "counter", 1 * second, BOOK | {"cache.request.type": "error"}),
                (
                    "cache.invalidations",
                    "counter",
                    3 * second,
                    BOOK | {"cache.invalidation.reason": "delete"},
                ),
                (
                    "cache.invalidations",
                    "counter",
                    5 * second,
                    BOOK | {"cache.invalidation.reason": "deploy"},
                ),
                (
                    "cache.invalidations",
                    "counter",
                    0,
                    BOOK | {"cache.invalidation.reason": "expire"},
                ),
                (
                    "cache.writes",
                    "counter",
                    4 * second,
                    BOOK | {"cache.write.ttl": "none", "cache.write.result": "stored"},
                ),
                (
                    "cache.writes",
                    "counter",
                    9 * second,
                    BOOK | {"cache.write.ttl": "set", "cache.write.result": "stored"},
                ),
                ("db.client.operation.duration", "histogram", 7 * second, BOOK),
                ("cache.entries", "level", 90, BOOK | SERVER),
                ("cache.estimated_size", "level", 9_000, BOOK | SERVER),
            )
        [row] = screen.overview.view().caches
        assert row == CacheRow(
            name="book",
            lookups_per_second=11,
            hit_ratio=0.8,
            trend=[0.8] * 11,
            p50=about(0.0055),
            p95=about(0.00955),
            p99=about(0.00991),
            invalidations_per_second={"deploy": 5, "delete": 3},
            writes_without_ttl_per_second=4,
            entries=90,
            bytes=9_000,
        )
        assert [*row.invalidations_per_second] == ["deploy", "delete"]

    def test_the_busiest_comes_first_and_an_idle_one_stays(self, screen: Screen) -> None:
        process = Process(screen)
        for second in range(1, 5):
            process.export(
                ("cache.requests", "counter", second, {"cache.name": "a"} | HIT),
                ("cache.requests", "counter", 0, {"cache.name": "idle"} | HIT),
                ("cache.requests", "counter", 2 * second, {"cache.name": "b"} | HIT),
            )
        rows = screen.overview.view().caches
        assert [row.name for row in rows] == ["b", "a", "idle"]
        assert (rows[2].lookups_per_second, rows[2].hit_ratio, rows[2].p50) == (0, None, None)
        assert rows[2].trend == []

    def test_a_count_that_is_sent_as_a_level_counts_nothing_below_zero(
        self, screen: Screen
    ) -> None:
        Process(screen).export(("cache.invalidations", "level", -1, BOOK))
        [row] = screen.overview.view().caches
        assert row.invalidations_per_second == {}

    def test_spans_tell_how_long_calls_took_where_durations_do_not(self, screen: Screen) -> None:
        Process(screen).export(("cache.requests", "counter", 1, BOOK))
        screen.take(spans(*[0.0002] * 98, 0.2, 0.2))
        [row] = screen.overview.view().caches
        assert row.p50
        assert 0.0001 < row.p50 <= 0.00025
        assert row.p99
        assert row.p99 > 0.1

    def test_what_several_processes_say_of_one_server_is_not_added_up(self, screen: Screen) -> None:
        first, second = Process(screen, "a"), Process(screen, "b")
        first.export(("cache.entries", "level", 10, BOOK | SERVER))
        second.export(("cache.entries", "level", 12, BOOK | SERVER))
        second.export(("cache.entries", "level", 100, BOOK | {"server.address": "other"}))
        [row] = screen.overview.view().caches
        assert (row.entries, row.bytes) == (112, None)


class TestServers:
    def test_one_that_is_watched_by_two(self, screen: Screen) -> None:
        watchers = [Process(screen, name) for name in "ab"]
        for second in range(1, 6):
            for watcher in watchers:
                watcher.export(
                    ("redis.memory.used", "gauge", 1_000 + second, SERVER),
                    ("redis.maxmemory", "gauge", 0, SERVER),
                    ("redis.clients.connected", "level", 3, SERVER),
                    ("redis.keys.evicted", "counter", 10 * second, SERVER),
                    ("redis.keys.expired", "counter", 20 * second, SERVER),
                    after=0.5,
                )
        [row] = screen.overview.view().servers
        assert row == ServerRow(
            address="redis:6380",
            is_up=True,
            memory_used=1_005,
            memory_limit=0,
            evictions_per_second=about(10, 0.2),
            expirations_per_second=about(20, 0.2),
            clients=3,
        )

    def test_one_that_a_client_does_not_reach_is_down(self, screen: Screen) -> None:
        for name, value in (("a", 1), ("b", 0), ("c", 1)):
            Process(screen, name).export(("redis.client.up", "gauge", value, SERVER))
        [row] = screen.overview.view().servers
        assert row == ServerRow("redis:6380", False, None, None, None, None, None)

    def test_one_of_which_nobody_says_anything_any_more_is_still_there(
        self, screen: Screen
    ) -> None:
        process = Process(screen)
        for second in range(10):
            process.export(
                ("redis.memory.used", "gauge", 1_000, SERVER),
                ("redis.keys.evicted", "counter", second, SERVER),
            )
        screen.now += 60
        [row] = screen.overview.view().servers
        assert row == ServerRow("redis:6380", None, None, None, None, None, None)

    @pytest.mark.parametrize(
        ("attributes", "address"),
        [
            ({"server.address": "redis"}, "redis:6379"),
            ({"server.address": "::1", "server.port": "7000"}, "[::1]:7000"),
            ({"server.address": "/run/redis.sock"}, "/run/redis.sock"),
            ({"server.address": "s1:26379,s2:26379/main"}, "s1:26379,s2:26379/main"),
            ({"server.address": "n1:7000,n2:7001"}, "n1:7000,n2:7001"),
        ],
    )
    def test_an_address(self, screen: Screen, attributes: dict[str, str], address: str) -> None:
        Process(screen).export(("redis.client.up", "gauge", 1, attributes))
        assert [row.address for row in screen.overview.view().servers] == [address]


def test_pools_of_one_name_add_up(screen: Screen) -> None:
    for name in "ab":
        pool, other = ({"db.client.connection.pool.name": it} for it in ("redis:6379/0", "other"))
        Process(screen, name).export(
            (
                "db.client.connection.count",
                "level",
                2,
                pool | {"db.client.connection.state": "used"},
            ),
            (
                "db.client.connection.count",
                "level",
                3,
                pool | {"db.client.connection.state": "idle"},
            ),
            ("db.client.connection.max", "level", 10, pool),
            ("db.client.connection.pending_requests", "level", 1, pool),
            (
                "db.client.connection.count",
                "level",
                1,
                other | {"db.client.connection.state": "idle"},
            ),
        )
    assert screen.overview.view().pools == [
        PoolRow("other", 0, 2, 0, None),
        PoolRow("redis:6379/0", 4, 6, 2, 20),
    ]


class TestCalls:
    def test_the_slowest_come_first_and_only_so_many(self, screen: Screen) -> None:
        screen.take(spans(*(number / 1_000 for number in range(100))))
        slowest = [call.duration_seconds for call in screen.overview.view().slowest]
        assert slowest == [number / 1_000 for number in range(99, 99 - calls.ROWS, -1)]

    def test_calls_of_other_libraries_are_none(self, screen: Screen) -> None:
        screen.take(spans(5.0, system="postgresql", failed=True))
        view = screen.overview.view()
        assert (view.slowest, view.failed) == ([], [])

    def test_slow_ones_are_forgotten_after_a_while_and_hide_no_later_ones(
        self, screen: Screen
    ) -> None:
        screen.take(spans(*[5.0] * 50))
        screen.take(spans(0.001), after=calls.SLOT)
        screen.now += calls.SLOT * (calls.SLOTS - 1)
        assert [call.duration_seconds for call in screen.overview.view().slowest] == [0.001]

    @pytest.mark.parametrize(
        ("name", "query", "waits"),
        [
            ("BLPOP", "BLPOP ? ?", True),
            ("XREAD", "XREAD COUNT ? BLOCK ? STREAMS ? ?", True),
            ("XREAD", "XREAD COUNT ? STREAMS ? ?", False),
            ("LPOP", "LPOP ?", False),
        ],
    )
    def test_those_that_wait_for_data_are_not_slow(
        self, screen: Screen, name: str, query: str, waits: bool
    ) -> None:
        process = Process(screen)
        process.export(("cache.requests", "counter", 1, BOOK | HIT))
        for failed in (False, True):
            request = spans(5.0, failed=failed)
            [span] = request.resource_spans[0].scope_spans[0].spans
            span.name = name
            span.attributes.add(key="db.query.text").value.string_value = query
            screen.take(request)
        view = screen.overview.view()
        assert [call.name for call in view.slowest] == ([] if waits else [name, name])
        assert [call.name for call in view.failed] == [name]
        assert (view.caches[0].p50 is None) == waits

    def test_the_latest_failure_comes_first(self, screen: Screen) -> None:
        for trace_id in range(1, 30):
            screen.take(spans(0.001, trace_id=trace_id, failed=True))
        failed = screen.overview.view().failed
        assert len(failed) == calls.ROWS
        assert (failed[0].trace_id, failed[0].time) == (f"{29:032x}", screen.now)
        assert (failed[0].error, failed[0].cache, failed[0].service) == ("OOM", "book", "shop")


def test_senders_are_told_apart_however_much_they_have_in_common(screen: Screen) -> None:
    for instance in ("a", "b", "a"):
        request = spans(0.001)
        told = request.resource_spans[0].resource.attributes
        told.add(key="process.command").value.string_value = "/usr/bin/" + "x" * 500
        told.add(key="service.instance.id").value.string_value = instance
        screen.take(request)
    assert screen.overview.view().intake.senders == 2


class TestTraces:
    def test_that_of_a_shown_call_is_kept_and_others_go(
        self, screen: Screen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calls, "PAGE_BYTES", 2_000)
        screen.take(spans(*[0.001] * 3, trace_id=1))
        screen.take(spans(2.0, trace_id=2))
        screen.take(spans(0.001, trace_id=2, first=10))
        for trace_id in range(3, 200):
            screen.take(spans(*[0.002] * 3, trace_id=trace_id), after=0.1)
        assert len(screen.overview.trace(f"{2:032x}")) == 2
        assert len(screen.overview.trace(f"{199:032x}")) == 3
        assert screen.overview.trace(f"{1:032x}") == []

    def test_it_is_let_go_with_its_call(
        self, screen: Screen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calls, "PAGE_BYTES", 2_000)
        screen.take(spans(2.0, trace_id=2))
        for trace_id in range(3, 200):
            screen.take(spans(*[0.002] * 3, trace_id=trace_id), after=calls.SLOT / 10)
        assert screen.overview.trace(f"{2:032x}") == []

    def test_what_is_sent_again_is_there_once(self, screen: Screen) -> None:
        for _ in range(2):
            screen.take(spans(0.1, 0.1))
        assert len(screen.overview.trace(f"{1:032x}")) == 2

    def test_one_without_end_is_bounded(
        self, screen: Screen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calls, "PAGE_BYTES", 50_000)
        for number in range(50):
            screen.take(spans(*[0.1] * 100, first=100 * number))
        assert len(screen.overview.trace(f"{1:032x}")) == calls.TRACE_SPANS
        pages = screen.overview._calls._pages
        assert max(len(spans) for page in pages for spans in page.traces.values()) == (
            calls.TRACE_SPANS
        )

    @pytest.mark.parametrize("trace_id", ["", "zz", "0" * 32])
    def test_one_that_is_not_known_has_no_spans(self, screen: Screen, trace_id: str) -> None:
        assert screen.overview.trace(trace_id) == []


class TestIntake:
    def test_what_came_in_a_second(self, screen: Screen) -> None:
        for _ in range(20):
            screen.take(spans(*[0.001] * 50), after=0.5)
            Process(screen).export(("cache.requests", "counter", 1, BOOK), after=0)
        intake = screen.overview.view().intake
        assert (intake.spans_per_second, intake.points_per_second) == (
            pytest.approx(100, rel=0.1),
            pytest.approx(2, rel=0.1),
        )

    def test_processes_that_are_silent_are_not_counted(self, screen: Screen) -> None:
        for name in "abc":
            Process(screen, name).export(("cache.requests", "counter", 1, BOOK), after=100)
        assert screen.overview.view().intake.senders == 2

    def test_a_point_that_makes_no_sense_is_dropped_and_counted(self, screen: Screen) -> None:
        Process(screen).export(("cache.requests", "counter", 1, {"cache.name": "x" * 20_000}))
        intake = screen.overview.view().intake
        assert (intake.points_dropped, intake.series) == (1, 0)
