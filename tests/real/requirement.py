"""Which real parts a test session had, which it missed, and when missing one is a failure."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

PARTS = (
    "redis",
    "valkey",
    "collector",
    "docker",
    "promtool",
    "prometheus",
    "hosts",
    "jaeger",
    "compose",
    "chromium",
)

# Filled while the session runs, read by the summary at its end: part -> what it was, or why there is none.
ran: dict[str, str] = {}
absent: dict[str, str] = {}


def required() -> frozenset[str]:
    """The parts that this machine promises to have, from `OTEL_REDIS_CACHE_REQUIRE`."""
    named = {part.strip() for part in os.environ.get("OTEL_REDIS_CACHE_REQUIRE", "").split(",")} - {
        ""
    }
    if unknown := named.difference(PARTS):
        raise pytest.UsageError(
            f"OTEL_REDIS_CACHE_REQUIRE: {sorted(unknown)} is not one of {', '.join(PARTS)}"
        )
    return frozenset(named)


def missing(part: str, reason: str) -> NoReturn:
    """End the test: a skip that says why, or a failure where the part was promised."""
    absent[part] = reason
    if part in required():
        pytest.fail(f"{part} is required here, but {reason}", pytrace=False)
    pytest.skip(reason)
