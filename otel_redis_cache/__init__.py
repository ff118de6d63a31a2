"""OpenTelemetry spans and metrics for Redis caches: latency, hit ratio and invalidations."""

from __future__ import annotations

from otel_redis_cache.instrumentor import RedisCacheInstrumentor
from otel_redis_cache.settings import SettingError

__all__ = ["RedisCacheInstrumentor", "SettingError"]
