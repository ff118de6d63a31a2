"""Sizes: how many bytes the values of one command have, where they can be told as they stand.

redis-py writes numbers as their ``repr``, and text as UTF-8 unless it is told otherwise. What a client
has parsed (a dict, a set, a document) would have to be encoded anew to tell its size, and has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

from otel_redis_cache import conventions as names
from otel_redis_cache.facts import Command, Names, Outcome, Read, Reply, Write
from otel_redis_cache.operands import elements

MAX_TEXT = 64 * 1024
"""Characters of text beyond ASCII that are encoded to tell their size."""


def measure_reads(outcome: Outcome, read: Read, caches: Names, reply: Reply, at_most: int) -> None:
    """The values that were found."""
    if read.sized:
        values = elements(reply) if read.listed else (reply,)
        _measure(outcome, names.READ, caches, values, at_most)


def measure_writes(
    outcome: Outcome, write: Write, command: Command, caches: Names, at_most: int
) -> None:
    """The values that were stored."""
    if write.values is not None:
        _measure(outcome, names.WRITE, caches, command.at(write.values), at_most)


def bytes_of(value: object) -> int | None:
    """The size of one value as Redis holds it; None where it cannot be told."""
    if isinstance(value, bytes | bytearray):
        return len(value)
    if isinstance(value, str):
        if value.isascii():
            return len(value)
        return len(value.encode("utf-8", "replace")) if len(value) <= MAX_TEXT else None
    if isinstance(value, memoryview):
        return value.nbytes
    if isinstance(value, int | float) and not isinstance(value, bool):
        return len(repr(value))
    return None


def _measure(
    outcome: Outcome, direction: str, caches: Names, values: Sequence[object], at_most: int
) -> None:
    # One value for each key; or all of them are fields of one key.
    of_each = caches if len(caches) > 1 else repeat(caches[0] if caches else None)
    for cache, value in zip(of_each, values, strict=False):
        if len(outcome.sizes) >= at_most:
            break
        size = None if cache is None else bytes_of(value)
        if cache is not None and size is not None:
            outcome.sizes.append((cache, direction, size))
