"""`make bench` with tiny numbers: that it measures what it says; what it measures means nothing here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import bars, document, figures, page, picture, proofs
from benchmarks.bars import BARS, Bar
from benchmarks.cases import CASES
from benchmarks.tables import DISCARDING, OTLP
from benchmarks.variants import VARIANTS
from benchmarks.worker import BrokenError, Lap, Process
from tests.real.servers import RedisServer

SECONDS = 240


def run(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
        # An application's own settings must not switch off what is measured.
        env={**os.environ, "OTEL_SDK_DISABLED": "true", "COLUMNS": "200"},
        cwd=Path(page.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def output(valkey_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one quick run of everything."""
    path = tmp_path_factory.mktemp("bench") / "performance.json"
    options = ("--quick", "--exporters", DISCARDING, "--server", valkey_server.kind)
    ran = run("overhead", *options, "--machine", "a test", "--date", "today", "--output", path)
    assert ran.returncode == 0, ran.stderr
    assert "this package, suppressed" in ran.stdout
    return path


@pytest.fixture(scope="module")
def found(output: Path) -> Any:
    return json.loads(output.read_text())


@pytest.mark.timeout(SECONDS)
def test_every_variant_has_figures_of_every_case_and_round(found: Any) -> None:
    cases = found["exporters"][DISCARDING]["cases"]

    assert cases.keys() == CASES.keys()
    assert all(of.keys() == VARIANTS.keys() for of in cases.values())
    for figure in [figure for of in cases.values() for figure in of.values()]:
        for name in ("cpu", "caller", "wall", "added"):
            assert len(figure[name]["rounds"]) == found["rounds"] == 2
            low, middle, high = (figure[name][key] for key in ("minimum", "median", "maximum"))
            assert low <= middle <= high
        assert figure["wall"]["minimum"] > 0
        assert "median" in figure["added_ratio_to_contrib"]
    assert cases["get"]["contrib"]["added_ratio_to_contrib"]["median"] == 1
    assert {0.0} == {value for of in cases.values() for value in of["bare"]["added"]["rounds"]}


@pytest.mark.timeout(SECONDS)
def test_every_process_proves_what_it_has_made(found: Any) -> None:
    proved = found["exporters"][DISCARDING]["proofs"]

    def who(field: str) -> set[str]:
        return {variant for variant, proof in proved.items() if proof[field]}

    assert proved.keys() == VARIANTS.keys()
    assert len({proof["operations"] for proof in proved.values()}) == 1
    assert len({proof["keys"] for proof in proved.values()}) == 1
    assert who("spans_exported") == {"contrib", "both", "on", "spans", "all", "floor"}
    assert who("durations") == {
        *("redis-py", "both", "both-unsampled", "on", "unsampled", "metrics", "all"),
        *("floor", "floor-unsampled", "floor-duration"),
    }
    assert who("lookups") == {"on", "unsampled", "metrics", "all"}
    for proof in proved.values():
        assert proof["spans_exported"] + proof["spans_dropped"] in {0, proof["operations"]}
        assert proof["durations"] in {0, proof["operations"]}
        assert proof["lookups"] in {0, proof["keys"]}
    for case in CASES:
        entered = {variant: proof["entered"][case] for variant, proof in proved.items()}
        assert {v for v, found in entered.items() if "otel_redis_cache" in found} == {
            *("on", "unsampled", "metrics", "spans", "all", "suppressed", "no-providers")
        }
        assert {v for v, found in entered.items() if found.get("start_span") == 1} == {
            *("contrib", "contrib-unsampled", "both", "both-unsampled"),
            *("on", "unsampled", "spans", "all", "floor", "floor-unsampled"),
        }


@pytest.mark.timeout(SECONDS)
def test_every_bar_is_measured(found: Any) -> None:
    assert [bar["text"] for bar in found["bars"]] == [bar.text for bar in BARS]
    for bar in found["bars"]:
        assert bar["minimum"] <= bar["median"] <= bar["maximum"]
        assert bar["reached"] in {True, False}


@pytest.mark.timeout(SECONDS)
def test_page_and_picture_say_what_the_document_says(output: Path, found: Any) -> None:
    written = output.with_suffix(".md").read_text()
    drawn = ET.parse(output.with_suffix(".svg"))
    labels = {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}

    assert written == page.render(found, "performance")
    assert "Measured on today: a test; " in written
    assert all(f"| {bar.text} | " in written for bar in BARS)
    assert {row.label for name, row in VARIANTS.items() if name != "bare"} <= labels


