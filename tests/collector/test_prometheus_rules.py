"""The rules that we ship for Prometheus: A4.7 and A4.9 of `docs/scenarios.md`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from otel_redis_cache import conventions as names
from tests.collector.test_collector_config import application
from tests.real.collector import CONFIGURATION, Collector

RULES = CONFIGURATION / "prometheus-rules.yaml"
SERIES = Path(__file__).with_name("prometheus-rules.test.yaml")


def say(promtool: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [promtool, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_rules_are_valid(promtool: Path) -> None:
    done = say(promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES)

    assert done.returncode == 0, done.stdout + done.stderr


def test_growth_time_to_full_and_fragmentation_are_told_where_they_mean_something(
    promtool: Path,
) -> None:
    done = say(promtool, "test", "rules", SERIES)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_read_what_prometheus_is_shown(collector: Collector) -> None:
    """Names as the Collector writes them, with the attributes that the rules group by."""
    read = set(re.findall(r"(?<![:\w])redis_\w+(?=\))", RULES.read_text(encoding="utf-8")))
    server = {names.SERVER_ADDRESS: "cache", names.SERVER_PORT: 6380}
    with application(collector) as app:
        for metric in (names.MEMORY_USED, names.MAX_MEMORY, names.MEMORY_FRAGMENTATION):
            gauge = app.meter.create_gauge(metric.name, metric.unit, metric.description)
            gauge.set(1, server)
        app.flush()
    pages = [collector.wait_for(lambda it, n=name: it.prometheus_samples(n)) for name in read]

    assert len(read) == 3
    for (sample,) in pages:
        assert {"server_address": "cache", "server_port": "6380"}.items() <= sample.labels.items()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("offset 30m", "offset 1s"),
        ("bytes_per_second > 0", "bytes_per_second"),
        ("redis_maxmemory_bytes) > 0", "redis_maxmemory_bytes)"),
        ("max by", "sum by"),
        (
            "clamp_min(redis:memory_limit:bytes - redis:memory_used:bytes, 0)",
            "(redis:memory_limit:bytes - redis:memory_used:bytes)",
        ),
        (" and redis:memory_used:bytes >= 100 * 1024 * 1024", ""),
    ],
)
def test_a_rule_that_says_too_much_is_found(
    promtool: Path, tmp_path: Path, right: str, wrong: str
) -> None:
    rules, series = RULES.read_text(encoding="utf-8"), SERIES.read_text(encoding="utf-8")
    assert right in rules
    (tmp_path / RULES.name).write_text(rules.replace(right, wrong), encoding="utf-8")
    path = tmp_path / SERIES.name
    path.write_text(re.sub(r"rule_files: .*", f"rule_files: [{RULES.name}]", series), "utf-8")

    assert say(promtool, "test", "rules", path).returncode == 1
