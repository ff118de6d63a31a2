"""Spans of the fast path are those of the public API, with every SDK (`nox -s sdks`)."""

from __future__ import annotations

import copy
import gc
import importlib.metadata
import logging
import pickle
import random
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import pytest
import wrapt
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    StaticSampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    ProxyTracer,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from otel_redis_cache.contexts import SPAN
from otel_redis_cache.spans import Checked, FastSpans, PublicSpans, are_plain, set_plain_attributes

SCOPE = "otel_redis_cache"
VERSION = importlib.metadata.version("opentelemetry-sdk")
IS_KNOWN = not VERSION.startswith(("1.40.", "1.41.", "1.42.0"))
"""Tracers of 1.40 and 1.41 count themselves; 1.42.0 says of each trace id that it was drawn by chance."""

ELSEWHERE = SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(1))


class OwnSampler(Sampler):
    """Of an application: looks at attributes, adds one, and changes the trace state."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        self.asked.append((name, kind, dict(attributes or {})))
        state = TraceState([("own", "1")])
        return SamplingResult(
            Decision.RECORD_AND_SAMPLE, {**(attributes or {}), "sampler": "own"}, state
        )

    def get_description(self) -> str:
        return "own"


class DerivedSampler(StaticSampler):
    """Of an application: nobody knows what it will do next."""


HALF = TraceIdRatioBased(0.5)
KNOWN_SAMPLERS: dict[str, Callable[[], Sampler]] = {
    "on": lambda: ALWAYS_ON,
    "off": lambda: ALWAYS_OFF,
    "half": lambda: HALF,
    "none of them": lambda: TraceIdRatioBased(0),
    "all of them": lambda: TraceIdRatioBased(1),
    "by parent": lambda: ParentBased(ALWAYS_ON),
    "by parent, off": lambda: ParentBased(ALWAYS_OFF),
    "by parent, half": lambda: ParentBased(HALF),
    "by odd parents": lambda: ParentBased(
        ALWAYS_OFF,
        remote_parent_sampled=HALF,
        remote_parent_not_sampled=ALWAYS_ON,
        local_parent_sampled=ALWAYS_OFF,
        local_parent_not_sampled=TraceIdRatioBased(0.7),
    ),
}
OTHER_SAMPLERS: dict[str, Callable[[], Sampler]] = {
    "own": OwnSampler,
    "derived": lambda: DerivedSampler(Decision.RECORD_AND_SAMPLE),
    "record only": lambda: StaticSampler(Decision.RECORD_ONLY),
    "own root": lambda: ParentBased(OwnSampler()),
    "nested": lambda: ParentBased(ALWAYS_ON, remote_parent_sampled=ParentBased(HALF)),
}
SAMPLERS = KNOWN_SAMPLERS | OTHER_SAMPLERS

KNOWN_LIMITS: dict[str, Callable[[], SpanLimits]] = {
    "default": SpanLimits,
    "three": lambda: SpanLimits(max_span_attributes=3, max_events=1, max_links=1),
    "one": lambda: SpanLimits(max_span_attributes=1),
    "none": lambda: SpanLimits(max_span_attributes=0, max_events=0),
    "short events": lambda: SpanLimits(max_event_attributes=1),
}
OTHER_LIMITS: dict[str, Callable[[], SpanLimits]] = {
    "short": lambda: SpanLimits(max_attribute_length=9),
    "short attributes": lambda: SpanLimits(max_span_attribute_length=40),
    "unlimited": lambda: SpanLimits(max_span_attributes=SpanLimits.UNSET),
}
LIMITS = KNOWN_LIMITS | OTHER_LIMITS


def around(*args: Any) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(SpanContext(*args)), Context())


STATE = TraceState([("vendor", "x")])
PARENTS = {
    "none": Context(),
    "invalid": trace.set_span_in_context(INVALID_SPAN, Context()),
    "no span": Context({SPAN: "a span"}),
    "local": around(1, 2, False, TraceFlags(1)),
    "local, high": around(2**128 - 1, 2, False, TraceFlags(1), STATE),
    "local, not sampled": around(1, 2, False, TraceFlags(0)),
    "local, random": around(7 << 61, 2, False, TraceFlags(3)),
    "remote": around(3, 4, True, TraceFlags(1), STATE),
    "remote, not sampled": around(2**64 - 1, 4, True, TraceFlags(0), STATE),
    "remote, random": around(3, 4, True, TraceFlags(2)),
    "remote, of the future": around(3, 4, True, TraceFlags(0xFF)),
}


class Watcher(SpanProcessor):
    """Sees all that a processor can see of a span, at each turn."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.live: list[Any] = []
        self.ended: list[Any] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.live.append(span)
        self.seen.append(("start", parent_context, view(span)))

    def _on_ending(self, span: Any) -> None:
        self.seen.append(("ending", view(span)))

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)
        self.seen.append(("end", type(span), [*vars(span)], span.to_json(), view(span)))


