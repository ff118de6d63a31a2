"""The trace context inside of messages: sent on request only, read by helpers, taken out again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.propagate import get_global_textmap, set_global_textmap
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from otel_redis_cache import RedisCacheInstrumentor, consumed, context_of, payload_of
from tests.integration.messaging import CLIENTS, closed, connect, done, messages_of
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of
from tests.safety.application import NO_RETRY


@pytest.fixture(params=CLIENTS)
async def client(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[Any]:
    made = connect(request.param, server)
    yield made
    await closed(made)


@pytest.fixture
def other_propagator() -> Iterator[None]:
    before = get_global_textmap()
    set_global_textmap(OneHeader())
    yield
    set_global_textmap(before)


class OneHeader(TextMapPropagator):
    """Carries the span in a header of its own, and something that is no ASCII on demand."""

    @property
    def fields(self) -> set[str]:
        return {"x-span"}

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        found = trace.get_current_span(context).get_span_context()
        text = "ö" if baggage.get_baggage("odd", context) else f"{found.trace_id}:{found.span_id}"
        setter.set(carrier, "x-span", text)

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        (text,) = getter.get(carrier, "x-span") or [""]
        if not text:
            return context or Context()
        trace_id, span_id = map(int, text.split(":"))
        found = trace.SpanContext(trace_id, span_id, is_remote=True)
        return trace.set_span_in_context(trace.NonRecordingSpan(found), context)


def context_in(span: Any) -> trace.SpanContext:
    found: trace.SpanContext = span.get_span_context()
    return found


def traceparent(span: ReadableSpan) -> str:
    context = context_in(span)
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def span_in(message: Any) -> tuple[int, int]:
    found = trace.get_current_span(context_of(message)).get_span_context()
    return found.trace_id, found.span_id


def ids(span: Any) -> tuple[int, int]:
    return context_in(span).trace_id, context_in(span).span_id


def linked(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


async def only_entry(client: Any, stream: str) -> Any:
    with suppress_instrumentation():
        (entry,) = await done(client.xrange(stream))
    return entry


# Streams.


async def test_an_entry_carries_the_span_that_added_it(client: Any, recording: Recording) -> None:
    recording.instrument(propagate_context=True)
    fields = {"total": 5, "currency": "EUR"}
    await done(client.xadd("orders", fields))
    entry = await only_entry(client, "orders")
    added = recording.span()

    assert entry[1] == {
        b"total": b"5",
        b"currency": b"EUR",
        b"traceparent": traceparent(added).encode(),
    }
    assert span_in(entry) == span_in(entry[1]) == ids(added)
    assert payload_of(entry) == payload_of(entry[1]) == {b"total": b"5", b"currency": b"EUR"}
    assert fields == {"total": 5, "currency": "EUR"}
    assert (
        attributes_of(added)["db.query.text"] == "XADD ? ? ? ? ? ?"
    )  # as the application wrote it


async def test_nothing_is_changed_without_the_setting(client: Any, recording: Recording) -> None:
    recording.instrument(metrics="all")
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await done(pubsub.subscribe("news"))
    with recording.tracer.start_as_current_span("request"):
        await done(client.xadd("orders", {"a": "b"}))
        await done(client.publish("news", "x"))
    (message,) = await messages_of(pubsub, 1)
    await closed(pubsub)
    entry = await only_entry(client, "orders")

    assert entry[1] == {b"a": b"b"}
    assert message["data"] == b"x"
    assert context_of(entry) == context_of(message) == {}
    assert (payload_of(entry), payload_of(message)) == ({b"a": b"b"}, b"x")


async def test_without_a_span_nothing_is_sent_along(client: Any, recording: Recording) -> None:
    recording.instrument(propagate_context=True, traces=False, metrics="none")
    await done(client.xadd("orders", {"a": "b"}))
    with recording.tracer.start_as_current_span("request") as request:
        await done(client.xadd("bills", {"a": "b"}))

    assert (await only_entry(client, "orders"))[1] == {b"a": b"b"}
    assert span_in(await only_entry(client, "bills")) == ids(request)


async def test_a_span_that_is_not_sampled_is_sent_along_as_such(client: Any) -> None:
    recording = Recording(ALWAYS_OFF)
    recording.instrument(propagate_context=True)
    await done(client.xadd("orders", {"a": "b"}))
    RedisCacheInstrumentor().uninstrument()
    entry = await only_entry(client, "orders")

    assert recording.spans() == []
    sent = trace.get_current_span(context_of(entry)).get_span_context()
    assert sent.is_valid
    assert not sent.trace_flags.sampled


async def test_state_and_baggage_go_along(client: Any, recording: Recording) -> None:
    recording.instrument(propagate_context=True, query_text="keys")
    before = context_api.get_current()
    context_api.attach(baggage.set_baggage("tenant", "tkn,7=ö"))
    await done(client.xadd("orders", {"a": "b"}))
    context_api.attach(before)
    entry = await only_entry(client, "orders")

    assert baggage.get_baggage("tenant", context_of(entry)) == "tkn,7=ö"
    assert payload_of(entry) == {b"a": b"b"}
    assert "tkn" not in recording.everything()


async def test_whatever_propagator_is_set_is_used(
    client: Any, recording: Recording, other_propagator: None
) -> None:
    recording.instrument(propagate_context=True)
    await done(client.xadd("orders", {"a": "b"}))
    entry = await only_entry(client, "orders")
    added = recording.span()

    assert entry[1].keys() == {b"a", b"x-span"}
    assert span_in(entry) == ids(added)
    assert payload_of(entry) == {b"a": b"b"}

    before = context_api.get_current()
    context_api.attach(baggage.set_baggage("odd", "yes"))
    await done(client.xadd("odd", {"a": "b"}))
    context_api.attach(before)

    assert (await only_entry(client, "odd"))[1] == {b"a": b"b"}  # only plain ASCII is sent along


FORMS: list[tuple[Any, ...]] = [
    ("XADD", "orders", "*", "a", "b"),
    ("XADD orders", "*", "a", "b"),
    (b"xadd", b"orders", b"*", b"a", memoryview(b"b")),
    ("XADD", "orders", "5-1", "a", "b"),
    ("XADD", "orders", "5-*", "a", "b"),
    ("XADD", "orders", 5, "a", "b"),
    ("XADD", "orders", "MAXLEN", 10, "*", "a", "b"),
    ("XADD", "orders", "maxlen", "~", 10, "LIMIT", 5, "*", "a", "b"),
    ("XADD", "orders", "MINID", "=", "1-0", "*", "a", "b"),
    ("XADD", "orders", "NOMKSTREAM", "MAXLEN", "=", "10", "9-9", "a", "b"),
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_of_xadd_carries_it(
    server: RedisServer, recording: Recording, form: tuple[Any, ...]
) -> None:
    with connect("redis", server) as client:
        if "NOMKSTREAM" in form:
            client.xadd("orders", {"first": 1}, id="1-1")
        recording.instrument(propagate_context=True)
        client.execute_command(*form)
        _, fields = client.xrange("orders")[-1]

    assert fields.keys() == {b"a", b"traceparent"}
    assert fields[b"a"] == b"b"
    assert server.commandstats()["xadd"] == 1 + ("NOMKSTREAM" in form)


@pytest.mark.parametrize(
    "form",
    [
        ("XADD", "orders"),
        ("XADD", "orders", "*"),
        ("XADD", "orders", "*", "a"),
        ("XADD", "orders", "*", "a", "b", "c"),
        ("XADD", "orders", "no-id", "a", "b"),
        ("XADD", "orders", "MAXLEN", "*", "a", "b"),
        ("XADD", "orders", "NEWOPTION", "*", "a", "b"),
        ("PUBLISH", "news"),
        ("PUBLISH", "news", "x", "y"),
        ("PUBLISH",),
    ],
    ids=str,
)
def test_what_is_refused_is_refused_in_the_same_words(
    server: RedisServer, recording: Recording, form: tuple[Any, ...]
) -> None:
    def said() -> str:
        with connect("redis", server) as client, pytest.raises(Exception) as failed:
            client.execute_command(*form)
        return str(failed.value)

    undisturbed = said()
    recording.instrument(propagate_context=True)

    assert said() == undisturbed
    assert server.call("EXISTS", "orders") == 0


async def test_an_entry_that_has_a_context_keeps_its_own(client: Any, recording: Recording) -> None:
    recording.instrument(propagate_context=True)
    own = {b"a": b"b", b"traceparent": b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"}
    await done(client.xadd("orders", own))
    entry = await only_entry(client, "orders")

    assert entry[1] == own
    assert span_in(entry) == (int("1" * 32, 16), int("2" * 16, 16))


async def test_a_field_that_happens_to_have_such_a_name_stays(
    client: Any, recording: Recording
) -> None:
    recording.instrument(propagate_context=True)
    await done(client.xadd("flights", {"passenger": "7", "baggage": "2"}))
    entry = await only_entry(client, "flights")

    assert entry[1] == payload_of(entry) == {b"passenger": b"7", b"baggage": b"2"}


# Pub/Sub.


@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.parametrize("name", CLIENTS)
async def test_a_message_carries_the_span_that_published_it(
    server: RedisServer, recording: Recording, name: str, decoded: bool
) -> None:
    recording.instrument(propagate_context=True)
    client = connect(name, server, decode_responses=decoded)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await done(pubsub.subscribe("news"))
    payloads = ["héllo\nworld", b"bytes\n", "", "otel:{", 'otel:{"a":1}\nno envelope']
    for payload in payloads:
        assert await done(client.publish("news", payload)) == 1
    messages = await messages_of(pubsub, len(payloads))
    await closed(pubsub)
    await closed(client)
    sent = recording.spans()

    for span, message, payload in zip(sent, messages, payloads, strict=True):
        plain = payload.encode() if isinstance(payload, str) else payload
        enveloped = b'otel:{"traceparent":"%s"}\n%s' % (traceparent(span).encode(), plain)
        assert message["data"] == (enveloped.decode() if decoded else enveloped)
        assert payload_of(message) == (plain.decode() if decoded else plain)
        assert payload_of(message["data"]) == payload_of(message)
        assert span_in(message) == span_in(message["data"]) == ids(span)
        assert attributes_of(span)["db.query.text"] == "PUBLISH ? ?"


async def test_bytes_that_are_no_text_are_sent_as_they_are(
    client: Any, recording: Recording
) -> None:
    recording.instrument(propagate_context=True)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await done(pubsub.subscribe("news"))
    payload = bytes(range(256)) * 100
    await done(client.publish("news", payload))
    (message,) = await messages_of(pubsub, 1)
    await closed(pubsub)

    assert payload_of(message) == payload
    assert span_in(message) == ids(recording.span())


class Escaping(str):
    """As the markup of template engines: what stands before it is escaped too."""

    __slots__ = ()

    def __radd__(self, other: str) -> str:
        return other.replace('"', "&quot;") + str(self)


async def test_other_payloads_are_left_alone(client: Any, recording: Recording) -> None:
    recording.instrument(propagate_context=True)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await done(pubsub.subscribe("news"))
    payloads = [5, 1.5, memoryview(b"view"), Escaping("<b>")]
    for payload in payloads:
        await done(client.publish("news", payload))
    messages = await messages_of(pubsub, len(payloads))
    await closed(pubsub)

    assert [message["data"] for message in messages] == [b"5", b"1.5", b"view", b"<b>"]
    assert all(context_of(message) == {} for message in messages)


async def test_a_message_that_is_passed_on_keeps_its_first_context(
    client: Any, recording: Recording
) -> None:
    recording.instrument(propagate_context=True)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await done(pubsub.subscribe("news"))
    await done(client.publish("news", "x"))
    (first,) = await messages_of(pubsub, 1)
    await done(client.publish("news", first["data"]))
    (second,) = await messages_of(pubsub, 1)
    await closed(pubsub)

    assert second["data"] == first["data"]
    assert payload_of(second) == b"x"


# Batches.


@pytest.mark.parametrize("transaction", [True, False])
async def test_what_a_batch_sends_carries_the_span_of_the_batch(
    client: Any, recording: Recording, transaction: bool
) -> None:
    recording.instrument(propagate_context=True)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await done(pubsub.subscribe("news"))
    pipe = client.pipeline(transaction=transaction)
    pipe.xadd("orders", {"a": "b"})
    pipe.get("user:1")
    pipe.publish("news", "x")
    replies = await done(pipe.execute())
    entry = await only_entry(client, "orders")
    (message,) = await messages_of(pubsub, 1)
    await closed(pubsub)
    batch = recording.span()

    assert replies == [entry[0], None, 1]
    assert span_in(entry) == span_in(message) == ids(batch)
    assert (payload_of(entry), payload_of(message)) == ({b"a": b"b"}, b"x")
    assert attributes_of(batch)["db.query.text"] == "XADD ? ? ? ?; GET ?; PUBLISH ? ?"


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_batch_that_could_not_be_sent_may_be_sent_again(
    server: RedisServer, recording: Recording, name: str
) -> None:
    recording.instrument(propagate_context=True)
    retry: Any = {} if "asyncio" in name or name == "valkey" else {"retry": NO_RETRY}
    client = connect(name, server, **retry)
    pipe = client.pipeline()
    pipe.xadd("orders", {"a": "b"})
    queued = list(pipe.command_stack)
    server.kill()
    with pytest.raises(Exception, match=r"Connection|connect"):
        await done(pipe.execute())
    left = list(pipe.command_stack)
    server.restart()
    await done(pipe.execute())
    entry = await only_entry(client, "orders")
    await closed(client)
    failed, sent = recording.spans()

    assert left == queued
    assert failed.status.status_code is StatusCode.ERROR
    assert span_in(entry) == ids(sent)
    assert entry[1].keys() == {b"a", b"traceparent"}


@pytest.mark.parametrize("transaction", [True, False])
async def test_an_error_in_a_batch_names_the_command_as_it_was_queued(
    client: Any, server: RedisServer, recording: Recording, transaction: bool
) -> None:
    server.call("SET", "orders", "no stream")

    async def said() -> str:
        pipe = client.pipeline(transaction=transaction)
        pipe.get("user:1")
        pipe.xadd("orders", {"a": "b"}, id="5-1")
        with pytest.raises(Exception, match="WRONGTYPE") as failed:
            await done(pipe.execute())
        return str(failed.value)

    undisturbed = await said()
    recording.instrument(propagate_context=True)

    assert await said() == undisturbed
    assert "XADD orders 5-1 a b" in undisturbed


async def test_an_error_while_a_transaction_is_queued_names_it_so_too(
    client: Any, server: RedisServer, recording: Recording
) -> None:
    async def said() -> str:
        pipe = client.pipeline()
        pipe.xadd("orders", {"a": "b"}, id="5-1")
        with pytest.raises(Exception, match=r"Command # 1 .*memory") as failed:
            await done(pipe.execute())
        return str(failed.value)

    server.call("CONFIG", "SET", "maxmemory", "1")
    try:
        undisturbed = await said()
        recording.instrument(propagate_context=True)
        assert await said() == undisturbed
    finally:
        server.call("CONFIG", "SET", "maxmemory", "0")


async def test_what_is_sent_at_once_while_watching_carries_its_own_span(
    client: Any, recording: Recording
) -> None:
    recording.instrument(propagate_context=True)
    pipe = client.pipeline()
    await done(pipe.watch("user:1"))
    await done(pipe.xadd("orders", {"a": "b"}))
    pipe.multi()
    pipe.xadd("bills", {"a": "b"})
    await done(pipe.execute())
    spans = {span.name: span for span in recording.spans()}
    queued = next(span for span in recording.spans()[::-1] if "XADD" in span.name)

    assert "WATCH" in spans
    assert span_in(await only_entry(client, "bills")) == ids(queued)
    assert span_in(await only_entry(client, "orders")) == ids(recording.spans()[1])


def test_a_hook_sees_what_the_application_sent(server: RedisServer, recording: Recording) -> None:
    seen: list[Any] = []
    recording.instrument(
        propagate_context=True, request_hook=lambda _span, _client, args, _kwargs: seen.append(args)
    )
    with connect("redis", server) as client:
        client.publish("news", "x")
        pipe = client.pipeline().xadd("orders", {"a": "b"}, id="5-1")
        pipe.execute()

    assert seen == [["PUBLISH", "news", "x"], [("XADD", "orders", "5-1", "a", "b")]]


# Consumers.


async def test_the_span_of_a_consumer_is_linked_to_the_producers(
    client: Any, recording: Recording
) -> None:
    recording.instrument(propagate_context=True, channels="news=news:*")
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await done(pubsub.subscribe("news:1"))
    await done(client.publish("news:1", "x"))
    await done(client.xadd("orders", {"a": "b"}))
    (message,) = await messages_of(pubsub, 1)
    await closed(pubsub)
    entry = await only_entry(client, "orders")
    with consumed(message) as outer:
        assert trace.get_current_span() is outer
        await done(client.get("user:1"))
    with recording.tracer.start_as_current_span("worker") as worker:
        with consumed(entry, "orders"):
            pass
        assert trace.get_current_span() is worker
    published, added, inside, first, second = recording.spans()

    assert (first.name, second.name) == ("process news", "process orders")
    assert first.kind is second.kind is SpanKind.CONSUMER
    assert linked(first) == [ids(published)]
    assert linked(second) == [ids(added)]
    assert first.parent is None
    assert inside.parent is not None
    assert second.parent is not None
    assert inside.parent.span_id == context_in(first).span_id
    assert second.parent.span_id == worker.get_span_context().span_id
    assert attributes_of(first) == {
        "messaging.system": "redis",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "news",
    }


class WorkError(Exception):
    """An application's own."""


