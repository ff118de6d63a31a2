"""`otel-redis-cache namespaces`: what a server's memory is used for, by named cache."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from otel_redis_cache.caches import Caches, FirstNames
from otel_redis_cache.cli.census import Census, Heard, Limits, NobodyError, NodeError
from otel_redis_cache.cli.census_findings import Findings, as_csv, as_json
from otel_redis_cache.cli.page import render
from otel_redis_cache.cli.screen import open_console
from otel_redis_cache.cli.tables import draw
from otel_redis_cache.cli.ticks import Amount
from otel_redis_cache.cli.troubles import STOPPED, Trouble, explain
from otel_redis_cache.failures import is_failure
from otel_redis_cache.server.sources import Source, sources_of
from otel_redis_cache.settings import PREFIX, SettingError, Settings, from_keywords

NAMING = ("caches", "auto_caches", "max_auto_caches", "key_delimiter")
"""The settings that decide which cache a key belongs to."""

REMARKS = 1
"""Exit code: done, but not as was asked for."""

_TO_A_FILE = click.Path(dir_okay=False, writable=True, allow_dash=True)


@click.command(
    epilog="Example: otel-redis-cache namespaces --redis-url redis://localhost:6379/0 "
    "--html keys.html. Exit codes: 0 done, 1 done but the budget ended before the sample was "
    "complete, 2 it could not be done."
)
@click.option(
    "--redis-url",
    metavar="URL",
    required=True,
    envvar=f"{PREFIX}WATCH",
    show_envvar=True,
    help="A server (better a replica), any node of a cluster, or "
    "redis+sentinel://host:26379/name. Keys are only read.",
)
@click.option(
    "--caches",
    metavar="RULES",
    help="Cache rules, as sessions=sess:*,locks:*=- ; otherwise those in "
    f"{PREFIX}CACHES, or the first part of each key.",
)
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(min=1),
    default=50_000,
    show_default=True,
    help="Keys to ask about; where there are no more, the numbers are exact.",
)
@click.option(
    "--budget",
    metavar="SECONDS",
    type=Amount(),
    default=60.0,
    show_default=True,
    help="Then the numbers are told from what was seen so far.",
)
@click.option("--seed", type=int, help="Where in the keys a sample begins; otherwise anywhere.")
@click.option("--show-keys", is_flag=True, help="Show the biggest keys, not user:{}.")
@click.option("--propose-rules", is_flag=True, help="Propose rules for keys without a name.")
@click.option("--json", "as_document", is_flag=True, help="Write JSON instead of tables.")
@click.option("--csv", "table", metavar="FILE", type=_TO_A_FILE, help="Write CSV; - for here.")
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True),
    help="Write a page with plots.",
)
def namespaces(
    redis_url: str,
    caches: str | None,
    sample: int,
    budget: float,
    seed: int | None,
    table: str | None,
    page: str | None,
    *,
    show_keys: bool,
    propose_rules: bool,
    as_document: bool,
) -> None:
    """What a server's memory is used for, by named cache.

    Entries, bytes, times to live and the biggest entries of each cache, from all keys or from a
    sample of them, with 95 % intervals. It asks for a few keys at a time, and for fewer where
    the server is slow, so that nobody waits for it.
    """
    if as_document and table == "-":
        raise click.UsageError("--json and --csv - both write here: give --csv a file")
    for file in filter(None, (table, page)):
        _hold_place(file)
    settings = _settings(caches)
    source = _source(redis_url)
    try:
        findings = asyncio.run(
            _find(
                source,
                settings,
                Limits(sample, budget, seed),
                shows_keys=show_keys,
                proposes=propose_rules,
            )
        )
    except KeyboardInterrupt:
        click.echo("Stopped before all was seen: a shorter --budget tells what there is.", err=True)
        sys.exit(STOPPED)
    _write(findings, table, page, as_document=as_document)
    sys.exit(REMARKS if findings.remarks else 0)


def _settings(caches: str | None) -> Settings:
    """Those that name caches: what is not understood is an error here, as somebody is looking."""
    variables = {name: os.environ.get(f"{PREFIX}{name.upper()}") for name in NAMING}
    given = {name: value for name, value in variables.items() if value}
    if caches is not None:
        given["caches"] = caches
    try:
        return from_keywords(given, {})
    except SettingError as error:
        raise Trouble(f"{error} (--caches, or {PREFIX}* in the environment)") from None


def _source(url: str) -> Source:
    try:
        return sources_of(url)[0]
    except SettingError:  # which may quote a piece of the password
        raise Trouble(
            "--redis-url is no URL of a server; it looks like redis://user:password@host:6379/0, "
            "rediss://... with TLS, or redis+sentinel://host:26379/name"
        ) from None


async def _find(
    source: Source, settings: Settings, limits: Limits, *, shows_keys: bool, proposes: bool
) -> Findings:
    census = Census(source, settings, Caches(settings, FirstNames(), _ignore), limits)
    try:
        with _progress(limits.seconds) as heard:
            findings = await census.take(heard, shows_keys=shows_keys)
    except NodeError as error:
        if not is_failure(error.cause):
            raise
        raise explain(error.cause, str(error.node)) from None
    except NobodyError as error:
        raise Trouble(str(error)) from None
    if proposes:
        scale = findings.keys / findings.asked if findings.asked else 0.0
        proposals = census.shapes.proposals(scale)
        rules = [*_given(settings), *(f"{one.cache}={one.pattern}" for one in proposals)]
        found = {f"{PREFIX}CACHES": ",".join(rules)} if rules else {}
        if found and settings.names_automatically:
            found[f"{PREFIX}AUTO_CACHES"] = "true"
        findings = dataclasses.replace(findings, proposals=proposals, settings=found)
    return dataclasses.replace(findings, remarks=_remarks(census, findings, limits))


def _given(settings: Settings) -> list[str]:
    """The rules that there are, as they are written."""
    return [
        f"{pattern}=-" if name == "-" else f"{name}={pattern}" for name, pattern in settings.caches
    ]


def _remarks(census: Census, findings: Findings, limits: Limits) -> list[str]:
    if not census.is_short:
        return []
    told = (
        f"The budget of {limits.seconds:g} s ended early: the numbers are a sample of "
        f"{findings.asked:,} of {findings.keys:,} keys. A larger --budget sees more."
    )
    return [told]


@contextmanager
def _progress(budget: float) -> Generator[Heard]:
    """A bar with the time that is left, where somebody sees it."""
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield _unheard
        return
    columns = (
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} keys"),
        TextColumn("{task.fields[left]}"),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=1, left="", visible=False)

        def hear(done: int, wanted: int) -> None:
            elapsed = time.monotonic() - began
            needed = elapsed * (wanted - done) / done if done else budget
            left = f"{max(min(needed, budget - elapsed), 0):.0f} s left"
            total = max(wanted, 1)
            progress.update(task, completed=done, total=total, visible=True, left=left)

        yield hear


def _write(findings: Findings, table: str | None, page: str | None, *, as_document: bool) -> None:
    files: Mapping[str, str] = {
        **({table: as_csv(findings)} if table and table != "-" else {}),
        **({page: render(findings)} if page else {}),
    }
    for file, text in files.items():
        _put(file, text)
    if as_document:
        click.echo(as_json(findings))
    elif table == "-":
        click.echo(as_csv(findings), nl=False)
    else:
        console = open_console()
        for part in draw(findings):
            console.print(part, soft_wrap=isinstance(part, str))
        return
    for remark in findings.remarks:
        click.echo(remark, err=True)


def _put(file: str, text: str) -> None:
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Trouble(f"{file} cannot be written: {error.strerror}") from None


def _hold_place(file: str) -> None:
    """Tell before anything is asked that a file has no place."""
    parent = Path(file).parent
    if file != "-" and not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise Trouble(f"{file} cannot be written: there is no directory {parent} to write to")


def _ignore() -> None:
    """What a bound folds is in the row of ``_other``."""


def _unheard(_done: int, _wanted: int) -> None:
    """Nobody looks."""
