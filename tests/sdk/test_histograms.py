"""Where the fast path is taken, where it is not, and what goes with it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import wrapt
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.metrics._internal import _ProxyMeterProvider
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics._internal import aggregation as aggregations
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import LastValueAggregation, View

from otel_redis_cache import histograms
from otel_redis_cache.histograms import FastHistogram
from tests.sdk.stories import (
    ATTRIBUTES,
    NAME,
    SCOPE,
    VIEWS,
    Add,
    Collect,
    Reader,
    Record,
    Shape,
    Stage,
    metrics_of,
    record_in_span,
    switch,
)

ONE = Shape([Reader()], [])
GET = ATTRIBUTES[1]


def is_fast(series: Any) -> bool:
    return getattr(series, "is_resolved", False)


def only_point(reader: InMemoryMetricReader) -> Any:
    (metric,) = metrics_of(reader)
    (point,) = metric.data.data_points
    return point


def entered_by(call: Callable[[], object], module: str) -> list[str]:
    names: list[str] = []

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith(module):
            names.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return names


def test_a_resolved_series_makes_no_measurement_of_the_sdk_and_asks_for_no_attributes() -> None:
    stage = Stage(Shape([Reader(), Reader()], []), is_fast=True)
    series = stage.series[1]
    series.record(0.5)
    public = entered_by(lambda: stage.histogram.record(0.5, GET), "opentelemetry.sdk")
    fast = entered_by(lambda: series.record(0.5), "opentelemetry.sdk")

    assert fast.count("aggregate") == public.count("aggregate") == 2
    assert not {"record", "consume_measurement", "__post_init__"} & set(fast)
    assert len(fast) <= 6 < len(public)


def test_an_exemplar_has_the_span_that_is_current() -> None:
    stage = Stage(ONE, is_fast=True)
    stage.series[1].record(0.7)
    record_in_span(stage.series[1], 0.25, trace_id=5)
    record_in_span(stage.series[1], 2.5, trace_id=-6)
    (exemplar,) = only_point(stage.readers[0]).exemplars

    assert is_fast(stage.series[1])
    assert (exemplar.trace_id, exemplar.span_id, exemplar.value) == (5, 7, 0.25)


def test_an_exemplar_has_its_time_and_the_attributes_that_a_view_dropped() -> None:
    stage = Stage(Shape([Reader()], ["one attribute"]), is_fast=True)
    stage.series[1].record(0.7)
    before = time.time_ns()
    record_in_span(stage.series[1], 0.25, trace_id=5)
    after = time.time_ns()
    (exemplar,) = only_point(stage.readers[0]).exemplars

    assert before <= exemplar.time_unix_nano <= after
    assert exemplar.filtered_attributes == {"server.address": "localhost", "server.port": 6379}


def test_a_series_starts_with_its_first_measurement() -> None:
    stage = Stage(ONE, is_fast=True)
    before = time.time_ns()
    stage.series[1].record(0.5)
    after = time.time_ns()
    starts = []
    for _ in range(3):
        stage.series[1].record(0.5)
        starts.append(only_point(stage.readers[0]).start_time_unix_nano)

    assert before <= starts[0] <= after
    assert starts == starts[:1] * 3


def test_with_a_delta_reader_nothing_is_fast() -> None:
    stage = Stage(Shape([Reader(), Reader(is_delta=True)], []), is_fast=True)
    stage.tell([Record(1, 0.5), Record(1, 0.5), Collect(1), Record(1, 0.5)])

    assert not is_fast(stage.series[1])


def test_a_delta_reader_that_comes_later_ends_the_fast_path() -> None:
    stage = Stage(ONE, is_fast=True)
    stage.tell([Record(1, 0.5), Add(Reader(is_delta=True)), Record(1, 0.5)])

    assert is_fast(stage.series[1]) is not hasattr(stage.provider, "add_metric_reader")


def test_a_negative_first_measurement_does_not_decide() -> None:
    stage = Stage(ONE, is_fast=True)
    stage.series[1].record(-1)
    stage.series[1].record(1)

    assert is_fast(stage.series[1])
    assert only_point(stage.readers[0]).count == 1


def test_a_meter_that_is_switched_off_and_on_again_loses_what_was_between() -> None:
    for way in (True, False):
        stage = Stage(ONE, is_fast=way)
        if not hasattr(stage.histogram, "_meter_config"):
            break  # before 1.41
        switch(stage.provider, is_on=False)
        stage.series[1].record(1)
        switch(stage.provider, is_on=True)
        stage.series[1].record(10)
        stage.series[1].record(10)
        switch(stage.provider, is_on=False)
        stage.series[1].record(100)

        assert only_point(stage.readers[0]).sum == 20
        assert is_fast(stage.series[1]) is way


def test_without_a_provider_a_measurement_is_one_look_and_later_it_is_fast() -> None:
    proxy, reader = _ProxyMeterProvider(), InMemoryMetricReader()
    histogram = proxy.get_meter(SCOPE).create_histogram(NAME)
    series = FastHistogram(histogram).bind(GET)
    series.record(1)
    entered = entered_by(lambda: series.record(1), "")
    proxy.on_set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    series.record(2)
    series.record(3)

    assert len([name for name in entered if name in {"record", "real"}]) == 2
    assert only_point(reader).sum == 5
    assert not {"real", "__post_init__"} & set(entered_by(lambda: series.record(0), ""))


def test_a_histogram_that_does_nothing_stays_one() -> None:
    histogram = NoOpMeterProvider().get_meter("x").create_histogram(NAME)
    FastHistogram(histogram).bind(GET).record(1)


def test_attributes_that_the_sdk_would_change_go_through_the_public_api() -> None:
    stage = Stage(ONE, is_fast=True)
    changed: list[Any] = [{"": 1}, {"a": ("b",)}, {"a": None}, {"a": b"b"}]
    for number, attributes in enumerate(changed):
        series = FastHistogram(stage.histogram).bind(attributes)
        series.record(1)
        series.record(1)

        (metric,) = metrics_of(stage.readers[0])
        assert not is_fast(series)
        assert sum(point.count for point in metric.data.data_points) == 2 * (number + 1)


class OtherHistogram:
    """Somebody's own, with no more than the API has."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def record(self, amount: float, attributes: Any = None, context: Any = None) -> None:
        self.values.append(amount)


