"""The nouns: what was sent, where to, and what a table row knows about a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from otel_redis_cache import conventions as names

Operands = tuple[object, ...]
"""What follows the command's name, as the application gave it."""

Reply = object
"""What redis-py returned: after its callbacks, or raw inside a transaction that raises."""

Positions = Callable[[Operands], Sequence[int]]
"""Which operands are keys."""

Condition = Callable[[Operands], bool]
"""Whether this form of a command is meant."""

Fields = Callable[[Operands], Operands]
"""The fields of a hash that a command names."""


class Read(NamedTuple):
    """How a command asks for entries, and what its reply says about each."""

    asked: Callable[[Operands], int]
    """Lookups of this form of the command; 0 when this form is none."""
    found: Callable[[Operands, Reply], Sequence[bool]]
    """One truth per lookup."""
    each_key: bool = False
    """One lookup per key; otherwise all belong to the first key."""
    counted: bool = False
    """The reply only says how many of the keys were found, not which."""
    probe: bool = False
    """Asks whether an entry is there, not for its value."""
    values: bool = False
    """The entries are values as a whole, that an application may load and write back."""
    sized: bool = False
    """The reply holds them as they were written, so that their size can be told."""
    listed: bool = False
    """The reply is a list of them; otherwise it is the only one."""
    fields: Fields | None = None
    """The entries asked for, where they are fields of a hash."""
    lone: bool = False
    """Every form asks for one entry, and finds it where the reply is not nil."""
    meaning: str = ""
    """The rule in words, for ``docs/commands.md``."""


class Removal(NamedTuple):
    """How a command removes entries, and how its reply tells."""

    asked: Callable[[Operands, float], int]
    """Distinct entries that this form asks to remove at this unix time; 0 when it removes none."""
    removed: Callable[[Operands, Reply], int]
    """Entries that the reply says are gone."""
    reason: str = names.DELETE
    each_key: bool = False
    """The entries are the keys; otherwise they are all inside the first key."""
    tells: bool = True
    """Otherwise the reply only says that something may have been removed: effect ``unknown``."""
    incidental: bool = False
    """A side effect of a write: counted only when it happened."""
    fields: Fields | None = None
    """The entries removed, where they are fields of a hash."""
    meaning: str = ""
    """The rule in words, for ``docs/commands.md``."""


class Write(NamedTuple):
    """How a command stores keys."""

    ttl: Callable[[Operands], str]
    """What becomes of the time to live: ``set``, ``none`` or ``kept``."""
    stored: Callable[[Operands, Reply], bool | None]
    """Whether the server stored it; None where there was nothing to store."""
    positions: Positions | None = None
    """The keys written, where they are not all keys of the command."""
    fields: Fields | None = None
    """What was written, where it is fields of a hash."""
    values: Positions | None = None
    """The values written, where they are whole: as many as there are keys, or fields."""
    meaning: str = ""
    """The rule in words, for ``docs/commands.md``."""


class Lifetime(NamedTuple):
    """How a command gives entries a time to live."""

    seconds: Callable[[Operands, float], float | None]
    """What this form gives from this unix time on; None where it gives none, or a past one."""
    given: Callable[[Operands, Reply], int]
    """Entries that the reply says took it."""
    each_key: bool = False
    """The entries are the keys; otherwise they are the first key, or inside it."""
    expires_key: bool = False
    """Gives it to a key that is there already, and writes nothing."""
    meaning: str = ""
    """The rule in words, for ``docs/commands.md``."""


def first(_: Operands) -> Sequence[int]:
    """The first operand."""
    return (0,)


def no_keys(_: Operands) -> Sequence[int]:
    """None."""
    return ()


class Rule(NamedTuple):
    """One row of the command table."""

    name: str
    family: str = ""
    positions: Positions = no_keys
    read: Read | None = None
    removal: Removal | None = None
    write: Write | None = None
    words: frozenset[str] = frozenset()
    """Option words that query text may show; everything else is masked."""
    words_from: int = 0
    leading: bool = False
    """The words stand before the first other operand only."""
    blocking: Condition | None = None
    """Which forms wait at the server: for data, or for replicas."""
    lifetime: Lifetime | None = None
    procedure: bool = False
    """The first operand names a script or a function."""
    asks_once: bool = False
    """Asks for the one entry at its first operand, which is there where the reply is not nil; no more."""
    known: bool = True
    """Stands in the table, so that metrics may carry its name."""

    @property
    def operations(self) -> tuple[str, str]:
        """``db.operation.name`` on the span and on metrics."""
        return self.name, self.name if self.known else names.OTHER_OPERATION


UNKNOWN_RULE = Rule(names.OTHER_OPERATION, known=False)


