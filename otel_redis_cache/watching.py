"""What a server tells of itself, for an application that asks for it in code."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.metrics import MeterProvider

from otel_redis_cache import settings
from otel_redis_cache.instrumentor import RedisCacheInstrumentor
from otel_redis_cache.server.sources import load, sources_of
from otel_redis_cache.server.watch import Watch
from otel_redis_cache.settings import SettingError, Settings

KEYWORDS = (
    *("caches", "auto_caches", "max_auto_caches", "key_delimiter"),
    *("watch_commands", "watch_leader", "sample_memory", "listen_events"),
)
"""Settings that a watch has."""


def watch_server(
    server: Any, *, meter_provider: MeterProvider | None = None, **options: Any
) -> Watch:
    """Watch a server: memory, keys, evictions, expirations, clients, commands, replication.

    One daemon thread asks it every 15 s, through connections of its own; of many processes that
    watch one server, one does it. The metrics are in ``docs/server.md``::

        with watch_server("redis://localhost:6379/0", sample_memory=True):
            serve()

    Args:
        server: A URL (``redis://``, ``rediss://``, ``valkey://``, ``valkeys://``, ``unix://``,
            ``redis+sentinel://host:26379,host:26379/name``) or a client of redis-py or valkey-py,
            which is read and not used: its address, credentials and TLS. Of a cluster or what
            Sentinels manage all nodes are watched.
        meter_provider: Who takes the metrics; the global one unless told otherwise.
        **options: The settings ``watch_commands``, ``watch_leader``, ``sample_memory`` and
            ``listen_events``, and those that name caches; each is what it is for the calls of this
            process, or in the environment, unless told otherwise.

    Returns:
        A handle with ``close()`` and, for asyncio programs, ``aclose()``; it is a context manager of
        either kind, too.

    Raises:
        SettingError: This is no URL of a server, or an option does not exist or has a value that is
            not allowed.
        TypeError: This is neither a URL nor a client.
    """
    unknown = sorted(options.keys() - set(KEYWORDS))
    if unknown:
        message = f"{unknown[0]!r} is no option of watch_server; allowed are {', '.join(KEYWORDS)}"
        raise SettingError(message, unknown[0])
    sources = sources_of(server)
    for source in sources:
        load(source.library)
    watch = Watch(lambda: sources, settings.changed(_base(), options), meter_provider)
    watch.start()
    return watch


def _base() -> Settings:
    """What the calls of this process are measured with."""
    observers = RedisCacheInstrumentor.observers()
    return observers[0].settings if observers else settings.from_keywords({}, os.environ)
