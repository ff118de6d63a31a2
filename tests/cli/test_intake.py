"""What `top` is sent: by real programs, by gRPC and HTTP, too fast, and what is no OTLP at all."""

from __future__ import annotations

import gc
import gzip
import http.client
import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_redis_cache.cli.inbox import Arrival, Inbox
from otel_redis_cache.cli.intake import Listening, listen
from otel_redis_cache.cli.overview import Overview, View
from otel_redis_cache.cli.protocol import (
    LARGEST_MESSAGE,
    METRICS,
    SPANS,
    MetricsRequest,
    NotOtlpError,
    SpansRequest,
    Status,
    parse,
    parse_json,
)
from otel_redis_cache.cli.receiver import OccupiedError
from tests.cli.visited_shop import CALLS_PER_SECOND
from tests.real.processes import Process, free_ports, wait_until
from tests.real.servers import RedisServer

PROTOBUF, JSON = "application/x-protobuf", "application/json"


@pytest.fixture(scope="module")
def listening() -> Iterator[Listening]:
    with listen(grpc_port=0, http_port=0) as listening:
        yield listening


def spans_request(*names: str, trace_id: bytes = b"t" * 16) -> SpansRequest:
    request = SpansRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    spans = of_resource.scope_spans.add().spans
    for number, name in enumerate(names, start=1):
        span = spans.add(name=name, trace_id=trace_id, span_id=number.to_bytes(8, "big"))
        span.end_time_unix_nano = 1_000_000 * number
        span.attributes.add(key="db.system.name").value.string_value = "redis"
    return request


class TestPrograms:
    """Two processes, and one that takes the place of another."""

    @pytest.mark.parametrize(
        ("protocol", "temporality"), [("grpc", "cumulative"), ("http/protobuf", "delta")]
    )
    def test_what_they_do_is_seen(
        self, redis_server: RedisServer, tmp_path: Path, protocol: str, temporality: str
    ) -> None:
        def start(name: str) -> Process:
            program = [sys.executable, "-m", "tests.cli.visited_shop"]
            command = [*program, server.url, endpoint, protocol]
            environment = {
                "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
            }
            return Process(command, log=tmp_path / name, environment=environment)

        # Of its own: who is killed leaves a lease behind, and nobody watches for a while.
        server = RedisServer(redis_server.kind, redis_server.binary)
        with server, listen(grpc_port=0, http_port=0) as listening:
            endpoint = listening.grpc_endpoint if protocol == "grpc" else listening.http_endpoint
            shops = [start("first"), start("second")]
            try:
                before = seen(listening.overview, senders=2, shop=shops[0])
                self.check(listening.overview, before)
                shops[0].kill()
                shops.append(start("third"))
                after = seen(listening.overview, senders=3, shop=shops[2])
            finally:
                for shop in shops:
                    shop.end(5)
            [book] = [row for row in after.caches if row.name == "book"]
            # Whoever comes anew makes no wave.
            assert 0 < book.lookups_per_second < CALLS_PER_SECOND * 3

    def check(self, overview: Overview, view: View) -> None:
        [book] = [row for row in view.caches if row.name == "book"]
        assert book.hit_ratio == pytest.approx(0.75, abs=0.1)
        assert all(0 < ratio < 1 for ratio in book.trend)
        assert book.invalidations_per_second["delete"] > 1
        assert book.writes_without_ttl_per_second > 1
        # Without duration_by_cache it is the spans that tell.
        assert book.p50
        assert book.p50 <= (book.p95 or 0) <= (book.p99 or 0)
        assert book.entries
        assert book.bytes
        [server] = [row for row in view.servers if row.memory_used]
        assert server.is_up
        assert server.memory_limit == 0
        assert server.clients
        assert server.evictions_per_second == 0
        assert any(pool.used + pool.idle >= 1 for pool in view.pools)
        assert view.intake.series > 10
        assert (view.intake.spans_dropped, view.intake.points_dropped) == (0, 0)
        failure = view.failed[0]
        assert (failure.name, failure.error, failure.service) == ("GET", "WRONGTYPE", "shop")
        assert [row.duration_seconds for row in view.slowest] == sorted(
            (row.duration_seconds for row in view.slowest), reverse=True
        )
        names = [span.name for span in overview.trace(failure.trace_id)]
        assert names[:3] == ["GET /books", "SET", "GET"]


def seen(overview: Overview, senders: int, shop: Process) -> View:
    """What there is once all of it is there."""

    def look() -> View | None:
        assert shop.running, shop.output()
        view = overview.view()
        books = [row for row in view.caches if row.name == "book" and len(row.trend) > 2]
        if not books or books[0].entries is None or view.intake.senders < senders:
            return None
        return view if view.failed and view.intake.points_per_second else None

    return wait_until(look, timeout=30, what="figures of all programs")


