"""`otel-redis-cache doctor` as a user runs it: a process of its own, on real servers and receivers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypedDict

import grpc
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from otel_redis_cache.cli.measurements import Measurements
from otel_redis_cache.cli.receiver import receive
from otel_redis_cache.cli.traces import Traces
from tests.real.collector import Collector
from tests.real.processes import free_ports
from tests.real.sentinels import Sentinels
from tests.real.servers import RedisServer
from tests.real.terminals import HEARING_CTRL_C
from tests.real.tls import TlsServer

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "otel_redis_cache.cli.main", "doctor"]
PASSWORD = "swordfish"
ESCAPE = "\x1b"

IN_A_TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""

ALL_IS_WELL = """\
ok       settings              all are defaults
ok       service.name          shop
ok       service.instance.id   set by the SDK, for each process
ok       OTLP endpoint         ENDPOINT speaks OTLP over gRPC
ok       test span             accepted
ok       test metric           accepted
ok       Redis                 redis://SERVER/0 answers
ok       server                KIND VERSION, standalone, primary
ok       may INFO              permitted
ok       may SCAN              permitted
ok       may MEMORY USAGE      permitted
ok       may SUBSCRIBE         permitted
ok       keyspace events       off (notify-keyspace-events is ''); only listen_events needs them
ok       maxmemory             64 MiB, policy allkeys-lru
ok       entries without TTL   0 of 20 looked at (0%)
"""


class Check(TypedDict):
    name: str
    state: str
    found: str
    next: str


class Report:
    """What the doctor has said, and how the process ended."""

    def __init__(self, ended: subprocess.CompletedProcess[str]) -> None:
        assert ended.stderr == ""
        assert PASSWORD not in ended.stdout
        self.code = ended.returncode
        document = json.loads(ended.stdout)
        self.state: str = document["state"]
        self.checks: list[Check] = document["checks"]

    def __getitem__(self, name: str) -> Check:
        (found,) = [check for check in self.checks if check["name"] == name]
        return found

    def __contains__(self, name: str) -> bool:
        return any(check["name"] == name for check in self.checks)

    def states(self, *names: str) -> list[str]:
        return [self[name]["state"] for name in names]


def run(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=clean_environment() | {"PYTHONIOENCODING": "utf-8"} | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def clean_environment() -> dict[str, str]:
    """Without what a developer or a runner has set; a service has a name."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return kept | {"OTEL_SERVICE_NAME": "shop"}


def report(*arguments: str, **environment: str) -> Report:
    return Report(run("--json", *arguments, environment=environment))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with receive(Measurements(), Traces()) as url:
        yield url


@pytest.fixture(scope="module")
def shared_collector(collector_binary: Path) -> Iterator[Collector]:
    """For tests that do not look at what has come out of it."""
    with Collector(collector_binary) as running:
        yield running


@contextmanager
def http_server(
    status: int, body: bytes = b"", kind: str = "application/x-protobuf"
) -> Generator[str]:
    """Whatever is posted there gets the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def as_cache(server: RedisServer) -> Generator[None]:
    """A server that is set up as a cache should be."""
    server.call("CONFIG", "SET", "maxmemory", "64mb")
    server.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        yield
    finally:
        server.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        server.call("CONFIG", "SET", "maxmemory", "0")


@contextmanager
def user(server: RedisServer, *rules: str) -> Generator[str]:
    """A URL with a user who may do this."""
    server.call("ACL", "SETUSER", "limited", "reset", "on", f">{PASSWORD}", *rules)
    try:
        yield f"redis://limited:{PASSWORD}@{server.host}:{server.port}/0"
    finally:
        server.call("ACL", "DELUSER", "limited")


def fill(server: RedisServer, cache: str, count: int, *options: str) -> None:
    for number in range(count):
        server.call("SET", f"{cache}:{number}", "x", *options)


def lines_from(name: str, screen: str) -> str:
    """The screen from one check on, without the blanks at the ends of its lines."""
    lines = [line.rstrip() for line in screen.splitlines()]
    start = next(i for i, line in enumerate(lines) if line[9:].startswith(name))
    return "\n".join(lines[start:])


class TestScreen:
    def test_where_all_is_well_it_says_so_and_ends_with_0(
        self, server: RedisServer, endpoint: str
    ) -> None:
        fill(server, "page", 20, "EX", "100")
        with as_cache(server):
            ended = run("--redis-url", server.url, "--endpoint", endpoint)
        assert (ended.returncode, ended.stderr) == (0, "")
        expected = ALL_IS_WELL.replace("ENDPOINT", endpoint)
        expected = expected.replace("SERVER", f"{server.host}:{server.port}")
        expected = expected.replace("KIND", server.kind.title()).replace("VERSION", server.version)
        shown = lines_from("settings", ended.stdout)
        assert shown.startswith(expected + "\n")
        assert re.fullmatch(r"ok: \d+", shown[len(expected) + 1 :])

    def test_what_is_wrong_says_what_comes_next(self) -> None:
        (port,) = free_ports(1)
        ended = run("--endpoint", f"http://127.0.0.1:{port}")
        assert (ended.returncode, ended.stderr) == (2, "")
        assert lines_from("OTLP", ended.stdout).startswith(
            f"""\
