"""Which law? Each by the score of later checkpoints, beside what leave-one-out densities said beforehand.

    python -m benchmarks.bundled.laws [--quick] [--workers N] [--out FOLDER]

small_lm by position (two runs, prose and code, at 30, 50 and 80 %), and the mean losses of the first twelve held-out public
runs at 50 %. *stacked* averages the laws by their stacking weights. --quick: one curve, one prefix, two public runs.
"""

from __future__ import annotations

import warnings
from functools import partial

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import backtest, summarise
from benchmarks.common import SHORT, SMALL_LM, keep, options
from benchmarks.public.curves import by_hash, public_runs

LAWS = ("general", "free-exponent", "paper")
SCORES = ["log_score", "crps", "endpoint_mae", "endpoint_bias", "coverage_50", "coverage_90", "width_90"]


def fitted(losses: bt.LossTable, law: str, *, schedule, seed) -> bt.Fit:
    return bt.fit(losses, schedule=schedule, law=law, seed=seed, **SHORT)


def alone(losses: bt.LossTable, law: str, *, steps, schedule=None, seed=0) -> bt.Forecast:
    """One law by itself."""
    return bt.forecast(fitted(losses, law, schedule=schedule, seed=seed), steps=steps, seed=seed)


def stacked(losses: bt.LossTable, *, steps, schedule=None, seed=0) -> bt.Forecast:
    """Laws averaged; the weights are in the first notice."""
    names = LAWS if losses.by_position else ("general", "paper")
    fits = {law: fitted(losses, law, schedule=schedule, seed=seed) for law in names}
    warnings.simplefilter("ignore", bt.Notice)
    weights = bt.compare_laws(fits)["weight"]
    return bt.average({law: bt.forecast(fit, steps=steps, seed=seed) for law, fit in fits.items()}, weights, seed=seed)


def weights_of(scores: pd.DataFrame) -> str:
    """Mean stacking weight of each law."""
    notes = scores.loc[scores["model"] == "stacked"].drop_duplicates(["run", "test_set", "prefix"])["notes"]
    found = notes.str.extractall(r"(general|free-exponent|paper) (\d\.\d+)").astype({1: float})
    return ", ".join(f"{law} {weight:.2f}" for law, weight in found.groupby(0)[1].mean().items())


def main() -> None:
    asked = options(__doc__, "laws")
    small = bt.datasets.load("small_lm")
    small = bt.LossTable.from_frame(small.frame[small.frame["test_set"] != "ood"])
    public, plans, _ = public_runs()
    order = by_hash(public.runs)
    chosen = [run for run in order[len(order) // 2 :] if plans[run].peak < 4.5e-3][: 2 if asked.quick else 12]
    means = bt.LossTable.from_frame(public.frame[public.frame["run"].isin(chosen)])
    over_positions = {law: partial(alone, law=law) for law in LAWS} | {"stacked": stacked}
    over_means = {name: forecaster for name, forecaster in over_positions.items() if name != "free-exponent"}
    settings = {"store": asked.out / "cells", "workers": asked.workers}
    one = small.select(run="mix50_cosine", test_set="prose") if asked.quick else small
    prefixes = (0.5,) if asked.quick else (0.3, 0.5, 0.8)
    parts = {
        "small_lm, positions": backtest(one, SMALL_LM, prefixes=prefixes, forecasters=over_positions, **settings),
        "public, means": backtest(means, plans, prefixes=(0.5,), forecasters=over_means, **settings),
    }
    tables = []
    for name, scores in parts.items():
        tables.append(summarise(scores).assign(runs=name))
        print(f"{name}: mean stacking weights {weights_of(scores)}")
    keep(pd.concat(tables)[["runs", "model", "prefix", "cells", "failed", *SCORES]], asked.table)


if __name__ == "__main__":
    main()
