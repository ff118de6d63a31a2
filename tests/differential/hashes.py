"""Hashes, their fields and the times to live of those."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.differential.catalog import (
    FIELD,
    HASH,
    INVALID,
    NEW,
    NEW_OR_OLD,
    NUMBER,
    UNITS,
    Words,
    add,
    distinct,
    expiry,
    flat,
    lifetime,
    option,
    several,
    silent,
    ttl_of,
)
from tests.differential.step import Entry, Spoken, Step, Writes, hash_field, whole


def _fields(key: str, names: list[str]) -> tuple[Entry, ...]:
    return tuple(hash_field(key, name) for name in names)


def _counted(names: list[str]) -> Words:
    return ("FIELDS", str(len(names)), *names)


def _all(name: str, key: str) -> Step:
    return Step((name, key), reads=(whole(key),))


def _one(name: str, key: str, field: str) -> Step:
    return Step((name, key, field), reads=(hash_field(key, field),), probes=name == "HEXISTS")


def _hmget(key: str, names: list[str]) -> Step:
    return Step(("HMGET", key, *names), reads=_fields(key, names))


def _hlen(key: str) -> Step:
    return Step(("HLEN", key), reads=(whole(key),), probes=True)


def _hdel(key: str, names: list[str]) -> Step:
    return Step(("HDEL", key, *names), removes=_fields(key, names))


def _hset(name: str, key: str, names: list[str], value: Spoken) -> Step:
    writes = Writes((key,), changes=not isinstance(value, str))
    return Step((name, key, *flat((field, value) for field in names)), writes=writes)


def _hsetnx(key: str, field: str, value: Spoken) -> Step:
    writes = Writes((key,), forbids=(hash_field(key, field),))
    return Step(("HSETNX", key, field, value), writes=writes)


def _increment(name: str, key: str, field: str, by: str) -> Step:
    return Step((name, key, field, by), writes=Writes((key,)))


def _hgetdel(key: str, names: list[str]) -> Step:
    entries = _fields(key, names)
    return Step(("HGETDEL", key, *_counted(names)), reads=entries, removes=entries)


def _hgetex(key: str, life: Words, names: list[str]) -> Step:
    entries = _fields(key, names)
    words = ("HGETEX", key, *life, *_counted(names))
    return Step(words, reads=entries, removes=entries, reason="expire")


def _hsetex(key: str, condition: Words, life: Words, names: list[str], value: Spoken) -> Step:
    entries = _fields(key, names)
    writes = Writes(
        (key,),
        ttl_of(life, "kept"),
        needs=entries if condition == ("FXX",) else (),
        forbids=entries if condition == ("FNX",) else (),
        lands=entries,
    )
    pairs = flat((field, value) for field in names)
    words = ("HSETEX", key, *condition, *life, "FIELDS", str(len(names)), *pairs)
    return Step(words, writes=writes, lasts=entries)


def _hexpire(name: str, key: str, time: Spoken, condition: Words, names: list[str]) -> Step:
    words = (name, key, time, *condition, *_counted(names))
    entries = _fields(key, names)
    return Step(words, removes=entries, reason="expire", lasts=entries)


def _field_probe(name: str, key: str, names: list[str]) -> Step:
    return Step((name, key, *_counted(names)), reads=_fields(key, names), probes=True)


for name in ("HGETALL", "HKEYS", "HVALS", "HRANDFIELD"):
    add("hash", name, _all, st.just(name), HASH)
for name in ("HGET", "HEXISTS"):
    add("hash", name, _one, st.just(name), HASH, FIELD)
add("hash", "HMGET", _hmget, HASH, several(FIELD))
add("hash", "HLEN", _hlen, HASH)
add("hash", "HDEL", _hdel, HASH, several(FIELD))
for name in ("HSET", "HMSET"):
    add("hash", name, _hset, st.just(name), HASH, several(FIELD, 2), NEW_OR_OLD)
add("hash", "HSETNX", _hsetnx, HASH, FIELD, NEW)
for name in ("HINCRBY", "HINCRBYFLOAT"):
    add("hash", name, _increment, st.just(name), HASH, FIELD, NUMBER)
add("hash", "HGETDEL", _hgetdel, HASH, several(FIELD, 3))
add(
    "hash",
    "HGETEX",
    _hgetex,
    HASH,
    st.one_of(lifetime(("PERSIST",)), INVALID),
    several(FIELD, 3),
)
add(
    "hash",
    "HSETEX",
    _hsetex,
    HASH,
    option("FNX", "FXX"),
    lifetime(("KEEPTTL",)),
    distinct(FIELD),
    NEW,
)
CONDITION = st.sampled_from(((), (), (), ("NX",), ("XX",), ("GT",), ("LT",)))
for name in UNITS:
    add(
        "hash",
        f"H{name}",
        _hexpire,
        st.just(f"H{name}"),
        HASH,
        expiry(name),
        CONDITION,
        several(FIELD, 3),
    )
for name in ("HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME"):
    add("hash", name, _field_probe, st.just(name), HASH, several(FIELD, 3))
silent("hash", "HPERSIST", HASH, several(FIELD, 3).map(_counted))
silent("hash", "HSTRLEN", HASH, FIELD)
silent("hash", "HRANDFIELD", HASH, st.just("2"))
silent("hash", "HSCAN", HASH, st.just("0"))
