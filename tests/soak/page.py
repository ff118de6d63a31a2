"""Writes `docs/reliability.md` from what `make soak` has found: `python -m tests.soak.page`."""

from __future__ import annotations

from pathlib import Path

from benchmarks import document
from benchmarks.document import Document

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.json"


def write(path: Path) -> None:
    """Write the page beside the document."""
    path.with_suffix(".md").write_text(render(document.read(path)), encoding="utf-8")


def render(found: Document) -> str:
    return ""


if __name__ == "__main__":
    write(DOCUMENT)
