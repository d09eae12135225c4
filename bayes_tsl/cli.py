"""The command line: reads files, calls the library, writes files. Exit codes: 0 done, 2 bad input, 3 not converged."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from bayes_tsl import schedules
from bayes_tsl._checks import require, require_number, require_seed, show
from bayes_tsl._files import whole_file
from bayes_tsl._types import DRAWS
from bayes_tsl.backtest import FORECASTERS, backtest, summarise
from bayes_tsl.data import ENDINGS, LossTable, read_losses, read_table
from bayes_tsl.errors import DataError, Notice
from bayes_tsl.fits import Fit
from bayes_tsl.forecasts import Forecast
from bayes_tsl.inference import fit
from bayes_tsl.plotting import plot_calibration, plot_comparison, plot_errors, plot_forecast
from bayes_tsl.predict import forecast
from bayes_tsl.priors import LAWS
from bayes_tsl.ranking import Comparison, compare_runs
from bayes_tsl.schedules import Schedule
from bayes_tsl.sensitivity import prior_sensitivity

DONE, BAD_INPUT, NOT_CONVERGED = 0, 2, 3
_MOST_STEPS = 50


def main(arguments: list[str] | None = None) -> None:
    """Run a command; whatever the user got wrong is one line on stderr."""
    try:
        sys.exit(cli.main(arguments, prog_name="bayes-tsl", standalone_mode=False) or DONE)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(BAD_INPUT)
    except click.ClickException as error:
        _fail(error.format_message())
    except (DataError, OSError) as error:
        _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped; nothing was written.", err=True)
        sys.exit(130)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bayes_tsl")
def cli() -> None:
    """Where is this training run going, and how sure are we?"""


@cli.command("forecast", no_args_is_help=True)
@click.argument("losses", type=click.Path(path_type=Path))
@click.option("--schedule", help="CSV with columns step, lr [, run]; or in words, as below; or 'column' to take lr of LOSSES.")
@click.option("--until", type=float, metavar="STEP", help="Fit up to this step; by default all of LOSSES.")
@click.option("--steps", metavar="A,B,C", help="Steps to forecast.")
@click.option(
    "--to", type=float, metavar="STEP", help="Forecast up to this step, at the later checkpoints of LOSSES, then as often."
)
@click.option("--run", help="Which run, if LOSSES has several.")
@click.option("--test-set", help="Which test set, if LOSSES has several.")
@click.option("--law", type=click.Choice(list(LAWS)), default="general", show_default=True, help="Which reading of the law.")
@click.option("--target", type=float, metavar="LOSS", help="Say how likely and how soon the loss falls below this.")
@click.option("--prob", type=float, default=0.9, show_default=True, help="Mass of the interval.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same forecast.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
def forecast_command(losses: Path, out: Path, **options: Any) -> int:
    """Forecast the test loss of a run from its checkpoints so far.

    LOSSES is a csv, csv.gz or parquet file with columns step, loss [, run, test_set, position, tokens, lr, loss_se].
    Writes forecast.csv, summary.json, fit.nc and forecast.png to the folder --out.

    A schedule in words is one of constant, linear, cosine and wsd, with arguments peak, warmup, total and final, and for
    wsd decay and shape.

    \b
    Example:
      bayes-tsl forecast losses.csv --until 1250 --to 2500 --out out \\
        --schedule cosine:peak=2e-3,warmup=100,total=2500,final=2e-4
    """  # noqa: D301
    require_number(options["prob"], "--prob", low=0.0, high=1.0, cure="0.9 is a 90 % interval.")
    if options["target"] is not None:
        require_number(options["target"], "--target", low=0.0, cure="It is a loss in nats per token.")
    _check_start(out, options["seed"])
    with _notices_aloud():
        table = read_losses(losses).select(run=options["run"], test_set=options["test_set"])
        schedule = _schedule(options["schedule"], table, options["run"])
        past = table if options["until"] is None else table.until(options["until"])
        steps = _steps(options["steps"], options["to"], past, table)
        schedule.require_reaches(steps[-1])
        posterior = fit(past, schedule=schedule, law=options["law"], seed=options["seed"], throw=False)
        ahead = forecast(posterior, steps=steps, seed=options["seed"])
        moved = prior_sensitivity(posterior, steps=steps, prob=options["prob"], seed=options["seed"], progress=True)
    later = table.mean_losses().rename("observed").loc[lambda losses: losses.index > posterior.origin]
    frame = ahead.to_frame(prob=options["prob"])
    _write(out, posterior, ahead, frame, moved, later, options["target"])
    shown = frame[["step", "mean", "lower", "upper"]].merge(later, on="step", how="left")
    click.echo(_format(shown))
    click.echo(posterior.diagnostics.verdict)
    for notice in posterior.notices:
        click.echo(f"note: {notice}")
    click.echo(_of_priors(moved))
    if options["target"] is not None:
        click.echo(_of_target(ahead, options["target"]))
    click.echo(f"wrote {', '.join(str(out / name) for name in ('forecast.csv', 'summary.json', 'fit.nc', 'forecast.png'))}")
    return DONE if posterior.converged else NOT_CONVERGED


@cli.command("backtest", no_args_is_help=True)
@click.argument("losses", type=click.Path(path_type=Path))
@click.option(
    "--schedule", help="CSV with columns step, lr [, run]; or in words, as of forecast; or 'column' to take lr of LOSSES."
)
@click.option("--prefixes", default="0.2,0.5,0.8", show_default=True, metavar="A,B,C", help="Shares of a run to forecast from.")
@click.option("--models", default="tsl,power-law", show_default=True, help=f"Any of {', '.join(FORECASTERS)}.")
@click.option("--run", help="Only this run.")
@click.option("--test-set", help="Only this test set.")
@click.option(
    "--target", type=float, metavar="LOSS", help="Score how likely and how soon the loss was said to fall below this."
)
@click.option("--workers", type=int, default=1, show_default=True, help="Processes.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same scores.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
def backtest_command(losses: Path, out: Path, **options: Any) -> int:
    """Forecast finished runs from their beginnings, and score what was said.

    LOSSES is a file as of forecast. Writes scores.csv, summary.csv, calibration.png and errors.png to the folder --out, and
    keeps finished cells in its folder cells: started again, it goes on where it stopped.

    \b
    Example:
      bayes-tsl backtest losses.csv --prefixes 0.3,0.5,0.7 --models tsl,power-law --out out \\
        --schedule cosine:peak=2e-3,warmup=100,total=2500,final=2e-4
    """  # noqa: D301
    _check_start(out, options["seed"])
    with _notices_aloud():
        table = read_losses(losses).select(run=options["run"], test_set=options["test_set"])
        plans = {run: _schedule(options["schedule"], table.select(run=run), run) for run in table.runs}
        scores = backtest(
            table,
            plans,
            prefixes=list(_numbers(options["prefixes"], "--prefixes", "0.2,0.5")),
            forecasters=[name.strip() for name in options["models"].split(",")],
            target=options["target"],
            store=out / "cells",
            workers=options["workers"],
            seed=options["seed"],
        )
    reasons = scores.loc[scores["reason"] != "", "reason"]
    cure = "Give later prefixes or other models."
    require(len(reasons) < len(scores), "a forecast", "succeed", reasons.unique(), where="from every one", cure=cure)
    summary = summarise(scores)
    _write_backtest(out, scores, summary)
    shown = [
        "model",
        "prefix",
        "cells",
        "failed",
        "endpoint_mae",
        "crps",
        "log_score",
        "coverage_50",
        "coverage_90",
        "width_90",
        *(["endpoint_brier"] if options["target"] is not None else []),
    ]
    click.echo(summary.reindex(columns=shown).to_string(index=False, float_format="{:.4g}".format, na_rep="-"))
    if unknown := [run for run, plan in plans.items() if not plan.known]:
        click.echo(f"note: {schedules.UNKNOWN} (of {show(unknown)})")
    for _, cell in scores[scores["reason"] != ""].iterrows():
        click.echo(
            f"failed: {cell['run']}, {cell['test_set']}, {cell['model']} at {cell['prefix']:g}: {cell['reason']}", err=True
        )
    click.echo(f"wrote {out / 'scores.csv'}, {out / 'summary.csv'}")
    return DONE


@cli.command("compare", no_args_is_help=True)
@click.argument("losses", type=click.Path(path_type=Path))
@click.option(
    "--schedule", help="CSV with columns step, lr [, run]; or in words, as of forecast; or 'column' to take lr of LOSSES."
)
@click.option("--until", type=float, metavar="STEP", help="Fit every run up to this step; by default all of LOSSES.")
@click.option("--at", type=float, metavar="STEP", required=True, help="Compare the runs at this step.")
@click.option("--test-set", help="Which test set, if LOSSES has several.")
@click.option("--runs", type=click.Path(path_type=Path), help="Table with a column run, and the covariates.")
@click.option("--covariates", metavar="A,B", help="Columns of --runs that the population of runs follows.")
@click.option("--prob", type=float, default=0.9, show_default=True, help="Mass of the intervals.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same comparison.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
def compare_command(losses: Path, out: Path, **options: Any) -> int:
    """Fit several runs together, and say which ends lowest, how surely, and what choosing wrongly would cost.

    LOSSES is a file as of forecast, with a column run; runs may have come to different steps. Writes compare.csv, pairs.csv
    (probability that the run of the row ends below that of the column), fit.nc and compare.png to the folder --out.

    \b
    Example:
      bayes-tsl compare losses.csv --test-set prose --until 1250 --at 2500 --out out \\
        --schedule cosine:peak=2e-3,warmup=100,total=2500,final=2e-4
    """  # noqa: D301
    require_number(options["prob"], "--prob", low=0.0, high=1.0, cure="0.9 is a 90 % interval.")
    _check_start(out, options["seed"])
    with _notices_aloud():
        table = read_losses(losses).select(test_set=options["test_set"])
        cure = "Use bayes-tsl forecast for a single one."
        require(len(table.runs) > 1, losses.name, "hold several runs", table.runs, cure=cure)
        plans = {run: _schedule(options["schedule"], table.select(run=run), run) for run in table.runs}
        past = table if options["until"] is None else table.until(options["until"])
        lost = [run for run in table.runs if run not in past.runs]
        require(not lost, "--until", "leave rows of every run", lost, where="without any", cure="Raise it.")
        for plan in plans.values():
            plan.require_reaches(options["at"])
        posterior = fit(
            past,
            schedules=plans,
            runs=None if options["runs"] is None else read_table(options["runs"]),
            covariates=[name.strip() for name in (options["covariates"] or "").split(",") if name.strip()],
            seed=options["seed"],
            throw=False,
        )
        comparison = compare_runs(forecast(posterior, steps=[options["at"]], seed=options["seed"]))
    frame = comparison.to_frame(prob=options["prob"])
    _write_comparison(out, posterior, comparison, frame, options["prob"])
    shown = frame[["run", "mean", "lower", "upper", "prob_lowest", "regret"]]
    click.echo(shown.round(4).to_string(index=False))
    click.echo(posterior.diagnostics.verdict)
    for notice in posterior.notices:
        click.echo(f"note: {notice}")
    click.echo(f"wrote {', '.join(str(out / name) for name in ('compare.csv', 'pairs.csv', 'fit.nc', 'compare.png'))}")
    return DONE if posterior.converged else NOT_CONVERGED


def _write_comparison(out: Path, posterior: Fit, comparison: Comparison, frame: pd.DataFrame, prob: float) -> None:
    from matplotlib.figure import Figure

    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / "compare.csv") as path:
        frame.to_csv(path, index=False)
    with whole_file(out / "pairs.csv") as path:
        comparison.prob_below().to_csv(path)
    posterior.save(out / "fit.nc")
    figure = Figure(figsize=(8.4, 1.2 + 0.42 * len(frame)), layout="constrained")
    plot_comparison(comparison, prob=prob, ax=figure.subplots(1, 2))
    with whole_file(out / "compare.png") as path:
        figure.savefig(path, dpi=150)


def _check_start(out: Path, seed: int) -> None:
    """Whatever would make the work that follows be in vain."""
    require_seed(seed)
    place = next(path for path in (out, *out.absolute().parents) if path.exists())
    cure = "Choose another folder."
    require(place.is_dir(), "--out", "be a folder", str(place), where="which is a file", cure=cure)
    writable = os.access(place, os.W_OK | os.X_OK)
    require(writable, "--out", "be a folder that can be written to", str(place), where="which cannot", cure=cure)


def _write_backtest(out: Path, scores: pd.DataFrame, summary: pd.DataFrame) -> None:
    from matplotlib.figure import Figure

    first = ["run", "model", "prefix", "origin", "step", "observed", "mean", "median", "lower", "upper", "crps", "log_score"]
    ordered = scores.reindex(columns=[*first, *scores.columns.difference(first, sort=False)])
    out.mkdir(parents=True, exist_ok=True)
    for name, frame in (("scores.csv", ordered), ("summary.csv", summary)):
        with whole_file(out / name) as path:
            frame.to_csv(path, index=False)
    if bool(np.any(scores["reason"] == "")):
        for name, width, count, plot in (("calibration.png", 9.0, 2, plot_calibration), ("errors.png", 6.0, 1, plot_errors)):
            figure = Figure(figsize=(width, 3.8), layout="constrained")
            plot(scores, ax=figure.subplots(1, count))
            with whole_file(out / name) as path:
                figure.savefig(path, dpi=150)


def _fail(message: str) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(BAD_INPUT)


@contextmanager
def _notices_aloud() -> Iterator[None]:
    """Notices as plain lines on stderr."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, Notice):
            click.echo(f"note: {message}", err=True)
        else:
            usual(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        usual, warnings.showwarning = warnings.showwarning, show
        yield


def _schedule(text: str | None, table: LossTable, run: str | None) -> Schedule:
    if text is None:
        return schedules.unknown()
    if text == "column":
        return schedules.from_frame(table.frame.dropna(subset="lr"), source="column lr")
    if not text.lower().endswith(ENDINGS):
        return schedules.parse(text)
    frame = read_table(text)
    if "run" in frame:
        name = run or table.runs[0]
        rows = frame[frame["run"].astype(str) == name]
        known, cure = sorted(set(frame["run"].astype(str))), "Add them, or leave out the column run."
        require(len(rows) > 0, Path(text).name, f"have rows of run {name!r}", known, cure=cure)
        return schedules.from_frame(pd.DataFrame(rows), source=Path(text).name)
    return schedules.from_frame(frame, source=Path(text).name)


def _steps(steps: str | None, to: float | None, past: LossTable, table: LossTable) -> np.ndarray:
    """Steps to forecast, increasing: those asked for; or the later checkpoints, from the last on as often, and ``to``."""
    given, cure = "neither" if steps is None else "both", "Give e.g. --to 2000."
    require((steps is None) != (to is None), "one of --steps and --to", "be given", given, cure=cure)
    origin = float(past.steps[-1])
    asked = _numbers(steps, "--steps", "1500,2000") if steps is not None else np.array([to], float)
    name = "--to" if steps is None else "--steps"
    finite = np.isfinite(asked)
    require(finite.all(), name, "be finite", asked[~finite], cure="Give the last step of the run.")
    require(asked[0] > origin, name, f"lie after the origin {show(origin)}", asked[asked <= origin], cure="Lower --until.")
    if to is None:
        return asked
    known = table.steps[(table.steps > origin) & (table.steps <= to)]
    last = float(known[-1]) if known.size else origin
    spacing = float(np.median(np.diff(past.steps))) if len(past.steps) > 1 else to - origin
    more = last + spacing * max(np.ceil((to - last) / spacing / _MOST_STEPS), 1.0) * np.arange(1, _MOST_STEPS + 1)
    wanted = np.concatenate([known[known < to], more[more < to - 1e-6 * spacing], [to]])
    return wanted[np.unique(np.linspace(0, len(wanted) - 1, min(len(wanted), _MOST_STEPS)).round().astype(int))]


def _numbers(text: str, name: str, example: str) -> np.ndarray:
    try:
        return np.unique([float(item) for item in text.split(",")])
    except ValueError:
        raise DataError(f"{name} must be numbers with commas between; got {text!r}. Write e.g. {example}.") from None


def _write(
    out: Path,
    posterior: Fit,
    ahead: Forecast,
    frame: pd.DataFrame,
    moved: pd.DataFrame,
    later: pd.Series,
    target: float | None,
) -> None:
    from matplotlib.figure import Figure

    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / "forecast.csv") as path:
        frame.to_csv(path, index=False)
    with whole_file(out / "summary.json") as path:
        summary = _summary(posterior, ahead, frame, later, target) | {"wider_priors": _last_move(moved)}
        path.write_text(json.dumps(_writable(summary), indent=2, allow_nan=False) + "\n")
    posterior.save(out / "fit.nc")
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    shown = later[later.index <= ahead.steps[-1]]
    plot_forecast(ahead, observed=shown if len(shown) else None, target=target, ax=figure.subplots())
    with whole_file(out / "forecast.png") as path:
        figure.savefig(path, dpi=150)


