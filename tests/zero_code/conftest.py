from __future__ import annotations

import pytest

from tests.real.servers import RedisServer, binary_of

from .applications import CONTRIB, Environment


@pytest.fixture
def server(request: pytest.FixtureRequest) -> RedisServer:
    """Either kind will do here: other tests compare them."""
    kind = "valkey" if binary_of("valkey") else "redis"
    running: RedisServer = request.getfixturevalue(f"{kind}_server")
    running.flush()
    running.reset_stats()
    return running


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """This package is the only one here that instruments Redis."""
    return Environment(tmp_path_factory.mktemp("environment"), without=(CONTRIB,))
