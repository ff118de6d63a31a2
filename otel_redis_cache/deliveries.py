"""What is wrapped around the methods that messages pass: what is sent, and what a subscriber gets."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from otel_redis_cache.calls import call_at_work
from otel_redis_cache.seams import MARK, Method, Row, Seams, mark_of


def _pack(_: Seams, original: Method) -> Method:
    """Every kind of pipeline packs its commands here, each time that it sends them."""

    @functools.wraps(original)
    def pack_commands(self: Any, commands: Any) -> Any:
        call = call_at_work()
        if call is not None and call.sent:
            commands = map(call.as_sent, commands)
        return original(self, commands)

    return pack_commands


def _receive(seams: Seams, original: Method) -> Method:
    """What a subscriber gets, however the application takes it from there."""

    @functools.wraps(original)
    def parse_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = original(self, *args, **kwargs)
        if response is not None and (observer := seams.observer_of(self)) is not None:
            observer.receive(self, response)
        return response

    return parse_response


def _receive_async(seams: Seams, original: Method) -> Method:
    """The same, awaited."""

    @functools.wraps(original)
    async def parse_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = await original(self, *args, **kwargs)
        if response is not None and (observer := seams.observer_of(self)) is not None:
            observer.receive(self, response)
        return response

    return parse_response


def _receive_from_node(seams: Seams, original: Method) -> Method:
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


def rows(library: str) -> Iterator[Row]:
    """The methods of a library."""
    for package, receive in ((library, _receive), (f"{library}.asyncio", _receive_async)):
        yield Row(f"{package}.connection", "AbstractConnection", "pack_commands", _pack)
        yield Row(f"{package}.client", "PubSub", "parse_response", receive, "pubsub")
        node = "_get_node_pubsub"
        yield Row(f"{package}.cluster", "ClusterPubSub", node, _receive_from_node, "pubsub")
