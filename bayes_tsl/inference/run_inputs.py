"""Per-run inputs of ``fit`` beside the losses: schedule, recipe, priors, covariates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import numbers, pandas_frame, require, show
from bayes_tsl.data.logged_schedule import schedule_so_far
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.recipe import FIELDS, Recipe, make_recipe
from bayes_tsl.data.schedules import Schedule, optional_schedule
from bayes_tsl.errors import DataError
from bayes_tsl.model.design import Design
from bayes_tsl.model.gradient_noise import with_gradient_noise
from bayes_tsl.model.population import Population
from bayes_tsl.model.priors import AVERAGING, OVERFITTING, LearnedPriors, Priors

MOST_EPOCHS = 4.0  # until which repeated data are worth nearly as much as new ones (Muennighoff et al., arXiv 2305.16264)


def schedules_of(
    losses: LossTable,
    schedule: Schedule | str | Mapping[str, Schedule | str] | None,
    *,
    otherwise: Callable[[LossTable], Schedule] = schedule_so_far,
) -> dict[str, Schedule]:
    """The schedule of every run: one for all, or each by name.

    Args:
        losses: of all runs.
        schedule: what was given.
        otherwise: schedule of a run for which none was given, by its losses.

    Raises:
        DataError: it is no schedule, or a run has none.
    """
    if not isinstance(schedule, Mapping):
        one = optional_schedule(schedule)
        return {run: one or otherwise(losses.select(run)) for run in losses.runs}
    missing = [run for run in losses.runs if run not in schedule]
    require(not missing, "schedules", "name every run", missing, where="without one", cure="Use schedules.unknown() if it is.")
    given = {run: optional_schedule(one) for run, one in schedule.items()}
    return {run: given[run] or otherwise(losses.select(run)) for run in losses.runs}


def recipes_of(losses: LossTable, given: Mapping[str, Any], runs: pd.DataFrame | None) -> dict[str, Recipe]:
    """What is known of every run beside its schedule: what was given for all, or else its row of the table ``runs``.

    Args:
        losses: of the runs.
        given: arguments of ``make_recipe``; None where unknown.
        runs: a table with a column run, whose columns of the same names give them by run.

    Raises:
        DataError: a value cannot be used, is given twice, or a ramp ends before the losses.
    """
    given = {name: value for name, value in given.items() if value is not None}
    table = pd.DataFrame(index=pd.Index(losses.runs)) if runs is None else _rows(runs, [], list(losses.runs))
    twice = [name for name in given if name in table]
    require(not twice, "runs", "not repeat an argument", twice, where="in both", cure="Give it once.")
    recipes = {}
    for run in losses.runs:
        own = {name: table.at[run, name] for name in FIELDS if name in table and pd.notna(table.at[run, name])}
        of_run = losses.select(run=run)
        try:
            recipe = make_recipe(**given, **own, losses=of_run)
            last = float(of_run.curve().index[-1])
            reach, cure = recipe.batch[-1][0] if recipe.is_ramp else np.inf, "Add rows to the ramp."
            require(reach >= last, "batch_tokens", f"cover the steps up to {show(last)}", reach, cure=cure)
        except DataError as error:
            raise DataError(f"{error} (run {run!r})" if len(losses.runs) > 1 else str(error)) from None
        recipes[run] = recipe
    return recipes


def repeats(schedules: Mapping[str, Schedule], recipes: Mapping[str, Recipe]) -> tuple[str, ...]:
    """A notice for every run whose plan repeats its data more often than forecasts can be trusted."""
    notices = []
    for run, schedule in schedules.items():
        epochs = recipes[run].epochs(schedule.end) if np.isfinite(schedule.end) else 0.0
        if epochs > MOST_EPOCHS:
            of = f"{run}: " if len(schedules) > 1 else ""
            notice = f"{of}The plan repeats its data {epochs:.3g} times: beyond {MOST_EPOCHS:g} epochs losses may rise,"
            notices.append(f"{notice} and how much is known from one family of runs. Do not rely on the interval.")
    return tuple(notices)


def priors_of(
    schedules: Mapping[str, Schedule],
    origins: Sequence[float],
    recipes: Mapping[str, Recipe],
    priors: Priors | Population | LearnedPriors | None,
    runs: pd.DataFrame | None,
) -> tuple[list[Priors], tuple[str, ...]]:
    """Priors of every run (run): those given, or made for it by a population or by what other families taught; and notices.

    Args:
        schedules: of every run, by name.
        origins: last step used to fit each (run).
        recipes: of every run, by name.
        priors: of all runs, a population, or a family.
        runs: a table with the covariates of the population.

    Raises:
        DataError: a population for several runs, or a covariate of it that is not in the table.
    """
    kinds, cure = Priors | Population | LearnedPriors | None, "Make them with bt.Priors(heat=...) or bt.priors.family(name)."
    require(isinstance(priors, kinds), "priors", "be Priors, a Population or a family", type(priors).__name__, cure=cure)
    if isinstance(priors, Priors):
        return [priors] * len(schedules), ()
    if not isinstance(priors, Population):
        taught, made, notices = priors or LearnedPriors(), [], {}
        for (run, schedule), origin in zip(schedules.items(), origins):
            made.append(taught.priors(schedule, origin=origin, recipe=recipes[run]))
            own = taught.notices(schedule, origin=origin, recipe=recipes[run])
            notices |= dict.fromkeys(own if len(schedules) == 1 else (f"{run}: {notice}" for notice in own))
        return _alike(made), tuple(notices)
    cure = "Fit each run by itself, as fit_each does, or all of them with those that the population was learned from."
    require(len(schedules) == 1, "priors", "be a Population for a single run only", "several runs", cure=cure)
    [(run, schedule)], [origin] = schedules.items(), origins
    covariates = _looked_up(runs, list(priors.covariates), [run]).iloc[0].to_dict() if priors.covariates else {}
    return [priors.priors(schedule, origin=origin, covariates=covariates, recipe=recipes[run])], ()


def informed(priors: Priors, design: Design, losses: LossTable, run: str, schedule: Schedule, effective: Schedule) -> Priors:
    """Priors of a run that knows of its averaged weights and of the noise of its gradient, where these were measured.

    Args:
        priors: of the run, without them.
        design: what it is fitted to.
        losses: that have the noise.
        run: its name.
        schedule: its learning rate.
        effective: the same, a batch ramp included.
    """
    if design.branches is not None and design.branches.averaged.any() and priors.averaging.family == "fixed":
        priors = replace(priors, averaging=AVERAGING)
    table = losses.gradient_noise
    if table is None or not schedule.known:
        return priors
    own = table.loc[table["run"] == run, ["step", "gradient_noise"]].to_numpy(float)
    noise = {float(step): float(value) for step, value in own}
    return with_gradient_noise(priors, noise, schedule, effective, origin=design.anchor.origin)


def _alike(priors: list[Priors]) -> list[Priors]:
    """The same priors (run); where one run repeats its data, all have a prior of what that adds."""
    repeated = any(own.overfitting == OVERFITTING for own in priors)
    return [replace(own, overfitting=OVERFITTING) for own in priors] if repeated else priors


def covariates_of(names: list[str], covariates: str | Sequence[str], runs: pd.DataFrame | None) -> pd.DataFrame:
    """Covariates of runs of these names (run, covariate), read from the table ``runs``.

    Raises:
        DataError: a single run, a covariate that does not tell runs apart, or one that is not in the table.
    """
    kind = type(covariates).__name__
    require(isinstance(covariates, Iterable), "covariates", "be names of columns", kind, cure="Give e.g. ['log_parameters'].")
    covariates = [covariates] if isinstance(covariates, str) else list(covariates)
    if not covariates:
        return pd.DataFrame(index=pd.Index(names))
    cure = "Leave the covariates out; one run cannot tell what they do."
    require(len(names) > 1, "covariates", "describe several runs", names, where="alone", cure=cure)
    values = _looked_up(runs, covariates, names)
    cure = "Leave it out; it cannot tell the runs apart."
    for name in covariates:
        require(values[name].nunique() > 1, f"covariate {name!r}", "differ between runs", values[name].iloc[0], cure=cure)
    return values


def _looked_up(runs: pd.DataFrame | None, covariates: Sequence[str], names: list[str]) -> pd.DataFrame:
    """Columns of the table of runs, for these runs (run, covariate)."""
    cure = "Pass runs=, a table with a column run and one per covariate."
    require(runs is not None, "covariates", "be columns of runs", covariates, where="without runs", cure=cure)
    table = _rows(pd.DataFrame() if runs is None else runs, covariates, names)
    values = pd.DataFrame({name: numbers(table, name) for name in covariates})
    for name in covariates:
        bad = values.index[~np.isfinite(values[name])]
        require(not len(bad), f"covariate {name!r}", "be a finite number", list(bad), where="without one", cure="Fill it in.")
    return values


def _rows(frame: pd.DataFrame, columns: Sequence[str], names: list[str]) -> pd.DataFrame:
    """The one row of each of these runs in the table of runs, which has these columns (run)."""
    frame = pandas_frame(frame, "runs", ["run", *columns])
    missing = [name for name in ("run", *columns) if name not in frame]
    rule = f"have the columns {', '.join(['run', *columns])}"
    require(not missing, "runs", rule, list(frame), cure=f"Add {show(missing)}.")
    table = frame.assign(run=frame["run"].astype(str)).set_index("run")
    counted = {run: int(np.sum(table.index == run)) for run in names}
    wrong = [run for run, count in counted.items() if count != 1]
    where, cure = "without one, or with several", "Mend the table."
    require(not wrong, "runs", "have one row for every run", wrong, where=where, cure=cure)
    return table.loc[names]
