"""Rules for keys that have no name, from the shapes that many of them share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from otel_redis_cache.caches import compile_pattern, looks_like_a_name
from otel_redis_cache.cli.census_findings import Proposal
from otel_redis_cache.conventions import RESERVED_CACHES

MOST = 20
"""Rules that are proposed."""

FEWEST = 10
"""Keys that share a shape: what fewer have in common may be somebody's identifier."""

LEAST = 0.01
"""Of the keys without a name, that a rule is worth."""

REMEMBERED = 2_000
"""Keys with a name, which no rule may take away."""

_VARIABLE = "{id}"
_SEPARATOR = re.compile(r"([-_./|@#~])")
_LITERAL = re.compile(r"[A-Za-z][A-Za-z0-9]*")


class Shapes:
    """What keys without a name look like."""

    def __init__(self, delimiter: str) -> None:
        """None was seen yet."""
        self._delimiter = delimiter
        self._shapes: Counter[str] = Counter()
        self._named: list[str] = []

    def add(self, text: str) -> None:
        """Take a key that has no name."""
        self._shapes[self._shape_of(text)] += 1

    def spare(self, text: str) -> None:
        """Take a key that has one, and is to keep it."""
        if len(self._named) < REMEMBERED:
            self._named.append(text)

    def proposals(self, scale: float) -> list[Proposal]:
        """Rules that name as many as possible, the most specific one first.

        ``scale`` is how many keys one stands for that was seen.
        """
        enough = max(FEWEST, LEAST * self._shapes.total())
        common, rare = Counter[str](), Counter[str]()
        for shape, count in self._shapes.items():
            if count >= enough:
                common[shape] += count
            elif wider := self._wider(shape):
                rare[wider] += count
        common.update({shape: count for shape, count in rare.items() if count >= enough})
        found = [
            Proposal(name, shape, round(scale * count))
            for shape, count in common.most_common()
            if "*" in shape or _VARIABLE in shape
            if (name := _name_of(shape)) and not self._takes_a_name(shape)
        ]
        return sorted(found[:MOST], key=lambda it: len(_fixed(it.pattern)), reverse=True)

    def _shape_of(self, text: str) -> str:
        """``{id}:report:*``: words stay, what differs does not."""
        parts = [_part(part) for part in text.split(self._delimiter)]
        while len(parts) > 1 and parts[-2] == parts[-1] == _VARIABLE:
            parts.pop()
        if parts[-1] == _VARIABLE:
            parts[-1] = "*"
        return self._delimiter.join(parts)

    def _wider(self, shape: str) -> str | None:
        """The first word of a shape, with what separates it, and anything behind."""
        separators = f"(?:{re.escape(self._delimiter)}|{_SEPARATOR.pattern})"
        first = re.compile(
            rf"(?:{re.escape(_VARIABLE + self._delimiter)})*{_LITERAL.pattern}{separators}"
        )
        found = first.match(shape)
        return f"{found.group()}*" if found else None

    def _takes_a_name(self, shape: str) -> bool:
        matches = compile_pattern(shape, self._delimiter)
        return any(map(matches, self._named))


def _part(part: str) -> str:
    """A word, ``word-*``, or ``{id}``."""
    if _is_word(part):
        return part
    kept = "".join(_leading(_SEPARATOR.split(part)))
    return f"{kept}*" if kept else _VARIABLE


def _leading(pieces: list[str]) -> Iterator[str]:
    """The words in front, each with the separator behind it."""
    for word, separator in zip(pieces[::2], pieces[1::2], strict=False):
        if not _is_word(word):
            return
        yield word + separator


def _is_word(text: str) -> bool:
    return looks_like_a_name(text) or (len(text) == 1 and text.isascii() and text.isalpha())


def _fixed(shape: str) -> str:
    return shape.replace(_VARIABLE, "").replace("*", "")


def _name_of(shape: str) -> str | None:
    """Its words, as a cache may be called."""
    name = ".".join(_LITERAL.findall(shape.replace(_VARIABLE, "")))[:64]
    return name if name and name not in RESERVED_CACHES else None