def test_a_histogram_of_another_sdk_goes_through_the_public_api() -> None:
    other: Any = OtherHistogram()
    series = FastHistogram(other).bind(GET)
    series.record(1)
    series.record(2)

    assert other.values == [1, 2]


def test_a_histogram_that_somebody_wrapped_goes_through_the_wrapper() -> None:
    stage, seen = Stage(ONE, is_fast=True), []
    record = stage.histogram.record
    stage.histogram.record = lambda *args: (seen.append(args), record(*args))
    series = FastHistogram(stage.histogram).bind(GET)
    series.record(1)
    series.record(2)

    assert len(seen) == 2
    assert only_point(stage.readers[0]).count == 2


def test_a_histogram_of_a_class_of_its_own_goes_through_that_class() -> None:
    stage, seen = Stage(ONE, is_fast=True), []
    kind = type(stage.histogram)

    def record(self: Any, *args: Any) -> None:
        seen.append(args)
        kind.record(self, *args)

    stage.histogram.__class__ = counting = type("Counting", (kind,), {"record": record})
    # The SDK looks these up by class.
    for storage in stage.provider._measurement_consumer._reader_storages.values():
        for known in (storage._instrument_class_temporality, storage._instrument_class_aggregation):
            known[counting] = known[kind]
    series = FastHistogram(stage.histogram).bind(GET)
    series.record(1)
    series.record(2)

    assert len(seen) == 2
    assert only_point(stage.readers[0]).count == 2


