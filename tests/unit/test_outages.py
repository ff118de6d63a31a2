from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_redis_cache.facts import Contact, Target
from otel_redis_cache.outages import HISTORY, Outage, Outages, last_of, servers_of

ANSWERED, UNREACHED, TIMED_OUT, UNKNOWN = (
    Contact.ANSWERED,
    Contact.UNREACHED,
    Contact.TIMED_OUT,
    Contact.UNKNOWN,
)
MAIN, OTHER = Target("redis", "main", None, "0"), Target("redis", "other", 6380, "1")
SECOND = 10**9
UNIX = 1_700_000_000


def follow(
    outages: Outages,
    contact: Contact,
    started: float,
    took: float = 0.1,
    target: Target = MAIN,
    last_attempt: float | None = None,
    *,
    waited: bool = False,
    one_of_many: bool = False,
) -> Outage | None:
    """A call that was started so many seconds after the beginning."""
    attempted = started if last_attempt is None else last_attempt
    return outages.follow(
        target,
        contact,
        "redis.exceptions.ConnectionError",
        started=int(started * SECOND),
        attempted=int(attempted * SECOND),
        started_unix=int((UNIX + started) * SECOND),
        ended=int((started + took) * SECOND),
        waited=waited,
        one_of_many=one_of_many,
    )


def state(outages: Outages, target: Target = MAIN) -> tuple[bool, int]:
    server = outages.servers[target]
    assert server.is_well == (server.outage is None and server.timeouts == 0)
    return server.outage is not None, server.timeouts


def test_an_answer_ends_an_outage_by_when_it_was_last_asked_for() -> None:
    outages = Outages()
    follow(outages, Contact.UNREACHED, started=2)

    assert follow(outages, Contact.ANSWERED, started=1, took=4, last_attempt=1.5) is None
    assert follow(outages, Contact.ANSWERED, started=1, took=4, last_attempt=4) is not None


def test_a_failure_of_the_network_begins_an_outage_that_an_answer_ends() -> None:
    outages = Outages()
    follow(outages, ANSWERED, 1)
    follow(outages, UNREACHED, 10, took=2)
    follow(outages, UNREACHED, 13)
    assert state(outages) == (True, 0)
    over = follow(outages, ANSWERED, 40, took=0.5)

    assert over is not None
    assert over.seconds() == 30.5
    assert over.began_at == "2023-11-14T22:13:30+00:00"
    assert over.ended_at == "2023-11-14T22:14:00.500000+00:00"
    assert over.error_type == "redis.exceptions.ConnectionError"
    assert state(outages) == (False, 0)
    assert outages.all() == [over]


def test_a_failure_of_a_call_that_a_later_one_has_outrun_is_no_outage() -> None:
    outages = Outages()
    follow(outages, ANSWERED, 10)
    follow(outages, UNREACHED, 5, took=6)  # a blocking command, say, whose connection was closed
    for _ in range(3):
        follow(outages, TIMED_OUT, 6, took=7)

    assert state(outages) == (False, 0)
    assert outages.servers[MAIN].used == 13 * SECOND


def test_a_call_that_waited_for_data_tells_of_the_network_where_the_wait_ended_and_began() -> None:
    outages = Outages()
    follow(outages, UNREACHED, 10, took=3_600, waited=True)
    (going_on,) = outages.all()
    assert going_on.began == 3_610 * SECOND
    assert going_on.began_at == "2023-11-14T23:13:30+00:00"
    assert follow(outages, ANSWERED, 3_000, took=700) is None
    over = follow(outages, ANSWERED, 3_640, took=7_200, waited=True)

    assert over is not None
    assert over.seconds() == 30
    assert outages.servers[MAIN].is_in_use(int((3_640 + 7_200 + 599) * SECOND))


def test_a_timeout_is_an_outage_at_the_third_in_a_row_from_the_first_on() -> None:
    outages = Outages()
    follow(outages, TIMED_OUT, 10, took=1)
    follow(outages, TIMED_OUT, 12, took=1)
    assert state(outages) == (False, 2)
    follow(outages, TIMED_OUT, 14, took=1)
    assert state(outages) == (True, 3)
    over = follow(outages, ANSWERED, 20, took=0)

    assert over is not None
    assert over.seconds() == 10
    assert over.began_at == "2023-11-14T22:13:30+00:00"
    assert state(outages) == (False, 0)


