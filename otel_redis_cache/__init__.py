"""OpenTelemetry spans and metrics for Redis caches: latency, hit ratio and invalidations."""

from __future__ import annotations

from otel_redis_cache.checkup import Health, health
from otel_redis_cache.instrumentor import RedisCacheInstrumentor
from otel_redis_cache.invalidations import Invalidation, invalidate, invalidate_async
from otel_redis_cache.messages import consumed, context_of, payload_of
from otel_redis_cache.reasons import invalidation
from otel_redis_cache.server.watch import Watch
from otel_redis_cache.settings import SettingError
from otel_redis_cache.snapshots import Snapshot, snapshot
from otel_redis_cache.watching import watch_server

__all__ = [
    "Health",
    "Invalidation",
    "RedisCacheInstrumentor",
    "SettingError",
    "Snapshot",
    "Watch",
    "consumed",
    "context_of",
    "health",
    "invalidate",
    "invalidate_async",
    "invalidation",
    "payload_of",
    "snapshot",
    "watch_server",
]
