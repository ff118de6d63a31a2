"""What `SECURITY.md` names is there."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from otel_redis_cache.cli.main import main
from otel_redis_cache.settings import FIELDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`]+)`", PAGE)
REVEALS = {
    *("caches", "auto_caches", "channels", "duration_by_cache", "extra_commands", "key_attribute"),
    *("key_secret", "propagate_context", "query_text", "watch"),
}
"""Settings that decide which texts leave the process."""


def test_every_setting_that_reveals_something_is_named() -> None:
    named = {name.partition("=")[0] for name in QUOTED}

    assert REVEALS <= FIELDS.keys()
    assert REVEALS <= named | {"streams"}


def test_files_targets_and_options_exist() -> None:
    files = [name for name in QUOTED if name.startswith("tests/")]
    targets = {name.removeprefix("make ") for name in QUOTED if name.startswith("make ")}
    options = {name for name in QUOTED if name.startswith("--")}
    known = {
        option for command in main.commands.values() for it in command.params for option in it.opts
    }
    makefile = (ROOT / "Makefile").read_text("utf-8")

    assert len(files) >= 3
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert {target for target in targets if f"\n{target}:" not in makefile} == set()
    assert len(options) > 2
    assert options <= known


def test_the_package_needs_as_much_as_it_says() -> None:
    needed = [
        text for text in metadata.requires("otel-redis-cache") or [] if "extra ==" not in text
    ]

    assert "Four packages" in PAGE
    assert len(needed) == 4