class TestAnswers:
    """Right ones, whatever comes."""

    @pytest.mark.parametrize("service", [SPANS, METRICS])
    @pytest.mark.parametrize("body", [b"\xff\xff\xff", b"hello", b"\x0a\x02\x0a\x05"])
    def test_grpc_refuses_what_is_no_otlp(
        self, listening: Listening, service: str, body: bytes
    ) -> None:
        refused_before = listening.overview.view().intake.refused
        with pytest.raises(grpc.RpcError) as refused:
            send_by_grpc(listening, service, body)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (refused.value.details() or "").startswith("not an OTLP message: an Export")
        assert listening.overview.view().intake.refused == refused_before + 1

    def test_grpc_has_no_logs(self, listening: Listening) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            send_by_grpc(listening, "opentelemetry.proto.collector.logs.v1.LogsService", b"")
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED

    def test_metrics_are_not_taken_for_spans(self, listening: Listening) -> None:
        request = MetricsRequest()
        metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
        metric.description = "five."
        with pytest.raises(grpc.RpcError) as refused:
            send_by_grpc(listening, SPANS, request.SerializeToString())
        assert refused.value.details() == (
            "not an OTLP message: a span's trace_id has 16 bytes and its span_id 8, not 1 and 5"
        )

    @pytest.mark.parametrize("compression", [Compression.Gzip, Compression.Deflate])
    def test_exporters_over_http_are_answered(
        self, listening: Listening, compression: Compression
    ) -> None:
        provider = TracerProvider()
        exporter = HttpExporter(f"{listening.http_endpoint}/v1/traces", compression=compression)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("test").start_as_current_span("GET") as span:
            trace_id = f"{span.get_span_context().trace_id:032x}"
        provider.shutdown()
        assert heard(listening, trace_id) == ["GET"]

    def test_json_has_its_ids_in_hexadecimal(self, listening: Listening) -> None:
        trace_id = "5b8efff798038103d269b633813fc60c"
        answer = post(listening, "/v1/traces", as_json(trace_id), JSON)
        assert (answer.status, answer.kind, json.loads(answer.body)) == (200, JSON, {})
        assert heard(listening, trace_id) == ["GET"]

    def test_a_body_may_come_in_chunks(self, listening: Listening) -> None:
        body = spans_request("GET", trace_id=b"c" * 16).SerializeToString()
        answer = post(listening, "/v1/traces", iter([body[:9], body[9:]]))
        assert (answer.status, answer.kind) == (200, PROTOBUF)
        ExportTraceServiceResponse.FromString(answer.body)
        assert heard(listening, (b"c" * 16).hex()) == ["GET"]

    @pytest.mark.parametrize(
        ("path", "kind", "body", "expected"),
        [
            ("/v1/traces", PROTOBUF, b"\xff", "ExportTraceServiceRequest in protobuf is expected"),
            ("/v1/metrics", PROTOBUF, b"\xff", "ExportMetricsServiceRequest in protobuf is"),
            ("/v1/traces", JSON, b"{", "an ExportTraceServiceRequest in JSON is expected"),
            ("/v1/traces", JSON, b"[" * 100_000, "ExportTraceServiceRequest in JSON is expected"),
            ("/v1/traces", JSON, b'"\\ud800"', "ExportTraceServiceRequest in JSON is expected"),
        ],
    )
    def test_http_refuses_what_is_no_otlp(
        self, listening: Listening, path: str, kind: str, body: bytes, expected: str
    ) -> None:
        answer = post(listening, path, body, kind)
        assert (answer.status, answer.kind) == (400, kind)
        assert expected in answer.message

    @pytest.mark.parametrize(
        ("method", "path", "headers", "status", "expected"),
        [
            ("GET", "/v1/traces", {}, 405, "OTLP is sent with POST"),
            ("POST", "/", {}, 404, "OTLP is taken at /v1/traces and /v1/metrics"),
            ("POST", "/v1/logs", {}, 404, "OTLP is taken at /v1/traces and /v1/metrics"),
            ("POST", "/v1/traces", {"Content-Type": "text/plain"}, 415, f"{PROTOBUF} or {JSON}"),
            ("POST", "/v1/traces", {"Content-Encoding": "snappy"}, 415, "identity, gzip, deflate"),
            ("POST", "/v1/traces", {"Content-Encoding": "br"}, 415, "identity, gzip, deflate"),
            ("POST", "/v1/traces", {"Content-Encoding": "zstd"}, 415, "identity, gzip, deflate"),
            ("POST", "/v1/traces", {"Content-Encoding": "gzip"}, 400, "not what its headers say"),
        ],
    )
    def test_http_says_what_it_expects(
        self,
        listening: Listening,
        method: str,
        path: str,
        headers: dict[str, str],
        status: int,
        expected: str,
    ) -> None:
        refused_before = listening.overview.view().intake.refused
        answer = ask(listening, method, path, b"hello", {"Content-Type": PROTOBUF, **headers})
        assert answer.status == status
        assert expected in answer.message
        assert answer.allow == ("POST" if status == 405 else None)
        # Other paths may be those of logs, which are no telemetry that was lost here.
        counted = listening.overview.view().intake.refused - refused_before
        assert counted == (status in (400, 415))

    @pytest.mark.parametrize("spoil", [lambda it: it[:-1], lambda it: it + b"more"])
    def test_a_packed_message_is_whole_or_refused(
        self, listening: Listening, spoil: Callable[[bytes], bytes]
    ) -> None:
        packed = gzip.compress(spans_request("GET", trace_id=b"p" * 16).SerializeToString())
        headers = {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"}
        answer = ask(listening, "POST", "/v1/traces", spoil(packed), headers)
        assert (answer.status, answer.message) == (
            400,
            "bad request: the content is not what its headers say",
        )

    @pytest.mark.parametrize("is_packed", [False, True])
    def test_http_is_bounded(self, listening: Listening, is_packed: bool) -> None:
        refused_before = listening.overview.view().intake.refused
        body = bytes(LARGEST_MESSAGE + 1)
        encoding = {"Content-Encoding": "gzip"} if is_packed else {}
        packed = gzip.compress(body) if is_packed else body
        answer = ask(
            listening, "POST", "/v1/traces", packed, {"Content-Type": PROTOBUF, **encoding}
        )
        assert (answer.status, answer.message) == (
            413,
            f"too large: at most {LARGEST_MESSAGE} bytes are taken",
        )
        assert listening.overview.view().intake.refused == refused_before + 1

    def test_grpc_is_bounded(self, listening: Listening) -> None:
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError) as refused:
                send_by_grpc(listening, SPANS, bytes(LARGEST_MESSAGE + 1), compression)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


