"""Where telemetry goes by OTLP, as the environment says, and one message sent there."""

from __future__ import annotations

import base64
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.util.re import parse_env_headers

from otel_redis_cache.cli.addresses import redact
from otel_redis_cache.cli.findings import TroubleError
from otel_redis_cache.cli.protocol import METRICS, SPANS, Status
from otel_redis_cache.cli.reach import SECONDS, connect, place_of, shake_hands, speaks_tls
from otel_redis_cache.otlp import DEFAULT_ENDPOINTS

if TYPE_CHECKING:
    Export = grpc.UnaryUnaryMultiCallable[bytes, bytes]

GRPC, HTTP = "grpc", "http/protobuf"
SPOKEN = {GRPC: "OTLP over gRPC", HTTP: "OTLP over HTTP"}
USUAL_PORTS = {GRPC: 4317, HTTP: 4318}
SERVICES = {"traces": SPANS, "metrics": METRICS}
LONGEST_TEXT = 200
_PREFIX = "OTEL_EXPORTER_OTLP_"


class UnspokenError(TroubleError):
    """Who listens there does not answer in this protocol."""


@dataclass(frozen=True)
class Destination:
    """Where one signal goes."""

    signal: str
    """``traces`` or ``metrics``."""
    protocol: str
    url: str = field(repr=False)
    source: str
    """What has said so: an option, a variable, or the default."""
    is_tls: bool
    headers: Mapping[str, str] = field(repr=False)
    authority: str | None
    """Files, as the next two."""
    key: str | None
    certificate: str | None

    @property
    def shown(self) -> str:
        """The URL without what may be secret."""
        return redact(self.url)

    @property
    def host(self) -> str:
        """Who listens."""
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        """Where."""
        standard = 443 if self.is_tls else 80
        return self._parts.port or standard

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url if "://" in self.url else f"//{self.url}")

    def in_other_protocol(self) -> Destination:
        """The same host and port, spoken to otherwise."""
        scheme = "https" if self.is_tls else "http"
        base = f"{scheme}://{place_of(self.host, self.port)}"
        if self.protocol == HTTP:
            return replace(self, protocol=GRPC, url=base)
        return replace(self, protocol=HTTP, url=f"{base}/v1/{self.signal}")


def destination_of(
    signal: str, endpoint: str | None, protocol: str | None, environ: Mapping[str, str]
) -> Destination:
    """Where a signal goes: options come first, then what the environment says of it.

    Raises:
        TroubleError: what they say cannot be understood.
    """

    def variable(name: str) -> tuple[str, str]:
        """The variable that counts, and its value; one of this signal goes before all others."""
        names = (f"{_PREFIX}{signal.upper()}_{name}", _PREFIX + name)
        return next(((it, text) for it in names if (text := environ.get(it, "").strip())), ("", ""))

    set_by, text = variable("PROTOCOL")
    spoken = protocol or text or GRPC
    if spoken not in SPOKEN:
        raise TroubleError(
            f"{set_by} is {spoken!r}, which Python does not speak", f"allowed: {', '.join(SPOKEN)}"
        )
    source, url = variable("ENDPOINT") if endpoint is None else ("--endpoint", endpoint)
    url, source = (url, source) if source else (DEFAULT_ENDPOINTS[spoken], "default")
    if spoken == HTTP and f"_{signal.upper()}_" not in source:
        url = f"{url.rstrip('/')}/v1/{signal}"
    return Destination(
        signal=signal,
        protocol=spoken,
        url=_checked(url, spoken, source),
        source=source,
        is_tls=_is_tls(url, spoken, variable("INSECURE")[1]),
        headers=parse_env_headers(variable("HEADERS")[1], liberal=True),
        authority=variable("CERTIFICATE")[1] or None,
        key=variable("CLIENT_KEY")[1] or None,
        certificate=variable("CLIENT_CERTIFICATE")[1] or None,
    )


def _checked(url: str, protocol: str, source: str) -> str:
    example = f"it looks like {DEFAULT_ENDPOINTS[protocol]}"
    try:
        parts = urlsplit(url if "://" in url or protocol == HTTP else f"//{url}")
        allowed = ("http", "https") if protocol == HTTP else ("http", "https", "")
        is_url = parts.scheme in allowed and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or " " in url or not url.isprintable():
        raise TroubleError(f"{source} is {redact(url)!r}, which is no URL of an endpoint", example)
    if protocol == GRPC and "@" in url:
        raise TroubleError(
            f"{source} has a user and a password, which gRPC does not send",
            "send what identifies you in OTEL_EXPORTER_OTLP_HEADERS",
        )
    return url


def _is_tls(url: str, protocol: str, insecure: str) -> bool:
    """As OpenTelemetry's exporters decide."""
    scheme = url.partition("://")[0].lower()
    if scheme == "https" or protocol == HTTP or not insecure:
        return scheme != "http"
    return insecure.lower() != "true"


def check(destination: Destination) -> None:
    """Whether a receiver of OTLP is there that speaks the protocol; it is sent nothing to keep.

    Raises:
        TroubleError: what is there instead, and what to do.
    """
    host, port = destination.host, destination.port
    connect(host, port).close()
    if destination.is_tls:
        shake_hands(host, port, _context(destination), f"{_PREFIX}CERTIFICATE")
    try:
        send(destination, b"")
    except UnspokenError as silence:
        if not destination.is_tls and speaks_tls(host, port):
            raise TroubleError(
                f"{place_of(host, port)} speaks TLS, and the URL is without",
                "begin the URL with https://",
            ) from None
        other = destination.in_other_protocol()
        if _answers(other):
            raise TroubleError(
                f"{place_of(host, port)} speaks {SPOKEN[other.protocol]}, "
                f"and {destination.protocol} is configured",
                f"set OTEL_EXPORTER_OTLP_PROTOCOL={other.protocol}, or use the port for "
                f"{destination.protocol} ({USUAL_PORTS[destination.protocol]} by default)",
            ) from None
        raise silence from None
    except TroubleError:
        pass  # It speaks; what it refuses is told where something is sent.