broken   OTLP endpoint         nobody listens at 127.0.0.1:{port}
                               next: start it, or correct the host and the port
skipped  test span             the endpoint is not reached
skipped  test metric           the endpoint is not reached
skipped  Redis                 no server is named
                               next: name one: --redis-url redis://localhost:6379/0

broken: 1, skipped: 3, ok: """
        )

    def test_it_is_coloured_in_a_terminal_alone(self, endpoint: str) -> None:
        arguments = ["--endpoint", endpoint]
        plain = run(*arguments)
        assert ESCAPE not in plain.stdout
        coloured = subprocess.run(
            [sys.executable, "-c", IN_A_TERMINAL, *COMMAND, *arguments],
            cwd=ROOT,
            env=clean_environment() | {"TERM": "xterm-256color", "COLUMNS": "80"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert coloured.returncode == plain.returncode == 0
        assert f"{ESCAPE}[32mok" in coloured.stdout
        shown = re.sub(rf"{ESCAPE}\[[0-9;]*m", "", coloured.stdout)
        assert "accepted" in shown
        assert max(map(len, shown.splitlines())) <= 80

    def test_help_shows_an_example(self) -> None:
        ended = run("--help")
        assert ended.returncode == 0
        assert "Example: otel-redis-cache doctor" in ended.stdout
        assert "1 with warnings, 2 where something is" in " ".join(ended.stdout.split())

    def test_an_option_that_is_none_is_refused(self) -> None:
        ended = run("--protocol", "carrier-pigeon")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "Traceback" not in ended.stderr
        assert "'grpc', 'http'" in ended.stderr


class TestPackages:
    def test_what_is_installed_is_told_with_its_version(self, endpoint: str) -> None:
        found = report("--endpoint", endpoint)
        assert found.states("Python", "packages", "instrumentation") == ["ok"] * 3
        assert re.search(
            r"otel-redis-cache \d.*opentelemetry-api 1\.\d.*redis \d", found["packages"]["found"]
        )

    @pytest.mark.parametrize(
        ("version", "state", "text", "next_step"),
        [
            ("4.6.0", "broken", "4.6.0; needed is >=5.0", "pip install -U 'redis>=5.0'"),
            ("9.0.0", "warning", "9.0.0; tested is >=5.0, <9", "pip install 'redis<9'"),
        ],
    )
    def test_a_client_out_of_range_is_told(
        self, endpoint: str, tmp_path: Path, version: str, state: str, text: str, next_step: str
    ) -> None:
        information = tmp_path / f"redis-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: redis\nVersion: {version}\n"
        )
        found = report("--endpoint", endpoint, PYTHONPATH=str(tmp_path))
        assert found["redis"]["state"] == state
        assert found["redis"]["found"] == text
        assert found["redis"]["next"].startswith(next_step)
        assert found.code == {"broken": 2, "warning": 1}[state]

    def test_being_left_out_by_opentelemetry_instrument_is_a_warning(self, endpoint: str) -> None:
        found = report(
            "--endpoint", endpoint, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="redis, redis_cache"
        )
        assert (found.code, found.state) == (1, "warning")
        assert found["instrumentation"]["next"] == "take redis_cache out of it"
        assert found["opentelemetry-instrumentation-redis"]["found"].endswith(", disabled")

    @pytest.mark.parametrize(
        ("choice", "code", "effect"),
        [
            ("yield", 0, "spans of redis-py are left to it"),
            ("both", 1, "spans of redis-py are made twice"),
            ("off", 1, "this package does nothing"),
        ],
    )
    def test_what_happens_beside_contrib_is_told(
        self, endpoint: str, choice: str, code: int, effect: str
    ) -> None:
        found = report("--endpoint", endpoint, OTEL_REDIS_CACHE_ON_CONFLICT=choice)
        assert found.code == code
        assert (
            f"{effect} (on_conflict={choice})"
            in (found["opentelemetry-instrumentation-redis"]["found"])
        )


class TestSettings:
    def test_each_that_is_given_is_told_with_its_variable(self, endpoint: str) -> None:
        found = report(
            "--endpoint",
            endpoint,
            OTEL_REDIS_CACHE_CACHES="sessions=sess:*,locks:*=-",
            OTEL_REDIS_CACHE_KEY_ATTRIBUTE="hash",
            OTEL_REDIS_CACHE_KEY_SECRET=PASSWORD,
        )
        assert found.code == 0
        assert found["settings"]["found"].startswith(
            "caches=sessions=sess:*,locks:*=- (OTEL_REDIS_CACHE_CACHES), "
            "key_attribute=hash (OTEL_REDIS_CACHE_KEY_ATTRIBUTE), "
            "key_secret=(not shown) (OTEL_REDIS_CACHE_KEY_SECRET); "
        )

    def test_a_wrong_one_is_told_with_what_is_allowed(self, endpoint: str) -> None:
        found = report("--endpoint", endpoint, OTEL_REDIS_CACHE_QUERY_TEXT="full")
        assert (found.code, found["setting query_text"]) == (
            1,
            {
                "name": "setting query_text",
                "state": "warning",
                "found": "query_text is 'full'; allowed: sanitized, keys or off; the default is used",
                "next": "correct OTEL_REDIS_CACHE_QUERY_TEXT, or unset it",
            },
        )

    def test_two_that_do_not_go_together_are_told(self, endpoint: str) -> None:
        found = report("--endpoint", endpoint, OTEL_REDIS_CACHE_KEY_ATTRIBUTE="hash")
        assert "needs key_secret" in found["setting key_attribute"]["found"]

    def test_a_misspelt_one_is_told_with_what_may_be_meant(self, endpoint: str) -> None:
        ended = run("--endpoint", endpoint, environment={"OTEL_REDIS_CACHE_CACHE": "a=b:*"})
        assert ended.returncode == 1
        assert "OTEL_REDIS_CACHE_CACHE is no setting" in ended.stdout
        assert "next: did you mean OTEL_REDIS_CACHE_CACHES?" in ended.stdout


class TestExports:
    @pytest.mark.parametrize("protocol", ["grpc", "http"])
    def test_a_real_collector_gets_the_span_and_the_metric(
        self, collector: Collector, protocol: str
    ) -> None:
        endpoint = collector.grpc_endpoint if protocol == "grpc" else collector.http_endpoint
        found = report("--endpoint", endpoint, "--protocol", protocol)
        assert found.states("OTLP endpoint", "test span", "test metric") == ["ok"] * 3
        assert found.code == 0
        spans = collector.wait_for(lambda it: it.spans())
        assert [span.name for span in spans] == ["otel-redis-cache doctor"]
        (point,) = collector.wait_for(lambda it: it.metrics("otel_redis_cache.doctor"))
        assert point.value == 1

    def test_the_other_protocol_is_told_apart(self, shared_collector: Collector) -> None:
        grpc_place = shared_collector.grpc_endpoint.removeprefix("http://")
        http_place = shared_collector.http_endpoint.removeprefix("http://")
        found = report(OTEL_EXPORTER_OTLP_ENDPOINT=shared_collector.http_endpoint)
        assert (found.code, found.states("test span", "test metric")) == (2, ["skipped"] * 2)
        assert found["OTLP endpoint"]["found"] == (
            f"{http_place} speaks OTLP over HTTP, and grpc is configured"
        )
        assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in found["OTLP endpoint"]["next"]
        found = report(
            "--endpoint",
            shared_collector.grpc_endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        )
        assert found["OTLP endpoint"]["found"] == (
            f"{grpc_place} speaks OTLP over gRPC, and http/protobuf is configured"
        )

    def test_each_signal_goes_where_its_own_variables_say(
        self, collector: Collector, endpoint: str
    ) -> None:
        metrics = f"{collector.http_endpoint}/v1/metrics"
        found = report(
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=metrics,
            OTEL_EXPORTER_OTLP_METRICS_PROTOCOL="http/protobuf",
        )
        assert found.code == 0
        endpoints = [check["found"] for check in found.checks if check["name"] == "OTLP endpoint"]
        assert endpoints == [
            f"{endpoint} (OTEL_EXPORTER_OTLP_ENDPOINT) speaks OTLP over gRPC",
            f"{metrics} (OTEL_EXPORTER_OTLP_METRICS_ENDPOINT) speaks OTLP over HTTP",
        ]
        assert collector.wait_for(lambda it: it.metrics("otel_redis_cache.doctor"))

    def test_who_we_are_must_be_set(self, endpoint: str) -> None:
        found = report("--endpoint", endpoint, OTEL_SERVICE_NAME="")
        assert (found.code, found["service.name"]["state"]) == (1, "warning")
        assert "OTEL_SERVICE_NAME" in found["service.name"]["next"]
        found = report("--endpoint", endpoint, OTEL_RESOURCE_ATTRIBUTES="service.instance.id=one")
        assert (
            "right where this environment is for one process"
            in (found["service.instance.id"]["found"])
        )

    def test_what_keeps_telemetry_from_going_out_is_told(self, endpoint: str) -> None:
        found = report(
            "--endpoint", endpoint, OTEL_SDK_DISABLED="true", OTEL_METRICS_EXPORTER="none"
        )
        assert found.code == 1
        assert found.states("OpenTelemetry SDK", "exporter, metrics") == ["warning"] * 2

    def test_a_refused_stranger_is_told_without_the_credentials(self) -> None:
        said = Status(code=16, message=f"no such token: {PASSWORD}").SerializeToString()
        with http_server(401, said) as url:
            found = report(
                *("--endpoint", url, "--protocol", "http"),
                OTEL_EXPORTER_OTLP_HEADERS=f"x-token={PASSWORD}",
            )
        assert (found.code, found["OTLP endpoint"]["state"]) == (2, "ok")
        assert found["test span"]["found"] == (
            f"{url}/v1/traces does not let us in (401): no such token: ***"
        )
        assert found["test metric"]["state"] == "broken"

    def test_a_stranger_is_refused_by_grpc_too(self) -> None:
        with grpc_server(grpc.StatusCode.UNAUTHENTICATED) as url:
            found = report("--endpoint", url)
        assert found["OTLP endpoint"]["state"] == "ok"
        assert "does not let us in (UNAUTHENTICATED)" in found["test span"]["found"]
        assert "OTEL_EXPORTER_OTLP_HEADERS" in found["test span"]["next"]

    def test_grpc_that_is_no_otlp_is_told(self) -> None:
        with grpc_server(grpc.StatusCode.UNIMPLEMENTED) as url:
            found = report("--endpoint", url)
        assert "speaks gRPC, and does not take traces by OTLP" in found["OTLP endpoint"]["found"]

    def test_a_span_that_was_rejected_is_told_with_the_reason(self) -> None:
        partial = ExportTracePartialSuccess(rejected_spans=1, error_message="quota is used up")
        answer = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
        with http_server(200, answer) as url:
            found = report("--endpoint", url, "--protocol", "http")
        assert (found.code, found["test span"]["state"]) == (2, "broken")
        assert found["test span"]["found"] == "rejected: quota is used up"

    def test_http_that_is_no_otlp_is_told(self) -> None:
        with http_server(404, b"<html>", "text/html") as url:
            found = report("--endpoint", url, "--protocol", "http")
            assert "does not take OTLP at /v1/traces (404)" in found["OTLP endpoint"]["found"]
        with http_server(200, b"<html>", "text/html") as url:
            found = report("--endpoint", url, "--protocol", "http")
            assert found["test span"]["found"].endswith("answers, but not as OTLP does")

    @pytest.mark.parametrize("protocol", ["grpc", "http"])
    def test_something_else_is_told(self, valkey_server: RedisServer, protocol: str) -> None:
        place = f"{valkey_server.host}:{valkey_server.port}"
        found = report("--endpoint", f"http://{place}", "--protocol", protocol)
        assert found.code == 2
        assert f"{place} gives no answer over " in found["OTLP endpoint"]["found"]

    @pytest.mark.parametrize("protocol", ["grpc", "http"])
    def test_tls_on_one_side_only_is_told(
        self, tls_server: TlsServer, shared_collector: Collector, protocol: str
    ) -> None:
        place = f"127.0.0.1:{tls_server.tls_port}"
        found = report("--endpoint", f"http://{place}", "--protocol", protocol)
        assert found["OTLP endpoint"]["found"] == f"{place} speaks TLS, and the URL is without"
        place = shared_collector.grpc_endpoint.removeprefix("http://")
        found = report("--endpoint", f"https://{place}", "--protocol", protocol)
        assert found["OTLP endpoint"]["found"] == (
            f"{place} does not speak TLS, which the URL asks for"
        )

    def test_a_certificate_that_is_not_trusted_is_told(self, tls_server: TlsServer) -> None:
        found = report("--endpoint", f"https://127.0.0.1:{tls_server.tls_port}")
        assert "is not trusted: self-signed certificate" in found["OTLP endpoint"]["found"]
        assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in found["OTLP endpoint"]["next"]

    def test_tls_with_a_certificate_will_do(
        self, collector_binary: Path, tls_server: TlsServer, tmp_path: Path
    ) -> None:
        certificates = tls_server.certificates
        files = {"cert_file": str(certificates.certificate), "key_file": str(certificates.key)}
        with_tls = {"tls": files | {"client_ca_file": files["cert_file"]}}
        protocols = {"grpc": with_tls, "http": with_tls}
        more = tmp_path / "tls.yaml"
        more.write_text(json.dumps({"receivers": {"otlp": {"protocols": protocols}}}))
        variables = {
            "OTEL_EXPORTER_OTLP_CERTIFICATE": files["cert_file"],
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": files["cert_file"],
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": files["key_file"],
        }
        with Collector(collector_binary, more) as collector:
            for protocol, url in (
                ("grpc", collector.grpc_endpoint),
                ("http", collector.http_endpoint),
            ):
                secured = url.replace("http://", "https://")
                found = report("--endpoint", secured, "--protocol", protocol, **variables)
                assert found.states("OTLP endpoint", "test span", "test metric") == ["ok"] * 3
        missing = variables | {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file"}
        found = report("--endpoint", f"https://127.0.0.1:{tls_server.tls_port}", **missing)
        assert found["OTLP endpoint"]["found"] == "the certificates for TLS cannot be read"

    @pytest.mark.parametrize(
        ("url", "protocol", "text"),
        [
            ("localhost:4318", "http", "no URL of an endpoint"),
            ("", "grpc", "no URL of an endpoint"),
            ("http://", "grpc", "no URL of an endpoint"),
            ("http://localhost:port", "grpc", "no URL of an endpoint"),
            (f"http://me:{PASSWORD}@localhost:4317", "grpc", "which gRPC does not send"),
            (f"ftp://me:{PASSWORD}@localhost", "http", "no URL of an endpoint"),
            ("http://no-such-host.invalid:4317", "grpc", "is not known here"),
        ],
    )
    def test_a_url_that_is_none_is_told(self, url: str, protocol: str, text: str) -> None:
        found = report("--endpoint", url, "--protocol", protocol)
        assert found.code == 2
        broken = [check["found"] for check in found.checks if check["state"] == "broken"]
        assert broken
        assert all(text in it for it in broken)

    def test_a_protocol_that_is_none_is_told(self) -> None:
        found = report(OTEL_EXPORTER_OTLP_PROTOCOL="http/json")
        assert found.code == 2
        assert found["OTLP endpoint, traces"]["found"] == (
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json', which Python does not speak"
        )


@contextmanager
def grpc_server(code: grpc.StatusCode) -> Generator[str]:
    """A server that refuses every call."""
    from concurrent.futures import ThreadPoolExecutor

    class Refusal(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails):
            def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
                context.abort(code, "go away")

            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((Refusal(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(grace=1).wait()


class TestRights:
    ALL = ("may INFO", "may SCAN", "may MEMORY USAGE", "may SUBSCRIBE")

    @pytest.mark.parametrize("may_rehearse", [False, True], ids=["tried", "rehearsed"])
    def test_each_that_is_missing_is_told_with_its_rule(
        self, server: RedisServer, may_rehearse: bool
    ) -> None:
        rehearsal = ["+acl|dryrun", "+acl|whoami"] if may_rehearse else []
        with user(server, "~*", "+ping", "+scan", *rehearsal) as url:
            found = report("--redis-url", url)
        assert found.states(*self.ALL) == ["warning", "ok", "warning", "warning"]
        assert [found[name]["next"].split()[-1] for name in self.ALL if found[name]["next"]] == [
            "+info",
            "+memory|usage",
            "+subscribe",
        ]
        assert found.states("server", "keyspace events", "maxmemory") == ["skipped"] * 3

    @pytest.mark.parametrize("may_rehearse", [False, True], ids=["tried", "rehearsed"])
    def test_keys_and_channels_that_are_missing_are_told(
        self, redis_server: RedisServer, may_rehearse: bool
    ) -> None:
        rehearsal = [] if may_rehearse else ["-acl"]
        with user(redis_server, "~page:*", "resetchannels", "+@all", *rehearsal) as url:
            found = report("--redis-url", url)
        assert found.states(*self.ALL) == ["ok", "ok", "warning", "warning"]
        assert found["may MEMORY USAGE"]["next"] == "ACL SETUSER <this user> ~*"
        assert found["may SUBSCRIBE"]["next"] == "ACL SETUSER <this user> &__keyevent@*__:*"

    def test_a_user_who_may_nothing_is_answered_all_the_same(
        self, redis_server: RedisServer
    ) -> None:
        with user(redis_server) as url:
            found = report("--redis-url", url)
        assert found["Redis"]["state"] == "ok"
        assert found.states(*self.ALL) == ["warning"] * 4


class TestServer:
    def test_nothing_is_written(self, server: RedisServer) -> None:
        fill(server, "page", 5)
        server.reset_stats()
        report("--redis-url", server.url)
        calls = server.commandstats().keys()
        assert {"info", "scan", "pttl", "config|get", "acl|dryrun"} <= calls
        assert not calls & {"set", "del", "eval", "expire", "config|set", "subscribe"}
        assert server.call("DBSIZE") == 5

    def test_a_server_without_a_limit_is_told(self, valkey_server: RedisServer) -> None:
        found = report("--redis-url", valkey_server.url)
        assert found["maxmemory"]["state"] == "warning"
        assert found["maxmemory"]["found"].startswith("no limit (policy noeviction)")

    def test_a_server_that_would_refuse_writes_is_told(self, valkey_server: RedisServer) -> None:
        with as_cache(valkey_server):
            valkey_server.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
            found = report("--redis-url", valkey_server.url)
        assert found["maxmemory"]["found"] == (
            "64 MiB, policy noeviction: when it is full, writes fail"
        )

    def test_entries_that_never_expire_are_told_by_cache(self, redis_server: RedisServer) -> None:
        redis_server.flush()
        fill(redis_server, "page", 60, "EX", "100")
        fill(redis_server, "user", 30)
        fill(redis_server, "cart", 10)
        with as_cache(redis_server):
            redis_server.call("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
            found = report("--redis-url", redis_server.url)
            assert found["entries without TTL"]["state"] == "warning"
            assert found["entries without TTL"]["found"].startswith(
                "40 of 100 looked at (40%): user 30, cart 10; with policy volatile-lru they stay"
            )
            redis_server.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            assert report("--redis-url", redis_server.url)["entries without TTL"]["state"] == "ok"

    def test_only_some_of_many_entries_are_looked_at(self, valkey_server: RedisServer) -> None:
        valkey_server.flush()
        valkey_server.call("DEBUG", "POPULATE", "50000")
        valkey_server.reset_stats()
        found = report("--redis-url", valkey_server.url)
        looked_at = re.match(
            r"([\d,]+) of ([\d,]+) looked at", found["entries without TTL"]["found"]
        )
        assert looked_at
        assert 0 < int(looked_at[2].replace(",", "")) < 1500
        assert valkey_server.commandstats()["pttl"] < 1500

    def test_keyspace_events_matter_where_they_are_listened_to(
        self, redis_server: RedisServer
    ) -> None:
        found = report("--redis-url", redis_server.url, OTEL_REDIS_CACHE_LISTEN_EVENTS="true")
        assert found["keyspace events"]["state"] == "warning"
        assert found["keyspace events"]["next"] == "CONFIG SET notify-keyspace-events 'Exe'"
        redis_server.call("CONFIG", "SET", "notify-keyspace-events", "Exe")
        try:
            found = report("--redis-url", redis_server.url, OTEL_REDIS_CACHE_LISTEN_EVENTS="true")
        finally:
            redis_server.call("CONFIG", "SET", "notify-keyspace-events", "")
        assert found["keyspace events"]["found"].startswith("on (")

    def test_the_server_that_is_watched_is_looked_at(self, redis_server: RedisServer) -> None:
        with user(redis_server, "~*", "&*", "+@all") as url:
            found = report(OTEL_REDIS_CACHE_WATCH=url)
        assert (
            found["Redis"]["found"]
            == f"redis://***@{redis_server.host}:{redis_server.port}/0 answers"
        )
        assert f"watch=redis://***@{redis_server.host}:" in found["settings"]["found"]

    def test_a_socket_of_unix_will_do(self, redis_server: RedisServer) -> None:
        found = report("--redis-url", f"unix://{redis_server.socket}")
        assert found.states("Redis", "server", "may INFO") == ["ok"] * 3

    def test_tls_with_a_certificate_will_do(self, tls_server: TlsServer) -> None:
        authority = tls_server.certificates.certificate
        url = f"rediss://127.0.0.1:{tls_server.tls_port}/0?ssl_ca_certs={authority}"
        assert report("--redis-url", url).states("Redis", "server") == ["ok"] * 2

    def test_a_certificate_that_the_server_wants_will_do(self, tls_server: TlsServer) -> None:
        authority, key = tls_server.certificates.certificate, tls_server.certificates.key
        trusting = f"rediss://127.0.0.1:{tls_server.tls_port}/0?ssl_ca_certs={authority}"
        tls_server.call("CONFIG", "SET", "tls-auth-clients", "yes")
        try:
            found = report("--redis-url", trusting)
            assert found["Redis"]["state"] == "broken"
            assert found["Redis"]["next"].endswith("ssl_certfile, ssl_keyfile in the URL")
            known = f"{trusting}&ssl_certfile={authority}&ssl_keyfile={key}"
            found = report("--redis-url", known)
            assert found["Redis"]["state"] == "ok"
        finally:
            tls_server.call("CONFIG", "SET", "tls-auth-clients", "no")

    def test_a_replica_is_told_with_its_primary(self, valkey_server: RedisServer) -> None:
        with RedisServer(valkey_server.kind, valkey_server.binary) as replica:
            replica.call("REPLICAOF", "127.0.0.1", str(free_ports(1)[0]))
            found = report("--redis-url", replica.url)
        assert found["server"]["state"] == "warning"
        assert "replica that has lost its primary 127.0.0.1:" in found["server"]["found"]

    def test_sentinels_name_the_primary(self, valkey_sentinels: Sentinels) -> None:
        valkey_sentinels.revive()
        host, port = valkey_sentinels.addresses[0]
        url = f"redis+sentinel://{host}:{port}/{valkey_sentinels.service}"
        assert report("--redis-url", url)["server"]["found"].endswith(", primary")
        found = report("--redis-url", f"{url}x")
        assert "names a primary that is called" in found["Redis"]["found"]


class TestTrouble:
    @pytest.mark.parametrize(
        ("url", "text"),
        [
            (f"http://me:{PASSWORD}@localhost", "is no URL of a Redis"),
            (f"redis://me:{PASSWORD}/x@localhost:6379/0", "is no URL of a Redis"),
            (f"redis://me:{PASSWORD}@localhost:port/0", "is no URL of a Redis"),
            (f"redis://me:{PASSWORD}@localhost:99999/0", "is no URL of a Redis"),
            (f"redis://me:{PASSWORD}@no-such-host.invalid:1/0", "is not known here"),
            ("unix:///no/such/socket", "nobody listens at /no/such/socket"),
            (f"redis+sentinel://me:{PASSWORD}@127.0.0.1:1/x", "no Sentinel of 1 names"),
            ("", "is no URL of a Redis"),
        ],
    )
    def test_a_url_that_leads_nowhere_is_one_line(self, url: str, text: str) -> None:
        found = report("--redis-url", url)
        assert (found.code, found["Redis"]["state"]) == (2, "broken")
        assert text in found["Redis"]["found"]
        assert found["Redis"]["next"]

    def test_a_host_where_nobody_listens_is_one_line(self) -> None:
        (port,) = free_ports(1)
        found = report("--redis-url", f"redis://me:{PASSWORD}@127.0.0.1:{port}/0")
        assert found["Redis"]["found"] == f"nobody listens at 127.0.0.1:{port}"

    def test_a_wrong_password_is_one_line(self, server: RedisServer) -> None:
        found = report("--redis-url", f"redis://me:{PASSWORD}@127.0.0.1:{server.port}/0")
        assert found["Redis"]["found"] == (
            f"127.0.0.1:{server.port} refuses this user and password"
        )

    def test_a_missing_password_is_one_line(self, redis_server: RedisServer) -> None:
        redis_server.call("ACL", "SETUSER", "default", f">{PASSWORD}", "resetpass", f">{PASSWORD}")
        try:
            found = report("--redis-url", redis_server.url)
        finally:
            restore_default_user(redis_server)
        assert found["Redis"]["found"].endswith("asks for a user and a password")

    def test_a_database_that_is_none_is_one_line(self, redis_server: RedisServer) -> None:
        found = report("--redis-url", f"redis://127.0.0.1:{redis_server.port}/999")
        assert found["Redis"]["found"].endswith("has no such database")

    def test_a_server_that_is_full_is_one_line(self, redis_server: RedisServer) -> None:
        with RedisServer(redis_server.kind, redis_server.binary) as full:
            full.call("CONFIG", "SET", "maxclients", "1")
            with socket.create_connection((full.host, full.port)) as taken:
                taken.sendall(b"PING\r\n")
                assert taken.recv(7) == b"+PONG\r\n"
                found = report("--redis-url", full.url)
        assert found["Redis"]["found"].endswith("it has as many clients as it may have")
        assert found["Redis"]["next"] == "try again later"

    def test_tls_on_one_side_only_is_told(self, tls_server: TlsServer) -> None:
        plain, secured = tls_server.port, tls_server.tls_port
        found = report("--redis-url", f"redis://127.0.0.1:{secured}/0")
        assert found["Redis"]["found"] == f"127.0.0.1:{secured} speaks TLS, and the URL is without"
        found = report("--redis-url", f"rediss://127.0.0.1:{plain}/0")
        assert found["Redis"]["found"] == (
            f"127.0.0.1:{plain} does not speak TLS, which the URL asks for"
        )
        found = report("--redis-url", f"rediss://127.0.0.1:{secured}/0")
        assert "is not trusted: self-signed certificate" in found["Redis"]["found"]
        assert found["Redis"]["next"].endswith("ssl_ca_certs=FILE in the URL")

    def test_what_is_no_redis_is_told(self, endpoint: str) -> None:
        with http_server(200) as url:
            place = url.removeprefix("http://")
            found = report("--redis-url", f"redis://me:{PASSWORD}@{place}/0")
        assert found["Redis"]["found"] == f"{place} does not answer as Redis does"
        place = endpoint.removeprefix("http://")
        found = report("--redis-url", f"redis://me:{PASSWORD}@{place}/0")
        assert found["Redis"]["found"] == f"{place} does not answer as Redis does"

    def test_who_never_answers_is_told(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            place = f"127.0.0.1:{silent.getsockname()[1]}"
            found = report("--redis-url", f"redis://{place}/0")
        assert found["Redis"]["found"] == (
            f"{place} accepts connections, and answers nothing within 3 s"
        )

    def test_who_says_yes_to_everything_is_told(self) -> None:
        with yes_man() as place:
            found = report("--redis-url", f"redis://me:{PASSWORD}@{place}/0")
        assert found.code == 2
        assert [check["found"] for check in found.checks][-1].startswith("no more checks")


@contextmanager
def yes_man() -> Generator[str]:
    """Answers every command with OK, as no Redis does."""

    class Yes(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                if line.startswith(b"*"):
                    self.wfile.write(b"+OK\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Yes) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def restore_default_user(server: RedisServer) -> None:
    """Over a connection that knows the password."""
    with socket.create_connection((server.host, server.port), timeout=5) as connection:
        connection.sendall(f"AUTH {PASSWORD}\r\nACL SETUSER default nopass\r\n".encode())
        said = b""
        while said.count(b"\r\n") < 2:
            said += connection.recv(100)
        assert said == b"+OK\r\n+OK\r\n"


def test_ctrl_c_is_no_verdict() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        asked = ("--redis-url", url, "--endpoint", "http://127.0.0.1:9")
        command = [sys.executable, "-c", HEARING_CTRL_C, *COMMAND, *asked]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            waiting, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
            waiting.close()
    assert (process.returncode, errors) == (130, "Stopped.\n")
