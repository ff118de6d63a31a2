"""The dashboards as files: what makes them, how they are laid out, and what they tell an operator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_redis_cache import conventions as names
from otel_redis_cache.conventions import Metric
from tests.collector.prometheus_rules import FILES, say
from tests.collector.test_expressions import DASHBOARDS, asked_by_grafana, panels, series_in
from tests.real.collector import CONFIGURATION

GRAFANA = CONFIGURATION / "grafana"
ROOT = CONFIGURATION.parent
TOLD_OTHERWISE = {
    # Of one process, and not to be averaged: dashboards add up cache.requests.
    names.CACHE_HIT_RATIO,
    # The rate of redis.commands.processed.
    names.COMMANDS_PER_SECOND,
    # By the rule redis:memory_fragmentation:ratio, and of large servers alone.
    names.MEMORY_FRAGMENTATION,
}
OPT_IN = set(names.GROUPS) - set(names.DEFAULT_GROUPS)
WATCHED = ("redis:", "server_cache:")
"""How rules about servers begin."""

each_dashboard = pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
made_from_code = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Grafana's library needs Python 3.11"
)


def content(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return read


def shown(file: Path) -> Iterator[dict[str, Any]]:
    """Panels that show something: all but rows."""
    return (panel for panel in panels(file) if panel["type"] != "row")


def read_by(panel: dict[str, Any]) -> set[str]:
    return {
        name for target in panel["targets"] for name in series_in(asked_by_grafana(target["expr"]))
    }


def metrics_of(panel: dict[str, Any]) -> set[Metric]:
    """Those whose series the panel reads: the longest name that fits is the one."""
    everything = sorted(
        (*names.METRICS, *names.SERVER_METRICS), key=lambda metric: len(metric.name), reverse=True
    )
    return {
        next(metric for metric in everything if name.startswith(metric.name.replace(".", "_")))
        for name in read_by(panel)
        if ":" not in name and name != "ALERTS"
    }


def make(directory: Path, *before: str) -> None:
    """Run what makes the dashboards, in a process that first runs these lines."""
    program = [
        *("import runpy, sys", f"sys.argv[1:] = [{str(directory)!r}]"),
        *before,
        f"runpy.run_path({str(GRAFANA / 'dashboards')!r}, run_name='__main__')",
    ]
    subprocess.run(
        [sys.executable, "-c", "\n".join(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        check=True,
        timeout=60,
    )


@made_from_code
def test_the_dashboards_are_what_the_code_makes(tmp_path: Path) -> None:
    make(tmp_path)

    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        file.name: file.read_text() for file in DASHBOARDS
    }, "run `make dashboards`"


@made_from_code
def test_a_metric_that_is_renamed_in_the_conventions_is_another_one_here(tmp_path: Path) -> None:
    make(
        tmp_path,
        "from otel_redis_cache import conventions as names",
        "names.CACHE_REQUESTS = names.CACHE_REQUESTS._replace(name='cache.questions')",
    )
    changed = {
        file.stem for file in DASHBOARDS if file.read_text() != (tmp_path / file.name).read_text()
    }

    assert changed == {"cache", "overview"}


@each_dashboard
def test_every_panel_says_which_question_it_answers(file: Path) -> None:
    silent = [
        panel["title"]
        for panel in shown(file)
        if not re.match(r"[A-Z][^?]+\? .+\.$", panel["description"], re.DOTALL)
    ]

    assert silent == []


@each_dashboard
def test_panels_fill_24_columns_and_do_not_overlap(file: Path) -> None:
    for level in (content(file)["panels"], *(row["panels"] for row in rows(file) if row["panels"])):
        areas = {panel["title"]: cells(panel["gridPos"]) for panel in level}
        for one, other in combinations(areas, 2):
            assert areas[one].isdisjoint(areas[other]), f"{one} stands on {other}"
        assert all(0 <= x < 24 for area in areas.values() for x, _ in area)


def rows(file: Path) -> list[dict[str, Any]]:
    return [panel for panel in content(file)["panels"] if panel["type"] == "row"]


def cells(place: dict[str, int]) -> set[tuple[int, int]]:
    across = range(place["x"], place["x"] + place["w"])
    return {(x, y) for x in across for y in range(place["y"], place["y"] + place["h"])}


@each_dashboard
def test_numbers_of_panels_and_titles_are_given_once(file: Path) -> None:
    for field in ("id", "title"):
        given = [panel[field] for panel in panels(file)]

        assert len(set(given)) == len(given), field


@each_dashboard
def test_every_variable_that_is_used_can_be_chosen(file: Path) -> None:
    board = content(file)
    known = {choice["name"] for choice in board["templating"]["list"]}
    text = json.dumps([board["panels"], board["templating"]])
    used = set(re.findall(r"\$\{?(\w+)", text))

    assert {name for name in used if not name.startswith("__")} == known
    assert all(
        panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for panel in shown(file)
    )


@made_from_code
def test_every_unit_is_one_that_grafana_knows() -> None:
    from grafana_foundation_sdk.models import units

    known = {value for value in vars(units).values() if isinstance(value, str)}
    used = {
        panel["fieldConfig"]["defaults"]["unit"]
        for file in DASHBOARDS
        for panel in shown(file)
        if "unit" in panel["fieldConfig"]["defaults"]
    }

    assert {"percentunit", "s", "bytes"} <= used <= known


def test_every_metric_is_on_a_dashboard() -> None:
    seen = {metric for file in DASHBOARDS for panel in shown(file) for metric in metrics_of(panel)}

    assert {*names.METRICS, *names.SERVER_METRICS} - seen == TOLD_OTHERWISE


def test_what_needs_a_watch_says_so() -> None:
    about_servers = [
        panel
        for file in DASHBOARDS
        for panel in shown(file)
        if metrics_of(panel) & set(names.SERVER_METRICS)
        or any(name.startswith(WATCHED) for name in read_by(panel))
    ]

    assert len(about_servers) > 30
    assert [p["title"] for p in about_servers if "watch_server(" not in p["description"]] == []


@each_dashboard
def test_what_default_settings_do_not_make_is_in_a_closed_row_that_says_what_it_needs(
    file: Path,
) -> None:
    opened = [panel for panel in content(file)["panels"] if panel["type"] != "row"]
    groups = {panel["title"]: {m.group for m in metrics_of(panel)} & OPT_IN for panel in opened}
    watched = {p["title"] for p in opened if metrics_of(p) & set(names.SERVER_METRICS)}

    assert {title for title, needed in groups.items() if needed} == set()
    assert file.stem == "server" or watched == set()
    assert all(row["collapsed"] for row in rows(file) if row["panels"])
    for panel in shown(file):
        for group in {metric.group for metric in metrics_of(panel)} & OPT_IN:
            assert f"`{group}`" in panel["description"]


def test_keys_evicted_under_two_watchers_are_shown_as_one_sum(
    promtool: Path, tmp_path: Path
) -> None:
    """30 a minute: one process counts them for half an hour, the next one goes on."""
    server = next(file for file in DASHBOARDS if file.stem == "server")
    (panel,) = (one for one in shown(server) if one["title"] == "Evicted keys")
    asked = panel["targets"][0]["expr"]
    for variable, value in (
        ("$__range_s", "3600"),
        ("$__range", "1h"),
        ("$server", ".*"),
        ("$port", ".*"),
    ):
        asked = asked.replace(variable, value)
    evicted = 'redis_keys_evicted_total{server_address="cache", server_port="6379", instance='
    case = {
        "interval": "1m",
        "input_series": [
            {"series": f'{evicted}"1"}}', "values": "0+30x30 stale"},
            {"series": f'{evicted}"2"}}', "values": "_x30 900+30x30"},
        ],
        "promql_expr_test": [
            {
                "expr": f"abs({asked} - 1800) < bool 180",
                "eval_time": "60m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
        ],
    }
    test = {"rule_files": [str(FILES[1])], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "test.yaml").write_text(json.dumps(test), encoding="utf-8")
    done = say(promtool, "test", "rules", tmp_path / "test.yaml")

    assert done.returncode == 0, done.stdout + done.stderr


def test_an_uptime_that_goes_on_after_a_restart_is_not_shown_as_if_it_told_of_one() -> None:
    telling = [
        panel["description"]
        for file in DASHBOARDS
        for panel in shown(file)
        if names.UPTIME in metrics_of(panel)
    ]

    assert telling
    assert all("goes on after a restart" in description for description in telling)


def test_a_table_of_caches_leads_to_the_dashboard_of_one() -> None:
    boards = {content(file)["uid"] for file in DASHBOARDS}
    links = re.findall(r"/d/([\w-]+)", "".join(file.read_text() for file in DASHBOARDS))

    assert links
    assert set(links) <= boards


def test_every_latency_panel_asks_for_exemplars() -> None:
    latencies = (names.OPERATION_DURATION, names.CACHE_LOAD_DURATION, names.CONNECTION_WAIT_TIME)
    without = [
        panel["title"]
        for file in DASHBOARDS
        for panel in shown(file)
        if panel["type"] == "timeseries"
        and panel["fieldConfig"]["defaults"]["unit"] == "s"
        and metrics_of(panel) & set(latencies)
        and not any(target.get("exemplar") for target in panel["targets"])
    ]

    assert without == []


def test_an_exemplar_leads_to_both_tracing_backends() -> None:
    sources = provisioned("datasources")["datasources"]
    prometheus = next(source for source in sources if source["type"] == "prometheus")
    tracing = {source["uid"] for source in sources if source["type"] in ("tempo", "jaeger")}
    leads = prometheus["jsonData"]["exemplarTraceIdDestinations"]

    assert {lead["datasourceUid"] for lead in leads} == tracing
    assert len(tracing) == 2
    # The label that the Collector writes; test_expressions.py takes one from Prometheus.
    assert {lead["name"] for lead in leads} == {"trace_id"}


def test_addresses_of_data_sources_come_from_the_environment() -> None:
    addresses = [source["url"] for source in provisioned("datasources")["datasources"]]

    assert sorted(addresses) == ["$JAEGER_URL", "$PROMETHEUS_URL", "$TEMPO_URL"]


def test_grafana_finds_the_dashboards_where_readme_puts_them() -> None:
    (provider,) = provisioned("dashboards")["providers"]
    readme = (CONFIGURATION / "README.md").read_text(encoding="utf-8")

    assert provider["type"] == "file"
    assert f"`{provider['options']['path']}`" in readme


def provisioned(kind: str) -> dict[str, Any]:
    file = GRAFANA / "provisioning" / kind / f"{kind}.yaml"
    read: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return read
