"""Histograms whose attribute sets are resolved once.

For each measurement ``Histogram.record`` of the SDK cleans, copies, filters, sorts and hashes the
attributes, once for each reader, to find the aggregation that takes it. A series finds its
aggregations once and gives them what the SDK gives them: value, time, context, and whether it may
become an exemplar. Locks, sums, buckets and reservoirs stay the SDK's own.

This file alone knows those insides, and trusts them only after a rehearsal: the same measurements,
through the public API and through here, have to make the same points. Whatever is not as expected
goes through the public API: classes, attributes or an SDK that we do not know, and delta
temporality, where the SDK drops its aggregations at each collection.

Source: ``opentelemetry.sdk.metrics._internal`` of the versions 1.36 to 1.45.
"""

from __future__ import annotations

import dataclasses
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from math import inf
from threading import Lock, RLock
from time import time_ns
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol, cast

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.metrics import Histogram

from otel_redis_cache import contexts
from otel_redis_cache.forks import renew_after_fork
from otel_redis_cache.signals import raised_by_handler

logger = logging.getLogger("otel_redis_cache")

Attributes = Mapping[str, str | bool | int | float]


class Series(Protocol):
    """One histogram with one set of attributes."""

    def record(self, value: float) -> None:
        """Record one measurement in the current context, as ``Histogram.record`` does."""


class PublicSeries:
    """A series that goes through the public API."""

    __slots__ = ("_attributes", "_histogram")

    def __init__(self, histogram: Histogram, attributes: Attributes) -> None:
        """The attributes are not changed from now on."""
        self._histogram = histogram
        self._attributes = attributes

    def record(self, value: float) -> None:
        """See :class:`Series`."""
        self._histogram.record(value, self._attributes)


class FastHistogram:
    """A histogram whose series go straight to their aggregations, where the SDK lets them."""

    def __init__(self, histogram: Histogram) -> None:
        """Any histogram; one that is not the SDK's goes through the public API."""
        self._histogram = histogram
        self._rehearsed: tuple[object, bool] = (None, False)
        """With which readers, and whether both ways made the same points."""
        _known.histograms.add(self)

    def bind(self, attributes: Attributes) -> Series:
        """One series; the attributes are not changed from now on."""
        real = self.real()
        if real is None:
            return _WaitingSeries(self, attributes)
        if _are_plain(attributes) and _records_as_made(real):
            try:
                return _FastSeries(real, attributes, self._resolve)
            except AttributeError:
                logger.debug("a histogram is not the SDK's, but a %s", type(real).__qualname__)
        return PublicSeries(real, attributes)

    def real(self) -> Any:
        """The provider's histogram: the API's own has none until a provider is set."""
        return getattr(self._histogram, "_real_instrument", self._histogram)

    def _resolve(self, storages: _Storages, attributes: Attributes) -> _Aggregates | None:
        histogram = self.real()
        rehearsed_with, is_same = self._rehearsed
        if rehearsed_with is not storages:
            is_same = _is_same_either_way(histogram, storages, attributes)
            self._rehearsed = (storages, is_same)
        return _aggregates_of(histogram, storages, attributes) if is_same else None


class _WaitingSeries:
    """A series of a histogram that was made before a meter provider was set."""

    __slots__ = ("_attributes", "_histogram", "_series")

    def __init__(self, histogram: FastHistogram, attributes: Attributes) -> None:
        self._histogram = histogram
        self._attributes = attributes
        self._series: Series | None = None

    def record(self, value: float) -> None:
        series = self._series
        if series is None:
            if self._histogram.real() is None:
                return
            series = self._series = self._histogram.bind(self._attributes)
        series.record(value)


class _Measurement(NamedTuple):
    """What aggregations ask of the SDK's ``Measurement``, which cleans the attributes each time."""

    value: float
    time_unix_nano: int
    instrument: object
    context: Context
    attributes: Attributes


_measured: Callable[[type[_Measurement], tuple[object, ...]], _Measurement] = cast(
    "Any", tuple
).__new__
"""What the class does when it is called, without a function of Python."""


_Storages = Mapping[Any, Any]
"""What the SDK keeps for each reader; another mapping when a reader comes or goes."""

_Aggregates = tuple[Callable[[_Measurement, bool], None], ...]
"""What takes the measurements of one series: one for each reader and each view of it."""

_ALWAYS_ON = SimpleNamespace(_config=SimpleNamespace(is_enabled=True))
"""Before 1.41 a meter cannot be switched off."""


