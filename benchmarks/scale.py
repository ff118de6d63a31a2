"""Writes `docs/scale.md` from what `make load` has found: `python -m benchmarks.scale`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import document
from benchmarks.document import Document

DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.json"

NAMES = {
    "collector": "One Collector, `collector.yaml`",
    "agent": "One agent, `agent.yaml`",
    "gateways": "A pair of gateways, `gateway.yaml`, and Prometheus",
}

SERVICES, PROCESSES, HOSTS = 10_000, 4, 2_000
"""Processes are those of each service."""
VISITS, SPANS, POINTS, INTERVAL = 5, 5, 400, 60
"""Requests a second to each process, spans of each; points of each process, seconds between two exports."""
KEPT, WAIT = 0.1, 10
"""As in `gateway.yaml`: the share of traces, and the seconds that each waits."""


@dataclass(frozen=True)
class Carried:
    """Of one kind of thing by one subject."""

    rate: float
    """The highest that was carried; each a second."""
    beyond: float
    """The lowest that was not."""
    cpu: float
    """Microseconds of the Collectors for each, at the highest."""
    others: dict[str, float]
    """And of who works beside them."""
    memory: float
    """MiB of the Collectors."""

    @classmethod
    def of(cls, steps: Sequence[dict[str, Any]]) -> Carried:
        """Up to the first rate that failed twice."""
        best = max((step for step in steps if step["carried"]), key=lambda step: step["rate"])
        others = {name: it for name, it in best["cpu"].items() if name != "collectors"}
        return cls(
            best["rate"],
            min(step["rate"] for step in steps if step["rate"] > best["rate"]),
            best["cpu"]["collectors"],
            others,
            best["memory"]["collectors"],
        )


def write(path: Path) -> None:
    """Write the page beside the document."""
    path.with_suffix(".md").write_text(render(document.read(path), path.stem), encoding="utf-8")


def render(found: Document, name: str) -> str:
    """The page."""
    return "\n\n".join(_parts(found, name)) + "\n"


def _parts(found: Document, name: str) -> Iterator[str]:
    carried = {
        subject: {kind: Carried.of(steps) for kind, steps in kinds.items()}
        for subject, kinds in found["subjects"].items()
    }
    yield "# Scale"
    yield f"<!-- Made by `make load` from {name}.json; do not edit. -->"
    yield "What one Collector and one pair of gateways carry, and what that means for 10,000 services."
    yield "## What was measured"
    yield _circumstances(found)
    yield _figures(carried)
    yield HOW_TO_READ
    if carried.keys() == NAMES.keys():
        yield f"## From there to {SERVICES:,} services"
        spans = found["requests"]["spans"]
        yield _arithmetic(carried, spans["bytes"] / spans["items"])
        yield BEYOND


def _circumstances(found: Document) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    spans, points = found["requests"]["spans"], found["requests"]["points"]
    return (
        f"On {found['made']}: {found['machine']}; {versions}. Other programs used {found['others']:.0f} % of its "
        f"processors just before. A request has {spans['items']} spans in {spans['items'] // SPANS} traces "
        f"({spans['bytes'] / 1000:.0f} kB), or the {points['items']} points of one process "
        f"({points['bytes'] / 1000:.0f} kB), both as this package made them at work. `make load` measures anew."
    )


def _figures(carried: dict[str, dict[str, Carried]]) -> str:
    rows = [
        (
            NAMES[subject],
            kind,
            f"{it.rate:,.0f}",
            f"{it.beyond:,.0f}",
            f"{it.cpu:.1f}",
            ", ".join(f"{name} {cost:.1f}" for name, cost in it.others.items() if cost >= 0.1),
            f"{it.memory:,.0f}",
        )
        for subject, kinds in carried.items()
        for kind, it in kinds.items()
    ]
    columns = ("", "each second", "carried", "not carried", "µs each", "beside it, µs each", "MiB")
    return _table(columns, rows)


HOW_TO_READ = """\
*Carried* is the highest rate at which every request was taken, none of them later than by a twentieth of the time, and
all of it had come out five seconds after: sent on, judged, or written. *Not carried* is the first rate at which something
was refused, late or missing, twice in a row. *µs each* is the processor time of the Collectors for one span or point, by the kernel's account; it
holds on a busy machine too. Everything shares the same cores: the Collectors, who sends to them, the sink that takes
what they send on, and Prometheus. So a machine of its own carries more: two cores have 2,000,000 µs a second.

