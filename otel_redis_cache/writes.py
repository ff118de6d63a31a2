"""Writes: what becomes of a key's time to live, and whether the server stored the key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_redis_cache import conventions as names
from otel_redis_cache.facts import Operands, Reply, Write
from otel_redis_cache.operands import (
    DEADLINES,
    after_pairs,
    count_of,
    destination_after,
    elements,
    every_second_field,
    fields_set,
    number,
    one,
    options,
    second,
    set_accepted,
    two,
    values_set,
    word,
)


def _first(_: Operands) -> Sequence[int]:
    return (0,)


def _second(_: Operands) -> Sequence[int]:
    return (1,)


def _third(_: Operands) -> Sequence[int]:
    return (2,)


def _each_behind_a_key(operands: Operands) -> Sequence[int]:
    """``key value key value ...``."""
    return range(1, len(operands), 2)


def _each_behind_a_field(operands: Operands) -> Sequence[int]:
    """``key field value field value ...``."""
    return range(2, len(operands), 2)


def _each_of_pairs(operands: Operands) -> Sequence[int]:
    """``numkeys key value key value ...``."""
    return range(2, after_pairs(operands), 2)


def _whole_document(operands: Operands) -> Sequence[int]:
    """``key $ json``; at any other path it is a part."""
    return (2,) if len(operands) > 1 and word(operands[1]) in {"$", "."} else ()


def _second_here(operands: Operands) -> Sequence[int]:
    """The second key, unless it is one of another database."""
    return () if any(word(operand) == "DB" for operand in operands[2:]) else (1,)


def _bits_written(operands: Operands) -> Sequence[int]:
    """The key, if a subcommand of BITFIELD writes."""
    return (0,) if any(word(operand) in {"SET", "INCRBY"} for operand in operands[1:]) else ()


def _if_moved(_: Operands, reply: Reply) -> bool | None:
    return True if reply else None


def _set_ttl(_: Operands) -> str:
    return names.TTL_SET


def _no_ttl(_: Operands) -> str:
    return names.TTL_NONE


def _kept_ttl(_: Operands) -> str:
    return names.TTL_KEPT


def ttl_option(
    start: Callable[[Operands], int], otherwise: str = names.TTL_NONE
) -> Callable[[Operands], str]:
    """What the options from a position on do to the time to live."""

    def ttl(operands: Operands) -> str:
        if len(operands) <= 2:
            return otherwise
        given = options(operands, start(operands))
        if "KEEPTTL" in given:
            return names.TTL_KEPT
        return names.TTL_SET if given.keys() & DEADLINES.keys() else otherwise

    return ttl


def _restore_ttl(operands: Operands) -> str:
    return names.TTL_SET if len(operands) > 1 and number(operands[1]) else names.TTL_NONE


def _stored_always(_: Operands, __: Reply) -> bool:
    return True


def _stored_if_true(_: Operands, reply: Reply) -> bool:
    return bool(reply)


def _stored_if_positive(_: Operands, reply: Reply) -> bool:
    return count_of(reply) > 0


def _stored_if_any(_: Operands, reply: Reply) -> bool:
    return reply is not None


def _stored_if_not_empty(_: Operands, reply: Reply) -> bool | None:
    return True if count_of(reply) else None


def _stored_if_counted(operands: Operands, reply: Reply) -> bool | None:
    return _stored_if_not_empty(operands, reply) if isinstance(reply, int) else None


def _stored_if_any_element(_: Operands, reply: Reply) -> bool:
    return any(element is not None for element in elements(reply))


def _stored_if_matched(operands: Operands, reply: Reply) -> bool | None:
    if _stored_if_any_element(operands, reply):
        return True
    return None if isinstance(reply, list) or reply in _NOTHING_MATCHED else True


def _stored_if_none_failed(_: Operands, reply: Reply) -> bool | None:
    failed = any(isinstance(element, BaseException) for element in elements(reply))
    return None if failed else True


_NOTHING_MATCHED: Sequence[object] = (None, b"[]", "[]", b"[null]", "[null]")


SET = Write(
    ttl_option(two),
    set_accepted,
    values=_second,
    meaning="by its options; refused where its condition does not hold",
)
SET_WITH_TTL = Write(_set_ttl, _stored_always, values=_third, meaning="set")
SET_WITHOUT_TTL = Write(_no_ttl, _stored_always, values=_second, meaning="none")
EACH_SET = SET_WITHOUT_TTL._replace(values=_each_behind_a_key)
SET_IF_NEW = Write(
    _no_ttl, _stored_if_true, values=_second, meaning="none; refused where a key was there"
)
EACH_SET_IF_NEW = SET_IF_NEW._replace(values=_each_behind_a_key)
UPDATED = Write(_kept_ttl, _stored_always, meaning="kept")
FIELD_UPDATED = UPDATED._replace(fields=second)
FIELDS_SET = UPDATED._replace(fields=every_second_field, values=_each_behind_a_field)
UPDATED_IF_TRUE = Write(_kept_ttl, _stored_if_true, meaning="kept; refused at 0")
FIELD_SET_IF_NEW = UPDATED_IF_TRUE._replace(fields=second, values=_third)
UPDATED_IF_POSITIVE = Write(_kept_ttl, _stored_if_positive, meaning="kept; refused at 0 or less")
UPDATED_IF_ANY = Write(_kept_ttl, _stored_if_any, meaning="kept; refused at nil")
DOCUMENT_SET = UPDATED_IF_ANY._replace(values=_whole_document)
MOVED_TO_SECOND = Write(
    _kept_ttl, _if_moved, _second, meaning="the second key: kept, where something was moved"
)
COPIED_TO_SECOND = Write(
    _kept_ttl,
    _stored_if_true,
    _second_here,
    meaning="the second key, but for one of another database: kept; refused at 0",
)
STORED_TO_FIRST = Write(
    _no_ttl,
    _stored_if_not_empty,
    _first,
    meaning="the first key: none, where the result is not empty",
)
RESTORED = Write(_restore_ttl, _stored_always, meaning="set or none, as given")
FIELDS_SET_WITH_TTL = Write(
    ttl_option(one, names.TTL_KEPT),
    _stored_if_true,
    fields=fields_set,
    values=values_set,
    meaning="set for the fields, else kept; refused at 0",
)
PAIRS_SET = Write(
    ttl_option(after_pairs),
    _stored_if_true,
    values=_each_of_pairs,
    meaning="by its options; refused at 0",
)

STORED_TO_SECOND = STORED_TO_FIRST._replace(
    positions=_second, meaning="the second operand: none, where the result is not empty"
)


def stored_if_asked(start: int) -> Write:
    """``SORT key ... STORE destination``, where options stand from this operand on."""
    return Write(
        _no_ttl,
        _stored_if_counted,
        destination_after(start),
        meaning="the key after STORE: none, where the result is not empty",
    )


UPDATED_FIRST = Write(_kept_ttl, _stored_always, _first, meaning="the first key: kept")
UPDATED_BITS = Write(
    _kept_ttl,
    _stored_if_any_element,
    _bits_written,
    meaning="kept, with SET or INCRBY",
)
UPDATED_AT_PATH = Write(
    _kept_ttl, _stored_if_matched, meaning="kept, where something matches the path"
)
SAMPLES_ADDED = Write(
    _kept_ttl, _stored_if_none_failed, meaning="each key: kept, where no sample is refused"
)
