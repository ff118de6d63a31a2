"""What each command means to a cache, as rows of data.

Facts are those of Redis 8.2, Valkey 9.1 and the modules of Redis Stack 7.4, checked against real
servers by ``tests/integration/test_command_table.py``; see the `command reference
<https://redis.io/docs/latest/commands/>`_. A row whose command no server at hand knows is listed
in :data:`UNVERIFIED`. A command without a row, or with a bare one, is a span and a duration: what
its reply means is never guessed.

How a row is written stands in :mod:`.row`; the rows stand by family in :mod:`.core_types`,
:mod:`.other_types`, :mod:`.modules` and :mod:`.services`.
"""

from __future__ import annotations

from otel_redis_cache.command_table.core_types import GENERIC, HASH, LIST, SET, SORTED_SET, STRING
from otel_redis_cache.command_table.modules import JSON, PROBABILISTIC, SEARCH, TIMESERIES
from otel_redis_cache.command_table.other_types import (
    ARRAY,
    BITMAP,
    GEO,
    HYPERLOGLOG,
    STREAM,
    VECTOR_SET,
)
from otel_redis_cache.command_table.services import (
    CONNECTION,
    DECLARED,
    NAMED_ONLY,
    SCRIPTING,
    SERVER,
    TRANSACTION,
)
from otel_redis_cache.facts import Rule

__all__ = ["DECLARED", "FAMILIES", "NAMED_ONLY", "UNVERIFIED", "rows"]

FAMILIES = {
    "string": STRING,
    "generic": GENERIC,
    "hash": HASH,
    "set": SET,
    "sorted_set": SORTED_SET,
    "list": LIST,
    "bitmap": BITMAP,
    "hyperloglog": HYPERLOGLOG,
    "geo": GEO,
    "stream": STREAM,
    "array": ARRAY,
    "vector_set": VECTOR_SET,
    "json": JSON,
    "search": SEARCH,
    "timeseries": TIMESERIES,
    "probabilistic": PROBABILISTIC,
    "scripting": SCRIPTING,
    "transaction": TRANSACTION,
    "connection": CONNECTION,
    "server": SERVER,
}
"""The rows with keys, lookups, removals, writes or waiting; further names are in NAMED_ONLY."""

UNVERIFIED = frozenset(
    {
        *("BLMOVEM", "DELEX", "DIGEST", "HIMPORT SET", "INCREX", "LMOVEM"),
        *("SDIFFCARD", "SUNIONCARD", "VRANGE", "XCFGSET", "XNACK"),
        *(rule.name for rule in ARRAY),
    }
)
"""Rows that no server at hand knows: their rules come from documentation alone."""


def rows() -> list[Rule]:
    """The whole table."""
    ruled = [rule._replace(family=family) for family, rules in FAMILIES.items() for rule in rules]
    bare = [
        Rule(name.strip(), family)
        for family, text in NAMED_ONLY.items()
        for name in text.split(",")
    ]
    return ruled + bare
