"""What went wrong, as one line that says what and what next."""

from __future__ import annotations

import os
import re
import socket

import click

from otel_redis_cache.failures import failure_of, is_failure, reason_of

_WHO = {"WRONGPASS", "NOAUTH", "AuthenticationError"}
_UNKNOWN = re.compile(r"unknown command [`']([A-Za-z|]+)[`']")
_NOT_REDIS = {"InvalidResponse", "ProtocolError", "UnicodeDecodeError"}

NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What client libraries raise where they cannot read an answer."""


STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""


class Trouble(click.ClickException):
    """One clear line and exit code 2: it could not be done."""

    exit_code = 2


def explain(error: BaseException, server: str) -> Trouble:
    """What a failure of a server means for somebody who can mend it."""
    kind = failure_of(error).type
    names = {base.__name__ for base in type(error).__mro__}
    why = why_of(error)
    meanings = (
        (
            kind in _WHO or "AuthenticationError" in names,
            (
                f"{server} refuses this user or password ({kind}): "
                "give them in the URL, as redis://user:password@host:6379/0"
            ),
        ),
        (
            kind == "NOPERM",
            (
                f"this user may not do what is needed at {server}: {reason_of(error, keys='%R~*')}; "
                "add it with ACL SETUSER"
            ),
        ),
        (
            not is_failure(error),
            (
                f"what answers at {server} makes no sense to a client of Redis ({kind}): "
                "look at the host and the port"
            ),
        ),
        (
            bool(names & _NOT_REDIS) or "Protocol" in why,
            (
                f"what answers at {server} is no Redis, or speaks TLS: "
                "look at the host and the port, and use rediss:// for TLS"
            ),
        ),
        (
            "TimeoutError" in names,
            f"no answer from {server} in time: is it up, and is this its address?",
        ),
        (
            "ConnectionError" in names or isinstance(error, OSError),
            f"no answer from {server}: {why}; is a Redis there, and is this its address?",
        ),
        (kind == "LOADING", f"{server} still loads its data: try again later"),
        (True, f"{server} refuses what it is asked: {why}"),
    )
    return Trouble(next(text for applies, text in meanings if applies))


def why_of(error: BaseException) -> str:
    """What the operating system says, else the first line of what the library says.

    Of what a server says only the kind: it may quote what it was sent, such as a key or a password.
    """
    failure = failure_of(error)
    if failure.status is not None:
        unknown = _UNKNOWN.match(str(error))
        return f"{failure.type}, it does not know {unknown.group(1)}" if unknown else failure.type
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "nobody knows this host's name"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
