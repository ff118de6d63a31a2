"""A network between an application and a server that can lose what it carries: a proxy on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from typing_extensions import Self

BYTES = 65_536


class Network:
    """Carries everything to a server and back, from `with` to the end of it, until it is told otherwise."""

    host = "127.0.0.1"

    def __init__(self, port: int) -> None:
        self._server = port
        self._connections: set[_Connection] = set()
        self._half_closed: set[_Connection] = set()
        self._refuses = False

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network")
        self._thread.start()
        self._flows = asyncio.Event()
        self._flows.set()
        self._listener: asyncio.Server = self._run(
            asyncio.start_server(self._accept, self.host, 0, limit=BYTES)
        )
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exception: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # What a test does to it.

    def cut(self) -> None:
        """All connections are closed in order."""
        self._do(lambda: [one.close() for one in self._connections.copy()])

    def reset(self) -> None:
        """All connections are lost: both ends read a reset."""
        self._do(lambda: [one.reset() for one in self._connections.copy()])

    def half_close(self) -> None:
        """Nothing comes from the server any more, and what is sent to it still arrives."""
        self._half_closed = self._connections.copy()
        self._do(lambda: [one.half_close() for one in self._half_closed])

    def close_the_other_half(self) -> None:
        self._do(lambda: [one.close() for one in self._half_closed])

    def stall(self) -> None:
        """Connections stay, new ones are taken, and nothing is carried until it flows again."""
        self._do(self._flows.clear)

    def flow(self) -> None:
        self._do(self._flows.set)

    def refuse(self) -> None:
        """Whoever connects is sent away at once, until they are accepted again."""
        self._refuses = True

    def accept(self) -> None:
        self._refuses = False

    # How it works.

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _do(self, what: Callable[[], object]) -> None:
        async def do() -> None:
            what()

        self._run(do())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.close()
            return
        try:
            to_server = await asyncio.open_connection(self.host, self._server, limit=BYTES)
        except OSError:
            writer.close()
            return
        connection = _Connection((reader, writer), to_server)
        self._connections.add(connection)
        try:
            await connection.carry(self._flows)
        finally:
            connection.close()
            self._connections.discard(connection)

    async def _close(self) -> None:
        self._listener.close()
        for one in self._connections.copy():
            one.close()
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """From a client to the server and back."""

    def __init__(self, client: _Stream, server: _Stream) -> None:
        self._client, self._server = client, server

    async def carry(self, flows: asyncio.Event) -> None:
        """Until one side ends, or is made to."""
        ways = [
            asyncio.ensure_future(_carry(self._client[0], self._server[1], flows)),
            asyncio.ensure_future(_carry(self._server[0], self._client[1], flows)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def close(self) -> None:
        self._client[1].close()
        self._server[1].close()

    def reset(self) -> None:
        for _, writer in (self._client, self._server):
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def half_close(self) -> None:
        with contextlib.suppress(OSError):
            self._client[1].write_eof()


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(BYTES):
            await flows.wait()
            if writer.is_closing():
                return
            writer.write(data)
            await writer.drain()
