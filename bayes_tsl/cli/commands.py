"""The commands of ``bayes-tsl`` as they are called; ``actions``, which they import when they run, does the work."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import click

from bayes_tsl.cli.options import (
    FORECASTERS,
    GATES,
    SCHEDULE,
    cache_option,
    cost_options,
    draws_option,
    forecast_options,
    json_option,
    log_options,
    one_run_options,
    quiet_option,
    recipe_options,
)

_schedules = click.option("--schedule", help=SCHEDULE.replace("below", "of forecast"))
_run = click.option("--run", help="Name of the run; where LOG names its runs, the one to read.")


@click.command("forecast", no_args_is_help=True)
@forecast_options
@json_option
@quiet_option
@cache_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
def forecast_command(losses: Path, out: Path, **options: Any) -> int:
    """Forecast the test loss of a run from its checkpoints so far.

    Prints the median and a credible interval of the loss at each step, the probability of --target, the convergence of the
    chains, and how far wider priors move the median.

    LOSSES is a csv, csv.gz or parquet file with columns step, loss [, run, test_set, position, tokens, lr, loss_se], or any
    log that convert reads. Writes forecast.csv, summary.json, fit.nc and forecast.png to the folder --out.

    A schedule in words is one of constant, linear, cosine and wsd, with arguments peak, warmup, total and final, and for
    wsd decay and shape.

    A --branch is fitted whole, whatever --until is, with the parameters of the run that it left: a finished cooldown says how
    much the decay of the learning rate takes off. STEP may be in columns parent and branch_step of LOSSES, and SCHEDULE in lr.

    \b
    Example:
      bayes-tsl forecast losses.csv --until 1250 --to 2500 --out out \\
        --schedule cosine:peak=2e-3,warmup=100,total=2500,final=2e-4
      bayes-tsl forecast losses.csv --run main --branch cooldown@12000=linear:peak=1e-3,total=15000 --to 50000 --out out \\
        --schedule wsd:peak=1e-3,warmup=300,total=50000,decay=0.2
    """  # noqa: D301
    from bayes_tsl.cli import actions

    return actions.forecast_run(losses, out, **options)


@click.command("report", no_args_is_help=True)
@forecast_options
@cost_options("What a loss lower by one nat is worth: says when to stop.")
@json_option
@quiet_option
@cache_option
@click.option("--title", metavar="TEXT", help="Heading of the page, e.g. the name of the model; by default the run.")
@click.option("--comment", metavar="TEXT", help="A paragraph below the heading.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Page to write, NAME.html; NAME.json goes beside.")
def report_command(losses: Path, out: Path, **options: Any) -> int:
    """Forecast a run and write it up on one page: what to do, what to expect, its costs, and how far to trust all that.

    LOSSES and --schedule are as of forecast. The page opens from disk and fetches nothing; the same content is written as
    JSON beside it.

    \b
    Example:
      bayes-tsl report losses.csv --until 1250 --to 2500 --target 3.6 --out report.html \\
        --schedule cosine:peak=2e-3,warmup=100,total=2500,final=2e-4 \\
        --per-hour 24 --seconds-per-step 6 --value 200
    """  # noqa: D301
    from bayes_tsl.cli import actions

    return actions.report_run(losses, out, **options)


@click.command("plan", no_args_is_help=True)
@one_run_options(
    click.option("--end", type=float, metavar="STEP", help="Last step of the run. Or give --budget, or a --deadline alone."),
    click.option("--budget", type=float, metavar="MONEY", help="What the rest of the run may cost, at the price of a step."),
    click.option("--target", type=float, metavar="LOSS", help="Choose the plan that is likeliest to end below this."),
    click.option("--tail", type=float, metavar="SHARE", help="Choose by the mean loss in this share of the worst draws."),
)
@cost_options("What a loss lower by one nat is worth: choose by that less what the steps cost; the run may end earlier.")
@json_option
@quiet_option
@cache_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
def plan_command(losses: Path, out: Path, **options: Any) -> int:
    """Find when and how the learning rate of a run should decay, how sure that is, and which plans are as good.

    LOSSES and --schedule are as of forecast. Plans keep the present learning rate for a while and then decay it, and end at
    --end, or where --budget or --deadline is spent. The best plan has the lowest expected loss (mean over draws), or serves
    --target, --tail or --value best. Writes plans.csv, plan.json, schedule.csv (the learning rate of the best plan), fit.nc
    and plan.png to the folder --out.

    \b
    Example:
      bayes-tsl plan losses.csv --until 1250 --end 2500 --out out \\
        --schedule cosine:peak=2e-3,warmup=100,total=2500,final=2e-4
    """  # noqa: D301
    from bayes_tsl.cli import actions

    return actions.plan_run(losses, out, **options)


@click.command("backtest", no_args_is_help=True)
@click.argument("losses", type=click.Path(path_type=Path))
@_schedules
@log_options
@recipe_options
@click.option("--prefixes", default="0.2,0.5,0.8", show_default=True, metavar="A,B,C", help="Shares of a run to forecast from.")
@click.option("--models", default="tsl,power-law", show_default=True, help=f"Any of {', '.join(FORECASTERS)}.")
@click.option("--run", help="Only this run.")
@click.option("--test-set", help="Only this test set.")
@click.option("--target", type=float, metavar="LOSS", help="Score the forecast probability and step of a loss below this.")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same scores.")
@draws_option()
@json_option
@quiet_option
@cache_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
def backtest_command(losses: Path, out: Path, **options: Any) -> int:
    """Forecast finished runs from their first checkpoints, and score the forecasts.

    LOSSES is a file as of forecast. Writes scores.csv, summary.csv, calibration.png and errors.png to the folder --out, and
    keeps finished cells in its folder cells: started again, it goes on where it stopped.

    \b
    Example:
      bayes-tsl backtest losses.csv --prefixes 0.3,0.5,0.7 --models tsl,power-law --out out \\
        --schedule cosine:peak=2e-3,warmup=100,total=2500,final=2e-4
    """  # noqa: D301
    from bayes_tsl.cli import actions

    return actions.backtest_runs(losses, out, **options)


@click.command("compare-runs", no_args_is_help=True)
@click.argument("losses", type=click.Path(path_type=Path))
@_schedules
@log_options
@recipe_options
@click.option("--until", type=float, metavar="STEP", help="Fit every run up to this step; by default all of LOSSES.")
@click.option("--at", type=float, metavar="STEP", required=True, help="Compare the runs at this step.")
@click.option("--test-set", help="Which test set, if LOSSES has several.")
@click.option("--runs", type=click.Path(path_type=Path), help="Table with a column run, and the covariates.")
@click.option("--covariates", metavar="A,B", help="Columns of --runs that the population of runs follows.")
@click.option("--prob", type=float, default=0.9, show_default=True, help="Mass of the intervals.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same comparison.")
@draws_option("1000")
@json_option
@quiet_option
@cache_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
def compare_command(losses: Path, out: Path, **options: Any) -> int:
    """Fit several runs together: which ends lowest, with which probability, and what choosing wrongly would cost.

    LOSSES is a file as of forecast, with a column run; runs may have come to different steps. Writes compare.csv,
    compare.json, pairs.csv (probability that the run of the row ends below that of the column), fit.nc and compare.png to the
    folder --out.

    \b
    Example:
      bayes-tsl compare-runs losses.csv --test-set prose --until 1250 --at 2500 --out out \\
        --schedule cosine:peak=2e-3,warmup=100,total=2500,final=2e-4
    """  # noqa: D301
    from bayes_tsl.cli import actions

    return actions.compare_several(losses, out, **options)


def _under_old_name(command: click.Command, name: str) -> click.Command:
    """The same command under a name that goes with the next version: not listed, and it says so on stderr."""
    old = copy(command)
    old.name, old.hidden, old.deprecated = name, True, f"Use {command.name}."
    return old


old_compare_command = _under_old_name(compare_command, "compare")


@click.command("convert", no_args_is_help=True)
@click.argument("log", type=click.Path(path_type=Path))
@log_options
@_run
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write: csv, csv.gz or parquet.")
def convert_command(log: Path, out: Path, **options: Any) -> int:
    """Make a training log into a file of losses that the other commands read, in nats per token.

    LOG is what a training program left: a table with any separator, a chart or a history of W&B, trainer_state.json of Hugging
    Face, JSON of any shape, event files of TensorBoard, a metric of MLflow, or the console of nanoGPT, llm.c, Megatron-LM,
    OLMo, torchtitan and others (--format lists them). --pattern reads any other console.

    \b
    Example:
      bayes-tsl convert train.log --out losses.csv
      bayes-tsl convert wandb_export.csv --metric val/loss --run base --out losses.csv
      bayes-tsl convert own.log --pattern 'it (?P<step>\\d+).*loss (?P<loss>\\S+)' --out losses.csv
    """  # noqa: D301
    from bayes_tsl.cli import actions

    return actions.convert_log(log, out, **options)


@click.command("watch", no_args_is_help=True)
@click.argument("log", type=click.Path(path_type=Path))
@_schedules
@log_options
@_run
@click.option("--test-set", help="Which test set, if LOG has several.")
@recipe_options
@click.option("--end", type=float, metavar="STEP", help="Step to forecast; by default the last of the schedule.")
@click.option("--target", type=float, metavar="LOSS", help="Say how likely the run ends below this.")
@click.option("--prob", type=float, default=0.9, show_default=True, help="Mass of the interval.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same forecast.")
@draws_option()
@click.option("--every", type=float, default=10.0, show_default=True, metavar="SECONDS", help="How often to look at LOG.")
@click.option("--once", is_flag=True, help="Look once, as for cron.")
@click.option(
    "--fail-on", default="", metavar="A,B", help=f"End with status 4 on any of {', '.join(GATES)}, as a gate for scripts."
)
@quiet_option
@cache_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
def watch_command(log: Path, out: Path, **options: Any) -> int:
    """Follow the log of a run in progress, and print where it will end, one line per new checkpoint.

    LOG is as of convert; it is read again whenever it changes. Writes latest.json, report.html and the fit to the folder --out,
    and goes on from the fit that it finds there: later checkpoints come in by weights, in about a second.

    \b
    Example:
      bayes-tsl watch train.log --schedule cosine:peak=1e-3,warmup=100,total=10000 --target 3.2 --out watched
      bayes-tsl watch train.log --schedule column --once --fail-on alarm,target-missed --target 3.2 --out watched
    """  # noqa: D301
    from bayes_tsl.cli import watching

    return watching.watch_log(log, out, **options)