class TestTooMuch:
    def test_what_there_is_no_room_for_is_dropped_counted_and_said(self) -> None:
        with listen(grpc_port=0, http_port=0, capacity=5_000) as listening:
            with busy(listening.overview):
                answers = [
                    send_by_grpc(listening, SPANS, spans_request("GET", "SET").SerializeToString())
                    for _ in range(20)
                ]
                refused = post(listening, "/v1/traces", spans_request("GET").SerializeToString())
                # Metrics have room of their own.
                taken = send_by_grpc(listening, METRICS, MetricsRequest().SerializeToString())
            rejections = [
                ExportTraceServiceResponse.FromString(answer).partial_success
                for answer in (*answers, refused.body)
            ]
            rejected = sum(each.rejected_spans for each in rejections)
            assert rejections[-1].rejected_spans == 1
            assert rejections[-1].error_message == (
                "otel-redis-cache top cannot read this fast: it has dropped the message"
            )
            assert not ExportMetricsServiceResponse.FromString(taken).HasField("partial_success")
            assert listening.overview.view().intake.spans_dropped == rejected > 20

    def test_a_message_larger_than_all_room_has_room_where_nothing_waits(self) -> None:
        read: list[Arrival] = []
        inbox = Inbox(read.append, capacity=1)
        export = parse(SPANS, spans_request("GET").SerializeToString())
        assert inbox.offer(Arrival(0.0, export))
        assert not inbox.offer(Arrival(0.0, export))
        with inbox.reading():
            wait_until(lambda: not inbox.depth, timeout=5, what="all is read")
            assert inbox.offer(Arrival(1.0, export))
        assert [arrival.time for arrival in read] == [0.0, 1.0]

    def test_what_ends_the_reading_is_raised(self) -> None:
        def read(_: Arrival) -> None:
            raise LookupError("broken")

        inbox = Inbox(read)
        inbox.offer(Arrival(0.0, parse(SPANS, b"")))
        with pytest.raises(LookupError, match="broken"), inbox.reading():
            wait_until(lambda: not inbox.depth, timeout=5, what="it is taken")


