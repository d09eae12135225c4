"""What would each forecaster have forecast earlier? Finished runs, cut off and scored.

    losses -> cells (run, test set, model, prefix) -> past | later -> Forecast -> scores -> one tidy frame

A forecaster gets the table cut at the origin and the schedule, and nothing else. Cells are independent: they run one after
the other, in processes, or on a Dask cluster, and each is stored when it is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayes_tsl._common.parallel import ResultStore, content_hash, is_passing, one_line, run_tasks, without_notices
from bayes_tsl._common.validation import floats, require, require_number, require_seed
from bayes_tsl.data.loss_table import LossTable, require_losses
from bayes_tsl.data.schedules import Schedule, unknown
from bayes_tsl.evaluation import scoring
from bayes_tsl.forecasting.baselines import Forecaster
from bayes_tsl.forecasting.forecasters import by_name
from bayes_tsl.inference.run_inputs import schedules_of

if TYPE_CHECKING:
    from distributed import Client

CELL = ["run", "test_set", "model", "prefix", "origin"]


@dataclass(frozen=True)
class _Cell:
    """One forecast to make and to judge."""

    run: str
    test_set: str
    model: str
    prefix: float
    origin: float
    forecaster: Forecaster
    past: LossTable = field(repr=False)
    later: pd.Series = field(repr=False)
    schedule: Schedule
    target: float | None
    seed: int

    @property
    def label(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in CELL}

    @cached_property
    def file_name(self) -> str:
        schedule, later = self.schedule, self.later
        name = content_hash(
            (version("bayes_tsl"), self.label, self.seed, self.target, schedule.text, schedule.peak, schedule.end),
            getattr(self.forecaster, "keywords", None),
            *(schedule.steps, schedule.lrs, later.index.to_numpy(float), later.to_numpy(float)),
            self.past.frame,
        )
        return f"{name}.parquet"


def backtest(
    losses: LossTable,
    schedule: Schedule | str | Mapping[str, Schedule | str] | None = None,
    *,
    prefixes: Sequence[float],
    forecasters: Sequence[str] | Mapping[str, Forecaster] = ("tsl", "power-law"),
    target: float | None = None,
    store: str | Path | None = None,
    workers: int = 1,
    client: Client | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Forecast the rest of every run from each of its prefixes, and score it.

    Args:
        losses: finished runs, on any number of test sets.
        schedule: that of all runs, or of each by name; without one it is unknown.
        prefixes: shares of a run's last step at which to cut, between 0 and 1.
        forecasters: names of ``FORECASTERS``, or other functions by name.
        target: a loss to reach, whose probability and time are scored too.
        store: folder that keeps finished cells; those found there are not computed again. A damaged one is set aside and
            computed anew, as is one that failed for want of memory, files or workers.
        workers: processes on this machine.
        client: a Dask cluster to use instead.
        seed: handed to every forecaster.
        progress: show a bar on stderr.

    Returns:
        One row per cell and later step: run, test_set, model, prefix, origin, the columns of ``scoring.score``, ``notes`` (the
        notices of the forecast) and ``reason``: where a forecaster failed there is one row, without step, that says why.

    Raises:
        DataError: a prefix outside (0, 1) or without a checkpoint, a model that does not exist, a run without a schedule.

    >>> import bayes_tsl as bt
    >>> losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    >>> scores = backtest(losses, prefixes=[0.5], forecasters=["last-value"], progress=False)
    >>> scores[["model", "prefix", "origin", "step"]].tail(1).to_numpy().tolist()
    [['last-value', 0.5, 1250.0, 2500.0]]
    """
    require_losses(losses)
    require_seed(seed)
    prefixes = np.atleast_1d(floats(prefixes, "prefixes", cure="Give e.g. [0.2, 0.5, 0.8].")).tolist()
    require(len(prefixes) > 0, "prefixes", "name at least one prefix", "none", cure="Give e.g. [0.2, 0.5, 0.8].")
    for prefix in prefixes:
        require_number(prefix, "prefixes", low=0.0, high=1.0, cure="0.5 is the first half of a run.")
    if target is not None:
        require_number(target, "target", low=0.0, cure="It is a loss in nats per token.")
    cells = list(
        _cells(losses, schedules_of(losses, schedule, otherwise=_unknown), prefixes, by_name(forecasters), target, seed)
    )
    kept = ResultStore(store, read=_read_scores, write=_write_scores)
    frames = run_tasks(
        _score_cell,
        cells,
        kind=lambda cell: (cell.model, len(cell.past.steps)),
        load=lambda cell: kept.load(cell.file_name),
        save=lambda cell, scores: kept.save(cell.file_name, scores),
        on_failure=_failed,
        workers=workers,
        client=client,
        title="backtest",
        unit="cell",
        progress=progress,
    )
    return pd.concat(frames, ignore_index=True)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean over cells by model and prefix: scores, coverage, widths, ``cells`` and ``failed``.

    Errors at the end are ``endpoint_mae`` and ``endpoint_median`` (mean and median of their size), and ``endpoint_bias``.

    >>> import bayes_tsl as bt
    >>> losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    >>> scores = backtest(losses, prefixes=[0.5], forecasters=["last-value"], progress=False)
    >>> summarise(scores)[["model", "prefix", "cells", "endpoint_mae"]].round(3).to_numpy().tolist()
    [['last-value', 0.5, 1, 0.365]]
    """
    rows = []
    for _, part in scores.groupby(["model", "prefix"], sort=True):
        cells = part.drop_duplicates(CELL)
        row = {**cells.iloc[0][["model", "prefix"]], "cells": len(cells), "failed": int(np.sum(cells["reason"] != ""))}
        good = part.loc[part["reason"] == ""]
        if len(good):
            each = pd.DataFrame([scoring.summarise(pd.DataFrame(cell)) for _, cell in good.groupby(CELL, sort=False)])
            errors = each.pop("endpoint_error")
            size = errors.abs()
            row |= {
                **each.mean(),
                "endpoint_mae": size.mean(),
                "endpoint_median": size.median(),
                "endpoint_bias": errors.mean(),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _unknown(losses: LossTable) -> Schedule:
    """The schedule of a run for which none was given: learning rates that were logged later are no plan."""
    return unknown()


def _cells(
    losses: LossTable,
    schedules: Mapping[str, Schedule],
    prefixes: Sequence[float],
    forecasters: Mapping[str, Forecaster],
    target: float | None,
    seed: int,
) -> Iterator[_Cell]:
    """Every run on every test set, cut at every prefix, for every forecaster."""
    for run in losses.runs:
        of_run = losses.select(run=run)
        for test_set in of_run.test_sets:
            curve = of_run.select(test_set=test_set)
            for prefix in sorted(set(prefixes)):
                past = curve.until(prefix * float(curve.steps[-1]))
                origin = float(past.steps[-1])
                later = curve.after(origin).mean_losses()
                for model, forecaster in forecasters.items():
                    yield _Cell(run, test_set, model, prefix, origin, forecaster, past, later, schedules[run], target, seed)


def _score_cell(cell: _Cell) -> pd.DataFrame:
    """Scores of one cell, or the one row that says why there are none."""
    try:
        with without_notices():
            steps = cell.later.index.to_numpy(float)
            ahead = cell.forecaster(cell.past, steps=steps, schedule=cell.schedule, seed=cell.seed)
        scores = scoring.score(ahead, cell.later, target=cell.target).assign(notes=" ".join(ahead.notices), reason="")
    except Exception as error:  # whatever a forecaster does, the other cells go on
        if is_passing(error):
            raise MemoryError(one_line(error)) from None  # of a kind that every process can send; it is not kept
        return _failed(cell, error)
    return scores.assign(**cell.label).reindex(columns=[*CELL, *scores.columns])


def _failed(cell: _Cell, error: BaseException) -> pd.DataFrame:
    """The row of a cell without scores."""
    return pd.DataFrame([{**cell.label, "notes": "", "reason": one_line(error)}])


def _write_scores(scores: pd.DataFrame, path: Path) -> None:
    """Write the scores of a cell, and a checksum of them, which parquet leaves out, among the attributes of the table."""
    marked = scores.copy()
    marked.attrs["checksum"] = content_hash(scores)
    marked.to_parquet(path)


def _read_scores(path: Path) -> pd.DataFrame:
    """The scores of a cell; those that earlier versions kept have no checksum.

    Raises:
        DataError: they are not what was written.
    """
    scores = pd.read_parquet(path)
    checksum = scores.attrs.pop("checksum", None)
    good = checksum in (None, content_hash(scores)) and {*CELL, "reason"} <= set(scores)
    require(good, path.name, "hold the scores of a cell", "others", cure="It is made again.")
    return scores
