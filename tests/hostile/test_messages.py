"""Any message where we read one: of publishers and producers, of a server's events, of OTLP, in a recording."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from otel_redis_cache import consumed, context_of, payload_of
from otel_redis_cache.caches import Caches, FirstNames
from otel_redis_cache.cli.inbox import Arrival
from otel_redis_cache.cli.overview import Overview
from otel_redis_cache.cli.protocol import METRICS, SPANS, NotOtlpError, parse, parse_json
from otel_redis_cache.cli.recordings import HEADER, RecordingError, read
from otel_redis_cache.conventions import EVICTED, EXPIRED
from otel_redis_cache.propagation import opened, sealed
from otel_redis_cache.server.events import Listener
from otel_redis_cache.settings import Settings
from tests.cli.test_overview_of_anything import points, spans
from tests.hostile import things

many = settings(deadline=None)
PARENTS = ["00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-", "", "ff-" + "0" * 32]
payloads = st.one_of(
    things.operands,
    st.builds(
        lambda parent, rest: f'otel:{{"traceparent":"{parent}"}}\n{rest}',
        st.sampled_from(PARENTS),
        st.text(max_size=9),
    ),
    st.text(alphabet='otel:{}"\n[],1', max_size=40).map(lambda text: "otel:{" + text),
    st.binary(max_size=20).map(lambda text: b"otel:{" + text),
    st.just("otel:" + "[" * 5_000 + "\n"),
)
names = st.sampled_from(["traceparent", b"traceparent", "tracestate", "baggage", "a", 1, None])
messages = st.one_of(
    payloads,
    st.builds(things.HostileMapping),
    st.tuples(payloads, st.builds(things.HostileMapping)),
    st.dictionaries(names, st.sampled_from(PARENTS) | payloads, max_size=4),
    st.tuples(payloads, st.dictionaries(names, st.sampled_from(PARENTS) | payloads, max_size=3)),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["message", "pmessage", "smessage", "subscribe"]) | payloads,
            "pattern": payloads,
            "channel": payloads,
            "data": payloads,
        }
    ),
)


@many
@given(messages)
def test_whatever_a_consumer_is_handed_it_can_work_on(message: Any) -> None:
    assert isinstance(context_of(message), Context)
    payload_of(message)
    with consumed(message):
        pass


@many
@given(
    st.text(max_size=50) | st.binary(max_size=50),
    st.dictionaries(st.text(), st.text(), min_size=1, max_size=3),
)
def test_what_is_sealed_can_be_opened(payload: str | bytes, carrier: dict[str, str]) -> None:
    if opened(payload) is None:
        assert opened(sealed(payload, carrier)) == (carrier, payload)
    assert not get_current_span(context_of(payload)).is_recording()


class Told:
    """A subscription that gets what it is told: no real server publishes replies of any shape."""

    def __init__(self, replies: list[Any]) -> None:
        self._replies = iter(replies)

    async def ping(self) -> None: ...

    async def parse_response(self, **_: Any) -> Any:
        try:
            return next(self._replies)
        except StopIteration:
            raise asyncio.CancelledError from None


CHANNELS = {f"__keyevent@0__:{reason}".encode(): reason for reason in (EXPIRED, EVICTED)}
parts = st.sampled_from([b"message", b"subscribe", b"pong", *CHANNELS, 1, None]) | things.replies


@many
@given(st.lists(st.lists(parts, max_size=4) | things.replies, max_size=9))
def test_whatever_a_server_publishes_is_counted_by_cache_or_not_at_all(replies: list[Any]) -> None:
    counted: list[tuple[str, str]] = []
    caches = Caches(Settings(), FirstNames(), lambda: None)
    listener = Listener(
        caches.name_of, lambda cache, reason: counted.append((cache, reason)), lambda _: None
    )
    receiving = listener._receive(Told(replies), CHANNELS)
    try:
        receiving.send(None)
    except (StopIteration, asyncio.CancelledError):
        pass
    finally:
        receiving.close()
    events = [reply for reply in replies if isinstance(reply, list) and reply[:1] == [b"message"]]

    assert len(counted) <= len(events)
    assert all(len(cache) <= 64 and reason in (EXPIRED, EVICTED) for cache, reason in counted)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A message of OTLP with bytes that somebody has changed."""
    body = bytearray((draw(points() | spans())).SerializeToString())
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(body)


FIELDS = [
    *["resourceSpans", "scopeSpans", "spans", "traceId", "spanId", "name", "startTimeUnixNano"],
    *["resourceMetrics", "scopeMetrics", "metrics", "sum", "dataPoints", "asInt", "attributes"],
    *["key", "value", "stringValue", "events", "status", "\ud800"],
]
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3)
    ),
    max_leaves=12,
).map(lambda found: json.dumps(found).encode())


@many
@given(
    st.sampled_from([METRICS, SPANS]),
    st.one_of(mangled(), st.binary(max_size=60)).map(lambda body: (parse, body))
    | st.one_of(documents, st.binary(max_size=30)).map(lambda text: (parse_json, text)),
)
def test_whatever_is_sent_as_otlp_is_looked_at_or_refused_in_one_clear_line(
    service: str, sent: tuple[Any, bytes]
) -> None:
    parse_it, body = sent
    try:
        export = parse_it(service, body)
    except NotOtlpError as error:
        line = str(error)
        assert "OTLP" in line
        assert "\n" not in line
        return
    overview = Overview(lambda: 1_800_000_000.0)
    overview.note(export, is_dropped=False)
    overview.read(Arrival(overview.now(), export))
    view = overview.view()

    assert len(view.caches) + len(view.servers) + len(view.pools) <= 3 * export.count


@cache
def tape() -> Path:
    handle, name = tempfile.mkstemp(prefix="otel-redis-cache-", suffix=".recording")
    os.close(handle)
    return Path(name)


@many
@given(st.sampled_from([HEADER, b"", HEADER[:-1], HEADER[:-2] + b"9\n"]), st.binary(max_size=200))
def test_whatever_stands_in_a_recording_is_played_or_refused_in_one_clear_line(
    header: bytes, rest: bytes
) -> None:
    tape().write_bytes(header + rest)
    try:
        arrivals = list(read(tape()))
    except RecordingError as error:
        line = str(error)
        assert str(tape()) in line
        assert "\n" not in line
    else:
        assert len(arrivals) <= len(rest)
    finally:
        tape().unlink()
