"""What a server says of itself in INFO, as points: the ones that the Collector's redis receiver makes.

`How the receiver reads INFO
<https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/v0.161.0/receiver/redisreceiver>`_,
and `what its fields mean <https://redis.io/docs/latest/commands/info/>`_. A field that a server
lacks, or that is no number, makes no point.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from otel_redis_cache import conventions as names

Info = Mapping[str, str]
"""The fields of INFO by name, as they stand there."""

Attributes = tuple[tuple[str, str], ...]
"""What tells the points of one server apart."""


class Point(NamedTuple):
    """One value that a server reports."""

    metric: names.Metric
    value: int | float
    attributes: Attributes = ()
    """Beside those that name the server."""


ROWS: tuple[tuple[str, names.Metric, Attributes], ...] = (
    ("uptime_in_seconds", names.UPTIME, ()),
    ("connected_clients", names.CLIENTS_CONNECTED, ()),
    ("blocked_clients", names.CLIENTS_BLOCKED, ()),
    ("client_recent_max_input_buffer", names.CLIENTS_INPUT_BUFFER, ()),
    ("client_recent_max_output_buffer", names.CLIENTS_OUTPUT_BUFFER, ()),
    ("used_memory", names.MEMORY_USED, ()),
    ("used_memory_rss", names.MEMORY_RSS, ()),
    ("used_memory_peak", names.MEMORY_PEAK, ()),
    ("used_memory_lua", names.MEMORY_LUA, ()),
    ("mem_fragmentation_ratio", names.MEMORY_FRAGMENTATION, ()),
    ("maxmemory", names.MAX_MEMORY, ()),
    ("rdb_changes_since_last_save", names.CHANGES_NOT_SAVED, ()),
    ("latest_fork_usec", names.LATEST_FORK, ()),
    ("total_connections_received", names.CONNECTIONS_RECEIVED, ()),
    ("rejected_connections", names.CONNECTIONS_REJECTED, ()),
    ("total_commands_processed", names.COMMANDS_PROCESSED, ()),
    ("instantaneous_ops_per_sec", names.COMMANDS_PER_SECOND, ()),
    ("total_net_input_bytes", names.NET_INPUT, ()),
    ("total_net_output_bytes", names.NET_OUTPUT, ()),
    ("expired_keys", names.KEYS_EXPIRED, ()),
    ("evicted_keys", names.KEYS_EVICTED, ()),
    ("keyspace_hits", names.KEYSPACE_HITS, ()),
    ("keyspace_misses", names.KEYSPACE_MISSES, ()),
    ("connected_slaves", names.REPLICAS_CONNECTED, ()),
    ("master_repl_offset", names.REPLICATION_OFFSET, ()),
    ("repl_backlog_first_byte_offset", names.REPLICATION_BACKLOG_OFFSET, ()),
    ("used_cpu_sys", names.CPU_TIME, ((names.CPU_STATE, "sys"),)),
    ("used_cpu_user", names.CPU_TIME, ((names.CPU_STATE, "user"),)),
    ("used_cpu_sys_children", names.CPU_TIME, ((names.CPU_STATE, "sys_children"),)),
    ("used_cpu_user_children", names.CPU_TIME, ((names.CPU_STATE, "user_children"),)),
    ("used_cpu_sys_main_thread", names.CPU_TIME, ((names.CPU_STATE, "sys_main_thread"),)),
    ("used_cpu_user_main_thread", names.CPU_TIME, ((names.CPU_STATE, "user_main_thread"),)),
)
"""Field, metric, attributes."""

OF_A_DATABASE = {
    "keys": names.DATABASE_KEYS,
    "expires": names.DATABASE_EXPIRES,
    "avg_ttl": names.DATABASE_TTL,
}
"""``db0:keys=2,expires=1,avg_ttl=5000``"""

OF_A_COMMAND = {"calls": names.COMMAND_CALLS, "usec": names.COMMAND_TIME}
"""``cmdstat_config|get:calls=1,usec=14,usec_per_call=14.00,rejected_calls=0,failed_calls=0``"""

BY_COMMAND = frozenset({*OF_A_COMMAND.values(), names.COMMAND_LATENCY})
"""What tells commands apart."""

PERCENTILES = ("p50", "p99", "p99.9")
"""``latency_percentiles_usec_get:p50=1.003,p99=2.007,p99.9=14.015``"""

DATABASES = 16
"""Those that the receiver looks at: the first ones."""

MAX_COMMANDS = 400
"""Commands of one reply that metrics tell apart; a server with all its modules has used fewer."""

_COMMAND = re.compile(r"[A-Za-z_][A-Za-z0-9_.|-]{0,63}")
_WHOLE = re.compile(r"-?[0-9]{1,18}")  # so that it fits into 64 bits
_FRACTION = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


def parse(reply: bytes | str) -> dict[str, str]:
    """The fields of INFO's reply, undecoded or not; of a field that is there twice the last one."""
    text = reply if isinstance(reply, str) else reply.decode("utf-8", "replace")
    pairs = (line.rstrip("\r").partition(":") for line in text.split("\n"))
    return {field: value for field, colon, value in pairs if colon}


def points_of(info: Info) -> Iterator[Point]:
    """What a server reports; by command too where it was asked for ``INFO all``."""
    for metric, text, attributes in _said(info):
        value = READERS.get(metric, _whole)(text)
        is_sum = metric.kind == "counter"
        if value is not None and not (is_sum and value < 0):
            yield Point(metric, value, attributes)


def _said(info: Info) -> Iterator[tuple[names.Metric, str, Attributes]]:
    for field, metric, attributes in ROWS:
        yield metric, info.get(field, ""), attributes
    for database in range(DATABASES):
        parts = _parts(info.get(f"db{database}", ""))
        for part, metric in OF_A_DATABASE.items():
            yield metric, parts.get(part, ""), ((names.DATABASE, str(database)),)
    for command, parts in _by_command(info, "cmdstat_"):
        for part, metric in OF_A_COMMAND.items():
            yield metric, parts.get(part, ""), ((names.COMMAND, command),)
    for command, parts in _by_command(info, "latency_percentiles_usec_"):
        for percentile in PERCENTILES:
            attributes = ((names.COMMAND, command), (names.PERCENTILE, percentile))
            yield names.COMMAND_LATENCY, parts.get(percentile, ""), attributes


def _by_command(info: Info, prefix: str) -> Iterator[tuple[str, dict[str, str]]]:
    found = ((field[len(prefix) :], info[field]) for field in info if field.startswith(prefix))
    known = ((command, text) for command, text in found if _COMMAND.fullmatch(command))
    for command, text in islice(known, MAX_COMMANDS):
        yield command, _parts(text)


def _parts(text: str) -> dict[str, str]:
    """``a=1,b=2``."""
    pairs = (part.partition("=") for part in text.split(","))
    return {name: value for name, _, value in pairs}


def _whole(text: str) -> int | None:
    return int(text) if _WHOLE.fullmatch(text) else None


def _fraction(text: str) -> float | None:
    return float(text) if _FRACTION.fullmatch(text) else None


def _microseconds(text: str) -> float | None:
    """In seconds."""
    value = _fraction(text)
    return None if value is None else value / 1e6


READERS: dict[names.Metric, Callable[[str], int | float | None]] = {
    names.MEMORY_FRAGMENTATION: _fraction,
    names.CPU_TIME: _fraction,
    names.COMMAND_LATENCY: _microseconds,
}
"""How a value is read that is no whole number."""