def view(span: Any) -> dict[str, object]:
    scope, info = span.instrumentation_scope, vars(span)["_instrumentation_info"]
    return {
        "name": span.name,
        "context": tuple(span.get_span_context()),
        "parent": span.parent and tuple(span.parent),
        "kind": span.kind,
        "attributes": [(k, v, type(v)) for k, v in span.attributes.items()],
        "events": [(e.name, dict(e.attributes), e.timestamp) for e in span.events],
        "links": [(tuple(link.context), dict(link.attributes or {})) for link in span.links],
        "status": (span.status.status_code, span.status.description),
        "times": (span.start_time, span.end_time),
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "resource": dict(span.resource.attributes),
        "scope": (scope.name, scope.version, scope.schema_url, info.name, info.version),
    }


class Stage:
    """A provider whose spans are started in one of the two ways."""

    def __init__(
        self,
        sampler: Sampler = ALWAYS_ON,
        limits: SpanLimits | None = None,
        *,
        is_fast: bool = True,
        **more: Any,
    ) -> None:
        self.watcher = Watcher()
        self.provider = TracerProvider(
            sampler=sampler,
            span_limits=limits,
            resource=Resource({"service.name": "shop"}),
            shutdown_on_exit=False,
            **more,
        )
        self.provider.add_span_processor(self.watcher)
        self.tracer: Any = self.provider.get_tracer(SCOPE, "1", schema_url="https://schema")
        self.spans: Any = (FastSpans if is_fast else PublicSpans)(self.tracer)

    def start(self, name: str = "GET", attributes: Any = None, links: Sequence[Link] = ()) -> Any:
        described = {"db.operation.name": "GET"} if attributes is None else attributes
        return self.spans.start(name, SpanKind.CLIENT, lambda: described, 1_000, links)

    @property
    def is_fast(self) -> bool:
        self.start()
        return self.spans._mould is not None

    @property
    def makes_light_spans(self) -> bool:
        return hasattr(self.start(), "keep")


@contextmanager
def inside(current: Context) -> Iterator[None]:
    token = context.attach(current)
    try:
        yield
    finally:
        context.detach(token)


class Step(NamedTuple):
    """Something that happens to a span while it goes on."""

    kind: str
    number: int


VALUES: list[dict[str, Any]] = [
    {"hit": True, "size": 5, "ratio": 0.5, "text": "SET ? ? EX ? and more of it"},
    {"db.operation.name": "again"},
    {"text": "x" * 60, "size": 1},
    {},
    {"list": ("of", "texts"), "text": "short"},
]
STARTS: list[Any] = [
    Checked({"db.operation.name": "GET", "server.port": 1}),
    {"db.operation.name": "GET", "server.address": "localhost", "db.query.text": "GET ?" * 9},
    {"list": ["of", "texts"], "server.port": 1},
    {"": "no name", "nothing": None, "mixed": (1, "x"), "object": SCOPE},
    {f"n{n}": n for n in range(5)},
    {},
]


def take_step(span: Any, step: Step) -> None:
    number = step.number
    if step.kind == "plain":
        set_plain_attributes(span, VALUES[number % len(VALUES)])
    elif step.kind == "many":
        span.set_attributes({"many": [1, 2], "number": number})
    elif step.kind == "one":
        span.set_attribute("hit", number)
    elif step.kind == "event":
        span.add_event("event", {"a": number, "b": "text of an event"}, timestamp=number)
    elif step.kind == "exception":
        span.record_exception(ValueError(number), timestamp=number)
    elif step.kind == "link":
        span.add_link(ELSEWHERE, {"n": number})
    elif step.kind == "status":
        span.set_status([Status(StatusCode.ERROR), StatusCode.OK, StatusCode.ERROR][number % 3])
    elif step.kind == "name":
        span.update_name(f"name {number}")
    else:
        span.end(2_000 + number)


KINDS = ["plain", "plain", "many", "one", "event", "exception", "link", "status", "name", "end"]
STEPS = st.builds(Step, st.sampled_from(KINDS), st.integers(0, 5))


