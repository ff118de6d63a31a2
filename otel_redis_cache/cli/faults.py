"""What goes wrong in the demo with `--faults`, one thing after the other, and which metric shows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from rich.filesize import decimal

from otel_redis_cache import conventions as names
from otel_redis_cache.cli.measurements import Distribution, Measurements, Totals
from otel_redis_cache.cli.servers import Embedded
from otel_redis_cache.cli.workload import Visitors, Workload

OPTIONS = {
    "maxmemory": "6mb",
    "maxmemory-policy": "allkeys-lru",
    "notify-keyspace-events": "Exe",
}
"""Of the server: little memory, so that it evicts, and events that tell what."""

RETRIES = 1
"""Of the shop's calls: it would rather fail now than let its visitors wait."""

SHARE = 0.6
"""Of its time that a fault lasts; after that the shop has time to recover."""

SEEN_SECONDS = 1.0
"""That the last figures are on the screen."""

DOWN_SECONDS = 2.0
"""That the server is away at most."""

CROWD, LANGUAGES = 18, 6
"""Who all want the front page, and how many of it there are."""

CATALOGUES = 100
"""At least: twice what the server has room for."""

LIBRARY = "redis.exceptions."
"""Before the names of errors, for which a screen has no room."""

Tell = Callable[[Totals], str]
"""Reads a figure off what was measured while a fault lasted."""


@dataclass(frozen=True)
class Sign:
    """A metric that shows a fault."""

    metric: names.Metric
    tell: Tell


class Scene:
    """Where faults happen."""

    def __init__(self, server: Embedded, workload: Workload, stopped: threading.Event) -> None:
        """With the shop open, until it is `stopped`."""
        self.server = server
        self.workload = workload
        self.stopped = stopped

    def times(self, seconds: float, pause: float, at_least: int = 1) -> Iterator[int]:
        """Again and again, for so long."""
        until = time.monotonic() + seconds
        for number in count():
            if self.stopped.is_set() or (number >= at_least and time.monotonic() >= until):
                return
            yield number
            self.stopped.wait(pause)


def _restart(scene: Scene, seconds: float) -> None:
    scene.server.stop()
    scene.stopped.wait(min(seconds, DOWN_SECONDS))
    scene.server.start()


def _invalidate(scene: Scene, seconds: float) -> None:
    with scene.workload.opened(Visitors("releases")) as shop:
        for _ in scene.times(seconds, pause=0.1):
            with scene.workload.counted():
                shop.deploy()


def _stampede(scene: Scene, seconds: float) -> None:
    with (
        scene.workload.opened(Visitors("crowd")) as shop,
        ThreadPoolExecutor(CROWD, thread_name_prefix="shop-crowd") as crowd,
    ):

        def visit(visitor: int) -> None:
            for _ in scene.times(seconds, pause=0.1):
                with scene.workload.counted():
                    shop.show_front(visitor % LANGUAGES)

        list(crowd.map(visit, range(CROWD)))


def _fill(scene: Scene, seconds: float) -> None:
    with scene.workload.opened(Visitors("readers")) as shop:
        for number in scene.times(seconds, pause=0.01, at_least=CATALOGUES):
            with scene.workload.counted():
                shop.print_catalogue(number)


def _counts(metric: names.Metric, by: str, where: Mapping[str, str] | None = None) -> Sign:
    """How many of each kind: ``12 deploy, 3 delete``."""

    def tell(grown: Totals) -> str:
        kinds = {kind: total.count for kind, total in grown.of(metric, by, where).items() if kind}
        told = (f"{number:,} {kind.removeprefix(LIBRARY)}" for kind, number in kinds.items())
        return ", ".join(told) or "0"

    return Sign(metric, tell)


def _number(metric: names.Metric, say: Callable[[Distribution], str]) -> Sign:
    """Something about all of it."""
    return Sign(metric, lambda grown: say(grown.all_of(metric)))


def _hit_ratio(grown: Totals) -> str:
    kinds = grown.of(names.CACHE_REQUESTS, names.CACHE_REQUEST_TYPE)
    hits, misses = (kinds[kind].count if kind in kinds else 0 for kind in (names.HIT, names.MISS))
    return f"{hits / (hits + misses):.1%} hits" if hits + misses else "0"


def _loads(grown: Totals) -> str:
    p95s = {
        cache: load.quantile(0.95) or 0
        for cache, load in grown.of(names.CACHE_LOAD_DURATION, names.CACHE_NAME).items()
    }
    slowest = sorted(p95s, key=lambda cache: -p95s[cache])
    return ", ".join(f"{p95s[cache] * 1e3:,.0f} ms {cache}" for cache in slowest) or "0"


