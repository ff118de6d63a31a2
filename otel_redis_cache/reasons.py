"""Why entries are removed, in the application's own words, for as long as a block lasts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

MAX_TEXT = 64
"""Characters of a reason or a trigger that are kept."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Label(NamedTuple):
    """What is said of a removal."""

    reason: str
    trigger: str | None = None


open_blocks: ContextVar[tuple[invalidation, ...]] = ContextVar(
    "otel_redis_cache_reasons", default=()
)
"""The blocks around a call, outermost first: a value of its own for each thread and task."""


class invalidation:  # noqa: N801  # read as a statement: `with invalidation(reason="deploy"):`
    """Labels what is removed on purpose inside a ``with`` block.

    Metrics and spans then carry ``cache.invalidation.reason=<reason>`` in the place of ``delete``,
    ``expire``, ``flush`` or ``rename``. What a write removes in passing keeps its own reason. A
    call takes the label that is current when it is sent, a pipeline when it is executed.

    The label holds in asyncio tasks that are created inside the block and in
    ``asyncio.to_thread``; for other threads see :meth:`carry`. The inner one of two blocks is the
    label, all of it: a trigger that it leaves out is none. A block may be entered again, also
    while it is open. In a generator, a block around a ``yield`` is open in the caller too, until
    the generator goes on: leave it before.
    """

    __slots__ = ("label",)

    def __init__(self, reason: str, trigger: str | None = None) -> None:
        """Say why.

        Args:
            reason: a word of few, such as ``model_update``, as it becomes an attribute of metrics:
                the first 10 of a process are kept, later ones are ``_other``. At most 64
                characters are kept.
            trigger: what set it off, such as ``admin``; on spans only, at most 64 characters.

        Raises:
            ValueError: one of them is empty or not text.
        """
        self.label: Label | None = label_of(reason, trigger)

    def __enter__(self) -> None:
        """From here on."""
        blocks = open_blocks.get()
        try:
            open_blocks.set((*blocks, self))
        except BaseException:  # out of a signal handler, and there will be no __exit__
            open_blocks.set(blocks)
            raise

    def __exit__(self, *_: object) -> None:
        """Up to here; whatever else was opened in between stays open."""
        blocks = open_blocks.get()
        try:
            open_blocks.set(_without(blocks, self))
        except BaseException:
            open_blocks.set(_without(blocks, self))
            raise

    @staticmethod
    def carry(function: Callable[_P, _R]) -> Callable[_P, _R]:
        """A function, or coroutine function, that runs with the label that is current now.

        For threads, which start without one: ``pool.submit(invalidation.carry(clean), key)``. Only
        the label is carried, not the whole context; without one, there is none in there either.
        What the function returns to be run later, such as a coroutine of a plain function, is not
        labelled.

        Raises:
            TypeError: this cannot be called, or is a generator function, which runs in its caller.
        """
        if not callable(function):
            raise TypeError(f"invalidation.carry takes a function, not {type(function).__name__}")
        if _is(inspect.isgeneratorfunction, function) or _is(inspect.isasyncgenfunction, function):
            raise TypeError(
                "invalidation.carry takes a function, not a generator function: "
                "give it the function that goes through the generator"
            )
        label = current()
        if _is(inspect.iscoroutinefunction, function):

            @functools.wraps(function)
            async def carried_async(*args: Any, **kwargs: Any) -> Any:
                with _block_of(label):
                    return await cast("Any", function)(*args, **kwargs)

            return cast("Callable[_P, _R]", carried_async)

        @functools.wraps(function)
        def carried(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with _block_of(label):
                return function(*args, **kwargs)

        return carried


def _block_of(label: Label | None) -> invalidation:
    """A block of a label that is there already, or of none."""
    block = invalidation.__new__(invalidation)
    block.label = label
    return block


def _without(blocks: tuple[invalidation, ...], block: invalidation) -> tuple[invalidation, ...]:
    """The blocks that stay when this one is left: the last one that is it goes."""
    for position in reversed(range(len(blocks))):
        if blocks[position] is block:
            return blocks[:position] + blocks[position + 1 :]
    return blocks


def _is(kind: Callable[[object], bool], function: Callable[..., object]) -> bool:
    """Whether a function is of this kind, be it a partial or an object that can be called."""
    called: Any = function
    while isinstance(called, functools.partial):
        called = called.func
    return kind(called) or kind(cast("Any", type(called)).__call__)


def current() -> Label | None:
    """What is said of removals here and now."""
    blocks = open_blocks.get()
    return blocks[-1].label if blocks else None


def label_of(reason: object, trigger: object = None) -> Label:
    """A label whose texts may be exported, or a clear error."""
    return Label(_text("reason", reason), None if trigger is None else _text("trigger", trigger))


def _text(name: str, given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        what = repr(given) if isinstance(given, str) else type(given).__name__
        raise ValueError(f"{name} must be text that is not empty, not {what}")
    # What is no Unicode, a lone surrogate, would break an exporter.
    return given[:MAX_TEXT].encode("utf-8", "replace").decode()
