"""What the commands do: each reads files, calls the library, writes files and prints; what comes out is its exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayes_tsl._common.intervals import require_prob
from bayes_tsl._common.validation import require, require_number, require_seed, show
from bayes_tsl.cli.console import Console
from bayes_tsl.cli.exit_codes import DONE
from bayes_tsl.cli.inputs import (
    cost_from,
    fit_and_compare,
    fit_and_forecast,
    fit_and_plan,
    forecasters_from,
    parse_numbers,
    read_run_losses,
    sensitivity,
    whole_steps,
)
from bayes_tsl.cli.outputs import (
    backtest_text,
    comparison_frame,
    comparison_tree,
    converted_text,
    exit_code,
    failure_lines,
    files_text,
    losses_text,
    plan_tree,
    require_page_name,
    require_some_scored,
    require_table_name,
    require_writable,
    unknown_schedules,
    write_backtest,
    write_comparison,
    write_forecast,
    write_losses,
    write_plan,
)
from bayes_tsl.cli.schedules import read_schedules
from bayes_tsl.data.logs import read_log, recognise
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.frontier import budget_frontier
from bayes_tsl.decisions.plans import best_plan
from bayes_tsl.decisions.stopping import stop_or_continue
from bayes_tsl.evaluation.backtesting import backtest, summarise
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.reporting.content import priors_text, summary, target_text
from bayes_tsl.reporting.page import report

_STOPS = 10  # steps at which to stop that a report considers


def forecast_run(losses: Path, out: Path, **options: Any) -> int:
    """Fit one run, forecast it, write the forecast and say what it comes to."""
    require_writable(out)
    console, prob, target = _console(options), options["prob"], options["target"]
    with console.notices():
        table, posterior, ahead = fit_and_forecast(losses, options, progress=console.progress)
    later = table.mean_losses().rename("observed").loc[lambda losses: losses.index > posterior.origin]
    shown = ahead.to_frame(prob=prob)[["step", "median", "lower", "upper"]]
    console.result(losses_text(shown.merge(later, on="step", how="left")))
    if target is not None:
        console.result(target_text(ahead, target, prob=prob))
    console.verdict(posterior)
    moved = sensitivity(posterior, ahead, options, progress=console.progress)
    if moved is not None:
        console.result(priors_text(moved))
    tree = summary(posterior, ahead, prob=prob, target=target, moved=moved, later=later)
    write_forecast(out, posterior, ahead, tree, later=later, target=target, prob=prob)
    console.tree(tree)
    console.result(files_text(out, "forecast.csv", "summary.json", "fit.nc", "forecast.png"))
    return exit_code(posterior)


def report_run(losses: Path, out: Path, **options: Any) -> int:
    """Fit one run, forecast it, and write the page."""
    require_page_name(out)
    console, cost = _console(options), _cost(options)
    with console.notices():
        table, posterior, ahead = fit_and_forecast(losses, options, progress=console.progress)
    moved = sensitivity(posterior, ahead, options, progress=console.progress)
    made = report(
        posterior,
        ahead,
        losses=table,
        target=options["target"],
        cost=cost,
        moved=moved,
        title=options["title"],
        comment=options["comment"],
        prob=options["prob"],
        **_choices(table, posterior, ahead, cost, options),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    made.save(out)
    console.tree(made.contents)
    console.result(*made.contents["what_to_do"], *made.contents["answers"])
    console.verdict(posterior)
    console.result(files_text(out.parent, out.name, out.with_suffix(".json").name))
    return exit_code(posterior)


def plan_run(losses: Path, out: Path, **options: Any) -> int:
    """Fit one run, find its best plan, write all plans and say which it is."""
    require_writable(out)
    console, cost, prob = _console(options), _cost(options), options["prob"]
    with console.notices():
        posterior, best = fit_and_plan(losses, options, cost, progress=console.progress)
    tree = plan_tree(best, prob=prob)
    write_plan(out, posterior, best, tree, prob=prob)
    console.tree(tree)
    console.result(best.reason, "How much lower it ends than what one would do without asking:")
    console.result(best.against(prob=prob).round(4).to_string())
    console.verdict(posterior)
    console.result(files_text(out, "plans.csv", "plan.json", "schedule.csv", "fit.nc", "plan.png"))
    return exit_code(posterior)


def backtest_runs(losses: Path, out: Path, **options: Any) -> int:
    """Score forecasts of finished runs from their beginnings, and write the scores."""
    require_seed(options["seed"])
    require_writable(out)
    console = _console(options)
    with console.notices():
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
            progress=console.progress,
        )
    require_some_scored(scores)
    means = summarise(scores)
    write_backtest(out, scores, means)
    failed = failure_lines(scores)
    console.tree({"summary": means.to_dict("records"), "failed": failed, "unknown_schedules": unknown_schedules(plans)})
    console.result(backtest_text(means, plans))
    for line in failed:
        console.note(f"failed: {line}")
    console.result(files_text(out, "scores.csv", "summary.csv"))
    return DONE


def compare_several(losses: Path, out: Path, **options: Any) -> int:
    """Fit several runs together, and write how they compare."""
    require_prob(options["prob"], "--prob")
    require_seed(options["seed"])
    require_writable(out)
    console, prob = _console(options), options["prob"]
    with console.notices():
        posterior, comparison = fit_and_compare(losses, options, progress=console.progress)
    schedules = {run: posterior.select(run=run).schedule for run in posterior.runs}
    frame = comparison_frame(comparison, schedules, prob=prob)
    tree = comparison_tree(comparison, frame, prob=prob)
    write_comparison(out, posterior, comparison, frame, tree, prob=prob)
    console.tree(tree)
    shown = ["run", "median", "lower", "upper", "prob_lowest", "regret"]
    console.result(losses_text(pd.DataFrame(frame[shown])))
    rates = "{run}: peak learning rate {peak_lr:.3g}, {last_lr:.3g} at step {at}".format
    console.result("\n".join(rates(at=show(comparison.step), **row) for row in frame.to_dict("records")))
    console.verdict(posterior)
    console.result(files_text(out, "compare.csv", "compare.json", "pairs.csv", "fit.nc", "compare.png"))
    return exit_code(posterior)


def convert_log(log: Path, out: Path, **options: Any) -> int:
    """Read a log, and write its losses."""
    require_table_name(out)
    require(log.resolve() != out.resolve(), "--out", "be another file than LOG", str(out), cure="Choose another name.")
    console = Console()
    with console.notices():
        losses = read_log(log, **options)
    kind = "pattern" if options["pattern"] else options["format"] or recognise(log, step=options["step"])
    write_losses(out, losses)
    console.result(converted_text(out, losses, kind))
    return DONE


def _console(options: dict[str, Any]) -> Console:
    return Console(quiet=options["quiet"], json=options["json"])


def _cost(options: dict[str, Any]) -> Cost | None:
    """The cost that options give, which they must where a nat has a value."""
    cost = cost_from(options)
    if options["value"] is not None:
        require(cost is not None, "--value", "come with a cost", options["value"], cure="Give e.g. --per-step 0.01.")
        require_number(options["value"], "--value", low=0.0, cure="It is money per nat per token.")
    return cost


def _choices(table: LossTable, posterior: Fit, ahead: Forecast, cost: Cost | None, options: dict[str, Any]) -> dict[str, Any]:
    """What a report can recommend: where to stop if a nat has a value, else the best plan; and what budgets buy."""
    schedule, last = posterior.schedule, float(ahead.steps[-1])
    if cost is not None:
        last = min(last, ahead.origin + cost.most_steps)
    steps = np.unique(whole_steps(np.linspace(ahead.origin, last, _STOPS + 1)[1:-1], table))
    steps, seed = np.append(steps[steps > ahead.origin], last), options["seed"]
    if cost is not None and options["value"] is not None:
        final = float(schedule.lrs[-1])
        return {"stopping": stop_or_continue(posterior, cost, value=options["value"], steps=steps, final=final, seed=seed)}
    if not schedule.known or schedule.lr(ahead.origin) <= 0:
        return {}
    best = best_plan(posterior, end=last, cost=cost, seed=seed)
    if cost is None or options["target"] is None:
        return {"best": best}
    return {"best": best, "frontier": budget_frontier(posterior, cost, ends=steps, target=options["target"], seed=seed)}
