"""Names of commands and options are completed in bash, as the README says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(sys.executable).with_name("otel-redis-cache")

ASKED = """
eval "$(_OTEL_REDIS_CACHE_COMPLETE=bash_source "$1")"
completion=$(complete -p otel-redis-cache | sed -E 's/.*-F ([^ ]+).*/\\1/')
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$completion" "$0"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["do"], ["doctor"]),
        (["doctor", "--prot"], ["--protocol"]),
        (["config", "grafana", "--end"], ["--endpoint"]),
    ],
)
def test_words_are_completed_in_bash(words: list[str], completed: list[str]) -> None:
    ended = subprocess.run(
        ["bash", "-c", ASKED, str(SCRIPT), str(SCRIPT), str(SCRIPT), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout.split(), ended.stderr) == (completed, "")
