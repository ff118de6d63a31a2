"""Which entries of streams a reply hands to a consumer, and how old they are.

Replies are read in every shape that the clients give them: lists of pairs (RESP2), dictionaries
(RESP3), dictionaries with one list too many (older clients with RESP3), decoded or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

from otel_redis_cache.caches import key_text
from otel_redis_cache.facts import Command, Operands, Reply
from otel_redis_cache.operands import word

FIRST_TIME = 1_000_000_000_000
"""Milliseconds of unix time, in 2001. An id that is smaller was given by hand and is no time."""

Handed = tuple[object, object]
"""A stream, and the list of its entries."""


def _read(_: Operands, reply: Reply) -> Iterator[Handed]:
    """XREAD and XREADGROUP: entries by stream."""
    if isinstance(reply, Mapping):
        yield from cast("Mapping[object, object]", reply).items()
        return
    for pair in _list(reply):
        if len(stream_and_entries := _list(pair)) == 2:
            yield stream_and_entries[0], stream_and_entries[1]


def _claimed(operands: Operands, reply: Reply) -> Iterator[Handed]:
    """XCLAIM: entries; with JUSTID ids, which hand out nothing."""
    yield operands[0], reply


def _claimed_automatically(operands: Operands, reply: Reply) -> Iterator[Handed]:
    """XAUTOCLAIM: where to go on, then entries; with JUSTID ids."""
    if len(parts := _list(reply)) > 1:
        yield operands[0], parts[1]


_HANDED: dict[str, Callable[[Operands, Reply], Iterator[Handed]]] = {
    "XREAD": _read,
    "XREADGROUP": _read,
    "XCLAIM": _claimed,
    "XAUTOCLAIM": _claimed_automatically,
}


def lags(command: Command, reply: Reply, now: float) -> Iterator[tuple[object, list[float]]]:
    """Each stream that a reply has entries of, and how many seconds old those were at ``now``.

    Entries that were deleted are not handed out. A clock that is behind the server's makes an age
    of 0.
    """
    handed = _HANDED.get(command.rule.name)
    if handed is None or not reply:
        return
    for stream, entries in handed(command.operands, reply):
        times = [time for entry in _entries(entries) if (time := _time_of(entry)) is not None]
        if times:
            yield stream, [max(now - time, 0.0) for time in times]


def group_of(command: Command) -> object:
    """The consumer group that a command reads for; None for XREAD."""
    operands = command.operands
    if command.rule.name == "XREADGROUP":
        return operands[1] if len(operands) > 1 and word(operands[0]) == "GROUP" else None
    return operands[1] if command.rule.name != "XREAD" and len(operands) > 1 else None


def _entries(found: object) -> Iterator[list[object]]:
    for each in _list(found):
        entry = _list(each)
        if entry and isinstance(entry[0], list | tuple):
            yield from _entries(entry)
        elif len(entry) > 1 and entry[1]:  # one that was deleted has no fields
            yield entry


def _time_of(entry: list[object]) -> float | None:
    milliseconds, _, _ = key_text(entry[0]).partition("-")
    if not milliseconds.isdecimal() or int(milliseconds) < FIRST_TIME:
        return None
    return int(milliseconds) / 1e3


def _list(reply: object) -> list[object]:
    return list(cast("list[object]", reply)) if isinstance(reply, list | tuple) else []
