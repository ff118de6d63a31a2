"""One process in which we and another package watch the same clients, and who saw what.

    python -m tests.coexistence.application contrib "ours first" redis://127.0.0.1:6379

What packages do to a process stays there, so that each way to meet has a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import redis
import redis.asyncio

from otel_redis_cache import RedisCacheInstrumentor
from tests.coexistence.packages import PACKAGES, Package
from tests.recording import Recording

try:
    import valkey
    import valkey.asyncio
except ImportError:  # of Python 3.10, which it does not support
    valkey = None

LIBRARIES = ("redis", *(["valkey"] if valkey is not None else []))
SCRIPT = "return 1"
MODES = ("yield", "both", "off")

Seen = dict[str, Any]


def get(client: Any) -> None:
    client.get("user:1")


def pipeline(client: Any) -> None:
    client.pipeline().get("user:1").get("user:1").execute()


def watched(client: Any) -> None:
    with client.pipeline() as pipe:
        pipe.watch("user:1")
        pipe.get("user:1")


def script(client: Any) -> None:
    client.register_script(SCRIPT)()


async def get_async(client: Any) -> None:
    await client.get("user:1")


async def pipeline_async(client: Any) -> None:
    await client.pipeline().get("user:1").get("user:1").execute()


class Kind(NamedTuple):
    """One way to use a client."""

    use: Callable[[Any], Any]
    calls: int
    lookups: int


KINDS = {
    "get": Kind(get, 1, 1),
    "pipeline": Kind(pipeline, 1, 2),
    "watched": Kind(watched, 2, 1),
    "script": Kind(script, 1, 0),
}
ASYNC_KINDS = {
    "asyncio get": Kind(get_async, 1, 1),
    "asyncio pipeline": Kind(pipeline_async, 1, 2),
}


def main(package: str, way: str, url: str) -> None:
    """Meet in one way, and print what each mode gives."""
    said: list[str] = []
    logging.getLogger("otel_redis_cache").addHandler(Lines(said))
    with redis.Redis.from_url(url) as client:
        client.set("user:1", "x")
        client.script_load(SCRIPT)
    meeting = Meeting(PACKAGES[package](), url, said)
    json.dump(WAYS[way](meeting), sys.stdout)


class Lines(logging.Handler):
    """What was logged."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


class Meeting:
    """Both packages, and what happens when they are switched."""

    def __init__(self, other: Package, url: str, said: list[str]) -> None:
        self.other = other
        self._url = url
        self._said = said
        self._recording = Recording()

    def instrument(self, mode: str) -> None:
        self._recording = Recording()
        self._recording.instrument(on_conflict=mode)

    def uninstrument(self) -> None:
        RedisCacheInstrumentor().uninstrument()

    def one_call(self) -> None:
        """The first command of this process that we see."""
        with redis.Redis.from_url(self._url) as client:
            client.ping()

    def see(self) -> Seen:
        """Every kind of call once, and who saw it."""
        self._said.clear()
        return {
            **{library: self._see_library(library) for library in LIBRARIES},
            "said": list(self._said),
        }

    def _see_library(self, library: str) -> Seen:
        modules: dict[str, tuple[Any, Any]] = {"redis": (redis.Redis, redis.asyncio.Redis)}
        if valkey is not None:
            modules["valkey"] = (valkey.Valkey, valkey.asyncio.Valkey)
        client_class, async_class = modules[library]
        url = self._url.replace("redis://", f"{library}://")
        found: Seen = {}
        with client_class.from_url(url) as client:
            for name, kind in KINDS.items():
                before = self._counts()
                with self.other.trace():
                    kind.use(client)
                found[name] = self._since(before)
        found |= asyncio.run(self._see_asyncio(async_class, url))
        return found

    async def _see_asyncio(self, client_class: Any, url: str) -> Seen:
        found: Seen = {}
        async with client_class.from_url(url) as client:
            for name, kind in ASYNC_KINDS.items():
                before = self._counts()
                with self.other.trace():
                    await kind.use(client)
                found[name] = self._since(before)
        return found

    def _counts(self) -> tuple[int, int, int]:
        durations = sum(
            point.count
            for metrics in self._recording.metrics_by_scope().values()
            for name, metric in metrics.items()
            if name == "db.client.operation.duration"
            for point in metric.data.data_points
        )
        lookups = sum(self._recording.lookups().values())
        self.other.spans()
        return len(self._recording.spans()), durations, lookups

    def _since(self, before: tuple[int, int, int]) -> Seen:
        theirs = self.other.spans()
        ours, durations, lookups = (
            after - then for after, then in zip(self._counts(), before, strict=True)
        )
        return {"ours": ours, "theirs": theirs, "durations": durations, "lookups": lookups}


def theirs_first(meeting: Meeting) -> Seen:
    """They are on; we come and go."""
    meeting.other.switch_on()
    seen: Seen = {"before": meeting.see()}
    for mode in MODES:
        meeting.instrument(mode)
        seen[mode] = meeting.see()
        meeting.uninstrument()
    seen["after"] = meeting.see()
    return seen


def ours_first(meeting: Meeting) -> Seen:
    """We are on, and have seen no command yet when they come; they go first."""
    seen: Seen = {}
    for mode in MODES:
        meeting.instrument(mode)
        meeting.other.switch_on()
        seen[mode] = meeting.see()
        meeting.other.switch_off()
        seen[f"{mode}, they left"] = meeting.see()
        meeting.uninstrument()
    seen["after"] = meeting.see()
    return seen


def they_come_later(meeting: Meeting) -> Seen:
    """We have seen commands when they come; we go first, and come again."""
    meeting.instrument("yield")
    seen: Seen = {"alone": meeting.see()}
    meeting.other.switch_on()
    seen["yield"] = meeting.see()
    meeting.uninstrument()
    seen["we left"] = meeting.see()
    for mode in MODES[1:]:
        meeting.instrument(mode)
        meeting.one_call()
        seen[mode] = meeting.see()
        meeting.uninstrument()
    meeting.other.switch_off()
    seen["after"] = meeting.see()
    meeting.instrument("yield")
    seen["alone again"] = meeting.see()
    return seen


WAYS: dict[str, Callable[[Meeting], Seen]] = {
    "theirs first": theirs_first,
    "ours first": ours_first,
    "they come later": they_come_later,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
