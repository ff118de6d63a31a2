"""Lifetimes: which forms of a command give entries a time to live, how long, and to how many."""

from __future__ import annotations

from collections.abc import Callable

from otel_redis_cache.facts import Lifetime, Operands, Reply
from otel_redis_cache.operands import (
    after_pairs,
    count_of,
    distinct,
    elements,
    fields,
    fields_set,
    one,
    seconds_by_option,
    seconds_left,
    set_accepted,
    two,
    word,
)

Seconds = Callable[[Operands, float], float | None]


def _positive(seconds: float | None) -> float | None:
    return seconds if seconds is not None and seconds > 0 else None


def _by_option(start: Callable[[Operands], int]) -> Seconds:
    def seconds(operands: Operands, now: float) -> float | None:
        if len(operands) <= 2:
            return None
        return _positive(seconds_by_option(operands, start(operands), now))

    return seconds


def _by_operand(scale: float, *, absolute: bool = False) -> Seconds:
    def seconds(operands: Operands, now: float) -> float | None:
        if len(operands) < 2:
            return None
        return _positive(seconds_left(operands[1], now, scale, absolute=absolute))

    return seconds


def _of_restored(operands: Operands, now: float) -> float | None:
    """Milliseconds, of unix time with ABSTTL; 0 is none."""
    absolute = any(word(operand) == "ABSTTL" for operand in operands[3:])
    return _by_operand(1e3, absolute=absolute)(operands, now)


def _always(_: Operands, __: Reply) -> int:
    return 1


def _if_accepted(operands: Operands, reply: Reply) -> int:
    return 1 if set_accepted(operands, reply) else 0


def _if_true(_: Operands, reply: Reply) -> int:
    return 1 if count_of(reply) else 0


def _fields_set(operands: Operands, reply: Reply) -> int:
    return distinct(fields_set(operands)) if count_of(reply) else 0


def _fields_taken(operands: Operands, reply: Reply) -> int:
    """1 stands for each field that is there and whose condition holds."""
    pairs = zip(fields(operands), elements(reply), strict=False)
    return distinct(field for field, taken in pairs if taken == 1)


SET = Lifetime(_by_option(two), _if_accepted, meaning="by its options")
SECONDS = Lifetime(_by_operand(1), _always, meaning="seconds")
MILLISECONDS = Lifetime(_by_operand(1e3), _always, meaning="milliseconds")
PAIRS = Lifetime(_by_option(after_pairs), _if_true, each_key=True, meaning="by its options")
FIELDS_SET = Lifetime(_by_option(one), _fields_set, meaning="each field, by its options")
RESTORED = Lifetime(_of_restored, _always, meaning="milliseconds; 0 is none")


def expiry(scale: float, *, absolute: bool) -> Lifetime:
    """``EXPIRE key 60`` and the like, where the key is there and the condition holds."""
    return Lifetime(
        _by_operand(scale, absolute=absolute),
        _if_true,
        expires_key=True,
        meaning="where the reply says that it took",
    )


def field_expiry(scale: float, *, absolute: bool) -> Lifetime:
    """``HEXPIRE key 60 FIELDS n field ...`` replies 1 for each field that took it."""
    return Lifetime(
        _by_operand(scale, absolute=absolute),
        _fields_taken,
        meaning="each field that the reply says 1 of",
    )
