"""Write the pages of this directory that are made from code: ``make golden``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
from typing_extensions import is_typeddict

from docs.registry import reader
from docs.registry.reader import Attribute, Registry
from otel_redis_cache import Health, Snapshot, command_table, conventions
from otel_redis_cache.cli import main as program
from otel_redis_cache.conventions import Metric
from otel_redis_cache.facts import Rule
from otel_redis_cache.framework_keys import LIBRARIES
from otel_redis_cache.settings import FIELDS, PREFIX

_MADE = "<!-- Made by docs/generate.py; do not edit. -->"


def commands() -> str:
    """What each command means to a cache."""
    ruled = [rule for rules in command_table.FAMILIES.values() for rule in rules]
    unverified = sorted(rule.name for rule in ruled if rule.name in command_table.UNVERIFIED)
    sections = [
        "\n".join([f"## {_title(family)}", "", *_table(_COLUMNS, map(_command_row, rules))])
        for family, rules in command_table.FAMILIES.items()
    ]
    named = [
        f"- {_title(family)}: {' '.join(text.split())}"
        for family, text in command_table.NAMED_ONLY.items()
    ]
    return _page(
        "Commands",
        f"What the replies of {len(ruled)} commands say about a cache. Tests hold "
        f"{len(ruled) - len(unverified)} of them against real servers; {len(unverified)} that no "
        f"server at hand knows follow documentation alone and are marked *unverified*: "
        f"{', '.join(f'`{name}`' for name in unverified)}.",
        "A *lookup* is a key or field asked for; a probe is one only with `count_probes`. What is "
        "*removed* counts as `cache.invalidations`, or, where the effect is unknown, only as a "
        "request. What is *written* says what becomes of the time to live: `set`, `none` or "
        "`kept`; a *time to live* is one measurement of `cache.ttl` for each entry that has got it. "
        "A command that *waits* has its duration in `redis.client.blocked.duration`.",
        *sections,
        "## Other commands",
        f"Metrics may carry the names of these {len(command_table.rows()) - len(ruled)} commands, "
        "and spans and durations are made of them as of any command; neither their operands nor "
        "their replies are read.",
        "\n".join(named),
    )


_COLUMNS = ("Command", "Keys", "Lookups", "Removed", "Written", "Time to live", "Waits", "Verified")


def _command_row(rule: Rule) -> tuple[str, ...]:
    return (
        f"`{rule.name}`",
        _first_line(rule.positions.__doc__),
        rule.read.meaning if rule.read else "",
        f"{rule.removal.reason}: {rule.removal.meaning}" if rule.removal else "",
        rule.write.meaning if rule.write else "",
        rule.lifetime.meaning if rule.lifetime else "",
        _first_line(rule.blocking.__doc__).lower() if rule.blocking else "",
        "*unverified*" if rule.name in command_table.UNVERIFIED else "yes",
    )


def settings() -> str:
    """Every field of the settings."""
    rows = (
        (
            f"`{name}`",
            _shown(_default(field)),
            field.metadata["allowed"],
            field.metadata["meaning"],
        )
        for name, field in FIELDS.items()
    )
    return _page(
        "Settings",
        f"Every setting is a keyword of `RedisCacheInstrumentor().instrument()`, an environment "
        f"variable (`{PREFIX}CACHES` for `caches`), and an option of the declarative "
        f"configuration file. A wrong value from Python raises; one from elsewhere is logged and "
        f"the default used.",
        "\n".join(_table(("Setting", "Default", "Allowed", "Meaning"), rows)),
    )


def telemetry() -> str:
    """Every metric, every span, and every attribute of either."""
    registry = reader.read()
    return _page(
        "Telemetry",
        f"Scope `{conventions.SCOPE}`, schema `{conventions.SCHEMA_URL}`. Nothing is emitted that "
        "is not on this page. It is made from [a registry](registry/README.md) in the format of the "
        "semantic conventions, which tests hold every span and metric to.",
        "## Metrics",
        "\n".join(
            _table(
                ("Metric", "Instrument", "Unit", "Attributes", "Group", "Meaning"),
                _metrics(registry, conventions.METRICS),
            )
        ),
        "## Metrics about a server",
        "Made by a process that watches one: `watch_server()`, or the setting `watch`. Every point "
        "carries the address and port of the node it is about. The `redis.*` ones have the names, units, "
        "types and attributes of the OpenTelemetry Collector's redis receiver.",
        "\n".join(
            _table(
                ("Metric", "Instrument", "Unit", "Attributes", "Setting", "Meaning"),
                _metrics(registry, conventions.SERVER_METRICS),
            )
        ),
        "## Buckets",
        "\n".join(
            f"- `{metric.name}`: {', '.join(map(str, metric.buckets))} {metric.unit}"
            for metric in (*conventions.METRICS, *conventions.SERVER_METRICS)
            if metric.buckets
        ),
        "## Spans of calls",
        "One CLIENT span for each call as the application made it, named after its operation, "
        "retries and repairs included; one for each pipeline or transaction. None for what a "
        "client does by itself, nor for an empty poll of a blocking command without a parent span, "
        "nor for an empty pipeline. Status is ERROR on failure, without a description; a nil, a "
        "lost optimistic lock and a script that is loaded again are no failures.",
        _uses(registry, "client"),
        f"## Spans `{conventions.SPAN_OF_INVALIDATION}`",
        f"One INTERNAL span `{conventions.SPAN_OF_INVALIDATION}` for each call of `invalidate()`: what it "
        "removed and why. Its commands have durations, but make no spans unless "
        "`trace_commands` is on, and are not counted again: it is one request, of effect `removed`, "
        "`none`, `partial` (it failed after a part was done) or `error`.",
        _uses(registry, "internal"),
        f"## Spans `{conventions.SPAN_OF_CONSUMPTION}`",
        f"One CONSUMER span `{conventions.SPAN_OF_CONSUMPTION}`, or "
        f"`{conventions.SPAN_OF_CONSUMPTION} orders` with a destination, for each "
        "`with consumed(message)`, linked to the span that the message carries; `error.type` and "
        "status ERROR where the block raised.",
        _uses(registry, "consumer"),
        "## Attributes of metrics alone",
        "\n".join(
            _table(
                ("Attribute", "Type, or all there is", "What"),
                (
                    (f"`{name}`", _type_or_values(attribute), attribute.meaning)
                    for name, attribute in sorted(registry.attributes.items())
                    if not any(name in span.uses for span in registry.spans.values())
                ),
            )
        ),
        "## Where this differs from the semantic conventions",
        "\n".join(f"- {deviation}" for deviation in conventions.DEVIATIONS),
        "Names that the conventions mark as Development: `redis` of `db.system.name`, "
        "`db.client.connection.*`, and all `messaging.*`. All `cache.*` "
        "and `redis.*` names are ours; there is no convention for caches yet.",
    )


def _metrics(registry: Registry, rows: Iterable[Metric]) -> Iterable[tuple[str, ...]]:
    for row in rows:
        group, uses = registry.metrics[row.name]
        kind = row.kind if row.kind == "histogram" else f"observable {row.kind}"
        attributes = ", ".join(
            f"`{use.name}`" + (f" (opt-in: `{use.setting}`)" if use.setting else "")
            for use in uses.values()
        )
        switched = f"`{row.group}`" if row.group else "always"
        meaning = f"{group.brief.strip()} {group.note.strip()}".strip()
        yield f"`{row.name}`", kind, f"`{row.unit}`", attributes, switched, meaning


def _uses(registry: Registry, kind: str) -> str:
    """When a span has an attribute, and what it says."""
    rows: list[tuple[str, ...]] = []
    for name, use in registry.spans[kind].uses.items():
        shown = _type_or_values(registry.attributes[name])
        when = f"Opt-in: `{use.setting}`." if use.setting else use.when or "Always."
        rows.append((f"`{name}`", shown, "yes" if use.at_start else "", when, use.meaning))
    columns = ("Attribute", "Type, or all there is", "At start", "When", "What")
    return "\n".join(_table(columns, rows))


def _type_or_values(attribute: Attribute) -> str:
    return ", ".join(f"`{value}`" for value in attribute.values) or attribute.type


def snapshot() -> str:
    """Every field of a snapshot and of a health."""
    return _page(
        "Numbers in the process",
        "`snapshot()` and `health()` return plain dictionaries, which `json.dumps` takes as they "
        "are. Every field is always there, whatever has happened. They are of one process: a "
        "forked child starts at zero.",
        *_shapes(Snapshot),
        *_shapes(Health),
        "## Codes of reasons",
        "\n".join(f"- `{code}`: {text}" for code, text in conventions.HEALTH_CODES.items()),
    )


def _shapes(root: Any) -> Iterable[str]:
    """The table of a TypedDict, then those of what is in it, each once."""
    waiting, seen = [root], {root}
    while waiting:
        shape = waiting.pop(0)
        hints = get_type_hints(shape, include_extras=True)
        rows: list[tuple[str, ...]] = []
        for name, hint in hints.items():
            kind, meaning = get_args(hint)
            rows.append((f"`{name}`", _type_name(kind), meaning))
            inner = [t for t in (kind, *get_args(kind)) if is_typeddict(t) and t not in seen]
            waiting += inner
            seen.update(inner)
        table = "\n".join(_table(("Field", "Type", "Meaning"), rows))
        yield f"## {shape.__name__}\n\n{_first_line(shape.__doc__)}.\n\n{table}"


_JSON_TYPES = {int: "integer", float: "number", str: "text", type(None): "null"}


def _type_name(kind: Any) -> str:
    """A type as people read it, after JSON."""
    inner = get_args(kind)
    if kind in _JSON_TYPES:
        return _JSON_TYPES[kind]
    if is_typeddict(kind):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    if getattr(kind, "__origin__", None) is list:
        return f"list of {_type_name(inner[0])}"
    if getattr(kind, "__origin__", None) is dict:
        return f"{_type_name(inner[1])} by name"
    if all(isinstance(value, str) for value in inner):
        return "text"
    return " or ".join(map(_type_name, inner))


def frameworks() -> str:
    """What the keys of well-known libraries are called."""
    rows = (
        (f"[{library.name}]({library.documentation})", f"`{shape.key}`", f"`{shape.name}`")
        for library in LIBRARIES
        for shape in library.shapes
    )
    return _page(
        "Keys of frameworks",
        "What a key is called without any rule. `<...>` stands for what is never in a name: "
        "identifiers, hashes, arguments. Where a key has nothing else, it is in `_default`; a rule "
        "(`caches`) goes before all of this. An application's own key that begins like one of these, "
        "`throttle_settings:5` or `_lockers:1`, is taken for it. Tests hold each of these with the real "
        "library.",
        "\n".join(_table(("Library", "Key", "Cache"), rows)),
    )


def command_line() -> str:
    """What each command says of itself."""
    return _page(
        "The command line",
        "`pip install 'otel-redis-cache[cli]'`, or `[demo]` for an embedded Valkey too. Each of these "
        "tells the same with `--help`.",
        *_helps(program.main, "otel-redis-cache"),
    )


def _helps(command: click.Command, name: str, above: click.Context | None = None) -> Iterable[str]:
    """A section of the command, then one of each of those in it."""
    context = command.make_context(name, [], above, resilient_parsing=True, terminal_width=100)
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```"
    for inner in getattr(command, "commands", {}).values():
        yield from _helps(inner, inner.name, context)


PAGES = {
    "command-line.md": command_line,
    "commands.md": commands,
    "frameworks.md": frameworks,
    "settings.md": settings,
    "snapshot.md": snapshot,
    "telemetry.md": telemetry,
}


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", _MADE, *parts]) + "\n"


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    for row in (columns, ("---",) * len(columns), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _title(family: str) -> str:
    return family.replace("_", " ").capitalize()


def _first_line(text: str | None) -> str:
    return (text or "").partition("\n")[0].rstrip(".").replace("``", "`")


def _default(field: Field[Any]) -> object:
    return field.default if field.default is not MISSING else None


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if default is None or default in ((), frozenset()):
        return ""
    if isinstance(default, frozenset):
        return ", ".join(f"`{item}`" for item in sorted(map(str, default)))
    return f"`{default}`"


def main() -> None:
    """Write all pages."""
    for name, make in PAGES.items():
        (Path(__file__).parent / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
