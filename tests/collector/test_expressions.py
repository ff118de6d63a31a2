"""Every expression of every dashboard, rule and alert, asked of a real Prometheus about a service of known deeds."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.collector.shop import (
    GROWN,
    LOAD,
    MAX_MEMORY,
    NAME,
    Shop,
    Telemetry,
    observed,
    waiting_request,
)
from tests.real.clusters import Cluster
from tests.real.collector import CONFIGURATION, Collector
from tests.real.processes import wait_until
from tests.real.prometheus import Prometheus, Sample
from tests.real.servers import RedisServer

DASHBOARDS = sorted((CONFIGURATION / "grafana" / "dashboards").glob("*.json"))
RULES = [
    file
    for file in sorted((*CONFIGURATION.glob("*.yaml"), *CONFIGURATION.glob("prometheus/*.yaml")))
    if "\ngroups:" in file.read_text(encoding="utf-8")
]
DECLARED_BY_USERS = [
    # collector-config/README.md: no metric tells which policy a server has.
    {
        "record": "redis:maxmemory_policy:info",
        "expr": "redis:memory_limit:bytes * 0 + 1",
        "labels": {"policy": "noeviction"},
    },
    # For the panel of alerts: one that always fires.
    {"alert": "RedisIsPartOfThisTest", "expr": "vector(1)"},
]

LEFT_OVER = 9
"""Entries of the cache `book` at the end of the second day: four of each, and a list."""

SAMPLED = 'cache_entries{cache_name="book"}'
EXPIRED = 'cache_evictions_total{cache_name="book", cache_eviction_reason="expired"}'


class Expression(NamedTuple):
    """`place` says where it stands, to people."""

    place: str
    text: str


def panels(file: Path) -> Iterator[dict[str, Any]]:
    """Also those in rows that are closed."""
    for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]:
        yield from panel.get("panels", [])
        yield panel


def of_panels(file: Path) -> list[Expression]:
    return [
        Expression(panel["title"], target["expr"])
        for panel in panels(file)
        for target in panel.get("targets", [])
    ]


def of_choices(file: Path) -> list[Expression]:
    """Template variables: what is behind `label_values`."""
    choices = json.loads(file.read_text(encoding="utf-8"))["templating"]["list"]
    return [
        Expression(choice["name"], choice["query"])
        for choice in choices
        if choice["type"] == "query"
    ]


def rules_of(file: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def looking_back_a_second(text: str) -> str:
    """What is compared with yesterday or half an hour ago: the shop is only some seconds old."""
    return re.sub(r"\boffset\s+\w+", "offset 1s", text)


def asked_by_grafana(text: str) -> str:
    """With all that Grafana would put in."""
    chosen = {
        "$__rate_interval": "5m",
        "$__range_s": "300",
        "$__range": "5m",
        "$service": NAME,
        "$cache": "book",
        "$server": ".*",
        "$port": ".*",
        "$pool": ".*",
    }
    for variable, value in chosen.items():
        text = text.replace(variable, value)
    assert "$" not in text, f"the test does not know this variable: {text}"
    return looking_back_a_second(text)


def not_choosing(text: str) -> str:
    """The expression without what may leave nothing where all is well, or something where all is wrong.

    A comparison says 0 or 1 of each series instead of dropping some; what `unless` would leave out stays in; and there
    is no zero for what never happened, which would hide a wrong name.
    """
    compared = re.sub(r"(\s(?:==|!=|<=|>=|<|>)) (?!bool)", r"\1 bool ", text)
    return re.sub(r"\bunless\b", "or", compared.replace(" or vector(0)", ""))


def series_in(text: str) -> set[str]:
    """Each name of a series that an expression reads."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", text)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"(?<![\w:.])[a-zA-Z_][\w:]*(?!\s*\()(?![\w:])", bare)
    keywords = {"and", "or", "unless", "bool", "offset", "group_left", "group_right", "inf", "nan"}
    return {word for word in words if word.lower() not in keywords}


@dataclass(frozen=True)
class Seen:
    """What Prometheus knows when the shop's second day is over."""

    prometheus: Prometheus
    began: float
    at: float
    info: dict[str, str]
    """What the server said of itself then."""

    calls: dict[str, int]
    """Calls by command on the second day, as the server counted them."""

    traces: frozenset[str]

    def ask(self, text: str) -> list[Sample]:
        return self.prometheus.query(text, self.at)

    def silent(self, text: str) -> list[str]:
        """What of an expression tells nothing: the whole, or one of the series that it reads."""
        unknown = sorted(name for name in series_in(text) if not self.ask(name))
        told = [sample for sample in self.ask(text) if not math.isnan(sample.value)]
        return unknown or ([] if told else [text])


