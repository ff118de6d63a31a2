"""How methods of the client libraries are wrapped when they are imported, and put back.

A wrapper is a plain function that keeps ``__wrapped__``. It asks for its observer at each call, so
one that somebody else wrapped in turn can stay where it is and falls silent.
"""

from __future__ import annotations

import atexit
import importlib
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

from wrapt import register_post_import_hook

from otel_redis_cache import clients, clusters, pools
from otel_redis_cache.forks import renew_after_fork
from otel_redis_cache.neighbours import layers
from otel_redis_cache.observe import Observer

Method = Callable[..., Any]
Make = Callable[["Seams", Method], Method]

MARK = "_otel_redis_cache_mark"
"""The attribute of a client that has an observer of its own, and of all that it makes."""

_MARK_OF_POOL = "_otel_redis_cache_mark_of_pool"
"""Of its connection pool, held weakly: a pool lives on until garbage is collected."""

_SEAMS = "_otel_redis_cache_seams"
"""The attribute of a wrapper that says whose it is: this package may have been imported before."""

_NOTHING: dict[str, Any] = {}


class Mark:
    """Shared by a client, its pipelines and its copies, so that all are left at once."""

    __slots__ = ("__weakref__", "observer")

    def __init__(self, observer: Observer | None) -> None:
        """``observer``: None once the client was left."""
        self.observer = observer


def mark_of(instance: Any) -> Mark | None:
    """The mark of a client; looked up where no ``__getattr__`` of an application can answer."""
    mark: Mark | None = getattr(instance, "__dict__", _NOTHING).get(MARK)
    return mark


class Row(NamedTuple):
    """One method to wrap."""

    module: str
    owner: str
    method: str
    make: Make
    group: str = ""
    """The group of metrics that needs this wrapper; without one it is always needed."""


@dataclass(frozen=True)
class Seam:
    """One wrapped method."""

    owner: type
    method: str
    original: Method
    wrapper: Method

    @property
    def is_in_place(self) -> bool:
        """Whether calls still pass our wrapper, also where somebody wrapped it in turn."""
        return any(layer is self.wrapper for layer in layers(vars(self.owner).get(self.method)))

    def put_back(self) -> bool:
        """Whether the original could be put back; not where somebody wrapped our wrapper in turn."""
        is_outermost = vars(self.owner).get(self.method) is self.wrapper
        if is_outermost:
            setattr(self.owner, self.method, self.original)
        return is_outermost


