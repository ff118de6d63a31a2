"""A real terminal for a command: what it writes is read as a screen, and keys are typed as a person types them."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyte
from typing_extensions import Self

from .processes import wait_until

HEARING_CTRL_C = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Starts a command as a terminal does: where tests run in the background, SIGINT is ignored."""

CTRL_C = "\x03"
ENTER = "\r"
ESCAPE = "\x1b"
DOWN = "\x1b[B"

WITH_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Makes the terminal that it was given the one that its keys and its size come from."""


class Terminal:
    """A command in a terminal of its own; both end with the block."""

    def __init__(
        self,
        *command: str | Path,
        columns: int = 80,
        lines: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [str(word) for word in command]
        self._size = columns, lines
        self._environment = {
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            **(environment or {}),
        }
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.written = bytearray()

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        self.resize(*self._size)
        unset = {"NO_COLOR", "COLUMNS", "LINES"}
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WITH_A_TERMINAL, *self._command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**inherited, **self._environment},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self._slave)  # the reader ends with the last one who has it open
        self._reader.join(10)
        os.close(self._master)

    def text(self) -> str:
        """The screen as it is now."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display)

    def wait_for(self, wanted: str | Callable[[str], Any], timeout: float = 30) -> str:
        """The screen as soon as it has what is wanted."""

        def found() -> str | None:
            text = self.text()
            is_there = wanted in text if isinstance(wanted, str) else wanted(text)
            return text if is_there else None

        try:
            return wait_until(found, timeout=timeout, what=str(wanted))
        except TimeoutError as error:
            raise TimeoutError(f"{error}:\n{self.text()}") from None

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Make it larger or smaller, and tell the command."""
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        with self._lock:
            self._screen.resize(lines, columns)

    def wait(self, timeout: float = 15) -> int:
        """The exit code."""
        return self.process.wait(timeout)

    @property
    def modes(self) -> Sequence[Any]:
        """How the terminal treats keys and lines; `before` says how it did at first."""
        return termios.tcgetattr(self._slave)

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._master, 65_536)
            except OSError:  # nobody has the other end open any more
                return
            with self._lock:
                self.written += piece
                self._stream.feed(piece)
