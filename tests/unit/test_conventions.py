from __future__ import annotations

from opentelemetry.semconv import schemas

from otel_redis_cache import conventions

ALL = (*conventions.METRICS, *conventions.SERVER_METRICS)


def test_the_schema_is_the_one_that_semantic_conventions_publish() -> None:
    assert schemas.Schemas.V1_44_0.value == conventions.SCHEMA_URL


def test_names_are_unique_and_lower_case() -> None:
    names = [metric.name for metric in ALL]

    assert len(set(names)) == len(names)
    assert all(name == name.lower() for name in names)


def test_no_metric_may_carry_a_key_or_a_text() -> None:
    for metric in ALL:
        assert not {conventions.CACHE_KEY, conventions.DB_QUERY_TEXT} & set(metric.attributes)


def test_buckets_grow() -> None:
    for metric in ALL:
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert bool(metric.buckets) == (metric.kind == "histogram")


def test_every_group_has_a_metric() -> None:
    assert {metric.group for metric in conventions.METRICS} == {None, *conventions.GROUPS}


def test_what_is_known_of_a_server_says_of_which() -> None:
    settings = {None, "watch_commands", "sample_memory", "listen_events"}
    assert {metric.group for metric in conventions.SERVER_METRICS} <= settings
    for metric in conventions.SERVER_METRICS:
        assert set(metric.attributes) >= set(conventions.SERVER_ATTRIBUTES)
