from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_redis_cache.caches import key_text
from otel_redis_cache.commands import MAX_TEXT, Commands, operation_of, rule_of_all
from otel_redis_cache.descriptions import joined
from otel_redis_cache.facts import Command


@pytest.mark.parametrize(
    ("args", "name", "operands"),
    [
        (("GET", "a"), "GET", ("a",)),
        (("get", "a"), "GET", ("a",)),
        ((b"GET", "a"), "GET", ("a",)),
        ((memoryview(b"get"), "a"), "GET", ("a",)),
        (("GET a",), "GET", ("a",)),
        (("CONFIG GET", "x"), "CONFIG GET", ("x",)),
        (("config", "get", "x"), "CONFIG GET", ("x",)),
        ((b"CONFIG", b"GET", b"x"), "CONFIG GET", (b"x",)),
        (("CONFIG", "SECRETWORD", "x"), "CONFIG", ("SECRETWORD", "x")),
        (("OBJECT", "encoding", "k"), "OBJECT ENCODING", ("k",)),
        (("MEMORY USAGE", "k"), "MEMORY USAGE", ("k",)),
        (("MY.CMD", "x"), "MY.CMD", ("x",)),
        (("BAD NAME!", "x"), "BAD", ("NAME!", "x")),
        (("né", "x"), "_OTHER", ("x",)),
        (("x" * 33,), "_OTHER", ()),
        (("",), "_OTHER", ()),
        ((5, "x"), "_OTHER", ("x",)),
        ((["GET"], "x"), "_OTHER", ("x",)),
        ((), "_OTHER", ()),
    ],
)
def test_a_command_is_recognised_as_the_client_puts_it_on_the_wire(
    args: tuple[object, ...], name: str, operands: tuple[object, ...]
) -> None:
    command = Commands().describe(args)

    assert command.rule.name == name
    # Words that were behind a space come as text or bytes, as they were given.
    assert [key_text(o) for o in command.operands] == [key_text(o) for o in operands]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("GET", "user:1"), "GET ?"),
        (("PING",), "PING"),
        (("SET", "k", "v", "EX", 60, "NX"), "SET ? ? EX ? NX"),
        (("SET", "EX", "NX"), "SET ? ?"),
        (("SET", "k", "v", "ex", 60), "SET ? ? EX ?"),
        (("SET", "k", "v", "IFEQ", "secret"), "SET ? ? IFEQ ?"),
        (("ZADD", "k", "NX", "CH", 1, "XX"), "ZADD ? NX CH ? ?"),
        (("HEXPIRE", "k", 5, "NX", "FIELDS", 1, "LT"), "HEXPIRE ? ? NX FIELDS ? ?"),
        (("AUTH", "user", "hunter2"), "AUTH ? ?"),
        (("HELLO", 3, "AUTH", "u", "p"), "HELLO ? ? ? ?"),
        (("ACL SETUSER", "u", ">p"), "ACL SETUSER ? ?"),
        (("CONFIG SET", "requirepass", "p"), "CONFIG SET ? ?"),
        (("MIGRATE", "h", 1, "k", 0, 5, "AUTH", "p"), "MIGRATE ? ? ? ? ? ? ?"),
        (("EVAL", "return 'x'", 1, "k"), "EVAL ? ? ?"),
        (("FT.SEARCH", "idx", "@name:bob"), "FT.SEARCH ? ?"),
        (("MY.CMD", "a", "b"), "MY.CMD ? ?"),
        (("what ever", "b"), "WHAT ? ?"),
    ],
)
def test_sanitized_text_shows_the_command_and_its_options(
    args: tuple[object, ...], text: str
) -> None:
    commands = Commands()

    assert commands.text_of(commands.describe(args)) == text


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("GET", "user:1"), "GET user:1"),
        (("SET", b"k", "v", "EX", 60), "SET k ? EX ?"),
        (("MSET", "a", 1, "b", 2), "MSET a ? b ?"),
        (("MIGRATE", "h", 1, "k", 0, 5, "AUTH", "p"), "MIGRATE ? ? k ? ? ? ?"),
        (("AUTH", "hunter2"), "AUTH ?"),
        (("EVAL", "body", 1, "k"), "EVAL ? ? k"),
        (("XREAD", "BLOCK", 5, "STREAMS", "a", "b", 0, 0), "XREAD BLOCK ? STREAMS a b ? ?"),
        (("ZUNIONSTORE", "d", 2, "a", "b"), "ZUNIONSTORE d ? a b"),
        (("ZUNIONSTORE", "d", 9, "a"), "ZUNIONSTORE d ? a"),
        (("BLPOP", "q", 0), "BLPOP q ?"),
    ],
)
def test_text_with_keys_shows_keys_alone(args: tuple[object, ...], text: str) -> None:
    commands = Commands()

    assert commands.text_with_keys(commands.describe(args), key_text) == text