class Told(NamedTuple):
    parent: str
    start: int
    steps: list[Step]
    is_linked: bool
    inner: bool
    """Whether another span is started in it."""


TOLD = st.builds(
    Told,
    st.sampled_from(sorted(PARENTS)),
    st.integers(0, len(STARTS) - 1),
    st.lists(STEPS, max_size=5),
    st.integers(0, 9).map(lambda drawn: drawn == 9),
    st.booleans(),
)


def tell(stage: Stage, story: list[Told], seed: int) -> list[object]:
    """What is seen of the same spans, with the same ids."""
    stage.start().end(0)  # the rehearsal draws ids of its own
    for seen in (stage.watcher.seen, stage.watcher.live, stage.watcher.ended):
        seen.clear()
    random.seed(seed)
    for told in story:
        with inside(PARENTS[told.parent]):
            links = [Link(ELSEWHERE, {"a": 1})] if told.is_linked else []
            span = stage.start("GET", STARTS[told.start], links)
        stage.watcher.seen.append((type(span) is NonRecordingSpan, span.get_span_context()))
        for step in told.steps:
            take_step(span, step)
        if told.inner:
            with inside(trace.set_span_in_context(span, Context())):
                stage.start("inner", STARTS[0]).end(1_500)
        span.end(3_000)
    return [*stage.watcher.seen, *map(view, stage.watcher.live), *map(view, stage.watcher.ended)]


@pytest.fixture(autouse=True)
def _no_word_about_each_wrong_value() -> Iterator[None]:
    loggers = [logging.getLogger(f"opentelemetry.{name}") for name in ("sdk.trace", "attributes")]
    for logger in loggers:
        logger.disabled = True
    state = random.getstate()
    yield
    random.setstate(state)
    for logger in loggers:
        logger.disabled = False


def test_any_story_makes_the_same_spans() -> None:
    light = 0

    @given(
        sampler=st.sampled_from(sorted(SAMPLERS)) | st.sampled_from(["on", "by parent, half"]),
        limits=st.sampled_from(sorted(LIMITS)) | st.just("default"),
        story=st.lists(TOLD, min_size=1, max_size=4),
        seed=st.integers(0, 2**32),
    )
    @settings(max_examples=400, deadline=None)
    def check(sampler: str, limits: str, story: list[Told], seed: int) -> None:
        nonlocal light
        fast, public = (
            Stage(SAMPLERS[sampler](), LIMITS[limits](), is_fast=is_fast)
            for is_fast in (True, False)
        )

        assert tell(fast, story, seed) == tell(public, story, seed)
        light += sum(hasattr(span, "keep") for span in fast.watcher.live)

    check()
    assert (light > 300) is IS_KNOWN


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_it_is_fast_with_the_samplers_of_the_sdk_and_with_no_others(sampler: str) -> None:
    assert Stage(SAMPLERS[sampler]()).is_fast is (IS_KNOWN and sampler in KNOWN_SAMPLERS)


@pytest.mark.parametrize("limits", sorted(LIMITS))
def test_it_is_fast_where_no_text_is_cut(limits: str) -> None:
    assert Stage(limits=LIMITS[limits]()).is_fast is (IS_KNOWN and limits in KNOWN_LIMITS)


def test_a_text_that_is_too_long_is_cut() -> None:
    stage = Stage(limits=SpanLimits(max_attribute_length=20))
    span = stage.start(attributes={"db.query.text": "x" * 100})
    set_plain_attributes(span, {"cache.key": "y" * 100})

    assert dict(span.attributes) == {"db.query.text": "x" * 20, "cache.key": "y" * 20}


def test_a_sampler_of_an_application_is_asked_with_all_attributes() -> None:
    sampler = OwnSampler()
    stage = Stage(sampler)
    span = stage.start("SET", Checked({"db.operation.name": "SET"}))

    assert sampler.asked == [("SET", SpanKind.CLIENT, {"db.operation.name": "SET"})]
    assert span.attributes["sampler"] == "own"
    assert span.get_span_context().trace_state == {"own": "1"}


@pytest.mark.parametrize("start", [0, 2])
def test_a_span_is_drawn_and_sampled_once(start: int) -> None:
    """Whatever its attributes are: what is drawn again would be sampled a second time."""
    stage = Stage(HALF)
    random.seed(1)
    for _ in range(2_000):
        with inside(Context()):
            stage.start(attributes=STARTS[start])

    assert 900 < len(stage.watcher.live) < 1_100


