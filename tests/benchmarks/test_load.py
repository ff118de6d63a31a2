"""`make load` for a moment: at a low rate nothing is lost, and what is not carried is noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scale
from benchmarks.load import SUBJECTS, loaded
from tests.real.requirement import missing

DOCUMENT = Path(scale.__file__).parents[1] / "docs" / "scale.json"
DECISION_WAIT = 1


@pytest.fixture(scope="module", autouse=True)
def _prometheus(collector_binary: Path) -> None:
    if not shutil.which("prometheus"):
        missing("prometheus", "there is no prometheus on PATH")


@pytest.mark.parametrize("subject", SUBJECTS)
def test_at_a_low_rate_nothing_is_refused_or_lost(subject: str) -> None:
    with loaded(subject, 1.5, DECISION_WAIT) as loads:
        steps = {name: load.step(2_000) for name, load in loads.items()}

    for step in steps.values():
        assert (step.refused, step.missing) == (0, 0)
        assert step.cpu["collectors"] > 0


def test_a_collector_without_memory_does_not_carry_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORY_LIMIT_MIB", "20")
    monkeypatch.setenv("MEMORY_SPIKE_MIB", "10")
    with loaded("collector", 2, DECISION_WAIT) as loads:
        step = loads["spans"].step(20_000)

    assert step.refused
    assert not step.is_carried


def test_the_page_is_made_from_the_document() -> None:
    found: dict[str, Any] = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    page = DOCUMENT.with_suffix(".md").read_text(encoding="utf-8")

    assert page == scale.render(found, "scale")
    best = max(step["rate"] for step in found["subjects"]["gateways"]["spans"] if step["carried"])
    assert f"| spans | {best:,.0f} |" in page
