"""Owns tracer, instruments and tallies of one pair of providers; emits, and never interprets."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.metrics import Histogram, Meter, MeterProvider, NoOpHistogram
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider

from otel_redis_cache import conventions as names
from otel_redis_cache import garbage, observables, tallies
from otel_redis_cache.facts import OTHER_TARGETS, Failure, Outcome, Target
from otel_redis_cache.histograms import FastHistogram, PublicSeries, Series
from otel_redis_cache.outages import Outage
from otel_redis_cache.providers import Audience
from otel_redis_cache.settings import Settings
from otel_redis_cache.spans import Describe, FastSpans, PublicSpans, Spans, set_plain_attributes
from otel_redis_cache.tallies import Attributes, Tallies

logger = logging.getLogger("otel_redis_cache")

AttributeValue = str | int | float | bool | tuple[str, ...]

_OPERATION_DURATION, _BLOCKED_DURATION = names.OPERATION_DURATION.name, names.BLOCKED_DURATION.name


class Recorder:
    """Emits spans and metrics through the public OpenTelemetry API."""

    def __init__(
        self,
        settings: Settings,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
    ) -> None:
        """Take the providers given, else the global ones."""
        version = package_version()
        self.audience = Audience(tracer_provider, meter_provider)
        self._meter_provider = meter_provider
        tracer_provider = tracer_provider or trace.get_tracer_provider()
        meter_provider = meter_provider or metrics.get_meter_provider()
        self.tracer: Tracer = tracer_provider.get_tracer(
            names.SCOPE, version, schema_url=names.SCHEMA_URL
        )
        is_fast = settings.fast_path == "auto"
        self._spans: Spans = FastSpans(self.tracer) if is_fast else PublicSpans(self.tracer)
        meter = meter_provider.get_meter(names.SCOPE, version, schema_url=names.SCHEMA_URL)
        self.tallies = tallies.of(meter_provider)
        self._wanted = {m.name for m in names.METRICS if m.group in settings.metrics}
        self._all_histograms = {
            metric.name: _AllSeries(metric, histogram, self.tallies, settings)
            for metric in names.METRICS
            if metric.kind == "histogram" and metric.name in self._wanted
            if type(histogram := _histogram(meter, metric)) is not NoOpHistogram
        }
        self._histograms = self._all_histograms
        """Those that take measurements now."""
        observables.create(meter, self.tallies, settings)
        self._said: dict[str, object] = {}

    def leave(self, metrics: AbstractSet[str]) -> list[str]:
        """Leave these metrics, and from now on no others, to redis-py; which of ours that are.

        A histogram takes no more measurements, and an observable instrument has no points, but for
        those that tell that they are about valkey-py, which redis-py does not measure.
        """
        histograms = self._all_histograms
        self._histograms = {name: histograms[name] for name in histograms.keys() - metrics}
        self.tallies.left = metrics
        return sorted(self._wanted & metrics)

    def start(
        self,
        operation: str,
        describe: Describe,
        start_time: int,
        kind: SpanKind = SpanKind.CLIENT,
        links: Sequence[Link] = (),
    ) -> Span:
        """Start a span, with all that a sampler may want to see; it began at that unix time, in ns."""
        return self._spans.start(operation[:64], kind, describe, start_time, links)

    def finish(
        self, span: Span, attributes: Mapping[str, AttributeValue], failure: Failure | None
    ) -> None:
        """Add what became of the call; the span ends later, with :meth:`end`."""
        if attributes:
            set_plain_attributes(span, attributes)
        if failure is not None:
            span.set_status(Status(StatusCode.ERROR))

    def end(self, span: Span, ended: int) -> None:
        """End a span, at a unix time in ns: its start and the duration recorded, also when clocks are set."""
        span.end(ended)

    def record_duration(
        self,
        target: Target,
        operation: str,
        elapsed: int,
        failure: Failure | None,
        cache: str | None,
        blocking: bool,  # noqa: FBT001
    ) -> None:
        """Record how long a call took, in nanoseconds; in the span's context, for exemplars."""
        metric = _BLOCKED_DURATION if blocking else _OPERATION_DURATION
        series = self._histograms.get(metric)
        if series is None and target.system == names.VALKEY:
            series = self._all_histograms.get(metric)
        if series is not None:
            series[target, operation, failure, cache].record(elapsed / 1e9)

    def record_values(
        self, target: Target, outcome: Outcome, loads: Iterable[tuple[str, float]]
    ) -> None:
        """Record times to live, sizes, and how long it took to load what had been missed."""
        for (cache, seconds), entries in outcome.ttls.items():
            self._record_of_cache(names.CACHE_TTLS, seconds, entries, target, cache)
        for cache, direction, size in outcome.sizes:
            self._record_of_cache(names.CACHE_ITEM_SIZES, size, 1, target, cache, direction)
        for cache, seconds in loads:
            self._record_of_cache(names.CACHE_LOAD_DURATION, seconds, 1, target, cache)

    def record_invalidation(
        self, system: str, cache: str, reason: str, effect: str, elapsed: int
    ) -> None:
        """Record how long an ``invalidate()`` took, in nanoseconds; in its span's context."""
        series = self._histograms.get(names.CACHE_INVALIDATION_DURATION.name)
        if series is not None:
            series[system, cache, reason, effect].record(elapsed / 1e9)

    def record_of_pool(self, metric: names.Metric, pool: str, elapsed: int) -> None:
        """Record how long something took at a connection pool, in nanoseconds."""
        series = self._histograms.get(metric.name)
        if series is not None:
            series[pool].record(elapsed / 1e9)

    def record_outage(self, outage: Outage) -> None:
        """Record how long a server could not be reached, once that is over."""
        series = self._histograms.get(names.OUTAGE_DURATION.name)
        if series is not None:
            series[outage.target, outage.error_type].record(outage.seconds())

    def record_lags(
        self, target: Target, stream: str | None, group: str | None, seconds: Iterable[float]
    ) -> None:
        """Record how old the entries of one stream were."""
        metric = names.STREAM_LAG.name
        series = self._histograms.get(metric)
        if series is None and target.system == names.VALKEY:
            series = self._all_histograms.get(metric)
        if series is not None:
            lags = series[target, stream, group]
            for lag in seconds:
                lags.record(lag)

    def look_at_resource(self) -> None:
        """Say so where several processes would overwrite each other's metrics."""
        provider = self._meter_provider or metrics.get_meter_provider()
        # The SDK shows a meter provider's resource nowhere else.
        resource = getattr(getattr(provider, "_sdk_config", None), "resource", None)
        attributes: object = getattr(resource, "attributes", None)
        if isinstance(attributes, Mapping) and names.SERVICE_INSTANCE_ID not in attributes:
            self.say_once(
                "the resource has no %s: where several processes export, their metrics overwrite "
                "each other; set it in OTEL_RESOURCE_ATTRIBUTES, or list the detector "
                "`service` in the configuration file",
                names.SERVICE_INSTANCE_ID,
            )

    def count_attempts(
        self, target: Target, retries: Iterable[str], redirections: Iterable[str]
    ) -> None:
        """Count what it took to get an answer: by ``error.type``, and ``moved`` or ``ask``."""
        for error_type in retries:
            self.tallies.retries.add((target, (error_type,)))
        for kind in redirections:
            self.tallies.redirections.add((target, (kind,)))

    def count_local_request(self, target: Target, result: str) -> None:
        """Count a read of a client that caches on its side: ``hit`` or ``miss``."""
        self.tallies.local_requests.add((target, (result,)))

    def contain(self, step: str, fault: BaseException) -> None:
        """Count a fault of ours, and say so once for each step.

        The exception's text stays out of the log: it may carry a key.
        """
        if garbage.running and garbage.is_at_work():
            self.tallies.notes.add(functools.partial(self.contain, step, fault))
            return
        self.tallies.errors.add(step)
        if step in self._said:
            return
        where = traceback.extract_tb(fault.__traceback__)[-1]
        self.say_once(
            "contained a %s in the step %r (%s:%s); the application is not affected, "
            "telemetry of this call is incomplete; said once",
            type(fault).__name__,
            step,
            where.filename.rpartition("/")[2],
            where.lineno,
            once_for=step,
        )

    def say_once(self, message: str, *about: object, once_for: str | None = None) -> None:
        """Log a line, whichever of several threads comes first with it."""
        mine = object()
        if self._said.setdefault(once_for or message, mine) is mine:
            logger.warning(message, *about)

    def _record_of_cache(
        self, metric: names.Metric, value: float, times: int, target: Target, cache: str, *more: str
    ) -> None:
        series = self._histograms.get(metric.name)
        if series is not None:
            of_cache = series[(target.system, cache, *more)]
            for _ in range(times):
                of_cache.record(value)


