"""Touches: which keys, or which fields of a key, one command found, missed, wrote or removed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otel_redis_cache import conventions as names
from otel_redis_cache.facts import Command, Fields, Names, Outcome, Read, Removal, Write

_WHOLE_KEY = (None,)


def note_lookups(
    outcome: Outcome, read: Read, command: Command, caches: Names, found: Sequence[bool]
) -> None:
    """What was there, and what was not; from here on the outcome is followed."""
    outcome.is_followed = True
    fields = _fields(read.fields, command)
    # Either many keys as a whole, or many fields of one key.
    entries = [
        (key, cache, field)
        for key, cache in zip(command.keys, caches, strict=False)
        for field in fields
    ]
    outcome.touches += [
        (names.HIT if hit else names.MISS, key, field, cache)
        for (key, cache, field), hit in zip(entries, found, strict=False)
        if cache is not None
    ]


def note_writes(outcome: Outcome, write: Write, command: Command) -> None:
    """What was stored."""
    keys = command.at(write.positions or command.rule.positions)
    _note(outcome, names.WRITE, keys, _fields(write.fields, command))


def note_removal(outcome: Outcome, removal: Removal, command: Command) -> None:
    """What was to be removed, whether it was there or not; every key where none is named."""
    _note(outcome, names.DELETE, command.keys or (None,), _fields(removal.fields, command))


def _note(outcome: Outcome, kind: str, keys: Sequence[object], fields: Iterable[object]) -> None:
    outcome.touches += [(kind, key, field, None) for key in keys for field in fields]


def _fields(fields: Fields | None, command: Command) -> Sequence[object]:
    return _WHOLE_KEY if fields is None else fields(command.operands)
