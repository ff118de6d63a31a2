"""What is opted into shows what it promises, and nothing beside it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from otel_redis_cache.caches import key_text
from otel_redis_cache.commands import Commands
from otel_redis_cache.settings import from_keywords
from tests.integration import cases
from tests.privacy.marks import Marked, key_behind, leaks, mark, marks_in
from tests.real.servers import RedisServer
from tests.recording import Recording, attributes_of
from tests.safety.application import NO_RETRY

KEY, OTHER = f"user:{mark('key')}", f"cart:{mark('other')}"
SECRET = mark("secret")
SCRIPT = f"-- {mark('body')}\nreturn redis.call('GET', KEYS[1])"


@pytest.fixture
def client(valkey_server: RedisServer) -> Iterator[Any]:
    valkey_server.flush()
    with redis.Redis(port=valkey_server.port, retry=NO_RETRY) as client:
        yield client


def use(client: Any) -> None:
    client.set(KEY, mark("value"), ex=60)
    client.get(KEY)
    client.mget(KEY, OTHER)
    client.pipeline().hset(OTHER, mark("field"), mark("value")).lpush(OTHER, mark("x")).execute(
        raise_on_error=False
    )
    client.eval(SCRIPT, 1, KEY, mark("argument"))
    with pytest.raises(redis.AuthenticationError):
        client.execute_command("AUTH", mark("user"), mark("password"))
    client.execute_command("ACL", "SETUSER", mark("user"), f">{mark('password')}")


def test_query_text_shows_keys(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument(query_text="keys")
    use(client)

    assert leaks(recording, caplog) == sorted(marks_in(f"{KEY} {OTHER}"))
    assert [attributes_of(span).get("db.query.text") for span in recording.spans()] == [
        f"SET {KEY} ? EX ?",
        f"GET {KEY}",
        f"MGET {KEY} {OTHER}",
        f"HSET {OTHER} ? ?; LPUSH {OTHER} ?",
        f"EVAL ? ? {KEY} ?",
        "AUTH ? ?",
        "ACL SETUSER ? ?",
    ]


def test_query_text_shows_keys_alone_of_every_command_of_the_table() -> None:
    """Which operands are keys, the servers have said: test_the_keys_of_a_command_are_the_servers."""
    commands, marked = Commands(), Marked(key_behind)
    found = [case for family in cases.CASES.values() for case in family]
    shown = 0
    for case in found:
        command = commands.describe(marked.args(case.text))
        keys = marks_in(" ".join(map(key_text, command.keys)))
        told = marks_in(commands.text_with_keys(command, key_text))
        assert set(told) <= set(keys), case.text
        shown += bool(told)

    assert shown > 0.9 * len(found)


def test_query_text_may_be_off(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument(query_text="off")
    use(client)

    assert not any("db.query.text" in attributes_of(span) for span in recording.spans())
    assert leaks(recording, caplog) == []


def hashed(key: str) -> str:
    return hmac.new(SECRET.encode(), key.encode(), hashlib.sha256).hexdigest()[:32]


@pytest.mark.parametrize(
    ("settings", "user", "cart", "shown"),
    [
        ({"key_attribute": "template"}, "user:{}", "cart:{}", []),
        (
            {"key_attribute": "hash", "key_secret": SECRET},
            hashed(KEY),
            hashed(OTHER),
            [],
        ),
        ({"key_attribute": "full"}, KEY, OTHER, marks_in(f"{KEY} {OTHER}")),
    ],
)
def test_a_key_is_shown_as_it_was_asked_for(
    client: Any,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, str],
    user: str,
    cart: str,
    shown: list[str],
) -> None:
    recording.instrument(**settings)
    use(client)

    assert leaks(recording, caplog) == sorted(shown)
    assert [attributes_of(span).get("cache.key") for span in recording.spans()] == [
        *((user,), (user,), (user, cart), (cart, cart), (user,), None, None)
    ]


def test_the_secret_of_hashes_is_not_shown_by_settings() -> None:
    settings = from_keywords({"key_attribute": "hash", "key_secret": SECRET}, {})

    assert "key_attribute='hash'" in repr(settings)
    assert marks_in(repr(settings)) == []


def test_durations_have_the_name_of_a_cache(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument(duration_by_cache=True)
    use(client)

    caches = {of.get("cache.name") for of, _ in recording.points("db.client.operation.duration")}
    assert caches == {"user", "cart", None}
    assert leaks(recording, caplog) == []


def test_channels_and_streams_have_the_names_of_rules(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    channel, stream = f"news:{mark('channel')}", f"orders:{mark('stream')}"
    rules = {"channels": "news=news:*", "streams": "orders=orders:*"}
    recording.instrument(metrics="all", **rules)
    client.publish(channel, mark("message"))
    client.publish(mark("unnamed"), mark("message"))
    client.xadd(stream, {mark("field"): mark("value")})
    client.xadd(f"other:{mark('unnamed')}", {mark("field"): mark("value")})
    client.xread({stream: 0, f"other:{mark('unnamed')}": 0})

    names = {
        of.get("messaging.destination.name")
        for metric in ("redis.client.pubsub.messages", "redis.client.stream.lag")
        for of, _ in recording.points(metric)
    }
    assert names == {"news", "orders", None}
    assert leaks(recording, caplog) == []


def test_the_group_of_a_stream_with_a_name_is_shown(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    """The name of a group is a programmer's word; that of a consumer is not shown."""
    stream, hidden = f"orders:{mark('stream')}", f"other:{mark('hidden')}"
    recording.instrument(metrics="all", streams="orders=orders:*")
    for key, group in ((stream, mark("group")), (hidden, mark("hidden group"))):
        client.xadd(key, {mark("field"): mark("value")})
        client.xgroup_create(key, group, 0)
        client.xreadgroup(group, mark("consumer"), {key: ">"})

    assert leaks(recording, caplog) == [mark("group")]


def test_what_scripts_do_is_counted_and_no_word_of_them_shown(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument(scripts={hashlib.sha1(SCRIPT.encode()).hexdigest(): "reads"})
    client.eval(SCRIPT, 1, KEY, mark("argument"))

    assert recording.lookups() == {("user", "miss"): 1}
    assert leaks(recording, caplog) == []


def test_an_extra_command_is_named_and_its_operands_are_masked(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument(extra_commands="SHOP.SELL")
    with pytest.raises(redis.ResponseError, match=mark("key")):
        client.execute_command("SHOP.SELL", KEY, mark("value"))

    assert recording.counts("db.client.operation.duration").keys() == {("SHOP.SELL", "ERR", "ERR")}
    assert attributes_of(recording.span())["db.query.text"] == "SHOP.SELL ? ?"
    assert leaks(recording, caplog) == []


def test_a_rule_names_a_cache_whatever_its_keys_are(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument(caches={"sessions": f"{mark('prefix')[:4]}*"}, query_text="sanitized")
    client.get(f"{mark('prefix')}:1")

    assert recording.lookups() == {("sessions", "miss"): 1}
    assert leaks(recording, caplog) == []


def test_the_context_that_is_sent_along_is_all_that_is_sent(
    client: Any, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    recording.instrument(propagate_context=True)
    with recording.tracer.start_as_current_span("request"):
        client.xadd("orders:1", {"total": "12"})
    ((_, fields),) = client.xrange("orders:1")

    assert fields.keys() == {b"total", b"traceparent"}
    assert fields[b"total"] == b"12"
    assert leaks(recording, caplog) == []
