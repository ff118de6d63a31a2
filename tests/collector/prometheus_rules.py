"""The rules that we ship for Prometheus, as they stand in their files, and promtool, which knows what they do."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.real.collector import CONFIGURATION

from .promql import reads_of

PROMETHEUS = CONFIGURATION / "prometheus"
FILES = tuple(PROMETHEUS / name for name in ("thresholds.yaml", "rules.yaml", "alerts.yaml"))
TESTS = sorted((Path(__file__).parent / "prometheus").glob("*.test.yaml"))
RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
THRESHOLD = "redis_cache:threshold:"


@dataclass(frozen=True)
class Rule:
    """`place` says where it is among all."""

    file: str
    group: str
    place: int
    body: dict[str, Any]

    @property
    def name(self) -> str:
        found: str = self.body.get("record") or self.body["alert"]
        return found

    @property
    def expression(self) -> str:
        found: str = self.body["expr"]
        return found

    @property
    def is_alert(self) -> bool:
        return "alert" in self.body

    def __str__(self) -> str:
        severity = self.body.get("labels", {}).get("severity")
        return f"{self.name}-{severity}" if severity else self.name


@cache
def document_of(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def groups_of(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document_of(file)["groups"]
    return found


def all_rules() -> Iterator[Rule]:
    for file in FILES:
        for group in groups_of(file):
            for place, body in enumerate(group["rules"]):
                yield Rule(file.name, group["name"], place, body)


def recorded() -> list[Rule]:
    return [rule for rule in all_rules() if rule.file == "rules.yaml"]


def thresholds() -> list[Rule]:
    return [rule for rule in all_rules() if rule.file == "thresholds.yaml"]


def alerts() -> list[Rule]:
    return [rule for rule in all_rules() if rule.is_alert]


def thresholds_of(alert: Rule) -> set[str]:
    return set(re.findall(rf"{THRESHOLD}\w+", alert.expression))


def say(promtool: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [promtool, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def run(promtool: Path, test: Path, directory: Path, change: Rule | None = None) -> str:
    """What promtool finds wrong where one rule is changed; nothing if it is content.

    Only what the test names is run, with all that it reads: a day of all rules takes ten seconds.
    """
    document, wanted = document_of(test), names_in(test)
    sources = [(test.parent / file).resolve() for file in document["rule_files"]]
    for source in sources:
        groups = [_changed(group, change) for group in groups_of(source)]
        if source in FILES:
            groups = [group | {"rules": _wanted(group["rules"], wanted)} for group in groups]
        _write(directory / source.name, {"groups": groups})
    rule_files = [source.name for source in sources]
    _write(directory / test.name, document | {"rule_files": rule_files})
    done = say(promtool, "test", "rules", directory / test.name)
    assert done.returncode in (0, 1), done.stderr
    return (done.stdout + done.stderr) if done.returncode else ""


@cache
def names_in(test: Path) -> frozenset[str]:
    """The rules that a test names, and those that they read."""
    expressions: dict[str, list[str]] = {}
    for rule in all_rules():
        expressions.setdefault(rule.name, []).append(rule.expression)
    found: set[str] = set()
    more = set(re.findall(r"[\w:]+", test.read_text(encoding="utf-8"))) & expressions.keys()
    while more:
        found |= more
        read = {name for it in more for text in expressions[it] for name in reads_of(text).metrics}
        more = (read & expressions.keys()) - found
    return frozenset(found)


def promtool_tests_of(rule: Rule) -> list[Path]:
    """Those that run it, the shortest one first: the series of a test are as long as it takes."""
    lengths = {
        path: max(map(int, re.findall(r"x(\d+)", path.read_text(encoding="utf-8"))))
        for path in TESTS
        if rule.name in names_in(path)
    }
    return sorted(lengths, key=lambda path: lengths[path])


def _changed(group: dict[str, Any], change: Rule | None) -> dict[str, Any]:
    if change is None or group["name"] != change.group:
        return group
    rules = list(group["rules"])
    rules[change.place] = change.body
    return group | {"rules": rules}


def _wanted(rules: list[dict[str, Any]], names: frozenset[str]) -> list[dict[str, Any]]:
    return [rule for rule in rules if rule.get("record", rule.get("alert")) in names]


def _write(path: Path, document: object) -> None:
    """JSON is YAML."""
    path.write_text(json.dumps(document), encoding="utf-8")
