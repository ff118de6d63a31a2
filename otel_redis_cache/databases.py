"""The insides of redis-py's client of several databases, one of which is in use at a time."""

from __future__ import annotations

from typing import Any


def client_of(thing: Any) -> Any:
    """The client of several databases that this is, or is a pipeline of; else None."""
    for found in (thing, getattr(thing, "_client", None)):
        if hasattr(found, "get_databases"):
            return found
    return None


def members(client: Any) -> list[Any]:
    """The clients of its databases, the heaviest first."""
    return [database.client for database, _ in client.get_databases()]


def queue_of(pipeline: Any) -> list[Any]:
    """What a pipeline will send to the database that is in use then: arguments and options."""
    queue: list[Any] = pipeline._command_stack
    return queue
