"""What somebody sees who opens a trace: in Jaeger, and in what any tracing backend, such as Tempo, is sent."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.collector.test_end_to_end import bookshop, exporter_to
from tests.real.collector import Collector
from tests.real.jaeger import Jaeger
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.real.telemetry import Attributes, Span

CALLER = "00f067aa0ba902b7"


Look = Callable[[str], list[Span]]
"""All spans of a trace so far, by their start."""


@dataclass(frozen=True)
class Shop:
    """A bookshop, the Redis behind it, and where the traces of its visitors are looked up."""

    url: str
    server: RedisServer
    trace: Look

    def visit(self, method: str, path: str, spans: int) -> list[Span]:
        """The trace of one request, once so many of its spans are the request's own and ours."""
        trace_id = secrets.token_hex(16)
        headers = {"traceparent": f"00-{trace_id}-{CALLER}-01"}
        answer = httpx.request(method, f"{self.url}{path}", headers=headers, trust_env=False)
        assert answer.is_success, answer.text
        found: list[Span] = []

        def arrived() -> bool:
            # What else FastAPI's instrumentation makes is not our business.
            found[:] = [
                span
                for span in self.trace(trace_id)
                if span.kind == "SERVER" or span.scope == "otel_redis_cache"
            ]
            return len(found) >= spans

        wait_until(arrived, timeout=20, what=f"{spans} spans of {method} {path}")
        assert len(found) == spans
        return found

    @property
    def target(self) -> Attributes:
        """What every span says of the server that was asked."""
        address = {"server.address": self.server.host, "server.port": self.server.port}
        return {"db.system.name": "redis", "db.namespace": "0", **address}

    def call(self, operation: str, query: str, facts: Attributes) -> Attributes:
        """All attributes of the span of one call: the contract's, and no others."""
        said: Attributes = {"db.operation.name": operation, "db.query.text": query}
        peer = {"network.peer.address": self.server.host, "network.peer.port": self.server.port}
        return said | self.target | peer | facts


@pytest.fixture(scope="module")
def collector(possible_jaeger: Jaeger | str, collector_binary: Path) -> Iterator[Collector]:
    """Sends traces to Jaeger, where there is one, and writes them to a file."""
    backend = (
        {}
        if isinstance(possible_jaeger, str)
        else {"TRACING_BACKEND": possible_jaeger.otlp_address}
    )
    with Collector(collector_binary, **backend) as running:
        yield running


@pytest.fixture(scope="module")
def url(
    redis_server: RedisServer, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Of the shop, unchanged, under the real `opentelemetry-instrument`."""
    redis_server.flush()
    exporter = exporter_to(collector, "grpc") | {"OTEL_BSP_SCHEDULE_DELAY": "100"}
    directory = tmp_path_factory.mktemp("shop")
    with bookshop(redis_server.url, exporter, directory, "bookshop.office:app") as url:
        yield url


@pytest.fixture
def sent(collector: Collector) -> Look:
    """What the Collector sends to any backend."""

    def trace(trace_id: str) -> list[Span]:
        spans = [span for span in collector.spans() if span.trace_id == trace_id]
        return sorted(spans, key=lambda span: span.start)

    return trace


@pytest.fixture(params=["Jaeger", "OTLP file"])
def shop(request: pytest.FixtureRequest, redis_server: RedisServer, url: str, sent: Look) -> Shop:
    trace: Look = sent
    if request.param == "Jaeger":
        trace = request.getfixturevalue("jaeger").trace
    redis_server.flush()
    return Shop(url, redis_server, trace)


def test_a_request_has_its_cache_calls_under_it(shop: Shop) -> None:
    size = len('{"id":1,"title":"Book 1","price":1001}')

    request, get, put = shop.visit("GET", "/books/1", spans=3)
    _, again = shop.visit("GET", "/books/1", spans=2)

    assert (request.name, request.kind) == ("GET /books/{book_id}", "SERVER")
    assert (request.parent_span_id, request.resource["service.name"]) == (CALLER, "bookshop")
    assert [(span.name, span.kind, span.parent_span_id) for span in (get, put)] == [
        ("GET", "CLIENT", request.span_id),
        ("SET", "CLIENT", request.span_id),
    ]
    assert get.attributes == shop.call("GET", "GET ?", {"cache.name": "book", "cache.hit": False})
    assert put.attributes == shop.call(
        "SET", "SET ? ? EX ?", {"cache.name": "book", "cache.ttl": 300, "cache.item.size": size}
    )
    assert again.attributes == shop.call(
        "GET", "GET ?", {"cache.name": "book", "cache.hit": True, "cache.item.size": size}
    )
    # Facts are attributes: no span has events.
    assert [(span.status, span.events) for span in (get, put, again)] == [("UNSET", [])] * 3


def test_an_invalidation_has_its_inner_work_under_it(shop: Shop) -> None:
    for number in (7, 8, 9):
        shop.visit("GET", f"/books/{number}", spans=3)

    request, invalidate, scan, unlink = shop.visit("POST", "/prices?percent=105", spans=4)

    why = {"cache.invalidation.reason": "price_list", "cache.invalidation.trigger": "office"}
    removed = {"cache.name": "book", "cache.invalidation.removed": 3, **why}
    assert (invalidate.name, invalidate.kind) == ("cache.invalidate", "INTERNAL")
    assert invalidate.parent_span_id == request.span_id
    assert invalidate.attributes == shop.target | removed
    assert [(span.name, span.kind, span.parent_span_id) for span in (scan, unlink)] == [
        ("SCAN", "CLIENT", invalidate.span_id),
        ("UNLINK", "CLIENT", invalidate.span_id),
    ]
    assert scan.attributes == shop.call("SCAN", "SCAN ? MATCH ? COUNT ?", {})
    assert unlink.attributes == shop.call("UNLINK", "UNLINK ? ? ?", removed)


def test_jaeger_finds_a_trace_by_what_happened_in_it_and_shows_all_that_it_was_sent(
    jaeger: Jaeger, redis_server: RedisServer, url: str, sent: Look
) -> None:
    began = time.time()
    trace_id = (
        Shop(url, redis_server, jaeger.trace).visit("POST", "/prices?percent=95", 3)[0].trace_id
    )

    assert jaeger.services() == ["bookshop"]
    assert jaeger.trace_ids("bookshop", "cache.invalidate", began) == {trace_id}
    wait_until(
        lambda: jaeger.trace(trace_id) == sent(trace_id) != [],
        timeout=20,
        what="Jaeger shows what was sent",
    )
