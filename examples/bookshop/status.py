"""The same shop with two more pages: what its cache has been doing, and whether it is well.

Run it as ``bookshop.status:app``. This is the only file of the shop that knows of the package.
"""

from __future__ import annotations

from fastapi import Response

from otel_redis_cache import Health, Snapshot, health, snapshot

from .shop import app


@app.get("/status")
def show_status() -> Snapshot:
    return snapshot()


@app.get("/health")
def show_health(response: Response) -> Health:
    found = health()
    response.status_code = 503 if found["status"] == "unhealthy" else 200
    return found
