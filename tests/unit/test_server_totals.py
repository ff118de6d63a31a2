from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_redis_cache import conventions as names
from otel_redis_cache.server.info import parse, points_of
from otel_redis_cache.server.totals import LARGEST, Totals

CALLS = (names.COMMAND_CALLS, ((names.COMMAND, "get"),))


def look(totals: Totals, at: float = 0, /, **fields: str | float) -> dict[str, int | float]:
    """What a look at a server that says this makes known, by the metric's name."""
    info = {name: str(value) for name, value in fields.items()}
    return {point.metric.name: point.value for point in totals.follow(info, points_of(info), at)}


def test_up_to_the_first_restart_a_total_is_what_the_server_says() -> None:
    totals = Totals()
    for hits in (7, 7, 12):
        assert look(totals, run_id="a", keyspace_hits=hits) == {"redis.keyspace.hits": hits}


def test_after_a_restart_a_sum_goes_on() -> None:
    totals = Totals()
    look(totals, run_id="a", keyspace_hits=7, used_cpu_sys=1.5, uptime_in_seconds=100)
    found = look(totals, 15, run_id="b", keyspace_hits=2, used_cpu_sys=0.25, uptime_in_seconds=3)
    assert found == {
        "redis.keyspace.hits": 9,
        "redis.cpu.time": 1.75,
        "redis.uptime": 103,
    }
    assert look(totals, run_id="b", keyspace_hits=3) == {"redis.keyspace.hits": 10}
    assert look(totals, run_id="c", keyspace_hits=1) == {"redis.keyspace.hits": 11}


def test_after_a_restart_a_sum_that_is_past_its_old_value_goes_on_too() -> None:
    totals = Totals()
    look(totals, run_id="a", keyspace_hits=7)
    assert look(totals, run_id="b", keyspace_hits=8) == {"redis.keyspace.hits": 15}


def test_after_a_reset_and_a_restart_between_two_looks_the_new_run_is_added_once() -> None:
    totals = Totals()
    look(totals, run_id="a", keyspace_hits=7, total_commands_processed=50)
    # RESETSTAT, 3 hits, a restart, 9 hits; what came before the restart is lost.
    assert look(totals, run_id="b", keyspace_hits=9, total_commands_processed=10) == {
        "redis.keyspace.hits": 16,
        "redis.commands.processed": 60,
    }


def test_after_a_reset_a_sum_goes_on_and_what_is_not_reset_stays() -> None:
    totals = Totals()
    look(totals, run_id="a", keyspace_hits=7, used_cpu_sys=1.5, uptime_in_seconds=100)
    assert look(totals, run_id="a", keyspace_hits=2, used_cpu_sys=1.75, uptime_in_seconds=115) == {
        "redis.keyspace.hits": 9,
        "redis.cpu.time": 1.75,
        "redis.uptime": 115,
    }


def test_a_reset_that_one_sum_tells_of_counts_for_all_of_them() -> None:
    totals = Totals()
    look(totals, run_id="a", keyspace_hits=7, evicted_keys=1)
    assert look(totals, run_id="a", keyspace_hits=6, evicted_keys=4) == {
        "redis.keyspace.hits": 13,
        "redis.keys.evicted": 5,
    }


def test_without_a_run_id_an_uptime_that_falls_tells_of_a_restart() -> None:
    totals = Totals()
    look(totals, uptime_in_seconds=100, keyspace_hits=7, used_cpu_sys=1.5)
    found = look(totals, 15, uptime_in_seconds=5, keyspace_hits=8, used_cpu_sys=2.5)
    assert found == {"redis.uptime": 105, "redis.keyspace.hits": 15, "redis.cpu.time": 4.0}


def test_another_server_at_the_same_address_brings_nothing_from_before_it_was_seen() -> None:
    totals = Totals()
    look(totals, 0, run_id="a", keyspace_hits=7, used_cpu_sys=1.5, uptime_in_seconds=100)
    found = look(
        totals,
        15,
        run_id="b",
        keyspace_hits=10**6,
        keyspace_misses=10**6,
        used_cpu_sys=0.3,
        uptime_in_seconds=90,
    )
    assert found == {
        "redis.keyspace.hits": 7,
        "redis.keyspace.misses": 0,
        "redis.cpu.time": 1.5,
        "redis.uptime": 100,
    }
    found = look(
        totals,
        30,
        run_id="b",
        keyspace_hits=10**6 + 2,
        keyspace_misses=10**6 + 3,
        used_cpu_sys=0.55,
        uptime_in_seconds=105,
    )
    assert found == {
        "redis.keyspace.hits": 9,
        "redis.keyspace.misses": 3,
        "redis.cpu.time": pytest.approx(1.75),
        "redis.uptime": 115,
    }
    # And a restart of that one is a restart.
    assert look(totals, 45, run_id="c", keyspace_hits=4, uptime_in_seconds=9) == {
        "redis.keyspace.hits": 13,
        "redis.uptime": 124,
    }


def test_a_reset_of_another_server_goes_on_too() -> None:
    totals = Totals()
    look(totals, 0, run_id="a", keyspace_hits=7, uptime_in_seconds=100)
    look(totals, 15, run_id="b", keyspace_hits=50, uptime_in_seconds=900)
    look(totals, 30, run_id="b", keyspace_hits=52, uptime_in_seconds=915)
    found = look(totals, 45, run_id="b", keyspace_hits=1, uptime_in_seconds=930)
    assert found == {"redis.keyspace.hits": 10, "redis.uptime": 130}