def test_an_exception_of_the_work_goes_on_as_it_came(recording: Recording) -> None:
    recording.instrument()
    error = WorkError("secret")
    with pytest.raises(WorkError) as raised, consumed(("1-1", {"a": "b"})):
        raise error
    span = recording.span()

    assert raised.value is error
    assert span.status.status_code is StatusCode.ERROR
    assert attributes_of(span)["error.type"].endswith("WorkError")
    assert span.links == ()
    assert "secret" not in recording.everything()


def test_consumers_run_where_nothing_is_instrumented() -> None:
    with consumed(("1-1", {"a": "b"})) as span:
        span.set_attribute("order", 1)
        assert not trace.get_current_span().get_span_context().is_valid

    assert not span.is_recording()


@pytest.mark.parametrize("settings", [{"traces": False}, {"require_parent_span": True}], ids=str)
def test_settings_decide_whether_consumers_make_spans(
    recording: Recording, settings: dict[str, Any]
) -> None:
    recording.instrument(**settings)
    with consumed("x"):
        pass
    with recording.tracer.start_as_current_span("worker"), consumed("x"):
        pass

    assert len(recording.spans()) == ("require_parent_span" in settings)


_SCALARS = st.one_of(st.none(), st.integers(), st.binary(), st.text())
_NAMES = st.sampled_from(["type", "data", "channel", "pattern", "traceparent", b"traceparent", 5])
_ANYTHING = st.one_of(
    _SCALARS,
    st.binary().map(lambda tail: b"otel:{" + tail),
    st.text().map(lambda tail: 'otel:{"' + tail),
    st.dictionaries(_NAMES, _SCALARS),
    st.lists(_SCALARS),
    st.tuples(_SCALARS, st.dictionaries(_NAMES, _SCALARS)),
)


