"""The command `otel-redis-cache`."""

from __future__ import annotations

import errno
import os
import sys

try:
    import click

    from otel_redis_cache.cli.configuration import config
    from otel_redis_cache.cli.demo import demo
    from otel_redis_cache.cli.doctor import doctor
    from otel_redis_cache.cli.namespaces import namespaces
    from otel_redis_cache.cli.top import top
    from otel_redis_cache.cli.troubles import STOPPED, Trouble
except ModuleNotFoundError as missing:  # one of the extra's libraries
    sys.exit(
        f"otel-redis-cache: the command line needs {missing.name}: "
        "pip install 'otel-redis-cache[demo]'"
    )


class Commands(click.Group):
    """All commands, and how each of them ends that cannot go on."""

    def invoke(self, ctx: click.Context) -> object:
        """Run one."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            sys.exit(STOPPED)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            # What is left in the buffer has no place either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Trouble(f"cannot write: {error.strerror}; write to another place") from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="otel-redis-cache")
def main() -> None:
    """See what a Redis cache does, in a terminal.

    Ctrl-C ends a command that is not done with 130.
    """
    # Otherwise the library writes what it meets on the way across tables and screens.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


main.add_command(config)
main.add_command(demo)
main.add_command(namespaces)
main.add_command(doctor)
main.add_command(top)

if __name__ == "__main__":
    main(prog_name="otel-redis-cache")
