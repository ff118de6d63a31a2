"""`otel-redis-cache config collector`, `prometheus`, `grafana` and `all`, and what others say of the files."""

from __future__ import annotations

import difflib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from otel_redis_cache.cli.templates import EndpointError, endpoint_of
from tests.real.collector import CONFIGURATION
from tests.real.processes import Process, free_ports, wait_until
from tests.zero_code.applications import Environment

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "otel_redis_cache.cli.main", "config")
EVERYWHERE = ("otel.example:4317", "http://10.0.0.7:14317", "[fd00::7]:4317", "localhost:4317")
SECRET = "swordfish"

OF_AN_EXAMPLE = {
    "collector.yaml": [
        "        endpoint: ${env:OTLP_GRPC_ADDRESS:-otel.example:14317}",
        "        endpoint: ${env:OTLP_HTTP_ADDRESS:-otel.example:4318}",
        "    endpoint: ${env:PROMETHEUS_ADDRESS:-otel.example:8889}",
        "                host: ${env:COLLECTOR_METRICS_HOST:-otel.example}",
    ],
    "prometheus/targets/applications.yaml": ['- targets: ["otel.example:8889"]'],
    "prometheus/targets/collectors.yaml": ['- targets: ["otel.example:8888"]'],
    "grafana/provisioning/datasources/datasources.yaml": [
        "    url: http://otel.example:9090",
        "    url: http://otel.example:3200",
        "    url: http://otel.example:16686",
    ],
}


