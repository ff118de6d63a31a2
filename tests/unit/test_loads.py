from __future__ import annotations

import asyncio
import itertools
import threading
import tracemalloc
from typing import Any

import pytest

from otel_redis_cache.facts import Target, Touch
from otel_redis_cache.loads import MAX_OPEN, Caller, Followed, OpenMisses, Times, current_caller

HERE = Target("redis", "localhost")
ELSEWHERE = Target("redis", "elsewhere")


class Story:
    """Calls one after the other, each of a millisecond, at seconds of a clock that a test sets."""

    def __init__(self, window: float = 30.0) -> None:
        self.misses = OpenMisses()
        self.window = window
        self.numbers = itertools.count(1_000)

    def call(
        self,
        at: float,
        *touches: Touch,
        took: float = 0.001,
        target: Target = HERE,
        by: int | None = None,
    ) -> Followed:
        """``by`` one caller; each call is one of its own unless this is said."""
        ended = at + took
        times = Times(*(int(second * 1e9) for second in (at, ended, ended - self.window)))
        number = next(self.numbers) if by is None else by
        return self.misses.follow(target, touches, times, lambda: Caller(number))


def miss(key: object, field: object = None, cache: str = "user") -> Touch:
    return ("miss", key, field, cache)


def hit(key: object, field: object = None) -> Touch:
    return ("hit", key, field, "user")


def write(key: object, field: object = None) -> Touch:
    return ("write", key, field, None)


def delete(key: object, field: object = None) -> Touch:
    return ("delete", key, field, None)


def rounded(followed: Followed) -> list[tuple[str, float]]:
    return [(cache, round(seconds, 6)) for cache, seconds in followed.loads]


def test_a_load_lasts_from_the_reply_that_missed_to_the_reply_of_the_write() -> None:
    story = Story()
    story.call(1.0, miss("user:1"), took=0.5)

    assert rounded(story.call(3.0, write("user:1"), took=0.25)) == [("user", 1.75)]


def test_a_write_without_a_miss_is_no_load() -> None:
    assert Story().call(1.0, write("user:1")).loads == []


def test_only_the_first_write_after_a_miss_is_a_load() -> None:
    story = Story()
    story.call(1.0, miss("user:1"))

    assert len(story.call(2.0, write("user:1")).loads) == 1
    assert story.call(3.0, write("user:1")).loads == []


@pytest.mark.parametrize("key", ["user:1", b"user:1", bytearray(b"user:1"), memoryview(b"user:1")])
def test_a_key_is_the_same_however_it_is_written(key: Any) -> None:
    story = Story()
    story.call(1.0, miss("user:1"))

    assert len(story.call(2.0, write(key)).loads) == 1


def test_the_same_key_elsewhere_is_another() -> None:
    story = Story()
    story.call(1.0, miss("user:1"))

    assert story.call(2.0, write("user:1"), target=ELSEWHERE).loads == []
    assert not story.call(2.0, miss("user:1"), target=ELSEWHERE).joined


@pytest.mark.parametrize("ending", [delete("user:1"), hit("user:1"), delete(None)])
def test_what_is_deleted_or_found_is_no_longer_open(ending: Touch) -> None:
    story = Story()
    story.call(1.0, miss("user:1"))
    story.call(2.0, ending)

    assert story.call(3.0, write("user:1")).loads == []
    assert not story.misses.by_key


def test_a_flush_ends_the_misses_of_its_server_alone() -> None:
    story = Story()
    story.call(1.0, miss("user:1"))
    story.call(1.0, miss("user:1"), target=ELSEWHERE)
    story.call(2.0, delete(None))

    assert story.call(3.0, write("user:1")).loads == []
    assert len(story.call(3.0, write("user:1"), target=ELSEWHERE).loads) == 1


@pytest.mark.parametrize(("later", "loads"), [(29.99, 1), (30.01, 0)])
def test_a_miss_is_open_as_long_as_the_window(later: float, loads: int) -> None:
    story = Story(window=30.0)
    story.call(1.0, miss("user:1"), took=0)

    assert len(story.call(1.0 + later, write("user:1"), took=0).loads) == loads


def test_a_miss_that_is_met_after_the_window_opens_anew() -> None:
    story = Story(window=30.0)
    story.call(0.0, miss("user:0", "kept"))
    story.call(1.0, miss("user:1"))
    story.call(25.0, miss("user:0", "fresh"))  # keeps the oldest key in the front

    assert not story.call(40.0, miss("user:1"), took=0).joined
    assert rounded(story.call(41.0, write("user:1"), took=0)) == [("user", 1.0)]


def test_a_second_miss_is_a_stampede_and_a_third_joins_it() -> None:
    story = Story()
    first = story.call(1.0, miss("user:1"))
    second = story.call(1.1, miss("user:1"))
    third = story.call(1.2, miss("user:1"))

    assert [call.joined for call in (first, second, third)] == [False, True, True]
    assert [call.stampedes for call in (first, second, third)] == [[], ["user"], []]


def test_a_caller_that_asks_again_behind_a_lock_is_no_stampede() -> None:
    story = Story()
    story.call(1.0, miss("user:1"), by=1)
    again = story.call(1.1, miss("user:1"), by=1)
    other = story.call(1.2, miss("user:1"), by=2)

    assert (again.joined, again.stampedes) == (False, [])
    assert (other.joined, other.stampedes) == (True, ["user"])
    assert rounded(story.call(2.001, write("user:1"), took=0, by=1)) == [("user", 1.0)]


