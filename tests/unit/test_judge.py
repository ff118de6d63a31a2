"""What is remembered of hits is whole before anybody takes it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from otel_redis_cache import outcomes
from otel_redis_cache.caches import Caches
from otel_redis_cache.calls import Call
from otel_redis_cache.commands import Commands
from otel_redis_cache.judge import Judge
from otel_redis_cache.recorder import Recorder
from otel_redis_cache.settings import Settings


@pytest.fixture
def judge() -> Judge:
    settings = Settings()
    # Of its own: other tests may have left misses open with the global one.
    recorder = Recorder(settings, None, MeterProvider(shutdown_on_exit=False))
    return Judge(
        settings, Caches(settings, recorder.tallies.automatic_names, lambda: None), recorder
    )


def hit(judge: Judge) -> Call:
    observer: Any = None
    call = Call(observer, object(), ("GET", "user:1"), {})
    call.commands = (Commands().describe(call.args),)
    call.reply = b"x"
    judge.judge(call, None)
    return call


def test_a_hit_counts_while_another_thread_remembers_the_first_one(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    add_hit = outcomes.add_hit

    def hold_the_first(*args: Any) -> None:
        if not begun.is_set():
            begun.set()
            assert go_on.wait(10)
        add_hit(*args)

    monkeypatch.setattr(outcomes, "add_hit", hold_the_first)
    first = threading.Thread(target=hit, args=(judge,))
    first.start()
    assert begun.wait(10)
    found = hit(judge).outcome
    go_on.set()
    first.join()

    assert found.lookups == {("user", "hit"): 1}
    assert hit(judge).outcome.lookups == {("user", "hit"): 1}


def test_an_interrupt_while_a_hit_is_remembered_leaves_none_that_is_empty(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StrikeError(BaseException):
        pass

    def strike(*_: object) -> None:
        raise StrikeError

    with monkeypatch.context() as patched:
        patched.setattr(outcomes, "add_hit", strike)
        with pytest.raises(StrikeError):
            hit(judge)

    assert hit(judge).outcome.lookups == {("user", "hit"): 1}


def test_a_remembered_hit_is_never_changed(judge: Judge) -> None:
    one, other = hit(judge).outcome, hit(judge).outcome

    assert one is other
    assert (one.total, one.hits, one.misses, one.caches) == (1, 1, 0, {"user"})
    assert (one.touches, one.sizes, one.writes, one.removals) == ([], [], {}, {})
