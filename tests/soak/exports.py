"""What the Collector has got, read from its files while they grow, and removed once it is read."""

from __future__ import annotations

from collections import Counter, OrderedDict
from pathlib import Path
from typing import TypeAlias

import msgspec

from tests.real.collector import Collector
from tests.soak.accounts import Account, Key

REMEMBERED = 200_000
"""Spans by whose identifiers a second copy is known: an exporter that had no answer sends them again within seconds."""


class _Value(msgspec.Struct):
    stringValue: str = ""  # noqa: N815 - as OTLP calls it
    intValue: str | int = ""  # noqa: N815

    @property
    def text(self) -> str:
        return self.stringValue or str(self.intValue)


class _Attribute(msgspec.Struct):
    key: str
    value: _Value


class _Span(msgspec.Struct):
    spanId: str  # noqa: N815
    name: str
    attributes: list[_Attribute] = []


class _ScopeSpans(msgspec.Struct):
    spans: list[_Span] = []


class _ResourceSpans(msgspec.Struct):
    scopeSpans: list[_ScopeSpans] = []  # noqa: N815


class _Traces(msgspec.Struct):
    resourceSpans: list[_ResourceSpans] = []  # noqa: N815


class _Point(msgspec.Struct):
    attributes: list[_Attribute] = []
    asInt: str | int = 0  # noqa: N815
    count: str | int = 0

    @property
    def number(self) -> int:
        return int(self.asInt) or int(self.count)


class _Data(msgspec.Struct):
    dataPoints: list[_Point] = []  # noqa: N815


class _Metric(msgspec.Struct):
    name: str
    sum: _Data | None = None
    histogram: _Data | None = None


class _ScopeMetrics(msgspec.Struct):
    metrics: list[_Metric] = []


class _ResourceMetrics(msgspec.Struct):
    scopeMetrics: list[_ScopeMetrics] = []  # noqa: N815


class _Points(msgspec.Struct):
    resourceMetrics: list[_ResourceMetrics] = []  # noqa: N815


Attributes: TypeAlias = dict[str, str]
Series: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]


class Exports:
    """Counts spans, and keeps the newest point of each series."""

    def __init__(self, collector: Collector) -> None:
        self._directory = collector.directory
        self._traces = msgspec.json.Decoder(_Traces)
        self._points = msgspec.json.Decoder(_Points)
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._killed = 0
        self.spans: Counter[Key] = Counter()
        """(name, error): each once."""
        self.copies = 0
        """Spans that came once more."""
        self.newest: dict[Series, int] = {}
        self.torn = 0
        """Lines that a Collector was killed at; whoever sent them had no answer."""

    def after_a_kill(self) -> None:
        """Put aside what a killed Collector has written: the last line may be torn."""
        self._killed += 1
        for name in ("traces", "metrics"):
            path = self._directory / f"{name}.jsonl"
            if path.exists():
                path.rename(self._directory / f"{name}-killed-{self._killed}.jsonl")

    def read(self) -> None:
        """What is complete."""
        for path in sorted(self._directory.glob("*-*.jsonl")):
            self._read(path, may_be_torn="-killed-" in path.name)
            path.unlink()

    def read_all(self) -> None:
        """What is there once the Collector has stopped."""
        self.read()
        for name in ("traces", "metrics"):
            path = self._directory / f"{name}.jsonl"
            if path.exists():
                self._read(path, may_be_torn=False)

    def _read(self, path: Path, *, may_be_torn: bool) -> None:
        with path.open("rb") as file:
            for line in file:
                if not line.strip():
                    continue
                try:
                    self._read_line(path.name, line)
                except msgspec.DecodeError:
                    if not may_be_torn or line.endswith(b"\n"):
                        raise
                    self.torn += 1

    def _read_line(self, name: str, line: bytes) -> None:
        if name.startswith("traces"):
            traces = self._traces.decode(line)
            for resource in traces.resourceSpans:
                for scope in resource.scopeSpans:
                    for span in scope.spans:
                        self._count(span)
            return
        points = self._points.decode(line)
        for resource in points.resourceMetrics:
            for scope in resource.scopeMetrics:
                for metric in scope.metrics:
                    self._keep(metric)

    def _count(self, span: _Span) -> None:
        if span.spanId in self._recent:
            self.copies += 1
            return
        self._recent[span.spanId] = None
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        errors = (it.value.text for it in span.attributes if it.key == "error.type")
        self.spans[span.name, next(errors, "")] += 1

    def _keep(self, metric: _Metric) -> None:
        data = metric.sum or metric.histogram
        for point in data.dataPoints if data else ():
            attributes = sorted((it.key, it.value.text) for it in point.attributes)
            series = metric.name, tuple(attributes)
            # Files may be read in another order than they were written; a count never falls.
            self.newest[series] = max(point.number, self.newest.get(series, 0))

    def total(self, metric: str) -> int:
        return sum(number for (name, _), number in self.newest.items() if name == metric)

    def by(self, metric: str, *attributes: str) -> Counter[Key]:
        """The newest values of a metric, summed by some of its attributes."""
        found: Counter[Key] = Counter()
        for (name, pairs), number in self.newest.items():
            if name == metric:
                said = dict(pairs)
                found[tuple(said.get(it, "") for it in attributes)] += number
        return +found

    def account(self, routes: dict[str, int]) -> Account:
        """What the metrics say, in the words of the application."""
        route_of = {str(port): route for route, port in routes.items()}

        def routed(metric: str, *attributes: str) -> Counter[Key]:
            counts = self.by(metric, "server.port", *attributes)
            return Counter({(route_of[port], *rest): n for (port, *rest), n in counts.items()})

        account = Account()
        account.operations = routed(
            "db.client.operation.duration", "db.operation.name", "error.type"
        )
        account.lookups = routed("cache.requests", "cache.name", "cache.request.type")
        account.writes = routed(
            "cache.writes", "cache.name", "cache.write.ttl", "cache.write.result"
        )
        account.removals = routed(
            "cache.invalidation.requests", "cache.name", "cache.invalidation.effect"
        )
        account.removed = routed("cache.invalidations", "cache.name")
        account.invalidations = self.by(
            "cache.invalidation.duration", "cache.name", "cache.invalidation.effect"
        )
        account.messages = routed(
            "redis.client.pubsub.messages", "redis.client.pubsub.message.direction"
        )
        return account
