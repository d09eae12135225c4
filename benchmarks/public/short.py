"""Forecasts from few evaluations: runs of every family, thinned to 5, 7 or 10 checkpoints of their first half.

    python -m benchmarks.public.short [--quick] [--workers N] [--out FOLDER]

As ``benchmarks.public.unseen``: the same families, FEW runs of each, priors learned from other families, batch and size known.
Of the checkpoints past the warm-up so many are kept, evenly spread, and every later loss is scored. --quick: one run of
each family, 5 checkpoints.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import backtest
from bayes_tsl.model.checkpoints import after_warmup
from benchmarks.common import by_kind, keep, mean_of_kinds, options
from benchmarks.public import unseen
from benchmarks.public.families import Family, families

FEW = 3  # runs of a family
COUNTS = (5, 7, 10)  # checkpoints
PREFIX = 0.5
SCORES = ["endpoint_mae", "endpoint_bias", "crps", "coverage_50", "coverage_90", "width_90"]


def thinned(family: Family, count: int) -> Family:
    """Every run with so many checkpoints past its warm-up in the first part, and all that follow."""
    parts = []
    for run, schedule in family.schedules.items():
        of_run = family.losses.select(run=run)
        for own in (of_run.select(test_set=name) for name in of_run.test_sets):
            origin = PREFIX * own.steps[-1]
            usable = after_warmup(own.until(origin), schedule)[0].steps
            chosen = usable[np.unique(np.linspace(0, len(usable) - 1, count).round().astype(int))]
            parts.append(own.frame[own.frame["step"].isin(chosen) | (own.frame["step"] > origin)])
    return family._replace(losses=bt.LossTable.from_frame(pd.concat(parts)))


def summarised(scores: pd.DataFrame, count: int) -> pd.DataFrame:
    """Mean scores of every family, and of all."""
    each = by_kind(scores, pd.Series({run: run.split("/")[0] for run in scores["run"].unique()}), SCORES)
    return pd.concat([mean_of_kinds(each, SCORES), each]).assign(checkpoints=count)[
        ["checkpoints", "runs", "cells", "failed", *SCORES]
    ]


def main() -> None:
    asked = options(__doc__, "short")
    by_name = families(1 if asked.quick else FEW)
    model = unseen.informed(by_name, unseen.without(by_name), *unseen.KNOWN)
    tables = []
    for count in COUNTS[:1] if asked.quick else COUNTS:
        losses, schedules = unseen.together({name: thinned(family, count) for name, family in by_name.items()})
        cells = {"store": asked.out / f"cells_{count}", "workers": asked.workers}
        scores = backtest(losses, schedules, prefixes=[PREFIX], forecasters={"tsl": model}, **cells)
        tables.append(summarised(scores, count))
    keep(pd.concat(tables), asked.table)


if __name__ == "__main__":
    main()
