"""Spans that the SDK would make the same, with less of what it does for each.

``Tracer.start_span`` checks, cleans and copies each attribute, asks its sampler through results that it
makes anew, and makes lists for events and links that stay empty. Here the same span is made out of what
is at hand. Its tracer's sampler, limits and processors hold as ever, and whatever is done to it on its
way is done by the SDK's own methods.

This file alone knows those insides, and trusts them only after a rehearsal: spans of the public API
and spans made here have to be the same, field by field. Whatever is not as expected goes through the
public API: tracers, samplers, limits and attributes that we do not know, and spans with links.

Source: ``opentelemetry.sdk.trace`` of the versions 1.36 to 1.45.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from random import getrandbits
from threading import Lock, RLock
from typing import Any, Protocol, cast

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    ProxyTracer,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
)

from otel_redis_cache import contexts
from otel_redis_cache.signals import raised_by_handler

logger = logging.getLogger("otel_redis_cache")

Attributes = Mapping[str, str | bool | int | float | Sequence[str]]


class Checked(dict[str, str | int | float | bool | tuple[str, ...]]):
    """Attributes of which it is known that the SDK takes them as they are."""


Describe = Callable[[], Attributes]
"""Gives the attributes that a span starts with; not asked where nobody looks at them."""


class Spans(Protocol):
    """Starts spans."""

    def start(
        self,
        name: str,
        kind: SpanKind,
        describe: Describe,
        start_time: int,
        links: Sequence[Link] = (),
    ) -> Span:
        """Start a span in the current context; an exception is no event of it."""
        ...


class PublicSpans:
    """Starts spans through the public API."""

    def __init__(self, tracer: Tracer) -> None:
        """Any tracer."""
        self._tracer = tracer

    def start(
        self,
        name: str,
        kind: SpanKind,
        describe: Describe,
        start_time: int,
        links: Sequence[Link] = (),
    ) -> Span:
        """See :class:`Spans`."""
        return self._tracer.start_span(
            name,
            kind=kind,
            attributes=dict(describe()),
            links=links,
            start_time=start_time,
            record_exception=False,
            set_status_on_exception=False,
        )


class FastSpans:
    """Starts the same spans with less, where the tracer is one that we know."""

    def __init__(self, tracer: Tracer) -> None:
        """Any tracer; one that is not the SDK's goes through the public API."""
        self._tracer = tracer
        self._public = PublicSpans(tracer)
        self._mould: _Mould | None = None
        self._refused: object = None
        """The tracer of the SDK that this was tried with in vain, and its sampler."""

    def start(
        self,
        name: str,
        kind: SpanKind,
        describe: Describe,
        start_time: int,
        links: Sequence[Link] = (),
    ) -> Span:
        """See :class:`Spans`."""
        mould = self._mould
        if mould is None or not mould.fits():
            mould = self._mould = self._new_mould()
        if mould is not None and not links:
            span = mould.start(name, kind, describe, start_time)
            if span is not None:
                return span
        return self._public.start(name, kind, describe, start_time, links)

    def _new_mould(self) -> _Mould | None:
        tracer: Any = self._tracer
        if type(tracer) is ProxyTracer:  # made before a provider was set
            tracer = getattr(tracer, "_tracer", None)
        seen = (tracer, getattr(tracer, "sampler", None))
        if seen == self._refused:
            return None
        mould = _mould_of(tracer)
        self._refused = None if mould is not None else seen
        return mould


_LIMIT = 2**64 - 1
"""The bits of a trace id that the SDK's samplers look at."""

_STRINGS, _PLAIN = frozenset({str}), frozenset({str, bool, int, float})
"""The types that the SDK takes as they are."""

_FLAGS = tuple(map(TraceFlags, range(4)))
_RANDOM = 2
"""The flag of a trace whose id was drawn by chance, which newer SDKs set and pass on."""

_new: Callable[[Any], Any] = object.__new__
_new_context: Callable[[type[SpanContext], tuple[object, ...]], SpanContext] = cast(
    "Any", tuple
).__new__


