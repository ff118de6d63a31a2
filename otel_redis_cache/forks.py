"""Locks that are new in a forked child, where a thread that is gone may have held the old ones."""

from __future__ import annotations

import os
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


def _renew() -> None:
    for owner in list(_owners):
        owner.renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
