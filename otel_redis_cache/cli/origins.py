"""The settings of this environment, and where each has come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

from otel_redis_cache.cli.addresses import redact
from otel_redis_cache.settings import (
    FIELDS,
    PREFIX,
    Rules,
    SettingError,
    Settings,
    from_keywords,
    parse,
)

SECRETS = ("key_secret",)


@dataclass(frozen=True)
class Origin:
    """One setting as it is in effect."""

    name: str
    value: object
    variable: str
    """The environment variable that sets it."""
    is_given: bool
    """Whether the variable has a value; else this is the default."""
    error: str = ""
    """Why the value that was given is not the one in effect."""

    @property
    def shown(self) -> str:
        """The value as it may be shown, in the words that the variable takes."""
        if self.value is None:
            return ""
        if self.name in SECRETS:
            return "(not shown)"
        words = _words(self.value)
        return redact(words) if self.name == "watch" else words

    @property
    def source(self) -> str:
        """Where the value in effect has come from."""
        return self.variable if self.is_given and not self.error else "default"


def settings_of(environ: Mapping[str, str]) -> Settings:
    """What an application gets that is started in this environment, and gives no keywords."""
    return from_keywords({}, environ)


def origins_of(environ: Mapping[str, str]) -> list[Origin]:
    """Every setting, in the order of the documentation."""
    chosen = settings_of(environ)
    given = {name: text for name in FIELDS if (text := environ.get(_variable(name), "")).strip()}
    errors = _errors(given, chosen)
    return [
        Origin(name, getattr(chosen, name), _variable(name), name in given, errors.get(name, ""))
        for name in FIELDS
    ]


def unknown_of(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Variables that look like settings and are none, each with the one that may be meant."""
    known = {_variable(name) for name in FIELDS}
    return {
        name: _alike(name.removeprefix(PREFIX).lower())
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known
    }


def _alike(name: str) -> str | None:
    return next(map(_variable, get_close_matches(name, FIELDS, 1)), None)


def _errors(given: Mapping[str, str], chosen: Settings) -> dict[str, str]:
    """Why what was given is not what is in effect."""
    errors = {name: error for name, text in given.items() if (error := _error(name, text))}
    parsed: dict[str, Any] = {name: parse(name, given[name]) for name in given.keys() - errors}
    try:
        Settings(**parsed)
    except SettingError as error:
        left_out = [name for name in parsed if parsed[name] != getattr(chosen, name)]
        errors |= dict.fromkeys(left_out, str(error))
    return errors


def _error(name: str, text: str) -> str:
    try:
        parse(name, text)
    except SettingError as error:
        return str(error)
    return ""


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset):
        return ",".join(sorted(map(str, cast("frozenset[str]", value))))
    if isinstance(value, tuple):
        return ",".join(map(_pair, cast("Rules", value)))
    return str(value)


def _pair(rule: tuple[str, str]) -> str:
    name, pattern = rule
    return f"{pattern}=-" if name == "-" else f"{name}={pattern}"
