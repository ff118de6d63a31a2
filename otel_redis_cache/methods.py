"""Which methods of redis-py and valkey-py are wrapped, as rows, and what is wrapped around them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from otel_redis_cache.calls import Call, as_queued, see_replies
from otel_redis_cache.seams import MARK, Make, Method, Row, Seams, mark_of

LIBRARIES = {"redis": "Redis", "valkey": "Valkey"}

Open = Callable[[Seams, Any, Sequence[Any], Mapping[str, Any]], Call | None]


def open_command(
    seams: Seams, client: Any, args: Sequence[Any], options: Mapping[str, Any]
) -> Call | None:
    """A call for one command."""
    observer = seams.observer_of(client)
    return None if observer is None else observer.open(client, args, options)


def open_batch(
    seams: Seams, pipeline: Any, _: Sequence[Any], options: Mapping[str, Any]
) -> Call | None:
    """A call for what a pipeline has queued."""
    observer = seams.observer_of(pipeline)
    return None if observer is None else observer.open_batch(pipeline, options)


def open_script(
    seams: Seams, script: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Call | None:
    """A call for ``script(keys, args, client)``; None where it is queued, or not observed."""
    given = {**dict(zip(("keys", "args", "client"), args, strict=False)), **kwargs}
    client = given.get("client")
    client = getattr(script, "registered_client", None) if client is None else client
    observer = seams.observer_of(client)
    if observer is None:
        return None
    return observer.open_script(client, script, given.get("keys"), given.get("args"))


def _observed(open_call: Open) -> Make:
    """Wrap a method whose every call is a call of the application."""

    def make(seams: Seams, original: Method) -> Method:
        @functools.wraps(original)
        def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = open_call(seams, self, args, kwargs)
            if call is None:
                return original(self, *args, **kwargs)
            try:
                with call:
                    sent = args if call.sent is None else call.sent
                    call.reply = original(self, *sent, **kwargs)
                return call.reply
            finally:  # whatever was interrupted, the beginning and the end too
                call.close()

        return observed

    return make


def _observed_async(open_call: Open) -> Make:
    """The same with one ``await``: what surrounds the real call is synchronous in both worlds."""

    def make(seams: Seams, original: Method) -> Method:
        @functools.wraps(original)
        async def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = open_call(seams, self, args, kwargs)
            if call is None:
                return await original(self, *args, **kwargs)
            try:
                with call:
                    sent = args if call.sent is None else call.sent
                    call.reply = await original(self, *sent, **kwargs)
                return call.reply
            finally:
                call.close()

        return observed

    return make


def _raise_first_error(_: Seams, original: Method) -> Method:
    """Where a batch is about to raise about one reply, all of its replies are still at hand."""

    @functools.wraps(original)
    def raise_first_error(self: Any, commands: Any, response: Any) -> Any:
        see_replies(response)
        return original(self, commands, response)

    return raise_first_error


def _annotate_exception(_: Seams, original: Method) -> Method:
    """An error names the command as the application queued it."""

    @functools.wraps(original)
    def annotate_exception(self: Any, exception: Any, number: Any, command: Any) -> Any:
        return original(self, exception, number, as_queued(number, command))

    return annotate_exception


def _received(seams: Seams, original: Method) -> Method:
    """What a subscriber gets, however the application takes it from there."""

    @functools.wraps(original)
    def parse_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = original(self, *args, **kwargs)
        if response is not None and (observer := seams.observer_of(self)) is not None:
            observer.receive(self, response)
        return response

    return parse_response


def _received_async(seams: Seams, original: Method) -> Method:
    """The same with one ``await``."""

    @functools.wraps(original)
    async def parse_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = await original(self, *args, **kwargs)
        if response is not None and (observer := seams.observer_of(self)) is not None:
            observer.receive(self, response)
        return response

    return parse_response


def _subscriber_of_node(seams: Seams, original: Method) -> Method:
    """What a cluster's subscriber makes for one node receives for the cluster."""

    @functools.wraps(original)
    def get_node_pubsub(self: Any, node: Any) -> Any:
        made = original(self, node)
        if (mark := mark_of(self)) is not None:
            setattr(made, MARK, mark)
        if (observer := seams.observer_of(self)) is not None:
            observer.adopt(made, self)
        return made

    return get_node_pubsub


def _inherit(_: Seams, original: Method) -> Method:
    """What a client makes is observed as the client is."""

    @functools.wraps(original)
    def make(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = original(self, *args, **kwargs)
        if (mark := mark_of(self)) is not None:
            setattr(made, MARK, mark)
        return made

    return make


_CLIENT: tuple[tuple[str, Make, Make], ...] = (
    ("execute_command", _observed(open_command), _observed_async(open_command)),
    ("pipeline", _inherit, _inherit),
    ("client", _inherit, _inherit),
    ("pubsub", _inherit, _inherit),
)
_PIPELINE: tuple[tuple[str, Make, Make], ...] = (
    ("execute", _observed(open_batch), _observed_async(open_batch)),
    (
        "immediate_execute_command",
        _observed(open_command),
        _observed_async(open_command),
    ),
    ("raise_first_error", _raise_first_error, _raise_first_error),
    ("annotate_exception", _annotate_exception, _annotate_exception),
)
_SUBSCRIBER: tuple[tuple[str, Make, Make], ...] = (("parse_response", _received, _received_async),)


def rows(library: str, client: str) -> Iterator[Row]:
    """The methods of a library whose client class has this name."""
    for module, is_async in ((f"{library}.client", False), (f"{library}.asyncio.client", True)):
        owners = ((client, _CLIENT), ("Pipeline", _PIPELINE), ("PubSub", _SUBSCRIBER))
        for owner, methods in owners:
            for method, make, make_async in methods:
                yield Row(module, owner, method, make_async if is_async else make)
    for module in (f"{library}.cluster", f"{library}.asyncio.cluster"):
        yield Row(module, "ClusterPubSub", "_get_node_pubsub", _subscriber_of_node)
    yield Row(f"{library}.commands.core", "Script", "__call__", _observed(open_script))
    yield Row(f"{library}.commands.core", "AsyncScript", "__call__", _observed_async(open_script))


ROWS = tuple(row for library, client in LIBRARIES.items() for row in rows(library, client))
