"""Beside contrib's instrumentation, ddtrace or Sentry no call has two spans, or none."""

from __future__ import annotations

import pytest

from .accounts import promised, spans_of, the_line, told
from .conftest import Meet
from .packages import PACKAGES

pytestmark = pytest.mark.parametrize("package", PACKAGES)


@pytest.mark.parametrize("mode", ["yield", "both", "off"])
@pytest.mark.parametrize("way", ["theirs first", "ours first"])
def test_whoever_was_first_each_call_is_seen_as_the_mode_says(
    meet: Meet, package: str, way: str, mode: str
) -> None:
    seen = meet(package, way)
    other = PACKAGES[package]
    assert told(seen[mode]) == promised(mode, other)
    assert seen[mode]["said"] == ([] if mode == "both" else [the_line(other, mode)])


def test_one_that_comes_after_our_first_command_makes_the_spans_from_then_on(
    meet: Meet, package: str
) -> None:
    seen = meet(package, "they come later")
    other = PACKAGES[package]
    assert (told(seen["alone"]), seen["alone"]["said"]) == (promised("alone", other), [])
    assert told(seen["yield"]) == promised("yield", other)
    assert seen["yield"]["said"] == [the_line(other, "yield")]


@pytest.mark.parametrize("way", ["theirs first", "ours first", "they come later"])
def test_its_spans_are_the_same_beside_us(meet: Meet, package: str, way: str) -> None:
    alone = spans_of(meet(package, "theirs first")["before"])
    seen = meet(package, way)
    assert len(alone) == sum(a.theirs for a in promised("yield", PACKAGES[package]).values())
    for mode in ("yield", "both", "off"):
        assert spans_of(seen[mode]) == alone


def test_when_it_leaves_we_make_the_spans_again_but_for_where_we_are_off(
    meet: Meet, package: str
) -> None:
    seen = meet(package, "ours first")
    alone = promised("alone", PACKAGES[package])
    assert told(seen["yield, they left"]) == alone
    assert told(seen["both, they left"]) == alone
    assert not any(any(account) for account in told(seen["off, they left"]).values())
    assert not any(any(account) for account in told(seen["after"]).values())


def test_when_we_leave_it_goes_on_and_we_may_come_again(meet: Meet, package: str) -> None:
    other = PACKAGES[package]
    from_underneath = meet(package, "they come later")
    assert told(meet(package, "theirs first")["after"]) == promised("theirs alone", other)
    assert told(from_underneath["we left"]) == promised("theirs alone", other)
    assert not any(any(account) for account in told(from_underneath["after"]).values())
    assert told(from_underneath["alone again"]) == promised("alone", other)
