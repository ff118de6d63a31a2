"""`otel-redis-cache config` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from otel_redis_cache.settings import FIELDS

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "otel_redis_cache.cli.main", "config"]
SECRET = "swordfish"


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    given = {f"OTEL_REDIS_CACHE_{name.upper()}": value for name, value in settings.items()}
    ended = subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=kept | given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""
    assert SECRET not in ended.stdout
    return ended


def test_every_setting_is_shown_with_where_it_comes_from() -> None:
    ended = run(caches="sessions=sess:*,locks:*=-", metrics="cache")
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert ended.returncode == 0
    assert [line[0] for line in lines] == list(FIELDS)
    assert ["caches", "sessions=sess:*,locks:*=-", "OTEL_REDIS_CACHE_CACHES"] in lines
    assert ["metrics", "cache", "OTEL_REDIS_CACHE_METRICS"] in lines
    assert ["query_text", "sanitized", "default"] in lines


def test_no_secret_is_shown() -> None:
    ended = run(
        key_secret=SECRET, key_attribute="hash", watch=f"redis://me:{SECRET}@localhost:6379/0"
    )
    assert ended.returncode == 0
    assert "redis://***@localhost:6379/0" in ended.stdout


def test_what_is_shown_for_scripts_can_be_set_again() -> None:
    first = json.loads(run("--json", metrics="all", hit_ratio_window="30").stdout)
    again = {name: it["value"] for name, it in first["settings"].items() if it["value"]}
    second = json.loads(run("--json", **again).stdout)
    assert second["wrong"] == []
    values = [
        {name: it["value"] for name, it in shown["settings"].items()} for shown in (first, second)
    ]
    assert values[0] == values[1]


def test_what_is_not_understood_is_told_once() -> None:
    ended = run(traces="maybe", on_conflicts="both")
    meant = "OTEL_REDIS_CACHE_ON_CONFLICT"
    assert ended.returncode == 1
    assert [line for line in ended.stdout.splitlines() if line.startswith("wrong:")] == [
        "wrong: OTEL_REDIS_CACHE_TRACES: traces is 'maybe'; allowed: true or false",
        f"wrong: {meant}S is no setting; did you mean {meant}?",
    ]
    assert ["traces", "true", "default"] in [line.split() for line in ended.stdout.splitlines()]


def test_what_to_run_next_can_be_run_wherever_the_files_are(tmp_path: Path) -> None:
    ended = run("collector", "--output", str(tmp_path / "my files"))
    assert ended.stdout.endswith(
        f"run there: otelcol --config='{tmp_path / 'my files'}'/collector.yaml\n"
    )


def test_a_name_that_is_no_text_is_shown_as_well_as_it_can_be(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, "collector", "--output", os.fsencode(tmp_path) + b"/\xff"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"\xef\xbf\xbd/collector.yaml" in ended.stdout
