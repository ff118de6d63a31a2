"""Images made of programs of this machine, for where no registry can be reached.

Each answers to the same command and the same health check as the official image that it stands in for.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

import pip
from grpc._cython import cygrpc
from pydantic_core import _pydantic_core

from .docker import DockerEngine, libraries_of

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "examples" / "bookshop" / "Dockerfile"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_NOT_NEEDED = {"__pycache__", "site-packages", "dist-packages", "test", "EXTERNALLY-MANAGED"}


def program(name: str) -> Path:
    found = shutil.which(name)
    assert found, f"there is no {name} on PATH"
    return Path(found)


def server_image(engine: DockerEngine, name: str, server: Path) -> str:
    kind = server.name.partition("-")[0]
    return engine.local_image(
        name,
        server,
        command=(server.name, "--save", "", "--protected-mode", "no"),
        ports=(6379,),
        # ValkeyContainer asks with it whether the server is ready; Redis's speaks to both.
        also={"redis-cli": program("redis-cli"), f"{kind}-cli": program("redis-cli")},
    )


def neighbour_image(engine: DockerEngine) -> str:
    """As busybox: sleeps, and asks others how they are."""
    return engine.local_image(
        "local/neighbour:test", program("sleep"), also={"wget": program("wget")}
    )


def asked_by_wget(engine: DockerEngine, name: str, binary: Path) -> str:
    """A server that has a wget beside it for its health check."""
    return engine.local_image(
        name, binary, entrypoint=(binary.name,), also={"wget": program("wget")}
    )


def python_image(engine: DockerEngine) -> str:
    """As python:slim: this machine's Python with pip, and its way to the package index; nothing that is installed."""
    inside = f"{sys.base_prefix}/bin"
    python = Path(inside, "python{}.{}".format(*sys.version_info))
    stdlib = sysconfig.get_path("stdlib")
    files = {f"{inside}/{name}": python for name in ("python", python.name)}
    files |= {stdlib: Path(stdlib), str(_CERTIFICATES): _CERTIFICATES}
    # There it is found without being installed.
    files[f"{stdlib}/pip"] = Path(str(pip.__file__)).parent
    # Packages from the index bring their own libraries, but for those that every Linux has.
    extensions = [Path(str(extension.__file__)) for extension in (cygrpc, _pydantic_core)]
    native = [python, *Path(stdlib).glob("lib-dynload/*.so"), *extensions]
    for library in (found for one in native for found in libraries_of(one)):
        files[str(library)] = library
    environment = {"PATH": f"{inside}:/usr/local/bin:/usr/bin:/bin"} | {
        variable: value for variable, value in os.environ.items() if variable.startswith("PIP_")
    }
    changes = [f"ENV {variable}={value}" for variable, value in environment.items()]
    return engine.imported("local/python:test", files, changes, without=_NOT_NEEDED)


def bookshop_image(engine: DockerEngine, name: str) -> str:
    """Of its own Dockerfile, on this machine's Python where python:slim cannot be had."""
    base = engine.image(_base_of(DOCKERFILE), "") or python_image(engine)
    return engine.built(name, str(DOCKERFILE.relative_to(ROOT)), context=ROOT, PYTHON=base)


def _base_of(dockerfile: Path) -> str:
    """The image that it begins with, unless told otherwise."""
    found = re.search(r"^ARG PYTHON=(\S+)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return found[1]
