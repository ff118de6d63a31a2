"""Sequences of commands, and the search for one after which expected and counted differ."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.differential.bench import Bench, CommandSequence
from tests.differential.oracle import Tally
from tests.differential.step import Step

LONGEST = 16
SECONDS_OFF = 2.0
"""How far the sum of the times to live may be off, for each: a deadline is counted from now."""


class DisagreementError(AssertionError):
    """What was counted is not what the server says."""

    def __init__(self, differences: str, sequence: CommandSequence) -> None:
        super().__init__(f"\n{differences}\n{sequence!r}")
        self.sequence = sequence


@st.composite
def sequences(draw: st.DrawFn, steps: st.SearchStrategy[Step]) -> CommandSequence:
    way = draw(st.sampled_from(("alone", "pipeline", "MULTI")))
    shortest = draw(st.sampled_from((1, 4, 10)))
    drawn = draw(st.lists(steps, min_size=shortest, max_size=LONGEST))
    return CommandSequence(
        # Two servers would not choose the same by chance.
        tuple(step for step in drawn if way == "alone" or not step.by_chance),
        way,
        loaded=draw(st.booleans()),
        probes=draw(st.booleans()),
        raises=draw(st.booleans()),
        spelling=draw(st.sampled_from(("as here", "lower case", "bytes"))),
    )


def hold_against_the_server(bench: Bench, count: int, *, remembered: bool = True) -> None:
    """Try that many sequences; of those that fail the shortest is shown, and how to repeat it.

    Those that failed before are tried first where they are remembered.
    """
    telling = [kind for kind in bench.kinds if kind.tells]
    steps = st.sampled_from([*telling, *telling, *bench.kinds]).flatmap(lambda kind: kind.steps)

    chosen = settings(
        max_examples=count,
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],  # a busy machine
    )
    if not remembered:
        chosen = settings(chosen, database=None)

    @chosen
    @given(sequences(steps))
    def hold(sequence: CommandSequence) -> None:
        expected, counted = bench.run(sequence)
        if wrong := differences(expected, counted):
            raise DisagreementError(wrong, sequence)

    hold()


def differences(expected: Tally, counted: Tally) -> str:
    """What differs, in lines; nothing where all agrees."""
    keys = sorted(expected.counts.keys() | counted.counts.keys())
    lines = [
        f"{' '.join(key):44} expected {expected.counts[key]}, counted {counted.counts[key]}"
        for key in keys
        if expected.counts[key] != counted.counts[key]
    ]
    for cache in sorted(expected.lifetimes.keys() | counted.lifetimes.keys()):
        asked, recorded = expected.lifetimes[cache], counted.lifetimes[cache]
        if abs(asked - recorded) > SECONDS_OFF * max(1, expected.counts["ttl", cache]):
            lines.append(f"{'sum of ttl ' + cache:44} expected {asked} s, counted {recorded} s")
    return "\n".join(lines)
