"""Take the picture of `top` that is shown here: ``make pictures``. It is the demo, in a real browser."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real.browsers import blank_page
from tests.real.processes import free_ports

PICTURE = Path(__file__).with_name("top.png")
SECONDS = 20


@contextmanager
def running(*arguments: str) -> Iterator[None]:
    """A command of ours, which ends with the block."""
    command = [sys.executable, "-m", "otel_redis_cache.cli.main", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    """Let the demo run for a while, and look."""
    chromium = shutil.which("chromium")
    if not chromium:
        sys.exit("There is no chromium: apt-get install chromium")
    grpc, http, port = map(str, free_ports(3))
    listening = ("--grpc-port", grpc, "--http-port", http)
    with (
        running("top", "--serve", "--serve-port", port, *listening),
        running("demo", "--seconds", f"{2 * SECONDS}", "--endpoint", f"http://127.0.0.1:{grpc}"),
        blank_page(Path(chromium), 1_400, 850) as page,
    ):
        page.wait_for_timeout(2_000)  # for the two to listen and to send
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_timeout(SECONDS * 1_000)
        page.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()
