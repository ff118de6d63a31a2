"""The command table by itself: whole, well formed, and answering whatever it is given."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docs import generate
from otel_redis_cache import command_table
from otel_redis_cache.commands import Commands
from otel_redis_cache.facts import Command, Outcome, Rule
from otel_redis_cache.operands import set_accepted
from otel_redis_cache.outcomes import Terms, condemn, expiring_writes, judge
from tests.integration import cases
from tests.integration.case import Case
from tests.unit.command_names import FAMILIES

ROWS = command_table.rows()
RULED = {rule.name: rule for rules in command_table.FAMILIES.values() for rule in rules}
ELSEWHERE = {"CLUSTERSCAN", "CLUSTER FLUSHSLOT", "FLUSHALL", "FLUSHDB", "WATCH"}
"""Need a cluster, or change what shares a batch with them: their cases are tests of their own."""
CASES: dict[str, list[Case]] = {}
for _case in (case for family in cases.CASES.values() for case in family):
    CASES.setdefault(_case.command.rule.name, []).append(_case)

NOW = 1_700_000_000.0
TERMS = Terms(probes=True, follows=True, max_sizes=100)


def names(text: str) -> set[str]:
    return {" ".join(name.split()) for name in text.split(",")}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_command_of_a_family_has_a_row(family: str) -> None:
    assert {rule.name for rule in ROWS if rule.family == family} == names(FAMILIES[family])


def test_every_family_is_in_the_table() -> None:
    assert {rule.family for rule in ROWS} == FAMILIES.keys()


def test_every_command_has_one_row_and_a_well_formed_name() -> None:
    found = [rule.name for rule in ROWS]
    assert len(found) == len(set(found))
    odd = [name for name in found if not re.fullmatch(r"[A-Z][A-Z0-9_.-]*( [A-Z][A-Z-]*)?", name)]
    assert odd == []
    assert [name for name in found if name.endswith("-")] == []


@pytest.mark.parametrize("name", sorted(RULED.keys() - command_table.UNVERIFIED - ELSEWHERE))
def test_every_row_has_its_cases(name: str) -> None:
    rule, found = RULED[name], CASES.get(name, [])
    assert any(not case.fails for case in found)
    assert any(case.fails for case in found)
    kinds = set().union(*(case.lookups for case in found))
    assert kinds == ({"hit", "miss", "error"} if rule.read else set())
    results = {key[-1] for case in found for key in case.counts if key[0] == "writes"}
    assert results >= ({"stored", "error"} if rule.write else set())
    effects = {key[-1] for case in found for key in case.counts if "requests" in key[0]}
    if rule.removal is not None:
        assert effects & ({"removed"} if rule.removal.tells else {"unknown", "none"})


def test_every_case_is_of_a_row_in_its_family() -> None:
    for family, found in cases.CASES.items():
        rows = {rule.name for rule in command_table.FAMILIES[family]}
        assert {case.command.rule.name for case in found} <= rows


def test_probes_count_nothing_by_default() -> None:
    for found in CASES.values():
        for case in found:
            probe = case.command.rule.read is not None and case.command.rule.read.probe
            assert bool(case.probes) == probe
            assert not (probe and case.counts)


def test_every_rule_has_words_for_its_page() -> None:
    for rule in RULED.values():
        for part in (rule.read, rule.removal, rule.write):
            assert part is None or part.meaning
        assert rule.positions.__doc__


@pytest.mark.parametrize("page", generate.PAGES)
def test_a_page_made_from_code_is_fresh(page: str) -> None:
    written = Path(generate.__file__).with_name(page).read_text(encoding="utf-8")
    assert written == generate.PAGES[page](), "python docs/generate.py writes it anew"


def test_the_page_counts_the_rows_that_no_server_verified() -> None:
    page = generate.commands()
    assert f"{len(command_table.UNVERIFIED)} that no server at hand knows" in page
    assert page.count("| *unverified* |") == len(command_table.UNVERIFIED)


@pytest.mark.parametrize(
    ("text", "keys", "blocks"),
    [
        ("XREAD STREAMS a b 0 0", ("a", "b"), False),
        ("XREAD COUNT 1 BLOCK 0 STREAMS a 0", ("a",), True),
        ("xread block 5 streams BLOCK $", ("BLOCK",), True),
        ("XREAD STREAMS BLOCK STREAMS 0 0", ("BLOCK", "STREAMS"), False),
        ("XREAD BLOCK 5", (), True),
        ("XREADGROUP GROUP g me STREAMS a >", ("a",), False),
        ("XREADGROUP GROUP BLOCK STREAMS STREAMS a >", ("a",), False),
        ("XREADGROUP GROUP STREAMS BLOCK NOACK BLOCK 0 STREAMS a b > >", ("a", "b"), True),
        ("WAIT 1 0", (), True),
        ("BLPOP a b 0", ("a", "b"), True),
        ("LPOP a", ("a",), False),
    ],
)
def test_the_form_of_a_command_says_whether_it_waits(
    text: str, keys: tuple[str, ...], *, blocks: bool
) -> None:
    command = Commands().describe(tuple(text.split()))
    assert command.keys == keys
    assert command.blocks is blocks


@pytest.mark.parametrize(
    ("options", "old", "accepted"),
    [
        ("IFNE x GET", b"v", True),
        ("IFNE v GET", b"v", False),
        ("IFNE v GET", None, True),
        ("IFNE v GET", False, None),
        ("IFEQ v GET", b"v", True),
        ("IFEQ v GET", "v", True),
        ("IFEQ x GET", b"v", False),
        ("IFEQ v GET", None, False),
        ("IFDEQ 0123456789abcdef GET", b"v", None),
        ("IFDEQ 0123456789abcdef GET", None, False),
        ("IFDNE 0123456789abcdef GET", b"v", None),
        ("IFDNE 0123456789abcdef GET", None, True),
        ("IFDEQ 0123456789abcdef", True, True),
        ("IFDEQ 0123456789abcdef", None, False),
    ],
)
def test_what_a_conditional_set_did_is_told_by_the_old_value_or_not_at_all(
    options: str, old: object, accepted: object
) -> None:
    assert set_accepted(("key", "w", *options.split()), old) is accepted


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.binary(max_size=8).map(memoryview),
    st.sampled_from(
        [
            "EX",
            "PX",
            "EXAT",
            "PXAT",
            "KEEPTTL",
            "GET",
            "NX",
            "XX",
            "IFEQ",
            "FIELDS",
            "STORE",
            "LIMIT",
            "REV",
            "BYSCORE",
            "KEYS",
            "COPY",
            "ABSTTL",
            "1",
            "2",
            "-1",
            "0",
            "-inf",
            "+inf",
            "1e400",
            "nan",
            "GROUP",
            "STREAMS",
            "BLOCK",
            "$",
            "DD",
            "INCRBY",
        ]
    ),
    st.just(object()),
)
replies = st.recursive(
    scalars | st.builds(ValueError),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@settings(max_examples=1_000, deadline=None)
@given(
    rule=st.sampled_from(list(RULED.values())),
    operands=st.lists(scalars, max_size=8).map(tuple),
    reply=replies,
)
def test_any_operands_and_any_reply_are_judged_and_lookups_add_up(
    rule: Rule, operands: tuple[object, ...], reply: object
) -> None:
    command = Command(rule, operands)
    caches = ["cache"] * len(command.keys)
    asked = rule.read.asked(operands) if rule.read and caches else 0
    if rule.read and rule.read.each_key:
        assert asked == len(caches)

    def judged(outcome: Outcome) -> None:
        judge(outcome, command, caches, reply, TERMS, NOW)

    def condemned(outcome: Outcome) -> None:
        condemn(outcome, command, caches, TERMS, NOW)

    ways: tuple[Callable[[Outcome], None], ...] = (judged, condemned)
    for way in ways:
        outcome = Outcome()
        way(outcome)
        assert sum(outcome.lookups.values()) == outcome.total == asked
        assert all(count >= 0 for count in outcome.removed.values())
    expiring_writes([(command, reply), (command, reply)], NOW)