class _AllSeries(dict[Any, Series]):
    """All series of one histogram, by what they are made of; each is bound when it is first used."""

    def __init__(
        self, metric: names.Metric, histogram: Histogram, counts: Tallies, settings: Settings
    ) -> None:
        super().__init__()
        self._bind: Callable[[Attributes], Series] = (
            FastHistogram(histogram).bind
            if settings.fast_path == "auto"
            else functools.partial(PublicSeries, histogram)
        )
        self._attributes_of, self._folded_of = _ATTRIBUTES[metric.name]
        self._known = counts.series.setdefault(metric.name, {})
        self._overflowed = counts.overflow_of_series

    def __missing__(self, key: Any) -> Series:
        """A series of its own, or the folded one where there are too many."""
        attributes = self._known.get(key)
        if attributes is None:
            # Without a lock: threads that meet here make the same series, and the bound has room.
            if len(self._known) >= names.MAX_SERIES - 100:
                self._overflowed()
                attributes = self._folded_of(key)
                key = frozenset(attributes.items())
                if key in self:
                    return self[key]
            else:
                attributes = self._known[key] = self._attributes_of(key)
        series = self[key] = self._bind(attributes)
        return series


_Operation = tuple[Target, str, Failure | None, str | None]


def _of_operation(key: _Operation) -> Attributes:
    target, operation, failure, cache = key
    attributes: Attributes = {**target.attributes, names.DB_OPERATION_NAME: operation}
    if failure is not None:
        attributes.update(failure.attributes)
    if cache is not None:
        attributes[names.CACHE_NAME] = cache
    return attributes


