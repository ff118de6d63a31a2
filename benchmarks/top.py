"""What `otel-redis-cache top` can read on one processor: `make top-load`.

The receiver is a process that is kept to one processor, and draws a view four times a second, as the
screen does. This process keeps to another one, and sends what `benchmarks.payloads` makes, at a
steady rate.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import click
import grpc
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from benchmarks.load import payloads
from benchmarks.payloads import Points, Spans
from otel_redis_cache.cli.inbox import CAPACITY
from otel_redis_cache.cli.intake import listen

VIEWS_PER_SECOND = 4
PROCESSES = 25
"""Whose points are sent once a second."""
Send = Callable[[Spans | Points, int], bytes]


@dataclass(frozen=True)
class Result:
    """What the receiver says at the end."""

    sent: int
    """Spans, in `seconds`."""
    seconds: float
    rejected: int
    """Spans, as the answers said."""
    dropped: int
    """Spans, as the view said."""
    deepest: int
    """Bytes that waited at most."""
    series: int
    points: float
    """In a second."""
    cpu: float
    """Share of the processor that the receiver used."""
    slowest_view: float
    """Seconds."""
    memory: int
    """KiB at most."""

    @property
    def rate(self) -> float:
        return self.sent / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.rate:,.0f} spans/s and {self.series:,} series ({self.points:,.0f} points/s) for "
            f"{self.seconds:.0f} s: {self.dropped:,} spans dropped ({self.rejected:,} rejected), "
            f"at most {self.deepest / 1e6:.1f} MB waiting, {self.cpu:.0%} of one processor, "
            f"slowest view {1000 * self.slowest_view:.0f} ms, {self.memory / 1024:.0f} MiB"
        )


def measure(
    protocol: str, rate: float, seconds: float, senders: int = 4, capacity: int = CAPACITY
) -> Result:
    """Send spans at a rate, in all, and points once a second."""
    made = payloads()
    processors = sorted(os.sched_getaffinity(0))
    with _receiver(processors[0], capacity) as (pipe, endpoints):
        os.sched_setaffinity(0, processors[1:] or processors)
        try:
            with ThreadPoolExecutor(senders) as threads:
                started = time.monotonic()
                counts = list(
                    threads.map(
                        lambda number: _send(
                            protocol, endpoints, made, number, senders, rate, started + seconds
                        ),
                        range(senders),
                    )
                )
            took = time.monotonic() - started
            pipe.send("stop")
            sent, rejected = map(sum, zip(*counts, strict=True))
            return Result(sent=sent, seconds=took, rejected=rejected, **pipe.recv())
        finally:
            os.sched_setaffinity(0, processors)


def _send(
    protocol: str,
    endpoints: tuple[str, str],
    made: Mapping[str, Spans | Points],
    number: int,
    senders: int,
    rate: float,
    until: float,
) -> tuple[int, int]:
    """What one of several senders does: spans that were sent, and that were rejected."""
    spans, points = made["spans"], made["points"]
    sent = rejected = 0
    started = next_points = time.monotonic()
    with _sender(protocol, endpoints) as post:
        while (now := time.monotonic()) < until:
            if not number and now >= next_points:
                next_points += 1
                for process in range(PROCESSES):
                    post(points, process)
            answer = post(spans, sent // spans.items * senders + number)
            sent += spans.items
            lost = ExportTraceServiceResponse.FromString(answer).partial_success
            rejected += lost.rejected_spans
            time.sleep(max(started + sent * senders / rate - time.monotonic(), 0))
    return sent, rejected


@contextmanager
def _receiver(processor: int, capacity: int) -> Iterator[tuple[Connection, tuple[str, str]]]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_receive, args=(there, processor, capacity)
    )
    process.start()
    try:
        yield here, here.recv()
    finally:
        process.join(10)
        process.kill()
        process.join()
        process.close()


def _receive(pipe: Connection, processor: int, capacity: int) -> None:
    os.sched_setaffinity(0, {processor})
    with listen(grpc_port=0, http_port=0, capacity=capacity) as listening:
        pipe.send((listening.grpc_endpoint, listening.http_endpoint))
        began, used = time.monotonic(), time.process_time()
        slowest = points = 0.0
        while not pipe.poll(1 / VIEWS_PER_SECOND):
            drawn = time.monotonic()
            points = max(points, listening.overview.view().intake.points_per_second)
            slowest = max(slowest, time.monotonic() - drawn)
        share = (time.process_time() - used) / (time.monotonic() - began)
        intake = listening.overview.view().intake
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    pipe.send(
        {
            "dropped": intake.spans_dropped,
            "deepest": listening.inbox.deepest,
            "series": intake.series,
            "points": points,
            "cpu": share,
            "slowest_view": slowest,
            "memory": int(peak.split()[1]),
        }
    )


@contextmanager
def _sender(protocol: str, endpoints: tuple[str, str]) -> Iterator[Send]:
    by_grpc, by_http = endpoints
    if protocol == "grpc":
        with grpc.insecure_channel(by_grpc.removeprefix("http://")) as channel:
            yield lambda payload, number: channel.unary_unary(f"/{payload.service}/Export")(
                payload.fresh(number), timeout=30
            )
        return

    with requests.Session() as session:

        def post(payload: Spans | Points, number: int) -> bytes:
            path = "traces" if isinstance(payload, Spans) else "metrics"
            kind = {"Content-Type": "application/x-protobuf"}
            body = payload.fresh(number)
            return session.post(f"{by_http}/v1/{path}", body, headers=kind, timeout=30).content

        yield post


@click.command()
@click.option("--protocol", type=click.Choice(["grpc", "http"]), default="grpc", show_default=True)
@click.option("--rate", type=float, default=20_000, show_default=True, help="Spans in a second.")
@click.option("--seconds", type=float, default=30, show_default=True)
@click.option("--senders", type=int, default=4, show_default=True)
def main(protocol: str, rate: float, seconds: float, senders: int) -> None:
    """Send, and say what was held."""
    click.echo(measure(protocol, rate, seconds, senders))


if __name__ == "__main__":
    main()
