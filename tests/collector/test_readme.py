"""The README's quickstart, run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.real.collector import Collector
from tests.real.servers import RedisServer

README = Path(__file__).parents[2] / "README.md"


def test_the_quickstart_shows_its_cache_in_a_collector(
    server: RedisServer, collector: Collector
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    program = "\n".join(blocks[:2])  # what stands behind them is about a web service
    assert program.count("redis.Redis()") == 1
    subprocess.run(
        [
            sys.executable,
            "-c",
            program.replace("redis.Redis()", f"redis.Redis(port={server.port})"),
        ],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc_endpoint},
        check=True,
        timeout=60,
    )
    collector.wait_for(lambda seen: len(seen.spans()) >= 5)
    collector.stop()

    assert [span.name for span in collector.spans()] == [
        "GET",
        "SET",
        "DEL",
        "cache.invalidate",
        "DEL",
    ]
    found = {
        (point.metric, point.attributes["cache.name"]): point.value
        for name in ("cache.requests", "cache.writes", "cache.invalidations")
        for point in collector.latest(name)
    }
    assert found == {
        ("cache.requests", "page"): 1,
        ("cache.writes", "page"): 1,
        ("cache.invalidations", "page"): 1,
    }
    for point in collector.latest("cache.requests"):
        assert point.attributes["cache.request.type"] == "miss"
        assert point.resource["service.name"] == "shop"
        assert point.resource["service.instance.id"]
