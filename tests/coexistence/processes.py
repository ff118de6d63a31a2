"""Programs with telemetry settings of their own alone."""

from __future__ import annotations

import os
import subprocess
import sys


def run(*command: str) -> str:
    """What a Python program prints."""
    others = ("OTEL_", "DD_", "SENTRY_")
    ran = subprocess.run(
        [sys.executable, *command],
        env={name: value for name, value in os.environ.items() if not name.startswith(others)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
