"""Sequences of commands, and the search for one after which expected and counted differ."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.differential.bench import Bench, CommandSequence
from tests.differential.catalog import Kind
from tests.differential.oracle import Tally
from tests.differential.step import Step

MOST = 6
"""Commands in a part of a sequence, and parts: so most of them are long enough."""
SECONDS_OFF = 2.0
"""How far the sum of the times to live may be off, for each: a deadline is counted from now."""


class DisagreementError(AssertionError):
    """What was counted is not what the server says."""

    def __init__(self, differences: str, sequence: CommandSequence) -> None:
        super().__init__(f"\n{differences}\n{sequence!r}")
        self.sequence = sequence


def steps_of(kinds: list[Kind]) -> st.SearchStrategy[Step]:
    """Commands of every family, each as often as its weight says."""
    families: dict[str, list[Kind]] = {}
    for kind in kinds:
        families.setdefault(kind.family, []).extend([kind] * kind.weight)
    weighted = [found for found in families.values() for _ in range(1 + len(found) // 30)]
    return st.sampled_from(weighted).flatmap(st.sampled_from).flatmap(lambda kind: kind.steps)


@st.composite
def sequences(draw: st.DrawFn, steps: st.SearchStrategy[Step]) -> CommandSequence:
    way = draw(st.sampled_from(("alone", "pipeline", "MULTI")))
    parts = draw(st.lists(st.lists(steps, min_size=1, max_size=MOST), min_size=1, max_size=MOST))
    drawn = [step for part in parts for step in part]
    return CommandSequence(
        # Two servers would not choose the same by chance.
        tuple(step for step in drawn if way == "alone" or not step.by_chance),
        way,
        loaded=draw(st.sampled_from((True, True, True, False))),
        probes=draw(st.booleans()),
        raises=draw(st.booleans()),
        spelling=draw(st.sampled_from(("as here", "lower case", "bytes"))),
        protocol=draw(st.sampled_from((2, 3))),
    )


def hold_against_the_server(
    bench: Bench, count: int, *, remembered: bool = True, shortened: bool = True
) -> None:
    """Try that many sequences; of those that fail the shortest is shown, and how to repeat it.

    Those that failed before are tried first where they are remembered. What fails is shown as it
    was found where it is not shortened.
    """
    steps = steps_of(bench.kinds)
    chosen = settings(
        max_examples=count,
        deadline=None,
        derandomize=False,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],  # a busy machine
    )
    if not remembered:
        chosen = settings(chosen, database=None)
    if not shortened:
        chosen = settings(chosen, phases=set(Phase) - {Phase.shrink, Phase.explain})

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
