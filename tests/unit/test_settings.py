from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest

from otel_redis_cache.conventions import DEFAULT_GROUPS
from otel_redis_cache.settings import FIELDS, FileOptions, SettingError, Settings, from_keywords

DEFAULT = {"operations", "cache", "ratio", "ttl", "loads", "connections", "resilience"}


def test_defaults_are_those_of_the_contract() -> None:
    settings = from_keywords({}, {})

    assert settings == Settings()
    assert settings.names_automatically
    assert settings.metrics == DEFAULT
    assert (settings.query_text, settings.key_attribute) == ("sanitized", "none")
    assert settings.on_conflict == "yield"


FROM_ENVIRONMENT: list[tuple[str, str, object]] = [
    ("caches", "a=x:*, b=y:*", (("a", "x:*"), ("b", "y:*"))),
    ("caches", "locks:*=-", (("-", "locks:*"),)),
    ("auto_caches", "false", False),
    ("max_auto_caches", "5", 5),
    ("key_delimiter", "/", "/"),
    ("count_probes", "yes", True),
    ("duration_by_cache", "ON", True),
    ("traces", "0", False),
    ("metrics", "none", frozenset()),
    ("channels", "news=news:*", (("news", "news:*"),)),
    ("streams", "orders=orders:*", (("orders", "orders:*"),)),
    ("metrics", "all", {*DEFAULT_GROUPS, "size", "pool_times", "pubsub", "streams"}),
    ("metrics", "default, size", {*DEFAULT_GROUPS, "size"}),
    ("metrics", "pool_times", {"connections", "pool_times"}),
    ("metrics", "cache, ratio", {"cache", "ratio"}),
    ("query_text", "KEYS", "keys"),
    ("key_attribute", "template", "template"),
    ("key_secret", "s3cret", "s3cret"),
    ("include_commands", "get, config  get", {"GET", "CONFIG GET"}),
    ("exclude_commands", "PING", {"PING"}),
    ("require_parent_span", "true", True),
    ("extra_commands", "my.cmd", {"MY.CMD"}),
    ("scripts", "A1B2=reads, Purge=REMOVES", (("a1b2", "reads"), ("purge", "removes"))),
    ("hit_ratio_window", "30", 30.0),
    ("snapshot", "on", True),
    ("load_window", "5", 5.0),
    ("propagate_context", "on", True),
    ("watch", "rediss://a:b@cache:6380/1", "rediss://a:b@cache:6380/1"),
    ("watch_commands", "on", True),
    ("watch_leader", "on", True),
    ("sample_memory", "on", True),
    ("listen_events", "on", True),
    ("on_conflict", "both", "both"),
    ("fast_path", "OFF", "off"),
]


@pytest.mark.parametrize(("field", "text", "value"), FROM_ENVIRONMENT)
def test_every_field_is_read_from_the_environment(field: str, text: str, value: object) -> None:
    settings = from_keywords({}, {f"OTEL_REDIS_CACHE_{field.upper()}": text})

    assert getattr(settings, field) == value


def test_every_field_has_an_environment_test() -> None:
    assert {field for field, _, _ in FROM_ENVIRONMENT} == set(FIELDS)


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("caches", "sess:*", "'sess:*'"),
        ("caches", {"a": 5}, "{'a': 5}"),
        ("caches", "a=", "'a='"),
        ("caches", {"x" * 65: "a:*"}, "{'xxx"),
        ("caches", {"\ud800": "a:*"}, "{'\\ud800"),
        ("caches", {"a\n": "a:*"}, "{'a\\n"),
        ("caches", {" ": "a:*"}, "{' '"),
        ("auto_caches", "perhaps", "'perhaps'"),
        ("max_auto_caches", -1, "-1"),
        ("max_auto_caches", "many", "'many'"),
        ("max_auto_caches", True, "True"),
        ("key_delimiter", "", "''"),
        ("key_delimiter", " ", "' '"),
        ("metrics", "latency", "'latency'"),
        ("metrics", "", "''"),
        ("query_text", "full", "'full'"),
        ("query_text", 3, "3"),
        ("include_commands", 3, "3"),
        ("include_commands", [3], "[3]"),
        ("scripts", "purge", "'purge'"),
        ("scripts", "purge=deletes", "'purge=deletes'"),
        ("scripts", "=reads", "'=reads'"),
        ("scripts", {"purge": None}, "{'purge': None}"),
        ("hit_ratio_window", 0, "0"),
        ("load_window", 0.5, "0.5"),
        ("hit_ratio_window", "soon", "'soon'"),
        ("hit_ratio_window", float("nan"), "nan"),
        ("on_conflict", "ignore", "'ignore'"),
        ("watch", "cache:6379", "'cache:6379'"),
        pytest.param("load_window", 10**5_000, "a value of type int", id="thousands of digits"),
        ("watch", "http://user:secret@cache?password=secret", "'http://cache'"),
        ("watch", b"redis://:secret@cache", "<class 'bytes'>"),
    ],
)
def test_a_wrong_keyword_names_field_value_and_what_is_allowed(
    field: str, value: Any, shown: str
) -> None:
    with pytest.raises(SettingError) as raised:
        from_keywords({field: value}, {})

    message = str(raised.value)
    assert message.startswith(f"{field} is {shown}")
    assert FIELDS[field].metadata["allowed"] in message


