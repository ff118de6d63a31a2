"""Whether somebody listens at an address, and whether it is TLS that is spoken there."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from otel_redis_cache.cli.findings import TroubleError

SECONDS = 3.0
"""That anybody may take to answer."""


def place_of(host: str, port: int) -> str:
    """``localhost:6379``, ``[::1]:6379``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def connect(host: str, port: int) -> socket.socket:
    """A connection, or why there is none.

    Raises:
        TroubleError: nobody is there.
    """
    place = place_of(host, port)
    try:
        return socket.create_connection((host, port), timeout=SECONDS)
    except (socket.gaierror, UnicodeError):
        raise TroubleError(
            f"the name {host} is not known here", "correct the host in the URL, or the DNS"
        ) from None
    except TimeoutError:
        raise TroubleError(
            f"{place} does not answer within {SECONDS:g} s",
            "look for a firewall in between, and whether the host is up",
        ) from None
    except ConnectionRefusedError:
        raise TroubleError(
            f"nobody listens at {place}", "start it, or correct the host and the port"
        ) from None
    except OSError as error:
        raise TroubleError(
            f"no way to {place}: {error.strerror or type(error).__name__}",
            "correct the host and the port",
        ) from None


def connect_to_file(path: str) -> None:
    """Whether somebody listens at a Unix socket.

    Raises:
        TroubleError: nobody does.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        try:
            connection.connect(path)
        except OSError as error:
            raise TroubleError(
                f"nobody listens at {Path(path)}: {error.strerror or type(error).__name__}",
                "start it, or correct the path of the socket",
            ) from None


def shake_hands(host: str, port: int, context: ssl.SSLContext, advice: str) -> None:
    """Speak TLS, and trust who is there; `advice` says where to name whom to trust.

    Raises:
        TroubleError: it is not TLS, not trusted, or does not trust us.
    """
    place = place_of(host, port)
    try:
        with connect(host, port) as plain, context.wrap_socket(plain, server_hostname=host):
            pass
    except ssl.SSLCertVerificationError as error:
        raise TroubleError(
            f"the certificate of {place} is not trusted: {error.verify_message}",
            f"name the certificate of who signed it: {advice}",
        ) from None
    except OSError as error:
        if "ALERT" in str(getattr(error, "reason", "")):
            raise TroubleError(
                f"{place} speaks TLS, and not with us: it may want a certificate of ours",
                "give the client's certificate and key",
            ) from None
        raise TroubleError(
            f"{place} does not speak TLS, which the URL asks for",
            "use the URL without TLS (http:// or redis://), or the port with TLS",
        ) from None


def speaks_tls(host: str, port: int) -> bool:
    """Whether who listens there speaks TLS, trusted or not."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with connect(host, port) as plain, context.wrap_socket(plain, server_hostname=host):
            return True
    except (OSError, TroubleError):
        return False
