"""The way on to a real Collector: what the receiver got, sent again as it came."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc

from otel_redis_cache.cli.addresses import redact
from otel_redis_cache.cli.exports import GRPC, destination_of
from otel_redis_cache.cli.findings import TroubleError
from otel_redis_cache.cli.reach import place_of

CONNECT_SECONDS = 3.0
SEND_SECONDS = 5.0


if TYPE_CHECKING:
    Export = grpc.UnaryUnaryMultiCallable[bytes, bytes]


class UnreachableError(Exception):
    """There is no way to the endpoint; the text says what to look at."""


class Relay:
    """Sends exports on and keeps count of what was refused, without ever raising."""

    def __init__(self, channel: grpc.Channel) -> None:
        """Send over this channel."""
        self.sent = 0
        self.refused = 0
        self.reason = ""
        """Why the last one was refused."""
        self._channel = channel

    def send(self, service: str, body: bytes) -> None:
        """Send an export on to one of the two services."""
        # Without a serializer gRPC takes bytes and gives bytes.
        export: Export = self._channel.unary_unary(f"/{service}/Export")
        try:
            export(body, timeout=SEND_SECONDS)
            self.sent += 1
        except grpc.RpcError as error:
            self.refused += 1
            self.reason = error.code().name


@contextmanager
def open_relay(endpoint: str) -> Generator[Relay]:
    """Connect to a Collector's OTLP gRPC port; `https://` means TLS.

    Raises:
        UnreachableError: if it is no endpoint, or nothing there speaks gRPC within a few seconds.
    """
    if "@" in endpoint:
        raise UnreachableError(
            "--endpoint has a user or a password, which gRPC does not send: "
            "name a Collector that asks for none"
        )
    url = endpoint if "://" in endpoint else f"http://{endpoint}"
    try:
        destination = destination_of("traces", url, GRPC, {})
    except TroubleError as trouble:
        raise UnreachableError(f"{trouble.found}: {trouble.next}") from None
    place = place_of(destination.host, destination.port)
    with (
        grpc.secure_channel(place, grpc.ssl_channel_credentials())
        if destination.is_tls
        else grpc.insecure_channel(place)
    ) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
        except grpc.FutureTimeoutError:
            raise UnreachableError(
                f"nothing at {redact(endpoint)} speaks OTLP over gRPC: is the Collector running, "
                "and is this its gRPC port (4317 by default; 4318 is HTTP)?"
            ) from None
        yield Relay(channel)
