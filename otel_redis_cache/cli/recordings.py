"""Recordings: what was received, in a file, to be looked at again.

A line that says what it is, then two messages for each one that came, each with its length before it
as protobuf writes it: a `google.protobuf.Timestamp`, when it came, and a `google.protobuf.Any`, which
holds an OTLP request and says which one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, BufferedWriter, BytesIO
from pathlib import Path
from typing import Final, TypeVar, cast

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.protobuf.proto import parse_length_prefixed, serialize_length_prefixed
from google.protobuf.timestamp_pb2 import Timestamp

from otel_redis_cache.cli.inbox import Arrival
from otel_redis_cache.cli.protocol import (
    LARGEST_MESSAGE,
    METRICS,
    SPANS,
    Export,
    MetricsRequest,
    NotOtlpError,
    SpansRequest,
    parse,
)

NAME: Final = b"otel-redis-cache recording "
VERSION: Final = b"1"
HEADER: Final = NAME + VERSION + b"\n"
LARGEST_RECORD: Final = LARGEST_MESSAGE + 1_000
NANOSECONDS: Final = 1_000_000_000
LAST_SECOND: Final = 253_402_300_799
"""Of the year 9999, beyond which a `Timestamp` means nothing; before 1970 there was no recording."""

M = TypeVar("M", bound=Message)
_TYPES = {
    SPANS: f"type.googleapis.com/{SpansRequest.DESCRIPTOR.full_name}",
    METRICS: f"type.googleapis.com/{MetricsRequest.DESCRIPTOR.full_name}",
}
_SERVICES = {name: service for service, name in _TYPES.items()}


class RecordingError(Exception):
    """A recording cannot be written or read; the text is one line that says why and what next."""


class Recorder:
    """Writes messages to a file as they are read."""

    def __init__(self, path: Path, file: BufferedWriter) -> None:
        """Begin a recording in a new file."""
        self._path = path
        self._file = file
        self._write(HEADER)

    def record(self, arrival: Arrival) -> None:
        """Write one message.

        Raises:
            RecordingError: the file does not take it, as where the disk is full.
        """
        export = arrival.export
        seconds, nanos = divmod(round(arrival.time * NANOSECONDS), NANOSECONDS)
        any_of = Any(type_url=_TYPES[export.service], value=export.body)
        written = BytesIO()
        for part in (Timestamp(seconds=seconds, nanos=nanos), any_of):
            serialize_length_prefixed(part, written)
        self._write(written.getvalue())

    def _write(self, part: bytes) -> None:
        try:
            self._file.write(part)
            self._file.flush()
        except OSError as error:
            raise RecordingError(
                f"cannot write to {self._path}: {error.strerror}; make room, or record elsewhere"
            ) from None


@contextmanager
def open_recorder(path: Path) -> Generator[Recorder]:
    """Begin a recording in a file that is not there yet.

    Raises:
        RecordingError: it is there, or cannot be written.
    """
    try:
        file = path.open("xb")
    except FileExistsError:
        raise RecordingError(f"{path} is there already: remove it, or record elsewhere") from None
    except OSError as error:
        raise RecordingError(
            f"cannot record to {path}: {error.strerror}; name a file that can be written"
        ) from None
    try:
        yield Recorder(path, file)
    finally:
        with suppress(OSError):  # all is written already, or has failed before
            file.close()


def read(path: Path) -> Iterator[Arrival]:
    """The messages of a recording.

    Raises:
        RecordingError: the file cannot be read, or is not a recording, or not a whole one.
    """
    try:
        with path.open("rb") as file:
            tape = _Tape(path, file)
            tape.check_header()
            while (at := tape.time()) is not None:
                yield Arrival(at, tape.export())
    except OSError as error:
        raise RecordingError(
            f"cannot read {path}: {error.strerror}; name a recording made with --record"
        ) from None


class _Tape:
    """A recording that is being read: a file for protobuf to read from, within bounds."""

    def __init__(self, path: Path, file: BufferedReader) -> None:
        self._path = path
        self._file = file
        self._began = 0
        """Where the part that is being read begins."""

    def check_header(self) -> None:
        found = self._file.readline(len(HEADER))
        if found.startswith(NAME) and found.endswith(b"\n") and found != HEADER:
            version = found.removeprefix(NAME).strip().decode("ascii", "replace")
            raise self._broken(
                f"version {version} of recordings, and {VERSION.decode()} is expected"
            )
        if found != HEADER:
            raise self._broken(f"no recording: it begins with {HEADER.decode().strip()!r}")

    def time(self) -> float | None:
        """When the message came that follows; None at the end of the file."""
        at = self.next(Timestamp, "a time")
        if at is None:
            return None
        if not (0 <= at.seconds <= LAST_SECOND and 0 <= at.nanos < NANOSECONDS):
            raise self._broken("a time that no clock shows")
        return at.seconds + at.nanos / NANOSECONDS

    def export(self) -> Export:
        """The message that follows a time."""
        record = self.next(Any, "a message")
        if record is None:
            raise self._broken("cut off: a message is expected after its time")
        if record.type_url not in _SERVICES:
            raise self._broken("a message of another kind: OTLP spans or metrics are expected")
        try:
            return parse(_SERVICES[record.type_url], record.value)
        except NotOtlpError as error:
            raise self._broken(str(error)) from None

    def next(self, kind: type[M], name: str) -> M | None:
        """The next part; None at the end of the file."""
        self._began = self._file.tell()
        try:
            return parse_length_prefixed(kind, cast("BytesIO", self))  # which is only read
        except (DecodeError, ValueError, IndexError, EOFError):
            raise self._broken(f"broken or cut off: {name} is expected") from None

    def read(self, size: int) -> bytes:
        """What protobuf asks for."""
        if size > LARGEST_RECORD:
            raise ValueError(size)
        return self._file.read(size)

    def _broken(self, what: str) -> RecordingError:
        return RecordingError(
            f"{self._path} at byte {self._began}: {what}; replay a whole file made with --record"
        )


class Player:
    """Plays a recording at its own pace, or faster, with a clock that shows the time of back then."""

    def __init__(self, path: Path, speed: float = 1.0) -> None:
        """Look at all of it, and play nothing yet.

        Raises:
            RecordingError: as `read`.
        """
        self._path = path
        self._speed = speed
        times = [arrival.time for arrival in read(path)]
        self._first = min(times, default=0.0)
        self.seconds = max(times, default=0.0) - self._first
        """That it lasts."""
        self._started: float | None = None
        self._next = self._first
        self._stopped = threading.Event()

    def clock(self) -> float:
        """What time it is in the recording: never later than the message that is to come next."""
        if self._started is None:
            return self._next
        elapsed = (time.monotonic() - self._started) * self._speed
        return min(self._first + elapsed, self._next)

    def play(self, take: Callable[[Arrival], None]) -> None:
        """Hand on one message after the other, each when it is due."""
        self._started = time.monotonic()
        for arrival in read(self._path):
            self._next = max(self._next, arrival.time)
            due = (arrival.time - self._first) / self._speed - (time.monotonic() - self._started)
            if self._stopped.wait(min(max(due, 0.0), threading.TIMEOUT_MAX)):
                return
            take(arrival)

    def stop(self) -> None:
        """Play nothing more."""
        self._stopped.set()
