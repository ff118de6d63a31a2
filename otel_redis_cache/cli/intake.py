"""Where `top` gets its data: from who sends it, or out of a recording."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from otel_redis_cache.cli.http_receiver import listen_for_http
from otel_redis_cache.cli.inbox import CAPACITY, Arrival, Inbox
from otel_redis_cache.cli.overview import Overview
from otel_redis_cache.cli.protocol import GRPC_PORT, HTTP_PORT, NotOtlpError, accept, reject
from otel_redis_cache.cli.reach import place_of
from otel_redis_cache.cli.receiver import LOOPBACK, Parse, listen_for_grpc
from otel_redis_cache.cli.recordings import Player, Recorder, open_recorder

NO_ROOM = "otel-redis-cache top cannot read this fast: it has dropped the message"


@dataclass(frozen=True)
class Listening:
    """Who listens, and what was heard."""

    overview: Overview
    inbox: Inbox
    grpc_endpoint: str
    http_endpoint: str

    def check(self) -> None:
        """Raise what has ended the reading, if something has: a RecordingError, or a fault of ours."""
        self.inbox.check()


@dataclass(frozen=True)
class Replaying:
    """What is played, and what was heard."""

    overview: Overview
    player: Player
    check: Callable[[], None]
    """Raise what has ended the playing early, if something has."""
    is_over: Callable[[], bool]


@contextmanager
def listen(
    host: str = LOOPBACK,
    grpc_port: int = GRPC_PORT,
    http_port: int = HTTP_PORT,
    *,
    record: Path | None = None,
    capacity: int = CAPACITY,
) -> Generator[Listening]:
    """Take what processes send; a port of 0 is a free one.

    Raises:
        OccupiedError: there is no listening there.
        RecordingError: there is no recording to `record`.
    """
    overview = Overview(_clock())
    with ExitStack() as stack:
        recorder = stack.enter_context(open_recorder(record)) if record else None
        inbox = Inbox(_reader(overview, recorder), capacity)
        stack.enter_context(inbox.reading())
        take = _taker(overview, inbox)
        grpc_port = stack.enter_context(listen_for_grpc(take, host, grpc_port))
        http_port = stack.enter_context(
            listen_for_http(take, overview.note_refused, host, http_port)
        )
        endpoints = (f"http://{place_of(host, port)}" for port in (grpc_port, http_port))
        yield Listening(overview, inbox, *endpoints)


@contextmanager
def replay(path: Path, speed: float = 1.0) -> Generator[Replaying]:
    """Play a recording; times are those of back then.

    Raises:
        RecordingError: it cannot be read, or is none.
    """
    player = Player(path, speed)
    overview = Overview(player.clock)

    def take(arrival: Arrival) -> None:
        overview.note(arrival.export, is_dropped=False)
        overview.read(arrival)

    with ThreadPoolExecutor(1, thread_name_prefix="player") as thread:
        playing = thread.submit(player.play, take)

        def check() -> None:
            if playing.done():
                playing.result()

        try:
            yield Replaying(overview, player, check, playing.done)
        finally:
            player.stop()


def _clock() -> Callable[[], float]:
    """The time of day, as it goes on from now, whoever sets the clock meanwhile."""
    epoch = time.time() - time.monotonic()
    return lambda: epoch + time.monotonic()


def _reader(overview: Overview, recorder: Recorder | None) -> Callable[[Arrival], None]:
    def read(arrival: Arrival) -> None:
        overview.read(arrival)
        if recorder:
            recorder.record(arrival)

    return read


def _taker(overview: Overview, inbox: Inbox) -> Callable[[Parse, str, bytes], Message]:
    def take(parse: Parse, service: str, body: bytes) -> Message:
        try:
            export = parse(service, body)
        except NotOtlpError:
            overview.note_refused()
            raise
        is_taken = inbox.offer(Arrival(overview.now(), export))
        overview.note(export, is_dropped=not is_taken)
        return accept(export) if is_taken else reject(export, NO_ROOM)

    return take
