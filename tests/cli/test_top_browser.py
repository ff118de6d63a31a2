"""`otel-redis-cache top --serve` in a real browser."""

from __future__ import annotations

import base64
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pyte
from playwright.sync_api import Page, WebSocket

from tests.cli.test_top import FREE_PORTS, TOP, shop
from tests.real.browsers import blank_page
from tests.real.processes import Process, free_ports, wait_until
from tests.real.servers import RedisServer

COLUMNS, LINES = 400, 120
"""More than any page has."""

COLOURS = """
async picture => {
  const image = await createImageBitmap(await (await fetch("data:image/png;base64," + picture)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const pixels = new Uint32Array(canvas.getImageData(0, 0, image.width, image.height).data.buffer);
  return new Set(pixels).size;
}
"""
"""How many colours a picture has."""


class Received:
    """What a page was sent, as the screen that it is."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        page.on("websocket", self._follow)

    def _follow(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._take)

    def _take(self, frame: bytes | str) -> None:
        if isinstance(frame, bytes):
            self._stream.feed(frame)

    def wait_for(self, found: Callable[[str], object]) -> None:
        deadline = time.monotonic() + 30
        while not found(text := "\n".join(self._screen.display)):
            assert time.monotonic() < deadline, text
            self._page.wait_for_timeout(100)  # frames arrive meanwhile


@contextmanager
def serving(directory: Path, *arguments: str) -> Iterator[tuple[Process, str]]:
    """The command, and where its page is."""
    (port,) = free_ports(1)
    process = Process(
        [*TOP, "--serve", "--serve-port", str(port), *arguments], log=directory / "top.log"
    )
    try:
        wait_until(
            lambda: "shows it in a browser" in process.output() or not process.running,
            timeout=30,
            what="the page",
        )
        assert process.running, process.output()
        yield process, f"http://localhost:{port}/"
    finally:
        process.end()


def test_a_browser_shows_the_screen(
    chromium: Path, redis_server: RedisServer, tmp_path: Path
) -> None:
    grpc, http = free_ports(2)
    listening = ("--grpc-port", str(grpc), "--http-port", str(http))
    with (
        serving(tmp_path, *listening) as (process, url),
        shop(redis_server, f"http://127.0.0.1:{grpc}", tmp_path),
        blank_page(chromium) as page,
    ):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        received = Received(page)
        page.goto(url)
        received.wait_for(lambda text: re.search(r"user +[\d,.]+ +75\.0% ", text))
        received.wait_for(lambda text: re.search(r"LPUSH .*WRONGTYPE +shop", text))
        assert {urlsplit(each).netloc for each in asked} == {urlsplit(url).netloc}

        picture = base64.b64encode(page.screenshot()).decode()
        assert page.evaluate(COLOURS, picture) > 50

        page.keyboard.press("p")
        received.wait_for(lambda text: "PAUSED" in text)
        page.keyboard.press("q")
        page.get_by_text("The screen has ended").wait_for(timeout=20_000)

        page.get_by_text("Open it again").click()
        received.wait_for(lambda text: "PAUSED" not in text and "75.0%" in text)
        screens = psutil.Process(process.pid).children(recursive=True)
        assert screens
        psutil.Process(process.pid).send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert not any(screen.is_running() for screen in screens)


def test_pages_from_elsewhere_are_refused(tmp_path: Path) -> None:
    strange = (
        {"Origin": "http://elsewhere.example"},
        {"Host": "elsewhere.example"},
        {"Origin": "http://["},
        {"Host": "localhost:99999999"},
    )
    with serving(tmp_path, *FREE_PORTS) as (process, url):
        assert httpx.get(url, headers={"Origin": url.rstrip("/")}).status_code == 200
        for headers in (*strange, {**strange[0], **strange[1]}):
            assert httpx.get(url, headers=headers).status_code == 403
            assert httpx.get(f"{url}ws", headers=headers).status_code == 403
        with suppress(httpx.HTTPError):
            httpx.get(f"{url}ws")  # which is no request for a WebSocket
        assert "\n" not in process.output()
