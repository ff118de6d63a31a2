"""rq: a job from its queue to its result."""

from __future__ import annotations

import redis
from rq import Queue, SimpleWorker

from tests.frameworks.conftest import WHO, Told


def greet(name: str) -> str:
    return f"hello {name}"


def test_jobs_queues_and_workers_are_one_cache(told: Told) -> None:
    with redis.from_url(told.url) as connection:
        queue = Queue("emails", connection=connection)
        job = queue.enqueue(greet, WHO, job_id=f"job-{WHO}")
        other = queue.enqueue(greet, WHO)
        worker = SimpleWorker([queue], connection=connection)
        told.secrets |= {other.id, worker.name, "emails"}
        worker.work(burst=True, logging_level="ERROR")
        found = queue.fetch_job(job.id)
        assert found is not None
        assert found.return_value() == f"hello {WHO}"

    assert {"rq:job:job-<who>", "rq:results:job-<who>", "rq:queues"} <= told.on_server()
    assert told.lookups()["rq", "hit"] > 0
    assert told.names() == {"rq"}
