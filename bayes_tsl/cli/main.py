"""The entry point ``bayes-tsl``: the group of commands, and what becomes of their errors.

Exit codes: 0 done, 2 bad input, 3 chains did not converge, 4 a gate of watch failed, 130 stopped by the user.
"""

from __future__ import annotations

import sys

import click

from bayes_tsl.cli import commands
from bayes_tsl.cli.exit_codes import BAD_INPUT, DONE, STOPPED
from bayes_tsl.errors import DataError


def main(arguments: list[str] | None = None) -> None:
    """Run a command; whatever the user got wrong is one line on stderr."""
    try:
        sys.exit(cli.main(arguments, prog_name="bayes-tsl", standalone_mode=False) or DONE)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(BAD_INPUT)
    except click.ClickException as error:
        _fail(error.format_message())
    except OSError as error:
        _fail(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    except DataError as error:
        _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped; nothing was written.", err=True)
        sys.exit(STOPPED)


@click.group(
    commands=[
        commands.forecast_command,
        commands.report_command,
        commands.backtest_command,
        commands.compare_command,
        commands.old_compare_command,
        commands.convert_command,
        commands.watch_command,
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="bayes_tsl")
def cli() -> None:
    """Where is this training run going, and how sure are we?"""


def _fail(message: str) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(BAD_INPUT)
