"""How a row is written: which operands are keys, which forms wait, which words may be shown."""

from __future__ import annotations

from collections.abc import Sequence

from otel_redis_cache.facts import (
    Condition,
    Lifetime,
    Operands,
    Positions,
    Read,
    Removal,
    Rule,
    Write,
    first,
)
from otel_redis_cache.operands import (
    after_pairs,
    around_streams,
    destination_after,
    key_bytes,
    whole,
    word,
)

# Which operands are keys.


def first_two(_: Operands) -> Sequence[int]:
    """The first and the second operand."""
    return _FIRST_TWO


def every(operands: Operands) -> Sequence[int]:
    """All operands."""
    return range(len(operands))


def every_second(operands: Operands) -> Sequence[int]:
    """The first, third, fifth ... operand: keys before values."""
    return range(0, len(operands), 2)


def every_third(operands: Operands) -> Sequence[int]:
    """The first, fourth, seventh ... operand: keys before two more."""
    return range(0, len(operands), 3)


def all_but_first(operands: Operands) -> Sequence[int]:
    """All operands but the first."""
    return range(1, len(operands))


def all_but_last(operands: Operands) -> Sequence[int]:
    """All operands but the last, which is a timeout or a path."""
    return range(max(len(operands) - 1, 0))


def numkeys_first(operands: Operands) -> Sequence[int]:
    """``numkeys key ...``."""
    return range(1, 1 + whole(operands[0])) if operands else ()


def numkeys_second(operands: Operands) -> Sequence[int]:
    """One operand, then ``numkeys key ...``."""
    return range(2, 2 + whole(operands[1])) if len(operands) > 1 else ()


def numkeys_pairs(operands: Operands) -> Sequence[int]:
    """``numkeys key value ...``."""
    return range(1, after_pairs(operands), 2)


def destination_and_numkeys(operands: Operands) -> Sequence[int]:
    """``destination numkeys key ...``."""
    return (0, *numkeys_second(operands))


def migrated(operands: Operands) -> Sequence[int]:
    """``host port key db timeout``, or an empty key and ``KEYS key ...`` at the end."""
    if len(operands) > 2 and key_bytes(operands[2]) != b"":
        return (2,)
    for position in range(5, len(operands)):
        if word(operands[position]) == "KEYS":
            return range(position + 1, len(operands))
    return ()


def stored_and_first(start: int) -> Positions:
    """Keys of a command that may store its result, from which operand on its options stand."""

    def positions(operands: Operands) -> Sequence[int]:
        """The key after STORE, which is the one that is written, and the first operand."""
        return (*destination_after(start)(operands), 0)

    return positions


def streams(operands: Operands) -> Sequence[int]:
    """The first half of what follows STREAMS."""
    _, start = around_streams(operands)
    return range(start, start + (len(operands) - start) // 2)


# Which forms wait.


def always(_: Operands) -> bool:
    """Always."""
    return True


def with_block(operands: Operands) -> bool:
    """With BLOCK."""
    options, _ = around_streams(operands)
    return any(word(option) == "BLOCK" for option in options)


_FIRST_TWO = (0, 1)

TTL = "EX PX EXAT PXAT"
CONDITION = "NX XX GT LT"


def row(
    name: str,
    positions: Positions = first,
    *,
    read: Read | None = None,
    removal: Removal | None = None,
    write: Write | None = None,
    words: str = "",
    words_from: int = 1,
    leading: bool = False,
    blocking: Condition | None = None,
    lifetime: Lifetime | None = None,
    procedure: bool = False,
) -> Rule:
    """One row; without more than keys it says that the reply tells nothing about a cache."""
    does_more = removal is not None or write is not None or lifetime is not None
    return Rule(
        name,
        "",
        positions,
        read,
        removal,
        write,
        frozenset(words.split()),
        words_from,
        leading,
        blocking,
        lifetime,
        procedure,
        asks_once=positions is first and read is not None and read.lone and not does_more,
    )
