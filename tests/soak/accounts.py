"""What an application has got from its caches, call by call, in the words that telemetry has for it.

Kept beside the telemetry and by nobody of it: the two are compared at the end.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

from typing_extensions import Self

Key = tuple[str, ...]


class Command(NamedTuple):
    """One command of a call."""

    name: str
    """``GET``, ``SET``, ``DEL`` or ``PUBLISH``."""
    keys: tuple[str, ...]
    value: str = ""
    ttl: int | None = None


class Account:
    """Counts, by what tells them apart; each begins with the route that a call took."""

    def __init__(self) -> None:
        self.operations: Counter[Key] = Counter()
        """(route, operation, error)."""
        self.lookups: Counter[Key] = Counter()
        """(route, cache, hit or miss or error)."""
        self.writes: Counter[Key] = Counter()
        """(route, cache, time to live, result)."""
        self.removals: Counter[Key] = Counter()
        """(route, cache, effect), each of a request."""
        self.removed: Counter[Key] = Counter()
        """(route, cache), entries."""
        self.invalidations: Counter[Key] = Counter()
        """(cache, effect), each a call of `invalidate()`."""
        self.messages: Counter[Key] = Counter()
        """(route, publish or receive)."""
        self.answered: Counter[Key] = Counter()
        """(route, command): those that a server has carried out for certain."""
        self.unanswered: Counter[Key] = Counter()
        """(route, command): those of calls that failed; a server may have carried them out."""

    def call(self, route: str, operation: str, commands: list[Command], reply: Any) -> None:
        """The replies of a call's commands, or the exception that came instead of all of them."""
        has_failed = isinstance(reply, BaseException)
        replies = [reply] * len(commands) if has_failed else reply
        errors = [it for it in replies if isinstance(it, BaseException)]
        self.operations[route, operation, error_type(errors[0]) if errors else ""] += 1
        for command, answer in zip(commands, replies, strict=True):
            self._command(route, command, answer)

    def _command(self, route: str, command: Command, reply: Any) -> None:
        has_failed = isinstance(reply, BaseException)
        counter = self.unanswered if has_failed else self.answered
        counter[route, command.name] += 1
        cache = command.keys[0].partition(":")[0]
        if command.name == "GET":
            found = "miss" if reply is None else "hit"
            self.lookups[route, cache, "error" if has_failed else found] += 1
        elif command.name == "SET":
            ttl = "none" if command.ttl is None else "set"
            self.writes[route, cache, ttl, "error" if has_failed else "stored"] += 1
        elif command.name == "DEL":
            removed = 0 if has_failed else int(reply)
            effect = ("none", "partial", "removed")[removed]
            if removed == len(command.keys):
                effect = "removed"
            self.removals[route, cache, "error" if has_failed else effect] += 1
            self.removed[route, cache] += removed
        elif not has_failed:
            self.messages[route, "publish"] += 1

    def invalidation(self, route: str, cache: str, effect: str, removed: int) -> None:
        """One call of `invalidate()`, and what it says that it has removed."""
        self.invalidations[cache, effect] += 1
        self.removals[route, cache, effect] += 1
        self.removed[route, cache] += removed

    @property
    def calls(self) -> int:
        """How many there were, also those that failed."""
        return self.operations.total()

    @property
    def failed(self) -> int:
        return sum(count for (_, _, error), count in self.operations.items() if error)

    def add(self, other: Account) -> None:
        """Put another one's counts to these."""
        for name, counter in vars(self).items():
            counter.update(vars(other)[name])

    def as_json(self) -> dict[str, Any]:
        return {
            name: sorted([*key, count] for key, count in counter.items())
            for name, counter in vars(self).items()
        }

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Self:
        account = cls()
        for name, rows in found.items():
            counter: Counter[Key] = getattr(account, name)
            for *key, count in rows:
                counter[tuple(key)] = count
        return account


def error_type(error: BaseException) -> str:
    """What `error.type` must be: how a server's answer begins, or the exception's name."""
    kind = type(error)
    known = {
        "OutOfMemoryError": "OOM",
        "ClusterDownError": "CLUSTERDOWN",
        "ExecAbortError": "EXECABORT",
    }
    if kind.__name__ in known:
        return known[kind.__name__]
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


class Event(NamedTuple):
    """Something that only a fault explains."""

    kind: str
    """``failure``; ``vanished``, as a server that dies loses data; ``repeated``, as a client that tries again may be
    answered about what it did itself a moment before; or ``wrong``, which nothing explains.
    """
    route: str
    what: str
    """The type of an exception, or in words."""
    began: float
    """When the call did, by the monotonic clock, which all processes of a machine share."""
    ended: float
    since: float = 0.0
    """When the server said the last time what this contradicts."""

    def line(self) -> str:
        return json.dumps(self) + "\n"

    @classmethod
    def of_line(cls, line: str) -> Self:
        return cls(*json.loads(line))
