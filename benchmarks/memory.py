"""What watching Redis takes of memory: for a series, for a client, and as time goes by: `make bench-memory`."""

from __future__ import annotations

import gc
import multiprocessing
import random
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from rich.console import Console

from benchmarks import document, page
from benchmarks.overhead import isolate, show, start_server
from benchmarks.worker import BrokenError

T = TypeVar("T")

CLIENTS = 250
SERIES = 400
"""How many more caches are asked for than before."""
SAMPLES = 10
MIX = 104
"""Commands of one step of the long run."""
IDENTIFIERS = 1_000_000
CACHES = ("user", "session", "product", "basket", "price")


class Taken(NamedTuple):
    """Bytes that are still in use afterwards."""

    everybody: int
    ours: int
    """Allocated by this package's own lines; the rest by the SDK and the client library."""
    series: int


class Level(NamedTuple):
    """How large the process is after so many commands."""

    commands: int
    resident: int


@click.command()
@click.option(
    "--commands",
    type=click.IntRange(SAMPLES * MIX),
    default=300_000,
    show_default=True,
    help="Of the long run.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default=page.DOCUMENT)
@click.option("--machine", help="What to call this machine on the page.")
@click.option("--date", help="The day that the page names; by default today.")
def main(commands: int, output: Path, machine: str | None, date: str | None) -> None:
    """Measure memory, and put it into the document beside what calls cost."""
    isolate()
    console = Console(stderr=True)
    with start_server(None) as server, console.status("series") as status:
        names = (f"cache{number}:1" for number in range(2 * SERIES))
        server.call("MSET", *(word for key in ("user:1", *names) for word in (key, "x")))
        counts = _apart(take_series, server.url, by_cache=False)
        durations = _apart(take_series, server.url, by_cache=True)
        status.update("clients")
        clients = {
            watched: _apart(take_clients, server.url, watched=watched) for watched in (False, True)
        }
        status.update(f"{commands:,} commands, watched by nobody")
        levels = {"nobody": _apart(grow, server.url, commands, watched=False)}
        status.update(f"{commands:,} commands, watched by this package")
        levels["this package"] = _apart(grow, server.url, commands, watched=True)
        said = f"{server.kind} {server.version}"
    where = document.circumstances(said, machine, date)
    found = {"memory": where | _describe(commands, counts, durations, clients, levels)}
    document.write(output, found)
    page.write(output)
    show(found)


def _apart(measure: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """What a function gives in a process of its own."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as process:
        return process.submit(measure, *arguments, **named).result()


def take_series(url: str, *, by_cache: bool) -> Taken:
    """What series take: a count of lookups and a ratio for each cache, and a duration if asked for."""
    telemetry, client = _watch(url, traces=False, duration_by_cache=by_cache, max_auto_caches=1_000)
    tracemalloc.start()

    def ask(numbers: range) -> tuple[int, int, int]:
        for number in numbers:
            client.get(f"cache{number}:1")
        telemetry.export_metrics()
        telemetry.export_metrics()
        return *_in_use(), telemetry.points.series

    before = ask(range(SERIES))
    after = ask(range(SERIES, 2 * SERIES))
    return _difference(before, after)


def take_clients(url: str, *, watched: bool) -> Taken:
    """What clients take that have asked once, each with its pool and a connection."""
    import redis

    telemetry = _watch(url)[0] if watched else None
    clients: list[Any] = []
    tracemalloc.start()

    def ask() -> tuple[int, int, int]:
        for _ in range(CLIENTS):
            clients.append(redis.Redis.from_url(url))
            clients[-1].get("user:1")
        if telemetry is not None:
            telemetry.flush_spans()
        return *_in_use(), 0

    before = ask()
    return _difference(before, ask())


def _in_use() -> tuple[int, int]:
    gc.collect()
    snapshot = tracemalloc.take_snapshot()
    ours = snapshot.filter_traces([tracemalloc.Filter(inclusive=True, filename_pattern=_OURS)])
    return _size(snapshot), _size(ours)


_OURS = "*/otel_redis_cache/*"


def _size(snapshot: tracemalloc.Snapshot) -> int:
    return sum(trace.size for trace in snapshot.traces)


def _difference(before: tuple[int, int, int], after: tuple[int, int, int]) -> Taken:
    return Taken(*(late - early for early, late in zip(before, after, strict=True)))


def grow(url: str, commands: int, *, watched: bool) -> list[Level]:
    """How large the process is after each part of many commands, on keys without end."""
    import psutil
    import redis

    telemetry: Any = None
    if watched:
        telemetry, client = _watch(url)
    else:
        client = redis.Redis.from_url(url)
    process = psutil.Process()
    levels: list[Level] = []
    steps = commands // MIX
    for number, done in enumerate(_work(client), start=1):
        if number * SAMPLES // steps > len(levels):
            if telemetry is not None:
                telemetry.flush_spans()
                telemetry.export_metrics()
            gc.collect()
            levels.append(Level(done, process.memory_info().rss))
        if number == steps:
            break
    if telemetry is not None and telemetry.points.values.get("cache.requests", 0) < commands / 2:
        raise BrokenError("fewer lookups were counted than were made")
    return levels


def _work(client: Any) -> Iterator[int]:
    """Hits, misses, write-backs and removals, with pipelines; gives the commands so far."""
    chance = random.Random(0)
    done = 0
    while True:
        pipe = client.pipeline(transaction=False)
        for _ in range(MIX - 4):
            pipe.get(f"{chance.choice(CACHES)}:{chance.randrange(IDENTIFIERS)}")
        pipe.execute()
        key = f"{chance.choice(CACHES)}:{chance.randrange(IDENTIFIERS)}"
        client.get(key)
        client.set(key, "x" * 100, ex=60)
        client.get(key)
        client.delete(key)
        done += MIX
        yield done


def _watch(url: str, **settings: Any) -> tuple[Any, Any]:
    """The telemetry of this process, and a client that this package watches."""
    import redis

    from benchmarks.telemetry import Telemetry
    from otel_redis_cache import RedisCacheInstrumentor

    telemetry = Telemetry(sampled=True, endpoint=None)
    RedisCacheInstrumentor().instrument(**settings)
    return telemetry, redis.Redis.from_url(url)


def _describe(
    commands: int,
    counts: Taken,
    durations: Taken,
    clients: dict[bool, Taken],
    levels: dict[str, list[Level]],
) -> document.Document:
    histograms = durations.series - counts.series
    if histograms <= 0 or counts.series <= 0:
        raise BrokenError("no series were made")
    bare, watched = clients[False], clients[True]
    rows = [
        ("a series of a count", counts.everybody / counts.series),
        ("... of it in this package, the rest in the SDK", counts.ours / counts.series),
        ("a series of a duration", (durations.everybody - counts.everybody) / histograms),
        ("a client that nobody watches, with its connection", bare.everybody / CLIENTS),
        ("on top where it is watched", (watched.everybody - bare.everybody) / CLIENTS),
    ]
    for who, reached in levels.items():
        first, middle, last = (reached[index].resident for index in (0, SAMPLES // 2 - 1, -1))
        what = f"growth over {commands:,} commands, watched by {who}"
        rows += [(what, last - first), ("... of it in the second half", last - middle)]
    return {
        "commands": commands,
        "bytes": [[what, round(value)] for what, value in rows],
        "levels": {who: [level._asdict() for level in reached] for who, reached in levels.items()},
    }


if __name__ == "__main__":
    main()
