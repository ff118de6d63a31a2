"""Whether this process reaches its servers and its telemetry is complete: ``health()``.

It asks nobody: the calls of the application have told already.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal

from typing_extensions import TypedDict  # of opentelemetry-api; pydantic needs it below 3.12

from otel_redis_cache import conventions as names
from otel_redis_cache import tallies
from otel_redis_cache.instrumentor import RedisCacheInstrumentor, contain
from otel_redis_cache.outages import TIMEOUTS, Server, servers_of
from otel_redis_cache.signals import raised_by_handler
from otel_redis_cache.tallies import Tallies

MAX_REASONS = 20

Status = Literal["healthy", "degraded", "unhealthy"]


class HealthReason(TypedDict):
    """Why a process is not healthy."""

    code: Annotated[str, f"one of {', '.join(f'`{code}`' for code in names.HEALTH_CODES)}"]
    text: Annotated[str, "for people; names servers as configured, never a key"]
    since: Annotated[str | None, "ISO 8601, UTC, where that is known"]


class Health(TypedDict):
    """Whether this process reaches its servers, and its telemetry is complete."""

    status: Annotated[Status, "`healthy`, `degraded` or `unhealthy`"]
    reasons: Annotated[list[HealthReason], f"none when healthy; at most {MAX_REASONS}"]


def health() -> Health:
    """Whether this process reaches its servers, and its telemetry is complete.

    ``unhealthy``: every server in use within the last ten minutes is in an outage. ``degraded``:
    some are, or time out; or telemetry is incomplete. Sends nothing to any server, and needs none
    to have been used; takes no time worth mentioning, does no I/O and never raises. The codes of
    its reasons: ``docs/snapshot.md``.
    """
    try:
        used = tallies.in_use()
        now = time.perf_counter_ns()
        servers = servers_of((counts.outages for counts in used), now)
        out = [server for server in servers if server.is_out(now)]
        reasons = [*_of_outages(out), *_of_timeouts(servers), *_of_telemetry(used)]
    except Exception as fault:
        if raised_by_handler(fault):
            raise
        contain("health", fault)
        return Health(status="degraded", reasons=[_reason(names.FAULTS, "health() failed")])
    status: Status = "degraded" if reasons else "healthy"
    if servers and len(out) == len(servers):
        status = "unhealthy"
    return Health(status=status, reasons=reasons[:MAX_REASONS])


def _of_outages(servers: list[Server]) -> list[HealthReason]:
    """The longest first."""
    begun = sorted(
        (server.outage for server in servers if server.outage is not None),
        key=lambda outage: outage.began,
    )
    return [
        _reason(
            names.OUTAGE,
            f"{outage.target} does not answer ({outage.error_type})",
            outage.began_at,
        )
        for outage in begun
    ]


def _of_timeouts(servers: list[Server]) -> list[HealthReason]:
    return [
        _reason(
            names.TIMEOUTS,
            f"{server.target}: {server.timeouts} time-outs in a row; {TIMEOUTS} are an outage",
        )
        for server in servers
        if server.outage is None and server.timeouts
    ]


def _of_telemetry(used: list[Tallies]) -> list[HealthReason]:
    reasons: list[HealthReason] = []
    observers = RedisCacheInstrumentor.observers()
    if all(observer.is_idle for observer in observers):
        reasons.append(_reason(names.NOT_INSTRUMENTED, "no client is watched"))
    if any(observer.is_off for observer in observers):
        reasons.append(
            _reason(names.SWITCHED_OFF, "another instrumentation is active (on_conflict=off)")
        )
    faults = {step: n for counts in used for step, n in counts.errors.own_items()}
    if faults:
        reasons.append(
            _reason(
                names.FAULTS,
                f"telemetry is incomplete: faults were contained in {', '.join(sorted(faults))}",
            )
        )
    return reasons


def _reason(code: str, text: str, since: str | None = None) -> HealthReason:
    return HealthReason(code=code, text=text, since=since)
