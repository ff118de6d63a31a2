"""Lists, sets and sorted sets."""

from __future__ import annotations

from functools import partial

from hypothesis import strategies as st

from tests.differential.catalog import (
    ANY,
    INDEX,
    LIST,
    MEMBER,
    NEW,
    NEW_OR_MEMBER,
    SCORE,
    SET,
    SIDE,
    SORTED,
    Words,
    add,
    flat,
    option,
    several,
    silent,
)
from tests.differential.step import (
    Spoken,
    Step,
    Writes,
    list_element,
    list_index,
    set_member,
    sorted_member,
    whole,
)


def read(
    family: str, name: str, key: st.SearchStrategy[str], *operands: str, probes: bool = False
) -> None:
    """Add a command that asks for a whole key."""

    def step(key: str) -> Step:
        return Step((name, key, *operands), reads=(whole(key),), probes=probes)

    add(family, name, step, key)


def update(
    family: str, name: str, key: st.SearchStrategy[str], *drawn: st.SearchStrategy[object]
) -> None:
    """Add an update in place: accepted is stored, for no state tells a value from the same value."""

    def step(key: str, *operands: object) -> Step:
        return Step((name, key, *flat(operands)), writes=Writes((key,)))

    add(family, name, step, key, *drawn)


def stored(family: str, name: str, *drawn: st.SearchStrategy[object]) -> None:
    """Add a command that puts a result in the key that is drawn first; an empty one is none."""

    def step(destination: str, *operands: object) -> Step:
        return Step((name, destination, *flat(operands)), writes=Writes((destination,), "none"))

    add(family, name, step, ANY, *drawn)


# Lists.


def _lindex(key: str, index: int) -> Step:
    return Step(("LINDEX", key, str(index)), reads=(list_index(key, index),))


def _push_if_there(name: str, key: str, value: Spoken) -> Step:
    return Step((name, key, value), writes=Writes((key,), needs=(whole(key),), changes=True))


def _linsert(key: str, place: str, pivot: str, value: Spoken) -> Step:
    writes = Writes((key,), needs=(list_element(key, pivot),), changes=True)
    return Step(("LINSERT", key, place, pivot, value), writes=writes)


def _move(words: Words, source: str, destination: str) -> Step:
    writes = Writes((destination,), needs=(whole(source),), otherwise=None)
    return Step((str(words[0]), source, destination, *words[1:]), writes=writes)


read("list", "LRANGE", LIST, "0", "-1")
read("list", "LLEN", LIST, probes=True)
add("list", "LINDEX", _lindex, LIST, INDEX)
for name in ("LPUSH", "RPUSH"):
    update("list", name, LIST, several(NEW, 2))
for name in ("LPUSHX", "RPUSHX"):
    add("list", name, _push_if_there, st.just(name), LIST, NEW)
update("list", "LSET", LIST, st.sampled_from(("0", "-1", "3")), NEW)
add("list", "LINSERT", _linsert, LIST, st.sampled_from(("BEFORE", "AFTER")), MEMBER, NEW)
add("list", "LMOVE", _move, st.tuples(st.just("LMOVE"), SIDE, SIDE), LIST, LIST)
add("list", "RPOPLPUSH", _move, st.just(("RPOPLPUSH",)), LIST, LIST)
silent("list", "LRANGE", LIST, st.sampled_from((("0", "1"), ("-2", "-1"), ("5", "9"), ("1", "-1"))))
silent("list", "LPOS", LIST, MEMBER)
silent("list", "LREM", LIST, st.just("0"), MEMBER)
silent("list", "LTRIM", LIST, st.sampled_from((("0", "0"), ("1", "-1"), ("5", "9"))))
for name in ("LPOP", "RPOP"):
    silent("list", name, LIST, option("2"))
silent("list", "LMPOP", st.just("2"), LIST, LIST, SIDE)


# Sets.


def _is_member(key: str, member: str) -> Step:
    return Step(("SISMEMBER", key, member), reads=(set_member(key, member),), probes=True)


def _are_members(key: str, members: list[str]) -> Step:
    reads = tuple(set_member(key, member) for member in members)
    return Step(("SMISMEMBER", key, *members), reads=reads, probes=True)


def _smove(source: str, destination: str, member: str) -> Step:
    writes = Writes((destination,), needs=(set_member(source, member),), otherwise=None)
    return Step(("SMOVE", source, destination, member), writes=writes)


def _spop(key: str, count: Words) -> Step:
    return Step(("SPOP", key, *count), by_chance=True)


read("set", "SMEMBERS", SET)
read("set", "SRANDMEMBER", SET)
read("set", "SCARD", SET, probes=True)
update("set", "SADD", SET, several(NEW_OR_MEMBER, 2))
add("set", "SISMEMBER", _is_member, SET, MEMBER)
add("set", "SMISMEMBER", _are_members, SET, several(MEMBER))
add("set", "SMOVE", _smove, SET, SET, MEMBER)
add("set", "SPOP", _spop, SET, option("2"))
for name in ("SDIFFSTORE", "SINTERSTORE", "SUNIONSTORE"):
    stored("set", name, several(SET, 2))
