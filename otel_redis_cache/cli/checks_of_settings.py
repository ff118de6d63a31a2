"""Whether the settings in the environment are understood, and where each has come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from otel_redis_cache.cli.findings import Finding
from otel_redis_cache.cli.origins import origins_of, unknown_of

CONFIGURATION_FILES = ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")


def check_settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """All that is given in one line, then a line for each that is wrong."""
    origins = origins_of(environ)
    given = [origin for origin in origins if origin.is_given and not origin.error]
    rest = len(origins) - len(given)
    said = ", ".join(f"{origin.name}={origin.shown} ({origin.variable})" for origin in given)
    yield Finding("settings", "ok", f"{said}; {rest} defaults" if said else "all are defaults")
    for origin in origins:
        if origin.error:
            yield Finding(
                f"setting {origin.name}",
                "warning",
                f"{origin.error}; the default is used",
                f"correct {origin.variable}, or unset it",
            )
    for name, meant in unknown_of(environ).items():
        yield Finding(
            "settings",
            "warning",
            f"{name} is no setting",
            f"did you mean {meant}?" if meant else "see docs/settings.md",
        )
    for name in CONFIGURATION_FILES:
        if environ.get(name):
            yield Finding(
                "settings",
                "skipped",
                f"{name} is set: what stands in that file goes before, and is not looked at here",
            )
