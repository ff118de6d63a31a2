"""Removals: which forms of a command remove entries, and how many the reply says are gone."""

from __future__ import annotations

from collections.abc import Callable

from otel_redis_cache import conventions as names
from otel_redis_cache.facts import Operands, Removal, Reply
from otel_redis_cache.operands import (
    after_pairs,
    all_but_first,
    count_of,
    distinct,
    elements,
    fields,
    fields_set,
    number,
    one,
    script_found,
    script_keys,
    seconds_by_option,
    seconds_left,
    set_accepted,
    two,
    word,
)


def _distinct_keys(operands: Operands, _: float) -> int:
    return distinct(operands)


def _one_entry(_: Operands, __: float) -> int:
    return 1


def _replied_count(_: Operands, reply: Reply) -> int:
    return count_of(reply)


def _replied_value(_: Operands, reply: Reply) -> int:
    return 0 if reply is None else 1


def _replied_values(operands: Operands, reply: Reply) -> int:
    """Distinct fields: one that is named twice is found once."""
    pairs = zip(fields(operands), elements(reply), strict=False)
    return distinct(field for field, value in pairs if value is not None)


def _distinct_fields(operands: Operands, _: float) -> int:
    return distinct(fields(operands))


def _distinct_hdel_fields(operands: Operands, _: float) -> int:
    return distinct(all_but_first(operands))


def _past(scale: float, *, absolute: bool) -> Callable[[object, float], bool]:
    def past(deadline: object, now: float) -> bool:
        return _is_over(seconds_left(deadline, now, scale, absolute=absolute))

    return past


def _is_over(seconds: float | None) -> bool:
    return seconds is not None and seconds <= 0


def expiry(scale: float, *, absolute: bool) -> Removal:
    """``EXPIRE key 0`` and the like remove a key that is there."""
    past = _past(scale, absolute=absolute)

    def asked(operands: Operands, now: float) -> int:
        return 1 if len(operands) > 1 and past(operands[1], now) else 0

    meaning = "with zero or past time: 1; the reply says whether"
    return Removal(asked, _replied_count, names.EXPIRE, meaning=meaning)


def field_expiry(scale: float, *, absolute: bool) -> Removal:
    """``HEXPIRE key 0 FIELDS n field ...`` replies 2 for each field that it removed."""
    past = _past(scale, absolute=absolute)

    def asked(operands: Operands, now: float) -> int:
        return distinct(fields(operands)) if len(operands) > 1 and past(operands[1], now) else 0

    def removed(_: Operands, reply: Reply) -> int:
        return sum(element == 2 for element in elements(reply))

    meaning = "with zero or past time: each field that the reply says 2 of"
    return Removal(asked, removed, names.EXPIRE, fields=fields, meaning=meaning)


def past_deadline(
    start: Callable[[Operands], int],
    asked: Callable[[Operands], int],
    removed: Callable[[Operands, Reply], int],
    *,
    meaning: str,
    tells: bool = True,
    relative: bool = False,
) -> Removal:
    """``EXAT`` or ``PXAT`` with a time that has passed removes what it names.

    With ``relative``, so does ``EX 0``, which other commands refuse.
    """

    def asked_now(operands: Operands, now: float) -> int:
        if len(operands) < 3:
            return 0
        seconds = seconds_by_option(operands, start(operands), now, relative=relative)
        return asked(operands) if _is_over(seconds) else 0

    return Removal(asked_now, removed, names.EXPIRE, tells=tells, meaning=meaning)


def _accepted(operands: Operands, reply: Reply) -> int:
    return 0 if set_accepted(operands, reply) is False else 1


def _restore_deadline(operands: Operands, now: float) -> int:
    absolute = any(word(operand) == "ABSTTL" for operand in operands[3:])
    ttl = number(operands[1]) if len(operands) > 1 else None
    return 1 if absolute and ttl is not None and 0 < ttl / 1000 <= now else 0


def _replied_anything(_: Operands, __: Reply) -> int:
    return 1


def _truthy(_: Operands, reply: Reply) -> int:
    return 1 if reply else 0


def _moved_away(operands: Operands, _: float) -> int:
    return 0 if any(word(operand) == "COPY" for operand in operands[5:]) else 1


def _moved(_: Operands, reply: Reply) -> int:
    return 0 if word(reply) == "NOKEY" else 1


def _stored_nothing(_: Operands, reply: Reply) -> int:
    return 1 if isinstance(reply, int) and count_of(reply) == 0 else 0


def _documents_dropped(operands: Operands, _: float) -> int:
    return 1 if any(word(operand) == "DD" for operand in operands[1:]) else 0


def _distinct_script_keys(operands: Operands, _: float) -> int:
    return distinct(script_keys(operands))


def _keys_found_by_script(operands: Operands, reply: Reply) -> int:
    return sum(script_found(operands, reply))


KEYS_DELETED = Removal(
    _distinct_keys, _replied_count, each_key=True, meaning="distinct keys; the reply counts them"
)
VALUE_TAKEN = Removal(_one_entry, _replied_value, meaning="1; nil is none")
DELETED_IF_EQUAL = Removal(_one_entry, _replied_count, meaning="1; the reply counts it")
FIELDS_DELETED = Removal(
    _distinct_hdel_fields,
    _replied_count,
    fields=all_but_first,
    meaning="distinct fields; the reply counts them",
)
FIELDS_TAKEN = Removal(
    _distinct_fields, _replied_values, fields=fields, meaning="distinct fields; nil is none"
)
JSON_DELETED = Removal(
    _one_entry, _replied_count, meaning="1 or, by a path, each match; the reply counts them"
)
FLUSHED = Removal(_one_entry, _truthy, names.FLUSH, tells=False, meaning="effect unknown")
DOCUMENTS_DROPPED = Removal(
    _documents_dropped, _truthy, tells=False, meaning="with DD: effect unknown"
)
RENAMED = Removal(_one_entry, _truthy, names.RENAME, tells=False, meaning="effect unknown")
MIGRATED = Removal(
    _moved_away, _moved, each_key=True, tells=False, meaning="without COPY: effect unknown"
)
EMPTIED = Removal(
    _one_entry,
    _stored_nothing,
    names.OVERWRITE,
    tells=False,
    incidental=True,
    meaning="an empty result: effect unknown",
)
SCRIPT_DELETED = Removal(
    _distinct_script_keys,
    _replied_count,
    each_key=True,
    meaning="distinct keys; the reply counts them",
)
SCRIPT_TAKEN = SCRIPT_DELETED._replace(
    removed=_keys_found_by_script,
    meaning="distinct keys; nil is none",
)
GETEX_PAST = past_deadline(one, one, _replied_value, meaning="with a past time: 1; nil is none")
HGETEX_PAST = past_deadline(
    one,
    lambda operands: distinct(fields(operands)),
    _replied_values,
    relative=True,
    meaning="with zero or past time: distinct fields; nil is none",
)._replace(fields=fields)
SET_PAST = past_deadline(
    two, one, _accepted, tells=False, meaning="with a past time: effect unknown"
)
MSETEX_PAST = past_deadline(
    after_pairs, one, _truthy, tells=False, meaning="with a past time: effect unknown"
)._replace(each_key=True)
HSETEX_PAST = past_deadline(
    one,
    one,
    _truthy,
    tells=False,
    relative=True,
    meaning="with zero or past time: effect unknown",
)._replace(fields=fields_set)
RESTORE_PAST = Removal(
    _restore_deadline,
    _replied_anything,
    names.EXPIRE,
    tells=False,
    meaning="with ABSTTL and a past time: effect unknown",
)
