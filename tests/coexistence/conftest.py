from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.real.servers import RedisServer

from .processes import run

Meet = Callable[[str, str], dict[str, Any]]
"""(package, way to meet) -> what each stage gave."""


@pytest.fixture(scope="session")
def meet(valkey_server: RedisServer) -> Meet:
    """Let this package and another one meet, each way once, in a process of its own."""
    met: dict[tuple[str, str], dict[str, Any]] = {}

    def meet(package: str, way: str) -> dict[str, Any]:
        if (package, way) not in met:
            valkey_server.revive()
            module = "tests.coexistence.application"
            met[package, way] = json.loads(run("-m", module, package, way, valkey_server.url))
        return met[package, way]

    return meet
