"""Inputs that `make hostile` has found worth keeping, tried again."""

from __future__ import annotations

import pytest

from tests.hostile import fuzz


@pytest.mark.parametrize("target", fuzz.targets())
def test_what_was_kept_still_passes(target: str) -> None:
    try_one, kept = fuzz.targets()[target], [*fuzz.kept(target)]

    assert len(kept) >= 10
    for given in kept:
        try_one(given)
