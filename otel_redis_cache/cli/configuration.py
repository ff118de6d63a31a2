"""`otel-redis-cache config`: the settings that are in effect here, and where each has come from."""

from __future__ import annotations

import json
import logging
import os
import sys

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_redis_cache.cli.origins import Origin, origins_of, unknown_of
from otel_redis_cache.cli.screen import open_console


@click.command(epilog="Example: OTEL_REDIS_CACHE_QUERY_TEXT=off otel-redis-cache config")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for scripts.")
def config(*, as_json: bool) -> None:
    """Show every setting as it is in effect in this environment, and where it has come from.

    What an application gives to instrument(), or reads from a file, goes before and is not
    known here. No secret is shown.

    Ends with 0, or with 1 where a variable is not understood.
    """
    # What is not understood is told in a line of its own; the log would say it twice.
    logging.disable(logging.CRITICAL)
    origins, unknown = origins_of(os.environ), unknown_of(os.environ)
    wrong = [f"{origin.variable}: {origin.error}" for origin in origins if origin.error]
    wrong += [
        f"{name} is no setting" + (f"; did you mean {meant}?" if meant else "")
        for name, meant in unknown.items()
    ]
    if as_json:
        settings = {it.name: {"value": it.shown, "source": it.source} for it in origins}
        click.echo(json.dumps({"settings": settings, "wrong": wrong}, indent=2))
    else:
        _show(open_console(), origins, wrong)
    sys.exit(1 if wrong else 0)


def _show(console: Console, origins: list[Origin], wrong: list[str]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for origin in origins:
        style = "" if origin.source == "default" else "bold"
        grid.add_row(*(Text(text, style) for text in (origin.name, origin.shown, origin.source)))
    console.print(grid)
    for line in wrong:
        console.print(Text.assemble(("wrong: ", "yellow"), line), soft_wrap=True)
