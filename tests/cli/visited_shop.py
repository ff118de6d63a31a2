"""An instrumented program for `top` to look at: real calls of a real server until it is ended.

Usage: python -m tests.cli.visited_shop REDIS_URL OTLP_ENDPOINT PROTOCOL
"""

from __future__ import annotations

import contextlib
import sys
import time

import redis
from opentelemetry import trace

from otel_redis_cache import RedisCacheInstrumentor, otlp, watch_server

CALLS_PER_SECOND = 100


def main(redis_url: str, endpoint: str, protocol: otlp.Protocol) -> None:
    otlp.configure(
        service_name="shop",
        endpoint=endpoint,
        protocol=protocol,
        metric_export_interval=0.5,
        span_export_delay=0.2,
    )
    RedisCacheInstrumentor().instrument()
    tracer = trace.get_tracer("shop")
    with redis.Redis.from_url(redis_url) as client, watch_server(client, sample_memory=True):
        client.delete("book:list")
        client.rpush("book:list", "a", "b")
        for number in range(1_000_000):
            visit(tracer, client, number)
            time.sleep(5 / CALLS_PER_SECOND)


def visit(tracer: trace.Tracer, client: redis.Redis, number: int) -> None:
    """Five calls: one lookup of four misses, one removal, one failure."""
    with tracer.start_as_current_span("GET /books"):
        client.set("book:known", "x")
        client.get("book:known")
        client.get(f"book:unknown:{number}" if number % 2 else "book:known")
        client.delete("book:known")
        with contextlib.suppress(redis.ResponseError):
            client.get("book:list")


if __name__ == "__main__":
    url, endpoint, protocol = sys.argv[1:]
    main(url, endpoint, "grpc" if protocol == "grpc" else "http/protobuf")
