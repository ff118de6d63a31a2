"""Which methods of redis-py and valkey-py are wrapped, as rows, and what is wrapped around them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from otel_redis_cache import attempts, checkouts, clients, deliveries
from otel_redis_cache.calls import Call, as_sent, open_scope, see_replies
from otel_redis_cache.providers import none_is_set
from otel_redis_cache.seams import MARK, Make, Method, Row, Seams, mark_of

LIBRARIES = {"redis": "Redis", "valkey": "Valkey"}

Open = Callable[[Seams, Any, Sequence[Any], Mapping[str, Any]], Call | None]


def open_command(
    seams: Seams, client: Any, args: Sequence[Any], options: Mapping[str, Any]
) -> Call | None:
    """A call for one command."""
    observer = seams.observer_of(client)
    if observer is None or (observer.is_unheard and none_is_set()):
        return None
    return observer.open(client, args, options)


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


def open_split(
    seams: Seams, client: Any, args: Sequence[Any], options: Mapping[str, Any]
) -> Call | None:
    """A call for a command that a cluster client splits, as ``delete(*keys)``."""
    return None if clients.is_pipeline(client) else open_command(seams, client, args, options)


def open_immediate(
    seams: Seams, strategy: Any, args: Sequence[Any], options: Mapping[str, Any]
) -> Call | None:
    """A call for what a cluster's transaction sends at once, such as WATCH."""
    return open_command(seams, strategy._pipe, args, options)


def _observed(open_call: Open) -> Make:
    """Wrap a method whose every call is a call of the application."""

    def make(seams: Seams, original: Method) -> Method:
        @functools.wraps(original)
        def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = open_call(seams, self, args, kwargs)
            if call is None:
                again = args if open_scope.get() is None else as_sent(self, args)
                return original(self, *again, **kwargs)
            try:
                call.observer.begin(call)
                try:
                    sent = args if call.sent is None else call.as_sent(args)
                    reply = call.reply = original(self, *sent, **kwargs)
                except BaseException as error:
                    call.observer.end(call, error)
                    raise
                call.observer.end(call, None)
                return reply
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
                again = args if open_scope.get() is None else as_sent(self, args)
                return await original(self, *again, **kwargs)
            try:
                call.observer.begin(call)
                try:
                    sent = args if call.sent is None else call.as_sent(args)
                    reply = call.reply = await original(self, *sent, **kwargs)
                except BaseException as error:
                    call.observer.end(call, error)
                    raise
                call.observer.end(call, None)
                return reply
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


def _raise_first_response(_: Seams, original: Method) -> Method:
    """The same in a cluster's transaction."""

    @functools.wraps(original)
    def raise_first_error(self: Any, responses: Any, *args: Any, **kwargs: Any) -> Any:
        see_replies(responses)
        return original(self, responses, *args, **kwargs)

    return raise_first_error


def _keep_seeds(seams: Seams, original: Method) -> Method:
    """The nodes that a cluster client is told, before it learns the others."""

    @functools.wraps(original)
    def init(self: Any, startup_nodes: Any, *args: Any, **kwargs: Any) -> None:
        if seams.observer is not None:
            seams.observer.keep_seeds(self, startup_nodes)
        original(self, startup_nodes, *args, **kwargs)

    return init


def _keep_seeds_of_client(seams: Seams, original: Method) -> Method:
    """An asyncio client learns the others when it is first used."""

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if seams.observer is not None:
            seams.observer.keep_seeds(self)

    return init


