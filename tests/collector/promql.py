"""What an expression of Prometheus reads: metrics and labels, by their names."""

from __future__ import annotations

import re
from typing import NamedTuple

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_RANGE = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_MATCHERS = re.compile(r"([a-zA-Z_:][\w:]*)?\{([^}]*)\}")
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_WORD = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_OPERATORS = {"and", "or", "unless", "bool", "by", "without", "on", "ignoring"}


class Reads(NamedTuple):
    metrics: set[str]
    labels: set[str]
    """Those that vectors are grouped or matched by."""
    matchers: set[tuple[str, str]]
    """The metric and the label of each matcher."""


def reads_of(expression: str) -> Reads:
    """Anything that is neither a function nor an operator is taken for a metric, so that nothing is overlooked."""
    text = _RANGE.sub(" ", _TEXT.sub('""', expression))
    matchers = {
        (metric, label)
        for metric, found in _MATCHERS.findall(text)
        for label in re.findall(r"(\w+)\s*[=!]", found)
    }
    text = _MATCHERS.sub(r" \1 ", text)
    labels = {label for found in _LABELS.findall(text) for label in re.findall(r"\w+", found)}
    words = set(_WORD.findall(_LABELS.sub(" ", text)))
    return Reads(words - _OPERATORS, labels, matchers)