def _memory(grown: Totals) -> str:
    used, limit = grown.level(names.MEMORY_USED), grown.level(names.MAX_MEMORY)
    return f"{decimal(round(used or 0))} of {decimal(round(limit or 0))}"


def _outages(outages: Distribution) -> str:
    return f"{outages.count}, up to {outages.largest or 0:.1f} s"


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and how it shows."""

    name: str
    line: str
    """Says what happens, while it does."""
    happen: Callable[[Scene, float], None]
    signs: Sequence[Sign]


FAULTS = (
    Fault(
        "server restart",
        "connections break, calls fail, then it is back, empty",
        _restart,
        (
            _number(names.OUTAGE_DURATION, _outages),
            _counts(names.OPERATION_DURATION, names.ERROR_TYPE),
            _counts(names.RETRIES, names.ERROR_TYPE),
            _number(names.CONNECTION_CREATE_TIME, lambda opened: f"{opened.count} opened anew"),
        ),
    ),
    Fault(
        "invalidation storm",
        "a release clears all caches, over and over",
        _invalidate,
        (
            _counts(names.CACHE_INVALIDATIONS, names.INVALIDATION_REASON),
            _counts(names.CACHE_INVALIDATION_REQUESTS, names.INVALIDATION_REASON),
            Sign(names.CACHE_REQUESTS, _hit_ratio),
        ),
    ),
    Fault(
        "stampede",
        "a crowd wants the front page, each loads it anew",
        _stampede,
        (
            _counts(names.CACHE_STAMPEDES, names.CACHE_NAME),
            Sign(names.CACHE_LOAD_DURATION, _loads),
        ),
    ),
    Fault(
        "evictions",
        "large catalogues fill the memory, others make room",
        _fill,
        (
            _number(names.KEYS_EVICTED, lambda evicted: f"{evicted.count:,}"),
            _counts(
                names.CACHE_EVICTIONS, names.CACHE_NAME, {names.EVICTION_REASON: names.EVICTED}
            ),
            Sign(names.MEMORY_USED, _memory),
        ),
    ),
)


class Story:
    """All faults in their order, in a thread of its own."""

    def __init__(
        self, scene: Scene, measurements: Measurements, say: Callable[[str], None]
    ) -> None:
        """`say` what happens next."""
        self._scene = scene
        self._measurements = measurements
        self._say = say
        self._begun: list[tuple[Fault, Totals]] = []

    @contextmanager
    def told(self, seconds: float, flush: Callable[[], object]) -> Generator[None]:
        """Let it all happen in about so many seconds, of which the first ones are calm; then stop.

        After a `flush` all that was measured until then has arrived.

        Raises:
            UnavailableError: the server did not come back.
        """
        stopped = self._scene.stopped

        def stop(_: Future[None]) -> None:
            stopped.set()

        with ThreadPoolExecutor(1, thread_name_prefix="faults") as pool:
            story = pool.submit(self._tell, seconds / (len(FAULTS) + 1), flush)
            story.add_done_callback(stop)
            try:
                yield
            finally:
                stopped.set()
        story.result()

    def figures(self) -> Iterator[tuple[str, str, str]]:
        """What has happened, the metrics that show it, and what they showed until the next fault."""
        # None may have begun before somebody had seen enough.
        marks = [*(mark for _, mark in self._begun[1:]), self._measurements.totals()]
        for (fault, before), after in zip(self._begun, marks, strict=False):
            for sign in fault.signs:
                first = fault.name if sign is fault.signs[0] else ""
                yield first, sign.metric.name, sign.tell(after.since(before))

    def _tell(self, slot: float, flush: Callable[[], object]) -> None:
        began = time.monotonic()
        next_at = began + slot
        for fault in FAULTS:
            if self._scene.stopped.wait(max(next_at - time.monotonic(), 0)):
                return
            flush()
            self._begun.append((fault, self._measurements.totals()))
            self._say(f"{time.monotonic() - began:4.0f} s  {fault.name}: {fault.line}")
            fault.happen(self._scene, SHARE * slot)
            next_at = time.monotonic() + (1 - SHARE) * slot
        self._scene.stopped.wait(max(next_at - time.monotonic(), 0))
        flush()
        self._scene.stopped.wait(SEEN_SECONDS)
