"""Readers with delta temporality are given what was counted since a process began to watch."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import redis
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

from tests.integration.watching import PERIOD, watched
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.recording import Recording

COMMANDS, CALLS = "redis.commands.processed", "redis.cmd.calls"


class Increases(Recording):
    """What a reader with delta temporality has got so far."""

    def __init__(self, *beside: InMemoryMetricReader) -> None:
        super().__init__()
        kinds: dict[type, Any] = {ObservableCounter: AggregationTemporality.DELTA}
        self._reader = InMemoryMetricReader(preferred_temporality=kinds)
        self.meter_provider = MeterProvider([self._reader, *beside], shutdown_on_exit=False)
        self.sums: Counter[str] = Counter()
        self.seen: set[str] = set()

    def look(self) -> None:
        for name, metric in self.metrics().items():
            for point in metric.data.data_points if name in (COMMANDS, CALLS) else ():
                series = " ".join([name, *filter(None, [point.attributes.get("cmd")])])
                self.seen.add(series)
                self.sums[series] += point.value


def ping(server: RedisServer, times: int) -> None:
    with redis.Redis(port=server.port) as client, client.pipeline(transaction=False) as pipeline:
        for _ in range(times):
            pipeline.ping()
        pipeline.execute()


def counted(recording: Increases, series: str, at_least: int) -> bool:
    recording.look()
    return series in recording.seen and recording.sums[series] >= at_least


def wait_for(recording: Increases, series: str, at_least: int = 0) -> None:
    wait_until(
        lambda: counted(recording, series, at_least), timeout=10, what=f"{at_least} of {series}"
    )


def test_increases_begin_when_a_process_begins_to_watch(new_server: RedisServer) -> None:
    ping(new_server, 10_000)
    recording = Increases()
    with watched(recording, new_server, watch_commands=True):
        wait_for(recording, COMMANDS)
        wait_for(recording, f"{CALLS} ping")
        assert recording.sums[COMMANDS] < 1_000

        ping(new_server, 2_000)
        new_server.call("LOLWUT")  # for the first time, since it is watched
        wait_for(recording, COMMANDS, 2_000)
        wait_for(recording, f"{CALLS} ping", 2_000)
        wait_for(recording, f"{CALLS} lolwut", 1)
        assert recording.sums[COMMANDS] < 3_000
        assert recording.sums[f"{CALLS} ping"] == 2_000
        assert recording.sums[f"{CALLS} lolwut"] == 1

        new_server.restart()
        ping(new_server, 3_000)
        wait_for(recording, COMMANDS, 5_000)
        assert recording.sums[COMMANDS] < 6_000


def test_increases_while_another_process_watches_are_its_own(new_server: RedisServer) -> None:
    first, second = Increases(), Increases()
    with watched(first, new_server) as watch:
        wait_for(first, COMMANDS)
        with watched(second, new_server):
            ping(new_server, 1_000)
            wait_for(first, COMMANDS, 1_000)
            watch.close()
            wait_for(second, COMMANDS)
            assert second.sums[COMMANDS] < 500

            ping(new_server, 4_000)
            wait_for(second, COMMANDS, 4_000)
            with watched(first, new_server):
                time.sleep(2 * PERIOD)
                first.look()
                assert first.sums[COMMANDS] < 2_000
            before = first.sums[COMMANDS]
        with watched(first, new_server):
            ping(new_server, 100)
            wait_for(first, COMMANDS, before + 100)
            assert first.sums[COMMANDS] < before + 1_000


def test_a_second_watch_that_only_waits_takes_nothing_away(new_server: RedisServer) -> None:
    recording = Increases()
    with watched(recording, new_server), watched(recording, new_server):
        wait_for(recording, COMMANDS)
        for total in (1_000, 2_000, 3_000):
            ping(new_server, 1_000)
            wait_for(recording, COMMANDS, total)


def test_a_reader_that_takes_totals_beside_another_has_those_of_the_server(
    new_server: RedisServer,
) -> None:
    """One callback serves both."""
    ping(new_server, 10_000)
    totals = InMemoryMetricReader()
    recording = Increases(totals)
    with watched(recording, new_server):
        wait_for(recording, COMMANDS, 10_000)
        recording._reader = totals
        ((_, total),) = recording.points(COMMANDS)
        assert total >= recording.sums[COMMANDS]