Where others use the machine too, rates are lower than they would be; so the arithmetic below is made with microseconds.

Configurations are as they are shipped: gzip between Collectors, queues on disk, a decision after ten seconds, ten in a
hundred traces kept. A step of gateways is half as long again as traces are held, so that memory has to do. Points are
written to a real Prometheus, which spends more on a point than a gateway does: it is what ends the climb."""


def _arithmetic(carried: dict[str, dict[str, Carried]], size: float) -> str:
    """`size`: of a span, in bytes."""
    processes = SERVICES * PROCESSES
    spans, points = processes * VISITS * SPANS, processes * POINTS / INTERVAL
    pair, agent = carried["gateways"], carried["agent"]
    busy = spans * pair["spans"].cpu + points * pair["points"].cpu
    gateways = math.ceil(2 * busy / 1e6)
    written = points * pair["points"].others["prometheus"]
    on_host = spans / HOSTS * agent["spans"].cpu + points / HOSTS * agent["points"].cpu
    rows = [
        ("Processes", f"{SERVICES:,} x {PROCESSES}", f"{processes:,}"),
        ("Spans a second", f"{processes:,} x {VISITS} requests x {SPANS}", f"{spans:,.0f}"),
        (
            "Points a second",
            f"{processes:,} x {POINTS} / {INTERVAL} s",
            f"{points:,.0f}",
        ),
        (
            "An agent's processor time",
            (
                f"{spans / HOSTS:,.0f} spans x {agent['spans'].cpu:.1f} µs + "
                f"{points / HOSTS:,.0f} points x {agent['points'].cpu:.1f} µs, on each of {HOSTS:,} hosts"
            ),
            f"{on_host / 1e4:.1f} % of a core",
        ),
        (
            "Gateways, of a core each",
            (
                f"2 x ({spans:,.0f} spans x {pair['spans'].cpu:.1f} µs + {points:,.0f} points x "
                f"{pair['points'].cpu:.1f} µs): half busy, so that half of them may be away"
            ),
            f"{gateways:,}",
        ),
        (
            "What Prometheus writes with, or what stands in its place",
            f"2 x {points:,.0f} points x {pair['points'].others['prometheus']:.1f} µs",
            f"{2 * written / 1e6:,.0f} cores",
        ),
        (
            "Traces that a gateway holds",
            f"{spans / SPANS:,.0f} a second x {WAIT} s / {gateways:,} gateways, of `TRACES_IN_MEMORY` 50,000",
            f"{spans / SPANS * WAIT / gateways:,.0f}",
        ),
        (
            "Spans lost when one is killed",
            f"at most {spans:,.0f} / {gateways:,} x ({WAIT} s + 1 s); of points none",
            f"{spans / gateways * (WAIT + 1):,.0f}",
        ),
        (
            "Spans a second to the tracing backend",
            f"{spans:,.0f} x {KEPT:g}, and what is worth keeping",
            f"{spans * KEPT:,.0f}",
        ),
        (
            "An agent's disk, when gateways are away",
            f"268 MB / ({spans / HOSTS:,.0f} spans x {size:,.0f} bytes); metrics have as much again",
            f"{268e6 / (spans / HOSTS * size) / 60:,.0f} minutes of traces",
        ),
    ]
    return _table(("What", "How", ""), rows)


BEYOND = """\
Put your own numbers in: requests, spans of each, points of each process (at most 400 by default, most have far less) and
the interval decide everything. What is beyond this:

- One Prometheus keeps some millions of series; so many processes have more, as a histogram is a series for each bucket.
  `PROMETHEUS_WRITE_URL` is then the address of something that divides them, and the gateways do not mind.
- Agents find so many gateways by a name: `agent-dns.yaml`. When one comes or goes, about one trace in as many as there are
  gateways is divided between two of them for a moment, and judged in two parts. Metrics do not notice: sums are made
  before the gateways.
- With half of the gateways away the others hold twice as many traces: look at `TRACES_IN_MEMORY` and the memory, too.
- A gateway that is away and still in the list is waited for; until then its agents' disks fill. With a name it leaves the
  list within seconds."""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = (columns, ("---",) * len(columns), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    write(DOCUMENT)
