"""What the Collector's Prometheus exporter makes of our names; a test holds this against a real one."""

from __future__ import annotations

from otel_redis_cache import conventions as names

METRICS = (*names.METRICS, *names.SERVER_METRICS)

_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "By": "bytes"}
_RATES = {"{ops}/s": "per_second"}
_PARTS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def names_of(metric: names.Metric) -> set[str]:
    """The names of its samples: `cache_requests_total`, `cache_ttl_seconds_bucket`."""
    name = metric.name.replace(".", "_")
    unit = _UNITS.get(metric.unit) or _RATES.get(metric.unit)
    if metric.unit == "1" and not name.endswith("_ratio"):
        unit = "ratio"
    if unit and not name.endswith(f"_{unit}"):
        name = f"{name}_{unit}"
    return {name + part for part in _PARTS.get(metric.kind, ("",))}


def label_of(attribute: str) -> str:
    return attribute.replace(".", "_")


LABELS_OF = {
    name: {label_of(attribute) for attribute in metric.attributes}
    for metric in METRICS
    for name in names_of(metric)
}
"""The labels of each name that Prometheus is shown, without those of the resource."""
