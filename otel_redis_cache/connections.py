"""Where a connection leads: the node that answers, whatever address was configured."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

from otel_redis_cache.conventions import NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT

Peer = Mapping[str, str | int]
"""``network.peer.address`` and ``network.peer.port``; a socket of the file system has no port."""

_Kept = tuple[Callable[[], Any], Peer]

_kept: weakref.WeakKeyDictionary[object, _Kept] = weakref.WeakKeyDictionary()
"""By connection: its peer, and the socket that it is the peer of."""


def peer_of(connection: Any) -> Peer:
    """The other end of a connection, asked for once after each connect; empty once it is closed.

    asyncio's connections have no socket, but a writer.
    """
    socket = getattr(connection, "_sock", None) or getattr(connection, "_writer", None)
    if socket is None:
        return {}
    known = _kept.get(connection)
    if known is not None and known[0]() is socket:
        return known[1]
    peer: Peer = {}
    with suppress(AttributeError, OSError):  # of what only looks like a socket; of one just closed
        peer = _asked(socket)
    _kept[connection] = (_reference(socket), peer)
    return peer


def _reference(socket: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(socket)
    except TypeError:  # of what only looks like a socket
        return lambda: socket


def _asked(socket: Any) -> Peer:
    if hasattr(socket, "get_extra_info"):
        name: object = socket.get_extra_info("peername")
    else:
        name = socket.getpeername()
    if isinstance(name, tuple):
        host, port = cast("tuple[str, int]", name[:2])
        return {NETWORK_PEER_ADDRESS: host, NETWORK_PEER_PORT: port}
    return {NETWORK_PEER_ADDRESS: name} if isinstance(name, str) and name else {}
