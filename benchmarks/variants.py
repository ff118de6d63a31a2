"""Who watches: one row for each, and what it has to make of every operation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

BARE, CONTRIB, CONTRIB_UNSAMPLED = "bare", "contrib", "contrib-unsampled"
REDIS_PY, BOTH, BOTH_UNSAMPLED = "redis-py", "both", "both-unsampled"
ON, UNSAMPLED, METRICS, SPANS = "on", "unsampled", "metrics", "spans"
ALL, SUPPRESSED, NO_PROVIDERS = "all", "suppressed", "no-providers"
FLOOR, FLOOR_UNSAMPLED, FLOOR_DURATION = "floor", "floor-unsampled", "floor-duration"


@dataclass(frozen=True)
class Variant:
    """One way to be watched, in a process of its own."""

    label: str
    switch_on: Callable[[], object]
    providers: Literal["sampled", "unsampled"] | None = "sampled"
    spans: int = 0
    """Started for each operation; exported too, where they are sampled."""
    durations: int = 0
    """Measurements of `db.client.operation.duration` for each operation."""
    counts_lookups: bool = False
    during: Callable[[], AbstractContextManager[object]] = nullcontext
    """Around the calls of a round, in each thread."""
    floor: Literal["span and duration", "duration"] | None = None
    """The benchmark itself calls the SDK."""
    enters: str | None = None
    """The package whose functions each operation has to enter."""


def _nothing() -> None:
    pass


def _contrib() -> None:
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    instrumentor: Any = RedisInstrumentor()
    instrumentor.instrument()


def _redis_py() -> None:
    from redis.observability import MetricGroup, OTelConfig, get_observability_instance

    get_observability_instance().init(OTelConfig(metric_groups=list(MetricGroup)))


def _both() -> None:
    _contrib()
    _redis_py()


def _ours(**settings: Any) -> None:
    from otel_redis_cache import RedisCacheInstrumentor

    RedisCacheInstrumentor().instrument(**settings)


def _suppressed() -> AbstractContextManager[object]:
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    return suppress_instrumentation()


_THEIRS = "opentelemetry.instrumentation"
_OURS = "otel_redis_cache"

VARIANTS = {
    BARE: Variant("nobody", _nothing, providers=None),
    CONTRIB: Variant("contrib", _contrib, spans=1, enters=_THEIRS),
    CONTRIB_UNSAMPLED: Variant(
        "contrib, unsampled", _contrib, "unsampled", spans=1, enters=_THEIRS
    ),
    REDIS_PY: Variant("redis-py", _redis_py, durations=1),
    BOTH: Variant("contrib + redis-py", _both, spans=1, durations=1, enters=_THEIRS),
    BOTH_UNSAMPLED: Variant(
        *("contrib + redis-py, unsampled", _both, "unsampled"),
        spans=1,
        durations=1,
        enters=_THEIRS,
    ),
    ON: Variant("this package", _ours, spans=1, durations=1, counts_lookups=True, enters=_OURS),
    UNSAMPLED: Variant(
        *("this package, unsampled", _ours, "unsampled"),
        spans=1,
        durations=1,
        counts_lookups=True,
        enters=_OURS,
    ),
    METRICS: Variant(
        *("this package, metrics only", partial(_ours, traces=False)),
        durations=1,
        counts_lookups=True,
        enters=_OURS,
    ),
    SPANS: Variant(
        "this package, spans only", partial(_ours, metrics="none"), spans=1, enters=_OURS
    ),
    ALL: Variant(
        *("this package, all groups", partial(_ours, metrics="all")),
        spans=1,
        durations=1,
        counts_lookups=True,
        enters=_OURS,
    ),
    SUPPRESSED: Variant("this package, suppressed", _ours, during=_suppressed, enters=_OURS),
    NO_PROVIDERS: Variant("this package, no providers", _ours, providers=None, enters=_OURS),
    FLOOR: Variant(
        *("SDK alone", _nothing),
        spans=1,
        durations=1,
        floor="span and duration",
    ),
    FLOOR_UNSAMPLED: Variant(
        *("SDK alone, unsampled", _nothing, "unsampled"),
        spans=1,
        durations=1,
        floor="span and duration",
    ),
    FLOOR_DURATION: Variant("SDK alone, duration only", _nothing, durations=1, floor="duration"),
}
