"""What only opentelemetry-instrumentation-redis does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from opentelemetry.instrumentation.redis import RedisInstrumentor

from otel_redis_cache import RedisCacheInstrumentor
from tests.real.servers import RedisServer
from tests.recording import Recording

from .packages import Contrib


@pytest.fixture
def client(valkey_server: RedisServer) -> Iterator[Any]:
    valkey_server.flush()
    with redis.Redis.from_url(valkey_server.url) as client:
        yield client


def test_of_two_clients_only_the_one_that_it_watches_is_left_to_it(
    client: Any, valkey_server: RedisServer, recording: Recording
) -> None:
    theirs = Recording()
    recording.instrument()
    client.get("user:1")
    watched: Any
    with redis.Redis.from_url(valkey_server.url) as watched:
        RedisInstrumentor.instrument_client(watched, tracer_provider=theirs.tracer_provider)
        watched.get("user:1")
        watched.pipeline().get("user:1").execute()
        client.get("user:1")
        RedisInstrumentor.uninstrument_client(watched)
        watched.mget("user:1")

    assert [span.name for span in theirs.take()] == ["GET", "GET"]
    assert recording.operations() == ["GET", "GET", "MGET"]
    assert recording.lookups() == {("user", "miss"): 5}


def test_wrappers_that_could_not_leave_from_underneath_us_still_make_the_spans(
    client: Any, recording: Recording
) -> None:
    """Its uninstrument() takes off only what is on top, and says nothing of the rest."""
    contrib = Contrib()
    contrib.switch_on()
    recording.instrument()
    contrib.switch_off()
    client.get("user:1")
    stayed = contrib.spans()
    RedisCacheInstrumentor().uninstrument()
    RedisInstrumentor()._uninstrument()

    assert (len(stayed), recording.spans()) == (1, [])
    assert recording.lookups() == {("user", "miss"): 1}
    assert recording.instrument().is_instrumented_by_opentelemetry
    client.get("user:1")
    assert (contrib.spans(), recording.operations()) == ([], ["GET"])
