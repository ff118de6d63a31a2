"""What a check has found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "skipped", "warning", "broken"]

EXIT_CODES: dict[State, int] = {"ok": 0, "skipped": 0, "warning": 1, "broken": 2}


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    state: State
    found: str
    next: str = ""
    """What to do; empty where there is nothing to do."""


class TroubleError(Exception):
    """Something is wrong: what, and what to do next. Neither has a password in it."""

    def __init__(self, found: str, next_step: str = "") -> None:
        """Say it as it will be shown."""
        super().__init__(found)
        self.found = found
        self.next = next_step

    def as_finding(self, name: str, state: State = "broken") -> Finding:
        """The same as a line of the report."""
        return Finding(name, state, self.found, self.next)
