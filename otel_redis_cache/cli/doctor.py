"""`otel-redis-cache doctor`: what usually goes wrong, and how to mend it."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_redis_cache.cli.checks_of_exports import check_exports
from otel_redis_cache.cli.checks_of_packages import check_packages
from otel_redis_cache.cli.checks_of_redis import check_redis
from otel_redis_cache.cli.checks_of_settings import check_settings
from otel_redis_cache.cli.exports import GRPC, HTTP
from otel_redis_cache.cli.findings import EXIT_CODES, Finding, State
from otel_redis_cache.cli.origins import settings_of
from otel_redis_cache.cli.screen import open_console

COLOURS: dict[State, str] = {"ok": "green", "skipped": "dim", "warning": "yellow", "broken": "red"}
STATE_WIDTH = max(map(len, COLOURS))
NAME_WIDTH = 20
PROTOCOLS = {"grpc": GRPC, "http": HTTP}


@click.command(
    epilog="Example: otel-redis-cache doctor --redis-url redis://localhost:6379/0 "
    "--endpoint http://localhost:4317"
)
@click.option(
    "--redis-url",
    metavar="URL",
    help="Look at this Redis or Valkey; else at OTEL_REDIS_CACHE_WATCH. Nothing is written to it.",
)
@click.option(
    "--endpoint",
    metavar="URL",
    help="Send a test span and a test metric there; else where OTEL_EXPORTER_OTLP_* say.",
)
@click.option(
    "--protocol",
    type=click.Choice(list(PROTOCOLS)),
    help="How to speak OTLP; else as OTEL_EXPORTER_OTLP_PROTOCOL says, else grpc.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for scripts.")
def doctor(
    redis_url: str | None, endpoint: str | None, protocol: str | None, *, as_json: bool
) -> None:
    """Check what usually goes wrong, and say how to mend it.

    Looks at versions, other instrumentations, settings, the way to the Collector, and the
    server. Run it where the application runs, with the same environment. No password is shown.

    Ends with 0 where all is well, 1 with warnings, 2 where something is broken.
    """
    # What others log would stand between the lines; all that matters here is in them.
    logging.disable(logging.CRITICAL)
    findings = _check(redis_url, endpoint, PROTOCOLS.get(protocol or ""))
    seen = list(findings) if as_json else _show(open_console(), findings)
    worst = max(seen, key=lambda finding: EXIT_CODES[finding.state]).state
    if as_json:
        document = {"state": worst, "checks": [asdict(finding) for finding in seen]}
        click.echo(json.dumps(document, indent=2))
    sys.exit(EXIT_CODES[worst])


def _check(redis_url: str | None, endpoint: str | None, protocol: str | None) -> Iterator[Finding]:
    settings = settings_of(os.environ)
    yield from _guarded("packages", check_packages(settings, os.environ))
    yield from _guarded("settings", check_settings(os.environ))
    yield from _guarded("exports", check_exports(endpoint, protocol, os.environ))
    yield from _guarded("Redis", check_redis(redis_url, settings))


def _guarded(name: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """What is there may answer what nobody has thought of: the other checks go on."""
    try:
        yield from findings
    except Exception as fault:  # noqa: BLE001 - see above
        kind = type(fault).__name__
        text = f"no more checks of this kind: the answers make no sense ({kind})"
        yield Finding(name, "broken", text, "see whether it is what it should be")


def _show(console: Console, findings: Iterator[Finding]) -> list[Finding]:
    """One after the other, as they are found."""
    seen: list[Finding] = []
    for finding in findings:
        console.print(_draw(finding))
        seen.append(finding)
    counts = Counter(finding.state for finding in seen)
    told: tuple[State, ...] = ("broken", "warning", "skipped", "ok")
    console.print("", ", ".join(f"{it}: {counts[it]}" for it in told if counts[it]), sep="\n")
    return seen


def _draw(finding: Finding) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=STATE_WIDTH)
    grid.add_column(width=NAME_WIDTH, overflow="fold")
    grid.add_column()
    state = Text(finding.state, COLOURS[finding.state])
    grid.add_row(state, Text(finding.name), Text(finding.found))
    if finding.next:
        grid.add_row("", "", Text.assemble(("next: ", "bold"), finding.next))
    return grid
