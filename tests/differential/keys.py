"""Strings and what is done with keys of any type."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.differential.catalog import (
    ANY,
    INVALID,
    LIST,
    NEW,
    NEW_OR_OLD,
    NUMBER,
    SET,
    SORTED,
    TEXT,
    UNITS,
    Words,
    add,
    ahead,
    distinct,
    expiry,
    flat,
    lifetime,
    option,
    several,
    silent,
    ttl_of,
)
from tests.differential.step import Spoken, Step, Writes, equal, typed, whole

DUMPED = b"\x00\x01v\n\x00\x91\x08\xce\xb2\x198\x8a\xce"
"""What the oldest server dumps of the string ``v``; every newer one restores it."""


# Strings.


def _get(key: str) -> Step:
    return Step(("GET", key), reads=(whole(key),))


def _get_too_much(key: str) -> Step:
    return Step(("GET", key, key), reads=(whole(key),), malformed=True)


def _mget(keys: list[str]) -> Step:
    return Step(("MGET", *keys), reads=tuple(typed(key, "string") for key in keys))


def _getdel(key: str) -> Step:
    return Step(("GETDEL", key), reads=(whole(key),), removes=(whole(key),))


def _getex(key: str, life: Words) -> Step:
    entries = (whole(key),)
    return Step(("GETEX", key, *life), reads=entries, removes=entries, reason="expire")


def _getset(key: str, value: Spoken) -> Step:
    writes = Writes((key,), "none", changes=True)
    return Step(("GETSET", key, value), reads=(whole(key),), writes=writes)


def _set(key: str, value: Spoken, life: Words, condition: Words, get: Words, turned: bool) -> Step:
    options = (condition, get, life) if turned else (life, get, condition)
    needs = (whole(key),) if condition == ("XX",) else ()
    if condition == ("IFEQ", "v"):
        needs = (equal(key, "v"),)
    writes = Writes(
        (key,),
        ttl_of(life, "none"),
        needs=needs,
        forbids=(whole(key),) if condition == ("NX",) else (),
        changes=not isinstance(value, str),
    )
    return Step(
        ("SET", key, value, *flat(options)),
        reads=(whole(key),) if get else (),
        writes=writes,
        lasts=(whole(key),),
        options={"get": True} if get else {},
    )


def _setex(name: str, key: str, time: Spoken, value: Spoken) -> Step:
    writes = Writes((key,), "set", changes=True)
    return Step((name, key, time, value), writes=writes, lasts=(whole(key),))


def _setnx(key: str, value: Spoken) -> Step:
    return Step(("SETNX", key, value), writes=Writes((key,), "none", forbids=(whole(key),)))


def _mset(keys: list[str], value: Spoken) -> Step:
    return Step(("MSET", *flat((key, value) for key in keys)), writes=Writes(tuple(keys), "none"))


def _msetnx(keys: list[str], value: Spoken) -> Step:
    forbids = tuple(whole(key) for key in keys)
    words = ("MSETNX", *flat((key, value) for key in keys))
    return Step(words, writes=Writes(tuple(keys), "none", forbids=forbids))


def _msetex(keys: list[str], value: Spoken, condition: Words, life: Words) -> Step:
    entries = tuple(whole(key) for key in keys)
    writes = Writes(
        tuple(keys),
        ttl_of(life, "none"),
        needs=entries if condition == ("XX",) else (),
        forbids=entries if condition == ("NX",) else (),
    )
    pairs = flat((key, value) for key in keys)
    words = ("MSETEX", str(len(keys)), *pairs, *condition, *life)
    return Step(words, writes=writes, lasts=entries)


def _update(name: str, key: str, *operands: Spoken) -> Step:
    return Step((name, key, *operands), writes=Writes((key,)))


def _delifeq(key: str, value: str) -> Step:
    return Step(("DELIFEQ", key, value), removes=(whole(key),))


def _delex(key: str, condition: Words) -> Step:
    return Step(("DELEX", key, *condition), removes=(whole(key),))


LIFE = lifetime(("KEEPTTL",), ("EX", "-1"))

add(
    "string",
    "SET",
    _set,
    TEXT,
    NEW_OR_OLD,
    LIFE,
    st.sampled_from(((), (), ("NX",), ("XX",), ("IFEQ", "v"))),
    option("GET"),
    st.booleans(),
)
for form in (_get, _get_too_much):
    add("string", "GET", form, TEXT)
add("string", "MGET", _mget, several(TEXT))
add("string", "GETDEL", _getdel, TEXT)
add("string", "GETEX", _getex, TEXT, st.one_of(lifetime(("PERSIST",)), INVALID))
add("string", "GETSET", _getset, TEXT, NEW)
for name, unit in (("SETEX", "EXPIRE"), ("PSETEX", "PEXPIRE")):
    add("string", name, _setex, st.just(name), TEXT, expiry(unit).filter(lambda t: t != "-1"), NEW)
add("string", "SETNX", _setnx, TEXT, NEW)
add("string", "MSET", _mset, distinct(TEXT), NEW)
add("string", "MSETNX", _msetnx, distinct(TEXT), NEW)
add("string", "MSETEX", _msetex, distinct(TEXT), NEW, option("NX", "XX"), LIFE)
add("string", "APPEND", _update, st.just("APPEND"), TEXT, NEW)
for name in ("INCR", "DECR"):
    add("string", name, _update, st.just(name), TEXT)
for name in ("INCRBY", "DECRBY", "INCRBYFLOAT"):
    add("string", name, _update, st.just(name), TEXT, NUMBER)
add("string", "SETRANGE", _update, st.just("SETRANGE"), TEXT, st.just("1"), NEW)
add("string", "DELIFEQ", _delifeq, TEXT, st.sampled_from(("v", "10", "w")))
add("string", "DELEX", _delex, TEXT, st.sampled_from(((), ("IFEQ", "v"), ("IFNE", "v"))))
silent("string", "STRLEN", TEXT)
silent("string", "GETRANGE", TEXT, st.just(("0", "-1")))
silent("string", "SUBSTR", TEXT, st.just(("0", "1")))
silent("string", "LCS", TEXT, TEXT)


# Keys of any type.


def _delete(name: str, keys: list[str]) -> Step:
    return Step((name, *keys), removes=tuple(whole(key) for key in keys))


def _count(name: str, keys: list[str]) -> Step:
    reads = tuple(whole(key) for key in keys)
    return Step((name, *keys), reads=reads, probes=True, counted=True)


def _probe(name: str, key: str) -> Step:
    return Step((*name.split(), key), reads=(whole(key),), probes=True)


def _dump(key: str) -> Step:
    return Step(("DUMP", key), reads=(whole(key),))


def _expire(name: str, key: str, time: Spoken, condition: Words) -> Step:
    entries = (whole(key),)
    return Step((name, key, time, *condition), removes=entries, reason="expire", lasts=entries)


def _copy(source: str, destination: str, replace: Words) -> Step:
    forbids = () if replace else (whole(destination),)
    writes = Writes((destination,), needs=(whole(source),), forbids=forbids)
    return Step(("COPY", source, destination, *replace), writes=writes)


def _restore(key: str, life: tuple[Spoken, Words], replace: Words) -> Step:
    time, absolute = life
    writes = Writes((key,), "none" if time == "0" else "set")
    words = ("RESTORE", key, time, DUMPED, *replace, *absolute)
    return Step(words, writes=writes, lasts=(whole(key),))


def _sort(key: str, destination: str, order: Words) -> Step:
    writes = Writes((destination,), "none", otherwise=None)
    return Step(("SORT", key, *order, "STORE", destination), writes=writes)


for name in ("DEL", "UNLINK"):
    add("generic", name, _delete, st.just(name), several(ANY))
for name in ("EXISTS", "TOUCH"):
    add("generic", name, _count, st.just(name), several(ANY))
for name in (
    *("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "TYPE", "MEMORY USAGE"),
    *("OBJECT ENCODING", "OBJECT IDLETIME", "OBJECT REFCOUNT", "OBJECT FREQ"),
):
    add("generic", name, _probe, st.just(name), ANY)
add("generic", "DUMP", _dump, ANY)
CONDITION = st.sampled_from(((), (), (), ("NX",), ("XX",), ("GT",), ("LT",), ("NX", "GT")))
for name in UNITS:
    add("generic", name, _expire, st.just(name), ANY, expiry(name), CONDITION)
add("generic", "COPY", _copy, ANY, ANY, option("REPLACE"))
LIVES = st.one_of(
    st.sampled_from((("0", ()), ("1000000000000", ("ABSTTL",)), ("-1", ()))),
    ahead("ms").map(lambda time: (time, ())),
    ahead("at_ms").map(lambda time: (time, ("ABSTTL",))),
)
add("generic", "RESTORE", _restore, ANY, LIVES, option("REPLACE"))
SORTABLE = st.one_of(LIST, SET, SORTED)
ORDER = st.sampled_from(
    (("ALPHA",), (), ("ALPHA", "LIMIT", "0", "1"), ("ALPHA", "LIMIT", "9", "1"))
)
add("generic", "SORT", _sort, SORTABLE, ANY, ORDER)
silent("generic", "SORT", SORTABLE, ORDER)
silent("generic", "SORT_RO", SORTABLE, ORDER)
silent("generic", "PERSIST", ANY)
silent("generic", "RENAME", ANY, ANY)
silent("generic", "RENAMENX", ANY, ANY)
silent("generic", "MOVE", ANY, st.just("1"))
silent("generic", "SCAN", st.just("0"))
silent("generic", "KEYS", st.just("users:*"))
silent("generic", "DBSIZE")
silent("generic", "FLUSHDB")
silent("generic", "EVAL", st.just(("return redis.call('EXISTS', KEYS[1])", "1")), ANY)
