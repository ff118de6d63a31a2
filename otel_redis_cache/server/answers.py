"""What several that are asked at once say in the time there is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Hashable, Iterable, Mapping
from typing import Any, TypeVar

PATIENCE = 0.3
"""Seconds for what was cancelled."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


async def answers(
    asked: Mapping[K, Coroutine[Any, Any, T]], seconds: float | None = None
) -> dict[K, T | BaseException]:
    """What each says or raises; a time-out for those that took too long, which are cancelled."""
    tasks = {key: asyncio.create_task(coroutine) for key, coroutine in asked.items()}
    try:
        if tasks:
            await asyncio.wait(tasks.values(), timeout=seconds)
    finally:
        await cancelled(tasks.values())
    return {key: _said(task) for key, task in tasks.items()}


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel these, and wait until they are done, but not for long."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=PATIENCE)


def fault_of(task: asyncio.Task[Any]) -> BaseException | None:
    """What a task that is done has raised."""
    return None if task.cancelled() else task.exception()


def _said(task: asyncio.Task[T]) -> T | BaseException:
    if task.cancelled():
        return TimeoutError()
    fault = task.exception()
    return task.result() if fault is None else fault
