"""Which named cache a key belongs to.

The cache name is the only text made from a key that leaves the process by default, so an
automatic name must look like a word that a programmer chose, not like somebody's identifier.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from otel_redis_cache.conventions import DEFAULT_CACHE, OTHER_CACHE
from otel_redis_cache.forks import renew_after_fork
from otel_redis_cache.framework_keys import DJANGO_PREFIX, framework_name
from otel_redis_cache.settings import PLACEHOLDER, Rules, Settings

MAX_KEY_TEXT = 256
"""Characters of a key that are looked at; what stands behind them never decides its name."""

MAX_FIRST = 64
"""Characters in which the first delimiter stands."""

FEW = 3
"""Keys that are sooner looked at one by one."""

MAX_REMEMBERED = 1_024
"""First parts that are remembered to be names, of keys that no framework shaped."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{1,39}\Z")
_DIGIT = re.compile(r"[0-9]")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{8}")


class FirstNames:
    """The names that came first, of which a process has a bounded number."""

    def __init__(self) -> None:
        """Start with none."""
        self.names: set[str] = set()
        self._lock = threading.RLock()
        renew_after_fork(self)

    def admit(self, name: str, at_most: int) -> bool:
        """Whether this name is one of the first ones."""
        with self._lock:
            if name not in self.names and len(self.names) < at_most:
                self.names.add(name)
            return name in self.names

    def renew_locks(self) -> None:
        """In a forked child."""
        self._lock = threading.RLock()


class RuleNames:
    """Names by the user's rules alone."""

    def __init__(self, rules: Rules, delimiter: str) -> None:
        """Compile them."""
        self._rules = [(compile_pattern(pattern, delimiter), name) for name, pattern in rules]

    def name_of(self, key: object) -> str | None:
        """The name of the first rule that matches; None without one, or where it says so."""
        if self._rules:
            text = key_text(key)[:MAX_KEY_TEXT]
            for pattern, name in self._rules:
                if pattern(text):
                    return None if name == "-" else name
        return None


class Caches:
    """Names keys by the user's rules, else by the shape of a framework, else by their first part."""

    def __init__(
        self, settings: Settings, known: FirstNames, overflowed: Callable[[], None]
    ) -> None:
        """Compile the rules; ``overflowed`` is called for each key that a bound turns away."""
        self._delimiter = settings.key_delimiter
        self._rules = [
            (compile_pattern(pattern, self._delimiter), name, pattern)
            for name, pattern in settings.caches
        ]
        self._automatic = settings.names_automatically
        self._at_most = settings.max_auto_caches
        self._known = known
        self._overflowed = overflowed
        self._plain: set[str] = set()

    def name_of(self, key: object) -> str | None:
        """The cache of this key; None where a rule says that it is no cache."""
        text = key if type(key) is str else key_text(key)
        if self._rules:
            shown = text[:MAX_KEY_TEXT]
            for pattern, name, _ in self._rules:
                if pattern(shown):
                    return None if name == "-" else name
        if not self._automatic:
            return DEFAULT_CACHE
        # Either Django's prefix is empty, or the key of its own behind it has a dot.
        if text[:1] == ":" or "." in text:
            return self._automatic_name(without_django_prefix(text))
        end = text.find(self._delimiter, 0, MAX_FIRST)
        first = text[:end] if end > 0 else ""
        return first if first in self._plain else self._automatic_name(text)

    def names_of(self, keys: Sequence[object]) -> list[str | None]:
        """The caches of many keys, which mostly begin as others did."""
        if self._rules or not self._automatic:
            return list(map(self.name_of, keys))
        if len(keys) > FEW and (shared := self._name_of_all(keys)):
            return [shared] * len(keys)
        delimiter, plain, found = self._delimiter, self._plain, list[str | None]()
        for key in keys:
            if type(key) is str and key[:1] != ":" and "." not in key:
                end = key.find(delimiter, 0, MAX_FIRST)
                first = key[:end] if end > 0 else ""
                found.append(first if first in plain else self.name_of(key))
            else:
                found.append(self.name_of(key))
        return found

    def _name_of_all(self, keys: Sequence[object]) -> str:
        """The name that they share; empty where that takes a look at each, twenty times as long."""
        if {*map(type, keys)} != {str}:
            return ""
        texts, delimiter = cast("Sequence[str]", keys), self._delimiter
        first = texts[0][: max(texts[0].find(delimiter, 0, MAX_FIRST), 0)]
        joined = "\0".join(["", *texts])
        are_alike = (
            first in self._plain
            and "." not in joined
            and joined.count("\0") == joined.count(f"\0{first}{delimiter}") == len(texts)
        )
        return first if are_alike else ""

    def template_of(self, key: object) -> str:
        """The key with what may identify somebody taken out: ``user:{}``."""
        text = key_text(key)[:MAX_KEY_TEXT]
        for pattern, _, template in self._rules:
            if pattern(text):
                return PLACEHOLDER.sub("{}", template)
        first, *others = text.split(self._delimiter)
        plain = looks_like_a_name(first) and framework_name(text) is None
        head = first if others and plain else "{}"
        return self._delimiter.join([head, *["{}"] * len(others)][:8])

    def _automatic_name(self, text: str) -> str:
        first = first_part(text, self._delimiter)
        if first in self._plain:
            return first
        framework = framework_name(text[:MAX_KEY_TEXT])
        name = framework or first
        if name not in self._known.names:
            if not looks_like_a_name(name):
                return DEFAULT_CACHE
            if not self._known.admit(name, self._at_most):
                self._overflowed()
                return OTHER_CACHE
        if not framework and len(self._plain) < MAX_REMEMBERED:
            self._plain.add(first)
        return name


