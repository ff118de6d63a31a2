"""Agents and gateways for real: three processes on two hosts, two gateways, and Prometheus that is written to.

What a SIGKILL of a gateway costs
---------------------------------
Metrics: nothing. A gateway says that it has taken a point when Prometheus has it; until then it is on the agent's disk.
Sums are made by applications and agents, so a gateway has none to lose.

Traces: what waited for its judgement. A gateway holds every span in memory for `decision_wait`, and up to a second more
until the sampler looks again; what it has judged is in a queue on disk. So a kill takes at most

    spans a second at this gateway  x  (decision_wait + 1 s)

and as each of two gateways has about half of all spans, that is less than the rate of all x `decision_wait`. Nobody can
ask the dead for its counters, but those beside it add up, where nothing is sampled away:

    lost  =  sent by the agents  -  taken by the tracing backend  +  what came there twice

Twice comes what was delivered and not yet crossed out when the kill came, by agents or by the gateway itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE as CUMULATIVE,
)
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.real import requirement
from tests.real.collector import CONFIGURATION
from tests.real.hosts import NoHostsError
from tests.real.requirement import missing
from tests.real.servers import binary_of
from tests.real.telemetry import Span

from .chain import Chain, Key
from .visitor import kind_of, trace_of

RATE = 40
"""Visits a second, each by three processes."""

WORTH_KEEPING = ("error", "slow", "stampede")


@contextmanager
def chain(collector: Path, **gateway: str) -> Iterator[Chain]:
    redis = binary_of("redis")
    if not redis:
        missing("redis", "there is no redis-server on PATH or in REDIS_SERVER_BIN")
    if not shutil.which("prometheus"):
        missing("prometheus", "there is no prometheus on PATH")
    try:
        with Chain(collector, redis, **gateway) as running:
            requirement.ran["redis"] = running.redis.version
            requirement.ran["prometheus"] = "Debian's"
            requirement.ran["hosts"] = "network namespaces"
            yield running
    except NoHostsError as reason:
        missing("hosts", str(reason))


@dataclass(frozen=True)
class Outcome:
    """What the shop did, and what became of it."""

    made: Mapping[Key, float]
    """When each span ended."""
    spans: list[Span]
    """As the tracing backend has them."""
    gets: int
    """As Redis has counted them."""
    lookups: Mapping[str, int]
    """In Prometheus, by what was found; and so are the others."""
    lookups_by_process: Mapping[str, int]
    durations: Mapping[str, int]
    sent_by_agents: int
    taken_by_backend: int
    sampled_away: int
    kept_by: Mapping[str, int]
    """Traces, by policy."""

    @classmethod
    def of(cls, shop: Chain) -> Outcome:
        """Once nothing is on its way any more."""
        traces = "otelcol_processor_tail_sampling_count_traces_sampled"
        found = {
            "gets": shop.gets(),
            "lookups": shop.prometheus.by("cache_request_type", "cache_requests_total"),
            "lookups_by_process": shop.prometheus.by("service_instance_id", "cache_requests_total"),
            "durations": shop.prometheus.by(
                "db_operation_name", "db_client_operation_duration_seconds_count"
            ),
            "sent_by_agents": sum(one.own("otelcol_exporter_sent_spans") for one in shop.agents),
            "taken_by_backend": shop.taken_by_backend(),
            "sampled_away": sum(
                one.own(traces.replace("count", "global_count"), sampled="false")
                for one in shop.gateways
            ),
            "kept_by": {
                policy: sum(one.own(traces, policy=policy, sampled="true") for one in shop.gateways)
                for policy in (*WORTH_KEEPING, "share")
            },
        }
        shop.backend.stop()  # its file is whole then
        return cls(made=shop.made(), spans=shop.backend.spans(), **found)

    def arrived(self) -> Counter[Key]:
        return Counter((span.trace_id, span.span_id) for span in self.spans)

    def by_trace(self) -> dict[str, set[Key]]:
        found: dict[str, set[Key]] = defaultdict(set)
        for key in self.made:
            found[key[0]].add(key)
        return found

    def traces_with(self, kind: str) -> set[str]:
        """Those in which it happened."""
        numbers = range(len(self.by_trace()))
        return {_trace_id(number) for number in numbers if kind_of("a1", number) == kind}


def _trace_id(number: int) -> str:
    context = trace.get_current_span(trace_of(number)).get_span_context()
    return f"{context.trace_id:032x}"


@dataclass(frozen=True)
class Kill:
    """When it was, and how it ended."""

    time: float
    outcome: Outcome


DECISION_WAIT = 3.0
"""Seconds, of the gateways of which one is killed."""


@pytest.fixture(scope="module")
def kill(collector_binary: Path) -> Kill:
    """One gateway of two is killed while the shop is open, and is back a second later; all traces are kept."""
    variables = {"DECISION_WAIT": f"{DECISION_WAIT:g}s", "KEPT_PERCENT": "100"}
    with chain(collector_binary, **variables) as running:
        shop = running.open_shop(visits=320, rate=RATE)
        time.sleep(DECISION_WAIT + 1.5)
        # A process sends all its metrics to one of them: so it has those of two, and one of these sends differences.
        points = "otelcol_receiver_accepted_metric_points"
        gateway = max(running.gateways, key=lambda it: it.own(points))
        gateway.process.kill()
        when = time.time()
        time.sleep(1)
        gateway.start()
        running.wait_until_closed(shop)
        running.wait_until_quiet("traces", "metrics")
        return Kill(when, Outcome.of(running))


def assert_every_lookup_is_in_prometheus(outcome: Outcome) -> None:
    visits = len(outcome.by_trace())
    assert outcome.lookups["hit"] == len(Chain.PROCESSES) * visits
    assert sum(outcome.lookups.values()) == outcome.gets
    assert outcome.durations["GET"] == outcome.gets
    stampedes = len(outcome.traces_with("stampede"))
    processes = sorted(outcome.lookups_by_process.values())
    assert processes == [2 * visits, 2 * visits, 2 * visits + stampedes]


def test_no_lookup_is_missing_in_prometheus_after_a_gateway_was_killed(kill: Kill) -> None:
    assert_every_lookup_is_in_prometheus(kill.outcome)


def test_a_kill_takes_no_more_spans_than_arrive_while_a_trace_is_judged(kill: Kill) -> None:
    made, arrived = kill.outcome.made, kill.outcome.arrived()
    lost = made.keys() - arrived.keys()
    rate = len(made) / (max(made.values()) - min(made.values()))

    assert arrived.keys() <= made.keys()
    assert 0 < len(lost) <= rate * DECISION_WAIT
    # They were on the way from their application for a moment; a busy machine is slow.
    longest = DECISION_WAIT + 1 + 2
    assert all(kill.time - longest < made[key] < kill.time for key in lost)


def test_the_counters_of_those_beside_it_say_how_much_a_kill_took(kill: Kill) -> None:
    made, arrived = kill.outcome.made, kill.outcome.arrived()
    lost = len(made.keys() - arrived.keys())
    twice = arrived.total() - len(arrived)

    assert kill.outcome.sent_by_agents == len(made)
    assert lost == kill.outcome.sent_by_agents - kill.outcome.taken_by_backend + twice


@pytest.fixture(scope="module")
def judged(collector_binary: Path) -> Outcome:
    """A quarter of the traces is kept; Prometheus is away for longer than the shop is open, and agents are killed."""
    variables = {"DECISION_WAIT": "3s", "SLOW_MILLISECONDS": "1000", "KEPT_PERCENT": "25"}
    with chain(collector_binary, **variables) as running:
        shop = running.open_shop(visits=240, rate=RATE)
        time.sleep(1.5)
        running.prometheus.process.kill()
        running.wait_until_closed(shop)
        running.wait_until_quiet("traces")
        sent = sum(one.own("otelcol_exporter_sent_spans") for one in running.agents)
        for agent in running.agents:
            assert agent.own("otelcol_exporter_queue_size", data_type="metrics")
            agent.process.kill()
            agent.start()
        running.prometheus.start()
        running.wait_until_quiet("traces", "metrics")
        return replace(Outcome.of(running), sent_by_agents=sent)


def test_no_lookup_is_missing_after_prometheus_was_away_and_agents_were_killed_meanwhile(
    judged: Outcome,
) -> None:
    assert_every_lookup_is_in_prometheus(judged)


@pytest.mark.parametrize("kind", WORTH_KEEPING)
def test_every_trace_with_an_error_a_slow_call_or_a_stampede_is_kept(
    judged: Outcome, kind: str
) -> None:
    traces = judged.traces_with(kind)

    assert len(traces) == 6
    assert traces <= {span.trace_id for span in judged.spans}
    # On a busy machine others may be slow too.
    assert judged.kept_by[kind] >= 6 if kind == "slow" else judged.kept_by[kind] == 6


def test_of_the_rest_a_share_is_kept_and_counters_say_how_much(judged: Outcome) -> None:
    kept, made = {span.trace_id for span in judged.spans}, judged.by_trace().keys()
    worth = set[str]().union(*map(judged.traces_with, WORTH_KEEPING))
    rest = made - worth

    assert judged.sampled_away == len(made) - len(kept)
    # The policy has a part of the others too, which were kept anyway.
    assert len(kept & rest) <= judged.kept_by["share"] <= len(kept)
    assert 0.1 < len(kept & rest) / len(rest) < 0.4


def test_a_trace_of_two_hosts_meets_at_one_gateway_and_is_kept_or_left_as_a_whole(
    judged: Outcome,
) -> None:
    arrived = judged.arrived()
    whole = [keys <= arrived.keys() for keys in judged.by_trace().values()]

    for keys in judged.by_trace().values():
        assert keys <= arrived.keys() or keys.isdisjoint(arrived)
    assert 0 < sum(whole) < len(whole)
    assert arrived.total() == len(arrived)
    of_sampled_away = sum(
        len(keys) for keys in judged.by_trace().values() if keys.isdisjoint(arrived)
    )
    assert judged.sent_by_agents == judged.taken_by_backend + of_sampled_away


def test_prometheus_has_the_series_that_it_would_scrape_from_collector_yaml(
    collector_binary: Path,
) -> None:
    """Names and labels, values and exemplars: so rules and dashboards are the same."""
    with chain(collector_binary) as running:
        telemetry = points_of_every_kind()
        agent, path = running.agents[0].place, "/v1/metrics"
        assert agent.post(4318, path, telemetry)[0] == 200
        running.wait_until_quiet("metrics")
        with running.center.host.inside():
            http = int(running.backend.http_endpoint.rpartition(":")[2])
            assert running.center.post(http, path, telemetry)[0] == 200
            running.backend.wait_for(lambda it: it.prometheus_samples("target_info"))
            page = running.backend.prometheus_text()
        written = running.prometheus.query('{__name__=~".+"}')
        exemplars = running.prometheus.exemplars('{__name__=~".+"}')

    scraped = {
        # To Prometheus an empty label is none.
        (sample.name, frozenset((key, it) for key, it in sample.labels.items() if it)): sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    found = {
        (one["metric"].pop("__name__"), frozenset(one["metric"].items())): float(one["value"][1])
        for one in written
    }
    assert found == {key: sample.value for key, sample in scraped.items()}
    assert len(found) == 1 + 1 + 1 + (3 + 2)
    assert {one["trace_id"] for one in exemplars} == {
        sample.exemplar.labels["trace_id"] for sample in scraped.values() if sample.exemplar
    }


def points_of_every_kind() -> bytes:
    """A sum, a gauge and a histogram with an exemplar, as OTLP."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    for name, value in {
        "service.name": "shop",
        "service.instance.id": "1",
        "host.name": "a",
        "telemetry.sdk.language": "python",
    }.items():
        resource.resource.attributes.add(key=name).value.string_value = value
    scope = resource.scope_metrics.add()
    scope.scope.name, scope.scope.version = "somebody", "1"
    now = time.time_ns()
    requests = scope.metrics.add(name="cache.requests", unit="{request}").sum
    requests.aggregation_temporality, requests.is_monotonic = CUMULATIVE, True
    ratio = scope.metrics.add(name="cache.hit_ratio", unit="1").gauge
    duration = scope.metrics.add(name="db.client.operation.duration", unit="s").histogram
    duration.aggregation_temporality = CUMULATIVE
    points = [
        requests.data_points.add(as_int=3),
        ratio.data_points.add(as_double=0.5),
        duration.data_points.add(
            count=3, sum=0.006, bucket_counts=[1, 2, 0], explicit_bounds=[0.001, 0.01]
        ),
    ]
    for point in points:
        point.start_time_unix_nano, point.time_unix_nano = now - 10**9, now
        point.attributes.add(key="cache.name").value.string_value = "book"
    duration.data_points[0].exemplars.add(
        time_unix_nano=now, as_double=0.002, trace_id=b"t" * 16, span_id=b"s" * 8
    )
    return request.SerializeToString()


@pytest.mark.parametrize(
    "files",
    [
        ["agent.yaml"],
        ["agent.yaml", "agent-dns.yaml"],
        ["agent.yaml", "redis-receiver.yaml"],
        ["agent.yaml", "agent-dns.yaml", "redis-receiver.yaml"],
        ["gateway.yaml"],
    ],
    ids=" ".join,
)
def test_a_configuration_is_valid(collector_binary: Path, files: list[str]) -> None:
    done = subprocess.run(
        [collector_binary, "validate", *(f"--config={CONFIGURATION / name}" for name in files)],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ
        | {"GATEWAYS_NAME": "localhost", "REDIS_METRICS_EXPORTER": "load_balancing/metrics"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
