"""What goes through channels and streams: messages counted, and how old entries were."""

from __future__ import annotations

from collections.abc import Sequence

from otel_redis_cache import conventions as names
from otel_redis_cache import streams
from otel_redis_cache.caches import RuleNames, key_text, looks_like_a_name
from otel_redis_cache.facts import Command, Target
from otel_redis_cache.operands import word
from otel_redis_cache.recorder import Recorder
from otel_redis_cache.settings import Settings

PUBLISHING = frozenset({"PUBLISH", "SPUBLISH"})

_CHANNEL_AT = {"MESSAGE": 1, "SMESSAGE": 1, "PMESSAGE": 2}
"""Where a message that was received has its channel; what is no message has none."""


class Traffic:
    """Counts messages and measures lags, where the settings ask for it."""

    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        """Names come from the rules of ``channels`` and ``streams``."""
        self._recorder = recorder
        self._channels = RuleNames(settings.channels, settings.key_delimiter)
        self._streams = RuleNames(settings.streams, settings.key_delimiter)
        self.counts_messages = "pubsub" in settings.metrics
        self._measures_lags = "streams" in settings.metrics

    @property
    def is_followed(self) -> bool:
        """Whether the replies of calls are of interest."""
        return self.counts_messages or self._measures_lags

    def follow(
        self, target: Target, commands: Sequence[Command], replies: Sequence[object], now: float
    ) -> None:
        """What a call published, and what entries it was handed at this unix time."""
        for command, reply in zip(commands, replies, strict=False):
            if isinstance(reply, BaseException):
                continue
            if command.rule.name in PUBLISHING:
                if self.counts_messages and command.operands:
                    self._count(target, command.operands[0], names.PUBLISHED)
            elif self._measures_lags:
                self._measure(target, command, reply, now)

    def receive(self, target: Target, message: Sequence[object]) -> None:
        """A message that a subscriber got; see :func:`is_message`."""
        self._count(target, message[_CHANNEL_AT[word(message[0])]], names.RECEIVED)

    def channel_of(self, message: object) -> str | None:
        """The name of a channel."""
        return self._channels.name_of(message)

    def _count(self, target: Target, channel: object, direction: str) -> None:
        name = self.channel_of(channel) or ""
        self._recorder.tallies.messages.add((target, (name, direction)))

    def _measure(self, target: Target, command: Command, reply: object, now: float) -> None:
        for stream, lags in streams.lags(command, reply, now):
            name = self._streams.name_of(stream)
            group = None if name is None else self._group(streams.group_of(command))
            self._recorder.record_lags(target, name, group, lags)

    def _group(self, group: object) -> str | None:
        """A consumer group that looks like a name a programmer chose."""
        if group is None:
            return None
        text = key_text(group)
        return (
            self._recorder.tallies.group_of(text) if looks_like_a_name(text) else names.OTHER_GROUP
        )


def is_message(response: object) -> bool:
    """Whether what a subscriber got is a message, and not an answer to its own SUBSCRIBE or PING."""
    return (
        isinstance(response, list | tuple)
        and len(response) > 2  # pyright: ignore[reportUnknownArgumentType]
        and word(response[0]) in _CHANNEL_AT  # pyright: ignore[reportUnknownArgumentType]
    )