def without_django_prefix(text: str) -> str:
    """The key that an application gave to Django, or any other one as it is."""
    prefix = DJANGO_PREFIX.match(text)
    return text if prefix is None else text[prefix.end() :]


def first_part(text: str, delimiter: str) -> str:
    """What stands before the first delimiter, without a hash tag's braces; empty without one."""
    first = text[: max(text.find(delimiter, 0, MAX_FIRST), 0)]
    if "{" in first or "}" in first:
        first = first.replace("{", "").replace("}", "")
    return first


def looks_like_a_name(part: str) -> bool:
    """Whether a part of a key is a word that a programmer chose, and not an identifier."""
    return (
        _NAME.match(part) is not None
        and len(_DIGIT.findall(part)) <= 3
        and _HEXADECIMAL.search(part) is None
    )


def key_text(key: object) -> str:
    """A key as text, at most as much of it as is looked at."""
    if isinstance(key, str):
        return key
    if isinstance(key, memoryview):
        key = key[:MAX_KEY_TEXT].tobytes()
    if isinstance(key, bytes | bytearray):
        return bytes(key[:MAX_KEY_TEXT]).decode("utf-8", "replace")
    if isinstance(key, int | float):
        with suppress(ValueError):  # a number of thousands of digits, which no client sends
            return repr(key)
    return ""


def hash_key(key: object, secret: str) -> str:
    """A keyed hash, so that only who knows the secret can tell which key it was."""
    digest = hmac.new(secret.encode(), key_text(key).encode("utf-8", "replace"), hashlib.sha256)
    return digest.hexdigest()[:32]


def compile_pattern(pattern: str, delimiter: str) -> Callable[[str], object]:
    """A matcher for one rule, which takes at most the square of the characters looked at.

    Each piece of text after a ``*`` is matched once, at the first place where it fits, as
    :func:`fnmatch.translate` does it: a look-ahead that is captured is not tried again. Inside a
    piece there is one way to match, as a placeholder takes the rest of its part of the key.
    """
    pieces: list[str] = [""]
    position = 0
    for found in PLACEHOLDER.finditer(pattern):
        pieces[-1] += re.escape(pattern[position : found.start()])
        position = found.end()
        mark = found.group()
        if mark.startswith("*"):
            pieces.append("")
        else:
            pieces[-1] += "." if mark == "?" else f"(?:(?!{re.escape(delimiter)}).)+"
    pieces[-1] += re.escape(pattern[position:])
    first, *rest = pieces
    if not rest:
        return re.compile(first, re.DOTALL).fullmatch
    *middle, last = rest
    held = "".join(f"(?=(?P<p{i}>.*?{piece}))(?P=p{i})" for i, piece in enumerate(middle))
    return re.compile(f"{first}{held}.*{last}", re.DOTALL).fullmatch
