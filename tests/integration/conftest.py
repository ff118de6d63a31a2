from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_redis_cache import tallies
from tests.integration.callers import Caller
from tests.integration.removing import CLIENTS, Way, way_of
from tests.real.servers import RedisServer


@pytest.fixture(params=CLIENTS)
def way(request: pytest.FixtureRequest, server: RedisServer) -> Way:
    """Invalidates by a client of one of the libraries, synchronous or not."""
    return way_of(request.param, server)


@pytest.fixture
def alone() -> None:
    """Providers of other tests, which may still live, report nothing."""
    for counts in tallies.in_use():
        counts.silent = True


@pytest.fixture
def own_server(valkey_server: RedisServer) -> Iterator[RedisServer]:
    """A server that a test may do to what it wants."""
    with RedisServer("valkey", valkey_server.binary) as running:
        yield running
        running.revive()


@pytest.fixture(params=CLIENTS)
def caller(request: pytest.FixtureRequest, own_server: RedisServer) -> Iterator[Caller]:
    with Caller(request.param, own_server) as made:
        yield made