def test_an_answer_between_timeouts_starts_the_row_anew() -> None:
    outages = Outages()
    for started in range(10):
        follow(outages, ANSWERED if started % 3 == 2 else TIMED_OUT, started)

    assert outages.all() == []
    assert state(outages) == (False, 1)


def test_the_answer_to_a_call_that_was_in_flight_when_another_failed_ends_no_outage() -> None:
    outages = Outages()
    follow(outages, UNREACHED, 10, took=0.1)

    assert follow(outages, ANSWERED, 9, took=5) is None
    assert follow(outages, ANSWERED, 10) is None
    assert follow(outages, ANSWERED, 10.05, took=0.1) is None  # sent by the server before it died
    assert state(outages) == (True, 0)
    over = follow(outages, ANSWERED, 10.11)
    assert over is not None
    assert over.began == 10 * SECOND


def test_a_call_that_tells_nothing_changes_nothing() -> None:
    outages = Outages()
    for started in range(5):
        follow(outages, UNKNOWN, started)
    assert state(outages) == (False, 0)
    follow(outages, UNREACHED, 6)
    follow(outages, UNKNOWN, 7)

    assert state(outages) == (True, 0)
    assert outages.servers[MAIN].used == 7.1 * SECOND


def test_each_server_has_outages_of_its_own() -> None:
    outages = Outages()
    follow(outages, ANSWERED, 1, target=OTHER)
    follow(outages, UNREACHED, 2)
    follow(outages, ANSWERED, 3, target=OTHER)

    assert state(outages) == (True, 0)
    assert state(outages, OTHER) == (False, 0)
    assert [str(outage.target) for outage in outages.all()] == ["main:6379/0"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([ANSWERED, ANSWERED, UNREACHED, TIMED_OUT, TIMED_OUT, UNKNOWN]),
            st.integers(-3, 5),
        ),
        max_size=60,
    )
)
def test_outages_are_what_the_definition_says_of_any_calls(
    calls: list[tuple[Contact, int]],
) -> None:
    outages = Outages()
    expected: list[tuple[int, int]] = []
    began: int | None = None
    row: list[int] = []
    started, answered, noticed = 100, 0, 0
    for contact, later in calls:
        started += later
        follow(outages, contact, started, took=0)
        if contact is ANSWERED:
            row, answered = [], max(answered, started)
            if began is not None and started > noticed:
                expected.append((began, started))
                began = None
        elif contact is not UNKNOWN and started > answered:
            row += [started] if contact is TIMED_OUT else []
            if began is None and contact is UNREACHED:
                began = noticed = started
            elif began is None and len(row) >= 3:
                began, noticed = min(row), started
    ended = [outage for outage in outages.all() if outage.ended is not None]
    going_on = [outage.began // SECOND for outage in outages.all() if outage.ended is None]

    assert [(o.began // SECOND, (o.ended or 0) // SECOND) for o in ended] == expected[-HISTORY:]
    assert going_on == ([] if began is None else [began])


def test_targets_and_history_are_bounded() -> None:
    overflows: list[None] = []
    outages = Outages(lambda: overflows.append(None))
    for i in range(5_000):
        target = Target("redis", f"host{i}")
        follow(outages, UNREACHED, i, target=target)
        follow(outages, ANSWERED, i + 0.5, target=target)

    assert len(outages.servers) == 1_500
    assert {server.shown_as.address for server in outages.servers.values()} == {"_other"}
    assert len(overflows) == 3_600
    assert len(outages.all()) == HISTORY
    assert outages.all()[-1].target.address == "host4999"


def test_an_outage_that_goes_on_is_as_long_as_until_now() -> None:
    outages = Outages()
    follow(outages, UNREACHED, 10)
    (outage,) = outages.all()

    assert outage.seconds(25 * SECOND) == 15
    assert outage.ended_at is None


def test_of_two_trackers_the_latest_call_tells_how_a_server_is() -> None:
    first, second = Outages(), Outages()
    follow(first, UNREACHED, 10)
    follow(first, ANSWERED, 1, target=OTHER)
    follow(second, ANSWERED, 20)
    servers = {server.target: server for server in servers_of([first, second], 0)}

    assert len(servers) == 2
    assert servers[MAIN].outage is None
    assert servers_of([first], 0)[0].outage is not None


def test_a_server_is_in_use_for_ten_minutes_after_a_call() -> None:
    outages = Outages()
    follow(outages, UNREACHED, 10)
    follow(outages, ANSWERED, 300, target=OTHER)

    def in_use(now: float) -> list[Target]:
        return [server.target for server in outages.in_use(int(now * SECOND))]

    assert in_use(610) == [MAIN, OTHER]
    assert in_use(611) == [OTHER]
    assert in_use(901) == []


def test_the_last_outages_of_all_trackers_come_in_order() -> None:
    trackers = [Outages(), Outages()]
    for i in range(200):
        follow(trackers[i % 2], UNREACHED, i)
        follow(trackers[i % 2], ANSWERED, i + 0.5)
    found = last_of(trackers)

    assert [outage.began // SECOND for outage in found] == list(range(150, 200))


def test_a_server_is_shown_as_it_was_configured() -> None:
    assert str(Target("redis", "cache", 6380, "2")) == "cache:6380/2"
    assert str(Target("redis", "/run/redis.sock", None, "0")) == "/run/redis.sock/0"
    assert str(Target("redis", "s1:26379,s2:26379/mymaster", None, "0")) == (
        "s1:26379,s2:26379/mymaster/0"
    )


BEGINNING = 100


def in_cluster(outages: Outages, contact: Contact, started: float, took: float = 0.1) -> float:
    """A call to one of several nodes; how long the outage was that it ended."""
    over = follow(outages, contact, BEGINNING + started, took, one_of_many=True)
    return 0 if over is None else over.seconds()


def test_an_outage_of_one_node_of_many_goes_on_while_others_answer() -> None:
    outages = Outages()
    for started in range(10):
        assert in_cluster(outages, UNREACHED, started) == 0
        assert in_cluster(outages, ANSWERED, started + 0.5) == 0
    assert in_cluster(outages, ANSWERED, 9.9) == 0
    assert outages.servers[MAIN].is_out((BEGINNING + 10) * SECOND)

    # The last failure was known at 9.1 s, the first answer after it at 9.6 s.
    assert in_cluster(outages, ANSWERED, 10.1) == pytest.approx(9.6)
    assert [outage.seconds() for outage in outages.all()] == [pytest.approx(9.6)]
    assert outages.servers[MAIN].is_well


def test_an_outage_of_one_node_of_many_that_nobody_asks_any_more_is_over_too() -> None:
    outages = Outages()
    in_cluster(outages, UNREACHED, 0)
    in_cluster(outages, ANSWERED, 0.5)

    assert outages.servers[MAIN].is_out(int((BEGINNING + 1.0) * SECOND))
    assert not outages.servers[MAIN].is_out(int((BEGINNING + 1.2) * SECOND))


def test_a_failure_of_one_node_of_many_counts_whatever_others_have_answered() -> None:
    outages = Outages()
    in_cluster(outages, ANSWERED, 0.5)
    in_cluster(outages, UNREACHED, 0, took=2)

    assert state(outages) == (True, 0)
    in_cluster(outages, ANSWERED, 2.5)
    assert in_cluster(outages, ANSWERED, 3.5) == pytest.approx(2.6)
    in_cluster(outages, UNREACHED, 2, took=3)  # which was under way before it was over
    assert state(outages) == (False, 0)


def test_outages_of_one_node_of_many_that_lie_apart_are_two() -> None:
    outages = Outages()
    in_cluster(outages, UNREACHED, 10)
    in_cluster(outages, ANSWERED, 10.3)
    in_cluster(outages, ANSWERED, 10.6)  # and then nothing for a long time
    assert in_cluster(outages, UNREACHED, 400) == pytest.approx(0.4)
    assert in_cluster(outages, ANSWERED, 402) == pytest.approx(2.1)

    assert [outage.seconds() for outage in outages.all()] == [
        pytest.approx(0.4),
        pytest.approx(2.1),
    ]