@pytest.fixture(scope="module")
def seen(
    redis_8_server: RedisServer,
    valkey_server: RedisServer,
    collector_binary: Path,
    prometheus_binary: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Seen]:
    directory = tmp_path_factory.mktemp("rules")
    rules = [file_for_a_young_shop(file, directory) for file in RULES]
    rules.append(file_of_users(directory))
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer("redis", redis_8_server.binary))
        unstable = stack.enter_context(RedisServer("valkey", valkey_server.binary))
        cluster = stack.enter_context(Cluster("valkey", valkey_server.binary, primaries=2))
        collector = stack.enter_context(Collector(collector_binary))
        prometheus = stack.enter_context(Prometheus(prometheus_binary, collector, *rules))
        telemetry = Telemetry(collector)
        stack.callback(telemetry.shutdown)
        shop = Shop(server, unstable, cluster)
        stack.callback(shop.close)

        def knows(*expressions: str) -> bool:
            telemetry.flush()
            prometheus.scrape()
            # Once more: what the Collector still held back in a batch. Exemplars last until the next flush only.
            at = prometheus.scrape()
            return all(prometheus.query(expression, at) for expression in expressions)

        with observed(server, telemetry), waiting_request(server):
            shop.live_a_day()
            first = (SAMPLED, EXPIRED, "redis_memory_used_bytes")
            wait_until(lambda: knows(*first), timeout=30, what="the first day is known")
            began, before = prometheus.scrape(), server.commandstats()
            shop.live_a_day()
            second = (
                f"{SAMPLED} == {LEFT_OVER}",
                f"{EXPIRED} == 2",
                f"redis_memory_used_bytes > {GROWN}",
            )
            wait_until(lambda: knows(*second), timeout=30, what="the second day is known")
            known = time.time()
            after, info = server.commandstats(), server.info()
        keep = [rule["record"] for file in RULES for rule in rules_of(file) if "record" in rule]
        at = known
        # What looks back a second has to see the second day, too. A rule that never tells is left to the tests.
        while at < known + 2 or (
            at < known + 10 and not all(prometheus.query(n, at) for n in keep)
        ):
            at = prometheus.scrape()
        yield Seen(
            prometheus,
            began,
            at,
            info,
            {name: calls - before.get(name, 0) for name, calls in after.items()},
            frozenset(span.trace_id for span in collector.spans()),
        )


