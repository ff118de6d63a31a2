"""An asyncio client behind a synchronous face, so that one text tests both."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

from typing_extensions import Self


class EventLoop:
    """One event loop in a thread of its own, from `with` to the end of it."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def result_of(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What it returns or raises. It runs in a copy of the caller's context."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


class Waiting:
    """A client, or what it makes: each of its methods waits for what it returns.

    Each call is a task of its own.
    """

    def __init__(self, behind: Any, loop: EventLoop):
        self._behind = behind
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if not inspect.ismethod(found) and not inspect.isfunction(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._waited(found(*_behind(args), **_behind_named(kwargs)))

        return call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Of a script."""
        return self._waited(self._behind(*_behind(args), **_behind_named(kwargs)))

    def __enter__(self) -> Any:
        return self._waited(self._behind.__aenter__())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waited(self._behind.__aexit__(kind, error, trace))

    def _waited(self, returned: Any) -> Any:
        if inspect.iscoroutine(returned):
            returned = self._loop.result_of(returned)
        if returned is self._behind:
            return self
        # A pipeline, a script, a lock; what they make of replies has no methods to wait for.
        library = type(returned).__module__.partition(".")[0]
        is_made = library in ("redis", "valkey") and not isinstance(returned, BaseException)
        return Waiting(returned, self._loop) if is_made else returned


def _behind(args: tuple[Any, ...]) -> list[Any]:
    return [arg._behind if isinstance(arg, Waiting) else arg for arg in args]


def _behind_named(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {k: v._behind if isinstance(v, Waiting) else v for k, v in kwargs.items()}
