"""What is not as the registry says, in exported spans and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from docs.registry import reader
from docs.registry.reader import Attribute, Use
from otel_redis_cache import conventions
from tests.conformance.forms import FORMS, faults_of_texts

REGISTRY = reader.read()
ROWS = {row.name: row for row in (*conventions.METRICS, *conventions.SERVER_METRICS)}

Attributes = Mapping[str, Any]


class Span(NamedTuple):
    """A span of ours, wherever it was found."""

    name: str
    kind: str
    has_failed: bool
    attributes: Attributes
    at_start: Attributes
    others: tuple[str, ...] = ()
    """Whatever else is on it: events, a description of its status, attributes of links."""


class Metric(NamedTuple):
    """A metric of ours, wherever it was found."""

    name: str
    instrument: str
    unit: str
    description: str
    points: Sequence[tuple[Attributes, float | None]]
    """Attributes and value of each, the value only where its type is known."""


class Audit:
    """Of one pair of providers; what was found is said once, however often it is so."""

    def __init__(self) -> None:
        self.findings: dict[str, None] = {}
        self.excused: set[str] = set()
        """Faults that this test makes on purpose."""
        self.opted_in: set[str] = set()
        """Settings and groups of metrics that this test asked for."""
        self._looked_at: set[tuple[str, frozenset[tuple[str, Any]]]] = set()

    def opt_in(self, settings: Attributes) -> None:
        """What `instrument()` or `watch_server()` was told."""
        self.opted_in |= {name for name, value in settings.items() if value not in (False, "none")}
        groups = set(re.findall(r"\w+", str(settings.get("metrics", ""))))
        self.opted_in |= set(conventions.GROUPS) if "all" in groups else groups

    def opt_in_to_all(self) -> None:
        """Nobody knows what whoever emitted it was told."""
        signals = (*REGISTRY.metrics.values(), *REGISTRY.spans.values())
        self.opted_in |= {use.setting or "" for signal in signals for use in signal.uses.values()}
        self.opted_in |= {row.group or "" for row in ROWS.values()}
        self.opted_in |= {setting for _, setting in FORMS.values() if setting}

    def look_at_span(self, span: Span) -> None:
        for fault in self._faults_of_span(span):
            self._note(f"span {span.name}", fault)

    def look_at_metric(self, metric: Metric) -> None:
        for fault in self._faults_of_metric(metric):
            self._note(f"metric {metric.name}", fault)

    def look_at_scope(self, name: str, schema: str | None) -> None:
        if schema != conventions.SCHEMA_URL:
            self._note(f"scope {name}", f"the schema is {schema!r}")

    def _note(self, where: str, fault: str) -> None:
        if fault not in self.excused:
            self.findings[f"{where}: {fault}"] = None

    def _faults_of_span(self, span: Span) -> Iterator[str]:
        attributes = span.attributes
        if span.kind not in REGISTRY.spans:
            yield f"there is no span of kind {span.kind}"
            return
        uses = REGISTRY.spans[span.kind].uses
        if span.name != _name_of(span.kind, attributes):
            yield "its name is not that of its kind"
        yield from (f"there is {other} on it" for other in span.others)
        yield from self._faults_of_attributes(attributes, uses)
        for name, use in uses.items():
            if use.at_start and attributes.get(name) != span.at_start.get(name):
                yield f"{name} is not as it was at the start"
            if use.when == IF_FAILED:
                wanted = span.has_failed
            elif found := IF_SET.fullmatch(use.when):
                wanted = found[1] in attributes
            else:
                continue
            if wanted != (name in attributes):
                yield f"{name} is {'missing' if wanted else 'there'}, against: {use.when}"

    def _faults_of_metric(self, metric: Metric) -> Iterator[str]:
        known = REGISTRY.metrics.get(metric.name)
        if known is None:
            yield "it is not in the registry"
            return
        group = known.group
        if metric.unit != group.unit:
            yield f"its unit is {metric.unit!r}, not {group.unit!r}"
        if metric.description != group.brief:
            yield f"its description is {metric.description!r}, not {group.brief!r}"
        if metric.instrument != group.instrument:
            yield f"it is a {metric.instrument}, not a {group.instrument}"
        asked_by = ROWS[metric.name].group
        if group.metric_requirement_level == "opt_in" and asked_by not in self.opted_in:
            yield f"nobody asked for it: it is opted into by {asked_by}"
        if len(metric.points) > conventions.MAX_SERIES:
            yield f"it has {len(metric.points)} series"
        wanted = group.annotations.code_generation.metric_value_type
        for attributes, value in metric.points:
            series = (metric.name, frozenset(attributes.items()))
            if series in self._looked_at:
                continue
            self._looked_at.add(series)
            if value is not None and type(value) is not _TYPES[wanted]:
                yield f"a value is a {type(value).__name__}, and no {wanted}"
            yield from self._faults_of_attributes(attributes, known.uses)

    def _faults_of_attributes(
        self, attributes: Attributes, uses: Mapping[str, Use]
    ) -> Iterator[str]:
        for name, value in attributes.items():
            use = uses.get(name)
            if use is None:
                yield f"{name} is not in the registry"
                continue
            yield from _faults_of_value(REGISTRY.attributes[name], value)
            if use.level == "opt_in" and use.setting not in self.opted_in:
                yield f"nobody asked for {name}: it is opted into by {use.setting}"
        yield from faults_of_texts(attributes, self.opted_in)
        for name, use in uses.items():
            if use.level == "required" and name not in attributes:
                yield f"{name} is missing"


IF_FAILED = "If and only if the operation failed."
IF_SET = re.compile(r"If and only if `([\w.]+)` is set\.")


def _name_of(kind: str, attributes: Attributes) -> str:
    if kind == "internal":
        return conventions.SPAN_OF_INVALIDATION
    if kind == "consumer":
        destination = attributes.get(conventions.MESSAGING_DESTINATION_NAME)
        return " ".join(filter(None, (conventions.SPAN_OF_CONSUMPTION, destination)))
    return str(attributes.get(conventions.DB_OPERATION_NAME))[:64]


_TYPES: dict[str, type] = {"string": str, "int": int, "double": float, "boolean": bool}


def _faults_of_value(attribute: Attribute, value: Any) -> Iterable[str]:
    if attribute.type == "string[]":
        is_typed = isinstance(value, tuple) and {type(each) for each in value} <= {str}
    else:
        is_typed = type(value) is _TYPES[attribute.type]
    if not is_typed:
        yield f"{attribute.name} is {value!r}, and no {attribute.type}"
    elif attribute.values and value not in attribute.values:
        yield f"{attribute.name} is {value!r}, and none of {', '.join(attribute.values)}"