class _Mould:
    """What all spans of one tracer have in common, as a span that the SDK made shows it."""

    def __init__(self, tracer: Any) -> None:
        """Look at a tracer of the SDK, and at a span of another one like it.

        Raises:
            Exception: of any kind, for a tracer that is not as expected.
        """
        self._tracer = tracer
        self._sampler, self._ids = tracer.sampler, tracer.id_generator
        self._class_of_tracer: Any = type(tracer)
        self._start_span: object = self._class_of_tracer.start_span
        self._is_enabled: Callable[[], bool] = getattr(tracer, "_is_enabled", _yes)
        self._bounds = _bounds_of(tracer.sampler)
        span, snapshot = _a_span_like_those_of(tracer)
        span_class: Any = span.__class__
        _check_class(span_class, "__init__", "start", "set_attributes", "_readable_span")
        _check_class(snapshot.__class__, "__init__")
        own = cast("dict[str, Any]", span.__dict__)
        context: SpanContext = span.get_span_context()
        self._state: TraceState = context.trace_state
        self._random: int = context.trace_flags & _RANDOM
        own_parts = {
            "__module__": span_class.__module__,
            "new_snapshot": staticmethod(_Snapshots(snapshot).of),
        }
        self._class: Any = type(span_class.__name__, (_LightSpan, span_class), own_parts)
        self._fields: dict[str, object] = {
            name: own[name] for name in own.keys() - {"_events", "_links"}
        } | {
            "_sampler": tracer.sampler,
            "_limits": tracer._span_limits,
            "_instrumentation_info": tracer.instrumentation_info,
            "_instrumentation_scope": tracer._instrumentation_scope,
        }
        attributes = own["_attributes"]
        if attributes.maxlen is None or attributes.max_value_len is not None:
            raise LookupError("limits")  # texts would have to be cut
        self._attributes_class: Any = attributes.__class__
        self._attributes_fields = cast("dict[str, object]", attributes.__dict__)
        self._at_most: int = attributes.maxlen
        self._new_lock = Lock if isinstance(attributes._lock, type(Lock())) else RLock

    def fits(self) -> bool:
        """Whether the tracer still is as it was looked at."""
        tracer = self._tracer
        return (
            tracer.sampler is self._sampler
            and tracer.id_generator is self._ids
            and self._class_of_tracer.start_span is self._start_span
            and "start_span" not in vars(tracer)
        )

    def start(self, name: str, kind: SpanKind, describe: Describe, start_time: int) -> Span | None:
        """A span that has started; None where the public API has to make it."""
        around = contexts.current().get(contexts.SPAN)
        context_of = getattr(around, "get_span_context", None)
        parent: Any = None if context_of is None else context_of()
        if not self._is_enabled() or (parent is not None and type(parent) is not SpanContext):
            return None
        if parent is None or not parent.is_valid:
            parent, bound = None, self._bounds[0]
            trace_id, state, random = getrandbits(128) or 1, self._state, self._random
        else:
            trace_id, _, is_remote, flags, state, _ = parent
            bound = self._bounds[1 + 2 * is_remote + (flags & 1)]
            random = flags & self._random
        is_sampled = trace_id & _LIMIT < bound
        context = _new_context(
            SpanContext,
            (trace_id, getrandbits(64) or 1, False, _FLAGS[random + is_sampled], state, True),
        )
        if not is_sampled:
            return NonRecordingSpan(context)
        # From here on it is this span, or none: drawn anew, it would be sampled a second time.
        attributes = describe()
        is_checked = type(attributes) is Checked or are_plain(attributes)
        if is_checked and len(attributes) <= self._at_most:
            kept = _new(self._attributes_class)
            kept.__dict__ = fields = self._attributes_fields.copy()
            fields["_dict"], fields["_lock"] = dict(attributes), self._new_lock()
        else:
            kept = self._attributes_class(self._at_most, attributes, immutable=False)
        tracer, span = self._tracer, _new(self._class)
        span.__dict__ = fields = self._fields.copy()
        fields["_name"], fields["_kind"] = name, kind
        fields["_context"], fields["_parent"] = context, parent
        fields["_attributes"], fields["_resource"] = kept, tracer.resource
        fields["_span_processor"] = processor = tracer.span_processor
        fields["_lock"], fields["_start_time"] = Lock(), start_time
        processor.on_start(span, parent_context=None)
        return cast("Span", span)


def set_plain_attributes(span: Span, attributes: Mapping[str, object]) -> None:
    """Set attributes of which it is known that the SDK takes them as they are."""
    if isinstance(span, _LightSpan):
        span.keep(attributes)
    else:
        span.set_attributes(cast("Any", attributes))


def are_plain(attributes: Mapping[str, object]) -> bool:
    """Whether the SDK takes these attributes as they are."""
    return (
        _STRINGS.issuperset(map(type, attributes))
        and _PLAIN.issuperset(map(type, attributes.values()))
        and "" not in attributes
    )


class _Empty:
    """A list of a span that is made when it is asked for: few spans have an event, or a link."""

    def __init__(self, make: Callable[[Any], object]) -> None:
        """``make`` makes it."""
        self._make = make

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, span: Any, _: type) -> object:
        # From now on the span has one of its own, and this is not asked again.
        return span.__dict__.setdefault(self._name, self._make(span))


