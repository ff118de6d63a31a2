from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_redis_cache import conventions as names
from otel_redis_cache.server import info as module
from otel_redis_cache.server.info import Point, parse, points_of

REPLY = (
    b"# Server\r\nredis_version:8.2.3\r\nexecutable:/usr/bin/redis-server\r\n"
    b"uptime_in_seconds:61\r\n\r\n# Memory\r\nused_memory:941048\r\nused_memory_human:918.99K\r\n"
    b"mem_fragmentation_ratio:13.82\r\n\r\n# CPU\r\nused_cpu_sys:0.005265\r\n\r\n# Keyspace\r\n"
    b"db0:keys=3,expires=1,avg_ttl=4000,subexpiry=0\r\ndb15:keys=1,expires=0,avg_ttl=0\r\n"
)
ASKED_FOR_ALL = REPLY + (
    b"# Commandstats\r\n"
    b"cmdstat_config|get:calls=2,usec=15,usec_per_call=7.50,rejected_calls=0,failed_calls=0\r\n"
    b"# Latencystats\r\nlatency_percentiles_usec_FT.SEARCH:p50=1.003,p99=2.007,p99.9=14.015\r\n"
)


def points_in(reply: bytes | str) -> dict[tuple[str, ...], int | float]:
    return {
        (p.metric.name, *(value for _, value in p.attributes)): p.value
        for p in points_of(parse(reply))
    }


def test_what_a_server_says_becomes_points_and_what_it_does_not_say_becomes_none() -> None:
    assert points_in(REPLY) == {
        ("redis.uptime",): 61,
        ("redis.memory.used",): 941_048,
        ("redis.memory.fragmentation_ratio",): 13.82,
        ("redis.cpu.time", "sys"): 0.005265,
        ("redis.db.keys", "0"): 3,
        ("redis.db.expires", "0"): 1,
        ("redis.db.avg_ttl", "0"): 4_000,
        ("redis.db.keys", "15"): 1,
        ("redis.db.expires", "15"): 0,
        ("redis.db.avg_ttl", "15"): 0,
    }


def test_a_reply_that_has_commands_says_what_each_took() -> None:
    found = points_in(ASKED_FOR_ALL)
    assert {name: value for name, value in found.items() if name[0].startswith("redis.cmd")} == {
        ("redis.cmd.calls", "config|get"): 2,
        ("redis.cmd.usec", "config|get"): 15,
        ("redis.cmd.latency", "FT.SEARCH", "p50"): 1.003 / 1e6,
        ("redis.cmd.latency", "FT.SEARCH", "p99"): 2.007 / 1e6,
        ("redis.cmd.latency", "FT.SEARCH", "p99.9"): 14.015 / 1e6,
    }


def test_a_reply_that_a_client_has_decoded_says_the_same() -> None:
    assert points_in(ASKED_FOR_ALL.decode()) == points_in(ASKED_FOR_ALL)
    assert points_in(ASKED_FOR_ALL.replace(b"\r\n", b"\n")) == points_in(ASKED_FOR_ALL)


@pytest.mark.parametrize(
    "line",
    [
        "used_memory:",
        "used_memory:1_000",
        "used_memory:0x10",
        "used_memory: 1",
        "used_memory:1.5",
        "used_memory:\u0661",  # a digit, elsewhere
        "used_memory:9223372036854775808",  # more than an exporter can write
        "mem_fragmentation_ratio:-nan",
        "mem_fragmentation_ratio:inf",
        "mem_fragmentation_ratio:1e999",
        "expired_keys:-1",  # a sum never is below zero
        "db0:keys",
        "db16:keys=1",  # as the receiver, which looks at the first 16
        "dbx:keys=1",
        "cmdstat_:calls=1",
        "cmdstat_secret of a customer:calls=1",
        f"cmdstat_{'x' * 65}:calls=1",
        "cmdstat_get:calls=",
        "latency_percentiles_usec_get:p75=1.0",
    ],
)
def test_what_is_no_value_makes_no_point(line: str) -> None:
    assert points_in(line) == {}


def test_a_gauge_may_be_below_zero() -> None:
    assert points_in("master_repl_offset:-1") == {("redis.replication.offset",): -1}


def test_commands_are_bounded_in_number() -> None:
    many = "\r\n".join(f"cmdstat_c{n}:calls=1,usec=1" for n in range(module.MAX_COMMANDS + 1))
    assert len(points_in(many)) == module.MAX_COMMANDS * 2


def test_whole_numbers_stay_whole_and_the_others_have_fractions() -> None:
    fractions = {names.MEMORY_FRAGMENTATION, names.CPU_TIME, names.COMMAND_LATENCY}
    whole = ASKED_FOR_ALL.replace(b"13.82", b"14").replace(b"0.005265", b"1")
    for point in points_of(parse(whole)):
        assert type(point.value) is (float if point.metric in fractions else int), point


def test_every_metric_of_a_server_is_read_somewhere() -> None:
    read = {metric for _, metric, _ in module.ROWS}
    read |= {*module.OF_A_DATABASE.values(), *module.OF_A_COMMAND.values(), names.COMMAND_LATENCY}
    assert read == set(names.RECEIVER_METRICS)


FIELDS = st.sampled_from(
    [field for field, _, _ in module.ROWS]
    + ["db0", "db1", "db16", "cmdstat_get", "cmdstat_", "latency_percentiles_usec_get"]
)
NUMBERS = st.one_of(
    st.integers().map(str), st.floats().map(str), st.sampled_from(["", "-", "٣", "1_0", "0x1"])
)
VALUES = st.one_of(
    st.text(),
    NUMBERS,
    st.lists(
        st.tuples(
            st.sampled_from(["keys", "expires", "avg_ttl", "calls", "usec", "p50", "p99.9", ""]),
            NUMBERS | st.text(),
        ).map("=".join)
    ).map(",".join),
)
LINES = st.one_of(
    st.text(),
    st.tuples(FIELDS | st.text(), VALUES).map(":".join),
    st.text().map("cmdstat_{}:calls=1,usec=1".format),
    st.text().map("latency_percentiles_usec_{}:p50=1".format),
)


@given(st.lists(LINES).map("\r\n".join) | st.lists(LINES).map("\n".join) | st.binary())
def test_no_reply_does_harm(reply: str | bytes) -> None:
    series = set[tuple[names.Metric, module.Attributes]]()
    for point in points_of(parse(reply)):
        assert isinstance(point, Point)
        assert math.isfinite(point.value)
        assert -(1 << 63) <= point.value < 1 << 63
        assert point.value >= 0 or point.metric.kind != "counter"
        declared = point.metric.attributes[len(names.SERVER_ATTRIBUTES) :]
        assert tuple(name for name, _ in point.attributes) == declared
        assert all(len(value) <= 64 and value.isascii() for _, value in point.attributes)
        assert (point.metric, point.attributes) not in series
        series.add((point.metric, point.attributes))
    assert len(series) <= len(module.ROWS) + 3 * module.DATABASES + 5 * module.MAX_COMMANDS
