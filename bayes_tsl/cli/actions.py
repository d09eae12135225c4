"""What the commands do: each reads files, calls the library, writes files and prints; what comes out is its exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from bayes_tsl._common.intervals import require_prob
from bayes_tsl._common.validation import require, require_number, require_seed
from bayes_tsl.cli.exit_codes import DONE
from bayes_tsl.cli.inputs import (
    cost_from,
    fit_and_compare,
    fit_and_forecast,
    fit_and_plan,
    forecasters_from,
    parse_numbers,
    read_run_losses,
)
from bayes_tsl.cli.outputs import (
    backtest_text,
    converted_text,
    exit_code,
    failure_lines,
    files_text,
    fit_text,
    losses_text,
    notices_on_stderr,
    require_page_name,
    require_some_scored,
    require_table_name,
    require_writable,
    write_backtest,
    write_comparison,
    write_forecast,
    write_losses,
    write_plan,
)
from bayes_tsl.cli.schedules import read_schedules
from bayes_tsl.data.logs import read_log, recognise
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.stopping import Stopping, stop_or_continue
from bayes_tsl.evaluation.backtesting import backtest, summarise
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.reporting.content import priors_text, target_text
from bayes_tsl.reporting.page import report

_STOPS = 10  # steps at which to stop that a report considers


def forecast_run(losses: Path, out: Path, **options: Any) -> int:
    """Fit one run, forecast it, write the forecast and say what it comes to."""
    require_writable(out)
    with notices_on_stderr():
        table, posterior, ahead, moved = fit_and_forecast(losses, options)
    later = table.mean_losses().rename("observed").loc[lambda losses: losses.index > posterior.origin]
    write_forecast(out, posterior, ahead, prob=options["prob"], moved=moved, later=later, target=options["target"])
    shown = ahead.to_frame(prob=options["prob"])[["step", "mean", "lower", "upper"]]
    click.echo(losses_text(shown.merge(later, on="step", how="left")))
    click.echo(fit_text(posterior))
    click.echo(priors_text(moved))
    if options["target"] is not None:
        click.echo(target_text(ahead, options["target"], prob=options["prob"]))
    click.echo(files_text(out, "forecast.csv", "summary.json", "fit.nc", "forecast.png"))
    return exit_code(posterior)


def report_run(losses: Path, out: Path, **options: Any) -> int:
    """Fit one run, forecast it, and write the page."""
    require_page_name(out)
    cost = _cost(options)
    with notices_on_stderr():
        table, posterior, ahead, moved = fit_and_forecast(losses, options)
    stopping = None if cost is None or options["value"] is None else _stopping(posterior, ahead, cost, options)
    made = report(
        posterior,
        ahead,
        losses=table,
        target=options["target"],
        cost=cost,
        stopping=stopping,
        moved=moved,
        prob=options["prob"],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    made.save(out)
    for sentence in made.contents["answers"]:
        click.echo(sentence)
    click.echo(fit_text(posterior))
    click.echo(files_text(out.parent, out.name, out.with_suffix(".json").name))
    return exit_code(posterior)


def plan_run(losses: Path, out: Path, **options: Any) -> int:
    """Fit one run, find its best plan, write all plans and say which it is."""
    require_writable(out)
    cost = _cost(options)
    with notices_on_stderr():
        posterior, best = fit_and_plan(losses, options, cost)
    write_plan(out, posterior, best, prob=options["prob"])
    click.echo(best.reason)
    click.echo("How much lower it ends than what one would do without asking:")
    click.echo(best.against(prob=options["prob"]).round(4).to_string())
    click.echo(fit_text(posterior))
    click.echo(files_text(out, "plans.csv", "plan.json", "schedule.csv", "fit.nc", "plan.png"))
    return exit_code(posterior)


def backtest_runs(losses: Path, out: Path, **options: Any) -> int:
    """Score forecasts of finished runs from their beginnings, and write the scores."""
    require_seed(options["seed"])
    require_writable(out)
    with notices_on_stderr():
        table = read_run_losses(losses, options, run=options["run"])
        plans = read_schedules(options["schedule"], table)
        scores = backtest(
            table,
            plans,
            prefixes=list(parse_numbers(options["prefixes"], "--prefixes", "0.2,0.5")),
            forecasters=forecasters_from(options),
            target=options["target"],
            store=out / "cells",
            workers=options["workers"],
            seed=options["seed"],
        )
    require_some_scored(scores)
    summary = summarise(scores)
    write_backtest(out, scores, summary)
    click.echo(backtest_text(summary, plans))
    for line in failure_lines(scores):
        click.echo(line, err=True)
    click.echo(files_text(out, "scores.csv", "summary.csv"))
    return DONE


def compare_several(losses: Path, out: Path, **options: Any) -> int:
    """Fit several runs together, and write how they compare."""
    require_prob(options["prob"], "--prob")
    require_seed(options["seed"])
    require_writable(out)
    with notices_on_stderr():
        posterior, comparison = fit_and_compare(losses, options)
    write_comparison(out, posterior, comparison, prob=options["prob"])
    shown = comparison.to_frame(prob=options["prob"])[["run", "mean", "lower", "upper", "prob_lowest", "regret"]]
    click.echo(shown.round(4).to_string(index=False))
    click.echo(fit_text(posterior))
    click.echo(files_text(out, "compare.csv", "pairs.csv", "fit.nc", "compare.png"))
    return exit_code(posterior)


def convert_log(log: Path, out: Path, **options: Any) -> int:
    """Read a log, and write its losses."""
    require_table_name(out)
    require(log.resolve() != out.resolve(), "--out", "be another file than LOG", str(out), cure="Choose another name.")
    with notices_on_stderr():
        losses = read_log(log, **options)
    kind = "pattern" if options["pattern"] else options["format"] or recognise(log, step=options["step"])
    write_losses(out, losses)
    click.echo(converted_text(out, losses, kind))
    return DONE


def _cost(options: dict[str, Any]) -> Cost | None:
    """The cost that options give, which they must where a nat has a value."""
    cost = cost_from(options)
    if options["value"] is not None:
        require(cost is not None, "--value", "come with a cost", options["value"], cure="Give e.g. --per-step 0.01.")
        require_number(options["value"], "--value", low=0.0, cure="It is money per nat per token.")
    return cost


def _stopping(posterior: Fit, ahead: Forecast, cost: Cost, options: dict[str, Any]) -> Stopping:
    """When to stop, among steps that the forecast and the deadline allow."""
    last = min(ahead.steps[-1], ahead.origin + cost.most_steps)
    steps, final = np.linspace(ahead.origin, last, _STOPS + 1)[1:], float(posterior.schedule.lrs[-1])
    return stop_or_continue(posterior, cost, value=options["value"], steps=steps, final=final, seed=options["seed"])
