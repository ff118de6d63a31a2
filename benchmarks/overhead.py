"""What watching Redis costs a call, beside others who watch it: `make bench`."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as RichTable

from benchmarks import document, page, proofs, tables
from benchmarks.cases import CASES, KEYS, VALUE
from benchmarks.sink import open_sink
from benchmarks.tables import DISCARDING, EXPORTERS, OTLP, Table
from benchmarks.variants import BARE, VARIANTS
from benchmarks.worker import BrokenError, Lap, Process, Proof
from tests.real.servers import Kind, RedisServer, binary_of

QUICK_ROUNDS, QUICK_OPERATIONS = 2, 40
TURNS = 8
"""In which each process makes a round: what disturbs one of them disturbs its neighbours too."""
PLAIN_WIDTH = 200
_Laps = dict[str, dict[str, list[Lap]]]
"""Rounds by case and variant."""


class Names(click.ParamType):
    """Some of these names, comma-separated."""

    name = "names"

    def __init__(self, allowed: Sequence[str]) -> None:
        """Take what may be named."""
        self._allowed = allowed

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        named = {name.strip() for name in value.split(",")}
        if unknown := ", ".join(sorted(named.difference(self._allowed))):
            self.fail(f"{unknown}: allowed are {', '.join(self._allowed)}", param, ctx)
        return [name for name in self._allowed if name in named]


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True)
@click.option(
    "--operations",
    type=click.IntRange(8),
    default=8000,
    show_default=True,
    help="Calls in a round, in several turns; of long ones fewer.",
)
@click.option("--cases", type=Names(list(CASES)), help=f"Of {', '.join(CASES)}.")
@click.option("--variants", type=Names(list(VARIANTS)), help=f"Of {', '.join(VARIANTS)}.")
@click.option("--exporters", type=Names(list(EXPORTERS)), help=f"Of {', '.join(EXPORTERS)}.")
@click.option("--server", type=click.Choice(["redis", "valkey"]), help="By default what there is.")
@click.option("--quick", is_flag=True, help="Whether everything works: the figures mean nothing.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The JSON; page and picture are written beside it. Default: docs/performance.json, "
    "nothing with --quick.",
)
@click.option("--machine", help="What to call this machine on the page.")
@click.option("--date", help="The day that the page names; by default today.")
def main(
    rounds: int,
    operations: int,
    cases: list[str] | None,
    variants: list[str] | None,
    exporters: list[str] | None,
    server: Kind | None,
    quick: bool,  # noqa: FBT001 - click calls by name
    output: Path | None,
    machine: str | None,
    date: str | None,
) -> None:
    """Measure what is added to a call by who watches it; processes take turns, round by round."""
    if quick:
        rounds, operations = QUICK_ROUNDS, QUICK_OPERATIONS
    chosen = {BARE, *(variants or VARIANTS)}
    plan = Plan(
        rounds,
        {case: _share(case, operations) for case in cases or CASES},
        [name for name in VARIANTS if name in chosen],
    )
    isolate()
    running = start_server(server)
    with running:
        running.call("MSET", *(word for key in KEYS for word in (key, VALUE)))
        try:
            found = plan.run(running.url, exporters or list(EXPORTERS))
        except BrokenError as error:
            raise click.ClickException(str(error)) from None
    said = f"{running.kind} {running.version}"
    found |= document.circumstances(said, machine, date)
    output = output or (None if quick else page.DOCUMENT)
    if output:
        document.write(output, found)
        page.write(output)
    show(found)


def _share(case: str, operations: int) -> int:
    """The operations of one turn: so many that threads have the same share of them."""
    threads = CASES[case].threads
    return max(1, int(operations * CASES[case].share) // TURNS // threads) * threads


class Plan:
    """Which rounds are made."""

    def __init__(self, rounds: int, operations: dict[str, int], variants: list[str]) -> None:
        """Take how many rounds, the operations of each case in a turn, and who watches."""
        self.rounds, self.operations, self.variants = rounds, operations, variants
        self._random = random.Random(0)

    def run(self, url: str, exporters: Sequence[str]) -> document.Document:
        """Make them all, and hold each process to what it has to make."""
        found: document.Document = {
            "rounds": self.rounds,
            "operations": {case: share * TURNS for case, share in self.operations.items()},
            "exporters": {},
            "bars": [],
        }
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for name in exporters:
                laps, made = self._run(name, url, progress)
                found["exporters"][name] = document.of_exporters(laps, made)
                if name == DISCARDING:
                    found["bars"] = document.of_bars(laps)
        return found

    def _run(self, exporters: str, url: str, progress: Progress) -> tuple[_Laps, dict[str, Proof]]:
        variants = [name for name in self.variants if exporters != OTLP or _exports_spans(name)]
        laps: _Laps = {case: {name: [] for name in variants} for case in self.operations}
        steps = self.rounds * len(self.operations) * TURNS
        task = progress.add_task(EXPORTERS[exporters], total=steps)
        with ExitStack() as stack:
            endpoint = stack.enter_context(open_sink()) if exporters == OTLP else None
            processes = {
                name: stack.enter_context(Process(name, url, endpoint)) for name in variants
            }
            for case in list(self.operations) * self.rounds:
                turns: list[dict[str, Lap]] = []
                for _ in range(TURNS):
                    turns.append(self._turn(case, processes))
                    progress.advance(task)
                for name in variants:
                    laps[case][name].append(_median([turn[name] for turn in turns]))
            made = {name: process.prove() for name, process in processes.items()}
        for name, proof in made.items():
            proofs.hold(name, proof)
        return laps, made

    def _turn(self, case: str, processes: dict[str, Process]) -> dict[str, Lap]:
        """One after the other."""
        order = self._random.sample(list(processes), len(processes))
        return {name: processes[name].run(case, self.operations[case]) for name in order}


def _median(turns: Sequence[Lap]) -> Lap:
    return Lap(*map(median, zip(*turns, strict=True)))


def _exports_spans(name: str) -> bool:
    """Without spans a round exports nothing, and is the same with every exporter."""
    variant = VARIANTS[name]
    return name == BARE or bool(variant.spans and variant.providers == "sampled")


def isolate() -> None:
    """Measure what each of them does, not what this shell happens to have set for them."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            del os.environ[name]
    # A polite kill ends server and processes too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A proxy would be between us and the sink; dictionaries are the same in all processes.
    os.environ |= {"no_grpc_proxy": "127.0.0.1", "PYTHONHASHSEED": "0"}


def start_server(kind: Kind | None) -> RedisServer:
    """The server asked for, else Redis, else Valkey; it runs from `with` to the end of it."""
    kinds: tuple[Kind, ...] = (kind,) if kind else ("redis", "valkey")
    for one in kinds:
        if binary := binary_of(one):
            return RedisServer(one, binary)
    raise click.ClickException(f"there is no server to ask: none of {', '.join(kinds)}")


def show(found: document.Document) -> None:
    """Print all tables; where there is no terminal, as wide as they are."""
    console = Console()
    console = console if console.is_terminal else Console(width=PLAIN_WIDTH)
    for table in tables.draw(found):
        console.print(_rich(table))


def _rich(table: Table) -> RichTable:
    drawn = RichTable(title=table.title, caption=table.note, box=SIMPLE_HEAD, title_justify="left")
    for index, column in enumerate(table.columns):
        drawn.add_column(column, justify="right" if index else "left")
    for row in table.rows:
        drawn.add_row(*row)
    return drawn


if __name__ == "__main__":
    main()
