"""What a span says of a call: at its start for samplers, at its end of what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from otel_redis_cache import conventions as names
from otel_redis_cache.caches import Caches, hash_key, key_text
from otel_redis_cache.commands import MAX_TEXT, Commands
from otel_redis_cache.facts import Command, Failure, Outcome, Target
from otel_redis_cache.recorder import AttributeValue
from otel_redis_cache.settings import Settings
from otel_redis_cache.spans import Checked, are_plain

MAX_STARTS = 2_048
"""Servers, commands and numbers of operands whose attributes are remembered."""

_DIGEST = re.compile(r"[0-9A-Fa-f]{40}")
_FUNCTION = re.compile(r"[A-Za-z0-9_]+")

MAX_KEYS = 10
"""Keys that the opt-in ``cache.key`` shows."""


class Descriptions:
    """Writes calls down as attributes of spans."""

    def __init__(self, settings: Settings, commands: Commands, caches: Caches) -> None:
        """``commands`` write texts, ``caches`` write templates of keys."""
        self._commands = commands
        self._query_text = settings.query_text
        shows: dict[str, Callable[[object], str]] = {
            "template": caches.template_of,
            "hash": lambda key: hash_key(key, settings.key_secret or ""),
            "full": lambda key: key_text(key)[:256],
        }
        self._starts: dict[tuple[Target, str, int], Mapping[str, AttributeValue]] = {}
        """What spans start with, by server, command and number of operands: the same for most."""
        self._show_key = shows.get(settings.key_attribute)

    def at_start(
        self, target: Target, operation: str, commands: Sequence[Command]
    ) -> Mapping[str, AttributeValue]:
        """All that is known before the call, without building a text that was not kept."""
        if len(commands) == 1:
            rule, operands = commands[0]
            if not rule.words and not rule.procedure:
                key = (target, operation, len(operands))
                return self._starts.get(key) or self._remember(key, commands)
        return self._described(target, operation, commands)

    def _remember(
        self, key: tuple[Target, str, int], commands: Sequence[Command]
    ) -> Mapping[str, AttributeValue]:
        """What starts the same for each command of a server with so many operands."""
        if len(self._starts) >= MAX_STARTS:
            self._starts.clear()
        target, operation, _ = key
        described = self._described(target, operation, commands)
        self._starts[key] = Checked(described) if are_plain(described) else described
        return described

    def _described(
        self, target: Target, operation: str, commands: Sequence[Command]
    ) -> dict[str, AttributeValue]:
        attributes: dict[str, AttributeValue] = {
            **target.attributes,
            names.DB_OPERATION_NAME: operation,
        }
        if len(commands) == 1:
            command = commands[0]
            if self._query_text == "sanitized":
                attributes[names.DB_QUERY_TEXT] = self._commands.text_of(command)
            if command.rule.procedure and (procedure := procedure_of(command)):
                attributes[names.DB_STORED_PROCEDURE_NAME] = procedure
        elif commands:
            attributes[names.DB_OPERATION_BATCH_SIZE] = len(commands)
        return attributes

    def at_end(
        self,
        outcome: Outcome,
        size: int | None,
        failure: Failure | None,
        commands: Sequence[Command],
    ) -> dict[str, AttributeValue]:
        """What came of the call, and the texts that are only built for a span that is recording."""
        described = outcome.described
        if described is None:
            described = outcome.described = outcome_attributes(outcome)
        attributes: dict[str, AttributeValue] = {**described}
        if size is not None:
            attributes[names.CACHE_ITEM_SIZE] = size
        if failure is not None:
            attributes.update(failure.attributes)
        if self._query_text == "keys" and commands:
            attributes[names.DB_QUERY_TEXT] = joined(map(self._text_with_keys, commands))
        elif self._query_text == "sanitized" and len(commands) > 1:
            attributes[names.DB_QUERY_TEXT] = joined(self._commands.texts_of(commands))
        if self._show_key is not None and (keys := shown_keys(commands, self._show_key)):
            attributes[names.CACHE_KEY] = tuple(keys)
        return attributes

    def _text_with_keys(self, command: Command) -> str:
        return self._commands.text_with_keys(command, key_text)


def procedure_of(command: Command) -> str:
    """The digest or the function that is called; empty where it can be neither, and may be anything."""
    name = key_text(command.operands[0])[:64] if command.operands else ""
    form = _DIGEST if command.rule.name.startswith("EVALSHA") else _FUNCTION
    return name if form.fullmatch(name) else ""


def outcome_attributes(outcome: Outcome) -> dict[str, AttributeValue]:
    """Hits, misses, removals, and the one size or time to live."""
    attributes: dict[str, AttributeValue] = {}
    if (cache := outcome.only_cache) is not None:
        attributes[names.CACHE_NAME] = cache
    if outcome.total == 1:
        if outcome.hits or outcome.misses:
            attributes[names.CACHE_HIT] = bool(outcome.hits)
    elif outcome.total:
        attributes[names.CACHE_HITS] = outcome.hits
        attributes[names.CACHE_MISSES] = outcome.misses
    if outcome.removed:
        attributes[names.INVALIDATION_REMOVED] = sum(outcome.removed.values())
        attributes[names.INVALIDATION_REASON] = next(iter(outcome.removed))[1]
    if len(outcome.sizes) == 1:
        attributes[names.CACHE_ITEM_SIZE] = outcome.sizes[0][2]
    if outcome.ttls and len(seconds := {seconds for _, seconds in outcome.ttls}) == 1:
        attributes[names.CACHE_TTL] = seconds.pop()
    return attributes


def failed_attributes(
    failed: Sequence[int], commands: Sequence[Command]
) -> dict[str, AttributeValue]:
    """Which commands of a batch failed, by index."""
    if not failed or failed[0] >= len(commands):
        return {}
    return {
        names.BATCH_FAILED_COUNT: len(failed),
        names.BATCH_FAILED_INDEX: failed[0],
        names.BATCH_FAILED_OPERATION: commands[failed[0]].rule.name,
    }


def shown_keys(commands: Sequence[Command], show: Callable[[object], str]) -> list[str]:
    """The first keys of a call, as they may be shown."""
    shown: list[str] = []
    for command in commands:
        shown += map(show, command.keys[:MAX_KEYS])
        if len(shown) >= MAX_KEYS:
            break
    return shown[:MAX_KEYS]


def joined(commands: Iterable[str]) -> str:
    """The text of a batch: one where all are the same, else joined, at most so much of it."""
    others = iter(commands)
    first = next(others)
    texts = [first]
    size = len(first)
    for position, text in enumerate(others, start=1):
        if len(texts) == 1 and text != first:
            texts = [first] * min(position, MAX_TEXT)
            size = len(texts) * (len(first) + 2)
        if len(texts) > 1 or text != first:
            texts.append(text)
            size += len(text) + 2
            if size > MAX_TEXT:
                break
    return "; ".join(texts)[:MAX_TEXT]
