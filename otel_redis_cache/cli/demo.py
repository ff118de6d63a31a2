"""`otel-redis-cache demo`: a shop with three caches, its telemetry, and what it says, live."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, nullcontext

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from otel_redis_cache import otlp
from otel_redis_cache.cli.addresses import redact
from otel_redis_cache.cli.faults import OPTIONS, RETRIES, Scene, Story
from otel_redis_cache.cli.measurements import Measurements
from otel_redis_cache.cli.picture import (
    describe_caches,
    draw_caches,
    draw_entries,
    draw_faults,
    draw_operations,
    draw_progress,
    draw_server,
    draw_waterfall,
)
from otel_redis_cache.cli.receiver import receive
from otel_redis_cache.cli.relay import Relay, UnreachableError, open_relay
from otel_redis_cache.cli.screen import open_console
from otel_redis_cache.cli.servers import UnavailableError, provide_server
from otel_redis_cache.cli.ticks import Amount, stopped_by_signals, tick
from otel_redis_cache.cli.traces import Traces
from otel_redis_cache.cli.troubles import Trouble
from otel_redis_cache.cli.workload import RULES, Workload
from otel_redis_cache.instrumentor import RedisCacheInstrumentor
from otel_redis_cache.server.sources import sources_of
from otel_redis_cache.server.watch import Watch
from otel_redis_cache.settings import from_keywords

SERVICE = "otel-redis-cache demo"
SECONDS, SECONDS_OF_FAULTS = 20.0, 40.0
LEAST_SECONDS_OF_FAULTS = 10.0
"""With less of them faults would run into each other."""

EXPORT_SECONDS = 1.0
WATCH_SECONDS = 0.5
REFRESH_SECONDS = 0.25
LINE_SECONDS = 5.0
"""How often a line is written where there is no terminal."""

PROXY_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")
"""Where gRPC looks for what not to send through a proxy; the first that is set counts."""


@click.command(
    epilog="Example: otel-redis-cache demo --seconds 60 --endpoint http://localhost:4317"
)
@click.option(
    "--seconds",
    type=Amount(),
    show_default=f"{SECONDS:g}; {SECONDS_OF_FAULTS:g} with --faults",
    help="How long the shop is open.",
)
@click.option(
    "--endpoint",
    metavar="URL",
    help="Send everything on to a Collector, by OTLP over gRPC, as http://localhost:4317.",
)
@click.option(
    "--redis-url",
    metavar="URL",
    help="Use this Redis or Valkey instead of an embedded one. The demo's keys start with "
    "otel-redis-cache-demo: and expire within a minute.",
)
@click.option(
    "--faults",
    "with_faults",
    is_flag=True,
    help="Let the embedded server restart, then an invalidation storm, a stampede and evictions "
    "follow, and say at the end which metric shows each.",
)
def demo(
    seconds: float | None, endpoint: str | None, redis_url: str | None, *, with_faults: bool
) -> None:
    """See what this package makes visible, with nothing but this command.

    Starts an embedded Valkey, a web shop with three caches in front of a slow database, and
    a small OTLP receiver, and shows what arrives there: lookups, hit ratio and latency of
    each cache, what a miss costs, times to live, what was removed and why; a summary and one
    trace at the end.
    """
    if with_faults and redis_url is not None:
        raise Trouble("--faults restarts and fills an embedded server: leave out --redis-url")
    seconds = seconds or (SECONDS_OF_FAULTS if with_faults else SECONDS)
    if with_faults and seconds < LEAST_SECONDS_OF_FAULTS:
        raise Trouble(f"--faults takes {LEAST_SECONDS_OF_FAULTS:g} seconds or more")
    _isolate()
    try:
        _run(open_console(), seconds, endpoint, redis_url, with_faults=with_faults)
    except (UnavailableError, UnreachableError, otlp.ConfigurationError) as error:
        raise Trouble(str(error)) from None


def _run(
    console: Console,
    seconds: float,
    endpoint: str | None,
    redis_url: str | None,
    *,
    with_faults: bool,
) -> None:
    measurements, traces = Measurements(), Traces()
    with ExitStack() as stack:
        stopped = stack.enter_context(stopped_by_signals())
        relay = stack.enter_context(open_relay(endpoint)) if endpoint is not None else None
        server = stack.enter_context(provide_server(redis_url, OPTIONS if with_faults else None))
        console.print(Text.assemble((SERVICE, "bold"), " · ", server.description))
        if endpoint is not None:
            console.print(f"Sending everything on to {redact(endpoint)}")
        receiver = stack.enter_context(receive(measurements, traces, relay))
        workload = Workload(server.url, retries=RETRIES if with_faults else None)
        story = None
        if with_faults and server.embedded:
            story = Story(Scene(server.embedded, workload, stopped), measurements, console.print)
        with (
            _instrumented(receiver, server.url if story else None) as telemetry,
            workload.running(),
            story.told(seconds, telemetry.flush) if story else nullcontext(),
        ):
            _watch(console, measurements, seconds, stopped, story)
        _summarise(console, measurements, traces, workload, relay)
        if story and (figures := [*story.figures()]):
            console.print("", draw_faults(figures), sep="\n")


def _isolate() -> None:
    """Show what this package does, not what this shell happens to have set for others.

    A proxy for gRPC would also catch the way to our own receiver.
    """
    for name in list(os.environ):
        if name.startswith("OTEL_") and not name.startswith("OTEL_REDIS_CACHE_"):
            del os.environ[name]
    given = [os.environ.get(name) for name in PROXY_EXCEPTIONS]
    bypassed = next(filter(None, given), "")
    os.environ[PROXY_EXCEPTIONS[0]] = f"{bypassed},127.0.0.1".lstrip(",")


@contextmanager
def _instrumented(endpoint: str, watched: str | None) -> Generator[otlp.Telemetry]:
    """The two lines that an application needs, and their undoing; one more watches a server."""
    telemetry = otlp.configure(
        service_name=SERVICE,
        endpoint=endpoint,
        metric_export_interval=EXPORT_SECONDS,
        span_export_delay=EXPORT_SECONDS,
    )
    RedisCacheInstrumentor().instrument(caches=RULES, duration_by_cache=True)
    with ExitStack() as stack:
        stack.callback(telemetry.shutdown)
        stack.callback(RedisCacheInstrumentor().uninstrument)
        if watched:
            stack.enter_context(_watched(watched))
        stack.callback(telemetry.flush)
        if watched:  # the server is asked once more, now that all is quiet
            stack.callback(time.sleep, 2 * WATCH_SECONDS)
        yield telemetry


@contextmanager
def _watched(url: str) -> Generator[None]:
    """What `watch_server(url, listen_events=True)` does, but more often: somebody looks on."""
    # That a server which restarts does not answer is on the screen already.
    logging.getLogger("otel_redis_cache").addHandler(logging.NullHandler())
    chosen = from_keywords({"caches": RULES, "listen_events": True}, os.environ)
    with Watch(lambda: sources_of(url), chosen, period=WATCH_SECONDS) as watch:
        watch.start()
        yield


def _watch(
    console: Console,
    measurements: Measurements,
    seconds: float,
    stopped: threading.Event,
    story: Story | None,
) -> None:
    """Show the figures until the time is up, or the story told, or somebody has seen enough."""
    end = math.inf if story else seconds
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            for elapsed in tick(REFRESH_SECONDS, end, stopped):
                live.update(_draw(measurements, elapsed, seconds, story), refresh=True)
    else:
        for elapsed in tick(min(LINE_SECONDS, seconds / 4), end, stopped):
            if caches := measurements.caches(time.monotonic()):
                console.print(f"{elapsed:4.0f} s  {describe_caches(caches)}", soft_wrap=True)


def _draw(measurements: Measurements, elapsed: float, seconds: float, story: Story | None) -> Group:
    figures = _draw_figures(measurements)
    if story:  # there is no room for both the commands and the server
        figures[-2] = draw_server(measurements.server())
    return Group("", *figures, draw_progress(elapsed, seconds))


def _draw_figures(measurements: Measurements) -> list[RenderableType]:
    """What the metrics say."""
    now = time.monotonic()
    caches, operations = measurements.caches(now), measurements.operations()
    return [draw_caches(caches), "", draw_entries(caches), "", draw_operations(operations), ""]


def _summarise(
    console: Console,
    measurements: Measurements,
    traces: Traces,
    workload: Workload,
    relay: Relay | None,
) -> None:
    failures = (f"{count:,} with {error}" for error, count in workload.failures.items())
    requests = f"{workload.requests:,} requests to the shop, failed: {', '.join(failures) or 0}"
    console.print("", requests, "", sep="\n")
    console.print(*_draw_figures(measurements), sep="\n")
    if trace := traces.choose():
        console.print(f"One request among {traces.received:,} spans", "", sep="\n")
        console.print(draw_waterfall(trace))
    if relay:
        console.print("", _account(relay), sep="\n")


def _account(relay: Relay) -> str:
    exports = relay.sent + relay.refused
    if relay.refused:
        return f"{relay.refused} of {exports} exports did not arrive: {relay.reason}"
    return f"The Collector took all {exports} exports"
