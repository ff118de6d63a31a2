"""Other instrumentations of the same clients: whose spans and metrics are made already.

What counts is which wrappers stand around a method, as a call passes them: flags of other packages
say less. contrib's and ddtrace's wrappers stay where they are when they are switched off from
underneath somebody else's, and Sentry's are put on also where it only watches for errors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Flag
from types import FunctionType
from typing import Any, NamedTuple, cast

# Deeper than anybody wraps; an application's object may answer to any attribute without end.
_MAX_LAYERS = 20

METRICS_OF_REDIS_PY = {
    "COMMAND": ("db.client.operation.duration",),
    "CONNECTION_BASIC": ("db.client.connection.count", "db.client.connection.create_time"),
    "CONNECTION_ADVANCED": ("db.client.connection.timeouts", "db.client.connection.wait_time"),
    "CSC": ("redis.client.csc.requests",),
    "PUBSUB": ("redis.client.pubsub.messages",),
    "STREAMING": ("redis.client.stream.lag",),
}
"""What redis-py's groups have under names that this package uses too: `OTelConfig
<https://github.com/redis/redis-py/blob/v8.1.0/redis/observability/config.py>`_."""


Maker = tuple[str, Callable[[], bool]]
"""A package whose wrapper stands around a method, and whether it makes spans now."""


class _Place(NamedTuple):
    """Where a class keeps a method, what was there, and who had wrapped it."""

    attributes: Mapping[str, object]
    method: str
    found: object
    makers: Sequence[Maker]


class Neighbours:
    """Who else makes spans of a client's calls; looks again where the method in place has changed."""

    def __init__(self, *, matter: bool) -> None:
        """``matter``: False where nobody asks whether there are any."""
        self._matter = matter
        self._commands: dict[type, _Place] = {}
        self._batches: dict[type, _Place] = {}

    def are_absent(self, client: object, *, is_batch: bool) -> bool:
        """Whether nobody was there, and nobody has come since."""
        place = (self._batches if is_batch else self._commands).get(type(client))
        if place is None:
            return not self._matter
        attributes, method, found, makers = place
        # A single client that contrib watches has a method of its own.
        return not makers and attributes.get(method) is found and method not in client.__dict__

    def span_maker(self, client: object, *, is_batch: bool) -> str | None:
        """The package that makes the span of this client's commands, or of its batches."""
        if not self._matter:
            return None
        places = self._batches if is_batch else self._commands
        place = places.get(kind := type(client))
        if place is None or place.attributes.get(place.method) is not place.found:
            place = places[kind] = _place_of(kind, "execute" if is_batch else _at_once(kind))
        own: Mapping[str, object] = getattr(client, "__dict__", {})
        makers = _makers(own[place.method]) if place.method in own else place.makers
        return next((package for package, is_active in makers if is_active()), None)


def layers(method: object) -> Iterator[object]:
    """A method and what it wraps, outermost first."""
    for _ in range(_MAX_LAYERS):
        if method is None:
            return
        yield method
        method = getattr(method, "__wrapped__", None) or _kept_in_closure(method)


def metrics_of_redis_py() -> frozenset[str]:
    """Our metrics that redis-py makes as well now, by name."""
    groups = {group.name for config in _configurations() for group in _groups(config)}
    return frozenset(
        metric for name, found in METRICS_OF_REDIS_PY.items() if name in groups for metric in found
    )


def _at_once(kind: type) -> str:
    """The method that sends one command; that of a pipeline which watches keys passes its queue."""
    at_once = "immediate_execute_command"
    return at_once if hasattr(kind, at_once) else "execute_command"


def _place_of(kind: type, method: str) -> _Place:
    attributes = vars(next((base for base in kind.__mro__ if method in vars(base)), kind))
    found = attributes.get(method)
    return _Place(attributes, method, found, _makers(found))


def _makers(method: object) -> Sequence[Maker]:
    """Whose wrappers stand around a method."""
    makers: list[Maker] = []
    for layer in layers(method):
        function = getattr(layer, "_self_wrapper", layer)  # of wrapt
        if not isinstance(function, FunctionType):
            continue
        module = str(function.__globals__.get("__name__", ""))
        if module.startswith("opentelemetry.instrumentation."):
            makers.append(("-".join(module.split(".")[:3]), _always))
        elif module.startswith("ddtrace.contrib."):
            makers.append(("ddtrace", _ddtrace_traces))
        elif module.startswith("sentry_sdk.integrations.redis."):
            makers.append(("sentry-sdk", _sentry_traces))
    return makers


def _kept_in_closure(function: object) -> object:
    """What Sentry's wrappers wrap; they do not show it otherwise."""
    if not isinstance(function, FunctionType):
        return None
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    return next(
        (cell.cell_contents for name, cell in cells if name.startswith("old_execute")), None
    )


def _always() -> bool:
    return True


def _ddtrace_traces() -> bool:
    module = sys.modules.get("ddtrace.trace", sys.modules["ddtrace"])  # before version 3
    return bool(module.tracer.enabled)


def _sentry_traces() -> bool:
    """Not where it only collects errors, or leaves spans to OpenTelemetry."""
    client = sys.modules["sentry_sdk"].get_client()
    options: Mapping[str, object] = client.options
    return (
        client.get_integration("redis") is not None
        and sys.modules["sentry_sdk.tracing_utils"].has_tracing_enabled(options)
        and options.get("instrumenter") != "otel"
    )


def _configurations() -> list[Any]:
    """Of redis-py's metrics; collectors go on with theirs, whatever is switched later."""
    collectors = [
        getattr(sys.modules.get("redis.observability.recorder"), "_metrics_collector", None),
        getattr(
            sys.modules.get("redis.asyncio.observability.recorder"),
            "_async_metrics_collector",
            None,
        ),
    ]
    if any(collectors):
        return [collector.config for collector in collectors if collector is not None]
    providers = sys.modules.get("redis.observability.providers")
    manager = providers and providers.get_observability_instance().get_provider_manager()
    return [manager.config] if manager is not None and manager.config.is_enabled() else []


def _groups(config: Any) -> Iterator[Any]:
    kinds = cast("type[Flag]", type(config.metric_groups))
    return (group for group in kinds if group & config.metric_groups)
