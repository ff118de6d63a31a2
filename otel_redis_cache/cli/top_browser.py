"""The screen of `top` in a browser: one process receives, and each page has a screen of its own.

Started as a program, with the address of the process that receives, this is such a screen.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shlex
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve.server import Server

from otel_redis_cache.cli.overview import View
from otel_redis_cache.cli.receiver import probe
from otel_redis_cache.cli.top_screen import NAME, Source, TopScreen
from otel_redis_cache.cli.traces import Span

KEY = "OTEL_REDIS_CACHE_TOP_KEY"
"""The variable by which a screen proves that it is ours."""

LOOPBACK = {"127.0.0.1", "localhost", "::1"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Window:
    """What a screen in another process looks through."""

    def __init__(self, source: Source, about: str, welcome: str) -> None:
        """Look at a source, and know what to say of it."""
        self._source = source
        self._words = about, welcome

    def words(self) -> tuple[str, str]:
        """Where it comes from, and what to do where nothing has come yet."""
        return self._words

    def view(self) -> View:
        """What there is to see now."""
        return self._source.view()

    def trace(self, trace_id: str) -> Sequence[Span]:
        """The spans of one trace."""
        return self._source.trace(trace_id)

    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self._source.is_over()


class Lender(BaseManager):
    """Lends the window to processes that know the key."""


class Page(Server):
    """Serves the page, and a screen for each that is open."""

    def __init__(self, command: Sequence[str], host: str, port: int) -> None:
        """Run the command for each page."""
        templates = Path(__file__).parent / "top_page"
        name = f"[{host}]" if ":" in host else host
        base: Any = super()  # its types have a gap
        base.__init__(
            shlex.join(command),
            host,
            port,
            NAME,
            public_url=f"http://{name}:{port}",
            templates_path=templates,
        )
        self._screens = set[asyncio.Task[Any] | None]()

    def initialize_logging(self) -> None:
        """Leave the log as it is."""

    async def on_startup(self, app: web.Application) -> None:
        """Say where it is."""
        del app
        print(
            f"{NAME}: {self.public_url} shows it in a browser; Ctrl-C ends it",
            flush=True,
        )

    async def on_shutdown(self, app: web.Application) -> None:
        """End the screens; without that, pages that stay open are waited for."""
        del app
        for screen in filter(None, self._screens):
            screen.cancel()

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Be the way to the screen of one page."""
        screen = asyncio.current_task()
        self._screens.add(screen)
        try:
            return await super().handle_websocket(request)
        finally:
            self._screens.discard(screen)

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._refuse_strangers)
        return app

    @web.middleware
    async def _refuse_strangers(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A page of somebody else, open in the same browser, has no business here."""
        try:
            origin = request.headers.get("Origin")
            is_elsewhere = origin is not None and urlsplit(origin).netloc != request.host
            is_renamed = self.host in LOOPBACK and request.url.host not in LOOPBACK
        except ValueError:  # one of the two is no address
            is_elsewhere = is_renamed = True
        if is_elsewhere or is_renamed:
            raise web.HTTPForbidden(text="This is not for pages from elsewhere.")
        return await handler(request)


def serve(source: Source, host: str, port: int, *, about: str, welcome: str) -> None:
    """Serve the screen until somebody ends it.

    Raises:
        OccupiedError: there is no listening there.
    """
    probe(host, port)
    # What a stranger sends that is no request would be told across the terminal.
    logging.disable(logging.CRITICAL)
    key = secrets.token_bytes()
    window = Window(source, about, welcome)
    Lender.register("window", lambda: window)
    lender = Lender(authkey=key).get_server()
    threading.Thread(target=lender.serve_forever, name="top-window", daemon=True).start()
    os.environ[KEY] = key.hex()
    Page([sys.executable, "-m", __name__, str(lender.address)], host, port).serve()


def _show(address: str) -> None:
    """Be the screen of one page."""
    Lender.register("window")
    lender = Lender(address, authkey=bytes.fromhex(os.environ.pop(KEY)))
    lender.connect()
    window: Window = getattr(lender, "window")()  # noqa: B009
    about, welcome = window.words()
    TopScreen(window, about=about, welcome=welcome).run()


if __name__ == "__main__":
    _show(sys.argv[1])
