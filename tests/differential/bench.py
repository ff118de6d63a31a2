"""Two servers of one kind: the application's, and its twin, on which a batch is looked at step by step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import redis

from tests.differential import hashes, keys, others  # noqa: F401  they fill the catalog
from tests.differential.catalog import CATALOG, KEYS, Kind
from tests.differential.counting import Counting
from tests.differential.oracle import Seen, Tally, judge, questions
from tests.differential.step import Look, Question, Step
from tests.differential.wire import Reply, Wire, WireError, Word
from tests.real.servers import RedisServer

START: tuple[str, ...] = (
    "SET users:text v",
    "SET carts:text 10 EX 5000000",
    "HSET users:hash f 1 g 2",
    "EXPIRE users:hash 6000000",
    "RPUSH carts:list a b",
    "SADD carts:set a b",
    "ZADD jobs:sorted 1 a 2 b",
    "GEOADD jobs:geo 13.361389 38.115556 a 15.087269 37.502669 b",
    "PFADD users:loglog a",
    "XADD jobs:stream 0-1 f v",
    'JSON.SET users:json $ {"a":1}',
    "VADD carts:vectors VALUES 2 1.0 2.0 a",
    "VSETATTR carts:vectors a {}",
    "TS.ADD jobs:series 1 1",
)
"""What a sequence may start from; a server refuses what it does not know."""

Way = Literal["alone", "pipeline", "MULTI"]


@dataclass(frozen=True, repr=False)
class CommandSequence:
    """Commands of an application, and how it sends them."""

    steps: tuple[Step, ...]
    way: Way
    loaded: bool
    probes: bool
    raises: bool
    """Whether the client raises about a batch of which something failed."""
    spelling: Literal["as here", "lower case", "bytes"]
    protocol: int

    def words_of(self, position: int, now: float) -> list[Any]:
        words = self.steps[position].said(position, now)
        if self.spelling == "lower case":
            return [str(words[0]).lower(), *words[1:]]
        if self.spelling == "bytes":
            return [word.encode() if isinstance(word, str) else word for word in words]
        return list(words)

    def __repr__(self) -> str:
        counted = "counted" if self.probes else "not counted"
        start = "loaded" if self.loaded else "empty"
        raised = ", errors raised" if self.raises and self.way != "alone" else ""
        sent = f"{self.way}, RESP{self.protocol}{raised}, spelt {self.spelling}"
        told = f"{sent}, probes {counted}, from a server that is {start}:"
        said = (step.said(position, time.time()) for position, step in enumerate(self.steps))
        return "\n    ".join((told, *(" ".join(map(_text, words)) for words in said)))


def _text(word: Word) -> str:
    return word if isinstance(word, str) and word.isprintable() else repr(word)


class Bench:
    def __init__(self, server: RedisServer, twin: RedisServer, counting: Counting):
        self.server = server
        self.met: set[tuple[str, ...]] = set()
        """What sequences had to add so far, whatever the cache."""
        self._counting = counting
        self._wire, self._twin = (Wire(one.host, one.port) for one in (server, twin))
        self._clients = {
            protocol: redis.Redis(host=server.host, port=server.port, protocol=protocol)
            for protocol in (2, 3)
        }
        names = sorted({kind.name for kind in CATALOG})
        asked = [("COMMAND", "INFO", name.replace(" ", "|")) for name in names]
        rows = self._wire.ask(asked)
        known = {name for name, row in zip(names, rows, strict=True) if row not in ([], [None])}
        self.kinds: list[Kind] = [kind for kind in CATALOG if kind.name in known]
        self._wire.ask([("DEBUG", "SET-ACTIVE-EXPIRE", "0")])
        self._twin.ask([("DEBUG", "SET-ACTIVE-EXPIRE", "0")])

    def close(self) -> None:
        self._wire.ask([("FLUSHALL",), ("DEBUG", "SET-ACTIVE-EXPIRE", "1")])
        for connection in (self._wire, self._twin, *self._clients.values()):
            connection.close()

    def run(self, sequence: CommandSequence) -> tuple[Tally, Tally]:
        """What must have been counted, and what was."""
        self._counting.count(probes=sequence.probes)
        self._counting.increases()
        for wire in (self._wire, self._twin):
            wire.ask([("FLUSHALL",), *(tuple(s.split()) for s in START if sequence.loaded)])
        now = time.time()
        if sequence.way == "alone":
            seen = self._send_alone(sequence, now)
        else:
            seen = self._send_batch(sequence, now)
            ours, theirs = _state(self._wire), _state(self._twin)
            assert ours == theirs, f"the replay differs: {ours} {theirs}"
        expected = judge(seen, batch=sequence.way != "alone", probes=sequence.probes)
        self.met |= {(metric, *rest) for metric, _, *rest in expected.counts}
        return expected, self._counting.increases()

    def _send_alone(self, sequence: CommandSequence, now: float) -> list[Seen]:
        seen: list[Seen] = []
        for position, step in enumerate(sequence.steps):
            asked = questions(step)
            before = _look(asked, self._wire.ask(asked))
            failed = False
            try:
                words = sequence.words_of(position, now)
                self._clients[sequence.protocol].execute_command(*words, **step.options)
            except redis.ResponseError:
                failed = True
            after = _look(asked, self._wire.ask(asked))
            seen.append(Seen(step, position, before, after, failed, now))
        return seen

    def _send_batch(self, sequence: CommandSequence, now: float) -> list[Seen]:
        pipeline = self._clients[sequence.protocol].pipeline(transaction=sequence.way == "MULTI")
        for position, step in enumerate(sequence.steps):
            pipeline.execute_command(*sequence.words_of(position, now), **step.options)
        with suppress(redis.ResponseError):
            pipeline.execute(raise_on_error=sequence.raises)
        aborted = sequence.way == "MULTI" and any(step.malformed for step in sequence.steps)
        return self._replay(sequence.steps, now, aborted=aborted)

    def _replay(self, steps: Sequence[Step], now: float, *, aborted: bool) -> list[Seen]:
        """The same commands on the twin, one at a time."""
        script: list[tuple[Word, ...]] = []
        for position, step in enumerate(steps):
            asked = questions(step)
            command = [] if aborted else [tuple(step.said(position, now))]
            script += [*asked, *(command or [("PING",)]), *asked]
        replies = iter(self._twin.ask(script))
        seen: list[Seen] = []
        for position, step in enumerate(steps):
            asked = questions(step)
            before = _look(asked, [next(replies) for _ in asked])
            failed = isinstance(next(replies), WireError) or aborted
            after = _look(asked, [next(replies) for _ in asked])
            seen.append(Seen(step, position, before, after, failed, now))
        return seen


def _look(asked: Sequence[Question], replies: Sequence[Reply]) -> Look:
    return dict(zip(asked, replies, strict=True))


CONTENTS = {
    b"hash": ("HGETALL",),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
    b"stream": ("XRANGE", "-", "+"),
    b"vectorset": ("VCARD",),
}
"""Of types whose DUMP shows the order or the time in which a server did things; else DUMP."""


def _state(wire: Wire) -> dict[str, tuple[Any, ...]]:
    """Every key: its type, what is in it, and whether it expires at about the same time."""
    types = wire.ask([("TYPE", key) for key in KEYS])
    there = [(key, kind) for key, kind in zip(KEYS, types, strict=True) if kind != b"none"]
    asked = [_contents(key, kind) for key, kind in there]
    contents = wire.ask(asked)
    expiries = wire.ask([("PEXPIRETIME", key) for key, _ in there])
    return {
        key: (kind, _in_order(kind, content), isinstance(at, int) and round(at, -5))
        for (key, kind), content, at in zip(there, contents, expiries, strict=True)
    }


def _contents(key: str, kind: Reply) -> tuple[str, ...]:
    name, *rest = CONTENTS.get(kind, ("DUMP",)) if isinstance(kind, bytes) else ("DUMP",)
    return (name, key, *rest)


def _in_order(kind: Reply, content: Reply) -> Reply:
    if kind == b"set" and isinstance(content, list):
        return sorted(content, key=repr)
    if kind == b"hash" and isinstance(content, list):
        return sorted([content[i : i + 2] for i in range(0, len(content), 2)], key=repr)
    return content
