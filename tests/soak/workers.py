"""What one thread or task of the application does without end, and what it makes of each reply.

A worker has keys of its own, so that it knows what a reply may be: what it wrote last; where a call about the key
failed or was slow less than `UNSURE` seconds ago, anything that it ever wrote there, or nothing. A key that is gone
without that is an event that only the death of a server explains. Everything else is wrong.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import redis

from tests.soak.accounts import Account, Command, Event, error_type

CACHES = ("user", "cart", "page")
KEYS = 30
CHANNEL = "news:1"
UNSURE = 15.0
"""Seconds; longer than anything lies in the buffer of a server that is stopped or a network that stalls."""
IMPATIENT = 0.01
"""The part of the calls of tasks that are cancelled if they are not quick."""
SLOW = 0.2
"""A call that took longer may have been tried twice."""


@dataclass
class Entry:
    """What a worker knows of one of its keys."""

    written: int = 0
    """The number of the value that was written last, whatever became of it."""
    expected: int | None = None
    """The one that is there."""
    since: float = 0.0
    """When that was said by the server."""
    unsure_until: float = 0.0


class Worker:
    """Plans calls, and holds their replies against what it knows."""

    def __init__(
        self,
        route: str,
        number: int,
        seed: int,
        tell: Callable[[Event], None],
        *,
        tries_again: bool,
    ) -> None:
        self.account = Account()
        self.route, self._number, self._tell = route, number, tell
        self._tries_again = tries_again
        publishes = route == "proxied" and not tries_again
        self._dice = random.Random(f"{seed}:{number}")
        self._names = ["GET"] * 5 + ["SET"] * 3 + ["DEL"] + ["PUBLISH"] * publishes
        self._batches = ("PIPELINE",) if route == "cluster" else ("PIPELINE", "MULTI")
        self._entries: dict[str, Entry] = {}
        self._published = count(1)
        self._steps = count(1)
        self.operation = ""
        self.patience: float | None = None
        """Seconds after which a task cancels the call."""
        self._commands: list[Command] = []

    def plan(self) -> None:
        """Decide what the next call is."""
        hurries = self._dice.random() < IMPATIENT
        self.patience = self._dice.uniform(0.0005, 0.01) if hurries else None
        if next(self._steps) % 4:
            self._commands = [self._command(self._dice.choice(self._names))]
            self.operation = self._commands[0].name
        else:
            self._commands = [self._command(name) for name in ("GET", "SET", "DEL", "GET")]
            self.operation = self._dice.choice(self._batches)

    @property
    def is_batch(self) -> bool:
        return len(self._commands) > 1

    def send(self, client: Any) -> Any:
        """Make the call; of an asyncio client it is to be awaited."""
        if not self.is_batch:
            return _ask(client, self._commands[0])
        options = {} if self.route == "cluster" else {"transaction": self.operation == "MULTI"}
        pipe = client.pipeline(**options)
        for command in self._commands:
            _ask(pipe, command)
        return pipe.execute(raise_on_error=False)

    def note(self, reply: Any, began: float) -> None:
        """What came of it: a reply, or the exception."""
        ended = time.monotonic()
        has_failed = isinstance(reply, BaseException)
        replies = reply if self.is_batch and not has_failed else [reply]
        errors = [it for it in replies if isinstance(it, BaseException)]
        for error in errors[:1]:
            if not isinstance(error, asyncio.CancelledError):  # which it has asked for
                self._tell(Event("failure", self.route, error_type(error), began, ended))
        given = reply if has_failed else replies
        self.account.call(self.route, self.operation, self._commands, given)
        answers = [reply] * len(self._commands) if has_failed else replies
        for command, answer in zip(self._commands, answers, strict=True):
            self._check(command, answer, began, ended)

    def _command(self, name: str) -> Command:
        if name == "PUBLISH":
            return Command(name, (CHANNEL,), f"{self._number} {next(self._published)}")
        cache = self._dice.choice(CACHES)
        # Of a cluster each key is in a slot of its own; a DEL of one key is sent as it is.
        several = 2 if name == "DEL" and self.route != "cluster" else 1
        keys = tuple(f"{cache}:{self._number}-{n}" for n in self._dice.sample(range(KEYS), several))
        if name != "SET":
            return Command(name, keys)
        entry = self._entries.setdefault(keys[0], Entry())
        entry.written += 1
        return Command(
            name, keys, value_of(keys[0], entry.written), self._dice.choice((None, 3600))
        )

    def _check(self, command: Command, reply: Any, began: float, ended: float) -> None:
        if command.name == "PUBLISH":
            return
        entries = [self._entries.setdefault(key, Entry()) for key in command.keys]
        for key, entry in zip(command.keys, entries, strict=True):
            if isinstance(reply, BaseException) or ended - began > SLOW:
                entry.unsure_until = ended + UNSURE
            if command.name == "GET" and not isinstance(reply, BaseException):
                self._check_found(key, entry, reply, (began, ended))
        if isinstance(reply, BaseException):
            return
        if command.name == "DEL":
            self._check_removed(entries, reply, (began, ended))
        for entry in entries:
            entry.since = ended
            if command.name == "SET":
                entry.expected = number_of(command.keys[0], command.value)
            elif command.name == "DEL":
                entry.expected = None

    def _check_found(self, key: str, entry: Entry, reply: Any, when: tuple[float, float]) -> None:
        found = None if reply is None else number_of(key, reply)
        if reply is not None and (found is None or found > entry.written):
            what = f"GET gave what was never written there: {reply!r:.80}"
            self._tell(Event("wrong", self.route, what, *when))
        elif found != entry.expected and when[1] > entry.unsure_until:
            what = "GET gave a value that had been replaced or removed"
            self._contradict(what, [entry], when, is_loss=found is None)
        entry.expected = found

    def _check_removed(self, entries: list[Entry], removed: int, when: tuple[float, float]) -> None:
        expected = sum(entry.expected is not None for entry in entries)
        if removed != expected and not any(when[1] <= entry.unsure_until for entry in entries):
            what = "DEL removed another number of entries than were there"
            self._contradict(what, entries, when, is_loss=removed < expected)

    def _contradict(
        self, what: str, entries: list[Entry], when: tuple[float, float], *, is_loss: bool
    ) -> None:
        kind = "repeated" if self._tries_again else "wrong"
        since = min(entry.since for entry in entries)
        if is_loss:
            kind, what = ("repeated" if self._tries_again else "vanished"), "an entry is gone"
        self._tell(Event(kind, self.route, what, *when, since))


def value_of(key: str, number: int) -> str:
    """Of a few dozen to a few thousand bytes."""
    return f"{key}#{number}:" + "x" * (number * 37 % 2_000)


def number_of(key: str, value: str) -> int | None:
    """The number of a value that was made for this key; None for anything else."""
    head, _, rest = value.partition("#")
    digits = rest.partition(":")[0]
    if head != key or not digits.isdigit() or value != value_of(key, int(digits)):
        return None
    return int(digits)


def _ask(client: Any, command: Command) -> Any:
    """A call of a client; of a pipeline, queue it."""
    if command.name == "GET":
        return client.get(command.keys[0])
    if command.name == "SET":
        return client.set(command.keys[0], command.value, ex=command.ttl)
    if command.name == "DEL":
        return client.delete(*command.keys)
    return client.publish(command.keys[0], command.value)


class Sweeper:
    """Writes fifty entries and removes them by pattern, again and again."""

    ENTRIES = 50
    route = "direct"

    def __init__(self, number: int, tell: Callable[[Event], None]) -> None:
        self.account = Account()
        self._pattern = f"sweep:{number}-*"
        self._keys = [f"sweep:{number}-{n}" for n in range(self.ENTRIES)]
        self._tell = tell
        self._unsure_until = 0.0

    def turn(self, client: redis.Redis) -> bool:
        """Once; whether all went well."""
        from otel_redis_cache import invalidate

        began = time.monotonic()
        commands = [Command("SET", (key,), "x") for key in self._keys]
        pipe = client.pipeline(transaction=False)
        for command in commands:
            pipe.set(command.keys[0], command.value)
        try:
            reply: Any = pipe.execute(raise_on_error=False)
        except Exception as error:
            reply = error
        written = time.monotonic()
        self.account.call(self.route, "PIPELINE SET", commands, reply)
        replies = [reply] if isinstance(reply, BaseException) else reply
        errors = [it for it in replies if isinstance(it, BaseException)]
        for error in errors[:1]:
            self._tell(Event("failure", self.route, error_type(error), began, written))
        done = invalidate(client, self._pattern, reason="deploy")
        ended = time.monotonic()
        if done.outcome == "success":
            effect = "removed" if done.removed else "none"
        else:
            effect = "partial" if done.outcome == "partial" else "error"
        self.account.invalidation(self.route, "sweep", effect, done.removed)
        if done.error is not None:
            self._tell(Event("failure", self.route, error_type(done.error), written, ended))
        if errors or done.error is not None or ended - began > SLOW:
            self._unsure_until = ended + UNSURE
        elif ended > self._unsure_until and done.removed != self.ENTRIES:
            kind = "vanished" if done.removed < self.ENTRIES else "wrong"
            what = f"{done.removed} of {self.ENTRIES} entries were removed"
            self._tell(Event(kind, self.route, what, began, ended, began))
        return not errors and done.error is None


class Listener:
    """Gets what the workers publish, and nothing twice: those that publish never try again."""

    route = "steady"

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self.account = Account()
        self._recent: deque[str] = deque(maxlen=2_000)
        self._tell = tell

    def turn(self, subscriber: Any) -> bool:
        """Get one message, if there is one."""
        began = time.monotonic()
        try:
            message = subscriber.get_message(ignore_subscribe_messages=True, timeout=0.2)
        except Exception as error:
            self._tell(Event("failure", self.route, error_type(error), began, time.monotonic()))
            return False
        if message is not None and message["type"] == "message":
            self.account.messages[self.route, "receive"] += 1
            if message["data"] in self._recent:
                what = "a message came twice"
                self._tell(Event("wrong", self.route, what, began, time.monotonic()))
            self._recent.append(message["data"])
        return True
