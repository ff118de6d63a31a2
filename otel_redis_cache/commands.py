"""What was sent: a command, its row in the table, and its text with everything secret masked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, cast

from otel_redis_cache import command_table
from otel_redis_cache.caches import key_text
from otel_redis_cache.conventions import OTHER_OPERATION
from otel_redis_cache.facts import UNKNOWN_COMMAND, Command, Rule
from otel_redis_cache.operands import key_bytes, word

TABLE = {rule.name: rule for rule in command_table.rows()}
"""Every command with a row, by its upper-case name."""

MAX_TEXT = 1_024
"""Characters of ``db.query.text``, for a batch as for a command."""

_SCRIPTING = frozenset(rule.name for rule in command_table.FAMILIES["scripting"])
_CONTAINERS = frozenset(name.partition(" ")[0] for name in TABLE if " " in name)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}\Z")
_MAX_TEXTS = 2_048
_MAX_UNKNOWN = 256

_as_command: Callable[[type[Command], tuple[Rule, tuple[object, ...]]], Command] = cast(
    "Any", tuple
).__new__
"""What ``Command(rule, operands)`` does, without a function of Python: each command of a call is one."""


class Commands:
    """Recognises commands and writes them down."""

    def __init__(self, extra: Iterable[str] = (), scripts: Iterable[tuple[str, str]] = ()) -> None:
        """Know the commands of the table, and more.

        Args:
            extra: further names, of modules or newer servers, that metrics may carry.
            scripts: what scripts of these SHA1 digests, and functions of these names, do.
        """
        self._scripts = dict(scripts)
        self._by_name = dict(TABLE)
        for name in extra:
            self._by_name.setdefault(name, Rule(name))
        self._containers = _CONTAINERS | {n.partition(" ")[0] for n in self._by_name if " " in n}
        # Single-word names by the very object that redis-py passes: no upper(), no split().
        self._exact: dict[object, Rule] = {
            name: rule
            for name, rule in self._by_name.items()
            if name not in self._containers and not (self._scripts and name in _SCRIPTING)
        }
        self._unknown: dict[str, Rule] = {}
        self._texts: dict[tuple[str, int, tuple[str, ...]], str] = {}

    def describe(self, args: Sequence[object]) -> Command:
        """The command of these arguments, as redis-py would put them on the wire."""
        if not args:
            return UNKNOWN_COMMAND
        head = args[0]
        # The type first: other things may compare equal to a name, or not be hashable.
        if type(head) is str and (rule := self._exact.get(head)) is not None:
            return _as_command(Command, (rule, tuple(args[1:])))
        return self._describe_slowly(head, tuple(args[1:]))

    def describe_batch(self, batch: Sequence[Sequence[object]]) -> list[Command]:
        """The same for each command of a batch, most of which need no function of their own."""
        if {*map(type, batch)} == {tuple}:
            exact, make = self._exact, _as_command
            tuples = cast("Sequence[tuple[object, ...]]", batch)
            with suppress(Exception):  # one that is not known by this very text, or no text at all
                return [make(Command, (exact[args[0]], args[1:])) for args in tuples]
        return [self.describe(args) for args in batch]

    def text_of(self, command: Command) -> str:
        """``SET ? ? EX ?``: one constant for each command, number of operands and options."""
        shown = _words(command) if command.rule.words else ()
        key = (command.rule.name, len(command.operands), shown)
        text = self._texts.get(key)
        if text is None:
            parts = shown or ["?"] * min(len(command.operands), MAX_TEXT // 2)
            text = " ".join([command.rule.name, *parts])[:MAX_TEXT]
            if len(self._texts) >= _MAX_TEXTS:
                self._texts.clear()
            self._texts[key] = text
        return text

    def texts_of(self, commands: Sequence[Command]) -> Iterator[str]:
        """The same of each of a batch; one for all where they look alike."""
        rule = rule_of_all(commands)
        if (
            rule is not None
            and not rule.words
            and len({len(command[1]) for command in commands}) == 1
        ):
            yield self.text_of(commands[0])
            return
        text, before, size = "", None, 0
        for command in commands:
            rule, operands = command
            if rule is not before or len(operands) != size or rule.words:
                text, before, size = self.text_of(command), rule, len(operands)
            yield text

    def text_with_keys(self, command: Command, key_text: Callable[[object], str]) -> str:
        """``SET user:1 ? EX ?``: keys shown, everything else masked."""
        parts = list(_words(command)) or ["?"] * min(len(command.operands), MAX_TEXT // 2)
        for position in command.rule.positions(command.operands):
            if position >= len(parts):
                break
            parts[position] = key_text(command.operands[position])
        return " ".join([command.rule.name, *parts])[:MAX_TEXT]

    def _describe_slowly(self, head: object, operands: tuple[object, ...]) -> Command:
        """Names in lower case or bytes, of two words, with operands behind a space, unknown ones."""
        if isinstance(head, str):
            tokens: list[object] = list(head.split())
        elif isinstance(head, bytes | bytearray | memoryview):
            tokens = list(bytes(cast("bytes", head)).split())
        else:
            return Command(UNKNOWN_COMMAND.rule, operands)
        words = [*tokens, *operands]
        name = word(words[0]) if words else ""
        if name in self._containers and len(words) > 1:
            both = self._by_name.get(f"{name} {word(words[1])}")
            if both is not None:
                return Command(both, tuple(words[2:]))
        rule = self._by_name.get(name) or self._unknown_rule(name)
        if self._scripts and name in _SCRIPTING and len(words) > 1:
            rule = self._declared(rule, words[1])
        return Command(rule, tuple(words[1:]))

    def _declared(self, rule: Rule, script: object) -> Rule:
        """The rule with what the user says that this script or function reads and removes."""
        name, body = key_text(script), key_bytes(script)
        if not rule.procedure and isinstance(body, bytes):  # EVAL carries the script itself
            name = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        if (does := self._scripts.get(name.lower())) is None:
            return rule
        read, removal = command_table.DECLARED[does]
        return rule._replace(read=read, removal=removal)

    def _unknown_rule(self, name: str) -> Rule:
        if not _NAME.match(name):
            return UNKNOWN_COMMAND.rule
        rule = self._unknown.get(name)
        if rule is None:
            rule = Rule(name, known=False)
            if len(self._unknown) < _MAX_UNKNOWN:
                self._unknown[name] = rule
        return rule


def rule_of_all(commands: Sequence[Command]) -> Rule | None:
    """That of a batch whose commands all have the same one."""
    rules = [rule for rule, _ in commands]
    return rules[0] if rules and rules.count(rules[0]) == len(rules) else None


def operation_of(
    commands: Sequence[Command], rule: Rule | None, *, transaction: bool
) -> tuple[str, str]:
    """``db.operation.name`` of a batch, on the span and on metrics.

    It is ``PIPELINE`` or ``MULTI``, followed by the command where all are the same one; a
    batch of one command is that command. ``rule`` is that of :func:`rule_of_all`.
    """
    if len(commands) == 1:
        return commands[0].rule.operations
    kind = "MULTI" if transaction else "PIPELINE"
    if rule is None:
        if len({command.rule.name for command in commands}) != 1:
            return kind, kind
        rule = commands[0].rule  # of scripts, each of which has its own
    return f"{kind} {rule.name}", f"{kind} {rule.name if rule.known else OTHER_OPERATION}"


def _words(command: Command) -> tuple[str, ...]:
    """Operands with all but option words masked; empty where every operand is masked anyway."""
    rule, operands = command
    words, start = rule.words, rule.words_from
    if not words or len(operands) <= start:
        return ()
    shown = ["?"] * len(operands)
    for position in range(start, min(len(operands), MAX_TEXT // 2)):
        option = word(operands[position])
        if option in words:
            shown[position] = option
            if option == "FIELDS":
                break
        elif rule.leading:
            break
    return tuple(shown)
