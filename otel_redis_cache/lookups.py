"""Lookups: which forms of a command ask for entries, and what the reply says about each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_redis_cache.facts import Operands, Read, Reply
from otel_redis_cache.operands import (
    all_but_first,
    count_of,
    elements,
    fields,
    one,
    script_found,
    script_keys,
    second,
    set_options,
    size_of,
    word,
)


def _one_without_count(operands: Operands) -> int:
    return 1 if len(operands) == 1 else 0


def _operands_from(start: int) -> Callable[[Operands], int]:
    return lambda operands: max(len(operands) - start, 0)


def _asked_fields(operands: Operands) -> int:
    return len(fields(operands))


def _not_nil(_: Operands, reply: Reply) -> Sequence[bool]:
    return _FOUND if reply is not None else _MISSING


def _not_empty(_: Operands, reply: Reply) -> Sequence[bool]:
    return _FOUND if size_of(reply) else _MISSING


def _each_not_nil(_: Operands, reply: Reply) -> Sequence[bool]:
    return [element is not None for element in elements(reply)]


def _positive(_: Operands, reply: Reply) -> Sequence[bool]:
    return _FOUND if count_of(reply) else _MISSING


def _each_positive(_: Operands, reply: Reply) -> Sequence[bool]:
    return [count_of(element) > 0 for element in elements(reply)]


def _each_present(operands: Operands, reply: Reply) -> Sequence[bool]:
    if reply is None:  # older servers answer nil, newer ones -2 for each field
        return [False] * _asked_fields(operands)
    return [element != -2 for element in elements(reply)]


def _present(_: Operands, reply: Reply) -> Sequence[bool]:
    return _MISSING if reply == -2 else _FOUND


def _typed(_: Operands, reply: Reply) -> Sequence[bool]:
    return _MISSING if word(reply) == "NONE" else _FOUND


def _as_many(operands: Operands, reply: Reply) -> Sequence[bool]:
    asked = len(operands)
    present = min(count_of(reply), asked + 1)  # a callback's reply may be any number
    return [True] * present + [False] * (asked - present)


def _matched(operands: Operands, value: object) -> bool:
    """Whether there is something at the path, which is the last operand."""
    if value is None:
        return False
    # A path that starts with $ gives all that it matches, so nothing is an empty array.
    path = word(operands[-1]) if operands else ""
    return not (path.startswith("$") and value in _NO_MATCH)


def _json_matched(operands: Operands, reply: Reply) -> Sequence[bool]:
    return [_matched(operands, reply)]


def _each_json_matched(operands: Operands, reply: Reply) -> Sequence[bool]:
    return [_matched(operands, element) for element in elements(reply)]


def _script_keys_asked(operands: Operands) -> int:
    return len(script_keys(operands))


def _all_but_last(operands: Operands) -> int:
    return max(len(operands) - 1, 0)


_NO_MATCH: Sequence[object] = (b"[]", "[]", [])
_FOUND: Sequence[bool] = (True,)
_MISSING: Sequence[bool] = (False,)

ONE_FACT = Read(one, _not_nil, lone=True, meaning="1; nil is a miss")
EACH_MEMBER = Read(_operands_from(1), _each_not_nil, meaning="each member; nil is a miss")
ONE_VALUE = ONE_FACT._replace(values=True, sized=True)
WHOLE = Read(one, _not_empty, values=True, meaning="1; an empty reply is a miss")
EACH_KEY = Read(
    len,
    _each_not_nil,
    each_key=True,
    values=True,
    sized=True,
    listed=True,
    meaning="each key; nil is a miss",
)
ONE_FIELD = ONE_VALUE._replace(fields=second)
EACH_FIELD = Read(
    _operands_from(1),
    _each_not_nil,
    values=True,
    sized=True,
    listed=True,
    fields=all_but_first,
    meaning="each field; nil is a miss",
)
NAMED_FIELDS = Read(
    _asked_fields,
    _each_not_nil,
    values=True,
    sized=True,
    listed=True,
    fields=fields,
    meaning="each field; nil is a miss",
)
RANDOM_MEMBER = Read(
    _one_without_count, _not_nil, meaning="1 without a count, none with one; nil is a miss"
)

# Without a path redis-py's json().get() makes nil of a document that is null: a miss too.
JSON_VALUE = Read(
    one, _json_matched, values=True, meaning="1; nil, or no match of a `$` path, is a miss"
)
EACH_JSON_VALUE = Read(
    _all_but_last,
    _each_json_matched,
    each_key=True,
    values=True,
    meaning="each key; nil, or no match of a `$` path, is a miss",
)

PROBE_VALUE = Read(one, _not_nil, probe=True, meaning="probe, 1; nil is a miss")
PROBE_COUNT = Read(one, _positive, probe=True, meaning="probe, 1; 0 is a miss")
PROBE_TTL = Read(one, _present, probe=True, meaning="probe, 1; -2 is a miss")
PROBE_TYPE = Read(one, _typed, probe=True, meaning="probe, 1; `none` is a miss")
PROBE_KEYS = Read(
    len,
    _as_many,
    each_key=True,
    counted=True,
    probe=True,
    meaning="probe, each key; the reply counts those that are there",
)
PROBE_MEMBERS = Read(
    _operands_from(1), _each_positive, probe=True, meaning="probe, each member; 0 is a miss"
)
PROBE_FIELDS = Read(
    _asked_fields, _each_present, probe=True, meaning="probe, each field; -2 is a miss"
)


SCRIPT = Read(
    _script_keys_asked,
    script_found,
    each_key=True,
    values=True,
    meaning="each key; nil, or of one key a list of nothing, is a miss",
)


def whole_range(*ranges: tuple[str, str, str]) -> Read:
    """A lookup only where the range is the whole container: (start, stop, modes) is one of these.

    Any other range can be empty although the container is there.
    """

    def asked(operands: Operands) -> int:
        if len(operands) < 3:
            return 0
        words = {word(operand) for operand in operands[3:]}
        modes = " ".join(sorted(words & _RANGE_MODES))
        given = (_limit(operands[1]), _limit(operands[2]), modes)
        return 1 if given in ranges and "LIMIT" not in words else 0

    return Read(
        asked,
        _not_empty,
        values=True,
        meaning="1 for the whole range, none for others; empty is a miss",
    )


_RANGE_MODES = frozenset({"BYSCORE", "BYLEX", "REV"})


def _limit(operand: object) -> str:
    text = repr(operand).upper() if isinstance(operand, int | float) else word(operand)
    return {"INF": "+INF", "+INFINITY": "+INF", "INFINITY": "+INF", "-INFINITY": "-INF"}.get(
        text, text
    )


def _asked_by_set(operands: Operands) -> int:
    return 1 if len(operands) > 2 and "GET" in set_options(operands) else 0


SET_GET = Read(
    _asked_by_set, _not_nil, values=True, sized=True, meaning="1 with GET; nil is a miss"
)
