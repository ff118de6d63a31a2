from __future__ import annotations

import subprocess
import sys

import otel_redis_cache


def test_the_public_surface_is_small() -> None:
    assert otel_redis_cache.__all__ == [
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


def test_importing_the_core_imports_neither_a_client_nor_the_sdk() -> None:
    program = """
import sys
import otel_redis_cache, otel_redis_cache.instrumentor, otel_redis_cache.otlp
found = [m for m in sys.modules if m.split(".")[0] in ("redis", "valkey", "grpc", "rich")]
found += [m for m in sys.modules if m.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))]
assert not found, found
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