def run(*arguments: str | Path, directory: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def written(directory: Path, kind: str, endpoint: str) -> dict[str, str]:
    """The files that are there afterwards, by their paths."""
    ended = run(kind, "--endpoint", endpoint, "--output", directory)
    assert (ended.returncode, ended.stderr) == (0, "")
    return files_in(directory)


@pytest.fixture(scope="module", params=EVERYWHERE)
def endpoint(request: pytest.FixtureRequest) -> str:
    endpoint: str = request.param
    return endpoint


@pytest.fixture(scope="module")
def rendered(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all files of an endpoint are."""
    directory = tmp_path_factory.mktemp("rendered")
    written(directory, "all", endpoint)
    return directory


@pytest.fixture(scope="module")
def host(endpoint: str) -> str:
    return endpoint.removeprefix("http://").rpartition(":")[0]


def files_in(directory: Path) -> dict[str, str]:
    return {
        str(file.relative_to(directory)): file.read_text(encoding="utf-8")
        for file in directory.rglob("*")
        if file.is_file()
    }


def shipped(files: Mapping[str, str]) -> dict[str, str]:
    return {path: (CONFIGURATION / path).read_text(encoding="utf-8") for path in files}


def test_nothing_but_addresses_is_replaced(tmp_path: Path) -> None:
    files = written(tmp_path, "all", "otel.example:14317")
    for path, text in shipped(files).items():
        differences = difflib.ndiff(text.splitlines(), files[path].splitlines())
        new = [line[2:] for line in differences if line.startswith("+ ")]
        assert new == OF_AN_EXAMPLE.get(path, [])
        assert text.count("\n") == files[path].count("\n")
    assert OF_AN_EXAMPLE.keys() <= files.keys()


def test_with_no_option_the_files_that_are_shipped_go_into_the_current_directory(
    tmp_path: Path,
) -> None:
    for kind in ("collector", "prometheus"):
        ended = run(kind, directory=tmp_path)
        assert (ended.returncode, ended.stderr) == (0, "")
    files = files_in(tmp_path)
    assert {"collector.yaml", "prometheus/rules.yaml"} <= files.keys()
    assert files == shipped(files)


def test_all_is_what_the_three_others_write(tmp_path: Path) -> None:
    one_by_one = tmp_path / "one-by-one"
    for kind in ("collector", "prometheus", "grafana"):
        assert run(kind, "--endpoint", EVERYWHERE[0], "--output", one_by_one).returncode == 0
    files = written(tmp_path / "all", "all", EVERYWHERE[0])
    assert files == files_in(one_by_one)
    # What is in these directories and is no template is known here.
    kept = {str(it.relative_to(CONFIGURATION)) for it in CONFIGURATION.glob("grafana/**/*.[jy]*")}
    kept |= {str(it.relative_to(CONFIGURATION)) for it in CONFIGURATION.glob("prometheus/*.yaml")}
    kept |= {
        str(it.relative_to(CONFIGURATION)) for it in CONFIGURATION.glob("prometheus/targets/*")
    }
    assert {path for path in files if "/" in path} == kept


@pytest.mark.parametrize("over", [(), ("redis-receiver.yaml",), ("two-backends.yaml",)])
def test_a_real_collector_finds_its_files_valid(
    collector_binary: Path, rendered: Path, over: tuple[str, ...]
) -> None:
    configs = [f"--config={rendered / path}" for path in ("collector.yaml", *over)]
    done = subprocess.run(
        [collector_binary, "validate", *configs],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_real_collector_listens_at_the_endpoint(collector_binary: Path, tmp_path: Path) -> None:
    endpoint, *others = free_ports(5)
    written(tmp_path, "collector", f"localhost:{endpoint}")
    names = ("OTLP_HTTP_ADDRESS", "PROMETHEUS_ADDRESS", "HEALTH_CHECK_ADDRESS")
    collector = Process(
        [collector_binary, f"--config={tmp_path / 'collector.yaml'}"],
        log=tmp_path / "collector.log",
        environment={
            **{name: f"127.0.0.1:{port}" for name, port in zip(names, others, strict=False)},
            "COLLECTOR_METRICS_PORT": str(others[-1]),
        },
    )

    def listens() -> bool:
        assert collector.running, collector.output()
        with suppress(OSError), socket.create_connection(("localhost", endpoint), timeout=5):
            return True
        return False

    try:
        assert wait_until(listens, timeout=30, what="the Collector listens at the endpoint")
    finally:
        collector.end()


def test_promtool_finds_the_files_of_prometheus_valid(
    promtool: Path, rendered: Path, host: str
) -> None:
    files = files_in(rendered)
    configuration = rendered / "prometheus" / "prometheus.yaml"
    done = subprocess.run(
        [promtool, "check", "config", configuration],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "SUCCESS: 3 rule files found" in done.stdout
    jobs = yaml.safe_load(files["prometheus/prometheus.yaml"])["scrape_configs"]
    targets = [
        yaml.safe_load(files[f"prometheus/{file}"])
        for job in jobs
        for of_job in job["file_sd_configs"]
        for file in of_job["files"]
    ]
    assert targets == [[{"targets": [f"{host}:8889"]}], [{"targets": [f"{host}:8888"]}]]


def test_dashboards_ask_the_data_sources_of_the_endpoint(rendered: Path, host: str) -> None:
    files = files_in(rendered)
    sources = yaml.safe_load(files["grafana/provisioning/datasources/datasources.yaml"])
    assert {it["type"]: it["url"] for it in sources["datasources"]} == {
        "prometheus": f"http://{host}:9090",
        "tempo": f"http://{host}:3200",
        "jaeger": f"http://{host}:16686",
    }
    dashboards = [json.loads(text) for path, text in files.items() if path.endswith(".json")]
    assert len(dashboards) == 4
    for dashboard in dashboards:
        (choice,) = [it for it in dashboard["templating"]["list"] if it["type"] == "datasource"]
        assert choice["query"] in {it["type"] for it in sources["datasources"]}
        inside = [panel for row in dashboard["panels"] for panel in row.get("panels", [])]
        asking = [panel for panel in [*dashboard["panels"], *inside] if panel.get("targets")]
        assert asking
        for panel in asking:
            assert panel["datasource"] == {"type": choice["query"], "uid": f"${{{choice['name']}}}"}
            assert all(target["expr"] for target in panel["targets"])


def test_a_file_that_differs_is_left_alone_with_all_others(tmp_path: Path) -> None:
    mine = tmp_path / "prometheus" / "rules.yaml"
    mine.parent.mkdir()
    mine.write_bytes(b"groups: [] # \xff my own")
    refused = run("all", "--output", tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"Error: nothing is written, as these differ: {mine}; --force replaces them, "
        "another --output leaves them alone\n"
    )
    assert [it for it in tmp_path.rglob("*") if it.is_file()] == [mine]

    forced = run("all", "--output", tmp_path, "--force")
    assert (forced.returncode, forced.stderr) == (0, "")
    assert mine.read_bytes() == (CONFIGURATION / "prometheus" / "rules.yaml").read_bytes()


def test_what_is_there_already_is_as_it_was(tmp_path: Path) -> None:
    first, again = (run("collector", "--output", tmp_path) for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0)
    assert [line.split("  ")[0] for line in first.stdout.splitlines()[:3]] == ["written"] * 3
    assert [line.split("  ")[0] for line in again.stdout.splitlines()[:3]] == ["as it was"] * 3
    assert f"otelcol --config={tmp_path / 'collector.yaml'}" in again.stdout


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("otel.example", "has no port"),
        ("http://otel.example", "has no port"),
        ("otel.example:", "has no port"),
        ("otel.example:0", "has no port"),
        ("otel.example:70000", "has no port"),
        (f"http://user:{SECRET}", "has no port"),
        ("[::1", "has no port"),
        ("", "has no port"),
        ("https://otel.example:4317", "has the scheme https"),
        ("redis://otel.example:4317", "has the scheme redis"),
        (f"http://user:{SECRET}@otel.example:4317", "has a user or a password in it"),
        (f"{SECRET}@otel.example:4317", "has a user or a password in it"),
        (f"ftp://:{SECRET}@otel.example", "has a user or a password in it"),
        (f"otel.example:4317/?token={SECRET}", "goes on behind its port"),
        (f"otel.example:4317/{SECRET}", "goes on behind its port"),
        ("${HOME}:4317", "has no host"),
        ('otel"example:4317', "has no host"),
        ("otel example:4317", "has no host"),
        ("ötel.example:4317", "has no host"),
        ("[fe80::1%eth0]:4317", "has no host"),
        (":4317", "has no host"),
    ],
)
def test_what_is_no_endpoint_is_told_without_its_secret(endpoint: str, why: str) -> None:
    with pytest.raises(EndpointError) as raised:
        endpoint_of(endpoint)
    told = str(raised.value)
    assert told.startswith(why)
    assert told.endswith("such as otel.example:4317")
    assert SECRET not in told
    assert "\n" not in told


def test_a_bad_endpoint_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    endpoint = f"http://user:{SECRET}@otel.example:4317"
    ended = run("all", "--endpoint", endpoint, "--output", tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "Error: --endpoint has a user or a password in it, which these files would show: "
        "give host and port alone, such as otel.example:4317\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_no_directory_is_one_line(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    ended = run("collector", "--output", taken)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"Error: {taken}")
    assert ended.stderr.count("\n") == 1


def test_json_is_for_the_settings() -> None:
    ended = run("--json", "collector")
    assert ended.returncode == 2
    assert "--json is for the settings" in ended.stderr


def test_a_built_wheel_has_the_files(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )
    (wheel,) = tmp_path.glob("*.whl")
    environment = Environment(
        tmp_path / "venv", without=("otel_redis_cache", "_editable_impl_otel_redis_cache.pth")
    )
    install = ("install", "--quiet", "--no-deps", "--no-index", wheel)
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", environment.python, *install],
        check=True,
        timeout=60,
    )
    installed = environment.python.with_name("otel-redis-cache")
    ended = subprocess.run(
        [installed, "config", "all", "--endpoint", EVERYWHERE[0], "--output", "files"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert files_in(tmp_path / "files") == written(tmp_path / "here", "all", EVERYWHERE[0])