class Command(NamedTuple):
    """One command as the application sent it."""

    rule: Rule
    operands: Operands

    @property
    def keys(self) -> Operands:
        """The operands that are keys; fewer than meant where the command is malformed."""
        rule, operands = self
        return operands[:1] if rule.positions is first else self.at(rule.positions)

    @property
    def blocks(self) -> bool:
        """Whether the server may keep the client waiting."""
        blocking = self.rule.blocking
        return blocking is not None and blocking(self.operands)

    def at(self, positions: Positions) -> Operands:
        """The operands at these positions that exist."""
        operands = self.operands
        size = len(operands)
        found = positions(operands)
        if isinstance(found, range):  # a numkeys of the application's may be any number
            return operands[found.start : max(found.stop, 0) : found.step]
        return tuple([operands[i] for i in found if i < size])


UNKNOWN_COMMAND = Command(UNKNOWN_RULE, ())


class _Place(NamedTuple):
    system: str
    address: str | None = None
    port: int | None = None
    """None for the default port 6379 and for sockets."""
    namespace: str | None = None


class Target(_Place):
    """The server as the client was configured for it; routing and failover never change it.

    A part of the key of every series, and so a tuple: its hash is not asked of Python.
    """

    attributes: Mapping[str, str | int]
    """The target attributes of spans and metrics, without the absent ones."""

    def __init__(self, *_: object, **__: object) -> None:
        """Build the attributes once; every call uses them."""
        values = (self.system, self.namespace, self.address, self.port)
        pairs = zip(names.TARGET_ATTRIBUTES, values, strict=True)
        self.attributes = {name: value for name, value in pairs if value is not None}

    def __str__(self) -> str:
        """``localhost:6379/0``, ``s1:26379,s2:26379/mymaster/0`` or ``/run/redis.sock/0``."""
        address = self.address or ""
        has_ports = "/" in address or ("," in address and ":" in address)
        port = "" if not address or has_ports else f":{self.port or 6379}"
        return f"{self.address}{port}/{self.namespace}"


class Contact(Enum):
    """Whether a call reached its server."""

    ANSWERED = "answered"
    """With a reply, or an error reply to what was asked."""
    UNREACHED = "unreached"
    """The network failed."""
    TIMED_OUT = "timed out"
    UNKNOWN = "unknown"
    """The call says nothing of it: cancelled, refused by the client, no connection was free, or the
    server says that it serves nobody (yet)."""


UNKNOWN_TARGET = Target(names.REDIS)

OTHER_TARGETS = {
    system: Target(system, address=names.OTHER_ADDRESS) for system in (names.REDIS, names.VALKEY)
}
"""Where series go when even the targets are too many."""


class Failure(NamedTuple):
    """Why a call failed, in words that never carry an argument."""

    type: str
    """``error.type``."""
    status: str | None = None
    """``db.response.status_code``: the Redis error prefix, where the server answered."""

    @property
    def attributes(self) -> dict[str, str]:
        """Both, as spans and metrics carry them."""
        attributes = {names.ERROR_TYPE: self.type}
        if self.status is not None:
            attributes[names.DB_RESPONSE_STATUS_CODE] = self.status
        return attributes


Names = Sequence[str | None]
"""The cache of each key of a command, in order; None for a key that is no cache."""

Touch = tuple[str, object, object, str | None]
"""(hit | miss | write | delete, key, field of a hash or None, cache); without a key, all keys."""


class Outcome:
    """What one call did to its caches, in the numbers that tallies take."""

    __slots__ = (
        "caches",
        "described",
        "hits",
        "is_followed",
        "lookups",
        "misses",
        "removals",
        "removed",
        "sizes",
        "total",
        "touches",
        "ttls",
        "writes",
    )

    def __init__(self) -> None:
        """Start with nothing."""
        self.caches: set[str | None] = set()
        self.total = 0
        """Lookups, failed ones too."""
        self.hits = 0
        self.misses = 0
        self.lookups: dict[tuple[str, str], int] = {}
        """(cache, hit | miss | error) -> lookups."""
        self.writes: dict[tuple[str, str, str], int] = {}
        """(cache, ttl, result) -> keys."""
        self.removed: dict[tuple[str, str], int] = {}
        """(cache, reason) -> entries."""
        self.removals: dict[tuple[str, str, str], int] = {}
        """(cache, reason, effect) -> requests."""
        self.ttls: dict[tuple[str, float], int] = {}
        """(cache, seconds) -> entries."""
        self.sizes: list[tuple[str, str, int]] = []
        """(cache, read | write, bytes) of each value, where sizes are asked for."""
        self.touches: list[Touch] = []
        """What was found, written and removed, in order, from the first miss on."""
        self.is_followed = False
        """Whether a miss is open, so that what is found, written and removed may end it."""
        self.described: Mapping[str, str | int | float | bool | tuple[str, ...]] | None = None
        """The same as attributes of a span, once it has been asked for."""

    @property
    def only_cache(self) -> str | None:
        """The cache that all keys of a call are in."""
        return next(iter(self.caches)) if len(self.caches) == 1 else None


NO_OUTCOME = Outcome()
"""Of a call that nobody has judged."""