def _drop_private(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an SDK that calls its insides otherwise."""
    monkeypatch.setattr(histograms, "_typed", lambda attributes: attributes.no_such_thing)


def _double(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an SDK whose aggregations need more than what they are given."""
    consume = aggregations._ExplicitBucketHistogramAggregation.aggregate

    def only_of_the_sdk(self: Any, measurement: Any, *rest: Any) -> None:
        if type(measurement).__module__.startswith("opentelemetry"):
            consume(self, measurement, *rest)

    monkeypatch.setattr(
        aggregations._ExplicitBucketHistogramAggregation, "aggregate", only_of_the_sdk
    )


def _reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an SDK that drops its aggregations at each collection, with any temporality."""
    from opentelemetry.sdk.metrics._internal._view_instrument_match import _ViewInstrumentMatch

    collect = _ViewInstrumentMatch.collect

    def forgetting(self: Any, *args: Any) -> Any:
        points = collect(self, *args)
        self._attributes_aggregation = {}
        return points

    monkeypatch.setattr(_ViewInstrumentMatch, "collect", forgetting)


def _other_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where somebody adds an attribute to what is recorded."""
    record = Histogram.record

    def adding(self: Any, amount: float, attributes: Any = None, context: Any = None) -> None:
        record(self, amount, {**(attributes or {}), "host": "a"}, context)

    monkeypatch.setattr(Histogram, "record", adding)


def _broken_reservoirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a provider cannot be made: readers that ask for more."""
    monkeypatch.setattr(histograms._Rehearsal, "_metrics", None)


@pytest.mark.parametrize(
    "change", [_drop_private, _double, _reset, _other_attributes, _broken_reservoirs]
)
def test_an_sdk_that_is_not_as_expected_is_left_to_its_public_api(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    stage = Stage(ONE, is_fast=True)
    for _ in range(3):
        stage.series[1].record(0.5)

    assert not is_fast(stage.series[1])
    assert only_point(stage.readers[0]).count == 3


def test_the_rehearsal_is_held_once_for_a_histogram(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, rehearsals = Stage(ONE, is_fast=True), []
    rehearse = histograms._is_same_either_way
    monkeypatch.setattr(
        histograms,
        "_is_same_either_way",
        lambda *args: (rehearsals.append(args), rehearse(*args))[1],
    )
    for number in range(len(ATTRIBUTES)):
        stage.series[number].record(0.5)
        stage.series[number].record(0.5)

    assert len(rehearsals) == 1


def test_nothing_of_the_rehearsal_leaves() -> None:
    stage = Stage(Shape([Reader()], ["few attributes", "sum"], "always"), is_fast=True)
    stage.series[1].record(0.5)

    assert is_fast(stage.series[1])
    few, total = metrics_of(stage.readers[0])
    assert [point.count for point in few.data.data_points] == [1]
    assert [point.value for point in total.data.data_points] == [0.5]


def test_beyond_a_limit_of_attribute_sets_everything_is_in_the_overflow() -> None:
    try:
        view = View(instrument_name=NAME, aggregation_cardinality_limit=2)
    except TypeError:
        return  # before 1.45 there is no limit
    VIEWS["limited"] = lambda: view
    try:
        public = Stage(Shape([Reader()], ["limited"]), is_fast=False)
        fast = Stage(Shape([Reader()], ["limited"]), is_fast=True)
    finally:
        del VIEWS["limited"]
    story = [Record(series, 0.5) for _ in range(2) for series in range(6)]

    assert fast.tell([*story, Collect(0), *story]) == public.tell([*story, Collect(0), *story])
    assert [is_fast(series) for series in fast.series[:6]] == [True] * 2 + [False] * 4


def test_nothing_is_lost_or_doubled_while_readers_collect() -> None:
    stage = Stage(Shape([Reader(), Reader(is_exponential=True)], []), is_fast=True)
    done = threading.Event()

    def collect() -> None:
        while not done.is_set():
            for reader in stage.readers:
                metrics_of(reader)

    def record() -> None:
        for number in range(20_000):
            stage.series[number % 4].record(0.25)

    record()  # within a collection no way is found
    collector = threading.Thread(target=collect)
    recorders = [threading.Thread(target=record) for _ in range(4)]
    for thread in (collector, *recorders):
        thread.start()
    for thread in recorders:
        thread.join()
    done.set()
    collector.join()

    assert all(is_fast(series) for series in stage.series[:4])
    for reader in stage.readers:
        (metric,) = metrics_of(reader)
        points = metric.data.data_points
        assert [point.count for point in points] == [25_000] * 4
        assert [point.sum for point in points] == [6_250] * 4


def test_nothing_is_lost_while_readers_come() -> None:
    stage = Stage(ONE, is_fast=True)
    if not hasattr(stage.provider, "add_metric_reader"):
        return
    threads = [
        threading.Thread(target=lambda: [stage.series[1].record(0.5) for _ in range(5_000)])
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for _ in range(20):
        stage.take(Add(Reader()))
    for thread in threads:
        thread.join()
    stage.series[1].record(0.5)

    assert only_point(stage.readers[0]).count == 15_001
    assert all(only_point(reader).count >= 1 for reader in stage.readers)


def test_a_forked_child_goes_on() -> None:
    stage = Stage(ONE, is_fast=True)
    stage.series[1].record(0.5)
    stage.series[1].record(0.5)
    child = os.fork()
    if child == 0:
        stage.series[1].record(0.5)
        stage.series[2].record(0.5)
        (metric,) = metrics_of(stage.readers[0])
        os._exit(sum(point.count for point in metric.data.data_points))
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 4
    assert only_point(stage.readers[0]).count == 2


def test_after_a_shutdown_measurements_harm_nobody() -> None:
    stage = Stage(ONE, is_fast=True)
    stage.series[1].record(0.5)
    stage.provider.shutdown()
    stage.series[1].record(0.5)
    stage.series[2].record(0.5)


def test_a_histogram_behind_a_proxy_of_somebody_goes_through_the_proxy() -> None:
    anything: Any = wrapt.ObjectProxy

    class Counting(anything):
        def record(self, *args: Any) -> None:
            seen.append(args)
            self.__wrapped__.record(*args)

    stage, seen = Stage(ONE, is_fast=True), []
    proxy: Any = Counting(stage.histogram)
    series = FastHistogram(proxy).bind(GET)
    series.record(1)
    series.record(2)

    assert len(seen) == 2
    assert only_point(stage.readers[0]).count == 2


def test_a_record_of_the_sdk_that_somebody_wrapped_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def remember(wrapped: Any, _: object, args: Any, kwargs: Any) -> Any:
        seen.append(args)
        return wrapped(*args, **kwargs)

    stage = Stage(ONE, is_fast=True)
    kind = type(stage.histogram)
    monkeypatch.setattr(kind, "record", wrapt.FunctionWrapper(kind.record, remember))
    series = FastHistogram(stage.histogram).bind(GET)
    series.record(1)
    series.record(2)

    assert len(seen) == 2


def test_a_histogram_that_has_no_dictionary_is_recorded_with() -> None:
    class Bare:
        __slots__ = ("values",)

        def record(self, value: float, _: object) -> None:
            self.values.append(value)

    bare: Any = Bare()
    bare.values = []
    FastHistogram(bare).bind(GET).record(1)

    assert bare.values == [1]


def test_an_aggregation_of_the_applications_sees_no_rehearsal() -> None:
    seen: list[float] = []

    class Remembering(LastValueAggregation):
        def _create_aggregation(self, *args: Any, **kwargs: Any) -> Any:
            made: Any = super()._create_aggregation(*args, **kwargs)
            aggregate = made.aggregate

            def remember(measurement: Any, *more: Any) -> None:
                seen.append(measurement.value)
                aggregate(measurement, *more)

            made.aggregate = remember
            return made

    provider = MeterProvider(
        [InMemoryMetricReader()],
        views=[View(instrument_name="*", aggregation=Remembering())],
        shutdown_on_exit=False,
    )
    series = FastHistogram(provider.get_meter(SCOPE).create_histogram(NAME)).bind(GET)
    for value in (1, 2, 3):
        series.record(value)

    assert seen == [1, 2, 3]


def test_a_reader_that_goes_meanwhile_is_no_fault() -> None:
    stage = Stage(ONE, is_fast=True)
    (storage,) = stage.provider._measurement_consumer._reader_storages.values()
    storage._instrument_view_instrument_matches.clear()

    assert histograms._aggregates_of(stage.histogram, {None: storage}, GET) is None
