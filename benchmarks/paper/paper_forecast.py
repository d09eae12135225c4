"""Forecasts of real runs by position, in and out of distribution, beside the paper's baselines: R2 and MSE, CRPS and coverage.

    python -m benchmarks.paper.paper_forecast [--quick] [--workers N] [--out FOLDER]

gpt_positions: thirteen runs on three test sets, cut at 30, 50 and 80 %, planned schedule known. --quick takes one run at 50 %.
"""

from __future__ import annotations

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import backtest
from bayes_tsl.forecasting.baselines import BASELINES
from benchmarks.common import by_test_set, keep, options, tsl

PAPER = ("power-law", "reciprocal", "logarithmic")  # baselines of Xiong et al., arXiv 2404.17785
SCORES = ["r2", "mse", "endpoint_mae", "endpoint_bias", "crps", "log_score", "coverage_50", "coverage_90", "width_90"]
DATA = "gpt_positions"


def main() -> None:
    asked = options(__doc__, "paper_forecast")
    losses, schedules = bt.datasets.load(DATA), bt.datasets.schedules(DATA)
    scores = backtest(
        losses.select(run="mix50_cosine") if asked.quick else losses,
        schedules,
        prefixes=(0.5,) if asked.quick else (0.3, 0.5, 0.8),
        forecasters={"tsl": tsl, **{name: BASELINES[name] for name in PAPER}},
        store=asked.out / "cells",
        workers=asked.workers,
    )
    keep(by_test_set(scores, SCORES), asked.table)


if __name__ == "__main__":
    main()
