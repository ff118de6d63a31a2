from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from otel_redis_cache import tallies
from tests.integration.callers import Caller
from tests.integration.kinds import KINDS, Kind, Place, ids
from tests.integration.removing import CLIENTS, Way, way_of
from tests.integration.waiting import EventLoop
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


@pytest.fixture(scope="session")
def event_loop_of_clients() -> Iterator[EventLoop]:
    with EventLoop() as loop:
        yield loop


@pytest.fixture(params=KINDS, ids=ids(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of client that the client libraries offer."""
    kind: Kind = request.param
    return kind


@pytest.fixture
def place(request: pytest.FixtureRequest, kind: Kind) -> Place:
    """Where the client goes: up, empty, and with its statistics at zero."""
    running: Place = request.getfixturevalue(kind.place)
    running.revive()
    running.flush()
    running.reset_stats()
    return running


@pytest.fixture
def client(kind: Kind, place: Place, event_loop_of_clients: EventLoop) -> Iterator[Any]:
    """A client of each kind."""
    with kind.connected(place, event_loop_of_clients) as client:
        yield client
