"""Many runs, each fitted by itself: in processes or on a Dask cluster, kept in a folder, and never fitted twice.

With a ``Population`` for priors, thousands of runs learn from a few that were fitted together.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from bayes_tsl._common.parallel import ResultStore, content_hash, one_line, run_tasks, without_notices
from bayes_tsl._common.validation import require_seed
from bayes_tsl.data.loss_table import LossTable, require_losses
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.inference.fitting import fit
from bayes_tsl.inference.posterior import Fit, load_fit
from bayes_tsl.inference.run_inputs import schedules_of
from bayes_tsl.model.population import Population
from bayes_tsl.model.priors import LearnedPriors, Priors

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class _Task:
    """One fit to make."""

    run: str
    test_set: str
    losses: LossTable = field(repr=False)
    schedule: Schedule
    settings: Mapping[str, Any]

    @property
    def label(self) -> dict[str, str]:
        return {"run": self.run, "test_set": self.test_set}

    @cached_property
    def file_name(self) -> str:
        schedule, settings = self.schedule, dict(self.settings)
        priors, table = settings.pop("priors"), settings.pop("runs")
        values = None if priors is None else asdict(priors)
        name = content_hash(
            (version("bayes_tsl"), self.label, settings, values, schedule.text, schedule.peak, schedule.end),
            *(schedule.steps, schedule.lrs, self.losses.frame, table),
        )
        return f"{name}.nc"


def fit_each(
    losses: LossTable,
    schedule: Schedule | str | Mapping[str, Schedule | str] | None = None,
    *,
    folder: str | Path,
    runs: pd.DataFrame | None = None,
    priors: Priors | Population | LearnedPriors | None = None,
    law: str = "general",
    chains: int = 4,
    num_warmup: int | None = None,
    num_draws: int | Literal["auto"] = "auto",
    workers: int = 1,
    client: Client | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Fit every run on every test set by itself, and keep the fits in a folder.

    Args:
        losses: runs up to their origins, on any number of test sets.
        schedule: that of all runs, or of each by name; without one as ``fit`` has it.
        folder: where fits are kept; those found there, of the same losses and settings, are not made again.
        runs: a table with a column ``run``: covariates of a population, and ``batch_tokens``, ``parameters``, ``optimizer`` and
            ``unique_tokens``.
        priors: as ``fit`` takes them; a ``Population`` lets every run learn from others of its kind.
        law: one of ``priors.LAWS``.
        chains: number of chains of every fit.
        num_warmup: adaptation, per chain; by default 500, and 300 where num_draws is "auto".
        num_draws: draws kept, per chain; "auto" for as few of 300, 500, 750 and 1000 as pass the checks.
        workers: processes on this machine.
        client: a Dask cluster to use instead.
        seed: of all fits; each has another seed, made of this one and its name, so that draws of two runs have
            nothing to do with each other.
        progress: show a bar on stderr.

    Returns:
        One row per run and test set: run, test_set, file (for ``load_fit``), converged, verdict, and ``reason``: where a run
        could not be fitted there is no file, and this says why.

    Raises:
        DataError: a run without a schedule, or less than one worker.

    Example::

        import bayes_tsl as bt

        done = bt.fit_each(bt.datasets.load().until(1250), bt.datasets.schedules(), folder="fits", workers=2)
        fits = [bt.load_fit(path) for path in done.loc[done["converged"], "file"]]
    """
    require_losses(losses)
    require_seed(seed)
    settings = {"runs": runs, "priors": priors, "law": law, "chains": chains, "num_warmup": num_warmup, "num_draws": num_draws}
    store = ResultStore(folder, read=load_fit, write=Fit.save)
    rows = run_tasks(
        _fit_or_error,
        list(_tasks(losses, schedules_of(losses, schedule), settings, seed)),
        kind=lambda task: len(task.losses.steps),
        load=partial(_load, store),
        save=partial(_save, store),
        on_failure=_failed,
        workers=workers,
        client=client,
        title="fits",
        unit="fit",
        progress=progress,
    )
    return pd.DataFrame(rows)


def _tasks(losses: LossTable, schedules: Mapping[str, Schedule], settings: Mapping[str, Any], seed: int) -> Iterator[_Task]:
    """One task per run and test set, each with a seed made of its names."""
    for run, schedule in schedules.items():
        of_run = losses.select(run=run)
        for test_set in of_run.test_sets:
            state = np.random.SeedSequence([seed, zlib.crc32(f"{run}\n{test_set}".encode())]).generate_state(1)
            curve = of_run.select(test_set=test_set)
            yield _Task(run, test_set, curve, schedule, {**settings, "seed": int(state[0] >> 1)})


def _fit_or_error(task: _Task) -> Fit | Exception:
    """The fit of one run, or why there is none."""
    try:
        with without_notices():
            return fit(task.losses, schedule=task.schedule, progress=False, throw=False, **task.settings)
    except Exception as error:  # whatever is wrong with one run, the others go on
        return error


def _load(store: ResultStore, task: _Task) -> dict[str, Any] | None:
    """The row of a fit that is kept, or None."""
    found = store.load(task.file_name)
    return None if found is None else _row(store, task, found)


def _save(store: ResultStore, task: _Task, made: Fit | Exception) -> dict[str, Any]:
    """The row of a fit, which is kept; errors are not."""
    return _failed(task, made) if isinstance(made, Exception) else _row(store, task, store.save(task.file_name, made))


def _row(store: ResultStore, task: _Task, made: Fit) -> dict[str, Any]:
    """The row of a fit."""
    verdict = {"converged": made.converged, "verdict": made.verdict}
    return {**task.label, "file": str(store.path(task.file_name)), **verdict, "reason": ""}


def _failed(task: _Task, error: BaseException) -> dict[str, Any]:
    """The row of a run without a fit."""
    return {**task.label, "file": "", "converged": False, "verdict": "", "reason": one_line(error)}
