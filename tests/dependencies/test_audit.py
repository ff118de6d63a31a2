"""The audit of what is installed finds what it looks for, and says so where it cannot look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.dependencies import audit

ROOT = Path(__file__).parents[2]


def run(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.dependencies.audit", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_all_that_the_package_and_its_extras_need_is_looked_at() -> None:
    found = audit.closure().keys()

    assert found >= {"opentelemetry-api", "wrapt", "redis", "opentelemetry-sdk", "grpcio", "rich"}
    assert found >= {"certifi", "typing-extensions", "textual", "aiohttp"}
    assert found.isdisjoint({"otel-redis-cache", "pytest", "django", "mypy"})


def test_every_licence_is_allowed() -> None:
    licences = audit.licences_of(audit.closure())

    assert licences.keys() == audit.closure().keys()
    assert list(audit.faults_of_licences(licences)) == []


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("Apache Software License; BSD License", True),
        ("GPL-3.0-only", False),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("MIT License; GNU General Public License (GPL)", False),
        ("UNKNOWN", False),
        ("", False),
    ],
)
def test_a_licence_that_nobody_has_allowed_is_found(licence: str, *, allowed: bool) -> None:
    faults = list(audit.faults_of_licences({"tea": licence}))

    assert faults == (
        [] if allowed else [f"tea has the licence {licence!r}, which nobody has allowed"]
    )


def test_every_pin_holds() -> None:
    assert list(audit.faults_of_pins(audit.pins())) == []


def test_a_pin_that_is_missing_or_another_is_found() -> None:
    pins = [pin for pin in audit.pins() if pin.name not in ("wrapt", "rich")]
    faults = list(audit.faults_of_pins([*pins, Requirement("rich==1.0")]))

    assert len(faults) == 2
    assert faults[0].startswith("rich ")
    assert faults[0].endswith(" is installed, and not what constraints.txt pins")
    assert faults[1] == "wrapt is not in constraints.txt: make constraints"


NOBODY = "http://127.0.0.1:1"


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--strict",), 1)])
def test_without_advisories_it_says_so_and_is_strict_where_asked_for(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), NOBODY)
    known = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}  # nothing from before
    ended = run(*arguments, environment={**os.environ, **proxies, **known})

    assert (ended.returncode, "NOT AUDITED: " in ended.stdout) == (code, True)
    assert ended.stderr == ("no advisories could be had\n" if code else "")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([{"name": "tea", "version": "1", "skip_reason": "not found"}], "not found"),
        ([{"name": "tea", "version": "1", "vulns": []}], "of jinja2==2.10 nothing is known"),
    ],
)
def test_a_service_that_knows_nothing_is_no_clean_bill_of_health(
    monkeypatch: pytest.MonkeyPatch, told: list[object], said: str
) -> None:
    answer = subprocess.CompletedProcess([], 0, json.dumps({"dependencies": told}), "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)

    with pytest.raises(audit.NoAdvisoriesError, match=said):
        audit.known_vulnerabilities([Requirement("tea==1")])


def test_a_known_vulnerability_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    flaw = {"id": "CVE-1", "fix_versions": ["2"]}
    told = {"dependencies": [{"name": "tea", "version": "1", "vulns": [flaw]}]}
    answer = subprocess.CompletedProcess([], 1, json.dumps(told), "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)

    assert audit.known_vulnerabilities([Requirement("tea==1")]) == ["tea 1: CVE-1, mended in 2"]
