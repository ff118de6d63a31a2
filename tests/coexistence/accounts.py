"""What each mode promises, kind by kind, and what one process told."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.coexistence.application import ASYNC_KINDS, KINDS, LIBRARIES
from tests.coexistence.packages import Package

ALL_KINDS = {**KINDS, **ASYNC_KINDS}


class Account(NamedTuple):
    """Of one kind of call: spans of ours, spans of theirs, durations and lookups."""

    ours: int
    theirs: int
    durations: int
    lookups: int


Accounts = dict[tuple[str, str], Account]
"""(client library, kind of call) -> what was made of it."""


def told(stage: dict[str, Any]) -> Accounts:
    """What was made in one stage of a meeting."""
    return {
        (library, kind): Account(
            seen["ours"], len(seen["theirs"]), seen["durations"], seen["lookups"]
        )
        for library in LIBRARIES
        for kind, seen in stage[library].items()
    }


def spans_of(stage: dict[str, Any]) -> list[str]:
    """Their spans, in words."""
    return [
        span for library in LIBRARIES for seen in stage[library].values() for span in seen["theirs"]
    ]


def promised(mode: str, package: type[Package]) -> Accounts:
    """What each mode makes beside a package; `alone` and `theirs alone` are without the other."""
    found: Accounts = {}
    for library in LIBRARIES:
        for name, kind in ALL_KINDS.items():
            makes_spans = library in package.libraries and name not in package.overlooks
            theirs = kind.calls if makes_spans and mode != "alone" else 0
            if mode in {"off", "theirs alone"}:
                found[library, name] = Account(0, theirs, 0, 0)
            else:
                ours = kind.calls - theirs if mode == "yield" else kind.calls
                found[library, name] = Account(ours, theirs, kind.calls, kind.lookups)
    return found


def the_line(package: type[Package], mode: str) -> str:
    """What we say, once."""
    if mode == "off":
        return f"{package.name} is active: this package is off (on_conflict=off)"
    return (
        f"{package.name} is active: leaving spans to it, cache metrics go on; "
        "on_conflict=both makes both"
    )
