"""A process of the shop, run by `test_gateway`: as many visits as it is told, each a part of a trace that others share.

All processes of the shop make the visit of one number in one trace, at about the same time; what is worth keeping of
it happens in one process alone. What it made stands in a file in the end: a line for each span.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import redis
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_redis_cache import RedisCacheInstrumentor
from otel_redis_cache.otlp import configure


class Ledger(SpanProcessor):
    """Every span that ended: trace, span, and when."""

    def __init__(self, path: Path):
        self._file = path.open("w", encoding="utf-8")

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        assert context
        assert span.end_time
        self._file.write(f"{context.trace_id:032x} {context.span_id:016x} {span.end_time}\n")

    def shutdown(self) -> None:
        self._file.close()


def trace_of(number: int) -> Context:
    """The same in every process: as if a caller had sent it along."""
    sender = SpanContext(
        # Spread over all bits, as real ones are.
        trace_id=(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128,
        span_id=number + 1,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(NonRecordingSpan(sender), Context())


def visit(client: redis.Redis, process: str, number: int, kind: str) -> None:
    client.get("book:1")
    client.get(f"missing:{process}:{number}")
    if kind == "error":
        with suppress(redis.ResponseError):
            client.lpush("book:1", "a string is no list")
    if kind == "slow":
        client.blpop(["nothing"], timeout=1.2)
    if kind == "stampede":
        # A visit half a second before has not found it either, and nobody has brought it since.
        client.get(f"missing:{process}:{number - 20}")


def kind_of(process: str, number: int) -> str:
    """What is worth keeping happens on host "a" alone."""
    if process != "a1":
        return ""
    return {10: "error", 20: "stampede", 30: "slow"}.get(number % 40, "")


def main() -> None:
    url, process, visits, rate, directory = sys.argv[1:]
    telemetry = configure(service_name="shop", metric_export_interval=1, span_export_delay=0.2)
    telemetry.tracer_provider.add_span_processor(Ledger(Path(directory, f"{process}.spans")))
    RedisCacheInstrumentor().instrument()
    tracer = trace.get_tracer("shop")
    client = redis.Redis.from_url(url)
    Path(directory, f"{process}.ready").touch()
    start = Path(directory, "start")
    while not (start.exists() and start.read_text()):
        time.sleep(0.01)
    begin = float(start.read_text())

    def make(number: int) -> None:
        time.sleep(max(0, begin + number / float(rate) - time.time()))
        with tracer.start_as_current_span("visit", trace_of(number)):
            visit(client, process, number, kind_of(process, number))

    # Several visitors, so that a slow one holds nobody up.
    with ThreadPoolExecutor(4) as visitors:
        for done in visitors.map(make, range(int(visits))):
            assert done is None
    telemetry.shutdown()


if __name__ == "__main__":
    main()
