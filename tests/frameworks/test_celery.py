"""Celery's results, and the queues of Kombu that it sends its messages through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import kombu.pools
import pytest
from celery import Celery, group
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.messaging import Consumer

from tests.frameworks.conftest import WHO, Told

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

Applications = Callable[..., Celery]

BINDINGS = ("", "_permanent")


@pytest.fixture
def celery(told: Told) -> Iterator[Applications]:
    made: list[Celery] = []

    def make(**configuration: Any) -> Celery:
        application = Celery("shop", broker=told.url, backend=told.url, set_as_current=False)
        application.conf.update(configuration)
        application.task(name="greet")(greet)
        made.append(application)
        return application

    yield make
    for application in made:
        application.backend.result_consumer.stop()
        application.backend.client.connection_pool.disconnect()
        application.close()
    kombu.pools.reset()


def greet(name: str) -> str:
    return f"hello {name}"


@pytest.mark.parametrize("prefix", ["", "shop_"])
@pytest.mark.parametrize("task_id", [f"task-{WHO}", f"{WHO}:1", "Mr.X:"])
def test_results_are_one_cache(told: Told, celery: Applications, task_id: str, prefix: str) -> None:
    told.secrets.add(task_id.removesuffix(":"))
    application = celery(result_backend_transport_options={"global_keyprefix": prefix})
    application.backend.store_result(task_id, f"hello {WHO}", "SUCCESS")
    keys = told.on_server()
    result = application.AsyncResult(task_id)
    assert result.get(timeout=9) == f"hello {WHO}"
    result.forget()

    assert keys == {f"{prefix}celery-task-meta-{task_id}".replace(WHO, "<who>")}
    assert told.lookups()["celery-task-meta", "hit"] > 0
    assert told.writes() == {"celery-task-meta": 1}
    assert told.removals() == {"celery-task-meta": 1}
    assert told.names() == {"celery-task-meta"}


def test_results_of_groups_are_one_cache(told: Told, celery: Applications) -> None:
    application = celery()
    tasks = application.tasks["greet"]
    sent = group(tasks.s(WHO), tasks.s(WHO)).apply_async()
    sent.save()
    told.secrets |= {sent.id, *(result.id for result in sent.results)}
    application.GroupResult.restore(sent.id)
    keys = told.on_server()
    sent.forget()  # else it connects once more when it is collected

    assert "celery-taskset-meta-<hex>" in keys
    assert told.lookups() == {("celery-taskset-meta", "hit"): 1}
    assert told.writes()["celery-taskset-meta"] == 1
    assert told.names() == {"celery-taskset-meta", "celery-task-meta", "celery", "kombu.binding"}


def test_the_default_queue_and_its_priorities_are_one_cache(
    told: Told, celery: Applications
) -> None:
    task = celery().tasks["greet"]
    for priority in (0, 5):
        task.apply_async((WHO,), priority=priority, ignore_result=True)
    task.apply_async((WHO,), queue="emails", task_id=WHO, ignore_result=True)

    assert told.on_server() == {
        "celery",
        "celery\x06\x163",
        "emails",
        *(f"_kombu.binding{kind}.{name}" for kind in BINDINGS for name in ("celery", "emails")),
    }
    assert told.names() == {"celery", "kombu.binding", "_default"}


def test_messages_on_their_way_are_a_cache(told: Told) -> None:
    received: list[Any] = []

    def receive(body: Any, message: Any) -> None:
        assert {"unacked", "unacked_index"} <= told.on_server()
        received.append(body)
        message.ack()

    with Connection(told.url) as connection:
        queue = connection.SimpleQueue("emails")
        queue.put({"to": WHO})
        queue.close()
        with Consumer(connection, [Queue("emails")], callbacks=[receive]):
            connection.drain_events(timeout=9)

    assert received == [{"to": WHO}]
    assert told.names() == {"_default", "kombu.binding", "unacked"}
