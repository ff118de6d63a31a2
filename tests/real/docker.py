"""A Docker engine for testcontainers: the machine's own, else one that the test session starts as root.

testcontainers reads its settings when it is imported: import it only where `DockerEngine` is running already.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import docker
from docker.errors import DockerException
from typing_extensions import Self

from .processes import Process, wait_until

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

# A bridge of Docker's is one for the whole machine: two engines on it would hand out the same addresses.
_LOCK = Path(tempfile.gettempdir()) / "otel-redis-cache-docker.lock"
_PULL_SECONDS = 60


class NoDockerError(Exception):
    """Why there is no engine here."""


class DockerEngine:
    """A reachable engine, from `with` to the end of it; only an engine started here is ended here."""

    host: str
    version: str

    def __enter__(self) -> Self:
        self._process: Process | None = None
        self._registry = True
        self._made: set[str] = set()
        self.host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        if _answers(self.host):
            self.started_here = False
        else:
            self.started_here = True
            self._start()
        self._set_environment()
        self.client = docker.from_env(timeout=60)
        self.version = str(self.client.version()["Version"])
        return self

    def __exit__(self, *exception: object) -> None:
        for image in self._made:
            self.client.images.remove(image, force=True)
        self.client.close()
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if self._process:
            self._end()

    def _start(self) -> None:
        dockerd = shutil.which("dockerd") or shutil.which("/usr/sbin/dockerd")
        if not dockerd:
            raise NoDockerError("no Docker engine answers and there is no dockerd to start")
        if os.geteuid():
            raise NoDockerError("no Docker engine answers, and only root may start dockerd")
        self._lock = _LOCK.open("w")
        self._directory = tempfile.mkdtemp(prefix="docker-")
        try:
            free = "another test session's dockerd ends"
            wait_until(lambda: _taken(self._lock), timeout=80, what=free)
            self.host = f"unix://{self._directory}/docker.sock"
            command = [dockerd, "-H", self.host]
            for place in ("data-root", "exec-root", "pidfile"):
                command += [f"--{place}", f"{self._directory}/{place}"]
            # Published ports are docker-proxy's, on loopback; nothing touches the machine's firewall or routes.
            command += ["--ip", "127.0.0.1", "--iptables=false", "--ip6tables=false"]
            command += ["--ip-forward=false", "--ip-masq=false"]
            self._process = Process(command, log=Path(self._directory) / "dockerd.log")
            wait_until(self._ready, timeout=30, what="dockerd answers")
        except (TimeoutError, NoDockerError) as error:
            self._end()
            raise NoDockerError(str(error)) from None

    def _ready(self) -> bool:
        if self._process and not self._process.running:
            raise NoDockerError(f"dockerd ended at once: {self._process.output(3)}")
        return _answers(self.host)

    def _end(self) -> None:
        if self._process:
            self._process.end()
        self._lock.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _set_environment(self) -> None:
        wanted = {"TC_POOLING_INTERVAL": "0.1", "TC_MAX_TRIES": "300"}
        # Its reaper is one more image to pull; the fixtures end their containers themselves.
        wanted["TESTCONTAINERS_RYUK_DISABLED"] = "true"
        if self.started_here:
            # Where the machine itself looks like a container, testcontainers would search for ports on a gateway.
            wanted["TESTCONTAINERS_HOST_OVERRIDE"] = "127.0.0.1"
            wanted["TESTCONTAINERS_CONNECTION_MODE"] = "docker_host"
        # Whoever has set one of them knows this machine better.
        wanted = {name: os.environ.get(name, value) for name, value in wanted.items()}
        wanted["DOCKER_HOST"] = self.host
        self._before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)

    def image(self, official: str, local: str) -> str:
        """The official image where it is here or can be pulled soon, else the local one."""
        if self._has(official) or self._pulled(official):
            return official
        return local

    def _has(self, image: str) -> bool:
        return any(image in (one.tags or ()) for one in self.client.images.list())

    def _pulled(self, image: str) -> bool:
        cli = shutil.which("docker")
        if not cli or not self._registry:
            return False
        try:
            done = subprocess.run(
                [cli, "pull", "--quiet", image],
                capture_output=True,
                timeout=_PULL_SECONDS,
                check=False,
            )
            self._registry = done.returncode == 0
        except subprocess.TimeoutExpired:
            self._registry = False  # the next image would not fare better
        return self._registry

    def local_image(
        self,
        name: str,
        binary: Path,
        *,
        command: Sequence[str] = (),
        entrypoint: Sequence[str] = (),
        ports: Sequence[int] = (),
        also: Mapping[str, Path] | None = None,
    ) -> str:
        """An image made of a binary of this machine and its libraries, `also` under other names beside it."""
        programs = {binary.name: binary, **(also or {})}
        files = {f"/usr/local/bin/{called}": program for called, program in programs.items()}
        for program in programs.values():
            files |= {str(library): library for library in libraries_of(program)}
        changes = [f"EXPOSE {port}" for port in ports]
        changes += [f"CMD {json.dumps(command)}"] if command else []
        changes += [f"ENTRYPOINT {json.dumps(entrypoint)}"] if entrypoint else []
        return self.imported(name, files, changes)

    def imported(
        self,
        name: str,
        files: Mapping[str, Path],
        changes: Sequence[str] = (),
        without: Container[str] = (),
    ) -> str:
        """An image of files and directories, by where they are inside; `without` what has one of those names."""
        if name in self._made:
            return name
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w", dereference=True) as tar:
            tar.addfile(_directory("tmp"))
            for inside, outside in sorted(files.items()):
                tar.add(
                    outside,
                    inside.lstrip("/"),
                    filter=lambda one: None if Path(one.name).name in without else one,
                )
        repository, _, tag = name.partition(":")
        self.client.api.import_image_from_data(archive.getvalue(), repository, tag, changes)
        self._made.add(name)
        return name

    def built(self, name: str, dockerfile: str, *, context: Path, **arguments: str) -> str:
        """An image of a Dockerfile, which may fetch packages over the machine's own network."""
        if name not in self._made:
            self.client.images.build(
                path=str(context),
                dockerfile=dockerfile,
                tag=name,
                buildargs=arguments,
                network_mode="host",
                rm=True,
                forcerm=True,
            )
            self._made.add(name)
        return name

    def copied_out(self, image: str, inside: str, target: Path) -> Path:
        """One file of an image, as an executable on this machine."""
        container = self.client.containers.create(image)
        try:
            chunks, _ = container.get_archive(inside)
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
                content = tar.extractfile(tar.getmembers()[0])
                assert content, f"{inside} in {image} is not a file"
                target.write_bytes(content.read())
        finally:
            container.remove(force=True)
        target.chmod(0o755)
        return target


def on_loopback(container: DockerContainer) -> None:
    """Publish the container's ports on loopback only, whatever the engine's default is."""
    ports: dict[str, Any] = dict.fromkeys(container.ports, ("127.0.0.1", None))
    container.ports = ports


def _answers(host: str) -> bool:
    """Whether an engine is there; a socket that refuses is asked by hand, because docker-py leaves it open."""
    path = host.removeprefix("unix://")
    if path != host:
        with socket.socket(socket.AF_UNIX) as connection:
            if connection.connect_ex(path):
                return False
    try:
        client = docker.DockerClient(host, timeout=5)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def libraries_of(program: Path) -> list[Path]:
    ldd = ["ldd", program]  # fails on a static binary, which needs none
    said = subprocess.run(ldd, capture_output=True, text=True, timeout=10, check=False).stdout
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", said)]


def _directory(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o1777
    return info
