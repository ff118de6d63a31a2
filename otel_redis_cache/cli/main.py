"""The command `otel-redis-cache`."""

from __future__ import annotations

import sys

try:
    import click

    from otel_redis_cache.cli.configuration import config
    from otel_redis_cache.cli.demo import demo
    from otel_redis_cache.cli.doctor import doctor
    from otel_redis_cache.cli.namespaces import namespaces
    from otel_redis_cache.cli.top import top
except ModuleNotFoundError as missing:  # one of the extra's libraries
    sys.exit(
        f"otel-redis-cache: the command line needs {missing.name}: "
        "pip install 'otel-redis-cache[demo]'"
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="otel-redis-cache")
def main() -> None:
    """See what a Redis cache does, in a terminal."""


main.add_command(config)
main.add_command(demo)
main.add_command(namespaces)
main.add_command(doctor)
main.add_command(top)

if __name__ == "__main__":
    main(prog_name="otel-redis-cache")
