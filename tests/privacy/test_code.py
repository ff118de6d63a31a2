"""No code is loaded from configuration, from a server or from what is received."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from pathlib import Path

import otel_redis_cache
from otel_redis_cache.settings import PREFIX
from tests.privacy.marks import STEM

PACKAGE = Path(otel_redis_cache.__file__).parent
ROOT = PACKAGE.parent

RUNS_CODE = {"eval", "exec", "compile", "__import__", "execfile", "input"}
LOADS_CODE = {"code", "codeop", "dill", "marshal", "pickle", "runpy", "shelve", "yaml", "imp"}
IMPORTS_BY_NAME = {
    "seams.py": "the modules of rows, which methods.py, checkouts.py and others write down",
    "server/nodes.py": "redis.asyncio or valkey.asyncio",
    "server/sources.py": "the same",
}
"""Where the name of a module is no constant, and what it can be."""


@functools.cache
def nodes() -> list[tuple[str, ast.AST]]:
    return [
        (str(file.relative_to(PACKAGE)), node)
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
    ]


def called(node: ast.AST) -> str:
    """The last word of what is called."""
    if not isinstance(node, ast.Call):
        return ""
    of = node.func
    return of.id if isinstance(of, ast.Name) else getattr(of, "attr", "")


def test_nothing_runs_text_as_code() -> None:
    found = [
        (file, name)
        for file, node in nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if (name := called(node)) in RUNS_CODE
    ]

    assert found == []


def test_nothing_reads_a_format_that_carries_code() -> None:
    imported = {
        (file, name.partition(".")[0])
        for file, node in nodes()
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }

    assert len(imported) > 500
    assert {(file, name) for file, name in imported if name in LOADS_CODE} == set()


def test_a_module_is_imported_by_a_name_that_this_package_knows() -> None:
    variable = {
        file
        for file, node in nodes()
        if isinstance(node, ast.Call) and called(node) in ("import_module", "find_spec", "load")
        if node.args and not isinstance(node.args[0], ast.Constant)
        if called(node) == "import_module"
    }

    assert variable == IMPORTS_BY_NAME.keys()


WATCHFUL = f"""
import os, sys

def notice(event, arguments):
    if event in ("import", "exec", "compile", "os.system", "os.exec", "subprocess.Popen", "open"):
        if "{STEM}" in repr(arguments):
            print(event, arguments)
            os._exit(3)

sys.addaudithook(notice)

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from otel_redis_cache import RedisCacheInstrumentor, snapshot
from otel_redis_cache.settings import FIELDS, FileOptions, SettingError, from_keywords

for text in sys.argv[1:]:
    given = dict.fromkeys(FIELDS, text)
    FileOptions(**given)
    for name in FIELDS:
        os.environ["{PREFIX}" + name.upper()] = text
        try:
            from_keywords({{name: text}}, {{}})
        except SettingError:
            pass
    RedisCacheInstrumentor().instrument()
    try:
        redis.Redis(port=1, retry=Retry(NoBackoff(), 0)).get("user:1")
    except redis.ConnectionError:
        pass
    snapshot()
    RedisCacheInstrumentor().uninstrument()
print("done")
"""


def test_no_setting_makes_this_package_import_or_run_what_it_names(tmp_path: Path) -> None:
    (tmp_path / f"{STEM}_module.py").write_text("raise SystemExit(4)\n")
    texts = (
        f"{STEM}_module",
        f"{STEM}_module:main",
        f"__import__('{STEM}_module')",
        f"!!python/object/apply:os.system [{STEM}]",
        f"redis+{STEM}_module://localhost/0",
        f"a={STEM}_module.*",
    )
    ended = subprocess.run(
        [sys.executable, "-c", WATCHFUL, *texts],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr
