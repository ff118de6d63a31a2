"""What a user installs along with this package: licences, pins, and known vulnerabilities.

`make audit`, and a part of `make check`: `python -m tests.dependencies.audit`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGE = "otel-redis-cache"
EXTRAS = ("otlp", "cli", "demo")
CLIENTS = ("redis", "valkey")
PYTHONS = re.compile(r"Programming Language :: Python :: (3\.\d+)")

ALLOWED = frozenset(
    {
        *("Apache-2.0", "Apache Software License", "MIT", "MIT License", "ISC", "0BSD"),
        *("BSD License", "BSD-2-Clause", "BSD-3-Clause", "3-Clause BSD License"),
        *("PSF-2.0", "Python Software Foundation License"),
        *("MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"),
    }
)
"""Licences that ask of a user to keep a notice; MPL asks more of who changes its files alone."""

KNOWN_TO_BE_VULNERABLE = "jinja2==2.10"
"""Where nothing is known of this, nothing would be known of anything."""

SECONDS = 40


def closure() -> dict[str, metadata.Distribution]:
    """All that is installed with the package, its extras and its client libraries."""
    found: dict[str, metadata.Distribution] = {}
    awaited = [(PACKAGE, frozenset(EXTRAS)), *((client, frozenset[str]()) for client in CLIENTS)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while awaited:
        name, extras = one = awaited.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another platform, or Python
        for text in found[name].requires or ():
            needed = Requirement(text)
            wanted = [{"extra": extra} for extra in extras or ("",)]
            if needed.marker is None or any(map(needed.marker.evaluate, wanted)):
                awaited.append((canonicalize_name(needed.name), frozenset(needed.extras)))
    del found[PACKAGE]
    return found


def licences_of(names: Iterable[str]) -> dict[str, str]:
    """As `pip-licenses` reads them."""
    told = subprocess.run(
        [sys.executable, "-m", "piplicenses", "--format=json", "--packages", *names],
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    return {canonicalize_name(one["Name"]): one["License"] for one in json.loads(told.stdout)}


def faults_of_licences(licences: Mapping[str, str]) -> Iterator[str]:
    for name, licence in sorted(licences.items()):
        if not is_allowed(licence):
            yield f"{name} has the licence {licence[:60]!r}, which nobody has allowed"


def is_allowed(licence: str) -> bool:
    """Of `A OR B` one is enough; of `A AND B`, and of a list, all are needed."""
    return any(ALLOWED.issuperset(re.split(" AND |; ", choice)) for choice in licence.split(" OR "))


def pins() -> list[Requirement]:
    return [
        Requirement(line) for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    ]


def faults_of_pins(pinned: Iterable[Requirement]) -> Iterator[str]:
    """What is not pinned, or is pinned for a Python that it does not support."""
    by_name: dict[str, list[Requirement]] = {}
    for pin in pinned:
        by_name.setdefault(canonicalize_name(pin.name), []).append(pin)
    classifiers = metadata.metadata(PACKAGE).get_all("Classifier") or []
    pythons = [found[1] for text in classifiers if (found := PYTHONS.fullmatch(text))]
    for name, installed in sorted(closure().items()):
        if name not in by_name:
            yield f"{name} is not in constraints.txt: make constraints"
            continue
        if not any(_is_for(pin, None, installed) for pin in by_name[name]):
            yield f"{name} {installed.version} is installed, and not what constraints.txt pins"
        needed = SpecifierSet((installed.metadata.get_all("Requires-Python") or [""])[0])
        for python in pythons:
            is_meant = any(_is_for(pin, python, installed) for pin in by_name[name])
            if is_meant and not needed.contains(f"{python}.99"):
                yield f"{name} {installed.version} is pinned for Python {python}, and needs {needed}"


def _is_for(pin: Requirement, python: str | None, installed: metadata.Distribution) -> bool:
    """Whether this version is pinned for a Python, or for this one."""
    of = {} if python is None else {"python_version": python, "python_full_version": f"{python}.99"}
    applies = pin.marker is None or pin.marker.evaluate(of)
    return applies and pin.specifier.contains(installed.version, prereleases=True)


class NoAdvisoriesError(Exception):
    """Nobody tells what is vulnerable; the text says why."""


def advisories_of(requirements: Iterable[str]) -> list[str]:
    """Known vulnerabilities, as `pip-audit` learns them from PyPI.

    Raises:
        NoAdvisoriesError: it cannot learn them here.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requirements))
        file.flush()
        command = ("--requirement", file.name, "--no-deps", "--disable-pip", "--format=json")
        quiet = ("--progress-spinner=off", "--timeout=10")
        try:
            told = subprocess.run(
                [sys.executable, "-m", "pip_audit", *command, *quiet],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NoAdvisoriesError(f"no answer within {SECONDS} s") from None
    try:
        found: list[dict[str, Any]] = json.loads(told.stdout)["dependencies"]
    except ValueError:
        lines = told.stderr.strip().splitlines() or [f"pip-audit ended with {told.returncode}"]
        raise NoAdvisoriesError(lines[-1][:200]) from None
    left_out = [one["skip_reason"] for one in found if "skip_reason" in one]
    if left_out:
        raise NoAdvisoriesError(left_out[0])
    return [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for one in found
        for flaw in one["vulns"]
    ]


def known_vulnerabilities(pinned: Iterable[Requirement]) -> list[str]:
    """Those of all that is pinned for this Python.

    Raises:
        NoAdvisoriesError: nothing is known here, not even what is known to everybody.
    """
    if not advisories_of([KNOWN_TO_BE_VULNERABLE]):
        raise NoAdvisoriesError(f"of {KNOWN_TO_BE_VULNERABLE} nothing is known, which has several")
    meant = (pin for pin in pinned if pin.marker is None or pin.marker.evaluate())
    return advisories_of(f"{pin.name}{pin.specifier}" for pin in meant)


@click.command()
@click.option("--strict", is_flag=True, help="Fail where no advisories can be had.")
def main(*, strict: bool) -> None:
    """Check licences, pins and known vulnerabilities of what is installed."""
    pinned = pins()
    licences = licences_of(closure())
    faults = [*faults_of_licences(licences), *faults_of_pins(pinned)]
    click.echo(f"licences   {len(licences)} packages; pins {len(pinned)}")
    try:
        vulnerable = known_vulnerabilities(pinned)
        click.echo(f"advisories {len(vulnerable)} for {len(pinned)} pins")
        faults += vulnerable
    except NoAdvisoriesError as why:
        click.echo(f"advisories NOT AUDITED: {why}")
        click.echo("           `make audit`, where PyPI's advisories can be had, has to pass.")
        faults += ["no advisories could be had"] if strict else []
    for fault in faults:
        click.echo(fault, err=True)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