@given(_ANYTHING)
def test_helpers_take_anything(message: Any) -> None:
    before = trace.get_current_span()

    assert isinstance(context_of(message), Context)
    payload_of(message)
    with consumed(message):
        pass
    assert trace.get_current_span() is before


@given(st.one_of(_SCALARS, st.dictionaries(_NAMES, st.just("x"), max_size=3)))
def test_what_carries_no_context_is_its_own_payload(message: Any) -> None:
    assert context_of(message) == {}
    assert payload_of(message) is message


PRODUCER = """
import json, sys
import redis
from tests.recording import Recording

recording = Recording()
recording.instrument(propagate_context=True)
with redis.Redis(port=int(sys.argv[1])) as client:
    client.xadd("orders", {"total": 5})
    client.publish("news", "hello")
contexts = [span.get_span_context() for span in recording.spans()]
print(json.dumps([f"{c.trace_id:x}:{c.span_id:x}" for c in contexts]))
"""

CONSUMER = """
import json, sys
import redis
from otel_redis_cache import consumed, payload_of
from tests.recording import Recording

recording = Recording()
recording.instrument(exclude_commands="XGROUP CREATE,XREADGROUP")
payloads = []
with redis.Redis(port=int(sys.argv[1]), decode_responses=True) as client:
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("news")
    pubsub.get_message(timeout=5)
    client.xgroup_create("orders", "billing", mkstream=True)
    print("ready", flush=True)
    ((_, (entry,)),) = client.xreadgroup("billing", "me", {"orders": ">"}, block=4_000)
    while not (message := pubsub.get_message(timeout=1)):
        pass
    for found in (entry, message):
        with consumed(found):
            payloads.append(payload_of(found))
links = [f"{l.context.trace_id:x}:{l.context.span_id:x}" for s in recording.spans() for l in s.links]
print(json.dumps([links, payloads]))
"""


def test_a_consumer_in_another_process_is_linked_to_its_producer(server: RedisServer) -> None:
    root = Path(__file__).parents[2]

    def start(program: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, str(server.port)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)

    with start(CONSUMER) as consumer:
        assert consumer.stdout is not None
        assert consumer.stdout.readline() == "ready\n"
        with start(PRODUCER) as producer:
            sent, _ = producer.communicate(timeout=30)
        received, _ = consumer.communicate(timeout=30)
    links, payloads = json.loads(received)

    assert links == json.loads(sent)
    assert len(links) == 2
    assert payloads == [{"total": "5"}, "hello"]
    assert server.call("XLEN", "orders") == 1