class TestPorts:
    @pytest.mark.parametrize("which", ["grpc_port", "http_port"])
    def test_a_port_in_use_is_said_so(self, which: str) -> None:
        (port,) = free_ports(1)
        ports: dict[str, Any] = {"grpc_port": 0, "http_port": 0, which: port}
        with listen(**ports), pytest.raises(OccupiedError) as occupied:
            listen(**ports).__enter__()
        assert str(occupied.value) == (
            f"cannot listen at 127.0.0.1:{port}: Address already in use; "
            "end who listens there, or choose another port"
        )

    def test_nobody_shares_a_port(self) -> None:
        with listen(grpc_port=0, http_port=0) as listening:
            for endpoint in (listening.grpc_endpoint, listening.http_endpoint):
                host, port = endpoint.removeprefix("http://").split(":")
                with socket.socket() as other:
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                    with pytest.raises(OSError, match="in use"):
                        other.bind((host, int(port)))

    def test_a_name_that_nobody_knows_is_said_so(self) -> None:
        with pytest.raises(OccupiedError, match=r"the name nowhere\.invalid is not known here"):
            listen("nowhere.invalid", 0, 0).__enter__()

    def test_a_bomb_whose_sender_has_gone_is_no_trouble_at_the_end(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        bomb = gzip.compress(bytes(200 * 1024 * 1024))
        with listen(grpc_port=0, http_port=0) as listening:
            host, port = listening.http_endpoint.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as sender:
                sender.sendall(
                    b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
                    b"Content-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n"
                    % len(bomb)
                )
                sender.sendall(bomb)
        gc.collect()
        assert "Task was destroyed" not in caplog.text

    def test_a_port_is_free_again_afterwards(self) -> None:
        ports = free_ports(2)
        for _ in range(2):
            with listen("127.0.0.1", *ports) as listening:
                assert listening.grpc_endpoint == f"http://127.0.0.1:{ports[0]}"
                post(listening, "/v1/traces", b"")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    read_or_refuse(body)


def read_or_refuse(body: bytes) -> None:
    overview = Overview(lambda: 1_000.0)
    for service in (SPANS, METRICS):
        for how in (parse, parse_json):
            try:
                export = how(service, body)
            except NotOtlpError:
                continue
            overview.read(Arrival(1_000.0, export))
    overview.view()


NAMES_IN_JSON = [
    *("resourceSpans", "scopeSpans", "spans", "traceId", "spanId", "attributes", "key"),
    *("resourceMetrics", "scopeMetrics", "metrics", "sum", "dataPoints", "asDouble"),
]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES_IN_JSON) | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_any_json_is_read_or_refused(document: Any) -> None:
    read_or_refuse(json.dumps(document).encode())


class Answer:
    def __init__(self, response: http.client.HTTPResponse):
        self.status = response.status
        self.kind = response.headers.get_content_type()
        self.allow = response.headers.get("Allow")
        self.body = response.read()

    @property
    def message(self) -> str:
        if self.kind == PROTOBUF:
            return Status.FromString(self.body).message
        return json.loads(self.body)["message"] if self.kind == JSON else self.body.decode().strip()


def ask(listening: Listening, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
    connection = http.client.HTTPConnection(
        listening.http_endpoint.removeprefix("http://"), timeout=10
    )
    try:
        connection.request(method, path, body, headers, encode_chunked=not isinstance(body, bytes))
        return Answer(connection.getresponse())
    finally:
        connection.close()


def post(listening: Listening, path: str, body: Any, kind: str = PROTOBUF) -> Answer:
    chunked = {} if isinstance(body, bytes) else {"Transfer-Encoding": "chunked"}
    return ask(listening, "POST", path, body, {"Content-Type": kind, **chunked})


def send_by_grpc(
    listening: Listening,
    service: str,
    body: bytes,
    compression: grpc.Compression = grpc.Compression.NoCompression,
) -> bytes:
    target = listening.grpc_endpoint.removeprefix("http://")
    unbounded = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(target, options=unbounded, compression=compression) as channel:
        return channel.unary_unary(f"/{service}/Export")(body, timeout=10)


@contextmanager
def busy(overview: Overview) -> Iterator[None]:
    """Nothing is read meanwhile: somebody draws, for long."""
    with overview._looking:
        yield


def heard(listening: Listening, trace_id: str) -> list[str]:
    """The names of the spans of a trace, once it is there."""
    return [
        span.name
        for span in wait_until(
            lambda: listening.overview.trace(trace_id), timeout=5, what="the trace is there"
        )
    ]


def as_json(trace_id: str) -> bytes:
    """As OTLP writes it."""
    document = json_format.MessageToDict(spans_request("GET"))
    [span] = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    span |= {"traceId": trace_id.upper(), "spanId": "eee19b7ec3c1b174"}
    return json.dumps(document).encode()
