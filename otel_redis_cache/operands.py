"""Reading operands and replies: whatever was put there, these give an answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from contextlib import suppress
from typing import cast

from otel_redis_cache.facts import Operands, Reply

DEADLINES = {"EX": (1.0, False), "PX": (1e3, False), "EXAT": (1.0, True), "PXAT": (1e3, True)}
"""Of each option: units in a second, and whether it is a moment of unix time."""

SET_OPTIONS_WITH_VALUE = frozenset({*DEADLINES, "IFEQ", "IFNE", "IFDEQ", "IFDNE"})

MAX_COUNT = 1 << 40

MAX_WORD = 32
"""Characters of an option or a number; what is longer is neither."""


def word(operand: object) -> str:
    """An operand as an upper-case word; empty where it cannot be an option."""
    if isinstance(operand, str):
        return operand.upper() if len(operand) <= MAX_WORD else ""
    if isinstance(operand, memoryview):
        operand = operand.tobytes() if operand.nbytes <= MAX_WORD else b""
    if isinstance(operand, bytes | bytearray) and len(operand) <= MAX_WORD:
        return operand.decode("latin-1").upper()
    return ""


def number(operand: object) -> float | None:
    """An operand as a number; None where it is none, or not a finite one."""
    try:
        value = float(operand if isinstance(operand, int | float) else word(operand))
    except (ValueError, OverflowError):
        return None
    return value if abs(value) < 1e19 else None


def whole(operand: object) -> int:
    """An operand as a count; 0 where it is none."""
    value = number(operand)
    return int(value) if value is not None and 0 <= value <= 1_000_000 else 0


def options(operands: Operands, start: int) -> Mapping[str, object]:
    """The option words from a position on, with the operand of those that take one.

    What follows FIELDS are names and values of the application, no options.
    """
    if len(operands) == start + 2:
        name, value = operands[start:]
        # Most are a time to live: read several times in a command, and the same in the next ones.
        if type(name) is str and name in DEADLINES and type(value) is int:
            return _one_option(name, value)
    return _options(operands, start)


@functools.lru_cache(maxsize=256)
def _one_option(name: str, value: int) -> Mapping[str, object]:
    return _options((name, value), 0)


def _options(operands: Operands, start: int) -> Mapping[str, object]:
    found: dict[str, object] = {}
    position = start
    while position < len(operands):
        name = word(operands[position])
        if name == "FIELDS":
            break
        takes = name in SET_OPTIONS_WITH_VALUE and position + 1 < len(operands)
        found[name] = operands[position + 1] if takes else None
        position += 2 if takes else 1
    return found


def seconds_left(operand: object, now: float, scale: float, *, absolute: bool) -> float | None:
    """What is left of a time to live, zero or less where it is over; None where it is no number."""
    value = number(operand)
    return None if value is None else value / scale - (now if absolute else 0)


def seconds_by_option(
    operands: Operands, start: int, now: float, *, relative: bool = True
) -> float | None:
    """The same of ``EX``, ``PX``, ``EXAT`` or ``PXAT`` from a position on.

    None without one, and for a relative time below zero, which servers refuse.
    """
    for option, operand in options(operands, start).items():
        if option in DEADLINES:
            scale, absolute = DEADLINES[option]
            if absolute or relative:
                seconds = seconds_left(operand, now, scale, absolute=absolute)
                return seconds if absolute or seconds is None or seconds >= 0 else None
    return None


def key_bytes(key: object) -> bytes | None:
    """A key as Redis compares it: ``a``, ``b"a"`` and ``1``, ``"1"`` are the same.

    What only an encoder of the application's own can send is known by its hash; None for what has none.
    """
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        return key.encode("utf-8", "surrogatepass")
    if isinstance(key, memoryview | bytearray):
        return bytes(cast("bytes", key))
    if isinstance(key, int | float):
        with suppress(ValueError):  # of thousands of digits
            return repr(key).encode()
    with suppress(Exception):  # of the application's own
        return f"{type(key).__qualname__} {hash(key)}".encode()
    return None


def distinct(operands: Iterable[object]) -> int:
    """How many different keys or fields these are."""
    return len({key_bytes(operand) for operand in operands})


def size_of(reply: Reply) -> int:
    """How many elements a container has; 0 for anything else."""
    return len(reply) if isinstance(reply, Sized) else 0


def elements(reply: Reply) -> Sequence[object]:
    """The elements of a list reply; none for anything else."""
    return cast("Sequence[object]", reply) if isinstance(reply, list | tuple) else ()


def count_of(reply: Reply) -> int:
    """A reply as a count; a bool counts as one, and no server holds more than the largest one."""
    return min(int(reply), MAX_COUNT) if isinstance(reply, int) and reply > 0 else 0


def set_options(operands: Operands) -> Mapping[str, object]:
    """The options of ``SET key value ...``."""
    return options(operands, 2)


def set_accepted(operands: Operands, reply: Reply) -> bool | None:
    """Whether a SET was carried out; None where its reply cannot tell.

    With GET the reply is the old value, of which redis-py leaves a bool where GET was not given
    as its keyword.
    """
    given: Mapping[str, object] = set_options(operands) if len(operands) > 2 else {}
    if "GET" not in given:
        return bool(reply)
    if reply is None:
        return given.keys().isdisjoint({"XX", "IFEQ", "IFDEQ"})
    if "NX" in given:
        return False
    if given.keys() & {"IFEQ", "IFNE"}:
        if isinstance(reply, bool):
            return None
        wanted = given.get("IFEQ", given.get("IFNE"))
        return (key_bytes(reply) == key_bytes(wanted)) is ("IFEQ" in given)
    return None if given.keys() & {"IFDEQ", "IFDNE"} else True


def fields(operands: Operands) -> Operands:
    """What stands after ``FIELDS numfields``."""
    start, count = _named_fields(operands)
    return operands[start : start + count]


def fields_set(operands: Operands) -> Operands:
    """The fields of ``FIELDS numfields field value ...``."""
    start, count = _named_fields(operands)
    return operands[start : start + 2 * count : 2]


def values_set(operands: Operands) -> Sequence[int]:
    """Where the values of ``FIELDS numfields field value ...`` stand."""
    start, count = _named_fields(operands)
    return range(start + 1, start + 2 * count, 2)


def _named_fields(operands: Operands) -> tuple[int, int]:
    """Where the fields start, and how many there are."""
    for position in range(1, min(len(operands), 8)):
        if word(operands[position]) == "FIELDS":
            count = whole(operands[position + 1]) if position + 1 < len(operands) else 0
            return position + 2, count
    return len(operands), 0


def second(operands: Operands) -> Operands:
    """The second operand: a field."""
    return operands[1:2]


def all_but_first(operands: Operands) -> Operands:
    """All operands but the first: fields."""
    return operands[1:]


def every_second_field(operands: Operands) -> Operands:
    """The second, fourth, sixth ... operand: fields before values."""
    return operands[1::2]


def destination_after(start: int) -> Callable[[Operands], Sequence[int]]:
    """The key after STORE or STOREDIST, where options stand from this operand on."""

    def positions(operands: Operands) -> Sequence[int]:
        """The key after STORE."""
        for position in range(start, len(operands) - 1):
            if word(operands[position]) in _STORES:
                return (position + 1,)
        return ()

    return positions


_STORES = frozenset({"STORE", "STOREDIST"})


def around_streams(operands: Operands) -> tuple[Operands, int]:
    """``XREAD``'s and ``XREADGROUP``'s options, and where the keys start, behind STREAMS."""
    start = 3 if operands and word(operands[0]) == "GROUP" else 0
    for position in range(start, len(operands)):
        if word(operands[position]) == "STREAMS":
            return operands[start:position], position + 1
    return operands[start:], len(operands)


def script_keys(operands: Operands) -> Operands:
    """The keys of ``EVALSHA sha numkeys key ... arg ...``."""
    return operands[2 : 2 + whole(operands[1])] if len(operands) > 1 else ()


def script_found(operands: Operands, reply: Reply) -> Sequence[bool]:
    """Which keys a script found: nil stands for a miss, of one key so does a list of nothing."""
    asked = len(script_keys(operands))
    if reply is None:
        return [False] * asked
    found = [element is not None for element in elements(reply)]
    if asked == 1:
        return [any(found) if isinstance(reply, list) else True]
    return found


def one(_: Operands) -> int:
    """Options start at the second operand."""
    return 1


def two(_: Operands) -> int:
    """Options start at the third operand."""
    return 2


def after_pairs(operands: Operands) -> int:
    """Where the options of ``MSETEX numkeys key value ...`` start."""
    return 1 + 2 * whole(operands[0]) if operands else 1
