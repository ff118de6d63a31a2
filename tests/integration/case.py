"""What a case is: a command as an application writes it, and what it must add to our counts.

It meets servers that hold exactly :data:`DATA`. Keys of ``data:none`` and ``data:new`` are never there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
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
    "PFADD data:loglog a b",
    "GEOADD data:geo 13.361389 38.115556 a 15.087269 37.502669 b",
    "XADD data:stream 1-1 f v",
)

DUMPED = b"\x00\x01v\n\x00\x91\x08\xce\xb2\x198\x8a\xce"
"""What Redis 7.0 dumps of the string ``v``; every newer server restores it."""

SCRIPT = b"return redis.call('GET', KEYS[1])"
LIBRARY = b"#!lua name=cases\nredis.register_function{function_name='answer', flags={'no-writes'}, callback=function(keys) return redis.call('GET', keys[1]) end}"

_BLOBS = {"<dump>": DUMPED, "<script>": SCRIPT, "<library>": LIBRARY}
"""What stands for itself in no text that is split into words."""

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
    return tuple(_BLOBS.get(word, word) for word in text.split())


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