def test_attributes_are_not_asked_for_where_a_span_is_not_sampled() -> None:
    stage = Stage(ALWAYS_OFF)
    asked: list[int] = []

    def describe() -> dict[str, Any]:
        asked.append(1)
        return {}

    for _ in range(2):
        stage.spans.start("GET", SpanKind.CLIENT, describe, 1)

    assert len(asked) == (0 if IS_KNOWN else 2)


def test_a_remembered_set_of_attributes_is_not_the_spans_own() -> None:
    remembered = Checked({"db.operation.name": "GET"})
    stage = Stage()
    span = stage.start(attributes=remembered)
    set_plain_attributes(span, {"hit": True})
    span.set_attribute("db.operation.name", "changed")

    assert remembered == {"db.operation.name": "GET"}
    assert stage.start(attributes=remembered).attributes == remembered


class CountedIds(RandomIdGenerator):
    """As one that makes ids in which a backend finds the time."""

    def __init__(self) -> None:
        self.made = 0

    def generate_trace_id(self) -> int:
        self.made += 1
        return self.made

    generate_span_id = generate_trace_id


def test_ids_come_from_the_generator_of_the_application() -> None:
    stage = Stage(id_generator=CountedIds())
    with inside(Context()):
        contexts = [stage.start().get_span_context() for _ in range(2)]

    assert [(it.trace_id, it.span_id) for it in contexts] == [(1, 2), (3, 4)]


def test_ids_come_from_a_generator_that_somebody_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RandomIdGenerator, "generate_span_id", lambda _: 17)

    assert Stage().start().get_span_context().span_id == 17


def test_a_generator_that_comes_later_is_asked() -> None:
    stage = Stage()
    stage.start()
    stage.tracer.id_generator = CountedIds()

    assert stage.start().get_span_context().span_id <= 2


