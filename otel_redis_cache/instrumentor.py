"""The way in: ``RedisCacheInstrumentor().instrument()``, or ``opentelemetry-instrument``."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from otel_redis_cache.methods import ROWS
from otel_redis_cache.observe import Observer, RequestHook, ResponseHook
from otel_redis_cache.recorder import Recorder
from otel_redis_cache.seams import Seams
from otel_redis_cache.server.sources import load, sources_of
from otel_redis_cache.server.watch import Watch
from otel_redis_cache.settings import FileOptions, from_keywords
from otel_redis_cache.tallies import Tallies

CLIENT_LIBRARIES = {"redis": "redis >= 5.0", "valkey": "valkey >= 6.0"}


class RedisCacheInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # untyped upstream
    """Watches Redis and Valkey clients, and emits spans and metrics of their caches.

    One per process, as every instrumentor. ``instrument()`` watches every client there is and
    will be; ``instrument_client()`` watches one. Both together never give two spans.
    """

    configuration = FileOptions
    """Where ``opentelemetry-configuration`` reads how the options in its file are called."""

    _seams = Seams(ROWS)
    _tallies: Tallies | None = None
    _watch: Watch | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """The client libraries that are installed, with the versions that can be watched."""
        installed = [need for name, need in CLIENT_LIBRARIES.items() if _is_installed(name)]
        # One that is too old must not keep the other from being watched.
        usable = [need for need in installed if get_dependency_conflicts([need]) is None]
        return usable or installed or [CLIENT_LIBRARIES["redis"]]

    def _instrument(self, **kwargs: Any) -> None:
        """Watch every client.

        Args:
            **kwargs: ``tracer_provider`` and ``meter_provider`` (default: the global ones),
                ``request_hook(span, instance, args, kwargs)``,
                ``response_hook(span, instance, response)``, and every field of
                :class:`~otel_redis_cache.settings.Settings`.

        Raises:
            SettingError: a keyword does not exist or has a value that is not allowed.

        A server to watch (the setting ``watch``) is asked when metrics are collected for the first
        time: a process that nobody asks, or that is about to fork, has no thread of ours.
        """
        observer = _observer(**kwargs)
        self._seams.attach(observer)
        before, self._tallies = self._tallies, observer.recorder.tallies
        if before is not None:
            in_use = [watching.recorder.tallies for watching in self._seams.observers()]
            before.silent = before not in in_use
        url = observer.settings.watch
        if url is not None:
            load(url)
            self._watch = Watch(
                lambda: sources_of(url), observer.settings, kwargs.get("meter_provider")
            )

    def _uninstrument(self, **_: Any) -> None:
        """Put every class back as it was; counts stay exported as they are."""
        self._seams.detach()
        if self._tallies is not None:
            self._tallies.notes.tell()
        if self._watch is not None:
            self._watch.close()

    @classmethod
    def instrument_client(cls, client: Any, **kwargs: Any) -> None:
        """Watch one client and the pipelines it makes, with settings of its own.

        Args:
            client: a client of redis-py or valkey-py.
            **kwargs: as for ``instrument()``.

        Raises:
            TypeError: this is no client.
            SettingError: a keyword does not exist or has a value that is not allowed.
        """
        if not hasattr(client, "execute_command"):
            message = f"instrument_client takes a Redis or Valkey client, not {type(client)!r}"
            raise TypeError(message)
        cls._seams.attach_to(client, _observer(**kwargs))

    @classmethod
    def uninstrument_client(cls, client: Any) -> None:
        """Take back ``instrument_client``; what ``instrument()`` watches stays watched."""
        cls._seams.detach_from(client)

    @classmethod
    def observers(cls) -> list[Observer]:
        """All that watch clients now: the one of ``instrument()``, and those of single clients."""
        return cls._seams.observers()

    @classmethod
    def observer_of(cls, client: Any) -> Observer | None:
        """Who watches this client, for the parts of this package that observe by themselves."""
        return cls._seams.observer_of(client)


def contain(step: str, fault: Exception) -> None:
    """Count a fault of our own outside of any call, and say so once."""
    with suppress(Exception):  # of a log handler, for example
        for observer in RedisCacheInstrumentor.observers()[:1]:
            observer.recorder.contain(step, fault)


def _observer(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    request_hook: RequestHook | None = None,
    response_hook: ResponseHook | None = None,
    **settings: object,
) -> Observer:
    chosen = from_keywords(settings, os.environ)
    recorder = Recorder(chosen, tracer_provider, meter_provider)
    return Observer(chosen, recorder, request_hook, response_hook)


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
