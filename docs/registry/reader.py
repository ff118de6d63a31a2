"""Reads the registry as strictly as its format is: a field or a value that the format does not know is an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

HERE = Path(__file__).parent

Stability = Literal["development", "alpha", "beta", "release_candidate", "stable"]
SimpleType = Literal["string", "int", "double", "boolean", "string[]"]
Example = str | bool | int | float | list[str]


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    """What the files are made of."""


class Member(_Strict):
    """One value of an enum."""

    id: str
    value: str
    stability: Stability
    brief: str = ""


class Members(_Strict):
    """The type of an attribute that has these values only."""

    members: list[Member]


class Definition(_Strict):
    """An attribute that is ours."""

    id: str
    type: SimpleType | Members
    stability: Stability
    brief: str
    note: str = ""
    examples: list[Example] = []


class Condition(_Strict):
    """When an attribute is required, or recommended."""

    conditionally_required: str | None = None
    recommended: str | None = None

    def __post_init__(self) -> None:
        """It is one of both."""
        if (self.conditionally_required is None) == (self.recommended is None):
            raise ValueError("a condition is about one level")


class Annotations(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What the format leaves to us."""

    setting: str | None = None
    """That an attribute is opted into by."""
    values: list[str] | None = None
    """All that we emit of an attribute that others defined."""


class Reference(_Strict):
    """An attribute of a signal; what is not said here is as in the group that is extended."""

    ref: str
    brief: str = ""
    note: str = ""
    requirement_level: Literal["required", "recommended", "opt_in"] | Condition | None = None
    sampling_relevant: bool | None = None
    examples: list[Example] = []
    annotations: Annotations = Annotations()


class _Group(_Strict):
    id: str
    brief: str
    note: str = ""


class Definitions(_Group, kw_only=True, tag_field="type", tag="attribute_group"):
    """Attributes of one namespace: ``registry.yaml``."""

    display_name: str
    attributes: list[Definition]


class _Referring(_Group, kw_only=True, tag_field="type"):
    extends: str | None = None
    attributes: list[Reference] = []


class Shared(_Referring, tag="attribute_group"):
    """Attributes that several signals have."""


class ValueType(_Strict):
    """As generators of code read it."""

    metric_value_type: Literal["int", "double"]


class MetricAnnotations(_Strict):
    """What is known of a metric's values."""

    code_generation: ValueType


class MetricGroup(_Referring, kw_only=True, tag="metric"):
    """A metric."""

    metric_name: str
    annotations: MetricAnnotations
    instrument: Literal["counter", "updowncounter", "gauge", "histogram"]
    unit: str
    stability: Stability
    metric_requirement_level: Literal["required", "recommended", "opt_in"] = "recommended"


class SpanGroup(_Referring, kw_only=True, tag="span"):
    """A kind of span."""

    span_kind: Literal["client", "server", "producer", "consumer", "internal"]
    stability: Stability


class _Namespace(_Strict):
    groups: list[Definitions]


class _Signals(_Strict):
    groups: list[Shared | MetricGroup | SpanGroup]


class Attribute(NamedTuple):
    """An attribute, whoever defined it."""

    name: str
    type: str
    values: tuple[str, ...]
    """All that there are, of an enum."""
    examples: tuple[Example, ...]
    meaning: str
    is_ours: bool


class Use(NamedTuple):
    """An attribute as one signal has it."""

    name: str
    level: str
    when: str
    """The condition, of a level that has one."""
    meaning: str
    at_start: bool
    setting: str | None


class Metric(NamedTuple):
    """A metric with all of its attributes."""

    group: MetricGroup
    uses: dict[str, Use]


class Span(NamedTuple):
    """A kind of span with all of its attributes."""

    group: SpanGroup
    uses: dict[str, Use]


class Registry(NamedTuple):
    """All that this package emits."""

    attributes: dict[str, Attribute]
    metrics: dict[str, Metric]
    spans: dict[str, Span]
    """By the kind of span: no two are of one kind."""


