"""Children that Celery forks for its tasks: each counts for itself, and what they have counted is there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import kombu.pools
import pytest
from celery import Celery

from tests.real.collector import Collector
from tests.real.processes import Process, wait_until
from tests.real.servers import RedisServer

from .applications import Environment, exporting_to
from .workers import by_instance_in_files, running

TASKS = 160
CHILDREN = 2

SHOP = """
import os, time
import redis
from celery import Celery

app = Celery("shop", broker=os.environ["BROKER_URL"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)
client = redis.Redis.from_url(os.environ["REDIS_URL"])
record = open(os.environ["RECORD"], "ab", buffering=0)

@app.task(name="read")
def read(number):
    client.mget([f"page:{number}"])
    time.sleep(0.002)
    record.write(b"%d\\n" % os.getpid())
"""
"""One lookup a task, by a command that Celery does not use, and a line of who has done it."""

AT_THE_END = """
from celery.signals import worker_process_shutdown
from opentelemetry import metrics, trace

@worker_process_shutdown.connect
def export(**_):
    trace.get_tracer_provider().force_flush()
    metrics.get_meter_provider().force_flush()
"""
"""As docs/processes.md has it: these processes end without Python's own end."""

IN_EACH_CHILD = """
from celery.signals import worker_process_init
from otel_redis_cache import RedisCacheInstrumentor
from otel_redis_cache.otlp import configure

@worker_process_init.connect
def watch(**_):
    configure(service_name="shelf")
    RedisCacheInstrumentor().instrument()
"""


@pytest.mark.parametrize("way", ["zero code", "worker_process_init"])
def test_lookups_in_tasks_are_as_many_as_tasks_were_done(
    way: str, environment: Environment, server: RedisServer, collector: Collector, tmp_path: Path
) -> None:
    is_zero_code = way == "zero code"
    shop = SHOP + AT_THE_END + ("" if is_zero_code else IN_EACH_CHILD)
    (tmp_path / "shop.py").write_text(shop)
    record = tmp_path / "record"
    settings = {
        "REDIS_URL": server.url,
        "BROKER_URL": broker_of(server),
        "RECORD": str(record),
        **exporting_to(collector),
    }
    # Children are replaced while the others work.
    children = ["--concurrency", str(CHILDREN), "--max-tasks-per-child", "40"]
    celery = ["-m", "celery", "--app", "shop", "--workdir", tmp_path, "worker", *children]
    command = environment.instrumented(*celery) if is_zero_code else [environment.python, *celery]
    with running(command, tmp_path / "celery.log", settings) as process:
        send_tasks(server)
        done = wait_until(lambda: all_done(record, process), timeout=40, what="the tasks")

    assert len(done) > CHILDREN
    assert server.commandstats()["mget"] == TASKS
    collector.wait_for(lambda it: sum(by_instance_in_files(it).values()) >= TASKS)
    assert sorted(by_instance_in_files(collector).values()) == sorted(done.values())
    collector.stop()
    spans = Counter(
        s.resource["service.instance.id"] for s in collector.spans() if s.name == "MGET"
    )
    assert spans == by_instance_in_files(collector)


def broker_of(server: RedisServer) -> str:
    """Another database of the same server."""
    return f"{server.url.rpartition('/')[0]}/1"


def send_tasks(server: RedisServer) -> None:
    application = Celery(broker=broker_of(server), set_as_current=False)
    for number in range(TASKS):
        application.send_task("read", (number,), ignore_result=True)
    application.close()
    kombu.pools.reset()


def all_done(record: Path, process: Process) -> Counter[str] | None:
    """Process -> how many tasks, when all are done."""
    assert process.running, process.output(100)
    done = Counter(record.read_text().split()) if record.exists() else Counter[str]()
    return done if done.total() == TASKS else None
