"""Who takes what we emit: until an SDK is set up, OpenTelemetry's API does nothing with what it gets."""

from __future__ import annotations

from opentelemetry import metrics, trace
from opentelemetry.context import get_current
from opentelemetry.instrumentation.utils import (
    is_instrumentation_enabled,
    suppress_instrumentation,
)
from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.metrics import _internal as _metrics
from opentelemetry.trace import NoOpTracerProvider, TracerProvider

with suppress_instrumentation():
    _SUPPRESSING = frozenset(get_current())
"""The keys by which a context says that nothing is to be instrumented."""


_TRACING, _METERING = vars(trace), vars(_metrics)
_UNKNOWN = object()


def none_is_set() -> bool:
    """Whether there is no global provider yet, for whom every call asks until there is one.

    The API would look into the environment each time. Where it keeps its providers elsewhere, it is
    asked.
    """
    tracers = _TRACING.get("_TRACER_PROVIDER", _UNKNOWN)
    return tracers is None and _METERING.get("_METER_PROVIDER", _UNKNOWN) is None


class Audience:
    """Whether somebody takes spans, and metrics; the global providers may be set at any time."""

    def __init__(
        self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
    ) -> None:
        """The providers given; the global ones stand in for those that are not."""
        self._given = (tracer_provider, meter_provider)
        self._seen: tuple[int, int] | None = None
        """The global providers that stood there last; they are set once, and live on."""
        self.takes_spans = False
        self.takes_metrics = False

    def look(self) -> None:
        """Look whether a global provider has been set."""
        tracers, meters = trace.get_tracer_provider(), metrics.get_meter_provider()
        if self._seen == (id(tracers), id(meters)):
            return
        given_tracers, given_meters = self._given
        self.takes_spans = not isinstance(given_tracers, NoOpTracerProvider) and (
            does_something(given_tracers) or does_something(tracers)
        )
        self.takes_metrics = not isinstance(given_meters, NoOpMeterProvider) and (
            does_something(given_meters) or does_something(meters)
        )
        # Last, so that no other thread goes by what was so before.
        self._seen = (id(tracers), id(meters))


def does_something(provider: object) -> bool:
    """Whether this is more than what the API has in the place of a provider."""
    module = type(provider).__module__
    return provider is not None and not module.startswith(
        ("opentelemetry.trace", "opentelemetry.metrics")
    )


def is_suppressed() -> bool:
    """Whether the context says that nothing is to be instrumented."""
    context = get_current()
    return not _SUPPRESSING.isdisjoint(context) and not is_instrumentation_enabled()
