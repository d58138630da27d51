"""The ``edgecv`` command: one module per subcommand, loaded only when it is used."""

from __future__ import annotations

import sys

import click

from edgecv.cli.group import COMMANDS, LazyGroup
from edgecv.errors import EdgecvError

__all__ = ["cli", "main"]

INTERRUPTED = 130


@click.group(
    cls=LazyGroup, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="edgecv", message="%(prog)s %(version)s")
def cli() -> None:
    """From a folder of pictures to a verified int8 vision model on a small board.

    Exit codes: 0 ok, 1 a gate failed, 2 user error, 3 undecided or invalid measurement, 130 interrupted.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EdgecvError as error:
        click.echo(f"edgecv: error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # the reader of a pipe (head, less) has gone; nothing is wrong
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
