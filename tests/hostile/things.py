"""Things of any type and shape, as hypothesis draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from hypothesis import strategies as st
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    DataError,
    InvalidResponse,
    MovedError,
    ResponseError,
)

from otel_redis_cache.commands import TABLE


class Hostile:
    """Whatever is asked of it raises."""

    def refuse(self, *_: object) -> NoReturn:
        raise ZeroDivisionError

    __str__ = __repr__ = __bool__ = __len__ = __iter__ = __index__ = refuse
    __eq__ = __getitem__ = __call__ = refuse
    __hash__ = refuse


class HostileMapping(Hostile, Mapping[Any, Any]):
    """The same of what says that it is a mapping."""


class Odd(str):
    """Text that is not quite ``str``."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


NAMES = sorted(TABLE)
_ODD_KEYS = [
    "user:1", b"user:1", "user:2", "", ":", "::", ":1:user:1", "{", "}{", "{user}:1", "a" * 70 + ":1", "user:\n1",
    "user:\0", "\N{PILE OF POO}:1", "\ud800:1", b"\xff\xfe:1", "*" * 40, "?" * 99, "user:" + "x" * 5_000,
    0, -1, 1.5, float("nan"), float("inf"), 10**30, True, None,
]  # fmt: skip
_OPTIONS = [
    *["EX", "PX", "EXAT", "PXAT", "NX", "XX", "GT", "LT", "GET", "KEEPTTL", "IFEQ", "MATCH", "COUNT", "LIMIT", "FIELDS", "STREAMS", "STORE", "BLOCK", "WITHSCORES"],
    "ex", b"EX", "Ex", "60", b"60", 60, 60.0, -1, 0, "0", "1e400", "nan", "-0", "9" * 40, "$", ".", "+inf", "LOAD",
]  # fmt: skip

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.binary(max_size=20).map(bytearray),
    st.binary(max_size=20).map(memoryview),
)
operands: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(_ODD_KEYS),
    st.sampled_from(_OPTIONS),
    scalars,
    st.builds(Odd, st.sampled_from(["user:1", "EX", "GET"])),
    st.builds(Hostile),
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4),
    st.dictionaries(st.text(max_size=3), scalars, max_size=2),
)
command_names: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(NAMES).map(str.lower),
    st.sampled_from(NAMES).map(str.encode),
    st.sampled_from(NAMES).flatmap(lambda name: st.sampled_from([name + " ", name + " user:1"])),
    operands,
)
commands = st.tuples(command_names, st.lists(operands, max_size=6)).map(
    lambda drawn: (drawn[0], *drawn[1])
)

errors = st.builds(
    lambda kind, text: kind(text),
    st.sampled_from([ResponseError, DataError, InvalidResponse, BusyLoadingError]),
    st.sampled_from(["WRONGTYPE no", "ERR user:1 secret", "", "OOM", "NOPERM", "\n", "MOVED"]),
) | st.builds(lambda kind: kind("1 127.0.0.1:1"), st.sampled_from([MovedError, AskError]))
replies: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.sampled_from([b"OK", True, 0, 1, -1, -2, b"", b"QUEUED", 10**19, b"none", float("nan")]),
    st.integers(),
    st.binary(max_size=20),
    st.text(max_size=20),
    st.floats(),
    errors,
    st.recursive(
        st.one_of(st.none(), st.integers(), st.binary(max_size=8), errors),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=4), inner, max_size=3)
        ),
        max_leaves=8,
    ),
)
