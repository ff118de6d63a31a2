"""What the fast path exports is, byte for byte, what the public API exports."""

from __future__ import annotations

import random
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from otel_redis_cache.spans import Checked, FastSpans, PublicSpans, set_plain_attributes

START = Checked({"db.operation.name": "GET", "server.address": "localhost", "server.port": 6379})


def exported(*, is_fast: bool) -> bytes:
    """Of the same spans, with the same ids and times."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("otel_redis_cache", "1", schema_url="https://schema")
    spans = FastSpans(tracer) if is_fast else PublicSpans(tracer)
    spans.start("rehearsed", SpanKind.CLIENT, lambda: START, 1)
    state = random.getstate()
    random.seed(5)
    for is_rich in (False, True):
        links = [Link(SpanContext(1, 2, is_remote=True))] if is_rich else []
        for is_linked in (False, True):
            span: Any = spans.start(
                "GET", SpanKind.CLIENT, lambda: START, 1_000, links if is_linked else ()
            )
            set_plain_attributes(span, {"cache.hit": True, "cache.item.size": 5})
            if is_rich:
                span.add_event("hook", {"a": 1}, timestamp=1_500)
                set_plain_attributes(span, {"keys": ("a", "b"), "cache.hit": False})
                span.set_status(Status(StatusCode.ERROR))
            assert hasattr(span, "keep") is (is_fast and not (is_rich and is_linked))
            span.end(2_000)
    random.setstate(state)
    return encode_spans(exporter.get_finished_spans()).SerializeToString(deterministic=True)


def test_what_is_exported_is_the_same_to_the_byte() -> None:
    fast = exported(is_fast=True)

    assert fast == exported(is_fast=False)
    assert fast.count(b"db.operation.name") == 4