class _LightSpan:
    """What is lighter than in the SDK's class of spans, which this stands before."""

    _events = _Empty(lambda span: span._new_events())
    _links = _Empty(lambda span: span._new_links(()))
    new_snapshot: Callable[[dict[str, object]], object]
    set_attributes: Callable[[Mapping[str, object]], None]

    def keep(self, attributes: Mapping[str, object]) -> None:
        """Set attributes; those that are plain, and new, need no cleaning."""
        own: dict[str, Any] = self.__dict__
        kept = own["_attributes"]
        known: dict[str, object] = kept._dict
        if (
            own["_end_time"] is None
            and len(attributes) + len(known) <= kept.maxlen
            and known.keys().isdisjoint(attributes)
        ):
            known.update(attributes)
        else:
            self.set_attributes(attributes)

    def _readable_span(self) -> object:
        own = self.__dict__
        own.setdefault("_events", ())
        own.setdefault("_links", ())
        return self.new_snapshot(own)


class _Snapshots:
    """Makes of a span that has ended what exporters are given."""

    def __init__(self, snapshot: object) -> None:
        """Like one that the SDK has made."""
        self._class = type(snapshot)
        self._names = tuple(vars(snapshot))
        self._values_of: Callable[[Mapping[str, object]], tuple[object, ...]]
        self._values_of = itemgetter(*self._names)

    def of(self, own: dict[str, object]) -> object:
        """The fields of a span, as they are now."""
        made = _new(self._class)
        made.__dict__ = dict(zip(self._names, self._values_of(own), strict=False))
        return made


def _yes() -> bool:
    return True


def _bounds_of(sampler: Any) -> tuple[int, ...]:
    """Below which trace ids a span is sampled.

    That is a root, a child of a local parent that is not sampled, of one that is, and the same for
    remote parents.

    Raises:
        LookupError: for a sampler that is not one of the SDK's own, or looks at more than the id.
    """
    from opentelemetry.sdk.trace.sampling import ParentBased

    if _way_of(sampler) is not ParentBased.should_sample:
        return (_bound_of(sampler),) * 5
    return (
        _bound_of(sampler._root),
        _bound_of(sampler._local_parent_not_sampled),
        _bound_of(sampler._local_parent_sampled),
        _bound_of(sampler._remote_parent_not_sampled),
        _bound_of(sampler._remote_parent_sampled),
    )


def _bound_of(sampler: Any) -> int:
    from opentelemetry.sdk.trace.sampling import Decision, StaticSampler, TraceIdRatioBased

    if _way_of(sampler) is TraceIdRatioBased.should_sample:
        return cast("int", sampler.bound)
    if _way_of(sampler) is StaticSampler.should_sample:
        return {Decision.DROP: 0, Decision.RECORD_AND_SAMPLE: _LIMIT + 1}[sampler._decision]
    raise LookupError(type(sampler).__qualname__)


def _way_of(sampler: object) -> object:
    """How a sampler decides, where it is one of the SDK's, as the SDK has it."""
    way = getattr(type(sampler), "should_sample", None)
    is_own = "should_sample" not in vars(sampler) and _is_of_sdk(type(sampler))
    return way if is_own and _is_of_sdk(way) else None


def _is_of_sdk(part: Any) -> bool:
    """Whether this class or function is the SDK's, and nobody has wrapped it."""
    return part.__module__.startswith("opentelemetry.sdk.") and not hasattr(part, "__wrapped__")


def _check_class(owner: type, *methods: str) -> None:
    """Refuse a class in which somebody has put methods of their own, which would not be called.

    Raises:
        LookupError: for such a class.
    """
    for method in methods:
        if not _is_of_sdk(getattr(owner, method)):
            raise LookupError(f"{owner.__qualname__}.{method}")


def _check_ids(generator: Any) -> None:
    """Refuse ids that are not drawn by chance: an application may have a generator of its own.

    Raises:
        LookupError: for such a generator.
    """
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    if type(generator) is not RandomIdGenerator or vars(generator):
        raise LookupError(type(generator).__qualname__)
    _check_class(RandomIdGenerator, "generate_trace_id", "generate_span_id")


def _mould_of(tracer: Any) -> _Mould | None:
    """For a tracer whose spans we make as it does; None for any other one."""
    start = getattr(tracer.__class__, "start_span", None)
    # What a tracer counts of itself is counted by the public API.
    counts = type(getattr(tracer, "_tracer_metrics", None)).__name__
    try:
        if not _is_of_sdk(start) or "start_span" in vars(tracer):
            return None
        if counts not in {"NoneType", "NoOpTracerMetrics"}:
            return None
        _check_ids(tracer.id_generator)
        if not all(_are_same_either_way(tracer, is_sampled=sampled) for sampled in (True, False)):
            return None
        return _Mould(tracer)
    except Exception as fault:
        if raised_by_handler(fault):
            raise
        logger.debug("spans go through the public API: a %s", type(fault).__name__)
        return None