def test_the_page_in_docs_is_made_from_its_document() -> None:
    found = document.read(page.DOCUMENT)
    written = page.DOCUMENT.with_suffix(".md").read_text(encoding="utf-8")
    drawn = page.DOCUMENT.with_suffix(".svg").read_text(encoding="utf-8")

    assert written == page.render(found, "performance"), "python -m benchmarks.page writes it anew"
    assert drawn == picture.draw(found)


@pytest.mark.timeout(SECONDS)
def test_otlp_exporters_send_every_span_to_the_sink(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    options = ("--quick", "--exporters", OTLP, "--variants", "contrib,on,metrics", "--cases", "get")
    ran = run("overhead", *options, "--output", path)
    assert ran.returncode == 0, ran.stderr
    proved = json.loads(path.read_text())["exporters"][OTLP]["proofs"]

    assert proved.keys() == {"bare", "contrib", "on"}  # metrics alone are exported between rounds
    assert proved["on"]["spans_exported"] == proved["on"]["operations"] > 0
    assert proved["contrib"]["spans_exported"] == proved["contrib"]["operations"] > 0
    assert proved["on"]["durations"] == proved["on"]["operations"]


@pytest.mark.parametrize(
    ("variant", "missing"),
    [
        ("contrib", "get: it starts 0 spans, not 1"),
        ("contrib-unsampled", "get: it starts 0 spans, not 1"),
        ("on", "0 durations of 12 operations"),
        ("metrics", "0 lookups of 12 keys"),
        ("redis-py", "0 durations of 12 operations"),
    ],
)
def test_a_benchmark_of_nothing_fails(
    variant: str, missing: str, valkey_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that somebody has set, and no span and no measurement costs anything."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with Process(variant, valkey_server.url, None) as process:
        process.run("get", 8)
        proof = process.prove()

    with pytest.raises(BrokenError, match=missing):
        proofs.hold(variant, proof)


def test_who_is_watched_is_not_taken_for_bare(valkey_server: RedisServer) -> None:
    with Process("contrib", valkey_server.url, None) as process:
        process.run("get", 8)
        proof = process.prove()

    with pytest.raises(BrokenError, match=r"get: it is watched, by .*opentelemetry.sdk"):
        proofs.hold("bare", proof)


def test_a_process_that_cannot_work_says_why(valkey_server: RedisServer) -> None:
    nobody = valkey_server.url.replace(str(valkey_server.port), "1")
    with (
        Process("bare", nobody, None) as process,
        pytest.raises(BrokenError, match=r"bare: (.|\n)*ConnectionError"),
    ):
        process.run("get", 8)


def test_an_unknown_variant_is_told() -> None:
    ran = run("overhead", "--quick", "--variants", "on,nobody-knows")

    assert ran.returncode == 2
    assert "nobody-knows: allowed are bare, contrib" in ran.stderr


def laps(*cpu: float) -> list[Lap]:
    return [Lap(cpu=value, caller=value, wall=2 * value) for value in cpu]


def test_a_ratio_is_of_what_is_added_in_the_same_round() -> None:
    rounds = {"bare": laps(10, 20, 10), "on": laps(15, 30, 40), "contrib": laps(20, 40, 20)}

    assert figures.added(rounds, "on") == [5, 10, 30]
    assert figures.added_ratio(rounds, "on", "contrib") == (0.5, 0.5, 3.0)
    assert figures.throughput_ratio(rounds, "on", "contrib") == (0.5, 20 / 15, 40 / 30)


def test_a_ratio_to_nothing_is_none() -> None:
    rounds = {"bare": laps(10, 10), "on": laps(15, 15), "contrib": laps(10, 5)}

    assert figures.added_ratio(rounds, "on", "contrib") is None


def test_a_bar_is_reached_from_its_own_side() -> None:
    at_most = Bar("get", "on", "contrib", 0.85)
    at_least = Bar("threads-get", "on", "contrib", 1.1, throughput=True)

    assert at_most.is_reached(0.85)
    assert not at_most.is_reached(0.86)
    assert at_least.is_reached(1.1)
    assert not at_least.is_reached(1.09)


def test_a_bar_for_each_command_is_a_hundredth_of_that_for_a_batch() -> None:
    bar = Bar("pipeline", "on", None, 1.2, each="command")

    assert bar.measure({"bare": laps(100), "on": laps(350)}) == (2.5, 2.5, 2.5)


def test_a_bar_about_who_did_not_run_is_left_out() -> None:
    assert bars.BARS[0].measure({"bare": laps(1), "on": laps(2)}) is None
