"""The trace context inside of what is sent: extra fields of a stream entry, an envelope elsewhere.

The format, byte for byte: ``docs/messages.md``. What is in it is up to the propagator that the
application has set, which is W3C's ``traceparent``, ``tracestate`` and ``baggage`` by default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter

from otel_redis_cache.facts import Command, Operands
from otel_redis_cache.operands import key_bytes, word

MAX_HEAD = 65_536
"""Characters of an envelope that may stand before the payload."""

_PREFIX = "otel:"
_MESSAGES = ("message", "pmessage", "smessage")
_SENDING = frozenset({"XADD", "PUBLISH", "SPUBLISH"})
_ID = re.compile(rb"(\*|\d+(-(\d+|\*))?)\Z")
_OPERANDS_OF_OPTION = {
    "NOMKSTREAM": 0,
    "KEEPREF": 0,
    "DELREF": 0,
    "ACKED": 0,
    "LIMIT": 1,
    "IDMP": 2,
}

# Sending.


def sends_messages(commands: Sequence[Command]) -> bool:
    """Whether a call sends anything that can carry a context."""
    return any(command.rule.name in _SENDING for command in commands)


def current_carrier() -> dict[str, str]:
    """What the propagator gives for the current context: plain ASCII text, or nothing at all."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    text = "".join((*carrier, *carrier.values()))
    fits = text.isascii() and text.isprintable() and len(text) < MAX_HEAD // 4
    return carrier if fits else {}


def with_context(
    command: Command, args: Sequence[Any], carrier: Mapping[str, str]
) -> tuple[Any, ...] | None:
    """The arguments of a command that carries a context; None where it goes as it is.

    What has a context already keeps it. What the server would refuse stays as wrong as it is.
    """
    if command.rule.name == "XADD":
        fields = _fields_added(command.operands)
        names = {name.encode() for name in (*carrier, *_propagator_fields())}
        if not fields or not names.isdisjoint(map(key_bytes, fields[::2])):
            return None
        return (*args, *(text for pair in carrier.items() for text in pair))
    if command.rule.name in _SENDING and len(command.operands) == 2 and len(args) > 1:
        payload = args[-1]
        # No subclass, whose `+` and `encode` may do anything.
        if type(payload) in (str, bytes) and _can_be_sent(payload) and opened(payload) is None:
            return (*args[:-1], sealed(payload, carrier))
    return None


def _can_be_sent(payload: Any) -> bool:
    """Otherwise the client says what is wrong with it, which shall be about the payload alone."""
    with suppress(UnicodeEncodeError):
        return isinstance(payload, bytes) or payload.isascii() or bool(payload.encode())
    return False


def _fields_added(operands: Operands) -> Operands:
    """The fields and values of ``XADD key [option ...] id field value ...``; none if malformed.

    Nor any with IDMPAUTO, with which the server takes two entries of the same text for one.
    """
    position = 1
    while position < len(operands):
        option = word(operands[position])
        if option in ("MAXLEN", "MINID"):
            position += 1
            if position < len(operands) and word(operands[position]) in ("=", "~"):
                position += 1
        elif option in _OPERANDS_OF_OPTION:
            position += _OPERANDS_OF_OPTION[option]
        else:
            break
        position += 1
    entry_id, fields = operands[position : position + 1], operands[position + 1 :]
    found = key_bytes(entry_id[0]) if entry_id else None
    if not isinstance(found, bytes) or not _ID.match(found):
        return ()
    return fields


# The envelope.


def sealed(payload: Any, carrier: Mapping[str, str]) -> Any:
    """A payload, text or bytes, behind a line that has the context."""
    head = _PREFIX + json.dumps(carrier, separators=(",", ":")) + "\n"
    before: Any = head if isinstance(payload, str) else head.encode()
    return before + payload


def opened(data: str | bytes) -> tuple[dict[str, str], str | bytes] | None:
    """The context and the payload of an envelope; None where this is none."""
    if isinstance(data, str):
        if not data.startswith(_PREFIX + "{"):
            return None
        end = data.find("\n", 0, MAX_HEAD)
    else:
        if not data.startswith(_PREFIX.encode() + b"{"):
            return None
        end = data.find(b"\n", 0, MAX_HEAD)
    with suppress(ValueError, RecursionError):
        head: object = json.loads(data[len(_PREFIX) : end]) if end > 0 else None
        if isinstance(head, dict):
            found = cast("dict[str, object]", head)
            if found and all(isinstance(value, str) for value in found.values()):
                return cast("dict[str, str]", found), data[end + 1 :]
    return None


# Receiving.


def context_in(message: Any) -> Context:
    """The context that a message or an entry carries; empty where there is none."""
    content = content_of(message)
    if isinstance(content, str | bytes):
        found = opened(content)
        return Context() if found is None else _extracted(found[0])
    return _extracted(_fields_in(content))


def payload_in(message: Any) -> Any:
    """What was sent, without the context."""
    content = content_of(message)
    if isinstance(content, str | bytes):
        found = opened(content)
        return content if found is None else found[1]
    fields = _fields_in(content)
    if not _extracted(fields):
        return content  # a field that only has such a name is the application's
    names = {name.encode() for name in _propagator_fields()}
    return {name: value for name, value in fields.items() if key_bytes(name) not in names}


def content_of(message: Any) -> object:
    """The data of a Pub/Sub message, or the fields of an entry; each may be given as it is."""
    if is_pubsub_message(message):
        return message["data"]
    return message[1] if _is_entry(message) else message


def is_pubsub_message(message: object) -> bool:
    """Whether this is a message as ``get_message()`` and ``listen()`` give it."""
    if not isinstance(message, Mapping):
        return False
    found = cast("Mapping[object, object]", message)
    return set(found) == {"type", "pattern", "channel", "data"} and found["type"] in _MESSAGES


def _is_entry(message: object) -> bool:
    """Whether this is a pair of an id and fields; those of an entry that was deleted are None."""
    if not isinstance(message, list | tuple):
        return False
    pair = cast("Sequence[object]", message)
    return len(pair) > 1 and (pair[1] is None or isinstance(pair[1], Mapping))


def _fields_in(content: object) -> Mapping[Any, Any]:
    # Not `Any, Any`, which one of the two type checkers takes for a cast in vain.
    return cast("Mapping[Any, str | bytes]", content) if isinstance(content, Mapping) else {}


def _extracted(carrier: Mapping[Any, Any]) -> Context:
    return propagate.extract(carrier, Context(), _FIELDS)


def _propagator_fields() -> set[str]:
    return propagate.get_global_textmap().fields


class _Fields(Getter[Mapping[Any, Any]]):
    """Reads names and values that the client has decoded, or not."""

    def get(self, carrier: Mapping[Any, Any], key: str) -> list[str] | None:
        value = carrier.get(key, carrier.get(key.encode()))
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        return [value] if isinstance(value, str) else None

    def keys(self, carrier: Mapping[Any, Any]) -> list[str]:
        texts = (key_bytes(key) for key in carrier)
        return [text.decode("utf-8", "replace") for text in texts if isinstance(text, bytes)]


_FIELDS = _Fields()
