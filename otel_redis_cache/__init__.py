"""OpenTelemetry spans and metrics for Redis caches: latency, hit ratio and invalidations."""

from __future__ import annotations

from otel_redis_cache.instrumentor import RedisCacheInstrumentor
from otel_redis_cache.invalidations import Invalidation, invalidate, invalidate_async
from otel_redis_cache.reasons import invalidation
from otel_redis_cache.settings import SettingError

__all__ = [
    "Invalidation",
    "RedisCacheInstrumentor",
    "SettingError",
    "invalidate",
    "invalidate_async",
    "invalidation",
]