class Seams:
    """All wrapped methods of this process: one observer of every client, and some of their own."""

    def __init__(self, rows: Sequence[Row]) -> None:
        """Start with nothing wrapped."""
        self.observer: Observer | None = None
        """Watches every client that has no observer of its own."""
        self.era = object()
        """Another one whenever a client may have got another observer."""
        self._rows: dict[str, list[Row]] = {}
        for row in rows:
            self._rows.setdefault(row.module, []).append(row)
        self._wrapped: dict[tuple[type, str], Seam] = {}
        self._awaited: set[str] = set()
        """Modules that are wrapped when they are imported."""
        self._marks: weakref.WeakSet[Mark] = weakref.WeakSet()
        """Of clients that have an observer of their own; they live as long as their holders."""
        self.renew_locks()
        renew_after_fork(self)
        atexit.register(self.restore)

    def renew_locks(self) -> None:
        """In a forked child."""
        self._lock = threading.RLock()

    def attach(self, observer: Observer) -> None:
        """Watch every client."""
        self._give_way_to(observer)
        self._wrap()

    def detach(self) -> None:
        """Put everything back, but for clients that have an observer of their own."""
        with self._lock:
            self._give_way_to(None)
            self._unwrap_if_unused()

    def attach_to(self, client: Any, observer: Observer) -> None:
        """Watch one client, and the pipelines that it makes from now on."""
        with self._lock:
            self.detach_from(client)
            mark = Mark(observer)
            setattr(client, MARK, mark)
            for pool in clients.pools_of(client):
                setattr(pool, _MARK_OF_POOL, weakref.ref(mark))
                pools.leave(pool)  # whoever watched it
            self._marks.add(mark)
        self._wrap()

    def detach_from(self, client: Any) -> None:
        """Leave one client as it was; without an observer of its own it is no error."""
        with self._lock:
            if (mark := mark_of(client)) is not None:
                mark.observer = None
                delattr(client, MARK)
                for pool in clients.pools_of(client):
                    getattr(pool, "__dict__", {}).pop(_MARK_OF_POOL, None)
                    pools.leave(pool)
                self._marks.discard(mark)
                self.era = object()
            self._unwrap_if_unused()

    def restore(self) -> None:
        """Put everything back where the interpreter ends, whoever is watched.

        What is called from there on, as in a finaliser, is in no export; it must find no module of
        ours that is gone, and no lock that a thread holds which was stopped.
        """
        for seam in list(self._wrapped.values()):
            seam.put_back()

    def retire(self) -> None:
        """The package was imported anew, and takes over: nobody is watched from here any more."""
        self._give_way_to(None)
        for mark in list(self._marks):
            mark.observer = None
        self.restore()

    def observers(self) -> list[Observer]:
        """All that watch something."""
        with self._lock:  # a set that grows cannot be gone through
            found = [self.observer, *(mark.observer for mark in self._marks)]
        return [observer for observer in found if observer is not None]

    def observer_of(self, client: Any) -> Observer | None:
        """Who watches this client."""
        # As `mark_of`, without a step more: every call asks.
        mark: Mark | None = getattr(client, "__dict__", _NOTHING).get(MARK)
        return self.observer if mark is None else mark.observer or self.observer

    def observer_of_pool(self, pool: Any) -> Observer | None:
        """Who watches this connection pool: who watches the client that it was marked for."""
        marked = getattr(pool, "__dict__", _NOTHING).get(_MARK_OF_POOL)
        mark: Mark | None = None if marked is None else marked()
        if mark is not None and mark.observer is not None:
            return mark.observer
        return self.observer_of(clusters.maker_of(pool) or pool)

    def _wrap(self) -> None:
        """Wrap what is imported now, and the rest when the application imports it."""
        self.era = object()
        # Without the lock, which an import in another thread may be waiting for.
        modules = [module for name in self._rows if (module := self._imported(name)) is not None]
        with self._lock:
            for module in modules:
                self._wrap_module(module)

    def _imported(self, name: str) -> ModuleType | None:
        """A module that is imported, once it is ready; else it is awaited."""
        if name in sys.modules:
            return importlib.import_module(name)
        if name not in self._awaited:
            self._awaited.add(name)
            register_post_import_hook(self._wrap_later, name)
        return None

    def _wrap_later(self, module: ModuleType) -> None:
        with self._lock:
            self._awaited.discard(module.__name__)
            if self._is_used:
                self._wrap_module(module)

    def _give_way_to(self, observer: Observer | None) -> None:
        """Another one, or none, watches every client, and finds their pools when they are used."""
        before, self.observer = self.observer, observer
        if before is not None:
            before.recorder.tallies.pools.leave()

    def _wrap_module(self, module: ModuleType) -> None:
        groups = {"", *(group for observer in self.observers() for group in observer.groups)}
        for row in self._rows[module.__name__]:
            if row.group not in groups:
                continue
            owner: Any = getattr(module, row.owner, None)
            if not isinstance(owner, type):
                continue  # somebody else's module of that name, or a client we do not know yet
            seam = self._wrapped.get((owner, row.method))
            for layer in layers(vars(owner).get(row.method)):
                earlier = getattr(layer, "__dict__", _NOTHING).get(_SEAMS, self)
                if earlier is not self:
                    earlier.retire()
            original = vars(owner).get(row.method)
            if original is not None and (seam is None or not seam.is_in_place):
                # Wrappers of wrapt know the instance that they are called for only by this way.
                wrapper = row.make(self, getattr(owner, row.method))
                vars(wrapper)[_SEAMS] = self
                self._wrapped[owner, row.method] = Seam(owner, row.method, original, wrapper)
                setattr(owner, row.method, wrapper)

    @property
    def _is_used(self) -> bool:
        return self.observer is not None or len(self._marks) > 0

    def _unwrap_if_unused(self) -> None:
        if self._is_used:
            return
        for key, seam in list(self._wrapped.items()):
            if seam.put_back():
                del self._wrapped[key]
