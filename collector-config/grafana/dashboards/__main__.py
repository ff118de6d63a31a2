"""Write the dashboards as JSON that Grafana reads, each beside the module that describes it: ``make dashboards``.

Metrics and labels have the names of `otel_redis_cache.conventions`: what is renamed there is renamed here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cache
import connections
import overview
import server
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from panels import finish

HERE = Path(__file__).parent


def write(directory: Path) -> None:
    """All of them, each in a file of its own."""
    for described in (overview, cache, server, connections):
        text = json.dumps(finish(described.build()), cls=JSONEncoder, indent=2, sort_keys=True)
        (directory / f"{described.__name__}.json").write_text(f"{text}\n", encoding="utf-8")


write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
