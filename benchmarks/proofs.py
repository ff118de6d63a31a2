"""Whether a process has really made what its variant makes: a benchmark of nothing must not pass."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.variants import BARE, VARIANTS
from benchmarks.worker import BrokenError, Proof


def hold(variant: str, proof: Proof) -> None:
    """Raise BrokenError where something is missing, or is there that should not be."""
    if wrong := "; ".join(_doubts(variant, proof)):
        raise BrokenError(f"{variant}: {wrong}")


def dropped(variant: str, proof: Proof) -> int:
    """Spans that the batch processor had no room for; what they would have cost is not in the figures."""
    row = VARIANTS[variant]
    made = proof.operations * row.spans if row.providers == "sampled" else 0
    return made - proof.spans_exported


def _doubts(name: str, proof: Proof) -> Iterator[str]:
    variant = VARIANTS[name]
    operations = proof.operations
    if not operations:
        yield "it made no operation"
    for case, entered in proof.entered.items():
        if entered.get("start_span", 0) != variant.spans:
            yield f"{case}: it starts {entered.get('start_span', 0):g} spans, not {variant.spans}"
        if variant.enters and not entered.get(variant.enters):
            yield f"{case}: it enters no function of {variant.enters}"
        if name == BARE and any(package.startswith("o") for package in entered):
            yield f"{case}: it is watched, by {', '.join(entered)}"
    exports = variant.providers == "sampled" and variant.spans
    if bool(proof.spans_exported) != bool(exports) or proof.spans_exported > operations:
        yield f"{proof.spans_exported} spans of {operations} operations were exported"
    if proof.durations != operations * variant.durations:
        yield f"{proof.durations} durations of {operations} operations were exported"
    if proof.lookups != proof.keys * variant.counts_lookups:
        yield f"{proof.lookups} lookups of {proof.keys} keys were exported"