def _summary(posterior: Fit, ahead: Forecast, frame: pd.DataFrame, later: pd.Series, target: float | None) -> dict[str, Any]:
    diagnostics = posterior.diagnostics
    summary = {
        "run": ahead.run,
        "test_set": ahead.test_set,
        "origin": ahead.origin,
        "schedule": posterior.schedule.text,
        "schedule_known": posterior.schedule.known,
        "law": posterior.law,
        "last": frame.drop(columns="run").iloc[-1].to_dict(),
        "converged": posterior.converged,
        "verdict": diagnostics.verdict,
        "max_r_hat": diagnostics.max_r_hat,
        "min_ess": diagnostics.min_ess,
        "divergences": diagnostics.divergences,
        "notices": list(ahead.notices),
        "seed": int(posterior.data.attrs["seed"]),
        "versions": json.loads(posterior.data.attrs["versions"]),
    }
    seen = frame.merge(later, on="step")
    if len(seen):
        inside = seen["observed"].between(seen["lower"], seen["upper"])
        error = (seen["mean"] - seen["observed"]).to_numpy()[-1].item()
        summary["against_observed"] = {"steps": len(seen), "inside": int(inside.sum()), "error_at_last": error}
    if target is not None:
        times = ahead.time_to(target)
        chances = ahead.prob_below(target)
        reached = times.where(np.isfinite(times))
        summary["target"] = {
            "loss": target,
            "prob_below_at_last": float(chances[-1]),
            "prob_not_reached": float(np.isinf(times).mean()),
            "median_step_where_reached": reached.median(DRAWS).item(),
        }
    return summary


