"""What is shipped: built twice from different places, and looked at where it is installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import otel_redis_cache
from otel_redis_cache.cli.templates import KINDS

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent

CONSUMER = """
from __future__ import annotations

from typing_extensions import assert_never

import otel_redis_cache
from otel_redis_cache import (
    Health,
    Invalidation,
    RedisCacheInstrumentor,
    SettingError,
    Snapshot,
    Watch,
    consumed,
    context_of,
    health,
    invalidate,
    invalidate_async,
    invalidation,
    payload_of,
    snapshot,
    watch_server,
)


def hits(cache: str) -> int:
    shot: Snapshot = snapshot()
    return shot["caches"][cache]["hits"] if cache in shot["caches"] else 0


def is_well() -> bool:
    state: Health = health()
    return state["status"] == "healthy"


def remove(client: object) -> int:
    with invalidation("deploy", trigger="admin"):
        done: Invalidation = invalidate(client, "page:*")
    if done.outcome == "success":
        return done.removed
    if done.outcome == "partial" or done.outcome == "failure":
        return 0
    assert_never(done.outcome)


async def remove_later(client: object) -> int:
    return (await invalidate_async(client, "page:*", reason="deploy")).removed


def work(message: object) -> object:
    with consumed(message):
        context_of(message)
        return payload_of(message)


def watch() -> Watch:
    return watch_server("redis://127.0.0.1:1/0", sample_memory=True)


if __name__ == "__main__":
    RedisCacheInstrumentor().instrument(metrics="default,size")
    try:
        RedisCacheInstrumentor().instrument_client("no client")
    except (SettingError, TypeError):
        pass
    RedisCacheInstrumentor().uninstrument()
    print(hits("user"), otel_redis_cache.__file__)
"""


_DEFINED = (getattr(otel_redis_cache, name) for name in otel_redis_cache.__all__)
PUBLIC = re.compile(
    "|".join(rf"{re.escape(f'{each.__module__}.{each.__qualname__}')}(\.|$)" for each in _DEFINED)
)


class Built:
    """The wheel and the sdist of one build."""

    def __init__(self, source: Path, out: Path) -> None:
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1760000000"}
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-d", out],
            cwd=source,
            env=environment,
            check=True,
            timeout=100,
        )
        (self.wheel,) = out.glob("*.whl")
        (self.sdist,) = out.glob("*.tar.gz")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(ROOT, tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and our dependencies from around it."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, symlinks=True, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    with zipfile.ZipFile(built.wheel) as wheel:
        wheel.extractall(packages)
    (packages / "around.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return home / "bin" / "python"


@pytest.fixture
def consumer(tmp_path: Path) -> Path:
    file = tmp_path / "consumer.py"
    file.write_text(CONSUMER, encoding="utf-8")
    return file


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_what_is_built_out_of_the_sdist_elsewhere_is_the_same_byte_by_byte(
    built: Built, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        with tarfile.open(built.sdist) as archive:
            archive.extractall(tmp_path / "unpacked", filter="data")
        (source,) = (tmp_path / "unpacked").iterdir()
        for file in source.rglob("*"):
            os.utime(file, (1, 1_700_000_000))
        again = Built(source, tmp_path / "again")
    finally:
        os.umask(before)

    assert again.wheel.name == built.wheel.name
    assert again.wheel.read_bytes() == built.wheel.read_bytes()
    assert again.sdist.read_bytes() == built.sdist.read_bytes()


def test_the_wheel_has_the_package_its_types_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
        (entry_points,) = (name for name in names if name.endswith("/entry_points.txt"))
        declared = wheel.read(entry_points).decode()

    in_tree = [file for file in (ROOT / "otel_redis_cache").rglob("*") if file.is_file()]
    expected = {str(file.relative_to(ROOT)) for file in in_tree if file.suffix != ".pyc"}
    rendered = {
        f"otel_redis_cache/cli/collector-config/{name}" for kind in KINDS.values() for name in kind
    }
    assert "otel_redis_cache/py.typed" in expected
    assert {name for name in names if ".dist-info/" not in name} == expected | rendered
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert "redis_cache = otel_redis_cache.instrumentor:RedisCacheInstrumentor" in declared
    assert "otel-redis-cache = otel_redis_cache.cli.main:main" in declared


def test_the_sdist_has_what_it_takes_to_run_the_tests(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {
        "pyproject.toml",
        "constraints.txt",
        "Makefile",
        "noxfile.py",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/registry/cache/registry.yaml",
        "tests/release/test_distributions.py",
    } <= names


def test_an_application_uses_the_wheel(installed: Path, consumer: Path) -> None:
    ran = run(installed, "-W", "error", consumer, cwd=consumer.parent)

    assert ran.returncode == 0, ran.stderr
    hits, _, where = ran.stdout.strip().partition(" ")
    assert hits == "0"
    assert Path(where).is_relative_to(installed.parents[1])


def test_pyright_knows_every_type_of_the_public_surface(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes all modules for public; what is, `__all__` says, and where that was defined."""
    monkeypatch.setenv("PATH", str(installed.parent), prepend=os.pathsep)  # that is where it looks
    options = ("--ignoreexternal", "--outputjson", "--verifytypes", "otel_redis_cache")
    said = json.loads(run(TOOLS / "pyright", *options, cwd=tmp_path).stdout)["typeCompleteness"]
    symbols = [symbol for symbol in said["symbols"] if PUBLIC.match(symbol["name"])]
    unknown = {symbol["name"]: symbol for symbol in symbols if symbol["diagnostics"]}

    assert Path(said["pyTypedPath"]).is_relative_to(installed.parents[1])
    assert len(symbols) > 80
    assert unknown.keys() == {
        # For parts of this package alone, and what has one of these.
        "otel_redis_cache.instrumentor.RedisCacheInstrumentor.observer_of",
        "otel_redis_cache.server.watch.Watch.recorder",
        "otel_redis_cache.watching.watch_server",
    }


@pytest.mark.parametrize(
    "checker",
    [
        ("mypy", "--strict", "--no-incremental", "--python-executable"),
        ("pyright", "--pythonpath"),
    ],
    ids=["mypy", "pyright"],
)
def test_an_application_is_checked_against_the_wheel(
    installed: Path, consumer: Path, checker: tuple[str, ...]
) -> None:
    name, *options = checker
    right = run(TOOLS / name, *options, installed, consumer, cwd=consumer.parent)
    wrong = CONSUMER.replace('done.outcome == "partial" or ', "").replace('["hits"]', '["hit"]')
    consumer.write_text(wrong, encoding="utf-8")
    found = run(TOOLS / name, *options, installed, consumer, cwd=consumer.parent)

    assert right.returncode == 0, right.stdout
    assert found.returncode == 1, found.stdout
    assert '"hit"' in found.stdout
    assert "partial" in found.stdout
