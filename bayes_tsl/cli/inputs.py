"""What the options of a command mean: which run, which schedule, which steps, and what follows from them."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from bayes_tsl._common.intervals import evenly, require_prob
from bayes_tsl._common.parallel import without_notices
from bayes_tsl._common.validation import require, require_number, require_seed, show, whole_number
from bayes_tsl.analysis.sensitivity import prior_sensitivity
from bayes_tsl.cli.branches import Branches, read_branches, with_branches
from bayes_tsl.cli.options import LOG_OPTIONS
from bayes_tsl.cli.schedules import read_schedule, read_schedules, require_planned
from bayes_tsl.data.logged_schedule import schedule_so_far
from bayes_tsl.data.logs import read_log
from bayes_tsl.data.loss_table import ENDINGS, LossTable, read_losses, read_table
from bayes_tsl.data.recipe import FIELDS
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.plans import BestPlan, best_plan, require_end, require_tail
from bayes_tsl.decisions.run_comparison import Comparison, compare_runs
from bayes_tsl.errors import DataError
from bayes_tsl.forecasting.baselines import Forecaster
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.forecasting.forecasters import by_name, tsl
from bayes_tsl.forecasting.predict import forecast
from bayes_tsl.inference.fitting import fit
from bayes_tsl.inference.nuts import LEAST_DRAWS
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.inference.run_inputs import schedules_of
from bayes_tsl.model.design import later_steps
from bayes_tsl.model.priors import family

_MOST_STEPS = 50


class RunForecast(NamedTuple):
    """A run fitted and forecast.

    Attributes:
        table: all of its losses.
        posterior: what the past says.
        ahead: the forecast.
    """

    table: LossTable
    posterior: Fit
    ahead: Forecast


def read_run_losses(path: Path, options: dict[str, Any], *, run: str | None) -> LossTable:
    """Losses of a table as they are, and those of any other log as ``convert`` reads it."""
    asked = {name: options[name] for name in LOG_OPTIONS}
    if _is_table(path) and not any(asked.values()):
        return read_losses(path).select(run=run, test_set=options["test_set"])
    return read_log(path, run=run, **asked).select(test_set=options["test_set"])


def _is_table(path: Path) -> bool:
    return path.name.lower().endswith(ENDINGS) and {"step", "loss"} <= set(read_table(path).columns)


class Asked(NamedTuple):
    """The run that options choose.

    Attributes:
        table: all of its losses.
        past: those that are fitted, and all of its branches.
        origin: last step that is fitted.
        schedule: learning rate.
        left: its branches.
    """

    table: LossTable
    past: LossTable
    origin: float
    schedule: Schedule
    left: Branches


def _asked(losses: Path, options: dict[str, Any]) -> Asked:
    """The run that the options choose, and what else is asked of every command that fits one."""
    require_prob(options["prob"], "--prob")
    if options["target"] is not None:
        require_number(options["target"], "--target", low=0.0, cure="It is a loss in nats per token.")
    require_seed(options["seed"])
    every = read_run_losses(losses, options, run=None if options["branch"] else options["run"])
    table = every.select(run=options["run"])
    require_one(table, losses.name)
    past = table if options["until"] is None else table.until(options["until"])
    given = options["schedule"]
    schedule = schedule_so_far(past) if given is None else read_schedule(given, table, options["run"])
    left, origin = read_branches(options["branch"], every, table.runs[0]), float(past.steps[-1])
    return Asked(table, with_branches(past, every, left) if left.parents else past, origin, schedule, left)


def require_one(table: LossTable, name: str) -> None:
    """Raise ``DataError`` where a file has several runs or test sets, of which none was chosen."""
    for option, kind, names in (("--run", "run", table.runs), ("--test-set", "test set", table.test_sets)):
        require(len(names) == 1, option, f"be one of {show(names)}", [], cure=f"Name one {kind} of {name}.")


def _fitted(asked: Asked, options: dict[str, Any], *, progress: bool) -> Fit:
    """Its posterior, whose notices are its own."""
    draws, known = draws_from(options), recipe_from(options)
    with without_notices():
        return fit(
            asked.past,
            schedules={asked.table.runs[0]: asked.schedule, **asked.left.schedules},
            branches=asked.left.parents,
            law=options["law"],
            seed=options["seed"],
            num_draws=draws,
            progress=progress,
            throw=False,
            **known,
        )


def fit_and_plan(losses: Path, options: dict[str, Any], cost: Cost | None, *, progress: bool = False) -> tuple[Fit, BestPlan]:
    """Fit the run that the options choose, and find its best plan; what they ask is checked before anything is fitted."""
    asked = _asked(losses, options)
    end = _end_of(options, asked.origin, cost)
    require_end(end, asked.origin, cost)
    require_planned(asked.schedule, options["schedule"], asked.origin)
    require(asked.schedule.known, "--schedule", "be given", "none", cure="Plans start from the learning rate of the run.")
    if options["tail"] is not None:
        require_tail(options["tail"], "--tail")
    posterior = _fitted(asked, options, progress=progress)
    chosen = {name: options[name] for name in ("target", "tail", "value")}
    return posterior, best_plan(posterior, end=end, cost=cost, seed=options["seed"], **chosen)


def _end_of(options: dict[str, Any], origin: float, cost: Cost | None) -> float:
    """Last step of a run: as given, or the last that the budget or the deadline pays for."""
    end, budget = options["end"], options["budget"]
    require(end is None or budget is None, "the end of the run", "be given once", "--end and --budget", cure="Leave one out.")
    if end is not None:
        return end
    if budget is None:
        last = np.inf if cost is None else origin + cost.most_steps
        require(np.isfinite(last), "the end of the run", "be given", "none", cure="Give --end, --budget or --deadline.")
        return float(np.floor(last))
    require_number(budget, "--budget", low=0.0, cure="It is the money for the rest of the run.")
    require(cost is not None, "--budget", "come with a price", budget, cure="Give e.g. --per-step 0.01.")
    steps = np.floor(cost.steps(budget)) if cost else 0.0
    require(steps >= 1.0, "--budget", "pay for a step", budget, cure="Raise it, or lower --fixed.")
    return origin + float(steps)


def fit_and_forecast(losses: Path, options: dict[str, Any], *, progress: bool = False) -> RunForecast:
    """Fit the run that the options choose, and forecast it; what they ask is checked before anything is fitted."""
    asked = _asked(losses, options)
    table = asked.table
    steps = steps_ahead(options["steps"], options["to"], table.until(asked.origin), table)
    require_planned(asked.schedule, options["schedule"], float(steps[-1]))
    both = options["no_sensitivity"] and options["refit_wider"]
    require(not both, "--no-sensitivity", "come without --refit-wider", "both", cure="Leave one out.")
    posterior = _fitted(asked, options, progress=progress)
    return RunForecast(table, posterior, forecast(posterior, steps=steps, seed=options["seed"]))


def sensitivity(posterior: Fit, ahead: Forecast, options: dict[str, Any], *, progress: bool = False) -> pd.DataFrame | None:
    """What wider priors do to the forecast; None if that was not asked for."""
    if options["no_sensitivity"]:
        return None
    asked = {"prob": options["prob"], "seed": options["seed"], "refit": options["refit_wider"]}
    return prior_sensitivity(posterior, steps=ahead.steps, progress=progress, **asked)


def fit_and_compare(losses: Path, options: dict[str, Any], *, progress: bool = False) -> tuple[Fit, Comparison]:
    """Fit the runs of a file together, and compare them at the step that the options name."""
    table = read_run_losses(losses, options, run=None)
    cure = "Use bayes-tsl forecast for a single one."
    require(len(table.runs) > 1, losses.name, "hold several runs", table.runs, cure=cure)
    past = table if options["until"] is None else table.until(options["until"])
    lost = [run for run in table.runs if run not in past.runs]
    require(not lost, "--until", "leave rows of every run", lost, where="without any", cure="Raise it.")
    plans = schedules_of(past, None) if options["schedule"] is None else read_schedules(options["schedule"], table)
    for run, plan in plans.items():
        later_steps([options["at"]], float(past.select(run=run).steps[-1]), run=run)
        require_planned(plan, options["schedule"], options["at"])
    runs = None if options["runs"] is None else read_table(options["runs"])
    draws, known = draws_from(options), recipe_from(options)
    with without_notices():
        posterior = fit(
            past,
            schedules=plans,
            branches={},  # they are compared as runs of their own
            runs=runs,
            covariates=[name.strip() for name in (options["covariates"] or "").split(",") if name.strip()],
            seed=options["seed"],
            num_draws=draws,
            progress=progress,
            throw=False,
            **known,
        )
    return posterior, compare_runs(forecast(posterior, steps=[options["at"]], seed=options["seed"]))


def draws_from(options: dict[str, Any]) -> int | Literal["auto"]:
    """How many draws ``--draws`` asks a chain for."""
    asked = options["draws"].strip().lower()
    if asked == "auto":
        return "auto"
    return whole_number(parse_number(asked, "--draws", "500, or auto"), "--draws", low=LEAST_DRAWS, cure="1000 is usual.")


def recipe_from(options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of ``fit`` that ``options.recipe_options`` give: batch_tokens, parameters, optimizer, unique_tokens, priors."""
    known, batch = {name: options[name] for name in FIELDS}, options["batch_tokens"]
    if batch is not None and batch.lower().endswith(ENDINGS):
        known["batch_tokens"] = read_table(batch)
    elif batch is not None:
        known["batch_tokens"] = parse_number(batch, "--batch-tokens", "524288, or a file BATCH.csv")
    return known | {"priors": None if options["family"] is None else family(options["family"])}


