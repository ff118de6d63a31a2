"""That the search for a difference finds one: with a wrong rule in the table it does, at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from otel_redis_cache.commands import TABLE
from otel_redis_cache.facts import Rule
from tests.differential.bench import Bench
from tests.differential.comparison import DisagreementError, hold_against_the_server
from tests.differential.counting import Counting
from tests.real.servers import RedisServer

BUDGET = 2_000
LONGEST = 3
"""Commands that are enough to show any of these faults."""


def removes_nothing(rule: Rule) -> Rule:
    return rule._replace(removal=None)


def asks_once(rule: Rule) -> Rule:
    assert rule.read
    return rule._replace(read=rule.read._replace(asked=lambda _: 1, found=lambda *_: [True]))


def always_finds(rule: Rule) -> Rule:
    assert rule.read
    return rule._replace(read=rule.read._replace(found=lambda *_: [True]))


def always_stores(rule: Rule) -> Rule:
    assert rule.write
    return rule._replace(write=rule.write._replace(stored=lambda *_: True))


def gives_no_lifetime(rule: Rule) -> Rule:
    return rule._replace(lifetime=None)


@pytest.mark.parametrize("server", ["valkey"], indirect=True)
@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("GETDEL", removes_nothing),
        ("HEXPIRE", removes_nothing),
        ("MGET", asks_once),
        ("HGETALL", always_finds),
        ("SET", always_stores),
        ("EXPIRE", gives_no_lifetime),
    ],
)
def test_a_wrong_rule_is_found_and_shown_in_a_few_commands(
    command: str,
    fault: Callable[[Rule], Rule],
    server: RedisServer,
    twin: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(TABLE, command, fault(TABLE[command]))
    with Counting() as counting:
        bench = Bench(server, twin, 3, counting)
        with pytest.raises(DisagreementError) as found:
            hold_against_the_server(bench, BUDGET, remembered=False)
        bench.close()
    shown = found.value.sequence
    assert len(shown.steps) <= LONGEST
    assert command in {step.name for step in shown.steps}
    assert command in str(found.value)