class _FastSeries:
    """A series that knows its aggregations."""

    __slots__ = (
        "_asks_for_span",
        "_attributes",
        "_consumer",
        "_histogram",
        "_meter",
        "_resolve",
        "_route",
        "_should_sample",
    )

    def __init__(
        self,
        histogram: Any,
        attributes: Attributes,
        resolve: Callable[[_Storages, Attributes], _Aggregates | None],
    ) -> None:
        """Resolved by its first measurement.

        Raises:
            AttributeError: for a histogram that is not the SDK's.
        """
        self._histogram = histogram
        self._attributes = attributes
        self._resolve = resolve
        self._consumer = histogram._measurement_consumer
        assert self._consumer._lock is not None  # as below
        exemplar_filter = self._consumer._sdk_config.exemplar_filter
        self._should_sample = exemplar_filter.should_sample
        self._asks_for_span = _asks_for_span(exemplar_filter)
        self._meter = getattr(histogram, "_meter_config", None) or _ALWAYS_ON
        assert self._meter._config is not None  # raises where the SDK keeps it elsewhere
        self._route: tuple[_Storages | None, _Aggregates | None] = (None, None)

    @property
    def is_resolved(self) -> bool:
        return self._route[1] is not None

    def record(self, value: float) -> None:
        storages, aggregates = self._route
        if (
            aggregates is None
            or self._consumer._reader_storages is not storages
            or not self._meter._config.is_enabled
            or not 0 <= value < inf
        ):
            self._record_by_api(value)
            return
        now, context, attributes = time_ns(), contexts.current(), self._attributes
        may_be_exemplar = (
            contexts.SPAN in context or not self._asks_for_span
        ) and self._should_sample(value, now, attributes, context)
        measurement = _measured(_Measurement, (value, now, self._histogram, context, attributes))
        for aggregate in aggregates:
            aggregate(measurement, may_be_exemplar)

    def _record_by_api(self, value: float) -> None:
        """The SDK makes what aggregations there are none of yet; then they are looked for.

        Not within a collection: a rehearsal's provider is registered, for which readers that are being
        added wait until the collection is over.
        """
        storages = self._consumer._reader_storages
        self._histogram.record(value, self._attributes)
        if self._consumer._lock.locked():
            return
        if storages is not self._route[0] and self._meter._config.is_enabled and 0 <= value < inf:
            self._route = (storages, self._resolve(storages, self._attributes))


class _Known:
    """All histograms of this process, for as long as they live."""

    def __init__(self) -> None:
        self.histograms: weakref.WeakSet[FastHistogram] = weakref.WeakSet()
        renew_after_fork(self)

    def renew_locks(self) -> None:
        """In a forked child: those of the SDK, of which it renews few, for whoever shares them."""
        reals = [histogram.real() for histogram in self.histograms]
        consumers = {id(found): found for real in reals if (found := _consumer_of(real))}
        for consumer in consumers.values():
            with suppress(AttributeError):  # where the SDK keeps them elsewhere
                for owner in _owners_of_locks(consumer):
                    for kind in (Lock, RLock):
                        if isinstance(getattr(owner, "_lock", None), type(kind())):
                            owner._lock = kind()


_known = _Known()


def _consumer_of(histogram: Any) -> Any:
    """What a provider's histograms have in common; None of one that is not the SDK's."""
    return getattr(histogram, "_measurement_consumer", None)


def _owners_of_locks(consumer: Any) -> Iterator[Any]:
    """What a measurement, or a collection, waits for."""
    yield consumer
    for storage in consumer._reader_storages.values():
        yield storage
        for matches in storage._instrument_view_instrument_matches.values():
            for match in matches:
                yield match
                for aggregation in match._attributes_aggregation.values():
                    yield aggregation
                    yield aggregation._reservoir


def _aggregates_of(
    histogram: Any, storages: _Storages, attributes: Attributes
) -> _Aggregates | None:
    """None where they cannot be told, as beyond a stream's limit of attribute sets."""
    found: list[Callable[[_Measurement, bool], None]] = []
    for storage in storages.values():
        matches = storage._instrument_view_instrument_matches.get(histogram)
        if matches is None:  # the reader went while the first measurement was made
            return None
        for match in matches:
            kept = match._view._attribute_keys
            names = attributes.keys() if kept is None else attributes.keys() & kept
            wanted = _typed({name: attributes[name] for name in names})
            # The newest first: this is asked when it was just made.
            for aggregation in reversed(list(match._attributes_aggregation.values())):
                if _typed(aggregation._attributes) == wanted:
                    found.append(aggregation.aggregate)
                    break
            else:
                return None
    return tuple(found)


def _asks_for_span(exemplar_filter: object) -> bool:
    """Whether this is the SDK's own filter by which no exemplar is outside of a span: the default."""
    from opentelemetry.sdk.metrics import TraceBasedExemplarFilter

    return type(exemplar_filter) is TraceBasedExemplarFilter


def _typed(attributes: Mapping[str, object]) -> dict[str, tuple[type, object]]:
    """With their types, as True, 1 and 1.0 are equal and different attributes."""
    return {name: (type(value), value) for name, value in attributes.items()}


def _records_as_made(histogram: Any) -> bool:
    """Whether nobody has put a wrapper, or a histogram of their own, in the place of the SDK's."""
    record: Any = getattr(cast("object", type(histogram)), "record", None)
    module: str = getattr(record, "__module__", None) or ""
    return (
        module.startswith("opentelemetry.sdk.")
        and not hasattr(record, "__wrapped__")
        and "record" not in getattr(histogram, "__dict__", ())
    )


