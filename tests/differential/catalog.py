"""Keys, words and options that commands are drawn from, and the catalog that the families fill."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.differential.step import VALUE, Fresh, Later, Spoken, Step

Words = tuple[Spoken, ...]
Some = st.SearchStrategy

LONG_AGO, LONG_AGO_MS = "1000000000", "1000000000000"


class Kind(NamedTuple):
    """A command and how its forms are drawn."""

    family: str
    name: str
    steps: Some[Step]
    weight: int
    """How often it is drawn: little where there is nothing to see but that nothing is counted."""


COMMON = frozenset(
    (
        *("GET", "SET", "MGET", "GETDEL", "GETEX", "SETEX", "MSET", "HGET", "HMGET", "HGETALL"),
        *("HSET", "HDEL", "HGETDEL", "HGETEX", "HSETEX", "DEL", "UNLINK", "EXISTS", "TTL"),
        *("EXPIRE", "PEXPIRE", "EXPIREAT", "HEXPIRE", "SMEMBERS", "LRANGE", "ZRANGE"),
    )
)
"""What caches are made of, what removes explicitly and what gives a time to live."""

CATALOG: list[Kind] = []


def add(family: str, name: str, make: Callable[..., Step], *drawn: Some[Any]) -> None:
    """Add the forms of one command: what `make` makes of what is drawn."""
    CATALOG.append(Kind(family, name, st.builds(make, *drawn), 12 if name in COMMON else 3))


def silent(family: str, name: str, *drawn: Some[Any]) -> None:
    """Add a command that asks for nothing, removes nothing explicitly and is no write."""

    def step(*words: Any) -> Step:
        return Step((*name.split(), *flat(words)))

    CATALOG.append(Kind(family, name, st.builds(step, *drawn), 1))


def flat(words: Iterable[Any]) -> Words:
    return tuple(w for word in words for w in (word if isinstance(word, tuple | list) else (word,)))


# Keys: a few of each type in three caches, so that commands meet keys of other types too.

HOMES = {
    "string": ("users:text", "carts:text"),
    "hash": ("users:hash",),
    "list": ("carts:list",),
    "set": ("carts:set",),
    "sorted set": ("jobs:sorted",),
    "geo": ("jobs:geo",),
    "loglog": ("users:loglog",),
    "stream": ("jobs:stream",),
    "json": ("users:json",),
    "vectors": ("carts:vectors",),
    "series": ("jobs:series",),
}
KEYS = (*(key for keys in HOMES.values() for key in keys), "users:none", "carts:none")


def key_of(kind: str) -> Some[str]:
    """Three times in four a key where that type is at home."""
    homes = HOMES[kind]
    return st.sampled_from(homes * (3 * len(KEYS) // len(homes)) + KEYS)


ANY = st.sampled_from(KEYS[:8] * 3 + KEYS)
TEXT, HASH, LIST, SET = (key_of(kind) for kind in ("string", "hash", "list", "set"))
SORTED, GEO, LOGLOG, STREAM = (key_of(kind) for kind in ("sorted set", "geo", "loglog", "stream"))
JSON, VECTORS, SERIES = (key_of(kind) for kind in ("json", "vectors", "series"))


def several(drawn: Some[Any], most: int = 4) -> Some[list[Any]]:
    """One or more, some of them twice."""
    return st.lists(drawn, min_size=1, max_size=most)


def distinct(drawn: Some[Any], most: int = 3) -> Some[list[Any]]:
    return st.lists(drawn, min_size=1, max_size=most, unique=True)


FIELD = st.sampled_from(("f", "g", "h"))
MEMBER = st.sampled_from(("a", "b", "c"))
NEW: Some[Spoken] = st.just(VALUE)
NEW_OR_OLD: Some[Spoken] = st.sampled_from((VALUE, "v", "10"))
NEW_OR_MEMBER: Some[Spoken] = st.sampled_from((Fresh("m{}"), "a", "b"))
NUMBER = st.sampled_from(("1", "-2", "7"))
SCORE: Some[Spoken] = st.sampled_from((Fresh("{}.5"), "1", "2"))
INDEX = st.integers(-4, 4)
SIDE = st.sampled_from(("LEFT", "RIGHT"))


# Options.


def option(*words: str) -> Some[Words]:
    """None of them, or one."""
    return st.sampled_from(((), *((word,) for word in words)))


def ahead(unit: str) -> Some[Later]:
    return st.integers(1, 5).map(lambda hours: Later(hours, unit))


def _later(word: str, unit: str) -> Some[Words]:
    return ahead(unit).map(lambda time: (word, time))


LATER = st.one_of(
    _later("EX", "s"), _later("PX", "ms"), _later("EXAT", "at"), _later("PXAT", "at_ms")
)
PAST = st.sampled_from((("EXAT", LONG_AGO), ("PXAT", LONG_AGO_MS)))
INVALID = st.sampled_from((("EX", "0"), ("PX", "-5"), ("EX", "soon")))


def lifetime(*others: Words) -> Some[Words]:
    """Options of a write or of a read that renews: none, a deadline ahead, one long ago, others."""
    return st.one_of(st.just(()), LATER, PAST, st.sampled_from((*others, ("EX", "0"))))


def ttl_of(words: Words, otherwise: str) -> str:
    """What such options do to a time to live."""
    if "KEEPTTL" in words:
        return "kept"
    return "set" if words and words[0] != "PERSIST" else otherwise


UNITS = {"EXPIRE": "s", "PEXPIRE": "ms", "EXPIREAT": "at", "PEXPIREAT": "at_ms"}


def expiry(name: str) -> Some[Spoken]:
    """What the EXPIRE family may be given: a deadline ahead, one that has passed, nonsense."""
    unit = UNITS[name]
    past = (LONG_AGO, LONG_AGO_MS)[unit == "at_ms"] if unit.startswith("at") else "-1"
    passed = st.sampled_from(("0", past))
    return st.one_of(passed, ahead(unit), passed, ahead(unit), st.just("soon"))
