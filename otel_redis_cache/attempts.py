"""What is seen below a call: connections, attempts, redirections, answers of a local cache.

Nothing here makes a call, or changes one; it is noted in the call in flight, where there is one.
"""

from __future__ import annotations

import functools
from typing import Any

from otel_redis_cache import garbage
from otel_redis_cache.calls import call_at_work, open_scope, scope_here, silence
from otel_redis_cache.conventions import HIT, MISS
from otel_redis_cache.failures import TRY_AGAIN
from otel_redis_cache.seams import Method, Seams


def _see_attempt() -> None:
    """An attempt begins: the first one, or the one after :func:`_see_failed_attempt`."""
    call = call_at_work()
    if call is not None and call.attempts is not None:
        call.observer.keep_attempt(call)


def _see_failed_attempt(error: BaseException) -> None:
    """An attempt has failed; whether another one follows is not known yet."""
    call = call_at_work()
    if call is not None:
        call.observer.keep_failed_attempt(call, error)


def _see_redirection(error: BaseException) -> None:
    """A node of a cluster says that a key is elsewhere."""
    call = call_at_work()
    if call is not None:
        call.observer.keep_redirection(call, error)


def _see_try_again() -> None:
    """A node of a cluster has one part of what was asked for, and another node the other."""
    call = call_at_work()
    if call is not None:
        call.observer.keep_try_again(call)


def send(_: Seams, original: Method) -> Method:
    """The connection that a call is written to leads to the node that answers."""

    @functools.wraps(original)
    def send_packed_command(self: Any, *args: Any, **kwargs: Any) -> Any:
        scope = scope_here() if garbage.running else open_scope.get()
        if scope is not None and scope.call is not None and not scope.is_busy:
            call = scope.call
            call.connection = self
            if call.attempts is not None and call.attempts.failed == TRY_AGAIN:
                _see_attempt()
        return original(self, *args, **kwargs)

    return send_packed_command


def retry(_: Seams, original: Method) -> Method:
    """Each attempt is a call of `do`, and `fail` is called where it failed; both may be awaited."""

    @functools.wraps(original)
    def call_with_retry(self: Any, do: Any, fail: Any, *args: Any, **kwargs: Any) -> Any:
        scope = scope_here() if garbage.running else open_scope.get()
        if scope is None or scope.call is None or scope.is_busy:
            return original(self, do, fail, *args, **kwargs)

        has_failed = False

        def try_once() -> Any:
            if has_failed:
                _see_attempt()
            return do()

        def give_up(error: BaseException, *more: Any) -> Any:
            nonlocal has_failed
            has_failed = True
            _see_failed_attempt(error)
            return fail(error, *more)

        return original(self, try_once, give_up, *args, **kwargs)

    return call_with_retry


def attempt(_: Seams, original: Method) -> Method:
    """A cluster client calls this again where an attempt failed."""

    @functools.wraps(original)
    def attempt(self: Any, *args: Any, **kwargs: Any) -> Any:
        _see_attempt()
        try:
            return original(self, *args, **kwargs)
        except Exception as error:
            _see_failed_attempt(error)
            raise

    return attempt


def attempt_async(_: Seams, original: Method) -> Method:
    """The same, awaited."""

    @functools.wraps(original)
    async def attempt(self: Any, *args: Any, **kwargs: Any) -> Any:
        _see_attempt()
        try:
            return await original(self, *args, **kwargs)
        except Exception as error:
            _see_failed_attempt(error)
            raise

    return attempt


def redirect(_: Seams, original: Method) -> Method:
    """An answer MOVED or ASK is read; MovedError is an AskError."""

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _see_redirection(self)

    return init


def try_again(_: Seams, original: Method) -> Method:
    """An answer TRYAGAIN is read, after which a cluster client tries again by itself."""

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _see_try_again()

    return init


def send_cached(_: Seams, original: Method) -> Method:
    """redis-py's client-side cache sends only what it does not have."""

    @functools.wraps(original)
    def send_command(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = call_at_work()
        if call is None:
            return original(self, *args, **kwargs)
        call.connection = None
        result = original(self, *args, **kwargs)
        if self._current_command_cache_key is not None:
            call.local = HIT if call.connection is None else MISS
        return result

    return send_command


def get_cached(_: Seams, original: Method) -> Method:
    """valkey-py's client-side cache is asked before anything is sent."""

    @functools.wraps(original)
    def get_from_local_cache(self: Any, command: Any) -> Any:
        found = original(self, command)
        _see_cached(self, command, found)
        return found

    return get_from_local_cache


def get_cached_async(_: Seams, original: Method) -> Method:
    """The same, awaited."""

    @functools.wraps(original)
    async def get_from_local_cache(self: Any, command: Any) -> Any:
        found = await original(self, command)
        _see_cached(self, command, found)
        return found

    return get_from_local_cache


def _see_cached(connection: Any, command: Any, found: object) -> None:
    if connection.client_cache is None or (call := call_at_work()) is None:
        return
    name = command[0]
    if found is not None:
        call.connection, call.local = None, HIT
    elif name in connection.cache_allow_list and name not in connection.cache_deny_list:
        call.local = MISS


def stay_silent_async(_: Seams, original: Method) -> Method:
    """A client of several databases looks after their health by itself, in the background."""

    @functools.wraps(original)
    async def unobserved(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = open_scope.get()
        open_scope.set(silence)
        try:
            return await original(self, *args, **kwargs)
        finally:
            if open_scope.get() is silence:
                open_scope.set(before)

    return unobserved
