"""The application, a process of its own: clients of every kind at full load, until it is told to end.

    python -m tests.soak.application SETTINGS

It is told what to do, and says what came of it, in lines of JSON. When it is asked to `check` itself all its workers
pause between two calls, so that what is open then was left open.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import psutil
import redis
import redis.asyncio
import redis.asyncio.retry
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import get_current_span
from redis.backoff import ConstantBackoff
from redis.retry import Retry

import otel_redis_cache
from otel_redis_cache import RedisCacheInstrumentor
from otel_redis_cache.calls import open_scope
from tests.soak.accounts import Account, Event
from tests.soak.workers import CHANNEL, Listener, Sweeper, Worker

TIMEOUT = 3
"""Seconds that a call waits for its reply."""
BREATH = 0.02
"""Seconds that a worker waits after a failure."""
OURS = str(Path(otel_redis_cache.__file__).parent / "*")


class Settings(NamedTuple):
    """What the application is told at its start."""

    routes: dict[str, int]
    """The port of each."""
    endpoint: str
    """Of the Collector."""
    events: str
    """The file for what only a fault explains."""
    seed: int
    export_interval: float
    threads: int
    tasks: int
    """Of each route but the cluster, which has one of each."""


class Gate:
    """Where workers wait between two calls while it is shut."""

    def __init__(self) -> None:
        self.is_over = False
        self.waiting: set[object] = set()
        self._open = threading.Event()
        self._open.set()

    @property
    def is_shut(self) -> bool:
        return not self._open.is_set()

    def shut(self) -> None:
        self.waiting.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def wait(self, worker: object) -> None:
        self.waiting.add(worker)
        self._open.wait()

    async def look(self, worker: object) -> None:
        """What a task does instead of waiting, again and again."""
        self.waiting.add(worker)
        await asyncio.sleep(0.02)


class Counting(SpanProcessor, SpanExporter):
    """Counts spans that began and ended, and which of them the Collector has taken."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.begun = 0
        self.ended: Counter[tuple[str, str]] = Counter()
        self.taken: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        """The Collector may have got them all the same."""
        self._exporter, self._lock = exporter, threading.Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        with self._lock:
            self.begun += 1

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            self.ended[_said_by(span)] += 1

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        counter = self.taken if result is SpanExportResult.SUCCESS else self.refused
        counter.update(map(_said_by, spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    def as_json(self) -> dict[str, Any]:
        counters = {"ended": self.ended, "taken": self.taken, "refused": self.refused}
        rows = {
            name: sorted([*key, count] for key, count in counter.items())
            for name, counter in counters.items()
        }
        return {"begun": self.begun, **rows}


def _said_by(span: ReadableSpan) -> tuple[str, str]:
    return span.name, str((span.attributes or {}).get("error.type", ""))


class Telemetry:
    """The SDK as an application has it, with exporters of OTLP."""

    def __init__(self, endpoint: str, interval: float) -> None:
        self.counting = Counting(OTLPSpanExporter(endpoint, insecure=True))
        self._tracers = TracerProvider(shutdown_on_exit=False)
        self._tracers.add_span_processor(self.counting)
        self._spans = BatchSpanProcessor(
            self.counting, max_queue_size=8_192, schedule_delay_millis=1_000
        )
        self._tracers.add_span_processor(self._spans)
        points = OTLPMetricExporter(endpoint, insecure=True)
        reader = PeriodicExportingMetricReader(points, export_interval_millis=interval * 1_000)
        self._meters = MeterProvider([reader], shutdown_on_exit=False)
        RedisCacheInstrumentor().instrument(
            tracer_provider=self._tracers,
            meter_provider=self._meters,
            metrics="default,pubsub",
        )

    def flush(self) -> None:
        """Export all there is."""
        self._spans.force_flush()
        self._meters.force_flush()

    def shutdown(self) -> None:
        self._tracers.shutdown()
        self._meters.shutdown()
        RedisCacheInstrumentor().uninstrument()


class Application:
    """Threads, and an event loop with tasks."""

    def __init__(self, settings: Settings, events: TextIO) -> None:
        self._settings, self._events = settings, events
        self._gate = Gate()
        self._telemetry = Telemetry(settings.endpoint, settings.export_interval)
        self._accounts: list[Account] = []
        self._left: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._number = 0
        for route in ("direct", "proxied"):
            for retries in range(settings.threads):
                self._start(self._run_thread, self._worker(route, tries_again=retries > 0), retries)
        self._start(self._run_cluster_thread, self._worker("cluster"))
        self._start(self._run_sweeper, Sweeper(0, self._tell))
        self._start(self._run_listener, Listener(self._tell))
        routes = (*("direct", "proxied") * settings.tasks, "cluster")
        asynchronous = [self._worker(route) for route in routes]
        self._workers = len(self._threads) + len(asynchronous)
        self._start(self._run_loop, asynchronous)
        for thread in self._threads:
            thread.start()

    def check(self) -> dict[str, Any]:
        """Pause, and say what there is."""
        self._gate.shut()
        deadline = time.monotonic() + 60
        while len(self._gate.waiting) < self._workers:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"only {len(self._gate.waiting)} of {self._workers} workers pause"
                )
            time.sleep(0.02)
        self._telemetry.flush()
        gc.collect()
        found = self._state()
        self._gate.open()
        return found

    def end(self) -> dict[str, Any]:
        """All that it has got."""
        self._gate.is_over = True
        self._gate.open()
        for thread in self._threads:
            thread.join(30)
        left = [*self._left, *(thread.name for thread in self._threads if thread.is_alive())]
        self._telemetry.flush()
        self._telemetry.shutdown()
        account = Account()
        for one in self._accounts:
            account.add(one)
        return {
            "account": account.as_json(),
            "spans": self._telemetry.counting.as_json(),
            "left": left,
        }

    def calls(self) -> int:
        """How many there were so far."""
        return sum(account.calls for account in self._accounts)

    def _state(self) -> dict[str, Any]:
        process = psutil.Process()
        counting = self._telemetry.counting
        ours = Counter(
            type(thing).__qualname__
            for thing in gc.get_objects()
            if str(type(thing).__module__).startswith("otel_redis_cache")
        )
        traced = None
        if tracemalloc.is_tracing():
            snapshot = tracemalloc.take_snapshot()
            kept = snapshot.filter_traces([tracemalloc.Filter(True, OURS)])
            traced = sum(statistic.size for statistic in kept.statistics("filename"))
        return {
            "calls": self.calls(),
            "rss": process.memory_info().rss,
            "files": process.num_fds(),
            "threads": process.num_threads(),
            "tasks": 0 if self._loop is None else len(asyncio.all_tasks(self._loop)),
            "objects": dict(ours),
            "open_spans": counting.begun - counting.ended.total(),
            "traced": traced,
        }

    # Who works.

    def _worker(self, route: str, *, tries_again: bool = True) -> Worker:
        self._number += 1
        seed = self._settings.seed
        worker = Worker(route, self._number, seed, self._tell, tries_again=tries_again)
        self._accounts.append(worker.account)
        return worker

    def _start(self, run: Callable[..., None], *args: Any) -> None:
        for it in args:
            if isinstance(it, Sweeper | Listener):
                self._accounts.append(it.account)
        self._threads.append(threading.Thread(target=run, args=args, name=run.__name__))

    def _tell(self, event: Event) -> None:
        with self._lock:
            self._events.write(event.line())

    def _target(self, route: str) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self._settings.routes[route],
            "socket_timeout": TIMEOUT,
            "decode_responses": True,
        }

    def _run_thread(self, worker: Worker, retries: int) -> None:
        retry = Retry(ConstantBackoff(0.02), retries)
        with redis.Redis(**self._target(worker.route), retry=retry) as client:
            self._work(worker, client)

    def _run_cluster_thread(self, worker: Worker) -> None:
        with redis.RedisCluster(**self._target("cluster")) as client:
            self._work(worker, client)

    def _work(self, worker: Worker, client: Any) -> None:
        def turn() -> bool:
            worker.plan()
            began = time.monotonic()
            try:
                reply = worker.send(client)
            except Exception as error:
                reply = error
            worker.note(reply, began)
            return not isinstance(reply, Exception)

        self._repeat(turn)

    def _run_sweeper(self, sweeper: Sweeper) -> None:
        retry = Retry(ConstantBackoff(0.02), 0)
        with redis.Redis(**self._target(sweeper.route), retry=retry) as client:
            self._repeat(lambda: sweeper.turn(client))

    def _run_listener(self, listener: Listener) -> None:
        with (
            redis.Redis(**self._target(listener.route)) as client,
            client.pubsub() as subscriber,
        ):
            subscriber.subscribe(CHANNEL)
            self._repeat(lambda: listener.turn(subscriber))

    def _repeat(self, turn: Callable[[], bool]) -> None:
        me = threading.current_thread()
        while not self._gate.is_over:
            if self._gate.is_shut:
                self._gate.wait(me)
            elif not turn():
                time.sleep(BREATH)
        self._note_what_is_left()

    def _run_loop(self, workers: list[Worker]) -> None:
        asyncio.run(self._run_tasks(workers))

    async def _run_tasks(self, workers: list[Worker]) -> None:
        self._loop = asyncio.get_running_loop()
        # Once more: an asyncio client may not notice that a connection is from before a restart.
        retry = redis.asyncio.retry.Retry(ConstantBackoff(0.02), 1)
        direct = redis.asyncio.Redis(**self._target("direct"), retry=retry)
        proxied = redis.asyncio.Redis(**self._target("proxied"), retry=retry)
        cluster = redis.asyncio.RedisCluster(**self._target("cluster"))
        async with direct, proxied, cluster:
            clients = {"direct": direct, "proxied": proxied, "cluster": cluster}
            await asyncio.gather(*(self._run_task(one, clients[one.route]) for one in workers))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        self._left += [f"task {task!r}" for task in others]

    async def _run_task(self, worker: Worker, client: Any) -> None:
        while not self._gate.is_over:
            if self._gate.is_shut:
                await self._gate.look(worker)
                continue
            worker.plan()
            began = time.monotonic()
            reply = await self._call(worker, client)
            worker.note(reply, began)
            if isinstance(reply, BaseException):
                await asyncio.sleep(BREATH)
        self._note_what_is_left()

    async def _call(self, worker: Worker, client: Any) -> Any:
        """Some calls are cancelled while they wait for their reply."""
        if worker.patience is None:
            return await _outcome_of(worker, client)
        task = asyncio.create_task(_outcome_of(worker, client))
        done, _ = await asyncio.wait({task}, timeout=worker.patience)
        if not done:
            task.cancel()
        return await task

    def _note_what_is_left(self) -> None:
        """A span or a call that is open where none can be."""
        scope = open_scope.get()
        if scope is not None and scope.call is not None:
            self._left.append("a call")
        if get_current_span().get_span_context().is_valid:
            self._left.append("a span")


async def _outcome_of(worker: Worker, client: Any) -> Any:
    try:
        return await worker.send(client)
    except BaseException as error:
        return error


def main() -> None:
    """Do what is said, line by line, until there is nothing more to do."""
    # What cannot be exported is counted; the SDK would say so of each span.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    settings = Settings(**json.loads(sys.argv[1]))
    with Path(settings.events).open("w", encoding="utf-8") as events:
        application = Application(settings, events)
        _say({"started": True})
        try:
            for line in sys.stdin:
                asked = line.strip()
                if asked == "calls":
                    _say({"calls": application.calls()})
                elif asked == "check":
                    _say(application.check())
                elif asked == "trace":
                    _say(application.check())
                    tracemalloc.start()
        finally:  # whoever asks is gone too when it has heard enough
            said = application.end()
        _say(said)


def _say(found: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
