"""The clients that hostile calls are made with are watched for as long as a module is tested."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_redis_cache import RedisCacheInstrumentor
from tests.hostile.test_calls import watched


@pytest.fixture(autouse=True, scope="module")
def _leave() -> Iterator[None]:
    yield
    if watched.cache_info().currsize:
        for each in watched():
            RedisCacheInstrumentor().uninstrument_client(each.client)
        watched.cache_clear()
