"""`otel-redis-cache demo`: a shop with three caches, its telemetry, and what it says, live."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from otel_redis_cache import otlp
from otel_redis_cache.cli.addresses import redact
from otel_redis_cache.cli.measurements import Measurements
from otel_redis_cache.cli.picture import (
    describe_caches,
    draw_caches,
    draw_entries,
    draw_operations,
    draw_progress,
    draw_waterfall,
)
from otel_redis_cache.cli.receiver import receive
from otel_redis_cache.cli.relay import Relay, UnreachableError, open_relay
from otel_redis_cache.cli.screen import open_console
from otel_redis_cache.cli.servers import UnavailableError, provide_server
from otel_redis_cache.cli.ticks import stopped_by_signals, tick
from otel_redis_cache.cli.traces import Traces
from otel_redis_cache.cli.troubles import Trouble
from otel_redis_cache.cli.workload import RULES, Workload
from otel_redis_cache.instrumentor import RedisCacheInstrumentor

SERVICE = "otel-redis-cache demo"
EXPORT_SECONDS = 1.0
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
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
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
def demo(seconds: float, endpoint: str | None, redis_url: str | None) -> None:
    """See what this package makes visible, with nothing but this command.

    Starts an embedded Valkey, a web shop with three caches in front of a slow database, and
    a small OTLP receiver, and shows what arrives there: lookups, hit ratio and latency of
    each cache, what a miss costs, times to live, what was removed and why; a summary and one
    trace at the end.
    """
    _isolate()
    try:
        _run(open_console(), seconds, endpoint, redis_url)
    except (UnavailableError, UnreachableError, otlp.ConfigurationError) as error:
        raise Trouble(str(error)) from None


def _run(console: Console, seconds: float, endpoint: str | None, redis_url: str | None) -> None:
    measurements, traces = Measurements(), Traces()
    with ExitStack() as stack:
        stopped = stack.enter_context(stopped_by_signals())
        relay = stack.enter_context(open_relay(endpoint)) if endpoint else None
        server = stack.enter_context(provide_server(redis_url))
        console.print(Text.assemble((SERVICE, "bold"), " · ", server.description))
        if endpoint:
            console.print(f"Sending everything on to {redact(endpoint)}")
        receiver = stack.enter_context(receive(measurements, traces, relay))
        workload = Workload(server.url)
        with _instrumented(receiver), workload.running():
            _watch(console, measurements, seconds, stopped)
        _summarise(console, measurements, traces, workload, relay)


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
def _instrumented(endpoint: str) -> Generator[None]:
    """The two lines that an application needs, and their undoing."""
    telemetry = otlp.configure(
        service_name=SERVICE,
        endpoint=endpoint,
        metric_export_interval=EXPORT_SECONDS,
        span_export_delay=EXPORT_SECONDS,
    )
    RedisCacheInstrumentor().instrument(caches=RULES, duration_by_cache=True)
    try:
        yield
    finally:
        telemetry.flush()
        RedisCacheInstrumentor().uninstrument()
        telemetry.shutdown()


def _watch(
    console: Console, measurements: Measurements, seconds: float, stopped: threading.Event
) -> None:
    """Show the figures until the time is up or somebody has seen enough."""
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            for elapsed in tick(REFRESH_SECONDS, seconds, stopped):
                live.update(_draw(measurements, elapsed, seconds), refresh=True)
    else:
        for elapsed in tick(min(LINE_SECONDS, seconds / 4), seconds, stopped):
            if caches := measurements.caches(time.monotonic()):
                console.print(f"{elapsed:4.0f} s  {describe_caches(caches)}", soft_wrap=True)


def _draw(measurements: Measurements, elapsed: float, seconds: float) -> Group:
    return Group("", *_draw_figures(measurements), draw_progress(elapsed, seconds))


def _draw_figures(measurements: Measurements) -> list[RenderableType]:
    """What the metrics say."""
    caches, operations = measurements.caches(time.monotonic()), measurements.operations()
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
