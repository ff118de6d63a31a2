"""Workers as uWSGI forks them, in C, after the application has been loaded: each counts for itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.real.collector import Collector
from tests.real.processes import free_ports
from tests.real.servers import RedisServer

from .applications import SCRIPTS, Environment, exporting_to
from .workers import WEB, WORKERS, by_instance, by_instance_in_files, running, serve


@pytest.mark.parametrize("options", [[], ["--lazy-apps"]], ids=["loaded before", "loaded after"])
def test_lookups_in_workers_of_uwsgi_are_as_many_in_prometheus(
    options: list[str],
    environment: Environment,
    server: RedisServer,
    collector: Collector,
    tmp_path: Path,
) -> None:
    (tmp_path / "web.py").write_text(WEB)
    (port,) = free_ports(1)
    uwsgi = [SCRIPTS / "uwsgi", "--http-socket", f"127.0.0.1:{port}", "--processes", str(WORKERS)]
    application = ["--wsgi-file", tmp_path / "web.py", "--callable", "app", "--need-app"]
    # docs/processes.md says what each is for.
    advised = ["--master", "--die-on-term", "--enable-threads", "--py-call-uwsgi-fork-hooks"]
    command = environment.instrumented(*uwsgi, *application, *advised, *options)
    settings = {"REDIS_URL": server.url, **exporting_to(collector)}
    with running(command, tmp_path / "uwsgi.log", settings) as process:
        served = serve(port, process)

    asked = sum(served.values())
    assert (len(served), server.commandstats()["get"]) == (WORKERS, asked), process.output()
    collector.wait_for(lambda it: sum(by_instance(it).values()) >= asked)
    assert sorted(by_instance(collector).values()) == sorted(served.values())
    collector.stop()
    spans = Counter(span.resource["service.instance.id"] for span in collector.spans())
    assert spans == by_instance_in_files(collector)
