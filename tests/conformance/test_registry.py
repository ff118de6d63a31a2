"""The registry, the code, and the semantic conventions say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.registry import reader
from otel_redis_cache import conventions
from tests.conformance import official
from tests.conformance.audit import IF_FAILED, IF_SET, REGISTRY, ROWS

OFFICIAL_ATTRIBUTES = official.attributes()
OFFICIAL_METRICS = official.metrics_of_databases()

NOT_OFFICIAL = {("db.system.name", "valkey"), ("messaging.system", "redis")}
"""Values that the conventions do not know (yet)."""

OF_THE_RECEIVER = {
    conventions.CPU_STATE,
    conventions.DATABASE,
    conventions.COMMAND,
    conventions.PERCENTILE,
}


def test_the_conventions_were_read() -> None:
    assert len(OFFICIAL_ATTRIBUTES) > 800
    assert len(OFFICIAL_METRICS) > 15
    assert OFFICIAL_ATTRIBUTES["db.system"].is_deprecated
    assert not OFFICIAL_ATTRIBUTES["db.system.name"].is_deprecated
    assert OFFICIAL_ATTRIBUTES["db.system.name"].is_stable
    assert not OFFICIAL_ATTRIBUTES["messaging.system"].is_stable
    assert "postgresql" in OFFICIAL_ATTRIBUTES["db.system.name"].values


def test_an_attribute_is_ours_or_official_and_not_deprecated() -> None:
    for name, attribute in REGISTRY.attributes.items():
        if name not in OF_THE_RECEIVER:  # which has a `state` of its own
            assert attribute.is_ours == (name not in OFFICIAL_ATTRIBUTES), name
            assert attribute.is_ours or not OFFICIAL_ATTRIBUTES[name].is_deprecated, name


def test_names_of_ours_are_in_namespaces_of_ours() -> None:
    for name, attribute in REGISTRY.attributes.items():
        if attribute.is_ours and name not in OF_THE_RECEIVER:
            assert name.startswith(("cache.", "redis.", "otel_redis_cache.")), name
    for name in REGISTRY.metrics.keys() - OFFICIAL_METRICS.keys():
        assert name.startswith(("cache.", "redis.", "otel_redis_cache.")), name


def test_a_metric_that_is_official_is_as_the_conventions_say() -> None:
    shared = REGISTRY.metrics.keys() & OFFICIAL_METRICS.keys()
    assert len(shared) == 8
    for name in shared:
        group = REGISTRY.metrics[name].group
        said = official.Metric(group.instrument, group.unit, group.brief)
        assert said == OFFICIAL_METRICS[name]
        assert not group.brief.startswith("Deprecated")


def test_a_value_of_an_official_attribute_is_official() -> None:
    emitted = {
        (attribute.name, value)
        for attribute in REGISTRY.attributes.values()
        if not attribute.is_ours
        for value in attribute.values
    }
    unknown = {(n, value) for n, value in emitted if value not in OFFICIAL_ATTRIBUTES[n].values}

    assert len(emitted) > 5
    assert unknown == NOT_OFFICIAL
    for name, value in unknown:
        assert any(f"`{name}` is `{value}`" in text for text in conventions.DEVIATIONS)


def test_an_official_attribute_that_is_an_enum_says_which_values_it_has() -> None:
    for name, attribute in REGISTRY.attributes.items():
        if not attribute.is_ours and len(OFFICIAL_ATTRIBUTES[name].values) > 1:
            assert attribute.values, name


def test_the_code_has_the_same_metrics() -> None:
    in_code = {
        row.name: (row.kind, row.unit, row.description, set(row.attributes))
        for row in ROWS.values()
    }
    in_registry = {
        name: (metric.group.instrument, metric.group.unit, metric.group.brief, set(metric.uses))
        for name, metric in REGISTRY.metrics.items()
    }

    assert in_code == in_registry


def test_what_is_off_by_default_is_opt_in() -> None:
    for name, metric in REGISTRY.metrics.items():
        is_on = ROWS[name].group in (None, *conventions.DEFAULT_GROUPS)
        assert metric.group.metric_requirement_level == ("recommended" if is_on else "opt_in")


def test_the_code_has_a_name_for_every_attribute() -> None:
    in_code = {value for value in vars(conventions).values() if isinstance(value, str)}

    assert REGISTRY.attributes.keys() <= in_code


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        (conventions.STEP, conventions.STEPS),
        (conventions.BOUND, conventions.BOUNDS),
        (conventions.CONNECTION_STATE, (conventions.IDLE, conventions.USED)),
    ],
)
def test_the_code_has_the_same_values(attribute: str, values: tuple[str, ...]) -> None:
    assert REGISTRY.attributes[attribute].values == values


def test_attributes_have_a_meaning_and_texts_an_example() -> None:
    for name, attribute in REGISTRY.attributes.items():
        assert attribute.meaning, name
        assert attribute.values or attribute.examples or not attribute.type.startswith("string"), (
            name
        )


def test_groups_are_named_after_what_they_define() -> None:
    for name, metric in REGISTRY.metrics.items():
        assert metric.group.id == f"metric.{name}"
    assert all(span.group.id.startswith("span.") for span in REGISTRY.spans.values())


def test_an_opt_in_names_its_setting_and_a_sharp_condition_is_checked() -> None:
    signals = (*REGISTRY.metrics.values(), *REGISTRY.spans.values())
    uses = [use for signal in signals for use in signal.uses.values()]
    sharp = [use.when for use in uses if use.when.startswith("If and only if")]

    assert all((use.level == "opt_in") == bool(use.setting) for use in uses)
    assert all(when == IF_FAILED or IF_SET.fullmatch(when) for when in sharp)
    assert len(sharp) > 5


GOOD = """
groups:
  - id: metric.tea
    type: metric
    metric_name: tea
    annotations: {code_generation: {metric_value_type: int}}
    stability: development
    brief: Cups.
    instrument: counter
    unit: "{cup}"
    attributes:
      - ref: tea.kind
        requirement_level: required
        examples: [green]
"""


def written(directory: Path, text: str) -> reader.Registry:
    (directory / "tea").mkdir()
    (directory / "tea" / "metrics.yaml").write_text(text, encoding="utf-8")
    return reader.read(directory)


def test_the_format_is_read(tmp_path: Path) -> None:
    found = written(tmp_path, GOOD)

    assert found.metrics["tea"].uses["tea.kind"].level == "required"
    assert found.attributes["tea.kind"].type == "string"


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("unit:", "units:", "unknown field `units`"),
        ("instrument: counter", "instrument: timer", "Invalid enum value 'timer'"),
        ("stability: development", "stability: experimental", "experimental"),
        ("requirement_level: required", "requirement_level: always", "requirement_level"),
        ("requirement_level: required", "requirement_level: {}", "a condition is about one level"),
        ("type: metric", "type: event", "Invalid value 'event'"),
        ("examples: [green]", "brief: Which.", "tea.kind is not ours, and needs examples"),
        ("examples: [green]", "examples: [green, 3]", "examples of one type"),
        ("unit:", "extends: attributes.tea\n    unit:", "extends attributes.tea, which is not"),
        ("groups:", f"groups:{GOOD.partition('groups:')[2]}", "metric.tea is defined twice"),
    ],
)
def test_what_the_format_does_not_know_is_refused(
    tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    assert right in GOOD

    with pytest.raises(ValueError, match=message):
        written(tmp_path, GOOD.replace(right, wrong))
