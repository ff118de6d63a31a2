"""OpenTelemetry spans and metrics for Redis caches: latency, hit ratio and invalidations."""

from __future__ import annotations

from otel_redis_cache.checkup import Health, health
from otel_redis_cache.instrumentor import RedisCacheInstrumentor
from otel_redis_cache.settings import SettingError
from otel_redis_cache.snapshots import Snapshot, snapshot

__all__ = ["Health", "RedisCacheInstrumentor", "SettingError", "Snapshot", "health", "snapshot"]
