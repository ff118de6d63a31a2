"""What every command of the table means to a cache, as data to hold against real servers.

A case is a command as an application writes it, and what it must add to our counts. It meets
servers that hold exactly :data:`DATA`. Keys of ``data:none`` and ``data:new`` are never there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from otel_redis_cache.commands import Commands
from otel_redis_cache.facts import Command

Counts = Counter[tuple[str, ...]]
"""(metric, cache name, values of its other attributes ...) -> increase."""

DATA = (
    "SET data:string v",
    "SET data:number 10",
    "HSET data:hash f 1 g 2",
    "SADD data:set a b",
    "SADD data:ints 1 2",
    "ZADD data:zset 1 a 2 b",
    "RPUSH data:list a b c",
    "RPUSH other:list a",
)

DUMPED = b"\x00\x01v\n\x00\x91\x08\xce\xb2\x198\x8a\xce"
"""What Redis 7.0 dumps of the string ``v``; every newer server restores it."""

LONG_AGO = "1000000000"
LONG_AGO_MS = "1000000000000"
FAR_AHEAD = "9000000000"
FAR_AHEAD_MS = "9000000000000"

CACHE = "data"
"""The cache of every key in the cases."""

_describe = Commands().describe


@dataclass(frozen=True)
class Case:
    """One command and what it must add to our counts."""

    text: str
    counts: Counts
    probes: Counts = field(default_factory=Counter)
    """What it adds beside that with ``count_probes``."""
    fails: bool = False
    refused: bool = False
    """It fails before it is queued, so that a transaction around it is aborted."""
    denied: bool = False
    """It fails because the user may not run it, for nothing else makes this command fail."""
    setup: tuple[str, ...] = ()
    only: str = ""
    """The one kind of server that knows this form."""

    @property
    def args(self) -> tuple[Any, ...]:
        return words(self.text)

    @property
    def command(self) -> Command:
        return _describe(self.args)

    @property
    def lookups(self) -> set[str]:
        """hit, miss, error: what it proves about lookups, probes included."""
        return {kind for metric, _, kind, *_ in self.counts + self.probes if metric == "requests"}


def words(text: str) -> tuple[Any, ...]:
    return tuple(DUMPED if word == "<dump>" else word for word in text.split())


# What a command may add to the counts.


def _requests(kind: str, count: int, cache: str) -> Counts:
    return Counter({("requests", cache, kind): count})


def hit(count: int = 1, cache: str = CACHE) -> Counts:
    return _requests("hit", count, cache)


def miss(count: int = 1, cache: str = CACHE) -> Counts:
    return _requests("miss", count, cache)


def error(count: int = 1, cache: str = CACHE) -> Counts:
    return _requests("error", count, cache)


def stored(ttl: str, count: int = 1, cache: str = CACHE) -> Counts:
    return Counter({("writes", cache, ttl, "stored"): count})


def refused(ttl: str, count: int = 1, cache: str = CACHE) -> Counts:
    return Counter({("writes", cache, ttl, "refused"): count})


def unwritten(ttl: str, count: int = 1, cache: str = CACHE) -> Counts:
    return Counter({("writes", cache, ttl, "error"): count})


def _removal(reason: str, effect: str, cache: str, entries: int = 0) -> Counts:
    counts: Counts = Counter({("invalidation.requests", cache, reason, effect): 1})
    if entries:
        counts["invalidations", cache, reason] = entries
    return counts


def removed(count: int = 1, reason: str = "delete", cache: str = CACHE) -> Counts:
    return _removal(reason, "removed", cache, count)


def partly(count: int, reason: str = "delete", cache: str = CACHE) -> Counts:
    return _removal(reason, "partial", cache, count)


def in_vain(reason: str = "delete", cache: str = CACHE) -> Counts:
    return _removal(reason, "none", cache)


def perhaps(reason: str, cache: str = CACHE) -> Counts:
    return _removal(reason, "unknown", cache)


def unremoved(reason: str = "delete", cache: str = CACHE) -> Counts:
    return _removal(reason, "error", cache)


def _sum(counts: tuple[Counts, ...]) -> Counts:
    return sum(counts, Counter())


# How a case ends.


def ok(text: str, *counts: Counts, setup: tuple[str, ...] = (), only: str = "") -> Case:
    return Case(text, _sum(counts), setup=setup, only=only)


def fails(text: str, *counts: Counts, setup: tuple[str, ...] = (), only: str = "") -> Case:
    """The server queues it, and refuses it when it runs."""
    return Case(text, _sum(counts), fails=True, setup=setup, only=only)


def wrong(text: str, *counts: Counts) -> Case:
    """The server refuses it at once: a wrong number of arguments."""
    return Case(text, _sum(counts), fails=True, refused=True)


def denied(text: str, *counts: Counts) -> Case:
    """The server refuses it at once: this user may not."""
    return Case(text, _sum(counts), fails=True, refused=True, denied=True)


def probe(text: str, *counts: Counts, setup: tuple[str, ...] = ()) -> Case:
    return Case(text, Counter(), _sum(counts), setup=setup)


def probe_fails(text: str, count: int = 1) -> Case:
    return Case(text, Counter(), error(count), fails=True)


def probe_wrong(text: str, count: int = 1) -> Case:
    return Case(text, Counter(), error(count), fails=True, refused=True)


def probe_denied(text: str, count: int = 1) -> Case:
    return Case(text, Counter(), error(count), fails=True, refused=True, denied=True)


STRING = (
    ok("APPEND data:string x", stored("kept")),
    fails("APPEND data:list x", unwritten("kept")),
    ok("DECR data:number", stored("kept")),
    fails("DECR data:list", unwritten("kept")),
    ok("DECRBY data:number 2", stored("kept")),
    fails("DECRBY data:list 2", unwritten("kept")),
    ok("DELIFEQ data:string v", removed()),
    ok("DELIFEQ data:string w", in_vain()),
    ok("DELIFEQ data:none v", in_vain()),
    fails("DELIFEQ data:list v", unremoved()),
    ok("GET data:string", hit()),
    ok("GET data:none", miss()),
    fails("GET data:list", error()),
    wrong("GET data:string data:number", error()),
    ok("GETDEL data:string", hit(), removed()),
    ok("GETDEL data:none", miss(), in_vain()),
    fails("GETDEL data:list", error(), unremoved()),
    ok("GETEX data:string", hit()),
    ok("GETEX data:string EX 10", hit()),
    ok("GETEX data:string PERSIST", hit()),
    ok(f"GETEX data:string EXAT {FAR_AHEAD}", hit()),
    ok(f"GETEX data:string EXAT {LONG_AGO}", hit(), removed(reason="expire")),
    ok(f"GETEX data:string pxat {LONG_AGO_MS}", hit(), removed(reason="expire")),
    ok("GETEX data:none EX 10", miss()),
    ok(f"GETEX data:none EXAT {LONG_AGO}", miss(), in_vain("expire")),
    fails("GETEX data:list", error()),
    fails(f"GETEX data:list EXAT {LONG_AGO}", error(), unremoved("expire")),
    fails("GETEX data:string EX 0", error()),
    ok("GETRANGE data:string 0 -1"),
    ok("GETRANGE data:none 0 -1"),
    fails("GETRANGE data:list 0 -1"),
    ok("GETSET data:string w", hit(), stored("none")),
    ok("GETSET data:none w", miss(), stored("none")),
    fails("GETSET data:list w", error(), unwritten("none")),
    ok("INCR data:number", stored("kept")),
    ok("INCR data:none", stored("kept")),
    fails("INCR data:string", unwritten("kept")),
    ok("INCRBY data:number 2", stored("kept")),
    fails("INCRBY data:list 2", unwritten("kept")),
    ok("INCRBYFLOAT data:number 1.5", stored("kept")),
    fails("INCRBYFLOAT data:list 1.5", unwritten("kept")),
    ok("LCS data:string data:number"),
    fails("LCS data:list data:string"),
    ok("MGET data:string data:number", hit(2)),
    ok("MGET data:none data:string data:none", hit(), miss(2)),
    ok("MGET data:list", miss()),
    denied("MGET data:string data:none data:string", error(3)),
    ok("MSET data:string 1 data:new 2", stored("none", 2)),
    fails("MSET data:string 1 data:new", unwritten("none", 2)),
    ok("MSETEX 1 data:new 1", stored("none")),
    ok("MSETEX 2 data:string 1 data:new 2 EX 10", stored("set", 2)),
    ok("MSETEX 1 data:string 1 KEEPTTL", stored("kept")),
    ok("MSETEX 2 data:string 1 data:new 2 NX PX 10000", refused("set", 2)),
    ok("MSETEX 1 data:new 1 XX", refused("none")),
    ok(f"MSETEX 2 data:string 1 data:new 2 PXAT {LONG_AGO_MS}", perhaps("expire")),
    ok(
        f"MSETEX 2 data:string 1 data:new 2 NX EXAT {LONG_AGO}",
        refused("set", 2),
        in_vain("expire"),
    ),
    fails("MSETEX 2 data:string 1 data:new 2 EX 0", unwritten("set", 2)),
    ok("MSETNX data:new 1 data:new2 2", stored("none", 2)),
    ok("MSETNX data:new 1 data:string 2", refused("none", 2)),
    fails("MSETNX data:new 1 data:new2", unwritten("none", 2)),
    ok("PSETEX data:string 10000 w", stored("set")),
    fails("PSETEX data:string 0 w", unwritten("set")),
    ok("SET data:string w", stored("none")),
    ok("SET data:list w", stored("none")),
    ok("SET data:string w EX 10", stored("set")),
    ok("SET data:string w px 10000", stored("set")),
    ok(f"SET data:string w EXAT {FAR_AHEAD}", stored("set")),
    ok("SET data:string w KEEPTTL", stored("kept")),
    ok("SET data:string EX", stored("none")),
    ok("SET data:new w NX EX 10", stored("set")),
    ok("SET data:string w NX", refused("none")),
    ok("SET data:string w XX", stored("none")),
    ok("SET data:new w XX KEEPTTL", refused("kept")),
    ok("SET data:string w GET", hit(), stored("none")),
    ok("SET data:new w GET EX 10", miss(), stored("set")),
    ok("SET data:new w NX GET", miss(), stored("none")),
    ok("SET data:string w NX GET", hit(), refused("none")),
    ok("SET data:string w XX GET", hit(), stored("none")),
    ok("SET data:new w XX GET", miss(), refused("none")),
    ok("SET data:string w IFEQ v", stored("none"), only="valkey"),
    ok("SET data:string w IFEQ x", refused("none"), only="valkey"),
    ok("SET data:new w IFEQ x", refused("none"), only="valkey"),
    ok("SET data:new w IFEQ x GET", miss(), refused("none"), only="valkey"),
    ok(f"SET data:string w EXAT {LONG_AGO}", perhaps("expire")),
    ok(f"SET data:string w PXAT {LONG_AGO_MS} GET", hit(), perhaps("expire")),
    ok(f"SET data:new w PXAT {LONG_AGO_MS} GET", miss(), perhaps("expire")),
    ok(f"SET data:string w NX EXAT {LONG_AGO}", refused("set"), in_vain("expire")),
    ok(f"SET data:string w NX GET EXAT {LONG_AGO}", hit(), refused("set"), in_vain("expire")),
    ok(f"SET data:new w XX GET EXAT {LONG_AGO}", miss(), refused("set"), in_vain("expire")),
    fails("SET data:string w EX 0", unwritten("set")),
    fails("SET data:list w GET", error(), unwritten("none")),
    ok("SETEX data:string 10 w", stored("set")),
    fails("SETEX data:string 0 w", unwritten("set")),
    ok("SETNX data:new v", stored("none")),
    ok("SETNX data:string v", refused("none")),
    wrong("SETNX data:string", unwritten("none")),
    ok("SETRANGE data:string 1 x", stored("kept")),
    fails("SETRANGE data:list 1 x", unwritten("kept")),
    ok("STRLEN data:string"),
    fails("STRLEN data:list"),
    ok("SUBSTR data:string 0 -1"),
    fails("SUBSTR data:list 0 -1"),
)

_EXPIRY = tuple(
    case
    for name, soon, past in (
        ("EXPIRE", "10", "0"),
        ("EXPIRE", "10", "-1"),
        ("PEXPIRE", "10000", "0"),
        ("EXPIREAT", FAR_AHEAD, LONG_AGO),
        ("PEXPIREAT", FAR_AHEAD_MS, LONG_AGO_MS),
    )
    for case in (
        ok(f"{name} data:string {soon}"),
        ok(f"{name} data:string {past}", removed(reason="expire")),
        ok(f"{name} data:none {past}", in_vain("expire")),
        ok(f"{name} data:string {past} XX", in_vain("expire")),
        fails(f"{name} data:string soon"),
        fails(f"{name} data:string {past} QQ", unremoved("expire")),
    )
)

GENERIC = (
    ok("COPY data:string data:new", stored("kept")),
    ok("COPY data:string data:list REPLACE", stored("kept")),
    ok("COPY data:string data:list", refused("kept")),
    fails("COPY data:string data:string", unwritten("kept")),
    ok("DEL data:string", removed()),
    ok("DEL data:hash data:list", removed(2)),
    ok("DEL data:string data:string", removed()),
    ok("DEL data:string data:none data:none", partly(1)),
    ok("DEL data:none", in_vain()),
    denied("DEL data:string data:none", unremoved()),
    ok("DUMP data:string", hit()),
    ok("DUMP data:none", miss()),
    wrong("DUMP data:string data:number", error()),
    probe("EXISTS data:string data:hash data:string", hit(3)),
    probe("EXISTS data:string data:none data:none2", hit(), miss(2)),
    probe_denied("EXISTS data:string data:none", 2),
    *_EXPIRY,
    probe("EXPIRETIME data:string", hit()),
    probe("EXPIRETIME data:string", hit(), setup=("EXPIRE data:string 100",)),
    probe("EXPIRETIME data:none", miss()),
    probe_wrong("EXPIRETIME data:string x"),
    ok("KEYS data:*"),
    wrong("KEYS data:* x"),
    probe("MEMORY USAGE data:string", hit()),
    probe("MEMORY USAGE data:list SAMPLES 0", hit()),
    probe("MEMORY USAGE data:none", miss()),
    probe_fails("MEMORY USAGE data:string SAMPLES -1"),
    ok("MIGRATE 127.0.0.1 1 data:none 1 100", in_vain()),
    ok("MIGRATE 127.0.0.1 1 data:none 1 100 COPY"),
    fails("MIGRATE 127.0.0.1 1 data:string 1 100", unremoved()),
    ok("MOVE data:string 1"),
    ok("MOVE data:none 1"),
    fails("MOVE data:string 0"),
    probe("OBJECT ENCODING data:string", hit()),
    probe("OBJECT ENCODING data:none", miss()),
    probe_wrong("OBJECT ENCODING data:string x"),
    probe("OBJECT FREQ data:string", hit(), setup=("CONFIG SET maxmemory-policy allkeys-lfu",)),
    probe("OBJECT FREQ data:none", miss(), setup=("CONFIG SET maxmemory-policy allkeys-lfu",)),
    probe_fails("OBJECT FREQ data:string"),
    probe("OBJECT IDLETIME data:string", hit()),
    probe("OBJECT IDLETIME data:none", miss()),
    probe_wrong("OBJECT IDLETIME data:string x"),
    probe("OBJECT REFCOUNT data:string", hit()),
    probe("OBJECT REFCOUNT data:none", miss()),
    probe_wrong("OBJECT REFCOUNT data:string x"),
    ok("PERSIST data:string"),
    wrong("PERSIST data:string x"),
    probe("PEXPIRETIME data:string", hit()),
    probe("PEXPIRETIME data:none", miss()),
    probe_wrong("PEXPIRETIME data:string x"),
    probe("PTTL data:string", hit()),
    probe("PTTL data:string", hit(), setup=("EXPIRE data:string 100",)),
    probe("PTTL data:none", miss()),
    probe_wrong("PTTL data:string x"),
    ok("RANDOMKEY"),
    wrong("RANDOMKEY x"),
    ok("RENAME data:string data:new", perhaps("rename")),
    ok("RENAME data:string data:list", perhaps("rename")),
    fails("RENAME data:none data:new", unremoved("rename")),
    ok("RENAMENX data:string data:new", perhaps("rename")),
    ok("RENAMENX data:string data:list", in_vain("rename")),
    fails("RENAMENX data:none data:new", unremoved("rename")),
    ok("RESTORE data:new 0 <dump>", stored("none")),
    ok("RESTORE data:new 10000 <dump>", stored("set")),
    ok("RESTORE data:list 0 <dump> REPLACE", stored("none")),
    ok(f"RESTORE data:new {FAR_AHEAD_MS} <dump> ABSTTL", stored("set")),
    ok(f"RESTORE data:list {LONG_AGO_MS} <dump> ABSTTL REPLACE", perhaps("expire")),
    fails("RESTORE data:list 0 <dump>", unwritten("none")),
    fails("RESTORE data:new 10000 rubbish", unwritten("set")),
    ok("RESTORE-ASKING data:new 0 <dump>"),
    fails("RESTORE-ASKING data:list 0 <dump>"),
    ok("SCAN 0 MATCH data:* COUNT 10"),
    fails("SCAN here"),
    ok("SORT data:ints"),
    ok("SORT data:none"),
    ok("SORT data:ints BY nosort GET # STORE data:new", stored("none")),
    ok("SORT data:none STORE data:list", perhaps("overwrite")),
    ok("SORT data:none STORE data:new", perhaps("overwrite")),
    fails("SORT data:string"),
    fails("SORT data:set STORE data:new", unwritten("none")),
    ok("SORT_RO data:ints DESC"),
    fails("SORT_RO data:string"),
    probe("TOUCH data:string data:none", hit(), miss()),
    probe("TOUCH data:none", miss()),
    probe_denied("TOUCH data:string data:none", 2),
    probe("TTL data:string", hit()),
    probe("TTL data:string", hit(), setup=("EXPIRE data:string 100",)),
    probe("TTL data:none", miss()),
    probe_wrong("TTL data:string x"),
    probe("TYPE data:hash", hit()),
    probe("TYPE data:none", miss()),
    probe_wrong("TYPE data:string x"),
    ok("UNLINK data:string", removed()),
    ok("UNLINK data:string data:hash data:none", partly(2)),
    ok("UNLINK data:none", in_vain()),
    denied("UNLINK data:string data:none", unremoved()),
)

_FIELD_EXPIRY = tuple(
    case
    for name, soon, past in (
        ("HEXPIRE", "10", "0"),
        ("HPEXPIRE", "10000", "0"),
        ("HEXPIREAT", FAR_AHEAD, LONG_AGO),
        ("HPEXPIREAT", FAR_AHEAD_MS, LONG_AGO_MS),
    )
    for case in (
        ok(f"{name} data:hash {soon} FIELDS 2 f none"),
        ok(f"{name} data:hash {past} FIELDS 1 f", removed(reason="expire")),
        ok(f"{name} data:hash {past} FIELDS 2 f g", removed(2, "expire")),
        ok(f"{name} data:hash {past} FIELDS 2 f none", partly(1, "expire")),
        ok(f"{name} data:hash {past} XX FIELDS 1 f", in_vain("expire")),
        ok(f"{name} data:none {past} FIELDS 1 f", in_vain("expire")),
        fails(f"{name} data:string {soon} FIELDS 1 f"),
        fails(f"{name} data:string {past} FIELDS 1 f", unremoved("expire")),
    )
)

_FIELD_TTL = tuple(
    case
    for name in ("HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME")
    for case in (
        probe(f"{name} data:hash FIELDS 2 f g", hit(2)),
        probe(f"{name} data:hash FIELDS 2 f none", hit(), miss()),
        probe(f"{name} data:hash FIELDS 1 f", hit(), setup=("HEXPIRE data:hash 100 FIELDS 1 f",)),
        probe(f"{name} data:none FIELDS 2 f g", miss(2)),
        probe_fails(f"{name} data:string FIELDS 2 f g", 2),
    )
)

HASH = (
    ok("HDEL data:hash f g", removed(2)),
    ok("HDEL data:hash f f none", partly(1)),
    ok("HDEL data:hash none", in_vain()),
    ok("HDEL data:none f", in_vain()),
    fails("HDEL data:string f", unremoved()),
    probe("HEXISTS data:hash f", hit()),
    probe("HEXISTS data:hash none", miss()),
    probe_fails("HEXISTS data:string f"),
    *_FIELD_EXPIRY,
    *_FIELD_TTL,
    ok("HGET data:hash f", hit()),
    ok("HGET data:hash none", miss()),
    ok("HGET data:none f", miss()),
    fails("HGET data:string f", error()),
    ok("HGETALL data:hash", hit()),
    ok("HGETALL data:none", miss()),
    fails("HGETALL data:string", error()),
    ok("HGETDEL data:hash FIELDS 2 f g", hit(2), removed(2)),
    ok("HGETDEL data:hash FIELDS 2 f none", hit(), miss(), partly(1)),
    ok("HGETDEL data:hash FIELDS 2 f f", hit(), miss(), removed()),
    ok("HGETDEL data:none FIELDS 2 f g", miss(2), in_vain()),
    fails("HGETDEL data:string FIELDS 2 f g", error(2), unremoved()),
    ok("HGETEX data:hash FIELDS 2 f none", hit(), miss()),
    ok("HGETEX data:hash EX 10 FIELDS 2 f f", hit(2)),
    ok("HGETEX data:hash PERSIST FIELDS 1 f", hit()),
    ok(f"HGETEX data:hash EXAT {LONG_AGO} FIELDS 2 f g", hit(2), removed(2, "expire")),
    ok(f"HGETEX data:hash PXAT {LONG_AGO_MS} FIELDS 2 f none", hit(), miss(), partly(1, "expire")),
    ok("HGETEX data:none FIELDS 2 f g", miss(2)),
    ok(f"HGETEX data:none EXAT {LONG_AGO} FIELDS 1 f", miss(), in_vain("expire")),
    fails("HGETEX data:string FIELDS 2 f g", error(2)),
    ok("HINCRBY data:hash f 2", stored("kept")),
    fails("HINCRBY data:string f 2", unwritten("kept")),
    ok("HINCRBYFLOAT data:hash f 1.5", stored("kept")),
    fails("HINCRBYFLOAT data:string f 1.5", unwritten("kept")),
    ok("HKEYS data:hash", hit()),
    ok("HKEYS data:none", miss()),
    fails("HKEYS data:string", error()),
    probe("HLEN data:hash", hit()),
    probe("HLEN data:none", miss()),
    probe_fails("HLEN data:string"),
    ok("HMGET data:hash f g", hit(2)),
    ok("HMGET data:hash f none f", hit(2), miss()),
    ok("HMGET data:none f g", miss(2)),
    fails("HMGET data:string f g", error(2)),
    ok("HMSET data:hash f 3", stored("kept")),
    fails("HMSET data:string f 3", unwritten("kept")),
    ok("HPERSIST data:hash FIELDS 1 f"),
    fails("HPERSIST data:string FIELDS 1 f"),
    ok("HRANDFIELD data:hash", hit()),
    ok("HRANDFIELD data:none", miss()),
    ok("HRANDFIELD data:hash 1"),
    ok("HRANDFIELD data:none 2 WITHVALUES"),
    fails("HRANDFIELD data:string", error()),
    ok("HSCAN data:hash 0"),
    fails("HSCAN data:string 0"),
    ok("HSET data:hash f 3", stored("kept")),
    ok("HSET data:new f 3 h 4", stored("kept")),
    fails("HSET data:string f 3", unwritten("kept")),
    ok("HSETEX data:hash FIELDS 1 f 3", stored("kept")),
    ok("HSETEX data:hash EX 10 FIELDS 1 f 3", stored("set")),
    ok("HSETEX data:hash KEEPTTL FIELDS 1 f 3", stored("kept")),
    ok("HSETEX data:hash FNX EX 10 FIELDS 2 f 3 h 4", refused("set")),
    ok("HSETEX data:hash FXX FIELDS 1 none 3", refused("kept")),
    ok("HSETEX data:hash NX FIELDS 1 f 3", refused("kept"), only="valkey"),
    ok(f"HSETEX data:hash EXAT {LONG_AGO} FIELDS 1 f 3", perhaps("expire")),
    ok(f"HSETEX data:hash FNX PXAT {LONG_AGO_MS} FIELDS 1 f 3", refused("set"), in_vain("expire")),
    fails("HSETEX data:string FIELDS 1 f 3", unwritten("kept")),
    ok("HSETNX data:hash h 3", stored("kept")),
    ok("HSETNX data:hash f 3", refused("kept")),
    fails("HSETNX data:string f 3", unwritten("kept")),
    ok("HSTRLEN data:hash f"),
    fails("HSTRLEN data:string f"),
    ok("HVALS data:hash", hit()),
    ok("HVALS data:none", miss()),
    fails("HVALS data:string", error()),
)

_SET_ALGEBRA = tuple(
    case
    for name in ("SDIFF", "SINTER", "SUNION")
    for case in (
        ok(f"{name} data:set data:ints"),
        ok(f"{name} data:none data:none2"),
        fails(f"{name} data:set data:string"),
        ok(f"{name}STORE data:list data:none", perhaps("overwrite")),
        ok(f"{name}STORE data:new data:none", perhaps("overwrite")),
        ok(f"{name}STORE data:list data:set data:set", stored("none"))
        if name != "SDIFF"
        else ok("SDIFFSTORE data:list data:set data:ints", stored("none")),
        fails(f"{name}STORE data:new data:set data:string", unwritten("none")),
    )
)

SET = (
    *_SET_ALGEBRA,
    ok("SADD data:set c", stored("kept")),
    ok("SADD data:set a", stored("kept")),
    fails("SADD data:string c", unwritten("kept")),
    probe("SCARD data:set", hit()),
    probe("SCARD data:none", miss()),
    probe_fails("SCARD data:string"),
    ok("SINTERCARD 2 data:set data:ints LIMIT 1"),
    fails("SINTERCARD 2 data:set data:string"),
    probe("SISMEMBER data:set a", hit()),
    probe("SISMEMBER data:set none", miss()),
    probe_fails("SISMEMBER data:string a"),
    ok("SMEMBERS data:set", hit()),
    ok("SMEMBERS data:none", miss()),
    fails("SMEMBERS data:string", error()),
    probe("SMISMEMBER data:set a none b", hit(2), miss()),
    probe("SMISMEMBER data:none a b", miss(2)),
    probe_fails("SMISMEMBER data:string a b", 2),
    ok("SMOVE data:set data:new a", stored("kept")),
    ok("SMOVE data:set data:new none"),
    fails("SMOVE data:set data:string a", unwritten("kept")),
    ok("SPOP data:set"),
    ok("SPOP data:none 2"),
    fails("SPOP data:string"),
    ok("SRANDMEMBER data:set", hit()),
    ok("SRANDMEMBER data:none", miss()),
    ok("SRANDMEMBER data:set 1"),
    ok("SRANDMEMBER data:none 1"),
    fails("SRANDMEMBER data:string", error()),
    ok("SREM data:set a b"),
    fails("SREM data:string a"),
    ok("SSCAN data:set 0"),
    fails("SSCAN data:string 0"),
)

_SORTED_SET_ALGEBRA = tuple(
    case
    for name in ("ZDIFF", "ZINTER", "ZUNION")
    for case in (
        ok(f"{name} 2 data:zset data:none"),
        ok(f"{name} 1 data:none WITHSCORES"),
        fails(f"{name} 2 data:zset data:string"),
        ok(f"{name}STORE data:list 1 data:none", perhaps("overwrite")),
        ok(f"{name}STORE data:list 1 data:zset", stored("none")),
        fails(f"{name}STORE data:new 2 data:zset data:string", unwritten("none")),
    )
)

_WHOLE_RANGES = tuple(
    case
    for name, arguments, part in (
        ("ZRANGE", "0 -1", "0 1"),
        ("ZRANGE", "0 -1 WITHSCORES", "1 -1 WITHSCORES"),
        ("ZRANGE", "0 -1 REV", "5 9 REV"),
        ("ZRANGE", "-inf +inf BYSCORE", "(1 +inf BYSCORE"),
        ("ZRANGE", "-inf inf byscore WITHSCORES", "-inf 5 byscore"),
        ("ZRANGE", "+inf -inf BYSCORE REV", "-inf +inf BYSCORE REV"),
        ("ZRANGE", "Infinity -Infinity REV BYSCORE", "+inf -inf BYSCORE"),
        ("ZRANGE", "- + BYLEX", "- + BYLEX LIMIT 0 10"),
        ("ZRANGE", "+ - REV BYLEX", "- + REV BYLEX"),
        ("ZREVRANGE", "0 -1", "0 5"),
        ("ZREVRANGE", "0 -1 WITHSCORES", "0 0 WITHSCORES"),
        ("ZRANGEBYLEX", "- +", "[a +"),
        ("ZRANGEBYLEX", "- +", "- + LIMIT 0 1"),
        ("ZREVRANGEBYLEX", "+ -", "- +"),
        ("ZRANGEBYSCORE", "-inf +inf", "0 +inf"),
        ("ZRANGEBYSCORE", "-inf +inf WITHSCORES", "-inf +inf WITHSCORES LIMIT 0 1"),
        ("ZRANGEBYSCORE", "-INF +INF", "+inf -inf"),
        ("ZREVRANGEBYSCORE", "+inf -inf", "-inf +inf"),
        ("ZREVRANGEBYSCORE", "inf -inf WITHSCORES", "inf -inf LIMIT 0 0"),
    )
    for case in (
        ok(f"{name} data:zset {arguments}", hit()),
        ok(f"{name} data:none {arguments}", miss()),
        fails(f"{name} data:string {arguments}", error()),
        ok(f"{name} data:zset {part}"),
        ok(f"{name} data:none {part}"),
        fails(f"{name} data:string {part}"),
    )
)

SORTED_SET = (
    ok("BZMPOP 1 1 data:zset MIN"),
    ok("BZMPOP 0.01 2 data:none data:none2 MAX"),
    fails("BZMPOP 1 1 data:string MIN"),
    ok("BZPOPMAX data:none data:zset 1"),
    fails("BZPOPMAX data:string 1"),
    ok("BZPOPMIN data:zset 1"),
    ok("BZPOPMIN data:none 0.01"),
    fails("BZPOPMIN data:string 1"),
    ok("ZADD data:zset 3 c", stored("kept")),
    ok("ZADD data:zset XX CH 3 c", stored("kept")),
    ok("ZADD data:zset INCR 3 a", stored("kept")),
    ok("ZADD data:zset NX INCR 3 a", refused("kept")),
    fails("ZADD data:string 3 c", unwritten("kept")),
    probe("ZCARD data:zset", hit()),
    probe("ZCARD data:none", miss()),
    probe_fails("ZCARD data:string"),
    ok("ZCOUNT data:zset -inf +inf"),
    fails("ZCOUNT data:string -inf +inf"),
    *_SORTED_SET_ALGEBRA,
    ok("ZINCRBY data:zset 2 a", stored("kept")),
    fails("ZINCRBY data:string 2 a", unwritten("kept")),
    ok("ZINTERCARD 1 data:zset LIMIT 1"),
    fails("ZINTERCARD 1 data:string"),
    ok("ZLEXCOUNT data:zset - +"),
    fails("ZLEXCOUNT data:string - +"),
    ok("ZMPOP 2 data:none data:zset MIN COUNT 2"),
    ok("ZMPOP 1 data:none MAX"),
    fails("ZMPOP 1 data:string MIN"),
    ok("ZMSCORE data:zset a none a", hit(2), miss()),
    ok("ZMSCORE data:none a b", miss(2)),
    fails("ZMSCORE data:string a b", error(2)),
    ok("ZPOPMAX data:zset"),
    ok("ZPOPMAX data:none"),
    fails("ZPOPMAX data:string"),
    ok("ZPOPMIN data:zset 2"),
    fails("ZPOPMIN data:string"),
    ok("ZRANDMEMBER data:zset", hit()),
    ok("ZRANDMEMBER data:none", miss()),
    ok("ZRANDMEMBER data:zset 1"),
    ok("ZRANDMEMBER data:none 1 WITHSCORES"),
    fails("ZRANDMEMBER data:string", error()),
    *_WHOLE_RANGES,
    ok("ZRANGESTORE data:new data:zset 0 -1", stored("none")),
    ok("ZRANGESTORE data:list data:zset 5 9", perhaps("overwrite")),
    ok("ZRANGESTORE data:list data:none -inf +inf BYSCORE", perhaps("overwrite")),
    fails("ZRANGESTORE data:new data:string 0 -1", unwritten("none")),
    ok("ZRANK data:zset a", hit()),
    ok("ZRANK data:zset none", miss()),
    ok("ZRANK data:none a", miss()),
    fails("ZRANK data:string a", error()),
    ok("ZREM data:zset a b"),
    fails("ZREM data:string a"),
    ok("ZREMRANGEBYLEX data:zset - +"),
    fails("ZREMRANGEBYLEX data:string - +"),
    ok("ZREMRANGEBYRANK data:zset 0 -1"),
    fails("ZREMRANGEBYRANK data:string 0 -1"),
    ok("ZREMRANGEBYSCORE data:zset -inf +inf"),
    fails("ZREMRANGEBYSCORE data:string -inf +inf"),
    ok("ZREVRANK data:zset a", hit()),
    ok("ZREVRANK data:none a", miss()),
    fails("ZREVRANK data:string a", error()),
    ok("ZSCAN data:zset 0"),
    fails("ZSCAN data:string 0"),
    ok("ZSCORE data:zset a", hit()),
    ok("ZSCORE data:zset none", miss()),
    fails("ZSCORE data:string a", error()),
)

LIST = (
    ok("BLMOVE data:list data:new LEFT RIGHT 1", stored("kept")),
    ok("BLMOVE data:none data:new LEFT RIGHT 0.01"),
    fails("BLMOVE data:list data:string LEFT RIGHT 1", unwritten("kept")),
    ok("BLMPOP 1 2 data:none data:list LEFT COUNT 2"),
    ok("BLMPOP 0.01 1 data:none RIGHT"),
    fails("BLMPOP 1 1 data:string LEFT"),
    ok("BLPOP data:none data:list 1"),
    ok("BLPOP data:none data:none2 0.01"),
    fails("BLPOP data:string 1"),
    ok("BRPOP data:list 1"),
    ok("BRPOP data:none 0.01"),
    fails("BRPOP data:string 1"),
    ok("BRPOPLPUSH data:list data:new 1", stored("kept")),
    ok("BRPOPLPUSH data:none data:new 0.01"),
    fails("BRPOPLPUSH data:list data:string 1", unwritten("kept")),
    ok("LINDEX data:list 0", hit()),
    ok("LINDEX data:list 9", miss()),
    ok("LINDEX data:none 0", miss()),
    fails("LINDEX data:string 0", error()),
    ok("LINSERT data:list BEFORE b x", stored("kept")),
    ok("LINSERT data:list AFTER none x", refused("kept")),
    ok("LINSERT data:none BEFORE b x", refused("kept")),
    fails("LINSERT data:string BEFORE b x", unwritten("kept")),
    probe("LLEN data:list", hit()),
    probe("LLEN data:none", miss()),
    probe_fails("LLEN data:string"),
    ok("LMOVE data:list data:new LEFT RIGHT", stored("kept")),
    ok("LMOVE data:list data:list LEFT RIGHT", stored("kept")),
    ok("LMOVE data:none data:new LEFT RIGHT"),
    fails("LMOVE data:list data:string LEFT RIGHT", unwritten("kept")),
    ok("LMPOP 2 data:none data:list LEFT COUNT 2"),
    ok("LMPOP 1 data:none LEFT"),
    fails("LMPOP 1 data:string LEFT"),
    ok("LPOP data:list"),
    ok("LPOP data:none"),
    ok("LPOP data:list 3"),
    fails("LPOP data:string"),
    ok("LPOS data:list b"),
    ok("LPOS data:none b"),
    fails("LPOS data:string b"),
    ok("LPUSH data:list x", stored("kept")),
    fails("LPUSH data:string x", unwritten("kept")),
    ok("LPUSHX data:list x", stored("kept")),
    ok("LPUSHX data:none x", refused("kept")),
    fails("LPUSHX data:string x", unwritten("kept")),
    ok("LRANGE data:list 0 -1", hit()),
    ok("LRANGE data:none 0 -1", miss()),
    fails("LRANGE data:string 0 -1", error()),
    ok("LRANGE data:list 0 10"),
    ok("LRANGE data:none 0 10"),
    ok("LRANGE data:list 1 -1"),
    ok("LREM data:list 0 a"),
    fails("LREM data:string 0 a"),
    ok("LSET data:list 0 x", stored("kept")),
    fails("LSET data:list 9 x", unwritten("kept")),
    fails("LSET data:none 0 x", unwritten("kept")),
    ok("LTRIM data:list 1 0"),
    fails("LTRIM data:string 1 0"),
    ok("RPOP data:list"),
    ok("RPOP data:none 2"),
    fails("RPOP data:string"),
    ok("RPOPLPUSH data:list data:new", stored("kept")),
    ok("RPOPLPUSH data:none data:new"),
    fails("RPOPLPUSH data:list data:string", unwritten("kept")),
    ok("RPUSH data:list x", stored("kept")),
    fails("RPUSH data:string x", unwritten("kept")),
    ok("RPUSHX data:list x", stored("kept")),
    ok("RPUSHX data:none x", refused("kept")),
    fails("RPUSHX data:string x", unwritten("kept")),
)


@dataclass(frozen=True)
class Helper:
    """A method of redis-py, whose callback may make something else of the reply."""

    method: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    counts: Counts
    command: str

    def __str__(self) -> str:
        return f"{self.method}{self.args}{self.options or ''}"


def helper(method: str, *args: Any, counts: Counts, command: str = "", **options: Any) -> Helper:
    return Helper(method, args, options, counts, command or method.upper())


_PAST = datetime(2001, 9, 9, tzinfo=timezone.utc)
_SOON = timedelta(seconds=10)

HELPERS = (
    helper("get", "data:string", counts=hit()),
    helper("mget", ["data:string", "data:none"], counts=hit() + miss()),
    helper("mget", "data:string", b"data:number", counts=hit(2)),
    helper("getex", "data:string", exat=_PAST, counts=hit() + removed(reason="expire")),
    helper("getex", "data:string", ex=_SOON, counts=hit()),
    helper("getdel", "data:string", counts=hit() + removed()),
    helper("getset", "data:none", "w", counts=miss() + stored("none")),
    helper("set", "data:string", "w", counts=stored("none")),
    helper("set", "data:string", 1.5, ex=_SOON, counts=stored("set")),
    helper("set", "data:string", b"w", exat=_PAST, counts=perhaps("expire")),
    helper("set", "data:string", "w", keepttl=True, counts=stored("kept")),
    helper("set", "data:string", "w", nx=True, counts=refused("none")),
    helper("set", "data:string", "w", nx=True, get=True, counts=hit() + refused("none")),
    helper("set", "data:new", "w", nx=True, get=True, counts=miss() + stored("none")),
    helper("set", "data:new", "w", xx=True, get=True, counts=miss() + refused("none")),
    helper("set", "data:string", "w", xx=True, get=True, counts=hit() + stored("none")),
    *(
        helper(
            "execute_command", "SET", key, "w", *rest, get=True, command="DELIFEQ", counts=counts
        )
        for key, rest, counts in (
            ("data:string", ("IFEQ", "v", "GET"), hit() + stored("none")),
            ("data:string", ("IFEQ", b"x", "GET"), hit() + refused("none")),
            ("data:number", ("IFEQ", 10, "GET", "EX", 10), hit() + stored("set")),
            ("data:new", ("IFEQ", "x", "GET"), miss() + refused("none")),
        )
    ),
    helper("setex", "data:string", _SOON, "w", counts=stored("set")),
    helper("psetex", "data:string", _SOON, "w", counts=stored("set")),
    helper("setnx", "data:string", "w", counts=refused("none")),
    helper("mset", {"data:string": 1, "data:new": 2}, counts=stored("none", 2)),
    helper("msetnx", {"data:string": 1, "data:new": 2}, counts=refused("none", 2)),
    helper("msetex", {"data:string": 1, "data:new": 2}, ex=_SOON, counts=stored("set", 2)),
    helper("incrbyfloat", "data:number", 1.5, counts=stored("kept")),
    helper("delete", "data:string", "data:none", counts=partly(1), command="DEL"),
    helper("unlink", b"data:string", memoryview(b"data:list"), counts=removed(2)),
    helper("expire", "data:string", 0, counts=removed(reason="expire")),
    helper("expire", "data:string", timedelta(0), counts=removed(reason="expire")),
    helper("expire", "data:none", -1, counts=in_vain("expire")),
    helper("expire", "data:string", 0, gt=True, counts=in_vain("expire")),
    helper("pexpire", "data:string", 0, counts=removed(reason="expire")),
    helper("expireat", "data:string", _PAST, counts=removed(reason="expire")),
    helper("pexpireat", "data:string", _PAST, counts=removed(reason="expire")),
    helper("dump", "data:string", counts=hit()),
    helper("restore", "data:new", 0, DUMPED, counts=stored("none")),
    helper("copy", "data:string", "data:new", counts=stored("kept")),
    helper("rename", "data:string", "data:new", counts=perhaps("rename")),
    helper("renamenx", "data:string", "data:list", counts=in_vain("rename")),
    helper("sort", "data:ints", store="data:new", counts=stored("none")),
    helper("sort", "data:ints", get=["#"], groups=False, counts=Counter()),
    helper("hget", "data:hash", "f", counts=hit()),
    helper("hgetall", "data:hash", counts=hit()),
    helper("hgetall", "data:none", counts=miss()),
    helper("hmget", "data:hash", ["f", "none"], counts=hit() + miss()),
    helper("hkeys", "data:none", counts=miss()),
    helper("hvals", "data:hash", counts=hit()),
    helper("hrandfield", "data:hash", counts=hit()),
    helper("hrandfield", "data:hash", 1, withvalues=True, counts=Counter()),
    helper("hset", "data:hash", mapping={"f": 1, "h": 2}, counts=stored("kept")),
    helper("hset", "data:new", "f", 1, counts=stored("kept")),
    helper("hdel", "data:hash", "f", "none", counts=partly(1)),
    helper("hgetdel", "data:hash", "f", "g", counts=hit(2) + removed(2)),
    helper("hgetex", "data:hash", "f", exat=_PAST, counts=hit() + removed(reason="expire")),
    helper("hgetex", "data:hash", "f", "none", ex=_SOON, counts=hit() + miss()),
    helper("hsetex", "data:hash", "f", 1, ex=_SOON, counts=stored("set")),
    helper("hexpire", "data:hash", 0, "f", "none", counts=partly(1, "expire")),
    helper("hpexpireat", "data:hash", _PAST, "f", counts=removed(reason="expire")),
    helper("smembers", "data:set", counts=hit()),
    helper("smembers", "data:none", counts=miss()),
    helper("srandmember", "data:set", counts=hit()),
    helper("srandmember", "data:set", 1, counts=Counter()),
    helper("sinterstore", "data:new", ["data:set", "data:none"], counts=perhaps("overwrite")),
    helper("smove", "data:set", "data:new", "none", counts=Counter()),
    helper("zadd", "data:zset", {"c": 3}, counts=stored("kept")),
    helper("zadd", "data:zset", {"a": 3}, nx=True, incr=True, counts=refused("kept")),
    helper("zincrby", "data:zset", 2, "a", counts=stored("kept")),
    helper("zscore", "data:zset", "a", counts=hit()),
    helper("zmscore", "data:zset", ["a", "none"], counts=hit() + miss()),
    helper("zrank", "data:zset", "a", counts=hit()),
    helper("zrange", "data:zset", 0, -1, counts=hit()),
    helper("zrange", "data:none", 0, -1, withscores=True, counts=miss()),
    helper("zrange", "data:zset", 0, -1, desc=True, withscores=True, counts=hit()),
    helper("zrange", "data:zset", 0, 10, counts=Counter()),
    helper("zrange", "data:zset", "-inf", "+inf", byscore=True, counts=hit()),
    helper("zrange", "data:none", "-", "+", bylex=True, counts=miss()),
    helper("zrange", "data:none", "-", "+", bylex=True, offset=0, num=1, counts=Counter()),
    helper("zrevrange", "data:zset", 0, -1, withscores=True, counts=hit()),
    helper("zrangebyscore", "data:zset", float("-inf"), float("inf"), counts=hit()),
    helper("zrangebyscore", "data:none", "-inf", "+inf", withscores=True, counts=miss()),
    helper("zrevrangebyscore", "data:zset", "+inf", "-inf", counts=hit()),
    helper("zrangebylex", "data:zset", "-", "+", counts=hit()),
    helper("zrandmember", "data:zset", counts=hit()),
    helper("zrandmember", "data:zset", 2, withscores=True, counts=Counter()),
    helper("zunionstore", "data:new", ["data:zset", "data:none"], counts=stored("none")),
    helper("zrangestore", "data:new", "data:zset", 5, 9, counts=perhaps("overwrite")),
    helper("zpopmin", "data:zset", counts=Counter()),
    helper("lrange", "data:list", 0, -1, counts=hit()),
    helper("lrange", "data:list", 0, 0, counts=Counter()),
    helper("lindex", "data:list", 9, counts=miss()),
    helper("lmove", "data:list", "data:new", counts=stored("kept")),
    helper("lset", "data:list", 0, "x", counts=stored("kept")),
    helper("linsert", "data:list", "BEFORE", "none", "x", counts=refused("kept")),
    helper("blpop", ["data:list"], 1, counts=Counter()),
    helper("brpoplpush", "data:list", "data:new", 1, counts=stored("kept")),
)

PROBES = (
    helper("exists", "data:string", "data:none", counts=hit() + miss()),
    helper("touch", "data:none", counts=miss()),
    helper("ttl", "data:string", counts=hit()),
    helper("pttl", "data:none", counts=miss()),
    helper("expiretime", "data:none", counts=miss()),
    helper("type", "data:none", counts=miss()),
    helper("type", "data:hash", counts=hit()),
    helper("object", "encoding", "data:string", counts=hit(), command="OBJECT ENCODING"),
    helper("object", "idletime", "data:none", counts=miss(), command="OBJECT IDLETIME"),
    helper("memory_usage", "data:none", counts=miss(), command="MEMORY USAGE"),
    helper("hexists", "data:hash", "none", counts=miss()),
    helper("hlen", "data:none", counts=miss()),
    helper("httl", "data:hash", "f", "none", counts=hit() + miss()),
    helper("scard", "data:set", counts=hit()),
    helper("sismember", "data:set", "none", counts=miss()),
    helper("smismember", "data:set", ["a", "none"], counts=hit() + miss()),
    helper("zcard", "data:zset", counts=hit()),
    helper("llen", "data:none", counts=miss()),
)

CASES = {
    "string": STRING,
    "generic": GENERIC,
    "hash": HASH,
    "set": SET,
    "sorted_set": SORTED_SET,
    "list": LIST,
}

FAMILIES = {
    "string": """
        APPEND, DECR, DECRBY, DELEX, DELIFEQ, DIGEST, GET, GETDEL, GETEX, GETRANGE,
        GETSET, INCR, INCRBY, INCRBYFLOAT, INCREX, LCS, MGET, MSET, MSETEX, MSETNX,
        PSETEX, SET, SETEX, SETNX, SETRANGE, STRLEN, SUBSTR
    """,
    "generic": """
        CLUSTERSCAN, COPY, DEL, DUMP, EXISTS, EXPIRE, EXPIREAT, EXPIRETIME, KEYS,
        MEMORY USAGE, MIGRATE, MOVE, OBJECT ENCODING, OBJECT FREQ, OBJECT IDLETIME,
        OBJECT REFCOUNT, PERSIST, PEXPIRE, PEXPIREAT, PEXPIRETIME, PTTL, RANDOMKEY,
        RENAME, RENAMENX, RESTORE, RESTORE-ASKING, SCAN, SORT, SORT_RO, TOUCH, TTL, TYPE,
        UNLINK
    """,
    "hash": """
        HDEL, HEXISTS, HEXPIRE, HEXPIREAT, HEXPIRETIME, HGET, HGETALL, HGETDEL, HGETEX,
        HIMPORT SET, HINCRBY, HINCRBYFLOAT, HKEYS, HLEN, HMGET, HMSET, HPERSIST, HPEXPIRE,
        HPEXPIREAT, HPEXPIRETIME, HPTTL, HRANDFIELD, HSCAN, HSET, HSETEX, HSETNX, HSTRLEN,
        HTTL, HVALS
    """,
    "set": """
        SADD, SCARD, SDIFF, SDIFFCARD, SDIFFSTORE, SINTER, SINTERCARD, SINTERSTORE,
        SISMEMBER, SMEMBERS, SMISMEMBER, SMOVE, SPOP, SRANDMEMBER, SREM, SSCAN, SUNION,
        SUNIONCARD, SUNIONSTORE
    """,
    "sorted_set": """
        BZMPOP, BZPOPMAX, BZPOPMIN, ZADD, ZCARD, ZCOUNT, ZDIFF, ZDIFFSTORE, ZINCRBY,
        ZINTER, ZINTERCARD, ZINTERSTORE, ZLEXCOUNT, ZMPOP, ZMSCORE, ZPOPMAX, ZPOPMIN,
        ZRANDMEMBER, ZRANGE, ZRANGEBYLEX, ZRANGEBYSCORE, ZRANGESTORE, ZRANK, ZREM,
        ZREMRANGEBYLEX, ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREVRANGE, ZREVRANGEBYLEX,
        ZREVRANGEBYSCORE, ZREVRANK, ZSCAN, ZSCORE, ZUNION, ZUNIONSTORE
    """,
    "list": """
        BLMOVE, BLMOVEM, BLMPOP, BLPOP, BRPOP, BRPOPLPUSH, LINDEX, LINSERT, LLEN, LMOVE,
        LMOVEM, LMPOP, LPOP, LPOS, LPUSH, LPUSHX, LRANGE, LREM, LSET, LTRIM, RPOP,
        RPOPLPUSH, RPUSH, RPUSHX
    """,
}
"""The commands of the six families, as Redis, Valkey and redis-py name them."""
