"""Many more inputs than a test has time for, led by what they reach in our code: `make hostile`.

Each test of this folder is a target of `Atheris <https://github.com/google/atheris>`_, in a process of
its own. What reached something new is kept in `corpus/`, and tried again by `test_corpus.py`.
"""

from __future__ import annotations

import base64
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from benchmarks import document
from tests.soak import page

CORPUS = Path(__file__).parent / "corpus"
MODULES = tuple(f"tests.hostile.test_{name}" for name in ("calls", "messages", "texts"))
MAX_BYTES = 4_096
KEPT = 400
"""Inputs of a target that are kept: the shortest ones, and all that failed."""
FAILED = ("crash-", "timeout-", "oom-")
"""How libFuzzer names the file of an input that failed."""


def targets() -> dict[str, Callable[[bytes], object]]:
    """What takes the bytes that hypothesis makes an input of, by the name of its test."""
    found: dict[str, Callable[[bytes], object]] = {}
    for module in map(import_module, MODULES):
        for name, test in vars(module).items():
            if name.startswith("test_") and hasattr(test, "hypothesis"):
                found[name.removeprefix("test_")] = test.hypothesis.fuzz_one_input
    return found


def kept(target: str) -> Iterator[bytes]:
    """The inputs that are kept of a target."""
    path = CORPUS / f"{target}.txt"
    for line in path.read_text(encoding="ascii").splitlines() if path.exists() else ():
        yield base64.b64decode(line)


def keep(target: str, inputs: set[bytes], failed: set[bytes]) -> None:
    """Keep these, and no others; of those that did not fail the shortest."""
    well = sorted(inputs - failed, key=lambda given: (len(given), given))
    chosen = [*sorted(failed), *well][: max(KEPT, len(failed))]
    lines = (base64.b64encode(given).decode() + "\n" for given in chosen)
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{target}.txt").write_text("".join(lines), encoding="ascii")


def note(target: str, runs: int) -> None:
    """Write down that none of so many failed, for `docs/reliability.md`; the most that were tried stay."""
    told = document.read(page.DOCUMENT).get("hostile", {})
    if runs >= told.get(target, {"inputs": 0})["inputs"]:
        told[target] = {"inputs": runs, "made": date.today().isoformat()}  # noqa: DTZ011 - of whoever runs it
        document.write(page.DOCUMENT, {"hostile": told})
        page.write(page.DOCUMENT)


@click.command()
@click.option("--runs", type=click.IntRange(1), default=1_000_000, show_default=True)
@click.option("--only", multiple=True, help="Of these tests, by a part of their name.")
@click.option("--inside", hidden=True, help="The target to run in this process.")
@click.option("--folder", hidden=True, type=click.Path(path_type=Path))
def main(runs: int, only: tuple[str, ...], inside: str | None, folder: Path | None) -> None:
    """Try so many inputs of each target; exit 1 where one of them failed."""
    if inside is not None and folder is not None:
        _run(inside, runs, folder)
        return
    wanted = [name for name in targets() if not only or any(part in name for part in only)]
    failed = [name for name in wanted if not _runs_well(name, runs)]
    click.echo(
        f"{len(wanted)} targets, {runs:,} inputs each; failed: {', '.join(failed) or 'none'}"
    )
    sys.exit(1 if failed else 0)


def _runs_well(target: str, runs: int) -> bool:
    """Run a target in a process of its own, and keep what it reached something new with."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, given in enumerate(kept(target)):
            (folder / str(number)).write_bytes(given)
        click.echo(f"{target}: {number_of(folder)} inputs kept, {runs:,} to try")
        command = (sys.executable, "-m", "tests.hostile.fuzz", "--inside", target)
        ran = subprocess.run(
            [*command, "--runs", str(runs), "--folder", name], check=False, cwd=CORPUS.parents[2]
        )
        found = {path.read_bytes(): path.name.startswith(FAILED) for path in folder.iterdir()}
        keep(target, {*found}, {given for given, has_failed in found.items() if has_failed})
        if ran.returncode == 0:
            note(target, runs)
        return ran.returncode == 0


def number_of(folder: Path) -> int:
    """How many inputs are in it."""
    return sum(1 for _ in folder.iterdir())


def _run(target: str, runs: int, folder: Path) -> None:
    import atheris

    logging.disable()
    fuzzing: Any = atheris
    with fuzzing.instrument_imports(include=["otel_redis_cache"]):
        try_one = targets()[target]
    options = [
        f"-runs={runs}",
        f"-max_len={MAX_BYTES}",
        "-len_control=0",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    fuzzing.Setup(
        [sys.argv[0], *options, "-timeout=20", f"-artifact_prefix={folder}/", str(folder)], try_one
    )
    fuzzing.Fuzz()


if __name__ == "__main__":
    main()
