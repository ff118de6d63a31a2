"""One command of a sequence, and in a few words what it asks for: all that the oracle knows of it.

Nothing here comes from the package. Whether what is asked for is there, is for the server to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from tests.differential.wire import Reply, WireError

Question: TypeAlias = "tuple[str, ...]"
Look: TypeAlias = "Mapping[Question, Reply]"
"""Answers of the server to questions about its state, at one moment."""


# What is asked for.


@dataclass(frozen=True)
class Entry:
    """A key, or a part of one, that is there or not."""

    key: str
    question: Question
    """What the server is asked to tell."""
    says_yes: Callable[[Reply], bool] = field(compare=False)
    deadline: Question = ()
    """What tells when it expires, in unix milliseconds."""

    @property
    def cache(self) -> str:
        return self.key.partition(":")[0]

    def is_in(self, look: Look) -> bool:
        reply = look[self.question]
        return not isinstance(reply, WireError) and self.says_yes(reply)


def _is(expected: Reply, reply: Reply) -> bool:
    return reply == expected


def _is_anything(reply: Reply) -> bool:
    return reply is not None and reply != []


def _is_longer(index: int, reply: Reply) -> bool:
    return isinstance(reply, int) and -reply <= index < reply


def _has_no_gap(reply: Reply) -> bool:
    return isinstance(reply, list) and None not in reply


def whole(key: str) -> Entry:
    return Entry(key, ("EXISTS", key), partial(_is, 1), ("PEXPIRETIME", key))


def typed(key: str, kind: str) -> Entry:
    """A key that only counts as there if it is of this type."""
    return Entry(key, ("TYPE", key), partial(_is, kind.encode()))


def equal(key: str, value: str) -> Entry:
    return Entry(key, ("GET", key), partial(_is, value.encode()))


def hash_field(key: str, name: str) -> Entry:
    deadline = ("HPEXPIRETIME", key, "FIELDS", "1", name)
    return Entry(key, ("HEXISTS", key, name), partial(_is, 1), deadline)


def set_member(key: str, member: str) -> Entry:
    return Entry(key, ("SISMEMBER", key, member), partial(_is, 1))


def sorted_member(key: str, member: str) -> Entry:
    return Entry(key, ("ZSCORE", key, member), _is_anything)


def sorted_members(key: str, *members: str) -> Entry:
    """All of them."""
    return Entry(key, ("ZMSCORE", key, *members), _has_no_gap)


def list_index(key: str, index: int) -> Entry:
    return Entry(key, ("LLEN", key), partial(_is_longer, index))


def list_element(key: str, element: str) -> Entry:
    return Entry(key, ("LPOS", key, element), _is_anything)


def answer(key: str, *question: str) -> Entry:
    """What is there if the server answers this question with something."""
    return Entry(key, question, _is_anything)


# Words that are other ones in every step, so that what a step did can be told from its traces.


@dataclass(frozen=True)
class Fresh:
    """A word that no other step of the sequence says."""

    text: str

    def at(self, position: int, _: float) -> str:
        return self.text.format(position + 1)


@dataclass(frozen=True)
class Later:
    """A deadline that no other step of the sequence names, a minute or more from any of theirs."""

    hours: int
    unit: str
    """``s`` or ``ms`` from now; ``at`` or ``at_ms``: a unix time."""

    def seconds(self, position: int) -> int:
        return self.hours * 3600 + (position + 1) * 60

    def at(self, position: int, now: float) -> str:
        from_now = self.seconds(position)
        seconds = from_now + int(now) if self.unit.startswith("at") else from_now
        return str(seconds * 1000 if self.unit.endswith("ms") else seconds)


VALUE = Fresh("v{}")
Spoken: TypeAlias = "str | bytes | Fresh | Later"


# What is done.


@dataclass(frozen=True)
class Writes:
    """The keys that a command stores."""

    keys: tuple[str, ...]
    ttl: str = "kept"
    """What it does to their time to live: ``set``, ``none``, ``kept``."""
    needs: tuple[Entry, ...] = ()
    """All of these must be there before, or it stores nothing."""
    forbids: tuple[Entry, ...] = ()
    """None of these may be there before, or it stores nothing."""
    otherwise: str | None = "refused"
    """What it is called if it stores nothing; None where that is no write at all."""
    lands: tuple[Entry, ...] = ()
    """One of these is there afterwards, else what was accepted has left nothing; by default the keys."""
    changes: bool = False
    """Whether it cannot be stored without a difference in the server's state."""


@dataclass(frozen=True)
class Step:
    """A command as the application sends it."""

    words: tuple[Spoken, ...]
    reads: tuple[Entry, ...] = ()
    """One for each key, field or member asked for, duplicates too."""
    probes: bool = False
    """Whether it only asks if they are there."""
    counted: bool = False
    """Whether its reply only says how many of them are."""
    removes: tuple[Entry, ...] = ()
    """What is removed explicitly if it is gone afterwards."""
    reason: str = "delete"
    writes: Writes | None = None
    lasts: tuple[Entry, ...] = ()
    """What gets the deadline of a write or of an EXPIRE, if it names one that is ahead."""
    malformed: bool = False
    """Whether the server refuses to queue it."""
    by_chance: bool = False
    """Whether two servers in one state may end in two."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """For the client, not for the server."""

    @property
    def name(self) -> str:
        return str(self.words[0])

    @property
    def later(self) -> Later | None:
        return next((word for word in self.words if isinstance(word, Later)), None)

    def said(self, position: int, now: float) -> list[str | bytes]:
        """The words that go to the server, for a command at this position of a sequence."""
        return [w.at(position, now) if isinstance(w, Fresh | Later) else w for w in self.words]
