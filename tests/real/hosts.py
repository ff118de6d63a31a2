"""Hosts with a network of their own: namespaces of this machine, made and removed by a test.

    host "a" ---\
                 center, with as many addresses as are wanted
    host "b" ---/

Whoever is inside one sees nothing else of the machine's network, and the ports there are all free.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from typing_extensions import Self

CENTER = "10.213.0.1"
"""Where hosts reach what runs in the center; further addresses there follow it."""


class NoHostsError(Exception):
    """Why there can be none here."""


class Host:
    """One namespace, by its name."""

    def __init__(self, name: str):
        self.name = name

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What this thread opens or starts meanwhile is there: sockets, threads, processes."""
        with Path("/proc/thread-self/ns/net").open() as home, self._path.open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    @property
    def _path(self) -> Path:
        return Path("/run/netns", self.name)


class Hosts:
    """A center and hosts around it, from `with` to the end of it."""

    def __init__(self, names: Sequence[str], addresses: int = 1):
        """`addresses`: how many the center has, in a row from `CENTER`."""
        start, _, last = CENTER.rpartition(".")
        self.addresses = [f"{start}.{int(last) + number}" for number in range(addresses)]
        made = next(_MADE)
        self.center, *self.around = (
            Host(f"otel-redis-cache-{os.getpid()}-{made}-{name}") for name in ("center", *names)
        )

    def __enter__(self) -> Self:
        if not shutil.which("ip"):
            raise NoHostsError("there is no ip, which comes with iproute2, on PATH")
        if os.geteuid():
            raise NoHostsError("only root may make network namespaces")
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._remove()

    def _make(self) -> None:
        for host in (self.center, *self.around):
            _ip("netns", "add", host.name)
            _ip("-n", host.name, "link", "set", "lo", "up")
        for address in self.addresses:
            _ip("-n", self.center.name, "address", "add", f"{address}/32", "dev", "lo")
        for number, host in enumerate(self.around, 1):
            peer = f"host{number}"
            pair = ["link", "add", peer, "type", "veth", "peer", "name", "eth0"]
            _ip("-n", self.center.name, *pair, "netns", host.name)
            gateway = f"10.213.{number}.1"
            for name, device, address in (
                (self.center.name, peer, gateway),
                (host.name, "eth0", f"10.213.{number}.2"),
            ):
                _ip("-n", name, "address", "add", f"{address}/24", "dev", device)
                _ip("-n", name, "link", "set", device, "up")
            _ip("-n", host.name, "route", "add", "default", "via", gateway)

    def _remove(self) -> None:
        for host in (self.center, *self.around):
            if Path("/run/netns", host.name).exists():
                # Whatever becomes of one, the others are removed too.
                subprocess.run(["ip", "netns", "delete", host.name], timeout=30, check=False)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise NoHostsError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


_CLONE_NEWNET = 0x40000000
_MADE = itertools.count(1)
