"""A server that answers what it is told: no real one gives replies of any shape."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

Came = tuple[str, Any]
"""What came of a call: its reply, or its exception."""


class Told(redis.Connection):
    """Packs what it is given as any connection does, and sends it nowhere."""

    answers: Iterator[Any] = iter(())

    def connect(self, *_: Any, **__: Any) -> None: ...

    def disconnect(self, *_: Any, **__: Any) -> None: ...

    def can_read(self, *_: Any, **__: Any) -> bool:
        return False

    def send_packed_command(self, command: Any, check_health: bool = True) -> None: ...

    def read_response(self, *_: Any, **__: Any) -> Any:
        answer = next(Told.answers, None)
        if isinstance(answer, Exception):
            raise answer
        return answer


def client() -> Any:
    pool = redis.ConnectionPool(connection_class=Told, retry=Retry(NoBackoff(), 0))
    return redis.Redis(connection_pool=pool)


def call(client: Any, command: Sequence[Any], reply: Any) -> Came:
    """One command, answered so."""
    Told.answers = iter([copy.deepcopy(reply)])
    return _came(lambda: client.execute_command(*command))


def execute(
    client: Any, batch: Sequence[Sequence[Any]], replies: Sequence[Any], *, transaction: bool
) -> Came:
    """One pipeline; a transaction is answered by all replies at once, as EXEC does."""
    pipeline = client.pipeline(transaction=transaction)
    queued = [b"QUEUED"] * len(batch)
    replies = copy.deepcopy(replies)  # the client writes into exceptions
    Told.answers = iter([b"OK", *queued, list(replies)] if transaction else replies)

    def run() -> Any:
        for command in batch:
            pipeline.execute_command(*command)
        return pipeline.execute()

    came = _came(run)
    Told.answers = iter(())
    pipeline.reset()  # or it says UNWATCH when it is collected, and takes another's answer
    return came


def _came(run: Any) -> Came:
    try:
        return "reply", run()
    except Exception as error:
        return "error", error


def shown(came: Came) -> str:
    """To compare it: not a number is itself here."""
    how, what = came
    if how == "error":
        return f"{type(what).__qualname__} {what.args!r}"
    return repr(what)
