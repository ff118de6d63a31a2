"""The guarded steps of the package, read from its code: a new one is found without being named anywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import otel_redis_cache

PACKAGE = Path(otel_redis_cache.__file__).parent


class Guard(NamedTuple):
    """One function that keeps its faults from the application."""

    module: str
    owner: str
    """The class of a method."""
    function: str
    step: str
    """As a fault in it is counted."""
    is_decorated: bool
    """Else it guards a part of itself."""

    def __str__(self) -> str:
        return f"{self.owner or self.module}.{self.function}"


def guards() -> list[Guard]:
    """All of them, in the order of files and lines."""
    return [
        guard
        for path in sorted(PACKAGE.rglob("*.py"))
        if "cli" not in path.relative_to(PACKAGE).parts
        for guard in _guards_of(path)
    ]


def _guards_of(path: Path) -> Iterator[Guard]:
    relative = path.relative_to(PACKAGE.parent).with_suffix("")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for body, owner in [
        (tree.body, ""),
        *((it.body, it.name) for it in tree.body if isinstance(it, ast.ClassDef)),
    ]:
        for function in body:
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for step, is_decorated in _steps_of(function):
                    yield Guard(".".join(relative.parts), owner, function.name, step, is_decorated)


def _steps_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, bool]]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and _name_of(decorator.func) == "harmless":
            yield _text(decorator.args[0]), True
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and _name_of(node.func) == "contain":
            yield from ((_text(it), False) for it in node.args if isinstance(it, ast.Constant))


def _name_of(function: ast.expr) -> str:
    return getattr(function, "id", None) or getattr(function, "attr", "")


def _text(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant)
    return str(node.value)
