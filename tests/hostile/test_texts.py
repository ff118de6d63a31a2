"""Any text where we read one: rules, settings, keys, INFO."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_redis_cache.caches import MAX_KEY_TEXT, Caches, FirstNames, key_text
from otel_redis_cache.conventions import RESERVED_CACHES
from otel_redis_cache.server import info
from otel_redis_cache.settings import FIELDS, PREFIX, SettingError, Settings, from_keywords
from tests.hostile import things

many = settings(deadline=None)
values = st.one_of(
    things.operands,
    st.builds(things.Hostile),
    st.text(max_size=60),
    st.text(alphabet="ab*?{}=:,- ", max_size=60),
    st.dictionaries(st.text(max_size=5), st.text(alphabet="a*?{}:", max_size=9), max_size=3),
    st.lists(st.text(alphabet="ab=*,", max_size=9), max_size=3),
)


@many
@given(name=st.sampled_from([*FIELDS]) | st.text(max_size=9), value=values)
def test_a_setting_is_taken_or_refused_in_one_clear_line(name: str, value: Any) -> None:
    try:
        found = from_keywords({name: value}, {})
    except SettingError as error:
        text = str(error)
        assert name in text or repr(name) in text
        assert "allowed" in text
        assert len(text) <= 2_000
    else:
        assert isinstance(found, Settings)


@many
@given(st.dictionaries(st.sampled_from([PREFIX + name.upper() for name in FIELDS]), st.text()))
def test_an_environment_of_any_text_stops_nobody(environ: dict[str, str]) -> None:
    assert isinstance(from_keywords({}, environ), Settings)


patterns = st.text(alphabet="ab*?{}:.", min_size=1, max_size=256)


@many
@given(st.lists(patterns, min_size=1, max_size=3), st.lists(things.operands, max_size=5))
def test_whatever_the_rules_a_key_has_a_name_of_few(rules: list[str], keys: list[Any]) -> None:
    given_rules = {f"rule{number}": pattern for number, pattern in enumerate(rules)}
    try:
        chosen = from_keywords({"caches": given_rules, "auto_caches": True}, {})
    except SettingError:
        return
    caches = Caches(chosen, FirstNames(), lambda: None)
    names = caches.names_of(keys)

    assert names == [caches.name_of(key) for key in keys]
    assert all(name is None or 1 <= len(name) <= 64 for name in names)
    assert all(len(caches.template_of(key)) <= 2 * MAX_KEY_TEXT for key in keys)


@many
@given(keys=st.lists(things.operands, max_size=30))
def test_without_rules_a_name_is_a_word_that_stands_in_the_key(keys: list[Any]) -> None:
    for key, name in zip(
        keys, Caches(Settings(), FirstNames(), lambda: None).names_of(keys), strict=True
    ):
        assert name is not None
        assert name in RESERVED_CACHES or name in key_text(key).replace("{", "").replace("}", "")


fields = st.sampled_from([field for field, *_ in info.ROWS]) | st.sampled_from(
    [
        "db0",
        "db15",
        "db16",
        "cmdstat_get",
        "cmdstat_x|y",
        "latency_percentiles_usec_get",
        "role",
        "",
    ]
)
lines = st.one_of(
    st.tuples(fields, st.sampled_from([":", "", "="]), st.text(max_size=30)),
    st.tuples(
        fields,
        st.just(":"),
        st.sampled_from(
            [
                "1",
                "-1",
                "1.5",
                "nan",
                "inf",
                "9" * 30,
                "keys=1,expires=x,avg_ttl=",
                "calls=1,usec=2",
                "p50=1.5,p99=x",
            ]
        ),
    ),
).map("".join)


@many
@given(st.lists(lines | st.text(max_size=40)).map("\r\n".join) | st.binary(max_size=200))
def test_whatever_a_server_says_of_itself_makes_numbers(reply: str | bytes) -> None:
    points = list(info.points_of(info.parse(reply)))

    assert len({(point.metric, point.attributes) for point in points}) == len(points)
    assert len(points) <= 10_000
    for point in points:
        assert abs(point.value) < 2**63
        assert point.metric.kind != "counter" or point.value >= 0