def _answers(destination: Destination) -> bool:
    try:
        send(destination, b"")
    except UnspokenError:
        return False
    except TroubleError:
        pass
    return True


def send(destination: Destination, message: bytes) -> bytes:
    """Send one export, once, and give the answer.

    Raises:
        UnspokenError: there is no answer in this protocol.
        TroubleError: it was refused.
    """
    if destination.protocol == GRPC:
        return _send_by_grpc(destination, message)
    return _send_by_http(destination, message)


def _send_by_grpc(destination: Destination, message: bytes) -> bytes:
    place = place_of(destination.host, destination.port)
    with _channel(destination, place) as channel:
        method = f"/{SERVICES[destination.signal]}/Export"
        export: Export = channel.unary_unary(method)  # without a serializer it takes bytes
        try:
            return export(message, timeout=SECONDS, metadata=tuple(destination.headers.items()))
        except ValueError:
            raise TroubleError(
                "the headers cannot be sent by gRPC", f"correct {_PREFIX}HEADERS"
            ) from None
        except grpc.RpcError as error:
            raise _refusal_by_grpc(destination, place, error) from None


def _channel(destination: Destination, place: str) -> grpc.Channel:
    if not destination.is_tls:
        return grpc.insecure_channel(place)
    files = (destination.authority, destination.key, destination.certificate)
    read = [Path(file).read_bytes() if file else None for file in files]
    return grpc.secure_channel(place, grpc.ssl_channel_credentials(*read))


def _refusal_by_grpc(destination: Destination, place: str, error: grpc.RpcError) -> TroubleError:
    code, details = error.code(), _printable(destination, error.details() or "")
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return _stranger(destination, code.name, details)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return UnspokenError(
            f"{place} speaks gRPC, and does not take {destination.signal} by OTLP",
            "name the port of a receiver for OTLP; a Collector needs a pipeline for "
            f"{destination.signal}",
        )
    if code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    ):
        return UnspokenError(
            f"{place} gives no answer over gRPC ({code.name})",
            "name the port of a receiver for OTLP over gRPC (4317 by default)",
        )
    return TroubleError(f"{place} refused with {code.name}: {details}", "see the receiver's log")


def _send_by_http(destination: Destination, message: bytes) -> bytes:
    parts = urlsplit(destination.url)
    place = place_of(destination.host, destination.port)
    headers = {**destination.headers, "Content-Type": "application/x-protobuf"}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers.setdefault("Authorization", f"Basic {base64.b64encode(login).decode()}")
    bare = parts._replace(netloc=place).geturl()
    try:
        request = urllib.request.Request(bare, message, headers)  # noqa: S310 - http, as checked
        with urllib.request.urlopen(  # noqa: S310
            request, timeout=SECONDS, context=_context(destination) if destination.is_tls else None
        ) as answer:
            found: bytes = answer.read()
            return found
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal_by_http(destination, place, error) from None
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        raise UnspokenError(
            f"{place} gives no answer over HTTP",
            "name the port of a receiver for OTLP over HTTP (4318 by default)",
        ) from None
    except ValueError:
        raise TroubleError(
            "the headers cannot be sent by HTTP", f"correct {_PREFIX}HEADERS"
        ) from None


def _context(destination: Destination) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=destination.authority)
        if destination.certificate:
            context.load_cert_chain(destination.certificate, destination.key)
    except OSError:
        raise TroubleError(
            "the certificates for TLS cannot be read",
            f"correct {_PREFIX}CERTIFICATE, _CLIENT_KEY and _CLIENT_CERTIFICATE",
        ) from None
    return context


def _refusal_by_http(
    destination: Destination, place: str, error: urllib.error.HTTPError
) -> TroubleError:
    details = _printable(destination, _details_of(error))
    if error.code in (401, 403):
        return _stranger(destination, f"{error.code}", details)
    if error.code in (400, 404, 405, 415, 501):
        path = urlsplit(destination.url).path
        return UnspokenError(
            f"{place} speaks HTTP, and does not take OTLP at {path} ({error.code})",
            "name the port of a receiver for OTLP over HTTP (4318 by default), and its path if it "
            "has another one",
        )
    return TroubleError(f"{place} refused with {error.code}: {details}", "see the receiver's log")


def _details_of(error: urllib.error.HTTPError) -> str:
    body = error.read(4096)
    if error.headers.get_content_type() != "application/x-protobuf":
        return str(error.reason)
    try:
        return str(Status.FromString(body).message)
    except DecodeError:
        return str(error.reason)


def _stranger(destination: Destination, code: str, details: str) -> TroubleError:
    has_any = "other" if destination.headers else "the right"
    return TroubleError(
        f"{destination.shown} does not let us in ({code}): {details}",
        f"send {has_any} credentials: {_PREFIX}HEADERS='authorization=Bearer%20...'",
    )


def _printable(destination: Destination, text: str) -> str:
    """What a receiver says, on one line, without what we had sent it in secret."""
    for secret in destination.headers.values():
        text = text.replace(secret, "***") if secret else text
    return one_line(text)


def one_line(text: str) -> str:
    """What somebody else has written, as it may stand in a terminal."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:LONGEST_TEXT]
