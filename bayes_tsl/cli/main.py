"""The entry point ``bayes-tsl``: the group of commands, and what becomes of their errors.

Exit codes: 0 done, 1 the pipe to which it prints was closed, 2 bad input or no place to write, 3 chains did not converge, 4 a
gate of watch failed, 130 stopped by the user.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import click

from bayes_tsl.cli import commands
from bayes_tsl.cli.exit_codes import BAD_INPUT, DONE, STOPPED, UNREAD
from bayes_tsl.cli.interrupts import ending_at_interrupt
from bayes_tsl.errors import DataError

_STOPPED = "stopped; nothing was written."


def main(arguments: list[str] | None = None) -> None:
    """Run a command; whatever the user got wrong is one line on stderr."""
    try:
        with ending_at_interrupt(_STOPPED, STOPPED):
            code = _run(arguments)
        sys.stdout.flush()  # here, and not while Python ends, where a full disk would be a traceback
    except click.ClickException as error:
        code = _say(f"error: {error.format_message()}", BAD_INPUT)
    except DataError as error:
        code = _say(f"error: {error}", BAD_INPUT)
    except BrokenPipeError:
        code = _unprinted(UNREAD)
    except OSError as error:
        code = _unprinted(_say(f"error: {error.strerror or error}: {error.filename or 'standard output'}", BAD_INPUT))
    except (KeyboardInterrupt, click.Abort):
        code = _say(_STOPPED, STOPPED)
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    """Exit code of a command; without arguments it prints its help."""
    try:
        return cli.main(arguments, prog_name="bayes-tsl", standalone_mode=False) or DONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return BAD_INPUT


def _say(message: str, code: int) -> int:
    """The exit code, after a line on stderr, unless that cannot be written to either."""
    with suppress(OSError):
        click.echo(" ".join(message.split()), err=True)
    return code


def _unprinted(code: int) -> int:
    """The exit code, after letting go of what could not be printed, which Python would try again while it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


@click.group(
    commands=[
        commands.forecast_command,
        commands.report_command,
        commands.plan_command,
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
    """Where is this training run going, and how sure are we?

    Forecasts of the test loss of a language-model training run. A forecast loss is its median with a credible interval.

    \b
    Example:
      bayes-tsl forecast train.log --to 10000 --schedule cosine:peak=1e-3,warmup=100,total=10000 --out out

    \b
    bayes-tsl COMMAND --help explains a command and its options.
    Exit codes: 0 done, 2 invalid input, 3 results written but chains not converged, 4 a gate of watch failed.
    """  # noqa: D301