def _of_any_operation(key: _Operation) -> Attributes:
    """Failed or not is all that is left."""
    target, _, failure, _ = key
    attributes: Attributes = dict(OTHER_TARGETS[target.system].attributes)
    attributes[names.DB_OPERATION_NAME] = names.OTHER_OPERATION
    if failure is not None:
        attributes[names.ERROR_TYPE] = names.OTHER_ERROR
    return attributes


_OF_CACHE = (names.DB_SYSTEM_NAME, names.CACHE_NAME, names.CACHE_IO_DIRECTION)


def _of_cache(key: tuple[str, ...]) -> Attributes:
    return dict(zip(_OF_CACHE, key, strict=False))


def _of_any_cache(key: tuple[str, ...]) -> Attributes:
    system, _, *more = key
    return _of_cache((system, names.OTHER_CACHE, *more))


_Invalidation = tuple[str, str, str, str]


def _of_invalidation(key: _Invalidation) -> Attributes:
    return dict(zip(names.CACHE_INVALIDATION_DURATION.attributes, key, strict=True))


def _of_any_invalidation(key: _Invalidation) -> Attributes:
    system, _, _, effect = key
    return _of_invalidation((system, names.OTHER_CACHE, names.OTHER_REASON, effect))


_Ended = tuple[Target, str]


def _of_outage(key: _Ended) -> Attributes:
    target, error_type = key
    return {**target.attributes, names.ERROR_TYPE: error_type}


def _of_any_outage(key: _Ended) -> Attributes:
    target, _ = key
    return _of_outage((OTHER_TARGETS[target.system], names.OTHER_ERROR))


_Stream = tuple[Target, str | None, str | None]


def _of_stream(key: _Stream) -> Attributes:
    target, *named = key
    pairs = zip(names.STREAM_LAG.attributes[-2:], named, strict=True)
    return {**target.attributes, **{name: value for name, value in pairs if value is not None}}


def _of_any_stream(key: _Stream) -> Attributes:
    return dict(OTHER_TARGETS[key[0].system].attributes)


def _of_pool(pool: str) -> Attributes:
    return {names.POOL_NAME: pool}


def _of_any_pool(_: str) -> Attributes:
    return _of_pool(names.OTHER_POOL)


_ATTRIBUTES: dict[str, tuple[Callable[[Any], Attributes], Callable[[Any], Attributes]]] = {
    names.OPERATION_DURATION.name: (_of_operation, _of_any_operation),
    names.BLOCKED_DURATION.name: (_of_operation, _of_any_operation),
    names.CACHE_TTLS.name: (_of_cache, _of_any_cache),
    names.CACHE_LOAD_DURATION.name: (_of_cache, _of_any_cache),
    names.CACHE_ITEM_SIZES.name: (_of_cache, _of_any_cache),
    names.CACHE_INVALIDATION_DURATION.name: (_of_invalidation, _of_any_invalidation),
    names.OUTAGE_DURATION.name: (_of_outage, _of_any_outage),
    names.CONNECTION_CREATE_TIME.name: (_of_pool, _of_any_pool),
    names.CONNECTION_WAIT_TIME.name: (_of_pool, _of_any_pool),
    names.CONNECTION_USE_TIME.name: (_of_pool, _of_any_pool),
    names.STREAM_LAG.name: (_of_stream, _of_any_stream),
}
"""What makes the attributes of a series, and of the one for all series that are too many."""


@functools.cache
def package_version() -> str:
    """The scope version; a checkout that nobody installed has none."""
    try:
        return importlib.metadata.version("otel-redis-cache")
    except importlib.metadata.PackageNotFoundError:
        return "0.0.0"


def _histogram(meter: Meter, metric: names.Metric) -> Histogram:
    return meter.create_histogram(
        metric.name,
        metric.unit,
        metric.description,
        explicit_bucket_boundaries_advisory=list(metric.buckets),
    )
