"""That the search for a difference finds one: with a wrong rule in the table it does, at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from otel_redis_cache.commands import TABLE
from otel_redis_cache.facts import Rule
from tests.differential.bench import Bench
from tests.differential.comparison import DisagreementError, hold_against_the_server
from tests.differential.counting import Counting
from tests.real.servers import RedisServer

BUDGET = 2_000
LONGEST = 3
"""Commands that are enough to show that one."""


def removes_nothing(rule: Rule) -> Rule:
    return rule._replace(removal=None)


def asks_once(rule: Rule) -> Rule:
    assert rule.read
    return rule._replace(read=rule.read._replace(asked=lambda _: 1, found=lambda *_: [True]))


def always_stores(rule: Rule) -> Rule:
    assert rule.write
    return rule._replace(write=rule.write._replace(stored=lambda *_: True))


def gives_no_lifetime(rule: Rule) -> Rule:
    return rule._replace(lifetime=None)


@pytest.fixture
def find_fault(
    valkey_server: RedisServer, twin: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., DisagreementError]:
    """Plants a fault and searches for it."""

    def find(
        command: str, fault: Callable[[Rule], Rule], *, shortened: bool = False
    ) -> DisagreementError:
        monkeypatch.setitem(TABLE, command, fault(TABLE[command]))
        with (
            Counting() as counting,
            closing(Bench(valkey_server, twin, counting)) as bench,
            pytest.raises(DisagreementError) as found,
        ):
            hold_against_the_server(bench, BUDGET, remembered=False, shortened=shortened)
        return found.value

    return find


@pytest.mark.parametrize("server", ["valkey"], indirect=True)
@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("GETDEL", removes_nothing),
        ("MGET", asks_once),
        ("SET", always_stores),
        ("EXPIRE", gives_no_lifetime),
    ],
)
def test_a_wrong_rule_is_found(
    command: str, fault: Callable[[Rule], Rule], find_fault: Callable[..., DisagreementError]
) -> None:
    assert command in {step.name for step in find_fault(command, fault).sequence.steps}


@pytest.mark.parametrize("server", ["valkey"], indirect=True)
def test_a_wrong_rule_is_shown_in_a_few_commands(
    find_fault: Callable[..., DisagreementError],
) -> None:
    found = find_fault("GETDEL", removes_nothing, shortened=True)
    assert len(found.sequence.steps) <= LONGEST
    assert "GETDEL " in str(found)
    assert "expected 1, counted 0" in str(found)
