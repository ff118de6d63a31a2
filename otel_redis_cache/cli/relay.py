"""The way on to a real Collector: what the receiver got, sent again as it came."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import grpc

from otel_redis_cache.cli.addresses import redact

CONNECT_SECONDS = 3.0
SEND_SECONDS = 5.0


if TYPE_CHECKING:
    Export = grpc.UnaryUnaryMultiCallable[bytes, bytes]


class UnreachableError(Exception):
    """Nothing at the endpoint speaks gRPC; the text says what to look at."""


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
        UnreachableError: if nothing there speaks gRPC within a few seconds.
    """
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    with (
        grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials())
        if parts.scheme == "https"
        else grpc.insecure_channel(parts.netloc)
    ) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
        except grpc.FutureTimeoutError:
            raise UnreachableError(
                f"nothing at {redact(endpoint)} speaks OTLP over gRPC: is the Collector running, "
                "and is this its gRPC port (4317 by default; 4318 is HTTP)?"
            ) from None
        yield Relay(channel)
