"""Who takes what we emit: until an SDK is set up, OpenTelemetry's API does nothing with what it gets."""

from __future__ import annotations

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.metrics import _internal as _metrics
from opentelemetry.trace import NoOpTracerProvider, TracerProvider

_TRACING, _METERING = vars(trace), vars(_metrics)
_UNKNOWN = object()
_API = ("opentelemetry.trace", "opentelemetry.metrics")


def none_is_set() -> bool:
    """Whether there is no global provider yet, for whom every call asks until there is one.

    The API would look into the environment each time. Where it keeps its providers elsewhere, it is
    asked.
    """
    tracers = _TRACING.get("_TRACER_PROVIDER", _UNKNOWN)
    return tracers is None and _METERING.get("_METER_PROVIDER", _UNKNOWN) is None


class Audience:
    """Whether somebody takes spans, and metrics: the providers given, or else the global ones."""

    def __init__(
        self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
    ) -> None:
        """A provider that does something, or says that it will not, settles it."""
        self.takes_spans = does_something(tracer_provider)
        self.takes_metrics = does_something(meter_provider)
        self.awaits_spans = not (self.takes_spans or type(tracer_provider) is NoOpTracerProvider)
        """Whether a global provider that is set later will take them."""
        self.awaits_metrics = not (self.takes_metrics or type(meter_provider) is NoOpMeterProvider)

    def look(self) -> None:
        """Look whether a global provider has been set: verdicts only ever become true."""
        if self.awaits_spans and does_something(trace.get_tracer_provider()):
            self.takes_spans = True
            self.awaits_spans = False
        if self.awaits_metrics and does_something(metrics.get_meter_provider()):
            self.takes_metrics = True
            self.awaits_metrics = False


def does_something(provider: object) -> bool:
    """Whether this is more than what the API has in the place of a provider."""
    module = type(provider).__module__
    return provider is not None and not module.startswith(_API)
