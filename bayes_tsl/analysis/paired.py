"""Two runs that differ in one thing, on one test set: what it did to the loss, paired over what was evaluated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import require, require_choice, require_number, require_type, show
from bayes_tsl.data.loss_table import LossTable, require_losses

BLOCKS = 16  # of neighbouring positions: few enough that what differs slowly with position counts as chance


def paired_differences(
    losses: LossTable, *, pairs: Mapping[str, str], at: float | None = None, prob: float = 0.9
) -> pd.DataFrame:
    """Loss of each run less that of the run it is paired with, at one checkpoint, with an interval.

    Both are measured on the same sequences, so what a text adds to both cancels. The interval is Student's t of blocks of
    neighbouring positions, whose differences are taken as independent: it holds what single positions add by chance. What a
    whole sequence does to all its positions, and what another seed would have done, is not in it: give a pair of runs that
    differ in their seed alone, and read its row beside the others.

    Args:
        losses: by position.
        pairs: ``{run: the run it is compared with}``.
        at: step of the checkpoint; by default the last that both have.
        prob: mass of the interval.

    Returns:
        One row per pair and test set: run, reference, test_set, step, difference, lower, upper [nats/token].

    Raises:
        DataError: losses are means over positions; ``pairs`` is no such mapping; a run, a test set of it, its positions or the
            step are not there for both; or ``prob`` is none.

    >>> from bayes_tsl import datasets
    >>> apart = paired_differences(datasets.load(), pairs={"mix20_cosine": "mix50_cosine"})
    >>> apart.set_index("test_set")["difference"].round(2).to_dict()
    {'code': 0.39, 'ood': 0.04, 'prose': -0.18}
    """
    require_losses(losses)
    require_number(prob, "prob", low=0.0, high=1.0, cure="0.9 is a 90 % interval.")
    require(losses.by_position, "losses", "be given by position", "means over positions", cure="See bayes_tsl.collect.")
    cure = "Give {run: reference}."
    require_type(pairs, "pairs", Mapping, cure=cure)
    require(len(pairs) > 0, "pairs", "name a pair of runs", "none", cure=cure)
    if at is not None:
        require_number(at, "at", cure="It is the step of a checkpoint.")
    rows = []
    for run, other in pairs.items():
        both = {name: losses.select(run=name) for name in (run, other)}
        for test_set in both[run].test_sets:
            require_choice(test_set, f"test set of {run}", both[other].test_sets, cure=f"Evaluate {other} on it too.")
            curves = [table.select(test_set=test_set).curve() for table in both.values()]
            label = {"run": run, "reference": other, "test_set": test_set}
            rows.append(label | _difference(*curves, at=at, prob=prob, where=f"for {run} and {other} on {test_set}"))
    return pd.DataFrame(rows)


def _difference(one: pd.DataFrame, two: pd.DataFrame, *, at: float | None, prob: float, where: str) -> dict[str, float]:
    """Mean difference of two curves (step, position) at a step, and its interval."""
    from scipy.stats import t

    shared = np.intersect1d(one.index, two.index)
    wanted = shared[-1:] if at is None else shared[shared == at]
    cure = f"Both have {show(shared)}."
    require(len(wanted), "at", "be a checkpoint of both runs", "no such step" if at is None else at, where=where, cure=cure)
    apart = (one.loc[wanted[0]] - two.loc[wanted[0]]).dropna().to_numpy()
    cure = "Evaluate both at the same positions."
    require(len(apart) >= BLOCKS, "positions", f"be {BLOCKS} or more that both have", len(apart), where=where, cure=cure)
    means = np.array([block.mean() for block in np.array_split(apart, BLOCKS)])
    error = means.std(ddof=1) / np.sqrt(BLOCKS) * t.ppf(0.5 + 0.5 * prob, BLOCKS - 1)
    centre = float(apart.mean())
    return {"step": float(wanted[0]), "difference": centre, "lower": centre - error, "upper": centre + error}
