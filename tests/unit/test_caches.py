from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_redis_cache.caches import Caches, FirstNames, compile_pattern, hash_key
from otel_redis_cache.framework_keys import LIBRARIES
from otel_redis_cache.settings import from_keywords


def caches(overflows: list[int] | None = None, **settings: Any) -> Caches:
    def overflowed() -> None:
        if overflows is not None:
            overflows.append(1)

    return Caches(from_keywords(settings, {}), FirstNames(), overflowed)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("user:1", "user"),
        (b"user:1", "user"),
        (bytearray(b"user:1"), "user"),
        (memoryview(b"user:1"), "user"),
        (":1:user:42", "user"),
        ("{user}:1", "user"),
        ("{user:1}:profile", "user"),
        ("shop.cart-v2:1", "shop.cart-v2"),
        ("rate123:1", "rate123"),
        ("rate1234:1", "_default"),
        ("u:1", "_default"),
        ("x" * 41 + ":1", "_default"),
        ("x" * 40 + ":1", "x" * 40),
        ("1user:1", "_default"),
        ("deadbeef:1", "_default"),
        ("alice@example.com:1", "_default"),
        ("user", "_default"),
        ("", "_default"),
        (":user", "_default"),
        ("ключ:1", "_default"),
        (b"\xff\xfe:1", "_default"),
        (42, "_default"),
        (4.5, "_default"),
        (None, "_default"),
        (["user:1"], "_default"),
    ],
)
def test_a_key_is_named_after_its_first_part_if_that_looks_like_a_word(
    key: object, name: str
) -> None:
    assert caches().name_of(key) == name


SHAPES = [shape for library in LIBRARIES for shape in library.shapes]
HASHES = {
    "<md5>": "5d41402abc4b2a76b9719d911017c592",
    "<sha1>": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
    "<hash>": "T3DbR/Aa2AWPWfHoxL9wHQ",
}


@pytest.mark.parametrize("secret", ["zoe", "zoe:1", "zoe.X:1:2", "550e8400-e29b", "zoe(7)[8]"])
@pytest.mark.parametrize("shape", SHAPES, ids=[shape.key for shape in SHAPES])
def test_a_key_that_a_framework_shaped_is_named_as_its_table_says(shape: Any, secret: str) -> None:
    def filled(found: re.Match[str]) -> str:
        whole_key = shape.name == "_default"  # then the key is the application's word for word
        return HASHES.get(found[0]) or (secret.replace(":", "_") if whole_key else secret)

    key = re.sub("<[^>]*>", filled, shape.key)
    named = caches()
    for _ in range(2):  # what is known of names changes nothing
        assert (named.name_of(key), named.name_of(key.encode())) == (shape.name, shape.name)
        named.name_of(f"{shape.name}:1")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("user:1:profile", "user"),
        ("user:1:django.profile", "user"),
        ("celery:1", "celery"),
        ("celeryd", "_default"),
        ("unacked_by_zoe", "_default"),
        ("template.cache.zoe", "_default"),
        ("template.cache.side1234bar." + "a" * 32, "_default"),
        ("template.cache." + "x" * 30 + "." + "a" * 32, "_default"),
        ("flask_cache_zoe1234:1", "_default"),
        ("zoe(1)", "_default"),
        ("zoe(1)[2]", "_default"),
        ("zoe(1, 'x')[2]", "_default"),
        ("zoe(1, 'x')", "_default"),
        ("zoe1234get('x',)[]", "_default"),
        (":zoe:1", "_default"),
        (":zoe:" + "a" * 33, "_default"),
        ("user:1:template.cache.zoe", "_default"),
        ("zoe.celery-task", "_default"),
        ("view/zoe", "_default"),
    ],
)
def test_a_key_that_only_resembles_a_framework_s_tells_no_more(key: str, name: str) -> None:
    assert caches().name_of(key) == name


@given(st.text() | st.integers() | st.lists(st.text()), st.dictionaries(st.text(), st.text()))
def test_no_argument_of_a_cached_function_is_in_its_name(argument: object, keywords: Any) -> None:
    key = f"app.usersget_user{(argument,)}{sorted(keywords.items())}"

    assert caches().name_of(key) in ("app.usersget_user", "_default")


@pytest.mark.parametrize("key", ["a" * 64, "a(" * 32, "a(" + ")[" * 32, "a.", "0:" * 32, ":1" * 32])
def test_no_key_makes_the_shapes_of_frameworks_slow(key: str) -> None:
    named = caches()
    started = time.perf_counter()
    for _ in range(100):
        named.name_of(key * 1_000)

    assert time.perf_counter() - started < 0.5


