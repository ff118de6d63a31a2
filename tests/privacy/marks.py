"""Words that are marked, each unlike any other: where one of them shows, data of the application has leaked."""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from otel_redis_cache import health, snapshot
from tests.integration import case
from tests.recording import Recording

STEM = "qzvx"
"""How a marked word begins; nothing else has it."""

NUMBER, DIGEST = "471108154711", "7a1c7ab50815"
"""The same for words without letters, and for hexadecimal ones: too long to come by chance."""

_STEMS = re.compile(rf"(?i)(?:{STEM}|{NUMBER}|{DIGEST}|7a1c7ab5-0815)[\w.@+-]{{0,24}}")


def mark(word: str) -> str:
    """The same mark for the same word."""
    letters = hashlib.sha256(word.encode()).hexdigest()[:6].translate(_TO_LETTERS)
    return f"{STEM}{letters}Z"


_TO_LETTERS = str.maketrans(string.digits, "ghijklmnop")

DISGUISES: Mapping[str, Callable[[str], str]] = {
    "number": lambda word: f"{NUMBER}{_number(word):06d}",
    "UUID": lambda word: f"7a1c7ab5-0815-4711-8abc-{_number(word):012x}",
    "hexadecimal": lambda word: f"{DIGEST}{_number(word):04x}",
    "e-mail": lambda word: f"{mark(word)}@example.com",
    "telephone": lambda word: f"+{NUMBER}{_number(word):04d}",
    "random": lambda word: f"{mark(word)}4Kp7_Qm2-Rt9",
    "long": lambda word: mark(word) * 4,
}
"""What identifies somebody, and is no name of a cache, where it stands before the delimiter."""


def _number(word: str) -> int:
    return int(hashlib.sha256(word.encode()).hexdigest()[:3], 16)


def marks_in(text: str) -> list[str]:
    """The marks that a text shows, each once."""
    return sorted(set(_STEMS.findall(text)))


def leaks(recording: Recording, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The marks in all that was exported, logged, or is told to the application."""
    told = (recording.everything(), caplog.text, json.dumps(snapshot()), json.dumps(health()))
    return marks_in("\n".join(told))


PLAIN = frozenset(
    {"answer", "avg", "byscore", "false", "inf", "infinity", "km", "m", "nosort", "null", "px"}
    | {"pxat", "true", "u2", "u8"}
)
"""Words of the cases that mean something to a server."""

_WORD = re.compile(r"[a-z][a-z0-9]*")


class Marked:
    """Commands and data of the cases, with every word of the application's marked."""

    def __init__(self, key: Callable[[str], str]) -> None:
        """``key`` makes the key of a word."""
        self._key = key
        self.script = b"-- " + mark("script").encode() + b"\n" + case.SCRIPT
        self._library = case.LIBRARY + b"\n-- " + mark("library").encode()

    def args(self, text: str) -> tuple[Any, ...]:
        """``SET data:string v`` with a marked key and a marked value."""
        name, *operands = text.split()
        return (name, *map(self._word, operands))

    def _word(self, word: str) -> Any:
        if word == "<script>":
            return self.script
        if word == "<library>":
            return self._library
        if word == hashlib.sha1(case.SCRIPT).hexdigest():
            return hashlib.sha1(self.script).hexdigest()
        if word.startswith("<"):
            return case.words(word)[0]
        cache, colon, rest = word.partition(":")
        if colon and cache in ("data", "other"):
            return self._key(f"{cache}:{rest}")
        return _WORD.sub(lambda found: _marked_unless_plain(found.group()), word)


def _marked_unless_plain(word: str) -> str:
    return word if word in PLAIN else mark(word)


def key_behind(key: str) -> str:
    """``data:qzvx...``: the mark stands behind the first delimiter."""
    cache, _, rest = key.partition(":")
    return f"{cache}:*" if rest == "*" else f"{cache}:{mark(rest)}"


def key_before(disguise: Callable[[str], str]) -> Callable[[str], str]:
    """``qzvx...@example.com:profile``: it stands before it."""
    return lambda key: f"{disguise(key)}:profile"
