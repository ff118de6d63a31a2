"""What the instrumented process exported, as increases since the last look."""

from __future__ import annotations

from collections import Counter

from opentelemetry.sdk.metrics import Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from typing_extensions import Self

from otel_redis_cache import RedisCacheInstrumentor
from tests.differential.oracle import Tally

COMPARED = {
    "cache.requests": ("cache.request.type",),
    "cache.writes": ("cache.write.ttl", "cache.write.result"),
    "cache.invalidations": ("cache.invalidation.reason",),
    "cache.ttl": (),
    "otel_redis_cache.errors": ("otel_redis_cache.step",),
}


class Counting:
    """One pair of providers for all sequences; what differs between them are the settings."""

    def __init__(self) -> None:
        delta = dict.fromkeys((ObservableCounter, Histogram), AggregationTemporality.DELTA)
        self._reader = InMemoryMetricReader(preferred_temporality=delta)
        self._meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self._tracers = TracerProvider(shutdown_on_exit=False)
        self._probes: bool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        RedisCacheInstrumentor().uninstrument()
        self._meters.shutdown()

    def count(self, *, probes: bool) -> None:
        """Instrument, with probes as lookups or without."""
        if probes != self._probes:
            RedisCacheInstrumentor().uninstrument()
            RedisCacheInstrumentor().instrument(
                meter_provider=self._meters, tracer_provider=self._tracers, count_probes=probes
            )
            self._probes = probes

    def increases(self) -> Tally:
        tally, data = Tally(), self._reader.get_metrics_data()
        metrics = [
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name in COMPARED
        ]
        for metric in metrics:
            for point in metric.data.data_points:
                attributes = point.attributes or {}
                cache = str(attributes.get("cache.name", ""))
                more = (str(attributes.get(name)) for name in COMPARED[metric.name])
                key = (metric.name.removeprefix("cache."), cache, *more)
                if metric.name == "cache.ttl":
                    tally.counts[key] += point.count  # type: ignore[union-attr]
                    tally.lifetimes[cache] += point.sum  # type: ignore[union-attr]
                else:
                    tally.counts[key] += point.value  # type: ignore[union-attr]
        tally.counts = Counter({key: count for key, count in tally.counts.items() if count})
        return tally
