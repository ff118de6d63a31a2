from __future__ import annotations

import ctypes
import uuid
import weakref

import pytest

from otel_redis_cache.lookups import PROBE_KEYS
from otel_redis_cache.operands import distinct, key_bytes, number, options, seconds_by_option, word

NOW = 1_700_000_000.0


@pytest.mark.parametrize("operand", ["ex", b"ex", bytearray(b"ex"), memoryview(b"ex")])
def test_an_option_is_read_however_it_is_given(operand: object) -> None:
    assert word(operand) == "EX"


def test_a_view_without_dimensions_is_read_and_a_long_one_is_not() -> None:
    assert word(memoryview(ctypes.c_char(b"x"))) == "X"
    assert word(memoryview(b"x" * 33)) == ""


@pytest.mark.parametrize("operand", [-1, "-1", b"-1", bytearray(b"-1"), memoryview(b"-1")])
def test_a_number_is_read_however_it_is_given(operand: object) -> None:
    assert number(operand) == -1


@pytest.mark.parametrize(
    ("option", "given", "left"),
    [
        ("EX", 60, 60),
        ("PX", 1_500, 1.5),
        ("EXAT", NOW + 60, 60),
        ("PXAT", (NOW - 1) * 1_000, -1),
        ("EX", 0, 0),
        ("EX", -1, None),  # servers refuse it, so that it removes nothing
        ("EX", "soon", None),
        ("KEEPTTL", 60, None),
    ],
)
def test_what_is_left_of_a_time_to_live(option: str, given: object, left: float | None) -> None:
    assert seconds_by_option(("user:1", option, given), 1, NOW) == left


def test_a_relative_time_counts_only_where_it_is_asked_for() -> None:
    assert seconds_by_option(("user:1", "EX", 0), 1, NOW, relative=False) is None


def test_a_count_beyond_what_was_asked_for_takes_no_memory() -> None:
    assert len(PROBE_KEYS.found(("user:1",), 10**12)) == 2  # no answer to one lookup


class Key:
    """Of an application that has an encoder of its own."""


def test_keys_of_the_applications_own_kind_are_told_apart_and_not_kept() -> None:
    one, same, other = uuid.UUID(int=1), uuid.UUID(int=1), uuid.UUID(int=2)
    key = Key()
    name, is_alive = key_bytes(key), weakref.ref(key)
    del key

    assert key_bytes(one) == key_bytes(same) != key_bytes(other)
    assert distinct([one, other, same, None, 10**5_000, 10**5_001]) == 5
    assert distinct([[], {}]) == 1
    assert name is not None
    assert is_alive() is None


def test_no_argument_is_kept_but_what_an_option_is_given() -> None:
    assert options(("key", "value", "EX", 60), 2) is options(("key", "value", "EX", 60), 2)
    assert options(("secret", 60), 0) is not options(("secret", 60), 0)