def read(directory: Path = HERE) -> Registry:
    """Everything in a directory, with references and groups that are extended resolved."""
    definitions = [
        definition
        for file in sorted(directory.glob("*/registry.yaml"))
        for group in _decode(file, _Namespace).groups
        for definition in group.attributes
    ]
    groups = [
        group
        for file in sorted(directory.glob("*/*.yaml"))
        if file.name != "registry.yaml"
        for group in _decode(file, _Signals).groups
    ]
    by_id = _unique((group.id, group) for group in groups)
    references = [reference for group in groups for reference in group.attributes]
    attributes = _unique((definition.id, _ours(definition)) for definition in definitions)
    for name in sorted({reference.ref for reference in references} - attributes.keys()):
        attributes[name] = _theirs(name, [each for each in references if each.ref == name])
    metrics, spans = {}, {}
    for group in groups:
        uses = {name: _use(found, attributes) for name, found in _merged(group, by_id).items()}
        if isinstance(group, MetricGroup):
            metrics[group.metric_name] = Metric(group, uses)
        elif isinstance(group, SpanGroup):
            spans[group.span_kind] = Span(group, uses)
    return Registry(attributes, metrics, spans)


def _decode(file: Path, shape: Any) -> Any:
    try:
        return msgspec.yaml.decode(file.read_bytes(), type=shape)
    except msgspec.ValidationError as error:
        raise ValueError(f"{file.parent.name}/{file.name}: {error}") from error


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name} is defined twice")
        found[name] = value
    return found


def _ours(definition: Definition) -> Attribute:
    kind = definition.type
    values = tuple(m.value for m in kind.members) if isinstance(kind, Members) else ()
    return Attribute(
        definition.id,
        kind if isinstance(kind, str) else "string",
        values,
        tuple(definition.examples),
        f"{definition.brief.strip()} {definition.note.strip()}".strip(),
        is_ours=True,
    )


_TYPES: dict[type, SimpleType] = {str: "string", bool: "boolean", int: "int", float: "double"}


def _theirs(name: str, references: Iterable[Reference]) -> Attribute:
    """An attribute of the semantic conventions: its type is that of our examples."""
    references = list(references)
    examples = tuple(dict.fromkeys(e for each in references for e in _plain(each.examples)))
    types = {_TYPES[type(example)] for example in examples}
    if len(types) != 1:
        raise ValueError(f"{name} is not ours, and needs examples of one type")
    values = {v for each in references for v in each.annotations.values or ()}
    brief = next((each.brief.strip() for each in references if each.brief), "")
    return Attribute(name, types.pop(), tuple(sorted(values)), examples, brief, is_ours=False)


def _plain(examples: Iterable[Example]) -> Iterator[str | bool | int | float]:
    return (example for example in examples if not isinstance(example, list))


def _merged(group: _Referring, by_id: Mapping[str, _Referring]) -> dict[str, Reference]:
    """The references of a group and of those it extends, the group's own last."""
    if group.extends is None:
        found = {}
    elif group.extends in by_id:
        found = _merged(by_id[group.extends], by_id)
    else:
        raise ValueError(f"{group.id} extends {group.extends}, which is not there")
    for reference in group.attributes:
        before = found.get(reference.ref, reference)
        found[reference.ref] = Reference(
            ref=reference.ref,
            brief=reference.brief or before.brief,
            requirement_level=reference.requirement_level or before.requirement_level,
            sampling_relevant=reference.sampling_relevant or before.sampling_relevant,
            annotations=reference.annotations
            if reference.annotations.setting
            else before.annotations,
        )
    return found


def _use(reference: Reference, attributes: Mapping[str, Attribute]) -> Use:
    level = reference.requirement_level or "recommended"
    when = ""
    if isinstance(level, Condition):
        is_required = level.conditionally_required is not None
        when = (level.conditionally_required or level.recommended or "").strip()
        level = "conditionally_required" if is_required else "recommended"
    return Use(
        reference.ref,
        level,
        when,
        reference.brief.strip() or attributes[reference.ref].meaning,
        bool(reference.sampling_relevant),
        reference.annotations.setting,
    )
