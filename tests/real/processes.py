"""Programs that tests start, and the waiting for them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that nobody listens on: all are held until the last one is known."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def start_on_free_ports(count: int, start: Callable[..., None]) -> None:
    """Call `start` with that many ports; once more if somebody took one between choosing and binding it."""
    try:
        start(*free_ports(count))
    except RuntimeError:
        start(*free_ports(count))


def wait_until(found: Callable[[], T | None], *, timeout: float, what: str) -> T:
    """Poll until `found` gives something true; raise TimeoutError that says what was waited for."""
    deadline = time.monotonic() + timeout
    while not (result := found()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)
    return result


class Process:
    """One child process with its output in a file; it never outlives `end()`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ):
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                # Ctrl-C in the terminal is for pytest, which then ends its children in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def output(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """SIGKILL, which works on a paused process too."""
        self._popen.kill()
        self._popen.wait(10)

    def wait(self, timeout: float) -> int:
        """The exit code."""
        return self._popen.wait(timeout)

    def pause(self) -> None:
        self._popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._popen.send_signal(signal.SIGCONT)

    def end(self, timeout: float = 15) -> None:
        """SIGTERM and time to finish, then SIGKILL."""
        if not self.running:
            return
        self._popen.terminate()
        self.resume()
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