@pytest.mark.parametrize("uptime", [0, 14, 16])
def test_a_restart_just_after_a_look_is_a_restart(uptime: int) -> None:
    totals = Totals()
    look(totals, 0, run_id="a", keyspace_hits=7, uptime_in_seconds=100)
    found = look(totals, 15, run_id="b", keyspace_hits=5, uptime_in_seconds=uptime)
    assert found == {"redis.keyspace.hits": 12, "redis.uptime": 100 + uptime}


def test_a_clock_that_is_set_back_is_no_restart() -> None:
    totals = Totals()
    look(totals, run_id="a", uptime_in_seconds=100, keyspace_hits=7)
    assert look(totals, run_id="a", uptime_in_seconds=40, keyspace_hits=8) == {
        "redis.uptime": 100,
        "redis.keyspace.hits": 8,
    }


def test_what_is_no_sum_is_as_the_server_says() -> None:
    totals = Totals()
    look(totals, run_id="a", used_memory=10, rdb_changes_since_last_save=5, connected_clients=3)
    assert look(
        totals, run_id="b", used_memory=4, rdb_changes_since_last_save=1, connected_clients=1
    ) == {
        "redis.memory.used": 4,
        "redis.rdb.changes_since_last_save": 1,
        "redis.clients.connected": 1,
    }


def test_a_command_that_was_not_called_since_a_reset_has_no_point_and_then_goes_on() -> None:
    totals = Totals()
    look(totals, run_id="a", cmdstat_get="calls=5", total_commands_processed=9)
    assert look(totals, run_id="a", total_commands_processed=1) == {"redis.commands.processed": 10}
    assert look(totals, run_id="a", cmdstat_get="calls=6", total_commands_processed=20) == {
        "redis.cmd.calls": 11,
        "redis.commands.processed": 29,
    }


def test_commands_of_a_module_that_was_loaded_anew_go_on_alone() -> None:
    totals = Totals()
    look(totals, run_id="a", cmdstat_get="calls=5", keyspace_hits=7)
    assert look(totals, run_id="a", cmdstat_get="calls=2", keyspace_hits=7) == {
        "redis.cmd.calls": 7,
        "redis.keyspace.hits": 7,
    }


def test_no_total_is_larger_than_an_exporter_can_write() -> None:
    totals = Totals()
    found = [look(totals, run_id=str(run), keyspace_hits=10**18 - 1) for run in range(20)]
    assert found[-1] == {"redis.keyspace.hits": LARGEST}


def test_series_of_a_server_are_bounded_in_number() -> None:
    totals = Totals()
    for number in range(2 * names.MAX_SERIES):
        found = look(totals, run_id="a", **{f"cmdstat_c{number}": "calls=1"})
        assert len(found) == int(number < names.MAX_SERIES)


@dataclass
class Server:
    """One that counts, and what somebody who looks at it can know."""

    counted: dict[str, int] = field(default_factory=lambda: {"keyspace_hits": 0, "evicted_keys": 0})
    processed: int = 0
    run: int = 0

    def count(self, name: str, more: int) -> None:
        self.counted[name] += more

    def reset(self) -> None:
        self.counted = dict.fromkeys(self.counted, 0)
        self.processed = 0

    def restart(self) -> None:
        self.reset()
        self.run += 1

    def info(self) -> dict[str, str]:
        self.processed += 1
        fields = {**self.counted, "total_commands_processed": self.processed, "run_id": self.run}
        return {name: str(value) for name, value in fields.items()}


STEPS = st.one_of(
    st.tuples(st.sampled_from(["keyspace_hits", "evicted_keys"]), st.integers(0, 9)),
    st.just("reset"),
    st.just("restart"),
)


@given(st.lists(st.lists(STEPS, max_size=4), max_size=12))
def test_a_total_is_what_was_counted_less_what_nobody_saw(looks: list[list[object]]) -> None:
    server, totals = Server(), Totals()
    known = dict.fromkeys(server.counted, 0)
    seen = dict(server.counted)
    for steps in looks:
        # Two looks, which the server counts: so it always has processed fewer commands after a reset.
        look(totals, **server.info())
        look(totals, **server.info())
        for step in steps:
            if step == "reset":
                server.reset()
            elif step == "restart":
                server.restart()
            else:
                assert isinstance(step, tuple)
                server.count(*step)
        if "reset" in steps or "restart" in steps:
            seen = dict.fromkeys(seen, 0)
        known = {name: known[name] + now - seen[name] for name, now in server.counted.items()}
        seen = dict(server.counted)
        found = look(totals, **server.info())
        assert (found["redis.keyspace.hits"], found["redis.keys.evicted"]) == (
            known["keyspace_hits"],
            known["evicted_keys"],
        )


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "run_id": st.sampled_from(["a", "b"]),
                "uptime_in_seconds": st.integers(0, 40),
                "used_cpu_sys": st.floats(0, 9),
                "keyspace_hits": st.integers(0, 9),
            }
        )
    )
)
def test_totals_never_fall_whoever_answers(looks: list[dict[str, float]]) -> None:
    totals = Totals()
    known: dict[str, int | float] = {}
    for number, fields in enumerate(looks):
        found = look(totals, 15 * number, **fields)
        assert all(found[name] >= known.get(name, 0) for name in found)
        known |= found


@given(st.lists(st.text() | st.integers().map("keyspace_hits:{}\nrun_id:a".format)))
def test_totals_never_fall_whatever_a_server_says(replies: list[str]) -> None:
    totals = Totals()
    known: dict[object, int | float] = {}
    for info in map(parse, replies):
        for point in totals.follow(info, points_of(info), 0):
            if point.metric.kind == "counter":
                series = (point.metric, point.attributes)
                assert point.value >= known.get(series, 0)
                known[series] = point.value