def test_the_names_of_frameworks_count_among_the_automatic_names() -> None:
    overflows: list[int] = []
    named = caches(overflows, max_auto_caches=1)

    assert named.name_of("user:1") == "user"
    assert named.name_of("celery-task-meta-1") == "_other"
    assert named.name_of("user:2") == "user"
    assert overflows == [1]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("sess:abc", "sessions"),
        ("user:42:profile", "profiles"),
        ("user:42:settings", "_default"),
        ("user:4:2:profile", "_default"),
        ("locks:job", None),
        ("other:1", "_default"),
        (b"sess:abc", "sessions"),
        ("report-7.csv", "reports"),
        ("report-77.csv", "_default"),
    ],
)
def test_the_first_rule_that_matches_names_the_key(key: object, name: str | None) -> None:
    rules = "sessions=sess:*,profiles=user:{id}:profile,locks:*=-,reports=report-?.csv"

    assert caches(caches=rules).name_of(key) == name


def test_rules_may_be_given_as_a_mapping_with_commas_in_patterns() -> None:
    named = caches(caches={"pairs": ["a,b:*", "c:*"], "-": "tmp:*"})

    assert [named.name_of(key) for key in ("a,b:1", "c:1", "tmp:1")] == ["pairs", "pairs", None]


def test_automatic_names_go_on_beside_rules_when_asked_for() -> None:
    named = caches(caches="sessions=sess:*", auto_caches=True)

    assert (named.name_of("sess:1"), named.name_of("cart:1")) == ("sessions", "cart")


def test_without_automatic_names_keys_are_in_the_default_cache() -> None:
    assert caches(auto_caches=False).name_of("user:1") == "_default"


def test_the_twenty_first_automatic_name_is_other_and_counted() -> None:
    overflows: list[int] = []
    named = caches(overflows)
    names = [named.name_of(f"cache{chr(97 + i)}:1") for i in range(25)]

    assert names[:20] == [f"cache{chr(97 + i)}" for i in range(20)]
    assert names[20:] == ["_other"] * 5
    assert len(overflows) == 5
    assert named.name_of("cachea:2") == "cachea"


def test_another_delimiter_separates_parts() -> None:
    assert caches(key_delimiter="/").name_of("user/1") == "user"


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*", ["", "a", "a\nb"], []),
        ("a*c", ["ac", "abc", "abcc"], ["ab", "xac", "a"]),
        ("a*b*c", ["abc", "axbxc", "abbcc"], ["acb", "ac"]),
        ("*:end", [":end", "x:end", ":end:end"], [":ends", "end"]),
        ("{a}:{b}", ["x:y"], [":y", "x:", "x:y:z"]),
        ("a.b", ["a.b"], ["axb"]),
        ("a?c", ["abc", "a:c"], ["ac", "abbc"]),
        ("*{id}:x", ["1:x", "a:1:x"], [":x"]),
        ("shop-{id}:x", ["shop-7:x"], ["shop-:x", "shop-7:y", "shop-7:8:x"]),
        ("{not a name}", ["{not a name}"], ["x"]),
    ],
)
def test_patterns_match_like_globs(pattern: str, matching: list[str], other: list[str]) -> None:
    matches = compile_pattern(pattern, ":")

    assert [text for text in matching if not matches(text)] == []
    assert [text for text in other if matches(text)] == []


def test_a_wildcard_bomb_takes_no_time() -> None:
    named = caches(caches={"bomb": "a*" * 100 + "b"})
    started = time.perf_counter()
    named.name_of("a" * 1_000_000)

    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    "pattern", ["p:{a}:{b}:{c}:{d}:x", "*{a}:*{b}:*{c}:x", "{a}*{b}*{c}*x", "*?*?*?*?x"]
)
@pytest.mark.parametrize("key", ["p-" * 500, "p:" * 500, "aaaa:" * 200, ":" * 1_000])
def test_no_key_makes_a_rule_slow(pattern: str, key: str) -> None:
    named = caches(caches={"slow": pattern})
    started = time.perf_counter()
    named.name_of(key)

    assert time.perf_counter() - started < 0.5


@given(st.text() | st.binary() | st.integers() | st.floats() | st.none())
def test_any_key_has_a_name_and_only_words_leave_the_process(key: object) -> None:
    name = caches().name_of(key)

    assert name is not None
    assert name in ("_default", "_other") or (2 <= len(name) <= 40 and name.isascii())


@pytest.mark.parametrize(
    ("key", "template"),
    [
        ("user:42", "user:{}"),
        ("user:42:profile", "user:{}:{}"),
        ("alice@example.com:7", "{}:{}"),
        ("celery-task-meta-alice:7", "{}:{}"),
        ("sess:abc", "sess:{}"),
        ("acct:7:limit", "acct:{}:limit"),
        ("alice", "{}"),
    ],
)
def test_a_template_shows_no_part_that_may_identify(key: str, template: str) -> None:
    rules = "sessions=sess:*,limits=acct:{id}:limit"

    assert caches(caches=rules, auto_caches=True).template_of(key) == template


def test_a_hash_depends_on_the_secret_alone() -> None:
    assert hash_key("user:1", "a") == hash_key(b"user:1", "a")
    assert hash_key("user:1", "a") != hash_key("user:1", "b")
    assert "user" not in hash_key("user:1", "a")