for name in ("SDIFF", "SINTER", "SUNION"):
    silent("set", name, several(SET, 2))
silent("set", "SINTERCARD", st.just("2"), SET, SET)
silent("set", "SRANDMEMBER", SET, st.just("2"))
silent("set", "SREM", SET, several(MEMBER))
silent("set", "SSCAN", SET, st.just("0"))


# Sorted sets.


def _of_member(name: str, key: str, member: str) -> Step:
    return Step((name, key, member), reads=(sorted_member(key, member),))


def _scores(key: str, members: list[str]) -> Step:
    reads = tuple(sorted_member(key, member) for member in members)
    return Step(("ZMSCORE", key, *members), reads=reads)


def _range(words: Words, key: str, extra: Words) -> Step:
    return Step((words[0], key, *words[1:], *extra), reads=(whole(key),))


read("sorted set", "ZRANDMEMBER", SORTED)
read("sorted set", "ZCARD", SORTED, probes=True)
for name in ("ZSCORE", "ZRANK", "ZREVRANK"):
    add("sorted set", name, partial(_of_member, name), SORTED, MEMBER)
add("sorted set", "ZMSCORE", _scores, SORTED, several(MEMBER))
SCORED = option("WITHSCORES")
for words, extra in (
    (("ZRANGE", "0", "-1"), option("WITHSCORES", "REV")),
    (("ZRANGE", "-inf", "+inf", "BYSCORE"), SCORED),
    (("ZRANGE", "+inf", "-inf", "BYSCORE", "REV"), SCORED),
    (("ZRANGE", "-", "+", "BYLEX"), st.just(())),
    (("ZREVRANGE", "0", "-1"), SCORED),
    (("ZRANGEBYSCORE", "-inf", "+inf"), SCORED),
    (("ZREVRANGEBYSCORE", "+inf", "-inf"), SCORED),
    (("ZRANGEBYLEX", "-", "+"), st.just(())),
    (("ZREVRANGEBYLEX", "+", "-"), st.just(())),
):
    add("sorted set", words[0], _range, st.just(words), SORTED, extra)
for words in (
    (("ZRANGE"), ("0", "0")),
    (("ZRANGE"), ("1", "-1")),
    (("ZRANGE"), ("5", "9")),
    (("ZRANGE"), ("-inf", "+inf", "BYSCORE", "LIMIT", "0", "1")),
    (("ZRANGE"), ("-inf", "+inf", "BYSCORE", "REV")),
    (("ZRANGE"), ("+", "-", "BYLEX")),
    (("ZREVRANGE"), ("1", "2")),
    (("ZRANGEBYSCORE"), ("-inf", "1")),
    (("ZRANGEBYSCORE"), ("-inf", "+inf", "LIMIT", "1", "1")),
    (("ZREVRANGEBYSCORE"), ("-inf", "+inf")),
    (("ZRANGEBYLEX"), ("[b", "+")),
    (("ZREVRANGEBYLEX"), ("-", "+")),
):
    silent("sorted set", words[0], SORTED, st.just(words[1]))
PAIRS = st.tuples(SCORE, NEW_OR_MEMBER)
update("sorted set", "ZADD", SORTED, PAIRS)
update("sorted set", "ZINCRBY", SORTED, PAIRS)
for name in ("ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"):
    stored("sorted set", name, st.just("2"), SORTED, SORTED)
stored("sorted set", "ZRANGESTORE", SORTED, st.sampled_from((("0", "-1"), ("5", "9"))))
for name in ("ZUNION", "ZINTER", "ZDIFF", "ZINTERCARD"):
    silent("sorted set", name, st.just("2"), SORTED, SORTED)
for name in ("ZPOPMIN", "ZPOPMAX"):
    silent("sorted set", name, SORTED, option("2"))
silent("sorted set", "ZMPOP", st.just("2"), SORTED, SORTED, st.just("MIN"))
silent("sorted set", "ZREM", SORTED, several(MEMBER))
silent("sorted set", "ZREMRANGEBYSCORE", SORTED, st.just(("-inf", "1")))
silent("sorted set", "ZREMRANGEBYRANK", SORTED, st.just(("0", "0")))
silent("sorted set", "ZREMRANGEBYLEX", SORTED, st.just(("-", "[a")))
silent("sorted set", "ZCOUNT", SORTED, st.just(("-inf", "+inf")))
silent("sorted set", "ZLEXCOUNT", SORTED, st.just(("-", "+")))
silent("sorted set", "ZRANDMEMBER", SORTED, st.just("2"))
silent("sorted set", "ZSCAN", SORTED, st.just("0"))
