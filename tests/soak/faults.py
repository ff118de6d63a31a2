"""The faults that strike while the application works, and what each of them explains.

Whatever can be struck has a player: a thread that draws from its own deck of faults, so that each of them comes before
one comes again. What it draws, when and for how long, follows from the seed.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from typing_extensions import Self

from tests.real.clusters import Cluster
from tests.real.collector import Collector
from tests.real.servers import RedisServer
from tests.soak.accounts import Event
from tests.soak.network import Network

CONNECTION = "redis.exceptions.ConnectionError"
TIMEOUT = "redis.exceptions.TimeoutError"
LOST_REPLIES = frozenset({CONNECTION, TIMEOUT})
"""What a client tries again after, which may have been carried out all the same."""
LONG = (0.5, 5.0)
"""From shorter to longer than a call waits."""
OF_CLUSTERS = frozenset(
    {
        CONNECTION,
        TIMEOUT,
        "CLUSTERDOWN",
        "redis.exceptions.ClusterError",
        "redis.exceptions.RedisClusterException",
        "redis.exceptions.SlotNotCoveredError",
    }
)
AFTERMATH = 3.0
"""Seconds after its end in which a fault still explains: a connection from before may be used so late."""


class Fault(NamedTuple):
    """One kind of it."""

    name: str
    explains: frozenset[str]
    """The types of the exceptions that an application may get."""
    begin: Callable[[float], None]
    """Given how long it is to last."""
    end: Callable[[], object]
    seconds: tuple[float, float]
    """How long it lasts: from, to."""
    loses_data: bool = False


class Strike(NamedTuple):
    """One fault that struck."""

    target: str
    name: str
    began: float
    ended: float
    explains: frozenset[str]
    loses_data: bool


@dataclass
class Faults:
    """All players, from `with` to the end of it; the strikes so far."""

    seed: int
    pauses: dict[str, tuple[float, float]]
    """Seconds between two faults of one target: from, to."""
    decks: dict[str, Sequence[Fault]]
    strikes: list[Strike] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """What went wrong while a fault was made or unmade."""

    def __post_init__(self) -> None:
        self._over, self._may_strike = threading.Event(), threading.Event()
        self._busy = dict.fromkeys(self.decks, "")
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._may_strike.set()
        self._players = [
            threading.Thread(target=self._play, args=(target,), name=f"faults of {target}")
            for target in self.decks
        ]
        for player in self._players:
            player.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._may_strike.set()
        for player in self._players:
            player.join(60)

    @property
    def now(self) -> dict[str, str]:
        """What is on, by target."""
        return {target: name for target, name in self._busy.items() if name}

    def count(self) -> Counter[tuple[str, str]]:
        """How often each has struck: (target, name)."""
        return Counter((strike.target, strike.name) for strike in self.strikes)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """None is on, and none begins."""
        with self._lock:
            self._may_strike.clear()
        while any(self._busy.values()):
            time.sleep(0.05)
        try:
            yield
        finally:
            self._may_strike.set()

    def _play(self, target: str) -> None:
        dice = random.Random(f"{self.seed}:{target}")
        deck: list[Fault] = []
        while True:
            if self._over.wait(dice.uniform(*self.pauses[target])):
                return
            if not deck:
                deck = dice.sample(self.decks[target], len(self.decks[target]))
            fault, seconds = deck.pop(), dice.uniform(0, 1)
            self._may_strike.wait()
            with self._lock:
                if self._over.is_set():
                    return
                if not self._may_strike.is_set():
                    deck.append(fault)
                    continue
                self._busy[target] = fault.name
            try:
                self._strike(
                    target,
                    fault,
                    fault.seconds[0] + seconds * (fault.seconds[1] - fault.seconds[0]),
                )
            except Exception as error:
                self.failed.append(f"{target}: {fault.name}: {error!r}")
            finally:
                self._busy[target] = ""

    def _strike(self, target: str, fault: Fault, seconds: float) -> None:
        began = time.monotonic()
        try:
            fault.begin(seconds)
            self._over.wait(seconds)
        finally:
            fault.end()
            self.strikes.append(
                Strike(
                    target, fault.name, began, time.monotonic(), fault.explains, fault.loses_data
                )
            )


TARGETS = {
    "direct": ("mortal",),
    "proxied": ("steady", "network"),
    "steady": ("steady",),
    "cluster": ("cluster",),
}
"""Who is on the way of a call, by its route."""


def explains(strikes: Sequence[Strike], event: Event) -> bool:
    """Whether one of the faults on its way was on, or had just been, and does such things."""
    on_the_way = [strike for strike in strikes if strike.target in TARGETS[event.route]]
    near = [
        strike
        for strike in on_the_way
        if strike.began <= event.ended and strike.ended + AFTERMATH >= event.began
    ]
    if event.kind == "failure":
        return any(event.what in strike.explains for strike in near)
    if event.kind == "repeated" and any(LOST_REPLIES & strike.explains for strike in near):
        return True
    return event.kind in ("vanished", "repeated") and any(
        strike.loses_data and strike.began <= event.ended and strike.ended >= event.since
        for strike in on_the_way
    )


def of_server(server: RedisServer, *, mortal: bool) -> list[Fault]:
    """What happens to one server; a mortal one is killed too."""

    def pause_clients(seconds: float) -> None:
        server.call("CLIENT", "PAUSE", round(seconds * 1000), "ALL")

    def kill_clients(_: float) -> None:
        for kind in ("normal", "pubsub"):
            server.call("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def fill(_: float) -> None:
        server.call("CONFIG", "SET", "maxmemory", 1)

    def empty() -> None:
        server.call("CONFIG", "SET", "maxmemory", 0)

    faults = [
        Fault("stopped", frozenset({TIMEOUT}), lambda _: server.pause(), server.resume, LONG),
        Fault("clients paused", frozenset({TIMEOUT}), pause_clients, _nothing, LONG),
        Fault("clients killed", frozenset({CONNECTION}), kill_clients, _nothing, (0, 0.1)),
        Fault("out of memory", frozenset({"OOM"}), fill, empty, (0.5, 2)),
    ]
    if mortal:
        killed = Fault(
            "killed",
            frozenset({CONNECTION, TIMEOUT}),
            lambda _: server.kill(),
            server.restart,
            (0.2, 2),
            loses_data=True,
        )
        faults.append(killed)
    return faults


def of_network(network: Network) -> list[Fault]:
    """What happens on the way to a server."""
    lost = frozenset({CONNECTION})
    late = frozenset({CONNECTION, TIMEOUT})
    return [
        Fault("cut", lost, lambda _: network.cut(), _nothing, (0, 0.1)),
        Fault("reset", lost, lambda _: network.reset(), _nothing, (0, 0.1)),
        Fault(
            "half closed",
            late,
            lambda _: network.half_close(),
            network.close_the_other_half,
            (0.2, 1),
        ),
        Fault("stalled", late, lambda _: network.stall(), network.flow, LONG),
        Fault("refusing", lost, lambda _: _refuse(network), network.accept, (0.2, 1.5)),
    ]


def _refuse(network: Network) -> None:
    network.refuse()
    network.cut()


def of_cluster(cluster: Cluster, dice: random.Random) -> list[Fault]:
    """What happens to one of its nodes, which has no replica."""
    struck = [cluster.nodes[0]]

    def choose() -> RedisServer:
        # Whoever is asked for the topology is one of the others.
        struck[0] = dice.choice(cluster.nodes[1:])
        return struck[0]

    def restart() -> None:
        struck[0].restart()
        cluster.wait_until_healthy()

    def resume() -> None:
        struck[0].resume()
        cluster.wait_until_healthy()

    def kill_clients(_: float) -> None:
        choose().call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    return [
        Fault("node killed", OF_CLUSTERS, lambda _: choose().kill(), restart, (0.2, 2), True),
        Fault("node stopped", OF_CLUSTERS, lambda _: choose().pause(), resume, LONG),
        Fault("clients killed", frozenset({CONNECTION}), kill_clients, _nothing, (0, 0.1)),
    ]


def of_collector(collector: Collector, killed: Callable[[], None]) -> list[Fault]:
    """What happens to telemetry on its way; `killed` is called before it starts again."""

    def restart() -> None:
        killed()
        collector.restart()

    nothing = frozenset[str]()
    return [
        Fault("killed", nothing, lambda _: collector.kill(), restart, (1, 5)),
        Fault("stopped", nothing, lambda _: collector.pause(), collector.resume, (1, 5)),
    ]


def _nothing() -> None:
    """It is over by itself."""