def file_for_a_young_shop(file: Path, directory: Path) -> Path:
    """The rules as they are, but evaluated all the time, and looking back a second."""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    for group in document["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            rule["expr"] = looking_back_a_second(str(rule["expr"]))
    path = directory / file.name
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def file_of_users(directory: Path) -> Path:
    groups = [{"name": "declared by users", "rules": DECLARED_BY_USERS}]
    path = directory / "declared-by-users.yaml"
    path.write_text(json.dumps({"groups": groups}), encoding="utf-8")
    return path


def told_nothing(seen: Seen, expressions: list[Expression]) -> dict[str, list[str]]:
    """Of each expression what is silent, by its place and text."""
    silent = {f"{place}: {text}": seen.silent(text) for place, text in expressions}
    return {expression: missing for expression, missing in silent.items() if missing}


def prepared(file: Path) -> list[Expression]:
    """The expressions of a dashboard as they are asked here."""
    return [
        Expression(place, not_choosing(asked_by_grafana(text))) for place, text in of_panels(file)
    ]


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_every_panel_of_a_dashboard_shows_something(seen: Seen, file: Path) -> None:
    expressions = prepared(file)

    assert len(expressions) >= 15
    assert told_nothing(seen, expressions) == {}


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_every_choice_of_a_dashboard_offers_something(seen: Seen, file: Path) -> None:
    offered: dict[str, list[str]] = {}
    for place, text in of_choices(file):
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", asked_by_grafana(text))
        assert found, text
        offered[place] = seen.prometheus.label_values(found[1], found[2])

    assert all(offered.values()), offered
    assert offered.get("service", [NAME]) == [NAME]
    assert "book" in offered.get("cache", ["book"])


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_every_rule_and_alert_has_something_to_say(seen: Seen, file: Path) -> None:
    expressions: list[Expression] = []
    for rule in rules_of(file):
        text = looking_back_a_second(str(rule["expr"]))
        name = rule.get("record") or rule["alert"]
        expressions.append(Expression(name, not_choosing(text) if "alert" in rule else text))

    assert expressions
    assert told_nothing(seen, expressions) == {}


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_metric_of_another_name_is_found_wherever_it_is_asked_for(seen: Seen, file: Path) -> None:
    unnoticed = [
        (expression.place, name)
        for expression in prepared(file)
        for name in series_in(expression.text)
        if not seen.silent(re.sub(rf"\b{name}\b", f"{name}_renamed", expression.text))
    ]

    assert unnoticed == []


def test_a_label_of_another_name_is_found(seen: Seen) -> None:
    renamed = hit_ratio().replace('cache_name="book"', 'cache_title="book"')

    assert seen.silent(renamed) == [renamed]


def panel(dashboard: str, title: str, query: int = 0) -> str:
    """What is asked for a panel, as Grafana would ask it."""
    file = next(file for file in DASHBOARDS if file.stem == dashboard)
    (found,) = (one for one in panels(file) if one["title"] == title)
    return asked_by_grafana(found["targets"][query]["expr"])


def hit_ratio() -> str:
    return panel("cache", "Hit ratio")


@dataclass(frozen=True)
class Shown:
    """What a panel has to show; with labels, by them."""

    dashboard: str
    title: str
    value: float | dict[str, float]
    query: int = 0
    rough: bool = False
    """A count in a time: `increase()` extrapolates a little beyond what it has seen."""


HITS, MISSES, LOADS = 30, 12, 11
MADE = [
    Shown("overview", "Alerts", 1),
    Shown("overview", "Servers that do not answer", 0),
    Shown("overview", "Processes that report", 1),
    Shown("overview", "Requests without a connection", 1, rough=True),
    Shown("overview", "Folded into _other", 2, rough=True),
    Shown("cache", "Hit ratio", HITS / (HITS + MISSES)),
    Shown("cache", "Hit ratio, and a day ago", HITS / (HITS + MISSES)),
    Shown("cache", "Misses not written back", 1 - LOADS / MISSES),
    Shown("cache", "Stampedes", 1, rough=True),
    Shown("cache", "Removals in vain", 2 / 7),
    Shown("cache", "Writes without a time to live", 3 / 16),
    Shown("cache", "Entries of one removal", {"deploy": 6, "delete": 4 / 6}),
    Shown("connections", "Requests that wait", 1),
    Shown("connections", "Requests without a connection", 1, rough=True),
    Shown("connections", "Retries", 1, rough=True),
    Shown("connections", "Pool in use", 1),
]


@pytest.mark.parametrize("shown", MADE, ids=lambda shown: f"{shown.dashboard}, {shown.title}")
def test_a_panel_shows_what_the_shop_did(seen: Seen, shown: Shown) -> None:
    samples = seen.ask(panel(shown.dashboard, shown.title, shown.query))
    if isinstance(shown.value, dict):
        found: Any = {"".join(sample.labels.values()): sample.value for sample in samples}
    else:
        (found,) = (sample.value for sample in samples)

    assert found == pytest.approx(shown.value, rel=0.3 if shown.rough else 1e-6)


def test_the_server_itself_says_the_same(seen: Seen) -> None:
    info = {name: float(value) for name, value in seen.info.items() if value.isdecimal()}
    expected = {
        "Memory in use": info["used_memory"] / MAX_MEMORY,
        "Up in all": info["uptime_in_seconds"],
        "Evicted keys": info["evicted_keys"],
    }
    shown = {title: seen.ask(panel("server", title))[0].value for title in expected}

    assert info["evicted_keys"] == 0
    assert shown == pytest.approx(expected, rel=0.1, abs=5)
    assert shown["Memory in use"] == pytest.approx(expected["Memory in use"], rel=0.05)
    (used, *_) = seen.ask(panel("server", "Memory"))
    (limit, *_) = seen.ask(panel("server", "Memory", 3))
    assert (used.value / limit.value, limit.value) == (shown["Memory in use"], MAX_MEMORY)


def test_calls_by_operation_are_as_many_as_the_server_counted(seen: Seen) -> None:
    shown = {
        sample.labels["db_operation_name"]: sample.value
        for sample in seen.ask(panel("overview", "Calls by operation"))
    }
    counted = seen.calls

    assert (counted["del"], counted["incrby"]) == (4 + 2 + 11, 1)
    assert shown["DEL"] / shown["INCRBY"] == pytest.approx(counted["del"])
    assert shown["PUBLISH"] / shown["INCRBY"] == pytest.approx(counted["publish"])


def test_memory_that_grows_is_told_with_the_time_that_is_left(seen: Seen) -> None:
    (growth,) = seen.ask(panel("server", "Growth in an hour"))
    (full,) = seen.ask(panel("server", "Full in"))
    (used, *_) = seen.ask(panel("server", "Memory"))

    assert growth.value > 0
    assert full.value == pytest.approx((MAX_MEMORY - used.value) / growth.value * 3600, rel=0.05)


def test_a_load_takes_as_long_as_the_shop_took(seen: Seen) -> None:
    (load,) = (
        sample.value
        for sample in seen.ask(panel("overview", "Caches", 4))
        if sample.labels["cache_name"] == "book"
    )
    (half,) = seen.ask(panel("cache", "From a miss to its write"))

    assert LOAD * 10 / LOADS <= load < 1
    assert LOAD / 2 < half.value < 1


def test_a_point_of_the_latency_panel_leads_to_its_trace(seen: Seen) -> None:
    """Grafana asks for exemplars with the expression of the panel, and looks the trace up by `trace_id`."""
    file = next(file for file in DASHBOARDS if file.stem == "overview")
    (latency,) = (one for one in panels(file) if one["title"] == "Duration of calls")
    with_exemplars = [target["expr"] for target in latency["targets"] if target.get("exemplar")]
    found = [
        exemplar
        for text in with_exemplars
        for exemplar in seen.prometheus.exemplars(asked_by_grafana(text), seen.began, seen.at)
    ]

    assert found
    assert {exemplar.trace_id for exemplar in found} <= seen.traces
