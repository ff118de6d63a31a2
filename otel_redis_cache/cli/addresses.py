"""Addresses as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit


def redact(url: str) -> str:
    """The URL without user, password and query, which may hold a password too."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***" if "@" in url else url.partition("?")[0]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"{scheme}://***"
    # An @ behind the host is the tail of a password with a slash or a # in it.
    if "@" in rest.removeprefix(parts.netloc):
        return f"{scheme}://***"
    user = "***@" if "@" in parts.netloc else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{scheme}://{user}{host}{f':{port}' if port else ''}{parts.path}"