def forecasters_from(options: dict[str, Any]) -> dict[str, Forecaster]:
    """The forecasters that ``--models`` names; the temporal scaling law knows the recipe."""
    chosen = by_name([name.strip() for name in options["models"].split(",")])
    known, draws = {name: value for name, value in recipe_from(options).items() if value is not None}, draws_from(options)
    known |= {} if draws == "auto" else {"num_draws": draws}
    return {name: partial(tsl, **known) if one is tsl and known else one for name, one in chosen.items()}


def cost_from(options: dict[str, Any]) -> Cost | None:
    """The cost that options give, each named like the field that it fills; None if there is none."""
    given = {one.name: options[one.name] for one in fields(Cost) if options[one.name] is not None}
    return Cost(**given) if given else None


def steps_ahead(steps: str | None, to: float | None, past: LossTable, table: LossTable) -> np.ndarray:
    """Steps to forecast, increasing: those asked for; or the later checkpoints, from the last on as often, and ``to``."""
    given, cure = "neither" if steps is None else "both", "Give e.g. --to 2000."
    require((steps is None) != (to is None), "one of --steps and --to", "be given", given, cure=cure)
    origin = float(past.steps[-1])
    asked = parse_numbers(steps, "--steps", "1500,2000") if steps is not None else np.array([to], float)
    name = "--to" if steps is None else "--steps"
    finite = np.isfinite(asked)
    require(finite.all(), name, "be finite", asked[~finite], cure="Give the last step of the run.")
    early, cure = asked[asked <= origin], "Give later ones, or --until."
    require(asked[0] > origin, name, f"lie after the origin {show(origin)}", early, cure=cure)
    if to is None:
        return asked
    observed = table.steps[(table.steps > origin) & (table.steps <= to)]
    last = float(observed[-1]) if observed.size else origin
    spacing = float(np.median(np.diff(past.steps))) if len(past.steps) > 1 else to - origin
    more = last + spacing * max(np.ceil((to - last) / spacing / _MOST_STEPS), 1.0) * np.arange(1, _MOST_STEPS + 1)
    wanted = np.concatenate([observed[observed < to], whole_steps(more[more < to - 1e-6 * spacing], table), [to]])
    return wanted[evenly(len(wanted), min(len(wanted), _MOST_STEPS))]


def whole_steps(steps: np.ndarray, table: LossTable) -> np.ndarray:
    """Steps rounded down to whole ones, where those of all checkpoints are whole (step)."""
    return steps if np.any(table.steps % 1) else np.floor(steps)


def parse_number(text: str, name: str, example: str) -> float:
    """One number."""
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{name} must be a number; got {text!r}. Write e.g. {example}.") from None


def parse_numbers(text: str, name: str, example: str) -> np.ndarray:
    """Numbers with commas between, increasing, each once."""
    try:
        return np.unique([float(item) for item in text.split(",")])
    except ValueError:
        raise DataError(f"{name} must be numbers with commas between; got {text!r}. Write e.g. {example}.") from None
