"""Where commands write to."""

from __future__ import annotations

import sys

from rich.console import Console

PLAIN_WIDTH = 120
"""Columns where there is no terminal to ask."""


def open_console() -> Console:
    """The terminal, or plain text where there is none."""
    # An encoding that cannot show a bar shows a question mark, which beats a traceback.
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="replace")
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
