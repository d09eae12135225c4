"""Per-run inputs of ``fit`` beside the losses: schedule, priors, covariates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import numbers, require, require_frame, show
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule, require_schedule, unknown
from bayes_tsl.model.population import Population
from bayes_tsl.model.priors import Priors, default_priors


def schedules_of(losses: LossTable, schedule: Schedule | Mapping[str, Schedule] | None) -> dict[str, Schedule]:
    """The schedule of every run: one for all, or each by name; without any it is unknown.

    Raises:
        DataError: it is no schedule, or a run has none.
    """
    if not isinstance(schedule, Mapping):
        require_schedule(schedule)
        return dict.fromkeys(losses.runs, schedule or unknown())
    missing = [run for run in losses.runs if run not in schedule]
    require(not missing, "schedules", "name every run", missing, where="without one", cure="Use schedules.unknown() if it is.")
    for one in schedule.values():
        require_schedule(one)
    return {run: schedule[run] or unknown() for run in losses.runs}


def priors_of(
    schedules: Mapping[str, Schedule], origins: Sequence[float], priors: Priors | Population | None, runs: pd.DataFrame | None
) -> list[Priors]:
    """Priors of every run (run): those given, those that a population gives a single one, or the default.

    Args:
        schedules: of every run, by name.
        origins: last step used to fit each (run).
        priors: of all runs, or a population.
        runs: a table with the covariates of the population.

    Raises:
        DataError: a population for several runs, or a covariate of it that is not in the table.
    """
    if not isinstance(priors, Population):
        return [priors or default_priors(schedule, origin=origin) for schedule, origin in zip(schedules.values(), origins)]
    cure = "Fit each run by itself, as fit_each does, or all of them with those that the population was learned from."
    require(len(schedules) == 1, "priors", "be a Population for a single run only", "several runs", cure=cure)
    [(run, schedule)], [origin] = schedules.items(), origins
    covariates = _looked_up(runs, list(priors.covariates), [run]).iloc[0].to_dict() if priors.covariates else {}
    return [priors.priors(schedule, origin=origin, covariates=covariates)]


def covariates_of(names: list[str], covariates: str | Sequence[str], runs: pd.DataFrame | None) -> pd.DataFrame:
    """Covariates of runs of these names (run, covariate), read from the table ``runs``.

    Raises:
        DataError: a single run, a covariate that does not tell runs apart, or one that is not in the table.
    """
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
    frame = pd.DataFrame() if runs is None else runs
    require_frame(frame, "runs", ["run", *covariates])
    missing = [name for name in ("run", *covariates) if name not in frame]
    require(not missing, "runs", f"have the columns run, {', '.join(covariates)}", list(frame), cure=f"Add {show(missing)}.")
    table = frame.assign(run=frame["run"].astype(str)).set_index("run")
    counted = {run: int(np.sum(table.index == run)) for run in names}
    wrong = [run for run, count in counted.items() if count != 1]
    require(
        not wrong, "runs", "have one row for every run", wrong, where="without one, or with several", cure="Mend the table."
    )
    values = pd.DataFrame({name: numbers(table.loc[names], name) for name in covariates})
    for name in covariates:
        bad = values.index[~np.isfinite(values[name])]
        require(not len(bad), f"covariate {name!r}", "be a finite number", list(bad), where="without one", cure="Fill it in.")
    return values
