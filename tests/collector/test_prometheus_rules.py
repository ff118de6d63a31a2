"""The rules that we ship for Prometheus: A4.7 and A4.9 of `docs/scenarios.md`, and all others."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otel_redis_cache import conventions as names
from tests.collector.test_collector_config import application
from tests.real.collector import Collector

from .prometheus_names import LABELS_OF, METRICS, label_of, names_of
from .prometheus_rules import (
    FILES,
    PROMETHEUS,
    RUNBOOKS,
    TESTS,
    Rule,
    alerts,
    all_rules,
    groups_of,
    promtool_tests_of,
    recorded,
    run,
    say,
    thresholds,
    thresholds_of,
)
from .promql import reads_of

DECLARED_BY_USERS = {"redis:maxmemory_policy:info"}
OF_A_RESOURCE = {"job", "instance"}
OF_PROMETHEUS = {"le", "otel_scope_name", "policy"}
LABELS = {label_of(it) for metric in METRICS for it in metric.attributes}
LABELS |= OF_A_RESOURCE | OF_PROMETHEUS


def test_the_rules_and_the_configuration_are_valid(promtool: Path) -> None:
    rules = say(promtool, "check", "rules", "--lint=all", "--lint-fatal", *FILES)
    config = say(promtool, "check", "config", PROMETHEUS / "prometheus.yaml")

    assert rules.returncode == 0, rules.stdout + rules.stderr
    assert config.returncode == 0, config.stdout + config.stderr
    assert "3 rule files found" in config.stdout


def test_a_file_of_a_user_s_own_is_loaded_beside_ours(promtool: Path, tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    overrides = tmp_path / "prometheus" / "overrides"
    overrides.mkdir()
    shutil.copy(TESTS[0].with_name("overrides.yaml"), overrides / "ours.yaml")
    config = say(promtool, "check", "config", tmp_path / "prometheus" / "prometheus.yaml")

    assert config.returncode == 0, config.stdout + config.stderr
    assert "4 rule files found" in config.stdout


def test_prometheus_scrapes_where_the_collector_shows_its_metrics() -> None:
    configuration = (PROMETHEUS.parent / "collector.yaml").read_text(encoding="utf-8")
    shown = re.search(r"PROMETHEUS_ADDRESS:-([\w.:]+)", configuration)
    own = re.search(r"COLLECTOR_METRICS_PORT:-(\d+)", configuration)
    targets = PROMETHEUS / "targets"

    assert shown
    assert own
    assert f'"{shown[1]}"' in (targets / "applications.yaml").read_text(encoding="utf-8")
    assert f':{own[1]}"' in (targets / "collectors.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("test", TESTS, ids=lambda path: path.name.partition(".")[0])
def test_rules_say_what_was_reckoned_by_hand(promtool: Path, tmp_path: Path, test: Path) -> None:
    assert run(promtool, test, tmp_path) == ""


def test_our_names_in_prometheus_are_those_that_a_collector_shows(collector: Collector) -> None:
    with application(collector) as app:
        for metric in METRICS:
            attributes = dict.fromkeys(metric.attributes, "x")
            if metric.kind == "histogram":
                app.meter.create_histogram(metric.name, metric.unit).record(1, attributes)
            elif metric.kind == "counter":
                app.meter.create_counter(metric.name, metric.unit).add(1, attributes)
            elif metric.kind == "updowncounter":
                app.meter.create_up_down_counter(metric.name, metric.unit).add(1, attributes)
            else:
                app.meter.create_gauge(metric.name, metric.unit).set(1, attributes)
        app.flush()
    last = min(names_of(METRICS[-1]))
    collector.wait_for(lambda it: it.prometheus_samples(last))
    shown = {
        line.partition("{")[0]: set(re.findall(r'(\w+)="', line))
        for line in collector.prometheus_text().splitlines()
        if not line.startswith("#") and not line.startswith("target_info")
    }

    assert shown.keys() == LABELS_OF.keys()
    for name, labels in LABELS_OF.items():
        assert labels | OF_A_RESOURCE <= shown[name]


def test_rules_read_only_what_is_emitted_or_recorded() -> None:
    """A metric or an attribute that gets another name in `conventions.py` is missed here."""
    known = LABELS_OF.keys() | {rule.name for rule in all_rules()} | DECLARED_BY_USERS
    read: set[str] = set()
    for rule in all_rules():
        found = reads_of(rule.expression)
        read |= found.metrics
        assert found.metrics <= known, rule
        assert found.labels <= LABELS, rule
        for metric, label in found.matchers:
            of_metric = LABELS_OF.get(metric, LABELS)
            assert label in of_metric | OF_A_RESOURCE | OF_PROMETHEUS, (rule, metric)

    assert len(read & LABELS_OF.keys()) > 20
    assert {rule.name for rule in thresholds()} <= read
    assert DECLARED_BY_USERS <= read


def test_a_metric_with_another_name_would_be_missed() -> None:
    renamed = names.CACHE_REQUESTS._replace(name="cache.lookups")
    read = {metric for rule in recorded() for metric in reads_of(rule.expression).metrics}

    assert names_of(names.CACHE_REQUESTS) <= read
    assert not names_of(renamed) & read


def test_the_reasons_that_are_none_are_those_that_we_give_by_ourselves() -> None:
    (rule,) = [it for it in recorded() if it.name == "cache:explained_invalidations:increase1h"]
    (left_out,) = re.findall(r'!~"([^"]+)"', rule.expression)

    assert set(left_out.split("|")) == set(names.REASONS)


def test_sums_of_points_rely_on_a_minute_between_them() -> None:
    rules, thresholds_ = groups_of(PROMETHEUS / "rules.yaml"), groups_of(FILES[0])

    assert {group["interval"] for group in (*rules, *thresholds_)} == {"1m"}
    tests = [path.read_text(encoding="utf-8") for path in TESTS]
    assert not [t for t in tests if "redis_cache_invalidations" in t and "interval: 5m" in t]


def test_each_threshold_is_read_by_an_alert_and_no_alert_has_another_number() -> None:
    read = {name for alert in alerts() for name in thresholds_of(alert)}

    assert read == {rule.name for rule in thresholds()}
    for alert in alerts():
        numbers = re.findall(r"(?:>=?|<=?|==) *([\d.]+)", alert.expression)
        assert set(numbers) <= {"0", "1"}, alert  # up or not, some or none


def test_each_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    for alert in alerts():
        assert alert.body["labels"]["severity"] in {"warning", "critical"}, alert
        assert re.fullmatch(r"\d+[mh]", alert.body["for"]), alert
        assert alert.body["annotations"].keys() == {"summary", "description", "runbook_url"}, alert
        assert alert.body["annotations"]["runbook_url"] == f"docs/runbooks/{alert.name}.md", alert


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    pages = {page.stem: page.read_text(encoding="utf-8") for page in RUNBOOKS.glob("*.md")}
    listed = pages.pop("README")

    assert pages.keys() == {alert.name for alert in alerts()}
    for name, page in pages.items():
        assert page.startswith(f"# {name}\n"), name
        headings = re.findall(r"^## (.*)", page, re.MULTILINE)
        assert headings == ["Look first", "Usual causes", "Mend it", "Silence it"], name
        assert f"]({name}.md)" in listed, name
        of_alert = {t for alert in alerts() if alert.name == name for t in thresholds_of(alert)}
        assert set(re.findall(r"redis_cache:threshold:\w+", page)) == of_alert, name


def test_the_queries_of_runbooks_are_valid_and_read_only_what_is_there(
    promtool: Path, tmp_path: Path
) -> None:
    known = LABELS_OF.keys() | {rule.name for rule in all_rules()} | DECLARED_BY_USERS
    queries = {
        query.strip(): page.name
        for page in RUNBOOKS.glob("*.md")
        for block in re.findall(r"```promql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for query in block.splitlines()
        if not query.startswith("#")
    }

    assert len(queries) > len(alerts())
    for query, page in queries.items():
        found = reads_of(query)
        assert found.metrics, (page, query)
        assert found.metrics <= known | {"up"}, page
        assert {label for _, label in found.matchers} | found.labels <= LABELS, page
    rules = [{"record": f"query:{n}:of_a_page", "expr": q} for n, q in enumerate(queries)]
    assert is_valid(promtool, tmp_path, rules)


def is_valid(promtool: Path, tmp_path: Path, rules: list[dict[str, Any]]) -> bool:
    """Not an expression that fails because it is none."""
    file = tmp_path / "valid.yaml"
    file.write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}), encoding="utf-8")
    return say(promtool, "check", "rules", file).returncode == 0


def survivors(
    promtool: Path, tmp_path: Path, rules: Iterable[Rule], changes: Callable[[Rule], Iterator[Rule]]
) -> list[str]:
    """The changed rules that no promtool test minds: two at a time, as promtool takes a while."""
    changed = [change for rule in rules for change in changes(rule)]

    def is_unnoticed(number: int) -> bool:
        directory = tmp_path / str(number)
        directory.mkdir()
        rule = changed[number]
        return all(run(promtool, test, directory, rule) == "" for test in promtool_tests_of(rule))

    with ThreadPoolExecutor(2) as pool:
        unnoticed = pool.map(is_unnoticed, range(len(changed)))
        return [f"{changed[n]}: {changed[n].body}" for n, it in enumerate(unnoticed) if it]


def with_more(rule: Rule) -> Iterator[Rule]:
    yield replace(rule, body=rule.body | {"expr": f"1.03 * ({rule.expression}) + 0.003"})


def sooner_and_later(alert: Rule) -> Iterator[Rule]:
    minutes = int(alert.body["for"][:-1]) * (60 if alert.body["for"].endswith("h") else 1)
    for other in (minutes // 2, minutes * 2):
        yield replace(alert, body=alert.body | {"for": f"{other}m"})


def lower_and_higher(threshold: Rule) -> Iterator[Rule]:
    (number,) = re.findall(r"vector\((.*)\)", threshold.expression)
    value = float(number)
    for other in (value * 0.85, value * 1.15) if value else (-1, 1):
        yield replace(threshold, body=threshold.body | {"expr": f"vector({other})"})


def test_a_series_that_says_three_percent_more_is_found(promtool: Path, tmp_path: Path) -> None:
    assert survivors(promtool, tmp_path, recorded(), with_more) == []


def test_an_alert_that_fires_too_soon_or_too_late_is_found(promtool: Path, tmp_path: Path) -> None:
    assert survivors(promtool, tmp_path, alerts(), sooner_and_later) == []


def test_a_threshold_that_is_a_little_lower_or_higher_is_found(
    promtool: Path, tmp_path: Path
) -> None:
    assert survivors(promtool, tmp_path, thresholds(), lower_and_higher) == []


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("redis:memory_growth:bytes_per_second", "offset 30m", "offset 1s"),
        ("redis:memory_time_to_full:seconds", "bytes_per_second > 0", "bytes_per_second"),
        ("redis:memory_limit:bytes", " > 0", ""),
        ("redis:memory_limit:bytes", "max by", "sum by"),
        ("redis:memory_used:bytes", "max by", "sum by"),
        ("redis:memory_time_to_full:seconds", "clamp_min(", "clamp_min(-1e9 + "),
        (
            "redis:memory_fragmentation:ratio",
            " and redis:memory_used:bytes >= 100 * 1024 * 1024",
            "",
        ),
        ("redis:noeviction:info", '{policy="noeviction"}', ""),
        ("redis:noeviction:info", "unless on (server_address, server_port) max_over", "and max_over"),
        ("redis:noeviction:info", "[1w]", "[1m]"),
        ("redis:noeviction:info", "unless on (server_address, server_port) redis:maxmemory_policy:info\n", "\n"),
        ("cache:lookups:rate5m", "hit|miss", "hit|miss|error"),
        ("cache:lookups:rate5m", 'db_system_name=~"redis|valkey", ', ""),
        ("cache:lookups:rate5m", "job, cache_name", "cache_name"),
        ("cache:hits:rate5m", "or 0 * cache:lookups:rate5m", ""),
        ("cache:hit_ratio:rate5m", "(cache:lookups:rate5m > 0)", "cache:lookups:rate5m"),
        (
            "service:hit_ratio:rate5m",
            "sum by (job) (cache:hits:rate5m) / (sum by (job) (cache:lookups:rate5m) > 0)",
            "avg by (job) (cache:hit_ratio:rate5m)",
        ),
        ("cache:hit_ratio:rate1d", " offset 30m", ""),
        ("cache:hit_ratio:rate1d", "offset 3h", "offset 1h"),
        ("operation:duration_p95:rate5m", " >= 0", ""),
        ("operation:duration_bucket:rate5m", '{db_system_name=~"redis|valkey"}', ""),
        ("service_server:failures:rate5m", ', error_type!=""', ""),
        ("service_server:failures:rate5m", "or 0 * service_server:calls:rate5m", ""),
        ("service:instances:count", "(count by (job, instance) (", "(("),
        ("cache_reason:invalidations:increase5m", "unless last_over_time", "and last_over_time"),
        ("cache_reason:invalidations:increase5m", "[6h] offset 5m", "[1m] offset 5m"),
        ("cache_reason:invalidations:increase5m", "and on (job) service:instances:count offset 5m", ""),
        ("cache_reason:invalidation_requests:increase5m", "[6h] offset 5m", "[1m] offset 5m"),
        (
            "cache_reason:invalidation_requests:increase5m",
            "and on (job) service:instances:count offset 5m",
            "",
        ),
        ("cache:explained_invalidations:increase1h", "|expire", ""),
        ("cache:invalidations_yesterday:max_rate5m", "23h30m", "24h30m"),
        ("cache:invalidations_yesterday:max_rate5m", "service:instances:count offset 1d", "service:instances:count"),
        ("pool:connections_used:ratio", "sum by (job, instance, ", "sum by (job, "),
        ("pool:timeouts:increase5m", "unless last_over_time", "and last_over_time"),
        ("pool:timeouts:increase5m", "and on (job) service:instances:count offset 5m", ""),
        ("redis:keys_evicted:rate5m", "max by", "sum by"),
        ("redis:keyspace_lookups:rate5m", "max by", "sum by"),
        ("server_cache:evictions:rate5m", "sum by", "max by"),
        ("server_cache:entries:max", "max by", "sum by"),
        ("server_cache:entries_without_ttl:growth_per_hour", " and ", " or "),
        ("RedisUnreachable", "up:max", "up:min"),
        ("RedisUnreachableFromSome", " and service_server:up:max == 1", ""),
        ("RedisCallsFail", "unless service_server:up:max == 0", ""),
        ("RedisMemoryHigh", "and redis:noeviction:info", ""),
        ("RedisFullWithinADay", "and redis:noeviction:info", ""),
        ("CacheMonitorFaults", "unless last_over_time", "and last_over_time"),
        ("CacheMonitorFaults", "last_over_time(otel_redis_cache_errors_total[6h] offset 1h)", "otel_redis_cache_errors_total offset 1h"),
        ("CacheMonitorFaults", "and on (job) last_over_time(service:instances:count[6h] offset 1h)", ""),
        ("CacheMonitorOverflows", "last_over_time(otel_redis_cache_overflows_total[6h] offset 1h)", "otel_redis_cache_overflows_total offset 1h"),
        ("CacheMonitorOverflows", "and on (job) last_over_time(service:instances:count[6h] offset 1h)", ""),
        ("CacheMonitorOverflows", " > 0", ""),
        ("CacheMonitorSilent", "[6h]", "[12h]"),
        ("CacheStampedes", ', cache_name=""', ""),
        ("CacheStampedes", "redis_cache:threshold:stampedes\n    or on (job, cache_name) ", ""),
    ],
)  # fmt: skip
def test_a_rule_that_says_too_much_is_found(
    promtool: Path, tmp_path: Path, name: str, right: str, wrong: str
) -> None:
    rule = next(rule for rule in all_rules() if rule.name == name)
    assert right in rule.expression
    changed = replace(rule, body=rule.body | {"expr": rule.expression.replace(right, wrong)})

    assert is_valid(promtool, tmp_path, [changed.body])
    assert any(run(promtool, test, tmp_path, changed) for test in promtool_tests_of(rule))
