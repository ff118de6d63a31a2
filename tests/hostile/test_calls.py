"""Any command, any reply: the application gets what it gets without us, and we stay within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_redis_cache import RedisCacheInstrumentor
from tests.hostile import things, told
from tests.recording import Recording, attributes_of

EVERYTHING: dict[str, Any] = {
    "metrics": "all",
    "snapshot": True,
    "query_text": "keys",
    "key_attribute": "full",
    "count_probes": True,
    "duration_by_cache": True,
    "propagate_context": True,
    "caches": "user=user:{id},odd=*a*b*c*,none=-",
    "auto_caches": True,
    "extra_commands": "MY.CMD",
    "scripts": {"f": "reads", "a" * 40: "takes"},
}
MAX_TEXT = 1_024


class Watched:
    """A client that is watched, and what is recorded of it."""

    def __init__(self, recording: Recording, **options: Any) -> None:
        self.client = told.client()
        self.recording = recording
        RedisCacheInstrumentor().instrument_client(self.client, **recording.providers, **options)

    def look(self) -> None:
        """Nothing of ours has failed, and no text is beyond its bound."""
        observer = self.client._otel_redis_cache_mark.observer
        assert not observer.recorder.tallies.errors.items()
        for span in self.recording.take():
            assert len(span.name) <= 64
            for value in attributes_of(span).values():
                texts = value if isinstance(value, tuple) else (value,)
                assert all(len(text) <= MAX_TEXT for text in texts if isinstance(text, str))


@cache
def alone() -> Any:
    return told.client()


@cache
def watched() -> list[Watched]:
    """One of each kind; without fixtures, as `make hostile` calls these tests outside of pytest."""
    return [
        Watched(Recording()),
        Watched(Recording(), **EVERYTHING),
        Watched(Recording(ALWAYS_OFF)),
    ]


@pytest.fixture(autouse=True, scope="module")
def _leave() -> Iterator[None]:
    yield
    for each in watched():
        RedisCacheInstrumentor().uninstrument_client(each.client)
    watched.cache_clear()


many = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@many
@given(command=things.commands, reply=things.replies)
def test_a_command_of_any_shape(command: Any, reply: Any) -> None:
    expected = told.shown(told.call(alone(), command, reply))
    for each in watched():
        assert told.shown(told.call(each.client, command, reply)) == expected
        each.look()


@many
@given(
    batch=st.lists(st.tuples(things.commands, things.replies), max_size=6),
    transaction=st.booleans(),
)
def test_a_pipeline_of_any_shape(batch: list[tuple[Any, Any]], transaction: bool) -> None:
    sent, replies = [command for command, _ in batch], [reply for _, reply in batch]
    expected = told.shown(told.execute(alone(), sent, replies, transaction=transaction))
    for each in watched():
        came = told.execute(each.client, sent, replies, transaction=transaction)
        assert told.shown(came) == expected
        each.look()
