"""`collector-config/compose.yaml` as a user starts it: `make up`, `make down`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Self

from . import images
from .collector import CONFIGURATION
from .docker import DockerEngine
from .processes import free_ports

FILE = CONFIGURATION / "compose.yaml"
PORTS = ("GRAFANA", "JAEGER", "PROMETHEUS", "BOOKSHOP", "OTLP_GRPC", "OTLP_HTTP")
PASSWORD = "only-for-this-test"
_START_SECONDS = 150
"""More than `make up` waits, so that it has ended by itself before."""


def services(compose: Path) -> dict[str, dict[str, Any]]:
    """What the file says after Compose has read it; Compose refuses what it does not understand."""
    said = subprocess.run(
        [compose, "--file", FILE, "config", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    found: dict[str, dict[str, Any]] = json.loads(said.stdout)["services"]
    return found


class Stack:
    """Up from `with` to the end of it; `without` are the services whose images cannot be had here."""

    def __init__(
        self, engine: DockerEngine, compose: Path, programs: Mapping[str, Path], directory: Path
    ) -> None:
        """`programs` are this machine's, by the service that runs one where no registry can be reached."""
        self._engine, self._compose = engine, compose
        self.services = services(compose)
        chosen = {name: self._image(name, programs) for name in self.services}
        self.without = {name for name, image in chosen.items() if not image}
        # Who asks how it is goes with it.
        self.without |= self.services.keys() & {f"{name}-health" for name in self.without}
        over = {"services": {name: {"image": image} for name, image in chosen.items() if image}}
        override = directory / "override.json"
        override.write_text(json.dumps(over), encoding="utf-8")
        self.name = f"test-{os.getpid()}"
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._environment = {
            **os.environ,
            "COMPOSE_FILE": f"{FILE}{os.pathsep}{override}",
            # Beside one that the user has up.
            "COMPOSE_PROJECT_NAME": self.name,
            "REDIS_PASSWORD": PASSWORD,
            **{f"{name}_PORT": str(port) for name, port in self.ports.items()},
        }

    def _image(self, service: str, programs: Mapping[str, Path]) -> str:
        """The official image, else one of this machine's program, else none."""
        official = str(self.services[service]["image"])
        if "build" in self.services[service]:
            return images.bookshop_image(self._engine, f"{official}:test")
        local = ""
        if service.endswith("-health"):
            local = images.neighbour_image(self._engine)
        elif service == "redis":
            local = images.server_image(self._engine, "local/redis:test", programs[service])
        elif service in programs:
            local = images.asked_by_wget(self._engine, f"local/{service}:test", programs[service])
        return self._engine.image(official, local)

    def __enter__(self) -> Self:
        try:
            said = self.make("up", *sorted(self.services.keys() - self.without))
        except BaseException:
            self.make("down")
            raise
        self.addresses = [word for word in said.split() if word.startswith("http://")]
        return self

    def __exit__(self, *exception: object) -> None:
        self.make("down")

    def make(self, target: str, *wanted: str) -> str:
        command = ["make", "--silent", target, f"COMPOSE={self._compose}"]
        command += [f"ARGS=--no-build {' '.join(wanted)}"] if wanted else []
        return self._run(command, cwd=CONFIGURATION.parent)

    def say(self, *words: str) -> str:
        """`docker compose` with these words."""
        return self._run([str(self._compose), *words], cwd=CONFIGURATION)

    def _run(self, command: Sequence[str], cwd: Path) -> str:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr + self._logs()
        return done.stdout

    def _logs(self) -> str:
        return subprocess.run(
            [self._compose, "logs", "--tail", "20"],
            cwd=CONFIGURATION,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout
