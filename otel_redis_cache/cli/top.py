"""`otel-redis-cache top`: what caches, servers, connections and calls do, as it arrives by OTLP."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path

import click
from rich.text import Text

from otel_redis_cache.cli.overview import Overview, View
from otel_redis_cache.cli.protocol import GRPC_PORT, HTTP_PORT
from otel_redis_cache.cli.receiver import LOOPBACK, OccupiedError
from otel_redis_cache.cli.recordings import RecordingError
from otel_redis_cache.cli.screen import open_console
from otel_redis_cache.cli.ticks import Amount, stopped_by_signals, tick
from otel_redis_cache.cli.top_tables import ALL, describe, draw_figures
from otel_redis_cache.cli.traces import Span
from otel_redis_cache.cli.troubles import Trouble

INTERVAL = 1.0
SERVE_PORT = 4319

WELCOME = """\
Nothing has arrived yet. Where an instrumented application runs:

  export OTEL_EXPORTER_OTLP_ENDPOINT={grpc}
  export OTEL_EXPORTER_OTLP_PROTOCOL=grpc
  export OTEL_METRIC_EXPORT_INTERVAL=5000
  opentelemetry-instrument python app.py

Over HTTP instead:

  export OTEL_EXPORTER_OTLP_ENDPOINT={http}
  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf

A Collector sends a copy with one more exporter:

  otlp/top: {{endpoint: "{place}", tls: {{insecure: true}}}}
"""


@dataclass(frozen=True)
class Place:
    """Where the data comes from, and what to say of it. A `Source` for the screen."""

    overview: Overview
    check: Callable[[], None]
    """Raise what has ended it, if something has."""
    is_over: Callable[[], bool]
    about: str
    welcome: str

    def view(self) -> View:
        """What there is to see now."""
        self.check()
        return self.overview.view()

    def trace(self, trace_id: str) -> Sequence[Span]:
        """The spans of one trace."""
        return self.overview.trace(trace_id)


@click.command(
    epilog="Example: otel-redis-cache top, and in another terminal "
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 opentelemetry-instrument python app.py"
)
@click.option(
    "--host",
    default=LOOPBACK,
    show_default=True,
    help="Listen at this address. Beyond this machine anybody may send, and nothing is encrypted.",
)
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    default=GRPC_PORT,
    show_default=True,
    help="Take OTLP over gRPC at this port; 0 takes a free one.",
)
@click.option(
    "--http-port",
    type=click.IntRange(0, 65535),
    default=HTTP_PORT,
    show_default=True,
    help="Take OTLP over HTTP at this port; 0 takes a free one.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep all that arrives in a new file.",
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Show what was recorded; nothing listens.",
)
@click.option(
    "--speed",
    type=Amount(1_000_000),
    default=1.0,
    show_default=True,
    help="Replay so many times as fast.",
)
@click.option(
    "--seconds",
    type=Amount(),
    help="Without a screen: write one report after so long, and end.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Without a screen: write JSON, a line each second; with --seconds one document.",
)
@click.option("--serve", is_flag=True, help="Show the screen in a browser.")
@click.option(
    "--serve-port",
    type=click.IntRange(1, 65535),
    default=SERVE_PORT,
    show_default=True,
    help="Where the browser finds it, at the address that --host says.",
)
def top(
    host: str,
    grpc_port: int,
    http_port: int,
    record: Path | None,
    replay: Path | None,
    speed: float,
    seconds: float | None,
    *,
    as_json: bool,
    serve: bool,
    serve_port: int,
) -> None:
    """Watch caches, servers, connections and calls, live.

    Any instrumented process can send here by OTLP, and any Collector by one more exporter. The
    screen has what lookups come and hit, how long calls take, why entries are removed, how full
    servers and connection pools are, and the slowest and failed calls with their traces.

    Keys: 1 to 6 or Tab for the tables, arrows and Enter for a call's trace, s and r to sort, / to
    filter, p to pause, ? for all of them, q to end.

    Ends with 0 where it was ended or the time is up, 2 where it cannot be done, and why.
    """
    if record and replay:
        raise click.UsageError("--record and --replay exclude each other")
    if serve and (as_json or seconds):
        raise click.UsageError("--serve is a screen: --seconds and --json are without one")
    has_screen = not (serve or as_json or seconds)
    if has_screen and not all(it and it.isatty() for it in (sys.stdin, sys.stdout)):
        raise Trouble(
            "the screen needs a terminal: use --seconds 10 for one report, --json for scripts, "
            "or --serve for a browser"
        )
    source = _replay(replay, speed) if replay else _listen(host, grpc_port, http_port, record)
    try:
        with source as place:
            if serve:
                _serve(place, host, serve_port)
            elif has_screen:
                _show(place)
            else:
                _write(place, seconds, as_json=as_json)
    except (OccupiedError, RecordingError) as error:
        raise Trouble(str(error)) from None
    except ModuleNotFoundError as missing:
        raise Trouble(f"top needs {missing.name}: pip install 'otel-redis-cache[cli]'") from None


@contextmanager
def _listen(host: str, grpc_port: int, http_port: int, record: Path | None) -> Generator[Place]:
    from otel_redis_cache.cli.intake import listen

    with listen(host, grpc_port, http_port, record=record) as listening:
        grpc, http = listening.grpc_endpoint, listening.http_endpoint
        yield Place(
            listening.overview,
            listening.check,
            is_over=lambda: False,
            about=f"gRPC {_place(grpc)} · HTTP {_place(http)}",
            welcome=WELCOME.format(grpc=grpc, http=http, place=_place(grpc)),
        )


@contextmanager
def _replay(path: Path, speed: float) -> Generator[Place]:
    from otel_redis_cache.cli.intake import replay

    with replay(path, speed) as replaying:
        yield Place(
            replaying.overview,
            replaying.check,
            replaying.is_over,
            about=f"replays {path.name}",
            welcome="Nothing has been played yet.",
        )


def _place(endpoint: str) -> str:
    return endpoint.removeprefix("http://")


def _show(place: Place) -> None:
    from otel_redis_cache.cli.top_screen import TopScreen

    screen = TopScreen(place, about=place.about, welcome=place.welcome)
    screen.run()
    if screen.fault:
        raise screen.fault
    if screen.return_code:  # it has said itself what has broken it
        sys.exit(screen.return_code)


def _serve(place: Place, host: str, port: int) -> None:
    from otel_redis_cache.cli.top_browser import serve

    serve(place, host, port, about=place.about, welcome=place.welcome)


def _write(place: Place, seconds: float | None, *, as_json: bool) -> None:
    """What there is, each second or once, without a screen."""
    with stopped_by_signals() as stopped:
        for _ in tick(INTERVAL, seconds or inf, stopped):
            view = place.view()
            if place.is_over():
                break
            if not seconds:
                click.echo(json.dumps(asdict(view)))
    view = place.view()
    if as_json:
        click.echo(json.dumps(asdict(view), indent=2 if seconds else None))
    else:
        _report(view)


def _report(view: View) -> None:
    console = open_console()
    console.print(describe(view.intake))
    for figures in ALL:
        if figures.rows(view):
            console.print("", Text(figures.title, "bold"), draw_figures(figures, view), sep="\n")
