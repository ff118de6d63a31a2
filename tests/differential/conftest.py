"""Four kinds of server, each with a twin, and what is counted of the calls to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.differential.bench import Bench
from tests.differential.counting import Counting
from tests.real.servers import RedisServer

SERVERS = ("valkey", "redis", "redis_8", "redis_stack")


@pytest.fixture(scope="module")
def counting() -> Iterator[Counting]:
    with Counting() as made:
        yield made


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> RedisServer:
    """A real Valkey and three real Redis, with other commands each."""
    running: RedisServer = request.getfixturevalue(f"{request.param}_server")
    running.revive()
    return running


@pytest.fixture(scope="module")
def twin(server: RedisServer) -> Iterator[RedisServer]:
    """A second server of the same kind."""
    with RedisServer(server.kind, server.binary) as running:
        yield running


@pytest.fixture(scope="module")
def bench(server: RedisServer, twin: RedisServer, counting: Counting) -> Iterator[Bench]:
    with closing(Bench(server, twin, counting)) as made:
        yield made
