"""Two runs that differ in one thing, on one test set: what it did to the loss, paired over what was evaluated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import t

from bayes_tsl._checks import require, require_number
from bayes_tsl.data import LossTable, require_losses

BLOCKS = 16  # of neighbouring positions, which share sequences, and are not taken as independent


def paired_differences(
    losses: LossTable, *, pairs: Mapping[str, str], at: float | None = None, prob: float = 0.9
) -> pd.DataFrame:
    """Loss of each run less that of the run it is paired with, at one checkpoint, with an interval for other test texts.

    Both are measured on the same sequences, so what a text adds to both cancels. Positions are averaged in blocks of
    neighbours, whose differences are taken as independent (Student's t). What another seed would have done is not in the
    interval: give a pair of runs that differ in their seed alone, and read its row beside the others.

    Args:
        losses: by position.
        pairs: ``{run: the run it is compared with}``.
        at: step of the checkpoint; by default the last that both have.
        prob: mass of the interval.

    Returns:
        One row per pair and test set: run, reference, test_set, step, difference, lower, upper [nats/token].

    Raises:
        DataError: losses are means over positions, a run or a step is not there, or ``prob`` is none.

    >>> from bayes_tsl import datasets
    >>> apart = paired_differences(datasets.load(), pairs={"mix20_cosine": "mix50_cosine"})
    >>> apart.set_index("test_set")["difference"].round(2).to_dict()
    {'code': 0.39, 'ood': 0.04, 'prose': -0.18}
    """
    require_losses(losses)
    require_number(prob, "prob", low=0.0, high=1.0, cure="0.9 is a 90 % interval.")
    require(losses.by_position, "losses", "be given by position", "means over positions", cure="See bayes_tsl.collect.")
    rows = [
        {"run": run, "reference": other, "test_set": test_set} | _difference(losses, run, other, test_set, at, prob)
        for run, other in pairs.items()
        for test_set in losses.select(run=run).test_sets
    ]
    return pd.DataFrame(rows)


def _difference(losses: LossTable, run: str, other: str, test_set: str, at: float | None, prob: float) -> dict[str, float]:
    one, two = (losses.select(run=name, test_set=test_set).curve() for name in (run, other))
    shared = np.intersect1d(one.index, two.index)
    wanted = shared[-1:] if at is None else shared[shared == at]
    cure = "Choose a step that both have."
    require(len(wanted) > 0, "at", "be a checkpoint of both runs", at, where=f"of {run} and {other}", cure=cure)
    apart = (one.loc[wanted[0]] - two.loc[wanted[0]]).dropna().to_numpy()
    cure = "Evaluate both at the same positions."
    require(len(apart) >= BLOCKS, "positions", f"be {BLOCKS} or more that both have", len(apart), cure=cure)
    means = np.array([block.mean() for block in np.array_split(apart, BLOCKS)])
    error = means.std(ddof=1) / np.sqrt(BLOCKS) * t.ppf(0.5 + 0.5 * prob, BLOCKS - 1)
    centre = float(apart.mean())
    return {"step": float(wanted[0]), "difference": centre, "lower": centre - error, "upper": centre + error}
