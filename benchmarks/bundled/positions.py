"""Is it worth evaluating every position? The per-position likelihood beside mean-only fits and the baselines.

    python -m benchmarks.bundled.positions [--quick] [--workers N] [--out FOLDER]

small_lm: two runs, three test sets, cut at 30, 50 and 80 %; --quick takes one run's prose.
"""

from __future__ import annotations

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import backtest
from bayes_tsl.forecasting.baselines import BASELINES
from benchmarks.common import SMALL_LM, by_test_set, keep, options, tsl

SCORES = ["endpoint_mae", "endpoint_bias", "crps", "log_score", "coverage_50", "coverage_90", "width_90"]


def mean_only(losses: bt.LossTable, *, steps, schedule=None, seed=0) -> bt.Forecast:
    """The same model, shown the mean over positions alone."""
    means = bt.LossTable.from_frame(losses.mean_losses().rename("loss").rename_axis("step").reset_index())
    return tsl(means, steps=steps, schedule=schedule, seed=seed)


def main() -> None:
    asked = options(__doc__, "positions")
    losses = bt.datasets.load("small_lm")
    scores = backtest(
        losses.select(run="mix50_cosine", test_set="prose") if asked.quick else losses,
        SMALL_LM,
        prefixes=(0.3, 0.5, 0.8),
        forecasters={"tsl": tsl, "tsl, mean only": mean_only, **BASELINES},
        store=asked.out / "cells",
        workers=asked.workers,
    )
    keep(by_test_set(scores, SCORES), asked.table)


if __name__ == "__main__":
    main()