class _Rehearsal:
    """A private provider with the same limits; nothing of it leaves."""

    def __init__(self, tracer: Any, *, is_sampled: bool) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

        provider = TracerProvider(
            sampler=ALWAYS_ON if is_sampled else ALWAYS_OFF,
            resource=Resource.get_empty(),
            span_limits=tracer._span_limits,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(cast("Any", self))
        self.tracer: Any = provider.get_tracer("otel_redis_cache")
        self._seen: list[object] = []
        self.ended: list[Any] = []

    def on_start(self, span: Any, parent_context: object = None) -> None:
        """A span has started."""
        self._seen.append(("started", parent_context, _look_at(span)))

    def _on_ending(self, span: Any) -> None:
        self._seen.append(("ending", _look_at(span)))

    def on_end(self, span: Any) -> None:
        """A span has ended."""
        self.ended.append(span)
        names: list[str] = [*vars(span)]
        self._seen.append(("ended", span.__class__, names, _look_at(span)))

    def play(self, spans: Spans | _Mould) -> list[object]:
        """What there is to see of some spans, from their beginning to their end."""
        self._seen = []
        for parent in _PARENTS:
            token = attach(parent)
            try:
                self._play_one(spans, with_more=parent is not _PARENTS[0])
            finally:
                detach(token)
        return self._seen

    def _play_one(self, spans: Spans | _Mould, *, with_more: bool) -> None:
        attributes: Attributes = {"text": "GET ?", "number": 1}
        span: Any = spans.start("GET", SpanKind.CLIENT, lambda: attributes, 5)
        set_plain_attributes(span, {"hit": True, "ratio": 0.5})
        if with_more:
            set_plain_attributes(span, {"text": ("of", "two"), "number": 2})
            span.set_attributes({"given": ["by", "others"]})
            span.add_event("event", {"name": "value"}, timestamp=6)
            span.set_status(StatusCode.ERROR)
        self._seen.append(("going on", span.is_recording(), _look_at(span)))
        span.end(7)


_AROUND = (
    SpanContext(1, 2, False, _FLAGS[1], TraceState([("key", "value")])),
    SpanContext(3, 4, True, _FLAGS[3]),
    SpanContext(5, 6, True, _FLAGS[0]),
)
_PARENTS = (
    Context(),
    *(contexts.with_span(Context(), NonRecordingSpan(parent)) for parent in _AROUND),
)


def _are_same_either_way(tracer: Any, *, is_sampled: bool) -> bool:
    """Whether spans of the public API and of a mould cannot be told apart."""
    rehearsal = _Rehearsal(tracer, is_sampled=is_sampled)
    if type(rehearsal.tracer) is not type(tracer):
        return False
    expected = rehearsal.play(PublicSpans(rehearsal.tracer))
    return rehearsal.play(_Mould(rehearsal.tracer)) == expected


def _a_span_like_those_of(tracer: Any) -> tuple[Any, Any]:
    """One that goes on, and what exporters are given of one that has ended."""
    rehearsal = _Rehearsal(tracer, is_sampled=True)
    start = rehearsal.tracer.start_span
    start("ends", context=Context()).end()
    span = start(
        "goes on", context=Context(), record_exception=False, set_status_on_exception=False
    )
    return span, rehearsal.ended[0]


def _look_at(span: Any) -> dict[str, object]:
    """All fields of a span, but for which ids were drawn and how its empty lists are kept."""
    context: SpanContext = span.get_span_context()
    around = trace_id if (trace_id := context.trace_id) < _AROUND[-1].span_id else "drawn"
    if not hasattr(span, "attributes"):  # one that is not recording
        return {"type": type(span), "context": (around, *context[2:])}
    own: dict[str, Any] = {**vars(span), "_context": (type(context), around, *context[2:])}
    own["_lock"] = None
    own["_status"] = span.status.status_code
    own["_attributes"] = {**vars(own["_attributes"]), "_lock": None}
    own["_events"] = [
        (event.name, dict(event.attributes), event.timestamp) for event in span.events
    ]
    own["_links"] = list(span.links)
    dropped = (span.dropped_attributes, span.dropped_events, span.dropped_links)
    return {**own, "attributes": dict(span.attributes), "dropped": dropped}
