from __future__ import annotations

import pytest

from tests.integration.removing import CLIENTS, Way, way_of
from tests.real.servers import RedisServer


@pytest.fixture(params=CLIENTS)
def way(request: pytest.FixtureRequest, server: RedisServer) -> Way:
    """Invalidates by a client of one of the libraries, synchronous or not."""
    return way_of(request.param, server)
