"""What a user can decide, from keywords, the environment or the declarative configuration file."""

from __future__ import annotations

import dataclasses
import logging
import re
import reprlib
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from otel_redis_cache.conventions import (
    CONNECTIONS,
    DEFAULT_GROUPS,
    GROUPS,
    POOL_TIMES,
    RESERVED_CACHES,
)

logger = logging.getLogger("otel_redis_cache")

SCRIPT_EFFECTS = ("reads", "removes", "takes")

PREFIX = "OTEL_REDIS_CACHE_"

WATCHED = (
    *("redis://", "rediss://", "valkey://", "valkeys://", "unix://"),
    *("redis+sentinel://", "rediss+sentinel://", "valkey+sentinel://", "valkeys+sentinel://"),
)
"""What the URL of a server to watch begins with."""

PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}|\*+|\?")
"""What stands for other text in the pattern of a rule."""

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 80
"""Shows what was given, whatever it is and however much of it."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:,/]+)"
_PLACE_WITH_PORT = re.compile(rf"({_HOST}(:\d*)?(,{_HOST}(:\d*)?)*)?(/[^:]*)?")
_PLACE = re.compile(rf"({_HOST}(:\w*)?(,{_HOST}(:\w*)?)*)?(/.*)?")


class SettingError(ValueError):
    """A setting has a value that is not allowed; names the field, the value and what is allowed."""

    def __init__(self, message: str, *fields: str) -> None:
        """``fields``: the settings it is about, first the one to leave out."""
        super().__init__(message)
        self.fields = fields


Rules = tuple[tuple[str, str], ...]
"""(cache name, key pattern) in order; the name ``-`` means "not a cache"."""


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    return words[_text(value).strip().lower()]


def _flag_or_auto(value: object) -> bool | None:
    return None if value is None else _flag(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _url(value: object) -> str | None:
    if value is None:
        return None
    text = _text(value).strip()
    if not text.startswith(WATCHED) or text.endswith("://"):
        raise ValueError
    return text


def without_secrets(url: object) -> object:
    """A URL as it may be shown: without user, password and options.

    Where it cannot be told what of it is a password, that is its scheme.
    """
    if not isinstance(url, str):
        return url if url is None else type(url)
    found = _SCHEME.match(url)
    scheme, rest = (found.group(), url[found.end() :]) if found else ("", url)
    place, _, options = rest.partition("?")
    _, at, hosts = place.rpartition("@")
    # Before an @ that is forgotten stand a user and a password, which look like a host and a port.
    shape = _PLACE if at else _PLACE_WITH_PORT
    return f"{scheme}{hosts}" if "@" not in options and shape.fullmatch(hosts) else scheme


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    number = int(value)
    if number < 0:
        raise ValueError
    return number


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value)
    if not 1 <= number <= 86_400:
        raise ValueError
    return number


def _delimiter(value: object) -> str:
    text = _text(value)
    if not 1 <= len(text) <= 8 or text.strip() == "":
        raise ValueError
    return text


def _one_of(*allowed: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        # YAML reads a bare `off` as false.
        text = "off" if value is False else _text(value).strip().lower()
        if text not in allowed:
            raise ValueError
        return text

    return parse


def _list(value: object) -> list[str]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, Iterable) or isinstance(items, bytes | Mapping):
        raise TypeError
    return [text for item in cast("Iterable[object]", items) if (text := _text(item).strip())]


def _commands(value: object) -> frozenset[str]:
    return frozenset(" ".join(name.upper().split()) for name in _list(value))


def _groups(value: object) -> frozenset[str]:
    if isinstance(value, bool):
        return frozenset(DEFAULT_GROUPS if value else ())
    chosen = {name.lower() for name in _list(value)}
    if chosen == {"all"}:
        return frozenset(GROUPS)
    if chosen == {"none"}:
        return frozenset()
    if not chosen or not chosen <= {"default", *GROUPS}:
        raise ValueError
    if POOL_TIMES in chosen:
        chosen.add(CONNECTIONS)
    return frozenset(chosen - {"default"} | set(DEFAULT_GROUPS if "default" in chosen else ()))


def _rules(value: object) -> Rules:
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        found = [(_text(name), text) for name, given in pairs for text in _patterns(given)]
    else:
        found = [_rule(text) for text in _list(value)]
    for name, pattern in found:
        if not name or not pattern or len(name) > 64 or len(pattern) > 256:
            raise ValueError
        if name in RESERVED_CACHES or not name.isprintable() or not name.strip():
            raise ValueError  # an exporter would refuse a lone surrogate
    return tuple(found)


def _patterns(value: object) -> list[str]:
    """The patterns of one cache; a comma is part of a pattern where the caller gives a mapping."""
    return [value] if isinstance(value, str) else _list(value)


def _rule(text: str) -> tuple[str, str]:
    """``sessions=sess:*`` names a cache; ``locks:*=-`` says that these keys are none."""
    pattern, dash, rest = text.rpartition("=")
    if dash and rest.strip() == "-":
        return "-", pattern.strip()
    name, equals, pattern = text.partition("=")
    if not equals:
        raise ValueError
    return name.strip(), pattern.strip()


def _scripts(value: object) -> tuple[tuple[str, str], ...]:
    if isinstance(value, Mapping):
        given = cast("Mapping[object, object]", value).items()
        found = [(_text(name), _text(does)) for name, does in given]
    else:
        found = [(name, does) for name, _, does in (t.rpartition("=") for t in _list(value))]
    # Servers know digests and functions in any case.
    cleaned = [(name.strip().lower(), does.strip().lower()) for name, does in found]
    if not all(name and does in SCRIPT_EFFECTS for name, does in cleaned):
        raise ValueError
    return tuple(cleaned)


def _setting(
    default: object,
    parse: Callable[[object], object],
    allowed: str,
    meaning: str,
    *,
    is_secret: bool = False,
) -> Any:
    """A field with the one way to read it and the words that say what it takes."""
    metadata = {"parse": parse, "allowed": allowed, "meaning": meaning}
    return field(default=default, repr=not is_secret, metadata=metadata)


_FLAG = "true or false"
_COMMANDS = "command names, comma-separated"


@dataclass(frozen=True)
class Settings:
    """Every option of the package; see ``docs/settings.md``, which is made from this class."""

    caches: Rules = _setting(
        (),
        _rules,
        "rules name=pattern, comma-separated, or a mapping; a name of 1 to 64 and a pattern of "
        "1 to 256 printable characters; pattern=- for keys that are no cache; not the names "
        f"{', '.join(RESERVED_CACHES)}",
        "Which keys belong to which named cache, first match wins. In a pattern `*` stands for "
        "any text, `?` for one character and `{id}` for the rest of a part between delimiters.",
    )
    auto_caches: bool | None = _setting(
        None,
        _flag_or_auto,
        _FLAG,
        "Name the cache after the key's first part where no rule matches. On without rules, off "
        "with rules, unless said otherwise.",
    )
    max_auto_caches: int = _setting(
        20, _whole, "a whole number from 0", "How many such names; later ones are `_other`."
    )
    key_delimiter: str = _setting(
        ":", _delimiter, "1 to 8 characters, not blank", "What parts of a key are separated by."
    )
    channels: Rules = _setting(
        (),
        _rules,
        "as for `caches`; pattern=- for channels without a name",
        "Names of Pub/Sub channels on metrics, first match wins; without a rule, none.",
    )
    streams: Rules = _setting(
        (),
        _rules,
        "as for `caches`; pattern=- for streams without a name",
        "Names of streams on metrics, first match wins; without a rule, none, and none of their "
        "consumer groups.",
    )
    count_probes: bool = _setting(
        False, _flag, _FLAG, "Count EXISTS, TTL, TYPE and other probes as lookups."
    )
    duration_by_cache: bool = _setting(
        False, _flag, _FLAG, "Put `cache.name` on `db.client.operation.duration`."
    )
    traces: bool = _setting(True, _flag, _FLAG, "Make spans.")
    metrics: frozenset[str] = _setting(
        frozenset(DEFAULT_GROUPS),
        _groups,
        f"all, none, or groups of {', '.join(GROUPS)}; default for {', '.join(DEFAULT_GROUPS)}; "
        f"{POOL_TIMES} brings {CONNECTIONS}",
        "Which groups of metrics to make.",
    )
    query_text: str = _setting(
        "sanitized",
        _one_of("sanitized", "keys", "off"),
        "sanitized, keys or off",
        "`db.query.text`: `GET ?`, or `GET user:1` (keys shown, values masked), or none.",
    )
    key_attribute: str = _setting(
        "none",
        _one_of("none", "template", "hash", "full"),
        "none, template, hash or full",
        "`cache.key`: nothing, `user:{}`, a keyed hash (needs `key_secret`), or the key.",
    )
    key_secret: str | None = _setting(
        None, _optional_text, "text", "The secret of `key_attribute=hash`.", is_secret=True
    )
    include_commands: frozenset[str] = _setting(
        frozenset[str](), _commands, _COMMANDS, "Make spans for these commands only."
    )
    exclude_commands: frozenset[str] = _setting(
        frozenset[str](), _commands, _COMMANDS, "Make no spans for these commands."
    )
    require_parent_span: bool = _setting(
        False, _flag, _FLAG, "Make spans only inside another span; metrics stay exact."
    )
    extra_commands: frozenset[str] = _setting(
        frozenset[str](), _commands, _COMMANDS, "Further command names that metrics may carry."
    )
    scripts: tuple[tuple[str, str], ...] = _setting(
        (),
        _scripts,
        f"name=effect, comma-separated, or a mapping; an effect is {', '.join(SCRIPT_EFFECTS)}",
        "What Lua scripts (by SHA1) and functions (by name) do with the keys they are given: read "
        "each (nil is a miss), remove them (the reply counts them), or take them, as GETDEL does.",
    )
    hit_ratio_window: float = _setting(
        60.0, _seconds, "seconds from 1 to 86400", "The window of `cache.hit_ratio`."
    )
    snapshot: bool = _setting(
        False, _flag, _FLAG, "Keep counts and latencies for `snapshot()`, whatever `metrics` says."
    )
    propagate_context: bool = _setting(
        False,
        _flag,
        _FLAG,
        "Send the trace context along with XADD, PUBLISH and SPUBLISH. This changes what is sent: "
        "`docs/messages.md`.",
    )
    load_window: float = _setting(
        30.0,
        _seconds,
        "seconds from 1 to 86400",
        "How long a miss waits for its write-back: `cache.load.duration`, `cache.stampedes`.",
    )
    watch: str | None = _setting(
        None,
        _url,
        f"a URL that begins with {', '.join(WATCHED)}; for Sentinels "
        "redis+sentinel://host:26379,host:26379/name",
        "The server whose memory, keys, evictions and more to watch, beside the application's "
        "calls: `docs/server.md`. Any node of a cluster stands for all of them.",
        is_secret=True,
    )
    watch_commands: bool = _setting(
        False, _flag, _FLAG, "Watch each command's calls and time at the server (`redis.cmd.*`)."
    )
    watch_leader: bool = _setting(
        False,
        _flag,
        _FLAG,
        "Watch where the server lets no process take the lease that makes one of them watch. "
        "In exactly one process.",
    )
    sample_memory: bool = _setting(
        False, _flag, _FLAG, "Estimate entries and memory of each cache, from samples of its keys."
    )
    listen_events: bool = _setting(
        False,
        _flag,
        _FLAG,
        "Count expired and evicted entries by cache, from the server's keyspace events.",
    )
    on_conflict: str = _setting(
        "yield",
        _one_of("yield", "both", "off"),
        "yield, both or off",
        "Where another instrumentation already makes Redis spans or durations: leave those to "
        "it, make both, or switch this package off.",
    )

    fast_path: str = _setting(
        "auto",
        _one_of("auto", "off"),
        "auto or off",
        "Give measurements of histograms straight to the aggregations of the SDK, and make its spans "
        "with fewer steps, where a rehearsal shows that this makes the same; or always go through the "
        "public API.",
    )

    def __post_init__(self) -> None:
        """Hold the rules between two fields."""
        if self.key_attribute == "hash" and not self.key_secret:
            message = "key_attribute is 'hash', which needs key_secret: a text that is kept secret"
            raise SettingError(message, "key_attribute", "key_secret")
        for name in ("caches", "channels", "streams"):
            self._hold_patterns(name)

    def _hold_patterns(self, name: str) -> None:
        rules: Rules = getattr(self, name)
        for _, pattern in rules:
            for found in PLACEHOLDER.finditer(pattern):
                behind = pattern[found.end() :]
                if found.group()[0] == "{" and not _ends_part(behind, self.key_delimiter):
                    message = (
                        f"{name} has the pattern {pattern!r}; allowed behind {found.group()}: "
                        f"the delimiter {self.key_delimiter!r}, * or nothing"
                    )
                    raise SettingError(message, name, "key_delimiter")

    @property
    def counts_caches(self) -> bool:
        """Whether lookups, writes and removals are counted."""
        return self.snapshot or not self.metrics.isdisjoint({"cache", "ratio"})

    @property
    def names_automatically(self) -> bool:
        """Whether keys that no rule matches are named after their first part."""
        return not self.caches if self.auto_caches is None else self.auto_caches


def _ends_part(behind: str, delimiter: str) -> bool:
    return not behind or behind.startswith((delimiter, "*"))


FIELDS = {f.name: f for f in dataclasses.fields(Settings)}


@dataclass(frozen=True, init=False)
class FileOptions(Settings):
    """The options of one instrumentation in the declarative configuration file, as they stand there.

    Nobody may be looking at an application that is configured by a file: an option that is not
    understood is logged in one line, and its default is used. ``opentelemetry-configuration``
    fills this dataclass and passes the fields that are not None on to ``instrument()``.
    """

    def __init__(self, **options: object) -> None:
        """Keep the options that are allowed."""
        allowed = {name: value for name, value in options.items() if _is_allowed(name, value)}
        parsed = {name: parse(name, value) for name, value in allowed.items()}
        kept = _consistent(parsed, "configuration file")
        for name in FIELDS:
            is_kept = name in allowed and getattr(kept, name) == parsed[name]
            object.__setattr__(self, name, allowed[name] if is_kept else None)


def _is_allowed(name: str, value: object) -> bool:
    try:
        _known(name)
        parse(name, value)
    except SettingError as error:
        logger.warning("configuration file: %s; using the default", error)
        return False
    return True


def _known(name: str) -> None:
    if name not in FIELDS:
        message = f"{name!r} is no setting; allowed are {', '.join(sorted(FIELDS))}"
        raise SettingError(message, name)


def from_keywords(given: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """Settings from keywords, else from the environment, else the defaults.

    Raises:
        SettingError: for a keyword that does not exist or has a value that is not allowed.

    A wrong value in the environment must not stop an application that nobody is looking at:
    it is logged in one line and the default is used.
    """
    for name in given:
        _known(name)
    values = _from_environment(environ, skip=given)
    values |= {name: parse(name, value) for name, value in given.items()}
    return _consistent(values, "the environment", never=given)


def changed(base: Settings, given: Mapping[str, object]) -> Settings:
    """The same settings but for some keywords.

    Raises:
        SettingError: for a keyword that does not exist or has a value that is not allowed.
    """
    for name in given:
        _known(name)
    return dataclasses.replace(base, **{name: parse(name, value) for name, value in given.items()})


def _consistent(values: dict[str, Any], source: str, never: Container[str] = ()) -> Settings:
    """Settings of values that are allowed one by one, without those that do not go together.

    Raises:
        SettingError: about one of the fields ``never`` to leave out.
    """
    try:
        return Settings(**values)
    except SettingError as error:
        culprit = next(
            (name for name in error.fields if name in values and name not in never), None
        )
        if culprit is None:
            raise
        logger.warning("%s: %s; using the default of %s", source, error, culprit)
        others = {name: value for name, value in values.items() if name != culprit}
        return _consistent(others, source, never)


def parse(name: str, value: object) -> Any:
    """One value of one field, or a :class:`SettingError` that says what is allowed."""
    facts = FIELDS[name].metadata
    with suppress(Exception):  # a keyword may be an object that answers as it likes
        return facts["parse"](value)
    shown = "(not shown)"
    if name != "key_secret":
        shown = _shown(without_secrets(value) if name == "watch" else value)
    message = f"{name} is {shown}; allowed: {facts['allowed']}"
    raise SettingError(message, name)


def _shown(value: object) -> str:
    with suppress(
        Exception
    ):  # it may show itself as it likes, and a number have thousands of digits
        return _brief.repr(value)[:80]
    return f"a value of type {type(value).__name__}"


def _from_environment(environ: Mapping[str, str], skip: Mapping[str, object]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in FIELDS:
        value = environ.get(PREFIX + name.upper(), "")
        if name in skip or not value.strip():
            continue
        try:
            found[name] = parse(name, value)
        except SettingError as error:
            logger.warning("%s%s: %s; using the default", PREFIX, name.upper(), error)
    return found