def _inherit(_: Seams, original: Method) -> Method:
    """What a client makes is observed as the client is."""

    @functools.wraps(original)
    def make(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = original(self, *args, **kwargs)
        if (mark := mark_of(self)) is not None:
            setattr(made, MARK, mark)
        return made

    return make


def _look_again(seams: Seams, original: Method) -> Method:
    """Redis-py's own metrics are switched on or off."""

    @functools.wraps(original)
    def switch(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        finally:
            for observer in seams.observers():
                observer.look_again()

    return switch


class Wrap(NamedTuple):
    """How a method is wrapped, where it is called and where it is awaited."""

    owner: str
    method: str
    make: Make | None
    make_async: Make | None


def _each(owner: str, method: str, make: Make) -> Wrap:
    return Wrap(owner, method, make, make)


def _command(owner: str, method: str, opened: Open = open_command) -> Wrap:
    return Wrap(owner, method, _observed(opened), _observed_async(opened))


def _of_client(client: str) -> Iterator[Wrap]:
    yield _command(client, "execute_command")
    yield _each(client, "pipeline", _inherit)
    yield _each(client, "client", _inherit)
    yield _each(client, "pubsub", _inherit)
    yield _command("Pipeline", "execute", open_batch)
    yield _command("Pipeline", "immediate_execute_command")
    yield _each("Pipeline", "raise_first_error", _raise_first_error)


def _of_cluster(client: str) -> Iterator[Wrap]:
    yield _command(client, "execute_command")
    yield _each(client, "pipeline", _inherit)
    yield _each(client, "pubsub", _inherit)
    yield Wrap(client, "_execute_command", attempts.attempt, attempts.attempt_async)
    yield Wrap(client, "__init__", None, _keep_seeds_of_client)
    yield Wrap("NodesManager", "__init__", _keep_seeds, None)
    yield _command("ClusterPipeline", "execute", open_batch)
    for pipeline in ("ClusterPipeline", "PipelineStrategy"):
        yield Wrap(pipeline, "_send_cluster_commands", attempts.attempt, None)
        yield Wrap(pipeline, "_execute", None, attempts.attempt_async)
    yield _command("TransactionStrategy", "_immediate_execute_command", open_immediate)
    yield _each("TransactionStrategy", "_raise_first_error", _raise_first_response)


def _of_connection(_: str) -> Iterator[Wrap]:
    yield _each("AbstractConnection", "send_packed_command", attempts.send)
    yield Wrap(
        "AbstractConnection",
        "_get_from_local_cache",
        attempts.get_cached,
        attempts.get_cached_async,
    )
    yield Wrap("CacheProxyConnection", "send_command", attempts.send_cached, None)


def _of_retry(_: str) -> Iterator[Wrap]:
    yield _each("Retry", "call_with_retry", attempts.retry)


def _of_several_databases() -> Iterator[Row]:
    for package, opened, batch in (
        ("redis", _observed(open_command), _observed(open_batch)),
        ("redis.asyncio", _observed_async(open_command), _observed_async(open_batch)),
    ):
        yield Row(f"{package}.multidb.client", "MultiDBClient", "execute_command", opened)
        yield Row(f"{package}.multidb.client", "MultiDBClient", "pipeline", _inherit)
        yield Row(f"{package}.multidb.client", "Pipeline", "execute", batch)
    checks = "redis.asyncio.multidb.healthcheck"  # of synchronous clients too
    yield Row(checks, "AbstractHealthCheckPolicy", "execute", attempts.stay_silent_async)


_MODULES: dict[str, Callable[[str], Iterator[Wrap]]] = {
    "client": _of_client,
    "cluster": _of_cluster,
    "connection": _of_connection,
    "retry": _of_retry,
}
"""There is one of each for synchronous, and one for asyncio clients."""


def rows(library: str, client: str) -> Iterator[Row]:
    """The methods of a library whose client class has this name."""
    for module, wraps in _MODULES.items():
        for wrap in wraps(f"{client}Cluster" if module == "cluster" else client):
            for package, make in ((library, wrap.make), (f"{library}.asyncio", wrap.make_async)):
                if make is not None:
                    yield Row(f"{package}.{module}", wrap.owner, wrap.method, make)
    commands = f"{library}.commands"
    yield Row(f"{commands}.core", "Script", "__call__", _observed(open_script))
    yield Row(f"{commands}.core", "AsyncScript", "__call__", _observed_async(open_script))
    split = "_split_command_across_slots"
    yield Row(f"{commands}.cluster", "ClusterMultiKeyCommands", split, _observed(open_split))
    yield Row(
        f"{commands}.cluster", "AsyncClusterMultiKeyCommands", split, _observed_async(open_split)
    )
    yield Row(f"{library}.exceptions", "AskError", "__init__", attempts.redirect)
    yield Row(f"{library}.exceptions", "TryAgainError", "__init__", attempts.try_again)


_OWN_METRICS = tuple(
    Row("redis.observability.providers", "ObservabilityInstance", method, _look_again)
    for method in ("init", "shutdown")
)

ROWS = (
    *(row for library, client in LIBRARIES.items() for row in rows(library, client)),
    *(row for library, client in LIBRARIES.items() for row in checkouts.rows(library, client)),
    *(row for library in LIBRARIES for row in deliveries.rows(library)),
    *_OWN_METRICS,
    *_of_several_databases(),
)
