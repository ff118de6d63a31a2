"""The whole way: an unchanged service, a real server, a real Collector, and every number as planned.

The plan says what each of 2,000 requests must ask of Redis and what it must find there. It can, since each book is
visited by one visitor alone: sixteen visitors at a time, but one after another for a book.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.real.collector import Collector, RunningCollector
from tests.real.processes import Process, free_ports, wait_until
from tests.real.servers import RedisServer, binary_of
from tests.real.telemetry import Span

BIN = Path(sys.executable).parent
EXAMPLES = Path(__file__).parents[2] / "examples"
VISITORS = 8
VISITS = 125
BOOKS_OF_A_VISITOR = 12
STOCK = 1_000


@dataclass(frozen=True)
class Call:
    """One Redis call, and what its span must say about the cache."""

    operation: str
    cache: str
    hit: bool | None = None
    removed: int | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """In the words of a span."""
        return (self.operation, self.cache, str(self.hit), str(self.removed))


@dataclass(frozen=True)
class Request:
    """One HTTP request inside a trace of its own, and the Redis calls that it leads to."""

    method: str
    path: str
    status: int
    body: object
    calls: list[Call]
    trace_id: str
    caller_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"traceparent": f"00-{self.trace_id}-{self.caller_id}-01"}


@dataclass
class Plan:
    """What threads ask of the synchronous endpoints, and coroutines of the asyncio ones."""

    random: random.Random
    warm: dict[str, str] = field(default_factory=dict)
    threads: list[list[Request]] = field(default_factory=list)
    coroutines: list[list[Request]] = field(default_factory=list)

    def __post_init__(self) -> None:
        books = iter(range(1, STOCK))
        for cache, visitors in (("book", self.threads), ("reviews", self.coroutines)):
            for _ in range(VISITORS):
                mine = [next(books) for _ in range(BOOKS_OF_A_VISITOR)]
                visitors.append(self._visits(cache, mine))

    def _visits(self, cache: str, books: list[int]) -> list[Request]:
        cached = set(self.random.sample(books, k=len(books) // 2))
        for book in cached:
            content = (
                {"id": book, "title": "as cached", "price": 1}
                if cache == "book"
                else [{"stars": 5}]
            )
            self.warm[f"{cache}:{book}"] = json.dumps(content)
        return [self._visit(cache, self.random.choice(books), cached) for _ in range(VISITS)]

    def _visit(self, cache: str, book: int, cached: set[int]) -> Request:
        path = f"/books/{book}" if cache == "book" else f"/books/{book}/reviews"
        chance = self.random.random()
        if chance < 0.2:
            call = Call("DEL", cache, removed=int(book in cached))
            cached.discard(book)
            if cache == "book":
                return self._request(
                    "PUT", f"{path}/price?price={self.random.randrange(5000)}", 204, None, call
                )
            return self._request("POST", path, 201, {"stars": 3}, call)
        if chance < 0.25 and cache == "book":
            # Not in the shop: a miss that nothing is written back for.
            return self._request(
                "GET", f"/books/{STOCK + book}", 404, None, Call("GET", cache, hit=False)
            )
        if book in cached:
            return self._request("GET", path, 200, None, Call("GET", cache, hit=True))
        cached.add(book)
        return self._request(
            "GET", path, 200, None, Call("GET", cache, hit=False), Call("SET", cache)
        )

    def _request(self, method: str, path: str, status: int, body: object, *calls: Call) -> Request:
        trace_id, caller_id = (
            f"{self.random.getrandbits(bits):0{bits // 4}x}" for bits in (128, 64)
        )
        return Request(method, path, status, body, list(calls), trace_id, caller_id)

    @property
    def requests(self) -> list[Request]:
        return [request for visits in (*self.threads, *self.coroutines) for request in visits]

    @property
    def calls(self) -> list[Call]:
        return [call for request in self.requests for call in request.calls]


Numbers = Counter[tuple[str, ...]]


def planned_numbers(calls: list[Call]) -> Numbers:
    """What metrics must say: (name, attributes that matter) -> value."""
    numbers: Numbers = Counter()
    for call in calls:
        numbers["db.client.operation.duration", call.operation] += 1
        if call.operation == "GET":
            numbers["cache.requests", call.cache, "hit" if call.hit else "miss"] += 1
        if call.operation == "SET":
            numbers["cache.writes", call.cache, "set", "stored"] += 1
        if call.operation == "DEL":
            numbers["cache.invalidations", call.cache, "delete"] += call.removed or 0
            effect = "removed" if call.removed else "none"
            numbers["cache.invalidation.requests", call.cache, "delete", effect] += 1
    return numbers


ATTRIBUTES = {
    "db.client.operation.duration": ("db.operation.name",),
    "cache.requests": ("cache.name", "cache.request.type"),
    "cache.writes": ("cache.name", "cache.write.ttl", "cache.write.result"),
    "cache.invalidations": ("cache.name", "cache.invalidation.reason"),
    "cache.invalidation.requests": (
        "cache.name",
        "cache.invalidation.reason",
        "cache.invalidation.effect",
    ),
}


def written_numbers(collector: Collector) -> Numbers:
    """The same from the newest point of every series that the Collector wrote to its file."""
    numbers: Numbers = Counter()
    for name, attributes in ATTRIBUTES.items():
        for point in collector.latest(name):
            key = (name, *(str(point.attributes[attribute]) for attribute in attributes))
            numbers[key] += int(point.count if point.type == "histogram" else point.value)
    return numbers


def scraped_numbers(collector: RunningCollector) -> Numbers:
    """The same from the page that Prometheus scrapes."""
    numbers: Numbers = Counter()
    for name, attributes in ATTRIBUTES.items():
        sample_name = name.replace(".", "_") + (
            "_seconds_count" if "duration" in name else "_total"
        )
        for sample in collector.prometheus_samples(sample_name):
            key = (name, *(sample.labels[attribute.replace(".", "_")] for attribute in attributes))
            numbers[key] += int(sample.value)
    return numbers


@contextmanager
def bookshop(
    redis_url: str,
    exporter: dict[str, str],
    directory: Path,
    application: str = "bookshop.shop:app",
) -> Iterator[str]:
    """The example service under the real `opentelemetry-instrument`; it has exported everything at the end."""
    (port,) = free_ports(1)
    command = [
        BIN / "opentelemetry-instrument",
        BIN / "uvicorn",
        "--app-dir",
        EXAMPLES,
        "--port",
        port,
        application,
    ]
    process = Process(
        [str(word) for word in command],
        log=directory / "bookshop.log",
        environment={
            "REDIS_URL": redis_url,
            "DATABASE": str(directory / "bookshop.db"),
            "OTEL_SERVICE_NAME": "bookshop",
            # A queue with room for all, so that no span is dropped before it can be counted.
            "OTEL_BSP_MAX_QUEUE_SIZE": "50000",
            # Installed beside ours for another test; here the spans are ours.
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis",
            "NO_PROXY": "127.0.0.1",
            **exporter,
        },
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(
            lambda: not process.running or answers(url), timeout=30, what="the bookshop answers"
        )
        assert process.running, process.output()
        yield url
        # As Ctrl-C does: after SIGTERM uvicorn would not come to Python's exit handlers.
        os.kill(process.pid, signal.SIGINT)
        wait_until(
            lambda: not process.running, timeout=20, what="the bookshop has exported and ended"
        )
    finally:
        process.end()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/openapi.json", trust_env=False).is_success
    except httpx.TransportError:
        return False


def visit_all(url: str, plan: Plan) -> None:
    """Eight threads and eight coroutines at the same time; each request must end as planned."""
    with ThreadPoolExecutor(VISITORS + 1) as pool:
        running = [pool.submit(visit, url, visits) for visits in plan.threads]
        running.append(pool.submit(asyncio.run, visit_concurrently(url, plan.coroutines)))
        for one in running:
            one.result(timeout=60)


def visit(url: str, requests: list[Request]) -> None:
    with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        for request in requests:
            got = client.request(
                request.method, request.path, json=request.body, headers=request.headers
            )
            assert got.status_code == request.status, (request, got.text)


async def visit_concurrently(url: str, visitors: list[list[Request]]) -> None:
    async def visit_one_after_another(requests: list[Request]) -> None:
        for request in requests:
            got = await client.request(
                request.method, request.path, json=request.body, headers=request.headers
            )
            assert got.status_code == request.status, (request, got.text)

    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as client:
        await asyncio.gather(*map(visit_one_after_another, visitors))


def exporter_to(collector: RunningCollector, protocol: str) -> dict[str, str]:
    endpoint = collector.grpc_endpoint if protocol == "grpc" else collector.http_endpoint
    return {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}


def said_by(span: Span) -> tuple[str, ...]:
    """Operation, cache, hit and removed entries, in the words of the plan."""
    named = ("cache.name", "cache.hit", "cache.invalidation.removed")
    return (span.name, *(str(span.attributes.get(name)) for name in named))


@pytest.mark.parametrize("server", ["redis" if binary_of("redis") else "valkey"], indirect=True)
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_two_thousand_planned_requests_arrive_exactly_as_planned(
    server: RedisServer, collector: Collector, protocol: str, tmp_path: Path
) -> None:
    plan = Plan(random.Random(protocol))
    for key, content in plan.warm.items():
        server.call("SET", key, content)

    with bookshop(server.url, exporter_to(collector, protocol), tmp_path) as url:
        visit_all(url, plan)

    assert len(plan.requests) == 2_000
    operations = Counter(call.operation for call in plan.calls)
    expected = planned_numbers(plan.calls)
    assert len(expected) == 3 + 4 + 2 + 2 + 4, (
        "a plan in which something never happens shows too little"
    )

    stats = server.commandstats()
    assert {name.upper(): stats.pop(name) for name in ("get", "set", "del")} == operations
    assert {name.partition("|")[0] for name in stats} <= {"hello", "client"}

    with suppress(TimeoutError):
        collector.wait_for(lambda it: scraped_numbers(it) == expected, timeout=5)
    assert scraped_numbers(collector) == expected
    collector.stop()
    assert written_numbers(collector) == expected
    assert not collector.metrics("otel_redis_cache.errors")

    spans = collector.spans()
    servers = {
        span.trace_id: span for span in spans if span.kind == "SERVER" and span.parent_span_id
    }
    by_trace: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        if span.scope == "otel_redis_cache":
            by_trace[span.trace_id].append(span)
    assert sum(map(len, by_trace.values())) == len(plan.calls)
    for request in plan.requests:
        parent = servers[request.trace_id]
        found = sorted(by_trace[request.trace_id], key=lambda span: span.start)
        assert parent.parent_span_id == request.caller_id
        assert [said_by(span) for span in found] == [call.said for call in request.calls]
        assert {(span.kind, span.parent_span_id) for span in found} == {("CLIENT", parent.span_id)}