def _are_plain(attributes: Attributes) -> bool:
    """Whether the SDK takes these attributes as they are."""
    return all(
        type(name) is str and name and type(value) in {str, bool, int, float}
        for name, value in attributes.items()
    )


def _is_same_either_way(histogram: Any, storages: _Storages, attributes: Attributes) -> bool:
    """Whether a fast series makes the points of the public API, with these readers and views."""
    try:
        views = histogram._measurement_consumer._sdk_config.views
        if not all(map(_is_of_sdk, views)):  # whoever made parts of it must not see a rehearsal
            return False
        public, fast = _Rehearsal(histogram, storages), _Rehearsal(histogram, storages)
        if not fast.is_like(histogram, storages):
            return False
        series = _FastSeries(fast.histogram, attributes, partial(_aggregates_of, fast.histogram))
        expected = public.play(lambda value: public.histogram.record(value, attributes))
        return fast.play(series.record) == expected and series.is_resolved
    except Exception as fault:
        if raised_by_handler(fault):
            raise
        logger.debug("histograms go through the public API: a %s", type(fault).__name__)
        return False


def _is_of_sdk(view: Any) -> bool:
    """Whether what a view makes of measurements is the SDK's own."""
    kinds: list[Any] = [view.__class__, view._aggregation.__class__]
    parts = [*kinds, view._exemplar_reservoir_factory]
    return all(part.__module__.startswith("opentelemetry.sdk.") for part in parts)


_SPAN = trace.NonRecordingSpan(
    trace.SpanContext(1, 1, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
)
_IN_A_SPAN = trace.set_span_in_context(_SPAN, Context())
_STORY = (
    # One in a span for each collection: of several, a reservoir may keep any.
    ((0.25, _IN_A_SPAN), (0.5, Context())),
    ((0.0, Context()), (3.5e9, _IN_A_SPAN)),
    ((0.5, _IN_A_SPAN), (0.25, Context())),
)


class _Rehearsal:
    """A private provider with the same histogram, readers and views; nothing of it leaves."""

    def __init__(self, histogram: Any, storages: _Storages) -> None:
        from opentelemetry.sdk import metrics
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource

        kind = histogram.__class__
        self._new_reader = InMemoryMetricReader
        self._readers = [
            InMemoryMetricReader(
                {metrics.Histogram: storage._instrument_class_temporality[kind]},
                {metrics.Histogram: storage._instrument_class_aggregation[kind]},
            )
            for storage in storages.values()
        ]
        self._provider = metrics.MeterProvider(
            self._readers,
            resource=Resource.get_empty(),
            exemplar_filter=metrics.TraceBasedExemplarFilter(),
            shutdown_on_exit=False,
            views=histogram._measurement_consumer._sdk_config.views,
        )
        self._scope = histogram.instrumentation_scope
        meter = self._provider.get_meter(
            self._scope.name, self._scope.version, self._scope.schema_url
        )
        self.histogram: Any = meter.create_histogram(
            histogram.name,
            histogram.unit,
            histogram.description,
            explicit_bucket_boundaries_advisory=[0.25, 1.0],
        )

    def is_like(self, histogram: Any, storages: _Storages) -> bool:
        """Whether the application's are of the SDK's own classes, and keep their aggregations."""
        from opentelemetry.sdk.metrics.export import AggregationTemporality

        kind, consumer = histogram.__class__, histogram._measurement_consumer
        return (
            type(self.histogram) is kind
            and type(self.histogram._measurement_consumer) is type(consumer)
            and all(
                storage._instrument_class_temporality[kind] is AggregationTemporality.CUMULATIVE
                for storage in storages.values()
            )
        )

    def play(self, record: Callable[[float], None]) -> list[object]:
        """What the readers see, after each part of the story, and one that comes for the last."""
        seen: list[object] = []
        for part in _STORY:
            if part is _STORY[-1]:
                self._add_reader()
            for value, context in part:
                token = attach(context)
                try:
                    record(value)
                finally:
                    detach(token)
            seen += [self._metrics(reader) for reader in self._readers]
        return seen

    def _add_reader(self) -> None:
        # Since 1.43.
        add = getattr(self._provider, "add_metric_reader", None)
        if add is not None:
            reader = self._new_reader()
            add(reader)
            self._readers.append(reader)

    def _metrics(self, reader: Any) -> list[object]:
        data = reader.get_metrics_data()
        return [
            _without_times(dataclasses.asdict(metric))
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            if scope.scope.name == self._scope.name
            for metric in scope.metrics
        ]


def _without_times(value: object) -> object:
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        return {
            name: _without_times(part)
            for name, part in fields.items()
            if not name.endswith("time_unix_nano")
        }
    if isinstance(value, list | tuple):
        return [_without_times(part) for part in cast("list[object]", value)]
    return value
