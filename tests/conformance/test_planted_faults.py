"""A test whose telemetry is not as the registry says fails: each kind of fault is made, and found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from otel_redis_cache import RedisCacheInstrumentor, conventions, descriptions
from tests.real.servers import RedisServer
from tests.recording import SCOPE, Recording, made

ROOT = Path(__file__).parents[2]


@pytest.fixture
def faulty() -> Iterator[Recording]:
    """A recording that is looked at by the test alone."""
    recording = Recording()
    made.remove(recording)
    yield recording
    RedisCacheInstrumentor().uninstrument()


@pytest.fixture
def call(valkey_server: RedisServer) -> Iterator[Callable[[], object]]:
    with redis.Redis(host=valkey_server.host, port=valkey_server.port) as client:
        yield lambda: client.set("user:1", "x", ex=60)


Change = Callable[[Span], object]

WITH_WORDS = {
    "db.query.text": ("SET user:1 ? EX ?", "GET ?; GET user:1", "SET ? ? ex ?", "GET SET"),
    "redis.batch.failed.operation": ("user:1", "get user", "PIPELINE user:1"),
    "db.stored_procedure.name": ("return 1", "user:1"),
    "db.namespace": ("user",),
    "db.response.status_code": ("WRONGTYPE user:1",),
    "error.type": ("user:1", "ERR user"),
    "network.peer.address": ("user:1",),
    "cache.name": ("user:1", "user1234", "deadbeef", "me@example.com", "4711"),
}


def set_to(name: str, text: str) -> Change:
    return lambda span: span.set_attribute(name, text)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda span: span.set_attribute("color", "red"), "color is not in the registry"),
        (lambda span: span.set_attribute("db.system", "redis"), "db.system is not in the registry"),
        (lambda span: span.set_attribute("redis.client.retry.count", "2"), "'2', and no int"),
        (lambda span: span.set_attribute("redis.client.retry.count", True), "True, and no int"),
        (lambda span: span.set_attribute("cache.ttl", 60), "cache.ttl is 60, and no double"),
        (lambda span: span.set_attribute("db.system.name", "mysql"), "none of redis, valkey"),
        (lambda span: span.set_attribute("db.namespace", "7"), "db.namespace is not as it was at"),
        (lambda span: span.set_attribute("cache.key", ["user:{}"]), "opted into by key_attribute"),
        (lambda span: span.set_status(Status(StatusCode.ERROR)), "error.type is missing"),
        (lambda span: span.set_attribute("error.type", "OOM"), "error.type is there, against"),
        (lambda span: span.set_attribute("cache.hits", 2), "cache.misses is missing"),
        (lambda span: span.update_name("SET user:1"), "its name is not that of its kind"),
        (lambda span: span.add_event("color"), "there is the event 'color' on it"),
        (
            lambda span: span.set_status(Status(StatusCode.ERROR, "user:1")),
            "there is the description 'user:1' on it",
        ),
        (
            lambda span: span.add_link(span.get_span_context(), {"key": "user:1"}),
            "there is a link with {'key': 'user:1'} on it",
        ),
        *(
            (set_to(name, text), f"{name} is {text!r}, which may have a word of the application's")
            for name, texts in WITH_WORDS.items()
            for text in texts
        ),
    ],
)
def test_a_span_that_differs_is_found(
    faulty: Recording, call: Callable[[], object], change: Change, finding: str
) -> None:
    faulty.instrument(response_hook=lambda span, *_: change(span))
    call()

    found = faulty.findings()
    assert all(each.startswith("span SET") for each in found)
    assert finding in found[0]


def test_a_required_attribute_that_is_missing_is_found(
    faulty: Recording, call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_start = descriptions.Descriptions.at_start

    def forgetful(*given: Any) -> dict[str, Any]:
        return {k: v for k, v in at_start(*given).items() if k != conventions.DB_SYSTEM_NAME}

    monkeypatch.setattr(descriptions.Descriptions, "at_start", forgetful)
    faulty.instrument()
    call()

    assert faulty.findings() == ["span SET: db.system.name is missing"]


@pytest.mark.parametrize(
    ("kind", "name"), [(SpanKind.PRODUCER, "publish"), (SpanKind.SERVER, "GET")]
)
def test_a_span_of_another_kind_is_found(faulty: Recording, kind: SpanKind, name: str) -> None:
    tracer = faulty.tracer_provider.get_tracer(SCOPE, schema_url=conventions.SCHEMA_URL)
    tracer.start_span(name, kind=kind).end()

    assert faulty.findings() == [f"span {name}: there is no span of kind {kind.name.lower()}"]


def test_a_scope_without_the_schema_is_found(faulty: Recording) -> None:
    tracer = faulty.tracer_provider.get_tracer(SCOPE)
    tracer.start_span("process", kind=SpanKind.CONSUMER).end()

    assert "scope otel_redis_cache: the schema is ''" in faulty.findings()


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"unit": "ms"}, "its unit is 'ms', not 's'"),
        ({"description": "How long."}, "its description is 'How long.', not 'Duration of"),
        ({"name": "db.client.calls"}, "it is not in the registry"),
    ],
)
def test_a_metric_that_differs_is_found(
    faulty: Recording,
    call: Callable[[], object],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    finding: str,
) -> None:
    meter = type(faulty.meter_provider.get_meter(SCOPE))
    create = meter.create_histogram

    def other(self: Any, name: str, unit: str, description: str, **options: Any) -> Any:
        given = {"name": name, "unit": unit, "description": description}
        is_it = name == conventions.OPERATION_DURATION.name
        return create(self, **(given | change if is_it else given), **options)

    monkeypatch.setattr(meter, "create_histogram", other)
    faulty.instrument()
    call()

    (found,) = faulty.findings()
    assert finding in found


@pytest.mark.parametrize(
    ("make", "finding"),
    [
        (lambda meter: meter.create_up_down_counter, "it is a updowncounter, not a counter"),
        (lambda meter: meter.create_counter, None),
    ],
)
def test_another_instrument_is_found(
    faulty: Recording, make: Callable[[Any], Any], finding: str | None
) -> None:
    row = conventions.OWN_ERRORS
    meter = faulty.meter_provider.get_meter(SCOPE, schema_url=conventions.SCHEMA_URL)
    make(meter)(row.name, row.unit, row.description).add(1, {conventions.STEP: "watch"})

    assert faulty.findings() == ([f"metric {row.name}: {finding}"] if finding else [])


@pytest.mark.parametrize(
    ("attributes", "value", "finding"),
    [
        ({"otel_redis_cache.step": "dance"}, 1, "otel_redis_cache.step is 'dance', and none of"),
        ({}, 1, "otel_redis_cache.step is missing"),
        ({"otel_redis_cache.step": "watch", "key": "user:1"}, 1, "key is not in the registry"),
        ({"otel_redis_cache.step": "watch"}, 1.5, "a value is a float, and no int"),
    ],
)
def test_a_point_that_differs_is_found(
    faulty: Recording, attributes: dict[str, str], value: float, finding: str
) -> None:
    row = conventions.OWN_ERRORS
    meter = faulty.meter_provider.get_meter(SCOPE, schema_url=conventions.SCHEMA_URL)
    meter.create_counter(row.name, row.unit, row.description).add(value, attributes)

    (found,) = faulty.findings()
    assert finding in found


@pytest.mark.parametrize("asked", [True, False])
def test_what_nobody_asked_for_is_found(
    faulty: Recording, call: Callable[[], object], asked: bool
) -> None:
    RedisCacheInstrumentor().instrument(
        **faulty.providers, metrics="default,size", duration_by_cache=True
    )
    if asked:
        faulty.opt_in(metrics="default,size", duration_by_cache=True)
    call()
    found = "\n".join(faulty.findings())

    assert ("nobody asked for it: it is opted into by size" in found) is not asked
    assert ("nobody asked for cache.name: it is opted into by duration_by_cache" in found) is (
        not asked
    )
    assert bool(found) is not asked


def test_what_was_taken_before_the_end_is_found(
    faulty: Recording, call: Callable[[], object]
) -> None:
    faulty.instrument(response_hook=lambda span, *_: span.set_attribute("color", "red"))
    call()
    faulty.take()

    assert faulty.findings() == ["span SET: color is not in the registry"]


TEA = f"""
from opentelemetry.trace import SpanKind
from tests.recording import Recording

def test_tea():
    tracer = Recording().tracer_provider.get_tracer({SCOPE!r}, schema_url={conventions.SCHEMA_URL!r})
    tracer.start_span("tea", kind=SpanKind.PRODUCER).end()
"""
FINDING = "span tea: there is no span of kind producer"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_such_a_test_fails_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "test_tea.py").write_text(TEA, encoding="utf-8")
    ran = run("-m", "pytest", "-p", "tests.recording", "-p", "no:ddtrace", tmp_path)

    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 passed, 1 error" in ran.stdout
    assert FINDING in ran.stdout


def test_a_program_of_a_test_ends_badly_and_says_why() -> None:
    ran = run("-c", f"{TEA}\ntest_tea(); print('tea')")

    assert ran.returncode == 70
    assert ran.stdout == "tea\n"
    assert FINDING in ran.stderr
