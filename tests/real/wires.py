"""A wire to a server that can be cut in the middle of a call."""

from __future__ import annotations

import selectors
import socket
import threading

from typing_extensions import Self


class Wire:
    """Passes everything on to a server, and loses the connection when a request has a certain word."""

    host = "127.0.0.1"

    def __init__(self, port: int, word: bytes = b"GET", cuts: int = 1):
        """`cuts`: how often a request with the word is lost before one gets through."""
        self._server = (self.host, port)
        self._word = word
        self.cuts = cuts
        self._ended = threading.Event()
        self._silent: set[threading.Thread] = set()

    def silence(self) -> None:
        """From now on the connections that are open stay open, and carry nothing."""
        self._silent.update(self._threads)

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass_on, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            selector = selectors.DefaultSelector()
            selector.register(client, selectors.EVENT_READ, (client, server))
            selector.register(server, selectors.EVENT_READ, (server, client))
            while not self._ended.is_set():
                for key, _ in selector.select(0.05):
                    source, sink = key.data
                    try:
                        data = source.recv(65536)
                        if not data or (source is client and self._cuts(data)):
                            return
                        if threading.current_thread() not in self._silent:
                            sink.sendall(data)
                    except OSError:
                        return

    def _cuts(self, data: bytes) -> bool:
        if not self.cuts or self._word not in data:
            return False
        self.cuts -= 1
        return True
