"""One process in which one variant watches, and makes rounds when it is asked to."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from time import perf_counter, process_time, thread_time
from types import FrameType
from typing import Any, NamedTuple

from typing_extensions import Self

from benchmarks.cases import CASES, Case, Operation
from benchmarks.variants import VARIANTS, Variant

PATIENCE = 600
"""Seconds that a round may take at most."""
WARM_UP = 10
"""The part of a round that goes before the first one of a case."""
PROBES = 3
"""Operations that are looked into, when all rounds are over."""


class BrokenError(Exception):
    """A process did not do what was asked for: its figures would be about something else."""


class Lap(NamedTuple):
    """Microseconds for each operation of one round."""

    cpu: float
    """Of the whole process: also of the thread that exports spans."""
    caller: float
    """CPU time of the thread that called, where it was one."""
    wall: float


class Proof(NamedTuple):
    """What a process has really made of its operations."""

    operations: int
    keys: int
    """That all operations have asked for."""
    spans_exported: int
    durations: int
    lookups: int
    series: int
    metric_export_ms: float
    """CPU time of one export of all metrics."""
    entered: dict[str, dict[str, float]]
    """Python functions entered in one operation, by case and package; `start_span` beside them."""


class Process:
    """A worker as the one who asks sees it, from `with` to the end of it."""

    def __init__(self, variant: str, url: str, endpoint: str | None) -> None:
        """Start it."""
        spawning = multiprocessing.get_context("spawn")
        self.variant = variant
        self._connection, theirs = spawning.Pipe()
        self._process = spawning.Process(
            target=_serve, args=(variant, url, endpoint, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()

    def run(self, case: str, operations: int) -> Lap:
        return self._ask("run", case, operations)

    def prove(self) -> Proof:
        """Look at what was made, once all rounds are over."""
        return self._ask("prove")

    def _ask(self, *request: str | int) -> Any:
        try:
            self._connection.send(request)
            if not self._connection.poll(PATIENCE):
                raise BrokenError(f"{self.variant}: no answer within {PATIENCE} s to {request}")
            answer, said = self._connection.recv()
        except (EOFError, OSError) as error:
            raise BrokenError(f"{self.variant}: the process ended at {request}") from error
        if said:
            raise BrokenError(f"{self.variant}: {said}")
        return answer


def _serve(variant: str, url: str, endpoint: str | None, connection: Connection) -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    worker: Worker | None = None

    def answer(name: str, *arguments: Any) -> tuple[Any, str]:
        nonlocal worker
        try:
            worker = worker or Worker(VARIANTS[variant], url, endpoint)
            return getattr(worker, name)(*arguments), ""
        except Exception:  # noqa: BLE001 - whatever it is, it is told
            return None, traceback.format_exc()

    with suppress(EOFError, OSError):  # of the pipe
        while True:
            connection.send(answer(*connection.recv()))


class Worker:
    """Clients of one process, and who watches them."""

    def __init__(self, variant: Variant, url: str, endpoint: str | None) -> None:
        """Switch on whoever watches, before there is any client."""
        self._variant = variant
        self._operations = Counter[str]()
        self._telemetry: Any = None
        if variant.providers is not None:
            from benchmarks.telemetry import Telemetry

            self._telemetry = Telemetry(sampled=variant.providers == "sampled", endpoint=endpoint)
        variant.switch_on()
        self._loop = asyncio.new_event_loop()
        self._clients = _clients(url)
        self._prepared: dict[str, Operation] = {}

    def run(self, case: str, operations: int) -> Lap:
        """One round."""
        run = self._runner(case, operations)
        wall, caller, cpu = perf_counter(), thread_time(), process_time()
        run()
        wall, caller = perf_counter() - wall, thread_time() - caller
        if self._telemetry is not None:
            # What waits for its export belongs to this round, not to the next.
            self._telemetry.flush_spans()
        cpu = process_time() - cpu
        self._operations[case] += operations
        return Lap(*(seconds * 1e6 / operations for seconds in (cpu, caller, wall)))

    def prove(self) -> Proof:
        """Ask the exporters, after looking into some operations."""
        entered = {case: self._look_into(case) for case in self._prepared}
        operations = sum(self._operations.values())
        keys = sum(CASES[case].keys * done for case, done in self._operations.items())
        if self._telemetry is None:
            return Proof(operations, keys, 0, 0, 0, 0, 0.0, entered)
        from benchmarks.telemetry import DURATIONS, LOOKUPS

        self._telemetry.flush_spans()
        started = process_time()
        self._telemetry.export_metrics()
        export = process_time() - started
        points = self._telemetry.points
        return Proof(
            operations,
            keys,
            self._telemetry.spans.exported,
            round(points.values.get(DURATIONS, 0)),
            round(points.values.get(LOOKUPS, 0)),
            points.series,
            export * 1e3,
            entered,
        )

    def _runner(self, name: str, operations: int) -> Callable[[], None]:
        """What makes so many operations; everything is warm when it is given."""
        case = CASES[name]
        if name not in self._prepared:
            self._prepared[name] = self._prepare(case)
            warming = max(1, operations // WARM_UP // case.threads) * case.threads
            self._runner(name, warming)()
            self._operations[name] += warming
        operate, during = self._prepared[name], self._variant.during
        if case.is_async:
            return lambda: self._repeat_async(operate, operations)
        if case.threads == 1:
            return lambda: _repeat(operate, operations, during)
        return lambda: _repeat_in_threads(operate, operations, case.threads, during)

    def _prepare(self, case: Case) -> Operation:
        operate = case.make(self._clients[case.is_async])
        if self._variant.floor is None:
            return operate
        from benchmarks import floor

        # The asyncio client is awaited in the one loop that it knows.
        said = floor.learn(lambda: self._call_once(case, operate))
        spans = self._variant.floor == "span and duration"
        return floor.wrap(operate, said, spans=spans, is_async=case.is_async)

    def _call_once(self, case: Case, operate: Operation) -> None:
        if case.is_async:
            self._repeat_async(operate, 1)
        else:
            operate()

    def _repeat_async(self, operate: Operation, operations: int) -> None:
        async def repeat() -> None:
            for _ in range(operations):
                await operate()

        with self._variant.during():
            self._loop.run_until_complete(repeat())

    def _look_into(self, name: str) -> dict[str, float]:
        """Functions entered in one operation, by the package that they are in."""
        case, operate = CASES[name], self._prepared[name]
        seen = Counter[str]()

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call":
                module: str = frame.f_globals.get("__name__", "")
                seen[_package(module)] += 1
                seen["start_span"] += _starts_span(frame, module)

        with self._variant.during():
            for _ in range(PROBES):
                sys.setprofile(note)
                try:
                    self._call_once(case, operate)
                finally:
                    sys.setprofile(None)
        self._operations[name] += PROBES
        return {package: count / PROBES for package, count in seen.items() if package and count}


WATCHERS = ("otel_redis_cache", "redis.observability", "opentelemetry.instrumentation")
SDK = ("opentelemetry.sdk", "opentelemetry")
PACKAGES = (*WATCHERS, *SDK)
"""Whose functions are counted; the first one that a module is in."""


def _package(module: str) -> str:
    return next((p for p in PACKAGES if module == p or module.startswith(f"{p}.")), "")


def _starts_span(frame: FrameType, module: str) -> bool:
    """The SDK starts one; or this package makes it as the SDK would, out of a mould of the SDK's."""
    if module == "otel_redis_cache.spans":
        maker = type(frame.f_locals.get("self")).__name__
        return frame.f_code.co_name == "start" and maker == "_Mould"
    return module == "opentelemetry.sdk.trace" and frame.f_code.co_name == "start_span"


def _repeat(operate: Operation, operations: int, during: Callable[[], Any]) -> None:
    with during():
        for _ in range(operations):
            operate()


def _repeat_in_threads(
    operate: Operation, operations: int, count: int, during: Callable[[], Any]
) -> None:
    share = operations // count
    threads = [
        threading.Thread(target=_repeat, args=(operate, share, during)) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _clients(url: str) -> dict[bool, Any]:
    """A synchronous one and an asyncio one."""
    import redis
    import redis.asyncio

    return {False: redis.Redis.from_url(url), True: redis.asyncio.Redis.from_url(url)}
