"""Several test sets of one run: the mean over them, at checkpoints where each was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import require
from bayes_tsl.data.loss_table import COLUMNS, KEY, LossTable

_MOST_NAMES = 4  # in the name of a mean
_OF_ALL = [name for name in KEY if name != "test_set"]


def over_test_sets(losses: LossTable) -> LossTable:
    """Mean losses over all test sets, as those of one; a table of one test set as it is.

    Checkpoints, and positions, at which a test set was not measured are left out, with a notice.

    Raises:
        DataError: a run lacks a test set, or has no checkpoint that was measured on all.

    >>> rows = {"test_set": ["code", "prose"] * 2, "step": [100, 100, 200, 200], "loss": [3.0, 5.0, 2.0, 4.5]}
    >>> over_test_sets(LossTable.from_frame(pd.DataFrame(rows))).mean_losses().to_dict()
    {100.0: 4.0, 200.0: 3.25}
    """
    sets = losses.test_sets
    if len(sets) == 1:
        return losses
    name = f"mean of {', '.join(sets)}" if len(sets) <= _MOST_NAMES else f"mean of {len(sets)} test sets"
    parts, notices = [], []
    for run in losses.runs:
        own = losses.select(run=run)
        part = _mean(own.frame, sets, name)
        parts.append(part)
        lacking = sorted(set(sets) - set(own.test_sets))
        cure = "Choose test sets with losses.select(test_set=...)."
        require(not lacking, f"run {run!r}", "be measured on every test set", lacking, where="without losses", cure=cure)
        require(len(part) > 0, f"run {run!r}", "have checkpoints measured on every test set", "none", cure=cure)
        left = len(own.steps) - len(np.unique(part["step"]))
        if left > 0:
            notices.append(f"{left} of {len(own.steps)} checkpoints of run {run!r} lack a test set and are left out.")
    averaged = {span: _mean(table.frame, sets, name) for span, table in losses.averaged.items()}
    return replace(
        losses,
        frame=pd.concat(parts, ignore_index=True),
        notices=(*losses.notices, *notices),
        averaged={span: LossTable(rows) for span, rows in averaged.items() if len(rows)},
    )


def _mean(rows: pd.DataFrame, sets: list[str], name: str) -> pd.DataFrame:
    """Rows of the mean over test sets, in the order of a loss table."""
    groups = rows.assign(loss_se=rows["loss_se"] ** 2).groupby(_OF_ALL, dropna=False, sort=True)
    mean = pd.DataFrame(groups.agg({"loss": "mean", "tokens": "mean", "lr": "mean", "loss_se": _sum, "test_set": "nunique"}))
    mean = mean.assign(loss_se=np.sqrt(mean["loss_se"]) / len(sets)).reset_index()
    whole = mean.loc[mean["test_set"] == len(sets)].assign(test_set=name)
    return pd.DataFrame(whole, columns=list(COLUMNS))


def _sum(values: pd.Series) -> Any:
    return values.sum(skipna=False)
