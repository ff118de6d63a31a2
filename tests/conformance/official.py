"""The semantic conventions, as `opentelemetry-semantic-conventions` ships them."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import opentelemetry.semconv._incubating.attributes as incubating
import opentelemetry.semconv.attributes as stable
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.semconv._incubating.metrics import db_metrics


class Attribute(NamedTuple):
    is_stable: bool
    is_deprecated: bool
    values: frozenset[str]
    """Those it has a name for; empty where it is no enum."""


class Metric(NamedTuple):
    instrument: str
    unit: str
    description: str


def attributes() -> dict[str, Attribute]:
    """All of them; of one that became stable the older modules have all values."""
    found: dict[str, Attribute] = {}
    for package in (incubating, stable):
        for module in _modules(package):
            documented = dict(_documented(module))
            for constant, text in documented.items():
                name = getattr(module, constant)
                values = getattr(module, f"{constant.title().replace('_', '')}Values", ())
                before = found[name].values if name in found else frozenset[str]()
                found[name] = Attribute(
                    is_stable=package is stable,
                    is_deprecated=text.strip().startswith("Deprecated:"),
                    values=before | {member.value for member in values},
                )
    return found


def metrics_of_databases() -> dict[str, Metric]:
    meter = MeterProvider(shutdown_on_exit=False).get_meter("official")
    found: dict[str, Metric] = {}
    for name, create in vars(db_metrics).items():
        if name.startswith("create_"):
            made: Any = create(meter)
            kind = type(made).__name__.removeprefix("_").lower()
            found[made.name] = Metric(kind, made.unit, made.description)
    return found


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(each.name)


def _documented(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Each constant with the text that stands below it."""
    body = ast.parse(inspect.getsource(module)).body
    for statement, below in itertools.pairwise(body):
        match statement, below:
            case (
                ast.AnnAssign(target=ast.Name(constant)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield constant, text
