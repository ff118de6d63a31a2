"""A leak is found wherever it is: each is planted, and shows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.trace import Span, Status, StatusCode

from otel_redis_cache import RedisCacheInstrumentor, descriptions
from tests.privacy.marks import DISGUISES, leaks, mark, marks_in
from tests.real.servers import RedisServer
from tests.recording import Recording, made

KEY = f"user:{mark('key')}"
TOLD = [mark("key").lower()]


class WithoutAttributes(Recording):
    """Attributes of metrics are left to exemplars."""

    def __init__(self) -> None:
        super().__init__()
        made.remove(self)
        self._reader = InMemoryMetricReader()
        views = [View(instrument_name="planted", attribute_keys=set())]
        self.meter_provider = MeterProvider([self._reader], views=views, shutdown_on_exit=False)


@pytest.fixture
def recording() -> Iterator[WithoutAttributes]:
    yield WithoutAttributes()
    RedisCacheInstrumentor().uninstrument()


@pytest.fixture
def client(valkey_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey_server.port) as client:
        yield client


def found_in(recording: Recording, caplog: pytest.LogCaptureFixture) -> list[str]:
    return [found.lower() for found in leaks(recording, caplog)]


Plant = Callable[[Span, Any], object]


@pytest.mark.parametrize(
    "plant",
    [
        lambda span, key: span.set_attribute("color", key),
        lambda span, key: span.set_attribute("colors", ("red", key.upper())),
        lambda span, key: span.set_attribute(key, "red"),
        lambda span, key: span.update_name(key),
        lambda span, key: span.add_event(key),
        lambda span, key: span.add_event("color", {"is": key}),
        lambda span, key: span.record_exception(ValueError(key)),
        lambda span, key: span.set_status(Status(StatusCode.ERROR, key)),
        lambda span, key: span.add_link(span.get_span_context(), {"color": key}),
        lambda _, key: logging.getLogger("otel_redis_cache").info("a key: %s", key),
    ],
)
def test_a_leak_is_found_in_spans_and_logs(
    client: redis.Redis,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    plant: Plant,
) -> None:
    caplog.set_level(logging.DEBUG)
    recording.instrument(request_hook=lambda span, _, args, __: plant(span, args[1]))
    client.get(KEY)

    assert found_in(recording, caplog) == TOLD


@pytest.mark.parametrize(
    "plant",
    [
        lambda meter: meter.create_counter("color").add(1, {"is": KEY}),
        lambda meter: meter.create_counter(mark("key")).add(1),
        lambda meter: meter.create_counter("color", unit=mark("key")).add(1),
        lambda meter: meter.create_histogram("planted").record(1, {"is": KEY}),
    ],
)
def test_a_leak_is_found_in_metrics_and_exemplars(
    recording: Recording, caplog: pytest.LogCaptureFixture, plant: Callable[[Meter], object]
) -> None:
    with recording.tracer.start_as_current_span("request"):
        plant(recording.meter_provider.get_meter("application"))

    assert found_in(recording, caplog) == TOLD


def test_a_leak_of_our_own_is_found(
    client: redis.Redis,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_start = descriptions.Descriptions.at_start

    def careless(self: Any, target: Any, operation: str, commands: Any) -> dict[str, Any]:
        described = at_start(self, target, operation, commands)
        return {**described, "db.query.text": f"{operation} {commands[0].operands[0]}"}

    monkeypatch.setattr(descriptions.Descriptions, "at_start", careless)
    recording.instrument()
    client.get(KEY)

    assert found_in(recording, caplog) == TOLD


@pytest.mark.parametrize("form", DISGUISES)
def test_every_form_of_a_mark_is_found(form: str) -> None:
    assert marks_in(f'{{"color": "{DISGUISES[form]("key")}"}}')
