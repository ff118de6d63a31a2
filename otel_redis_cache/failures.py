"""Why a call failed, read from the exceptions of redis-py and valkey-py."""

from __future__ import annotations

import re

from otel_redis_cache.conventions import OTHER_ERROR
from otel_redis_cache.facts import Contact, Failure

PREFIXES = frozenset(
    {
        *("ASK", "BUSY", "BUSYGROUP", "BUSYKEY", "CLUSTERDOWN", "CROSSSLOT", "DENIED"),
        *("ERR", "EXECABORT", "INPROG", "INVALIDOBJ", "IOERR", "LOADING", "MASTERDOWN"),
        *("MISCONF", "MOVED", "NOAUTH", "NOGOODSLAVE", "NOGROUP", "NOMASTERLINK", "NOPERM"),
        *("NOPROTO", "NOQUORUM", "NOREPLICAS", "NOSCRIPT", "NOTBUSY", "NOTREADY", "OOM"),
        *("READONLY", "TRYAGAIN", "UNBLOCKED", "UNKILLABLE", "WRONGPASS", "WRONGTYPE"),
    }
)
"""Error prefixes of Redis and Valkey that ``db.response.status_code`` may carry."""

_PREFIX_OF_CLASS = {
    "AskError": "ASK",
    "AuthenticationError": "ERR",
    "AuthorizationError": "NOPERM",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "ExecAbortError": "EXECABORT",
    "MasterDownError": "MASTERDOWN",
    "MaxConnectionsError": None,
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "ResponseError": "ERR",
    "TryAgainError": "TRYAGAIN",
}
"""Exceptions that stand for an answer of the server, where their text lost its prefix."""

_MAX_CLIENTS = "max number of clients reached"
_LOST_PREFIXES = {
    "Authentication required": "NOAUTH",
    "invalid username-password pair": "WRONGPASS",
}
"""How older clients leave answers whose class stands for several prefixes."""

_PIPELINE_ERROR = re.compile(
    r"Command # (\d+) \(.*\) of pipeline caused error: \(?['\"]?", re.DOTALL
)
_DENIED = re.compile(r"has no permissions to run the '([a-z0-9_.|-]{1,64})' command")
_DENIED_KEY = re.compile(r"(?:this user has n|N)o permissions to access (?:a|one of the) key")
_FIRST_WORD = re.compile(r"-?([A-Z][A-Z0-9_]*)(?: |$)")


def failure_of(error: BaseException) -> Failure:
    """Why a call failed: the server's error prefix, or the exception where no server answered."""
    error = _lost(error) or error
    kind = type(error)
    lineage = [base.__name__ for base in kind.__mro__]
    prefix = next((_PREFIX_OF_CLASS[name] for name in lineage if name in _PREFIX_OF_CLASS), None)
    text = _server_text(error)
    given = getattr(error, "status_code", None)
    if _MAX_CLIENTS in text[:64]:
        return Failure("MAXCLIENTS", "ERR")
    if prefix is None and not isinstance(given, str):
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        return Failure(f"{module}{kind.__qualname__}")
    if not isinstance(given, str):
        found = _FIRST_WORD.match(text)
        lost = (_LOST_PREFIXES[start] for start in _LOST_PREFIXES if text.startswith(start))
        given = found.group(1) if found else next(lost, prefix)
    status = given if given in PREFIXES else OTHER_ERROR
    telling = status == "ERR" and kind.__name__ not in ("ResponseError", "RedisError")
    return Failure(kind.__name__ if telling else status, status)


def reason_of(error: BaseException, keys: str) -> str:
    """Why a call failed, for somebody who can change it: with the ACL rule that is missing.

    ``keys`` is the rule that is missing where a key was denied. Some answers do not tell.
    """
    kind, text = failure_of(error).type, _server_text(error)
    denied = _DENIED.search(text)
    rule = f"+{denied.group(1)}" if denied else keys if _DENIED_KEY.match(text) else None
    return kind if rule is None else f"{kind}; the ACL rule {rule} is missing"


def is_failure(error: BaseException) -> bool:
    """Whether Redis, the network or the client library failed, and not the application."""
    modules = [base.__module__.partition(".")[0] for base in type(error).__mro__]
    return isinstance(error, OSError) or "redis" in modules or "valkey" in modules


def refused(error: BaseException) -> bool:
    """Whether the client refused to send the call, so that nothing was asked for."""
    lineage = {base.__name__ for base in type(error).__mro__}
    return bool(lineage & {"DataError", "UnicodeEncodeError"}) or watch_failed(error)


def watch_failed(error: BaseException) -> bool:
    """Whether a watched key changed: the normal outcome of an optimistic lock, no error."""
    return _is_watch_error(error) and _lost(error) is None


def _is_watch_error(error: BaseException) -> bool:
    return any(base.__name__ == "WatchError" for base in type(error).__mro__)


def _lost(error: BaseException) -> BaseException | None:
    """Why a connection was lost that keys were watched by, which the client calls a WatchError."""
    before = error.__context__
    if before is None or not _is_watch_error(error):
        return None
    lineage = {base.__name__ for base in type(before).__mro__}
    return None if lineage.isdisjoint({"ConnectionError", "TimeoutError"}) else before


_EXHAUSTED = ("Too many connections", "No connection available")
_SERVES_NOBODY = {"LOADING", "MASTERDOWN", "CLUSTERDOWN", "MAXCLIENTS"}
"""What a server answers whatever it is asked: no failure of the network, and no success."""

TRY_AGAIN = "TRYAGAIN"
"""``error.type`` of an answer about keys of which some have moved already."""

_NOBODY_ASKED = {"MaxConnectionsError", "ExternalAuthProviderError"}
_TEXTS_OF_NO_OUTAGE = (
    *_EXHAUSTED,
    "Invalid Database",
    "Connection not ready",  # what redis-py says where the server has too many clients
    "Invalid RESP version",
    "Error setting client name",
    "protocol must be",
)
"""Of plain ConnectionErrors that are no failure of the network."""


def contact_of(error: BaseException | None) -> Contact:
    """Whether a call that ended so reached its server."""
    if error is None or watch_failed(error):
        return Contact.ANSWERED
    failure = failure_of(error)
    if failure.status is not None:
        return Contact.UNKNOWN if failure.type in _SERVES_NOBODY else Contact.ANSWERED
    error = _lost(error) or error
    lineage = {base.__name__ for base in type(error).__mro__}
    if "TimeoutError" in lineage:
        return Contact.TIMED_OUT
    is_network = "ConnectionError" in lineage or isinstance(error, OSError)
    if not is_network or lineage & _NOBODY_ASKED or _text(error).startswith(_TEXTS_OF_NO_OUTAGE):
        return Contact.UNKNOWN
    return Contact.UNREACHED


def pool_is_exhausted(error: BaseException) -> bool:
    """Whether a connection pool had no connection to give."""
    lineage = {base.__name__ for base in type(error).__mro__}
    return "MaxConnectionsError" in lineage or (
        "ConnectionError" in lineage and _text(error).startswith(_EXHAUSTED)
    )


def failed_index(error: BaseException) -> int | None:
    """Which command of a batch (from 0) an exception is about, as the client wrote into it."""
    found = _PIPELINE_ERROR.match(_text(error))
    return int(found.group(1)) - 1 if found else None


def _server_text(error: BaseException) -> str:
    text = _text(error)
    found = _PIPELINE_ERROR.match(text)
    return text[found.end() :] if found else text


def _text(error: BaseException) -> str:
    first: object = error.args[0] if error.args else ""
    return first if isinstance(first, str) else ""
