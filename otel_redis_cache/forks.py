"""What is new in a forked child: locks, which a thread that is gone may have held, and its start."""

from __future__ import annotations

import os
import time
import weakref
from typing import Protocol


class HasLocks(Protocol):
    """Whatever guards something with locks of its own."""

    def renew_locks(self) -> None:
        """Replace every lock by a free one."""


_owners: weakref.WeakSet[HasLocks] = weakref.WeakSet()


def renew_after_fork(owner: HasLocks) -> None:
    """Have this object's locks renewed in every child, for as long as it lives."""
    _owners.add(owner)


class Process:
    """When this process began to be watched: with the import of this package, or with its fork."""

    def __init__(self) -> None:
        """Now."""
        self.renew_locks()
        renew_after_fork(self)

    def renew_locks(self) -> None:
        """In a forked child, whose time begins here."""
        self.started_unix = time.time()
        self._started = time.monotonic()

    def uptime(self) -> float:
        """Seconds, whatever becomes of the wall clock."""
        return time.monotonic() - self._started


process = Process()


def _renew() -> None:
    for owner in list(_owners):
        owner.renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
