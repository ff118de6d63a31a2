"""Whether what is installed is what this package works with, and who else watches Redis."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from otel_redis_cache.cli.findings import Finding, State
from otel_redis_cache.settings import PREFIX, Settings

PACKAGE = "otel-redis-cache"
ENTRY_POINT = "redis_cache"

CLIENTS = ("redis", "valkey")
TESTED = {"redis": SpecifierSet("<9"), "valkey": SpecifierSet("<7")}
"""Up to where the clients are tested; what they need to be at least stands in the requirements."""

_EXTRAS = ("", "instruments-any", "otlp")
_PYTHON = re.compile(r"Programming Language :: Python :: (3\.\d+)")


def check_packages(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Versions first, then the neighbours."""
    yield _check_python()
    yield from _check_versions()
    yield _check_switch(environ)
    yield from _check_neighbours(settings, environ)


def _check_python() -> Finding:
    own, running = metadata.metadata(PACKAGE), platform.python_version()
    tested = [
        Version(found.group(1))
        for text in own.get_all("Classifier") or []
        if (found := _PYTHON.fullmatch(text))
    ]
    newest = max(tested, default=Version(running))
    if Version(".".join(running.split(".")[:2])) > newest:
        return Finding(
            "Python", "warning", f"{running}; tested up to {newest}", f"use Python {newest}"
        )
    return Finding("Python", "ok", running)


def _check_versions() -> Iterator[Finding]:
    """Each of our requirements, and one client library at least."""
    needs = _needs()
    installed = {name: version for name in needs if (version := _version_of(name))}
    if not any(name in installed for name in CLIENTS):
        yield Finding(
            "client library", "broken", "neither redis nor valkey is installed", "pip install redis"
        )
    fine = [f"{PACKAGE} {metadata.version(PACKAGE)}"]
    for name, need in needs.items():
        if name not in installed:
            if name not in CLIENTS:
                yield Finding(name, "broken", "not installed", f"pip install '{PACKAGE}[otlp]'")
        elif trouble := _trouble_with(name, installed[name], need):
            yield trouble
        else:
            fine.append(f"{name} {installed[name]}")
    yield Finding("packages", "ok", ", ".join(fine))


def _needs() -> dict[str, SpecifierSet]:
    needs: dict[str, SpecifierSet] = {}
    for text in metadata.requires(PACKAGE) or []:
        need = Requirement(text)
        wanted = (need.marker is None or need.marker.evaluate({"extra": it}) for it in _EXTRAS)
        if need.name != PACKAGE and any(wanted):
            needs[need.name] = needs.get(need.name, SpecifierSet()) & need.specifier
    return needs


def _trouble_with(name: str, version: str, need: SpecifierSet) -> Finding | None:
    if not need.contains(version, prereleases=True):
        return Finding(
            name, "broken", f"{version}; needed is {_shown(need)}", f"pip install -U '{name}{need}'"
        )
    tested = TESTED.get(name, SpecifierSet())
    if not tested.contains(version, prereleases=True):
        return Finding(
            name,
            "warning",
            f"{version}; tested is {_shown(need & tested)}",
            f"pip install '{name}{tested}', or look for a newer {PACKAGE}",
        )
    return None


def _shown(specifiers: SpecifierSet) -> str:
    return ", ".join(sorted(map(str, specifiers), reverse=True))


def _check_switch(environ: Mapping[str, str]) -> Finding:
    """Whether opentelemetry-instrument would load us."""
    if ENTRY_POINT in _disabled(environ):
        return Finding(
            "instrumentation",
            "warning",
            f"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS has {ENTRY_POINT}: "
            "opentelemetry-instrument leaves this package out",
            f"take {ENTRY_POINT} out of it",
        )
    found = metadata.entry_points(group="opentelemetry_instrumentor", name=ENTRY_POINT)
    if not list(found):
        return Finding(
            "instrumentation",
            "broken",
            "opentelemetry-instrument does not find this package",
            f"pip install --force-reinstall {PACKAGE}",
        )
    return Finding("instrumentation", "ok", "opentelemetry-instrument finds this package")


def _disabled(environ: Mapping[str, str]) -> set[str]:
    names = environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")
    return {name.strip() for name in names}


def _check_neighbours(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Who is installed and may watch the same clients; whether it does, the application decides."""
    contrib = _version_of("opentelemetry-instrumentation-redis")
    is_loaded = contrib is not None and not {"redis", "*"} & _disabled(environ)
    found = {
        "opentelemetry-instrumentation-redis": (
            contrib,
            "opentelemetry-instrument loads it" if is_loaded else "disabled",
            "spans of redis-py",
        ),
        "ddtrace": (_version_of("ddtrace"), "active under ddtrace-run", "spans"),
        "sentry-sdk": (_version_of("sentry-sdk"), "active where its tracing is on", "spans"),
        "redis.observability": (
            _version_of("redis") if _has_observability() else None,
            "active where the application switches it on",
            "durations and other metrics of redis-py",
        ),
    }
    for name, (version, when, what) in found.items():
        if version is None:
            continue
        state, effect, next_step = _effect(settings, name, what)
        if when == "disabled":
            yield Finding(name, "ok", f"{version}, disabled")
        elif is_loaded and name == "opentelemetry-instrumentation-redis":
            yield Finding(name, state, f"{version}, {when}; {effect}", next_step)
        else:
            yield Finding(name, "ok", f"{version}, {when}; then {effect}")


def _effect(settings: Settings, name: str, what: str) -> tuple[State, str, str]:
    """What ``on_conflict`` does beside this one."""
    said = f"on_conflict={settings.on_conflict}"
    variable = f"{PREFIX}ON_CONFLICT"
    if settings.on_conflict == "both":
        return "warning", f"{what} are made twice ({said})", f"set {variable}=yield"
    if settings.on_conflict == "off":
        return (
            "warning",
            f"this package does nothing ({said})",
            f"set {variable}=yield, or uninstall {name}",
        )
    return "ok", f"{what} are left to it ({said})", ""


def _has_observability() -> bool:
    try:
        return find_spec("redis.observability") is not None
    except ModuleNotFoundError:
        return False


def _version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
