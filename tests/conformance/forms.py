"""What texts look like that have no word of the application's in them: of every span and metric of any test."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from otel_redis_cache import conventions as names
from otel_redis_cache.commands import MAX_TEXT, TABLE
from otel_redis_cache.failures import PREFIXES

_UNKNOWN = re.compile(r"[A-Z][A-Z0-9_.-]{0,31}")
_BATCH = re.compile(r"(?:PIPELINE|MULTI)(?: (.+))?")
_CLASS = re.compile(r"[A-Za-z_][\w.<>]*")
_PROCEDURE = re.compile(r"[0-9A-Fa-f]{40}|\w{1,64}", re.ASCII)
_AUTOMATIC = re.compile(
    r"(?!(?:.*\d){4})(?!.*[0-9A-Fa-f]{8})[A-Za-z][A-Za-z0-9_.-]{1,39}", re.ASCII
)


def is_command(text: str) -> bool:
    """A row of the table, or one word in its place."""
    return text in TABLE or _UNKNOWN.fullmatch(text) is not None


def is_operation(text: str) -> bool:
    """A command, or a batch of several."""
    batch = _BATCH.fullmatch(text)
    if batch is not None:
        return batch[1] is None or batch[1] == names.OTHER_OPERATION or is_command(batch[1])
    return text == names.OTHER_OPERATION or is_command(text)


def is_masked(text: str) -> bool:
    """``SET ? ? EX ?; GET ?``: commands with their options, all else masked."""
    texts = text.split("; ")
    if len(text) == MAX_TEXT:
        texts.pop()  # which was cut
    return all(map(_is_one_masked, texts))


def _is_one_masked(text: str) -> bool:
    first, *rest = text.split(" ")
    if rest and f"{first} {rest[0]}" in TABLE:
        first = f"{first} {rest.pop(0)}"
    options = TABLE[first].words if first in TABLE else frozenset[str]()
    return (first == names.OTHER_OPERATION or is_command(first)) and options.union("?").issuperset(
        rest
    )


def is_error(text: str) -> bool:
    """A prefix of the server's, or the name of a class."""
    return text in PREFIXES or text == names.OTHER_ERROR or _CLASS.fullmatch(text) is not None


def is_peer(text: str) -> bool:
    """A numeric address, or the path of a socket."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text.startswith("/")
    return True


def is_cache(text: str) -> bool:
    """A name that the package gives by itself."""
    return text in names.RESERVED_CACHES or _AUTOMATIC.fullmatch(text) is not None


FORMS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    names.DB_OPERATION_NAME: (is_operation, "extra_commands"),
    names.BATCH_FAILED_OPERATION: (is_operation, "extra_commands"),
    names.DB_QUERY_TEXT: (is_masked, "query_text"),
    names.DB_STORED_PROCEDURE_NAME: (lambda text: bool(_PROCEDURE.fullmatch(text)), ""),
    names.DB_NAMESPACE: (str.isdigit, ""),
    names.DB_RESPONSE_STATUS_CODE: (is_error, ""),
    names.ERROR_TYPE: (is_error, ""),
    names.NETWORK_PEER_ADDRESS: (is_peer, ""),
    names.CACHE_NAME: (is_cache, "caches"),
}
"""By attribute: its form, and the setting that allows another one."""


def faults_of_texts(attributes: Mapping[str, Any], opted_in: AbstractSet[str]) -> Iterator[str]:
    for name, (is_of_form, setting) in FORMS.items():
        if name in attributes and setting not in opted_in and not is_of_form(str(attributes[name])):
            yield f"{name} is {attributes[name]!r}, which may have a word of the application's"
