"""What `CONTRIBUTING.md` points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`]+)`", PAGE)


def test_every_file_that_is_named_exists() -> None:
    files = [name for name in QUOTED if "/" in name or name.endswith((".py", ".md", ".yaml"))]
    missing = [
        name for name in files if "/" in name and not (ROOT / name).exists() and " " not in name
    ]

    assert len(files) > 20
    assert missing == []


def test_every_target_that_is_named_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = {name.split()[1] for name in QUOTED if name.startswith("make ")}

    assert len(named) > 3
    assert named <= set(targets)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        (name, re.findall(rf"`{name}`[^`]*\(`([^`]+)`\)", PAGE))
        for name in sorted({name for name in QUOTED if re.fullmatch(r"[A-Z_]{5,}", name)})
        if not name.startswith("OTEL_")
    ],
)
def test_every_constant_is_where_the_page_says(name: str, where: list[str]) -> None:
    (file,) = where
    assert f"\n{name} = " in (ROOT / file).read_text(encoding="utf-8")


def test_every_test_that_is_named_exists() -> None:
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = {name for name in QUOTED if re.fullmatch(r"test_\w+", name)}

    assert len(named) > 2
    assert [name for name in named if f"def {name}(" not in tests] == []
