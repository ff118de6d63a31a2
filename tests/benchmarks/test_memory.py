"""`make bench-memory` with a small number of commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.memory import SAMPLES
from tests.benchmarks.test_overhead import SECONDS, run
from tests.real.servers import RedisServer


@pytest.mark.timeout(SECONDS)
def test_series_clients_and_growth_are_measured_and_kept_beside_the_rest(
    valkey_server: RedisServer, tmp_path: Path
) -> None:
    path = tmp_path / "performance.json"
    path.write_text('{"kept": "as it is"}')
    ran = run("memory", "--commands", "4000", "--output", path)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(path.read_text())
    memory = found["memory"]
    rows = dict(memory["bytes"])

    assert found["kept"] == "as it is"
    assert 100 < rows["a series of a count"] < 20_000
    assert 100 < rows["a series of a duration"] < 20_000
    assert 1_000 < rows["a client that nobody watches, with its connection"] < 200_000
    assert 0 < rows["on top where it is watched"] < 20_000
    assert memory["levels"].keys() == {"nobody", "this package"}
    for levels in memory["levels"].values():
        assert len(levels) == SAMPLES
        assert levels[-1]["commands"] <= memory["commands"] < levels[-1]["commands"] + 104
        assert all(level["resident"] > 1 << 20 for level in levels)
    assert "## Memory" in path.with_suffix(".md").read_text()
