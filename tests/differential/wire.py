"""A connection of the oracle's own: no client library, so that no instrumentation can see it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Word: TypeAlias = "str | bytes"
Reply: TypeAlias = "bytes | int | list[Reply] | WireError | None"


class WireError(Exception):
    """What the server answered with ``-``."""


class Wire:
    """Plain RESP2: commands out in one write, replies back."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=30)
        self._stream = self._socket.makefile("rb")

    def ask(self, commands: Iterable[Sequence[Word]]) -> list[Reply]:
        """The reply of each command, in order; a refusal is a reply too."""
        sent = [_packed(command) for command in commands]
        self._socket.sendall(b"".join(sent))
        return [self._read() for _ in sent]

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def _read(self) -> Reply:
        line = self._stream.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self._stream.read(int(rest) + 2)[:-2]
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        if kind == b"-":
            return WireError(rest.decode(errors="replace"))
        return None if rest == b"-1" else [self._read() for _ in range(int(rest))]


def _packed(command: Sequence[Word]) -> bytes:
    words = [word if isinstance(word, bytes) else word.encode() for word in command]
    return b"*%d\r\n%s" % (
        len(words),
        b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words),
    )
