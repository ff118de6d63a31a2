"""Inputs that `make hostile` has found worth keeping, tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile import fuzz
from tests.soak import page


@pytest.mark.parametrize("target", fuzz.targets())
def test_what_was_kept_still_passes(target: str) -> None:
    try_one, kept = fuzz.targets()[target], [*fuzz.kept(target)]

    assert kept
    for given in kept:
        try_one(given)


def test_inputs_that_failed_are_kept_however_long_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "CORPUS", tmp_path)
    monkeypatch.setattr(fuzz, "KEPT", 3)
    fuzz.keep("a target", {b"1", b"22", b"333", b"4444", b"55555"}, {b"55555", b"4444"})

    assert [*fuzz.kept("a target")] == [b"4444", b"55555", b"1"]


def test_the_largest_run_without_a_failure_is_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "reliability.json"
    told.write_bytes(page.DOCUMENT.read_bytes())
    monkeypatch.setattr(page, "DOCUMENT", told)
    fuzz.note("a_target", 2_000_000)
    fuzz.note("a_target", 10)

    assert "| a target | 2,000,000 |" in told.with_suffix(".md").read_text(encoding="utf-8")
