"""Who is asked whether anybody listens."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from otel_redis_cache.providers import Audience


def verdicts(audience: Audience) -> tuple[bool, ...]:
    audience.look()
    return (
        audience.takes_spans,
        audience.awaits_spans,
        audience.takes_metrics,
        audience.awaits_metrics,
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which global providers were asked for; to ask may make the API load one."""
    found: list[str] = []
    for module, name in ((trace, "get_tracer_provider"), (metrics, "get_meter_provider")):
        original: Any = getattr(module, name)

        def remember(original: Any = original, name: str = name) -> Any:
            found.append(name)
            return original()

        monkeypatch.setattr(module, name, remember)
    return found


@pytest.mark.parametrize(
    ("tracers", "meters", "expected"),
    [
        pytest.param(
            SdkTracerProvider(shutdown_on_exit=False),
            SdkMeterProvider(shutdown_on_exit=False),
            (True, False, True, False),
            id="SDK",
        ),
        pytest.param(
            NoOpTracerProvider(), NoOpMeterProvider(), (False, False, False, False), id="no-op"
        ),
    ],
)
def test_a_provider_that_is_given_is_asked_alone(
    asked: list[str], tracers: TracerProvider, meters: MeterProvider, expected: tuple[bool, ...]
) -> None:
    assert verdicts(Audience(tracers, meters)) == expected
    assert asked == []


def test_without_providers_the_global_ones_are_awaited(asked: list[str]) -> None:
    assert verdicts(Audience(None, None)) == (False, True, False, True)
    assert asked == ["get_tracer_provider", "get_meter_provider"]


def test_a_provider_that_stands_in_for_the_global_one_is_awaited() -> None:
    assert verdicts(Audience(trace.get_tracer_provider(), metrics.get_meter_provider())) == (
        (False, True, False, True)
    )


def test_only_what_is_missing_is_asked_for(asked: list[str]) -> None:
    audience = Audience(None, SdkMeterProvider(shutdown_on_exit=False))

    assert verdicts(audience) == (False, True, True, False)
    assert asked == ["get_tracer_provider"]


def test_whoever_derives_a_provider_from_one_that_does_nothing_is_heard() -> None:
    class OwnTracers(NoOpTracerProvider):
        pass

    assert Audience(OwnTracers(), None).takes_spans
