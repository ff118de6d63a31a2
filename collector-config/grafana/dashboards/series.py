"""What Prometheus calls our metrics, and how dashboards ask for them."""

from __future__ import annotations

from collections.abc import Callable

from otel_redis_cache import conventions as names
from otel_redis_cache.conventions import Metric


def label(attribute: str) -> str:
    """An attribute as a label."""
    return attribute.replace(".", "_")


SERVICE = "job"
"""The label that is made of `service.name`."""

CACHE, POOL = label(names.CACHE_NAME), label(names.POOL_NAME)
ADDRESS, PORT, DATABASE = map(label, (names.SERVER_ADDRESS, names.SERVER_PORT, names.DB_NAMESPACE))

OF_SERVICE = f'{SERVICE}=~"$service"'
OF_CACHE = f'{OF_SERVICE}, {CACHE}="$cache"'
OF_POOL = f'{OF_SERVICE}, {POOL}=~"$pool"'
OF_SERVER = f'{ADDRESS}=~"$server", {PORT}=~"$port"'

HIT = f'{label(names.CACHE_REQUEST_TYPE)}="{names.HIT}"'
MISS = f'{label(names.CACHE_REQUEST_TYPE)}="{names.MISS}"'
HIT_OR_MISS = f'{label(names.CACHE_REQUEST_TYPE)}=~"{names.HIT}|{names.MISS}"'
FAILED = f'{label(names.ERROR_TYPE)}!=""'

_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "By": "bytes"}


def series(metric: Metric, part: str = "") -> str:
    """A metric as the Collector shows it to Prometheus; of a histogram its `bucket`, `sum` or `count`."""
    words = [metric.name.replace(".", "_")]
    if metric.unit in _UNITS:
        words.append(_UNITS[metric.unit])
    if metric.kind == "counter":
        words.append("total")
    if part:
        words.append(part)
    return "_".join(words)


def select(metric: Metric, where: str = "", part: str = "") -> str:
    """The series of a metric that are about Redis or Valkey: other databases and caches use the same names."""
    if names.DB_SYSTEM_NAME in metric.attributes:
        ours = f'{label(names.DB_SYSTEM_NAME)}=~"{names.REDIS}|{names.VALKEY}"'
    elif names.POOL_NAME in metric.attributes:
        ours = f'otel_scope_name=~"{names.SCOPE}|redis-py|"'
    else:
        ours = ""
    return f"{series(metric, part)}{{{', '.join(filter(None, (where, ours)))}}}"


def per_second(metric: Metric, where: str, *by: str, part: str = "") -> str:
    """How often now, by these attributes."""
    return f"{_sum(by)}(rate({select(metric, where, part)}[$__rate_interval]))"


def in_range(metric: Metric, where: str, *by: str, part: str = "") -> str:
    """How often in the time that the dashboard shows."""
    return f"{_sum(by)}(increase({select(metric, where, part)}[$__range]))"


def quantile(share: float, metric: Metric, where: str, *by: str) -> str:
    """What `share` of the measurements stay below."""
    buckets = per_second(metric, where, "le", *by, part="bucket")
    return f"histogram_quantile({share}, {buckets})"


def mean(metric: Metric, where: str, *by: str) -> str:
    """The average of the measurements in the time that the dashboard shows."""
    total, count = (in_range(metric, where, *by, part=part) for part in ("sum", "count"))
    return f"{total} / {count}"


def hit_ratio(where: str, *by: str) -> str:
    """Hits / (hits + misses) now, each summed first: ratios of processes are never averaged."""
    return _ratio(per_second, where, by)


def hit_ratio_in_range(where: str, *by: str) -> str:
    """The same over the time that the dashboard shows."""
    return _ratio(in_range, where, by)


def _ratio(count: Callable[..., str], where: str, by: tuple[str, ...]) -> str:
    hits = count(names.CACHE_REQUESTS, f"{where}, {HIT}", *by)
    lookups = count(names.CACHE_REQUESTS, f"{where}, {HIT_OR_MISS}", *by)
    # Without a hit so far there is no series of hits: that is none of the lookups.
    return f"({hits} or 0 * {lookups}) / {lookups}"


def removed_in_an_hour(where: str) -> str:
    """Entries by reason; a rule, as `increase()` does not see the first removal of a process."""
    by_reason = _sum((names.INVALIDATION_REASON,))
    return f"{by_reason}(cache_reason:invalidations:increase1h{{{where}}})"


def or_zero(expression: str) -> str:
    """For what may not have happened yet: then there is no series that could say 0."""
    return f"({expression} or vector(0))"


def _sum(by: tuple[str, ...]) -> str:
    return f"sum by ({', '.join(map(label, by))}) " if by else "sum"
