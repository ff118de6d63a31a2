from __future__ import annotations

import asyncio
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from otel_redis_cache import invalidation
from otel_redis_cache.conventions import MAX_REASONS, REASONS
from otel_redis_cache.reasons import Label, current
from otel_redis_cache.tallies import Tallies


def test_a_block_labels_what_is_inside_it() -> None:
    assert current() is None
    with invalidation(reason="deploy", trigger="admin"):
        assert current() == Label("deploy", "admin")
    assert current() is None


def test_the_inner_block_is_the_label_with_its_trigger_or_none() -> None:
    with invalidation("deploy", "admin"):
        with invalidation("model_update"):
            assert current() == Label("model_update", None)
        assert current() == Label("deploy", "admin")


def test_a_block_may_be_entered_again_and_while_it_is_open() -> None:
    block = invalidation("deploy")
    for _ in range(2):
        with block:
            with block, invalidation("inner"):
                assert current() == Label("inner")
            assert current() == Label("deploy")
        assert current() is None


def test_an_exception_leaves_no_label_behind() -> None:
    with pytest.raises(KeyError), invalidation("deploy"):
        raise KeyError
    assert current() is None


def test_blocks_that_end_out_of_order_take_away_their_own_label() -> None:
    first, second = invalidation("first"), invalidation("second")
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert current() == Label("second")
    second.__exit__()
    assert current() is None


async def test_tasks_and_threads_of_asyncio_have_the_label_in_which_they_were_made() -> None:
    async def child() -> Label | None:
        await asyncio.sleep(0.01)
        return current()

    with invalidation("deploy"):
        task = asyncio.create_task(child())
        in_thread = await asyncio.to_thread(current)
    outside = asyncio.create_task(child())

    assert (await task, in_thread, await outside) == (Label("deploy"), Label("deploy"), None)


async def test_tasks_do_not_see_each_others_labels() -> None:
    async def labelled(reason: str) -> Label | None:
        with invalidation(reason):
            await asyncio.sleep(0.01)
            return current()

    seen = await asyncio.gather(*(labelled(f"r{i}") for i in range(50)))

    assert seen == [Label(f"r{i}") for i in range(50)]


def test_another_thread_has_the_label_only_where_it_is_carried() -> None:
    with ThreadPoolExecutor(1) as pool:
        with invalidation("deploy", "admin"):
            carried = invalidation.carry(current)
            assert pool.submit(current).result() is None
        assert pool.submit(carried).result() == Label("deploy", "admin")
        assert pool.submit(current).result() is None  # the thread goes on without it
    with invalidation("other"):
        assert carried() == Label("deploy", "admin")
        assert current() == Label("other")


def test_without_a_label_none_is_carried() -> None:
    carried = invalidation.carry(current)
    with invalidation("deploy"):
        assert carried() is None


def test_a_carried_function_is_itself_but_for_the_label() -> None:
    def clean(key: str, *, now: bool) -> tuple[str, bool]:
        """Clean up."""
        if key == "bad":
            raise KeyError(key)
        return key, now

    with invalidation("deploy"):
        carried: Any = invalidation.carry(clean)
    assert carried("a", now=True) == ("a", True)
    with pytest.raises(KeyError):
        carried("bad", now=True)
    assert current() is None
    assert (carried.__name__, carried.__doc__, carried.__wrapped__) == (
        "clean",
        "Clean up.",
        clean,
    )
    assert invalidation.carry(functools.partial(clean, now=False))("b") == ("b", False)


async def test_a_carried_coroutine_function_has_the_label_to_its_end() -> None:
    async def clean() -> list[Label | None]:
        before = current()
        await asyncio.sleep(0.01)
        return [before, current()]

    with invalidation("deploy"):
        carried = invalidation.carry(clean)
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(asyncio.run(carried())))
    thread.start()
    thread.join()

    assert asyncio.iscoroutinefunction(carried)
    assert await carried() == seen[0] == [Label("deploy")] * 2
    assert current() is None


def test_only_what_can_be_called_can_be_carried() -> None:
    nothing: Any = "clean"
    with pytest.raises(TypeError, match="takes a function, not str"):
        invalidation.carry(nothing)


@pytest.mark.parametrize("given", ["", "  ", None, 7, b"deploy", ["deploy"]])
def test_a_reason_that_is_no_text_is_one_clear_error(given: Any) -> None:
    with pytest.raises(ValueError, match="reason must be text that is not empty, not "):
        invalidation(given)
    if given is not None:
        with pytest.raises(ValueError, match="trigger must be text that is not empty, not "):
            invalidation("deploy", given)


def test_long_texts_are_shortened_and_every_text_can_be_exported() -> None:
    with invalidation("x" * 65, "\ud800" + "y" * 100):
        assert current() == Label("x" * 64, "?" + "y" * 63)


def test_reasons_are_bounded_and_those_of_commands_need_no_room() -> None:
    counts = Tallies()
    own = [f"reason{i}" for i in range(10_000)]
    kept = {counts.reason_of(reason) for reason in (*own, *REASONS)}

    assert kept == {*own[:MAX_REASONS], *REASONS, "_other"}
    assert dict(counts.overflows.items()) == {"reasons": 10_000 - MAX_REASONS}
    assert counts.reason_of("reason0") == "reason0"
