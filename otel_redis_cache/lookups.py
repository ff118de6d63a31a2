"""Lookups: which forms of a command ask for entries, and what the reply says about each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_redis_cache.facts import Operands, Read, Reply
from otel_redis_cache.operands import count_of, elements, fields, one, set_options, size_of, word


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
    asked, present = len(operands), count_of(reply)
    return [True] * present + [False] * (asked - present)


_FOUND: Sequence[bool] = (True,)
_MISSING: Sequence[bool] = (False,)

ONE_VALUE = Read(one, _not_nil)
WHOLE = Read(one, _not_empty)
EACH_KEY = Read(len, _each_not_nil, each_key=True)
EACH_FIELD = Read(_operands_from(1), _each_not_nil)
NAMED_FIELDS = Read(_asked_fields, _each_not_nil)
RANDOM_MEMBER = Read(_one_without_count, _not_nil)

PROBE_VALUE = Read(one, _not_nil, probe=True)
PROBE_COUNT = Read(one, _positive, probe=True)
PROBE_TTL = Read(one, _present, probe=True)
PROBE_TYPE = Read(one, _typed, probe=True)
PROBE_KEYS = Read(len, _as_many, each_key=True, counted=True, probe=True)
PROBE_MEMBERS = Read(_operands_from(1), _each_positive, probe=True)
PROBE_FIELDS = Read(_asked_fields, _each_present, probe=True)


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

    return Read(asked, _not_empty)


_RANGE_MODES = frozenset({"BYSCORE", "BYLEX", "REV"})


def _limit(operand: object) -> str:
    text = repr(operand).upper() if isinstance(operand, int | float) else word(operand)
    return {"INF": "+INF", "+INFINITY": "+INF", "INFINITY": "+INF", "-INFINITY": "-INF"}.get(
        text, text
    )


def _asked_by_set(operands: Operands) -> int:
    return 1 if len(operands) > 2 and "GET" in set_options(operands) else 0


SET_GET = Read(_asked_by_set, _not_nil)