def _last_move(moved: pd.DataFrame) -> dict[str, Any]:
    """What wider priors do to the last median, in types that JSON has."""
    return moved[["shift", "share", "prior_decides", "converged"]].astype(object).iloc[-1].to_dict()


def _of_priors(moved: pd.DataFrame) -> str:
    """What wider priors do to the forecast, in one line."""
    decides = bool(np.any(moved["prior_decides"]))
    step = moved["share"].abs().idxmax() if decides else moved.index[-1]
    shift, share = (float(moved.loc[step, name]) for name in ("shift", "share"))
    doubt = "" if bool(np.all(moved["converged"])) else " (chains under the wider priors did not quite agree)"
    said = f"with priors twice as wide the median at step {show(step)} moves by {shift:+.4f}"
    return f"{'note: the prior decides' if decides else 'priors'}: {said}, {abs(share):.0%} of the interval's width{doubt}."


def _of_target(ahead: Forecast, target: float) -> str:
    """What was asked of a target, in one line."""
    chance, last = float(ahead.prob_below(target)[-1]), show(float(ahead.steps[-1]))
    median = float(np.median(ahead.time_to(target)))
    when = f"at step {show(round(median, 1))}" if np.isfinite(median) else "not within the forecast"
    return f"target {show(target)}: chance of {chance:.0%} to measure less at step {last}; reached (median) {when}"


def _writable(value: Any) -> Any:
    """The same with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _writable(item) for key, item in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _format(table: pd.DataFrame) -> str:
    losses = {name: "{:.4f}".format for name in table.columns if name != "step"}
    return table.to_string(index=False, formatters={"step": "{:.10g}".format, **losses}, na_rep="-")
