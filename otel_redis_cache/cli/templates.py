"""The files of `collector-config` that run a Collector, Prometheus and Grafana, for one endpoint.

There is one source of them: `collector-config`, which a wheel carries along. What is rendered is
that text, with other addresses.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from otel_redis_cache.cli.reach import place_of

EXAMPLE = "otel.example:4317"

IN_A_WHEEL = Path(__file__).with_name("collector-config")
IN_A_CHECKOUT = Path(__file__).parents[2] / "collector-config"

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII | re.IGNORECASE)

Places = Mapping[str, str]
"""What stands in a file -> what is written there."""

KINDS: Mapping[str, Mapping[str, Places]] = {
    "collector": {
        "collector.yaml": {
            "OTLP_GRPC_ADDRESS:-127.0.0.1:4317}": "OTLP_GRPC_ADDRESS:-{otlp}}",
            "OTLP_HTTP_ADDRESS:-127.0.0.1:4318}": "OTLP_HTTP_ADDRESS:-{at}:4318}",
            "PROMETHEUS_ADDRESS:-127.0.0.1:8889}": "PROMETHEUS_ADDRESS:-{at}:8889}",
            "COLLECTOR_METRICS_HOST:-127.0.0.1}": "COLLECTOR_METRICS_HOST:-{host}}",
        },
        "redis-receiver.yaml": {},
        "two-backends.yaml": {},
    },
    "prometheus": {
        "prometheus/prometheus.yaml": {},
        "prometheus/rules.yaml": {},
        "prometheus/thresholds.yaml": {},
        "prometheus/alerts.yaml": {},
        "prometheus/targets/applications.yaml": {'"127.0.0.1:8889"': '"{at}:8889"'},
        "prometheus/targets/collectors.yaml": {'"127.0.0.1:8888"': '"{at}:8888"'},
    },
    "grafana": {
        "grafana/dashboards/overview.json": {},
        "grafana/dashboards/cache.json": {},
        "grafana/dashboards/server.json": {},
        "grafana/dashboards/connections.json": {},
        "grafana/provisioning/dashboards/dashboards.yaml": {},
        "grafana/provisioning/datasources/datasources.yaml": {
            "url: $PROMETHEUS_URL": "url: http://{at}:9090",
            "url: $TEMPO_URL": "url: http://{at}:3200",
            "url: $JAEGER_URL": "url: http://{at}:16686",
        },
    },
}
"""The files of each kind, and what the endpoint changes in them."""


class EndpointError(ValueError):
    """This is no endpoint; the text says why, without a word of what may be secret."""


@dataclass(frozen=True)
class Endpoint:
    """Where applications send OTLP over gRPC."""

    host: str
    port: int

    @property
    def words(self) -> Mapping[str, str]:
        """What is written in places."""
        otlp = place_of(self.host, self.port)
        return {"host": self.host, "at": otlp.removesuffix(f":{self.port}"), "otlp": otlp}


def endpoint_of(text: str) -> Endpoint:
    """Read `host:port`, with or without `http://`.

    Raises:
        EndpointError: it is something else.
    """
    scheme, separator, rest = text.rpartition("://")
    if "@" in text:
        raise EndpointError(
            "has a user or a password in it, which these files would show: "
            f"give host and port alone, such as {EXAMPLE}"
        )
    if separator and scheme.lower() != "http":
        known = f" {scheme}" if _SCHEME.fullmatch(scheme) else ""
        raise EndpointError(
            f"has the scheme{known}, which the Collector of these files does not speak: "
            f"give http:// or none, such as {EXAMPLE}"
        )
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise EndpointError(f"has no port from 1 to 65535: give one, such as {EXAMPLE}") from None
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise EndpointError(f"goes on behind its port: give host and port alone, such as {EXAMPLE}")
    if not port:
        raise EndpointError(f"has no port from 1 to 65535: give one, such as {EXAMPLE}")
    if not (_NAME.fullmatch(host) or _is_ipv6(host)):
        raise EndpointError(
            f"has no host that such files may name: give a name or an address, such as {EXAMPLE}"
        )
    return Endpoint(host, port)


def render(kind: str, endpoint: Endpoint) -> Iterator[tuple[str, bytes]]:
    """The path of each file of a kind, below a directory of yours, and what is in it."""
    source = IN_A_WHEEL if IN_A_WHEEL.is_dir() else IN_A_CHECKOUT
    for path, places in KINDS[kind].items():
        text = (source / path).read_text(encoding="utf-8")
        for there, written in places.items():
            text = text.replace(there, _filled(written, endpoint.words))
        yield path, text.encode()


def _filled(text: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", word)
    return text


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False
