"""`otel-redis-cache config`: the settings that are in effect here, and files for what is around.

Each setting is shown with where it has come from; files are those that run a Collector,
Prometheus and Grafana.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_redis_cache.cli.origins import Origin, origins_of, unknown_of
from otel_redis_cache.cli.screen import open_console
from otel_redis_cache.cli.templates import EXAMPLE, KINDS, EndpointError, endpoint_of, render
from otel_redis_cache.cli.troubles import Trouble

FILES = {
    "collector": (
        "Write the configuration of a Collector that takes OTLP at this endpoint.\n\n"
        "It listens there, for Prometheus too (8889). redis-receiver.yaml and two-backends.yaml are "
        "laid over it by a second --config."
    ),
    "prometheus": (
        "Write the configuration of a Prometheus that scrapes the Collector of this endpoint.\n\n"
        "With recording rules, thresholds and alerts."
    ),
    "grafana": (
        "Write dashboards and data sources for Grafana.\n\n"
        "Prometheus (9090), Tempo (3200) and Jaeger (16686) are looked for on the endpoint's host."
    ),
    "all": "Write what collector, prometheus and grafana write.",
}
NEXT = {
    "collector": "run there: otelcol --config={directory}/collector.yaml",
    "prometheus": "run: prometheus --config.file={directory}/prometheus/prometheus.yaml "
    "--enable-feature=exemplar-storage",
    "grafana": "put {directory}/grafana/provisioning and {directory}/grafana/dashboards in /etc/grafana",
}


@click.group(
    invoke_without_command=True,
    epilog="Example: OTEL_REDIS_CACHE_QUERY_TEXT=off otel-redis-cache config",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for scripts.")
@click.pass_context
def config(context: click.Context, *, as_json: bool) -> None:
    """Show every setting as it is in effect in this environment, and where it has come from.

    What an application gives to instrument(), or reads from a file, goes before and is not
    known here. No secret is shown.

    Ends with 0, or with 1 where a variable is not understood.

    With one of the commands below: write the files of a Collector, of Prometheus or of Grafana
    for an endpoint.
    """
    if context.invoked_subcommand is None:
        _show_settings(as_json=as_json)
    elif as_json:
        raise click.UsageError("--json is for the settings")


def _writer_of(kind: str) -> click.Command:
    @click.command(
        kind,
        help=FILES[kind],
        epilog=f"Example: otel-redis-cache config {kind} --endpoint {EXAMPLE} --output files",
    )
    @click.option(
        "--endpoint",
        metavar="HOST:PORT",
        default="127.0.0.1:4317",
        show_default=True,
        help="Where applications send OTLP over gRPC.",
    )
    @click.option(
        "--output",
        metavar="DIR",
        type=click.Path(path_type=Path),
        default=Path(),
        help="Where the files go; the current directory unless told otherwise.",
    )
    @click.option("--force", is_flag=True, help="Replace files that differ.")
    def write(endpoint: str, output: Path, *, force: bool) -> None:
        try:
            where = endpoint_of(endpoint)
        except EndpointError as error:
            raise Trouble(f"--endpoint {error}") from None
        kinds = [*KINDS] if kind == "all" else [kind]
        files = {output / path: text for each in kinds for path, text in render(each, where)}
        for path, is_new in _written(files, output, force=force):
            name = click.format_filename(path)
            click.echo(f"{'written' if is_new else 'as it was':<9}  {name}")
        directory = shlex.quote(click.format_filename(output))
        for each in kinds:
            click.echo(NEXT[each].format(directory=directory))

    return write


for _kind in FILES:
    config.add_command(_writer_of(_kind))


def _written(
    files: Mapping[Path, bytes], output: Path, *, force: bool
) -> Iterator[tuple[Path, bool]]:
    """Each file, and whether it was written: all of them, or none where one may not be replaced."""
    try:
        there = {path: path.read_bytes() for path in files if path.exists()}
        differing = [str(path) for path, found in there.items() if found != files[path]]
        if differing and not force:
            raise Trouble(
                f"nothing is written, as these differ: {', '.join(differing)}; "
                "--force replaces them, another --output leaves them alone"
            )
        for path, content in files.items():
            is_new = there.get(path) != content
            if is_new:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            yield path, is_new
    except OSError as error:
        place = error.filename or output  # a disk that is full names no file
        raise Trouble(f"{place} cannot be read or written: {error.strerror}") from None


def _show_settings(*, as_json: bool) -> None:
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