def test_a_text_is_made_once_for_each_command_and_arity() -> None:
    commands = Commands()
    first = commands.text_of(commands.describe(("GET", "a")))

    assert commands.text_of(commands.describe(("GET", "b"))) is first


def test_texts_are_bounded_in_length_and_number() -> None:
    commands = Commands()
    for arity in range(1, 5_000):
        text = commands.text_of(commands.describe(("MGET", *["k"] * arity)))
        assert len(text) <= MAX_TEXT

    assert len(commands._texts) <= 2_048


def test_unknown_names_are_remembered_in_a_bounded_number() -> None:
    commands = Commands()
    for i in range(1_000):
        assert commands.describe((f"X{i}",)).rule.name == f"X{i}"

    assert len(commands._unknown) <= 256


def named(*commands: Command, transaction: bool = False) -> tuple[str, str]:
    return operation_of(commands, rule_of_all(commands), transaction=transaction)


def test_further_commands_may_be_named_on_metrics() -> None:
    commands = Commands(["MY.CMD", "MY DEEP"])

    assert named(commands.describe(("my.cmd", 1)))[1] == "MY.CMD"
    assert named(commands.describe(("my", "deep", 1)))[1] == "MY DEEP"
    assert named(commands.describe(("YOUR.CMD",))) == ("YOUR.CMD", "_OTHER")


@pytest.mark.parametrize(
    ("names", "transaction", "span", "metric"),
    [
        (["GET"], True, "GET", "GET"),
        (["GET", "GET"], False, "PIPELINE GET", "PIPELINE GET"),
        (["GET", "get"], True, "MULTI GET", "MULTI GET"),
        (["GET", "SET"], False, "PIPELINE", "PIPELINE"),
        (["GET", "SET"], True, "MULTI", "MULTI"),
        (["FOO", "FOO"], False, "PIPELINE FOO", "PIPELINE _OTHER"),
        ([], True, "MULTI", "MULTI"),
    ],
)
def test_a_batch_is_named_after_its_only_command(
    names: list[str], transaction: bool, span: str, metric: str
) -> None:
    commands = Commands()
    described = [commands.describe((name, "k")) for name in names]

    assert named(*described, transaction=transaction) == (span, metric)


def test_scripts_that_have_rules_of_their_own_are_one_command_all_the_same() -> None:
    commands = Commands(scripts=[("f", "reads"), ("g", "removes")])
    described = [commands.describe(("FCALL", name, 1, "k")) for name in ("f", "g", "h")]

    assert named(*described) == ("PIPELINE FCALL", "PIPELINE FCALL")


def text_of_batch(*batch: tuple[object, ...]) -> str:
    commands = Commands()
    return joined(commands.texts_of(commands.describe_batch(batch)))


def test_a_batch_of_one_text_is_that_text() -> None:
    assert text_of_batch(("GET", 1), ("GET", 2)) == "GET ?"


def test_a_mixed_batch_joins_its_texts() -> None:
    assert text_of_batch(("GET", 1), ("GET", 2), ("SET", 1, 2), ("GET", 1)) == (
        "GET ?; GET ?; SET ? ?; GET ?"
    )


def test_a_huge_batch_has_a_bounded_text() -> None:
    batch = [("GET", 1)] * 100_000

    assert text_of_batch(*batch) == "GET ?"
    assert len(text_of_batch(*batch, ("SET", 1, 2))) <= MAX_TEXT
    assert len(text_of_batch(("SET", 1, 2), *batch)) <= MAX_TEXT


OPERANDS = st.lists(
    st.text(max_size=20)
    | st.binary(max_size=20)
    | st.integers()
    | st.floats()
    | st.none()
    | st.lists(st.integers(), max_size=2),
    max_size=12,
)


@given(st.sampled_from(sorted(Commands()._by_name)) | st.text(max_size=10), OPERANDS)
def test_any_arguments_have_a_description_a_text_and_keys(
    name: str, operands: list[object]
) -> None:
    commands = Commands()
    command = commands.describe((name, *operands))

    assert set(commands.text_of(command).split(" ")) <= (
        {"?", "_OTHER"} | set(command.rule.name.split(" ")) | command.rule.words
    )
    assert len(commands.text_with_keys(command, key_text)) <= MAX_TEXT
    assert len(command.keys) <= len(command.operands)
