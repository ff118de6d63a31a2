"""Watches that ask often, so that tests need not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from otel_redis_cache import Watch, watch_server
from otel_redis_cache.server import watch
from tests.real.servers import RedisServer
from tests.recording import Recording

PERIOD = 0.3
"""Seconds between two questions."""


@contextmanager
def watched(recording: Recording, server: Any, **options: Any) -> Iterator[Watch]:
    """A server, a URL or a client that is watched by the process that also uses it."""
    recording.opt_in(**options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "PERIOD", PERIOD)
        where = server.url if isinstance(server, RedisServer) else server
        made = watch_server(where, meter_provider=recording.meter_provider, **options)
    with made:
        yield made


def told(recording: Recording, metric: str) -> Any:
    """The value of the only point; 0 while there is none."""
    points = recording.points(metric)
    assert len(points) <= 1
    return points[0][1] if points else 0