@pytest.mark.parametrize("pattern", ["shop-{a}-{b}", "x:{a}{b}", "{a}?", "user:{id}profile"])
def test_a_placeholder_takes_the_rest_of_its_part(pattern: str) -> None:
    with pytest.raises(SettingError, match="allowed behind") as raised:
        from_keywords({"caches": {"x": pattern}}, {})

    assert repr(pattern) in str(raised.value)
    from_keywords({"caches": {"x": "user:{id}:profile-*"}, "key_delimiter": ":"}, {})


def test_names_that_we_use_ourselves_are_refused() -> None:
    with pytest.raises(SettingError, match="not the names _default, _other, _mixed"):
        from_keywords({"caches": "_other=x:*"}, {})


def test_rules_in_the_environment_that_do_not_go_together_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    environ = {"OTEL_REDIS_CACHE_CACHES": "x={a}-{b}", "OTEL_REDIS_CACHE_QUERY_TEXT": "off"}
    settings = from_keywords({}, environ)

    assert (settings.caches, settings.query_text) == ((), "off")
    assert len(caplog.records) == 1


def test_the_environment_gives_way_where_a_keyword_does_not_go_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    environ = {"OTEL_REDIS_CACHE_KEY_DELIMITER": "/"}
    settings = from_keywords({"caches": {"p": "user:{id}:profile"}}, environ)

    assert settings.key_delimiter == ":"
    assert "using the default of key_delimiter" in caplog.text


def test_an_unknown_keyword_names_the_known_ones() -> None:
    with pytest.raises(SettingError, match=r"'cache' is no setting; allowed are auto_caches, cac"):
        from_keywords({"cache": "x"}, {})


def test_a_secret_is_never_shown() -> None:
    with pytest.raises(SettingError) as raised:
        from_keywords({"key_secret": 12345678}, {})

    assert "12345678" not in str(raised.value)


def test_what_settings_look_like_has_no_password() -> None:
    settings = from_keywords({"key_secret": "s3cret", "watch": "redis://:s3cret@cache"}, {})
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in repr(FileOptions(key_secret="s3cret", watch="redis://:s3cret@cache"))


def test_hashes_need_a_secret() -> None:
    with pytest.raises(SettingError, match="key_secret"):
        from_keywords({"key_attribute": "hash"}, {})


def test_a_wrong_environment_value_is_one_line_and_the_default(
    caplog: pytest.LogCaptureFixture,
) -> None:
    environ = {"OTEL_REDIS_CACHE_QUERY_TEXT": "everything"}
    with caplog.at_level(logging.DEBUG):
        settings = from_keywords({}, environ)

    assert settings.query_text == "sanitized"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "OTEL_REDIS_CACHE_QUERY_TEXT: query_text is 'everything'; allowed: sanitized, keys or "
        "off; using the default"
    )


def test_hashes_without_a_secret_in_the_environment_fall_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = from_keywords({}, {"OTEL_REDIS_CACHE_KEY_ATTRIBUTE": "hash"})

    assert settings.key_attribute == "none"
    assert len(caplog.records) == 1


def test_a_keyword_wins_over_the_environment() -> None:
    settings = from_keywords({"query_text": "off"}, {"OTEL_REDIS_CACHE_QUERY_TEXT": "broken"})

    assert settings.query_text == "off"


def test_yaml_booleans_are_understood() -> None:
    settings = from_keywords({"query_text": False, "metrics": False, "traces": True}, {})

    assert (settings.query_text, settings.metrics) == ("off", frozenset())


def test_what_a_file_gets_wrong_is_one_line_and_the_default(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = FileOptions(query_text="keys", caches={"a": 5}, cache="x", key_attribute="hash")
    lines = [record.getMessage() for record in caplog.records]

    assert {f.name: getattr(options, f.name) for f in dataclasses.fields(options)} == {
        **dict.fromkeys(FIELDS),
        "query_text": "keys",
    }
    assert len(lines) == 3
    assert all(line.startswith("configuration file: ") for line in lines)
    assert "caches is {'a': 5}; allowed: rules name=pattern" in lines[0]
    assert "'cache' is no setting" in lines[1]
    assert "needs key_secret" in lines[2]


def test_what_a_file_gets_right_is_kept_as_it_stands() -> None:
    options = FileOptions(caches={"a": ["x:*", "y:*"]}, metrics=False, hit_ratio_window=30)

    assert (options.caches, options.metrics, options.hit_ratio_window) == (
        {"a": ["x:*", "y:*"]},
        False,
        30,
    )
    assert dataclasses.is_dataclass(FileOptions)
