"""A small OTLP receiver: gRPC and HTTP in, messages out."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from google.protobuf.message import Message

from otel_redis_cache.cli.measurements import Measurements
from otel_redis_cache.cli.protocol import (
    LARGEST_MESSAGE,
    METRICS,
    SPANS,
    Export,
    NotOtlpError,
    SpansRequest,
    accept,
    parse,
)
from otel_redis_cache.cli.reach import place_of
from otel_redis_cache.cli.relay import Relay
from otel_redis_cache.cli.traces import Traces
from otel_redis_cache.cli.translation import Reading, read_spans

LOOPBACK = "127.0.0.1"
Parse = Callable[[str, bytes], Export]
Take = Callable[[Parse, str, bytes], Message]
"""What is done with the body of a message for a service: how it is to be parsed comes first.

It gives the answer, and raises NotOtlpError.
"""

_GRPC_OPTIONS = (
    # Otherwise two receivers share a port, and each gets half of the messages.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
)


class OccupiedError(Exception):
    """There is no listening at an address; the text is one line that says why and what next."""


@contextmanager
def receive(
    measurements: Measurements, traces: Traces, relay: Relay | None = None
) -> Generator[str]:
    """Listen on a free loopback port; gives the endpoint to send to.

    What arrives goes into `measurements` and `traces`, and on through `relay` if there is one.
    """

    def take(parse: Parse, service: str, body: bytes) -> Message:
        export = parse(service, body)
        if isinstance(export.request, SpansRequest):
            traces.record(read_spans(export.request))
        else:
            measurements.record(Reading(export.request).points(), time.monotonic())
        if relay:
            relay.send(service, body)
        return accept(export)

    with listen_for_grpc(take, LOOPBACK, 0) as port:
        yield f"http://{LOOPBACK}:{port}"


@contextmanager
def listen_for_grpc(take: Take, host: str, port: int) -> Generator[int]:
    """Take messages by gRPC; gives the port, which is a free one for 0.

    Raises:
        OccupiedError: there is no listening there.
    """
    probe(host, port)
    server = grpc.server(
        ThreadPoolExecutor(max_workers=4, thread_name_prefix="otlp-receiver"),
        options=_GRPC_OPTIONS,
    )
    server.add_generic_rpc_handlers((_serve(METRICS, take), _serve(SPANS, take)))
    try:
        bound = server.add_insecure_port(place_of(host, port))
    except RuntimeError:
        raise OccupiedError(
            f"cannot listen at {place_of(host, port)}: choose another host or port"
        ) from None
    server.start()
    try:
        yield bound
    finally:
        server.stop(grace=1).wait()


def probe(host: str, port: int) -> None:
    """Whether listening is possible there, as gRPC does not tell why it is not.

    Raises:
        OccupiedError: it is not.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except (OSError, UnicodeError) as error:
        raise occupied(host, port, error) from None


def occupied(host: str, port: int, error: OSError | UnicodeError) -> OccupiedError:
    """Why there is no listening, in words."""
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return OccupiedError(
            f"the name {host} is not known here: "
            f"listen at {LOOPBACK}, or at an address of this host"
        )
    why = os.strerror(error.errno) if error.errno else str(error)
    advice = {
        errno.EADDRINUSE: "end who listens there, or choose another port",
        errno.EADDRNOTAVAIL: f"listen at {LOOPBACK}, or at an address of this host",
    }.get(error.errno or 0, "choose another port")
    return OccupiedError(f"cannot listen at {place_of(host, port)}: {why}; {advice}")


def _serve(service: str, take: Take) -> grpc.GenericRpcHandler:
    """One service, as the generated servicers do it, which have no types."""

    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return take(parse, service, body).SerializeToString()
        except NotOtlpError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(export)
    return grpc.method_handlers_generic_handler(service, {"Export": handler})
