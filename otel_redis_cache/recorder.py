"""Owns tracer, instruments and tallies of one pair of providers; emits, and never interprets."""

from __future__ import annotations

import importlib.metadata
import logging
import traceback
from collections.abc import Callable, Iterable, Mapping

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider

from otel_redis_cache import conventions as names
from otel_redis_cache import tallies
from otel_redis_cache.facts import Failure, Outcome, Target
from otel_redis_cache.settings import Settings
from otel_redis_cache.tallies import Attributes, Key, Tallies, Tally

logger = logging.getLogger("otel_redis_cache")

AttributeValue = str | int | bool | list[str]


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
        self._meter_provider = meter_provider
        tracer_provider = tracer_provider or trace.get_tracer_provider()
        meter_provider = meter_provider or metrics.get_meter_provider()
        self.tracer: Tracer = tracer_provider.get_tracer(
            names.SCOPE, version, schema_url=names.SCHEMA_URL
        )
        meter = meter_provider.get_meter(names.SCOPE, version, schema_url=names.SCHEMA_URL)
        self.tallies = tallies.of(meter_provider)
        self._durations: Histogram | None = None
        self._blocked: Histogram | None = None
        if "operations" in settings.metrics:
            self._durations = _histogram(meter, names.OPERATION_DURATION)
            self._blocked = _histogram(meter, names.BLOCKED_DURATION)
        self._invalidations: Histogram | None = None
        if "cache" in settings.metrics:
            self._invalidations = _histogram(meter, names.CACHE_INVALIDATION_DURATION)
        _observe(meter, self.tallies, settings)
        self._said: dict[str, object] = {}

    def start(
        self,
        operation: str,
        attributes: Mapping[str, AttributeValue],
        start_time: int | None = None,
        kind: SpanKind = SpanKind.CLIENT,
    ) -> Span:
        """Start the span of one call, with all that a sampler may want to see."""
        return self.tracer.start_span(
            operation[:64],
            kind=kind,
            attributes=attributes,
            start_time=start_time,
            record_exception=False,
            set_status_on_exception=False,
        )

    def finish(
        self, span: Span, attributes: Mapping[str, AttributeValue], failure: Failure | None
    ) -> None:
        """Add what became of the call; the span ends later, with :meth:`end`."""
        if attributes:
            span.set_attributes(attributes)
        if failure is not None:
            span.set_status(Status(StatusCode.ERROR))

    def end(self, span: Span, elapsed: int) -> None:
        """End a span so that it is as long as the duration recorded, also when clocks are set."""
        started = getattr(span, "start_time", None)
        span.end(started + elapsed if isinstance(started, int) else None)

    def record_duration(
        self,
        target: Target,
        operation: str,
        elapsed: int,
        failure: Failure | None,
        cache: str | None,
        *,
        blocking: bool,
    ) -> None:
        """Record how long a call took, in nanoseconds; in the span's context, for exemplars."""
        histogram = self._blocked if blocking else self._durations
        if histogram is not None:
            attributes = self._duration_attributes(
                target, operation, failure, cache, blocking=blocking
            )
            histogram.record(elapsed / 1e9, attributes)

    def record_invalidation(
        self, system: str, cache: str, reason: str, effect: str, elapsed: int
    ) -> None:
        """Record how long an ``invalidate()`` took, in nanoseconds; in its span's context."""
        if self._invalidations is None:
            return
        series = self.tallies.invalidations
        # Names of the application's own rules may be too many; the bound has room for the rest.
        if (system, cache, reason, effect) not in series and len(series) >= names.MAX_SERIES - 200:
            self.tallies.overflow_of_series()
            cache = names.OTHER_CACHE
        series.add((system, cache, reason, effect))
        attributes: Attributes = {
            names.DB_SYSTEM_NAME: system,
            names.CACHE_NAME: cache,
            names.INVALIDATION_REASON: reason,
            names.INVALIDATION_EFFECT: effect,
        }
        self._invalidations.record(elapsed / 1e9, attributes)

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

    def count(self, target: Target, outcome: Outcome) -> None:
        """Bump the tallies of one call."""
        self.tallies.take(target, outcome)

    def contain(self, step: str, fault: BaseException) -> None:
        """Count a fault of ours, and say so once for each step.

        The exception's text stays out of the log: it may carry a key.
        """
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

    def _duration_attributes(
        self,
        target: Target,
        operation: str,
        failure: Failure | None,
        cache: str | None,
        *,
        blocking: bool,
    ) -> Attributes:
        key = (target, operation, failure, cache)
        series = self.tallies.blocked if blocking else self.tallies.durations
        found = series.get(key)
        if found is not None:
            return found
        # Without a lock: threads that meet here make the same series, and the bound has room.
        if len(series) >= names.MAX_SERIES - 100:
            self.tallies.overflow_of_series()
            return _folded(target, failure)
        attributes: Attributes = {**target.attributes, names.DB_OPERATION_NAME: operation}
        if failure is not None:
            attributes.update(failure.attributes)
        if cache is not None:
            attributes[names.CACHE_NAME] = cache
        series[key] = attributes
        return attributes


def _folded(target: Target, failure: Failure | None) -> Attributes:
    """Where durations go when there are too many series: failed or not is all that is left."""
    attributes: Attributes = dict(tallies.OTHER_TARGETS[target.system].attributes)
    attributes[names.DB_OPERATION_NAME] = names.OTHER_OPERATION
    if failure is not None:
        attributes[names.ERROR_TYPE] = names.OTHER_ERROR
    return attributes


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


def _observe(meter: Meter, counts: Tallies, settings: Settings) -> None:
    """Create the observable instruments that this provider does not have yet."""
    counts.ratio.window = settings.hit_ratio_window
    readers: dict[names.Metric, Callable[[], Iterable[tuple[int | float, Attributes]]]] = {
        names.CACHE_REQUESTS: lambda: _by_target(counts.requests, (names.CACHE_REQUEST_TYPE,)),
        names.CACHE_WRITES: lambda: _by_target(
            counts.writes, (names.CACHE_WRITE_TTL, names.CACHE_WRITE_RESULT)
        ),
        names.CACHE_INVALIDATIONS: lambda: _by_target(counts.removed, (names.INVALIDATION_REASON,)),
        names.CACHE_INVALIDATION_REQUESTS: lambda: _by_target(
            counts.removals, (names.INVALIDATION_REASON, names.INVALIDATION_EFFECT)
        ),
        names.CACHE_HIT_RATIO: counts.ratio.read,
        names.OWN_ERRORS: lambda: [(n, {names.STEP: k}) for k, n in counts.errors.items()],
        names.OVERFLOWS: lambda: [(n, {names.BOUND: k}) for k, n in counts.overflows.items()],
    }
    for metric, read in readers.items():
        wanted = metric.group is None or metric.group in settings.metrics
        if not wanted or metric.name in counts.observed:
            continue
        counts.observed.add(metric.name)
        create = (
            meter.create_observable_gauge
            if metric.kind == "gauge"
            else meter.create_observable_counter
        )
        create(metric.name, [_callback(counts, read)], metric.unit, metric.description)


def _callback(
    counts: Tallies, read: Callable[[], Iterable[tuple[int | float, Attributes]]]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [] if counts.silent else [Observation(value, found) for value, found in read()]

    return observe


def _by_target(tally: Tally[Key], attributes: tuple[str, ...]) -> Iterable[tuple[int, Attributes]]:
    for (target, values), count in tally.items():
        pairs = zip((names.CACHE_NAME, *attributes), values, strict=True)
        yield count, {**target.attributes, **dict(pairs)}