def count_calls(counted: list[str]) -> Any:
    @wrapt.decorator
    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        counted.append(wrapped.__name__)
        return wrapped(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize("is_before", [True, False])
def test_a_tracer_that_somebody_has_wrapped_is_called(
    monkeypatch: pytest.MonkeyPatch, *, is_before: bool
) -> None:
    counted: list[str] = []
    stage = Stage()
    if not is_before:
        stage.start()
    monkeypatch.setattr(Tracer, "start_span", count_calls(counted)(Tracer.start_span))
    stage.start()

    assert counted == ["start_span"]


def test_a_single_tracer_that_somebody_has_wrapped_is_called() -> None:
    counted: list[str] = []
    stage = Stage()
    stage.start()
    stage.tracer.start_span = count_calls(counted)(stage.tracer.start_span)
    stage.start()

    assert counted == ["start_span"]


@pytest.mark.parametrize("method", ["start", "end", "_readable_span", "set_attributes"])
def test_spans_that_somebody_has_wrapped_are_called(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    from opentelemetry.sdk.trace import Span

    counted: list[str] = []
    monkeypatch.setattr(Span, method, count_calls(counted)(getattr(Span, method)))
    stage = Stage()
    stage.start().end()
    counted.clear()  # of the rehearsal
    span = stage.start()
    set_plain_attributes(span, {"hit": True})
    span.end()

    assert counted == [method]


def test_what_an_application_made_of_our_class_of_tracers_goes_its_own_way() -> None:
    class OwnTracer(Tracer):
        pass

    stage = Stage()
    stage.tracer.__class__ = OwnTracer

    assert not stage.is_fast


def test_a_sampler_that_comes_later_is_asked() -> None:
    stage = Stage()
    stage.start()
    stage.tracer.sampler = ALWAYS_OFF
    assert type(stage.start()) is NonRecordingSpan
    stage.tracer.sampler = OwnSampler()

    assert stage.start().attributes["sampler"] == "own"


def test_a_processor_that_comes_later_sees_spans() -> None:
    stage = Stage()
    stage.start().end()
    later = Watcher()
    stage.provider.add_span_processor(later)
    stage.start().end()

    assert (len(later.live), len(later.ended)) == (1, 1)


def test_a_provider_that_is_set_later_gets_the_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    stage = Stage()
    stage.spans = FastSpans(ProxyTracer(SCOPE))
    stage.start()
    assert stage.watcher.live == []
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", stage.provider)

    assert stage.makes_light_spans is IS_KNOWN
    assert len(stage.watcher.live) == 1


def test_a_tracer_that_is_switched_off_starts_none_until_it_is_switched_on() -> None:
    stage = Stage()
    switch = getattr(stage.provider, "_set_tracer_configurator", None)
    if switch is None:
        return  # before 1.40
    from opentelemetry.sdk.trace import _default_tracer_configurator as on
    from opentelemetry.sdk.trace import _disable_tracer_configurator as off

    started = []
    for configurator in (on, off, on):
        switch(tracer_configurator=configurator)
        started.append(stage.start().is_recording())

    assert started == [True, False, True]


def test_a_provider_that_is_off_makes_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")

    assert not Stage().start().is_recording()


def test_no_more_than_what_is_current_is_the_parent_after_a_rehearsal() -> None:
    with inside(PARENTS["local"]):
        before = context.get_current()
        stage = Stage()
        stage.start()
        assert context.get_current() is before
        assert len(stage.watcher.live) == 1


def test_threads_make_spans_of_their_own() -> None:
    stage = Stage()
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        for number in range(300):
            span = stage.start()
            set_plain_attributes(span, {"number": number})
            span.end()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(stage.watcher.ended) == 1_200
    assert len({span.context.span_id for span in stage.watcher.ended}) == 1_200
    numbers = sorted(span.attributes["number"] for span in stage.watcher.ended)
    assert numbers == sorted(4 * [*range(300)])


def test_threads_that_write_to_one_span_lose_nothing() -> None:
    span = Stage().start()

    def work(letter: str) -> None:
        for number in range(30):
            set_plain_attributes(span, {f"{letter}{number}": number})
            span.add_event(letter)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert (len(span.attributes), len(span.events)) == (91, 90)


def outcome(attempt: Callable[[], Any]) -> object:
    try:
        return view(attempt())
    except Exception as fault:
        return type(fault)


def test_an_ended_span_can_be_copied_as_that_of_the_sdk_can() -> None:
    results: list[list[object]] = []
    for is_fast in (True, False):
        stage = Stage(is_fast=is_fast)
        with inside(PARENTS["local"]):
            random.seed(3)
            stage.start().end(5)
            random.seed(3)
            stage.start().end(5)
        ended = stage.watcher.ended[-1]
        results.append(
            [
                outcome(lambda ended=ended: copy.copy(ended)),
                outcome(lambda ended=ended: copy.deepcopy(ended)),
                outcome(lambda ended=ended: pickle.loads(pickle.dumps(ended))),
                outcome(lambda live=stage.watcher.live[-1]: copy.deepcopy(live)),
                repr(ended)[:14],
                repr(stage.watcher.live[-1]),
            ]
        )

    assert results[0] == results[1]


def bytes_of_an_ended_span(*, is_fast: bool) -> float:
    class Keeper(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            ended.append(span)

    ended: list[ReadableSpan] = []
    stage = Stage(is_fast=is_fast)
    stage.start().end(5)
    stage.tracer.span_processor = Keeper()
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(500):
            stage.start().end(5)
        return tracemalloc.get_traced_memory()[0] / len(ended)
    finally:
        tracemalloc.stop()


def test_an_ended_span_takes_no_more_memory_than_that_of_the_sdk() -> None:
    light, public = (bytes_of_an_ended_span(is_fast=is_fast) for is_fast in (True, False))

    assert light < (0.7 if IS_KNOWN else 1.1) * public


def test_a_span_that_has_ended_is_gone_when_nobody_holds_it() -> None:
    stage = Stage()
    stage.start().end()
    span = stage.start()
    span.end()
    gone = weakref.ref(span)
    stage.watcher.live.clear()
    gc.disable()
    try:
        del span
        assert gone() is None
    finally:
        gc.enable()
    assert len(stage.watcher.ended) == 2


def test_a_tracer_is_gone_when_nobody_uses_it() -> None:
    stage = Stage()
    stage.start().end()
    gone = weakref.ref(stage.tracer)
    del stage
    gc.collect()

    assert gone() is None


@pytest.mark.parametrize(
    ("attributes", "plain"),
    [
        ({"text": "x", "size": 1, "hit": True, "ratio": 0.5}, True),
        ({}, True),
        ({"": 1}, False),
        ({1: 1}, False),
        ({"list": ("a",)}, False),
        ({"nothing": None}, False),
        ({"bytes": b"x"}, False),
        ({"status": StatusCode.OK}, False),
    ],
)
def test_plain_is_what_the_sdk_takes_as_it_is(attributes: Any, plain: bool) -> None:
    assert are_plain(cast("dict[str, object]", attributes)) is plain