async def test_a_caller_is_a_task_a_thread_and_a_trace() -> None:
    async def who() -> Caller:
        return current_caller(0)

    first, second = await asyncio.gather(who(), who())
    assert len({current_caller(0), first, second}) == 3
    assert current_caller(7) == current_caller(7) != current_caller(8)
    assert (await asyncio.to_thread(current_caller, 7)).task is None


def test_after_a_write_back_a_new_miss_may_be_met_again() -> None:
    story = Story()
    for start in (1.0, 11.0):
        story.call(start, miss("user:1"))
        assert story.call(start + 1, miss("user:1")).stampedes == ["user"]
        story.call(start + 2, write("user:1"))


def test_a_key_asked_for_twice_by_one_call_is_no_stampede() -> None:
    followed = Story().call(1.0, miss("user:1"), miss("user:1"))

    assert (followed.joined, followed.stampedes) == (False, [])


def test_what_one_call_misses_and_writes_is_no_load_and_leaves_nothing_open() -> None:
    story = Story()

    assert story.call(1.0, miss("user:1"), write("user:1")).loads == []
    assert not story.misses.by_key


def test_a_hit_that_was_sent_before_the_miss_leaves_it_open() -> None:
    story = Story()
    story.call(1.0, miss("user:1"), took=0.1)
    story.call(0.9, hit("user:1"), took=0.5)

    assert len(story.call(2.0, write("user:1")).loads) == 1


def test_the_fields_of_a_hash_are_missed_one_by_one() -> None:
    story = Story()
    story.call(1.0, miss("user:1", "name"), miss("user:1", ""))

    assert not story.call(1.1, miss("user:1", "mail")).joined
    assert story.call(1.2, miss("user:1", "name")).joined
    assert len(story.call(2.0, write("user:1", "name")).loads) == 1
    assert len(story.call(3.0, write("user:1", "mail")).loads) == 1
    assert len(story.call(4.0, write("user:1", "")).loads) == 1
    assert not story.misses.by_key


def test_fields_missed_together_and_written_together_are_one_load_since_the_oldest() -> None:
    story = Story()
    story.call(1.0, miss("user:1", "name"), took=0)
    story.call(2.0, miss("user:1", "mail"), took=0)

    loads = story.call(4.0, write("user:1", "mail"), write("user:1", "name"), took=0)
    assert rounded(loads) == [("user", 3.0)]


def test_a_field_that_is_written_ends_the_miss_of_the_whole_hash() -> None:
    story = Story()
    story.call(1.0, miss("user:1"))

    assert len(story.call(2.0, write("user:1", "name")).loads) == 1


def test_a_hash_that_is_there_says_nothing_of_its_fields() -> None:
    story = Story()
    story.call(1.0, miss("user:1", "name"))
    story.call(2.0, hit("user:1"))

    assert len(story.call(3.0, write("user:1", "name")).loads) == 1


def test_deleting_a_key_ends_the_misses_of_its_fields_and_a_field_only_its_own() -> None:
    story = Story()
    story.call(1.0, miss("user:1", "name"), miss("user:1", "mail"), miss("user:2", "name"))
    story.call(2.0, delete("user:1", "name"), delete("user:2"))

    assert story.call(3.0, write("user:1", "name")).loads == []
    assert story.call(3.0, write("user:2", "name")).loads == []
    assert len(story.call(3.0, write("user:1", "mail")).loads) == 1


def test_the_oldest_misses_are_forgotten_first() -> None:
    story = Story()
    for i in range(MAX_OPEN + 10):
        story.call(1 + i / 1e6, miss(f"user:{i}"))

    written = [len(story.call(5.0, write(f"user:{i}")).loads) for i in range(MAX_OPEN + 10)]
    assert written == [0] * 10 + [1] * MAX_OPEN


def test_one_call_that_misses_more_than_is_remembered_is_harmless() -> None:
    story = Story()
    story.call(1.0, *(miss("user:1", i) for i in range(MAX_OPEN + 1)))

    assert not story.misses.by_key


def test_a_full_memory_of_misses_is_small_and_no_longer_grows() -> None:
    story = Story()
    used: list[int] = []
    tracemalloc.start()
    for i in range(20_001):
        story.call(1 + i / 1e6, miss(f"user:{i}"))
        if i in (5_000, 10_000, 20_000):
            used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()

    assert used[1] - used[0] < 256 * 1024  # its table is made larger once
    assert used[2] - used[1] < 16 * 1024
    assert used[2] < 3 * 1024 * 1024


def test_no_key_is_kept() -> None:
    story = Story()
    story.call(1.0, miss("user:alice", "mail"))
    (parts,) = story.misses.by_key.values()
    (found,) = parts.values()

    assert "alice" not in repr(story.misses.by_key)
    assert {type(getattr(found, name)) for name in found.__slots__} == {
        Target,
        str,
        int,
        bool,
        Caller,
    }


def test_each_load_and_each_stampede_is_seen_once_by_many_threads() -> None:
    story = Story()
    loads: list[int] = []
    stampedes: list[int] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for i in range(2_000):
            first = story.call(1.0 + i, miss(f"user:{i}"))
            second = story.call(1.5 + i, write(f"user:{i}"))
            stampedes.append(len(first.stampedes))
            loads.append(len(second.loads))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not story.misses.by_key
    assert 2_000 <= sum(loads) <= 16_000
    assert sum(stampedes) <= sum(loads)


def test_a_forked_child_starts_with_no_open_miss() -> None:
    story = Story()
    story.call(1.0, miss("user:1"))
    story.misses.renew_locks()  # what forks.py calls in the child

    assert story.call(2.0, write("user:1")).loads == []
