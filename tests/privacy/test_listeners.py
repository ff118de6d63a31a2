"""Whatever listens here, listens to this machine alone, unless somebody says otherwise."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.real.processes import Process, free_ports, wait_until

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "collector-config"
FILES = sorted(CONFIGURATION.rglob("*.yaml"))
IN_CONTAINERS = {CONFIGURATION / "compose.yaml"}
"""What listens at all addresses of a container; its ports are published for this machine alone."""

COMMAND = (sys.executable, "-m", "otel_redis_cache.cli.main")
_DEFAULT = re.compile(r"\$\{(?:env:)?(\w+):-([^}]*)\}")
_ADDRESS = re.compile(r"\b(?:\d+\.){3}\d+\b|\[[0-9a-f]*::?[0-9a-f:]*\]")
_NAME = re.compile(r"ADDRESS|HOST")


def listening(process: psutil.Process) -> set[tuple[str, int]]:
    """Where it listens, and what it has started."""
    found: set[tuple[str, int]] = set()
    for one in (process, *process.children(recursive=True)):
        connections = one.net_connections(kind="inet")
        found |= {each.laddr for each in connections if each.status == psutil.CONN_LISTEN}
    return found


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address.strip("[]"))
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., psutil.Process]]:
    running: list[Process] = []

    def start(*arguments: str) -> psutil.Process:
        running.append(Process([*COMMAND, *arguments], log=tmp_path / "log"))
        return psutil.Process(running[-1].pid)

    yield start
    for process in running:
        process.end()


@pytest.mark.parametrize(
    ("command", "ports"),
    [
        (("top", "--json", "--grpc-port", "{0}", "--http-port", "{1}"), 2),
        (("top", "--serve", "--grpc-port", "{0}", "--http-port", "{1}", "--serve-port", "{2}"), 3),
        (("demo", "--seconds", "30"), 2),
    ],
    ids=["top", "top in a browser", "demo and its server"],
)
def test_a_command_listens_to_this_machine_alone(
    started: Callable[..., psutil.Process], command: tuple[str, ...], ports: int
) -> None:
    process = started(*(word.format(*free_ports(3)) for word in command))
    wait_until(lambda: len(listening(process)) >= ports, timeout=30, what="it listens")

    found = listening(process)
    assert {address for address, _ in found if not is_loopback(address)} == set()


@pytest.mark.parametrize(
    "file", FILES, ids=[str(file.relative_to(CONFIGURATION)) for file in FILES]
)
def test_a_file_names_no_other_address_where_nobody_says_otherwise(file: Path) -> None:
    if file in IN_CONTAINERS:
        return
    addresses = _ADDRESS.findall(file.read_text("utf-8"))

    assert [address for address in addresses if not is_loopback(address)] == []


def test_where_the_files_listen_has_an_address_by_default() -> None:
    """An endpoint without one, such as ``:4317``, would listen everywhere."""
    texts = [file.read_text("utf-8") for file in FILES]
    defaults = [
        (name, given)
        for text in texts
        for name, given in _DEFAULT.findall(text)
        if _NAME.search(name)
    ]

    assert len(defaults) > 10
    assert [one for one in defaults if not _ADDRESS.match(one[1])] == []
    assert not any(re.search(r"endpoint: \"?:\d", text) for text in texts)


def test_containers_publish_ports_for_this_machine_alone() -> None:
    composed: Any = yaml.safe_load((CONFIGURATION / "compose.yaml").read_text("utf-8"))
    services = composed["services"].values()
    ports = [port for service in services for port in service.get("ports", ())]

    assert len(ports) >= 6
    assert [port for port in ports if not str(port).startswith("127.0.0.1:")] == []
    assert not any(service.get("network_mode") == "host" for service in services)
