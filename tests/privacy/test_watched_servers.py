"""What is told of a server that is watched: names of caches, and no key that the server told us."""

from __future__ import annotations

import logging

import pytest

from otel_redis_cache import watch_server
from otel_redis_cache.settings import SettingError
from tests.integration.watching import told, watched
from tests.privacy.marks import DISGUISES, leaks, mark, marks_in
from tests.real.processes import wait_until
from tests.real.servers import RedisServer
from tests.recording import Recording

USER, PASSWORD = mark("user"), mark("password")
KEYS = [f"user:{mark('key')}", *(f"{form('key')}:profile" for form in DISGUISES.values())]


@pytest.fixture
def place(own_server: RedisServer) -> str:
    """The URL of a server with such keys, and a user who may do everything."""
    own_server.call("CONFIG", "SET", "notify-keyspace-events", "Exe")
    own_server.call("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all")
    for key in KEYS:
        own_server.call("SET", key, mark("value"))
    return f"redis://{USER}:{PASSWORD}@127.0.0.1:{own_server.port}/0"


def test_no_key_value_or_password_is_told(
    place: str, own_server: RedisServer, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    everything = {"watch_commands": True, "sample_memory": True, "listen_events": True}
    with watched(recording, place, **everything):
        wait_until(
            lambda: recording.points("cache.entries"), timeout=20, what="a sample of the keys"
        )
        entries = {of["cache.name"]: count for of, count in recording.points("cache.entries")}
        listens = ("PUBSUB", "NUMSUB", "__keyevent@0__:expired")
        wait_until(
            lambda: own_server.call(*listens) == [listens[2], 1], timeout=20, what="it listens"
        )
        for key in KEYS:
            own_server.call("PEXPIRE", key, 1)
        wait_until(
            lambda: sum(n for _, n in recording.points("cache.evictions")) == len(KEYS),
            timeout=20,
            what="they expire",
        )
        expired = {of["cache.name"] for of, _ in recording.points("cache.evictions")}
        assert recording.points("redis.cmd.calls")
        told_of = leaks(recording, caplog)

    assert entries == {"user": 1, "_default": len(KEYS) - 1}
    assert expired == {"user", "_default"}
    assert told_of == leaks(recording, caplog) == []


def test_a_wrong_password_is_said_without_it(
    place: str, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    with watched(recording, place.replace(PASSWORD, f"{PASSWORD}2")):
        wait_until(lambda: caplog.text, timeout=20, what="it is said")

    assert "WRONGPASS" in caplog.text
    assert leaks(recording, caplog) == []
    assert told(recording, "redis.memory.used") == 0


@pytest.mark.parametrize(
    "url",
    [
        f"redis://{USER}:{PASSWORD}@localhost:port/0",
        f"redis://{USER}:p@{PASSWORD}/w@localhost/0",
        f"redis://{USER}:12/{PASSWORD}@localhost/0",
        f"redis://{USER}:12#{PASSWORD}@localhost/0",
        f"redis+sentinel://{USER}:p@{PASSWORD}/w@localhost/shop",
        f"http://{USER}:{PASSWORD}@localhost",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(
    url: str,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingError) as raised:
        watch_server(url).close()
    monkeypatch.setenv("OTEL_REDIS_CACHE_WATCH", url)
    recording.instrument()
    recording.metrics()  # which is when a watch begins
    wait_until(lambda: caplog.text, timeout=20, what="it is said")

    assert marks_in(str(raised.value)) == []
    assert leaks(recording, caplog) == []
