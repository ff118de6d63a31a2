"""What is remembered of hits, and what is judged together, is the same as each judged alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider

from otel_redis_cache import outcomes
from otel_redis_cache.caches import Caches
from otel_redis_cache.calls import Batch, Call
from otel_redis_cache.commands import Commands, rule_of_all
from otel_redis_cache.descriptions import outcome_attributes
from otel_redis_cache.facts import Rule, Target
from otel_redis_cache.judge import Judge
from otel_redis_cache.loads import Caller, Times
from otel_redis_cache.recorder import Recorder
from otel_redis_cache.settings import from_keywords


class Careful(Judge):
    """Looks at each reply, and at each hit as if it might end a miss."""

    def _judge_hits(self, rule: Rule, call: Call, replies: Sequence[Any]) -> bool:
        return False

    def _ends_no_miss(self, target: Target, key: object, touched: AbstractSet[object]) -> bool:
        return False


def made(kind: type[Judge], **given: Any) -> Judge:
    settings = from_keywords(given, {})
    # Of its own: other tests may have left misses open with the global one.
    recorder = Recorder(settings, None, MeterProvider(shutdown_on_exit=False))
    return kind(
        settings, Caches(settings, recorder.tallies.automatic_names, lambda: None), recorder
    )


@pytest.fixture
def judge() -> Judge:
    return made(Judge)


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
    add_hit = outcomes.add_hits

    def hold_the_first(*args: Any) -> None:
        if not begun.is_set():
            begun.set()
            assert go_on.wait(10)
        add_hit(*args)

    monkeypatch.setattr(outcomes, "add_hits", hold_the_first)
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
        patched.setattr(outcomes, "add_hits", strike)
        with pytest.raises(StrikeError):
            hit(judge)

    assert hit(judge).outcome.lookups == {("user", "hit"): 1}


def test_a_remembered_hit_is_never_changed(judge: Judge) -> None:
    one, other = hit(judge).outcome, hit(judge).outcome

    assert one is other
    assert (one.total, one.hits, one.misses, one.caches) == (1, 1, 0, {"user"})
    assert (one.touches, one.sizes, one.writes, one.removals) == ([], [], {}, {})


KEYS = ["user:1", b"user:1", "user:2", "cart:1", 7]
COMMANDS = st.one_of(
    st.tuples(
        st.just(("GET",)), st.sampled_from(KEYS), st.sampled_from([None, b"x", ValueError()])
    ),
    st.tuples(st.just(("HGET",)), st.sampled_from(KEYS), st.sampled_from([None, b"x"])),
    st.tuples(st.just(("SET", b"y")), st.sampled_from(KEYS), st.sampled_from([True, None])),
    st.tuples(st.just(("DEL",)), st.sampled_from(KEYS), st.sampled_from([0, 1])),
)
Sent = tuple[tuple[Any, ...], Any, Any]


def ends_of(judge: Judge, number: int, batch: Sequence[Sent]) -> Any:
    """What a batch counts, which misses it writes back, and which are open after it."""
    observer: Any = None
    args = [
        (name, key, *more, "f")[: 3 if name == "HGET" else 2 + len(more)]
        for (name, *more), key, _ in batch
    ]
    call = Batch(observer, object(), args, {}, transaction=False)
    call.commands, call.target = Commands().describe_batch(args), Target("redis", "localhost")
    call.rule = rule_of_all(call.commands)
    call.reply = [reply for *_, reply in batch]
    judge.judge(call, None)
    tallies = judge.recorder.tallies
    times = Times(number * 10, number * 10 + 5, 0)
    followed = tallies.open_misses.follow(
        call.target, call.outcome.touches, times, lambda: Caller(1)
    )
    outcome = call.outcome
    return (
        outcome.lookups,
        outcome.caches,
        outcome.total,
        outcome.writes,
        outcome.removed,
        sorted(followed.loads),
        {key: {*parts} for key, parts in tallies.open_misses.by_key.items()},
    )


@given(st.lists(st.lists(COMMANDS, min_size=1, max_size=8), min_size=1, max_size=5))
def test_a_batch_ends_the_misses_that_its_commands_would_end_one_by_one(
    batches: list[list[Sent]],
) -> None:
    quick, careful = made(Judge), made(Careful)
    for number, batch in enumerate(batches):
        assert ends_of(quick, number, batch) == ends_of(careful, number, batch)


HITS = st.tuples(st.just(("GET",)), st.sampled_from(KEYS), st.sampled_from([b"x", b"yy"]))
READS = st.sampled_from([None, b"x", b"yy", ValueError()])


@given(
    st.lists(HITS, max_size=6)
    | st.lists(st.tuples(st.just(("GET",)), st.sampled_from(KEYS), READS), max_size=6),
    st.booleans(),
    st.sampled_from([{}, {"caches": {"-": "cart:*"}, "auto_caches": True}, {"metrics": "all"}]),
)
def test_hits_that_are_judged_at_once_are_those_judged_one_by_one(
    batch: list[Sent], is_recorded: bool, given_settings: dict[str, Any]
) -> None:
    seen: list[Any] = []
    for kind in (Judge, Careful):
        judge = made(kind, **given_settings)
        observer: Any = None
        call = Batch(observer, object(), [], {}, transaction=False)
        call.commands = Commands().describe_batch([(*name, key) for name, key, _ in batch])
        call.rule, call.is_recorded = rule_of_all(call.commands), is_recorded
        call.reply = [reply for *_, reply in batch]
        judge.judge(call, None)
        outcome = call.outcome
        sizes = outcome.sizes if given_settings.get("metrics") == "all" else None
        seen.append((outcome.lookups, outcome.caches, outcome_attributes(outcome), sizes))

    assert seen[0] == seen[1]
