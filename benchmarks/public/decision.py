"""Will it end below 3.28? Brier score of that probability, from half a run and from four fifths of it.

    python -m benchmarks.public.decision [--quick] [--workers N] [--out FOLDER]

One in four runs of modded_nanogpt (chosen by a hash of their names; --quick takes eight). Their learning rates are not known:
tsl is told of a linear decay to zero over the planned length, tsl-blind of nothing. *base-rate* says the share of the other
three quarters that ended below. The multi-power law, slower than all others together, is left out.
"""

from __future__ import annotations

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import CELL, backtest, summarise
from bayes_tsl.evaluation.scoring import brier
from bayes_tsl.forecasting.baselines import BASELINES
from benchmarks.common import keep, options, tsl
from benchmarks.public.curves import by_hash, modded_nanogpt

TARGET = 3.28
SCORES = ["endpoint_brier", "time_score", "endpoint_mae", "endpoint_bias", "coverage_90", "width_90"]


def tsl_blind(losses: bt.LossTable, *, steps, schedule=None, seed=0) -> bt.Forecast:
    """The default model without a schedule."""
    return tsl(losses, steps=steps, seed=seed)


def main() -> None:
    asked = options(__doc__, "decision")
    fast = {name: forecaster for name, forecaster in BASELINES.items() if name != "multi-power-law"}
    curves = modded_nanogpt()
    order = by_hash(curves["run"].unique())
    chosen = order[: 8 if asked.quick else len(order) // 4]
    ends = curves.sort_values("step").groupby("run")["loss"].last() < TARGET
    picked = curves[curves["run"].isin(chosen)]
    lengths = picked.groupby("run").agg(planned=("total_steps", "first"), last=("step", "max")).max(axis=1)
    scores = backtest(
        bt.LossTable.from_frame(picked.drop(columns="total_steps")),
        {str(run): bt.schedules.linear(peak=1.0, total=float(length)) for run, length in lengths.items()},
        prefixes=(0.5, 0.8),
        forecasters={"tsl": tsl, "tsl-blind": tsl_blind, **fast},
        target=TARGET,
        store=asked.out / "cells",
        workers=asked.workers,
    )
    rate = float(ends.drop(chosen).mean())
    reference = pd.DataFrame({"model": ["base-rate"], "cells": len(chosen), "endpoint_brier": brier(ends[chosen], rate).mean()})
    print(f"runs {len(chosen)}, ended below {int(ends[chosen].sum())}; share of the others {rate:.3f}")
    print(f"cells {len(scores.drop_duplicates(CELL))}")
    keep(pd.concat([summarise(scores), reference])[["model", "prefix", "cells", "failed", *SCORES]], asked.table)


if __name__ == "__main__":
    main()
