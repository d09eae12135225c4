"""Public runs cut at several prefixes, planned schedule known: the model beside every baseline.

    python -m benchmarks.public.prefix [--quick] [--reported] [--workers N] [--out FOLDER]

Every complete run of lr_scheduling and multipowerlaw, and every cooldown branch joined to the run that it left. Runs come in
the order of a hash of their names, and the first half of them may be used to choose a model: the table tells the halves apart.
Tokens a step and parameters of every run are known. *tsl* has the default priors, *tsl, family* those of the run's own family,
learned from eight runs of it in the first half. All of it takes hours; --reported takes the held-out half at 20, 50 and 80 %,
without the multi-power law, which is slower than all others together, and writes a table of its own; --quick four runs and two
prefixes. Started again with the same --out it goes on where it stopped.
"""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import backtest
from bayes_tsl.forecasting.baselines import BASELINES
from benchmarks.common import Informed, by_kind, keep, options
from benchmarks.public.curves import by_hash, known, public_runs

PREFIXES = (0.2, 0.35, 0.5, 0.65, 0.8)
SLOW = "multi-power-law"
SCORES = ["endpoint_mae", "endpoint_median", "endpoint_bias", "crps", "coverage_50", "coverage_90", "width_90"]


def informed(runs: list[str], *, named: bool) -> Informed:
    """The model that knows batch and size of every run, and its family if ``named``."""
    table = known(runs)
    priors = {run: bt.priors.family(table.loc[run, "family"]) if named else None for run in runs}
    return Informed({run: table.loc[run, ["batch_tokens", "parameters"]].to_dict() | {"priors": priors[run]} for run in runs})


def diverged(losses: bt.LossTable) -> list[str]:
    """Runs that end a nat above their lowest loss."""
    curves = losses.frame.groupby("run")["loss"]
    return list(curves.last().index[curves.last() > curves.min() + 1.0])


def averaged(scores: pd.DataFrame, kinds: pd.Series, without: list[str]) -> pd.DataFrame:
    """Mean scores of each kind of run, and of all runs but those ``without``."""
    every = scores[~scores["run"].isin(without)]
    return pd.concat([by_kind(every, pd.Series("all", index=kinds.index), SCORES), by_kind(scores, kinds, SCORES)])


def unconverged(scores: pd.DataFrame) -> str:
    fits = scores[scores["model"] == "tsl"].drop_duplicates(["run", "test_set", "prefix"])
    few = fits["notes"].str.contains("effective sample size must")
    other = fits["notes"].str.contains("must") & ~few
    return f"fits of tsl: {len(fits)}; with too few effective draws {few.sum()}, with another failed check {other.sum()}"


def main() -> None:
    asked = options(__doc__, "prefix", reported="the held-out half, at 20, 50 and 80 %, without the multi-power law")
    losses, plans, kinds = public_runs()
    order = by_hash(losses.runs)
    half = len(order) // 2
    halves = pd.Series({run: "chosen on" if i < half else "held out" for i, run in enumerate(order)})
    chosen = order[half : half + 4] if asked.quick else order[half:] if asked.reported else order
    runs = list(losses.runs)
    every = {"tsl": informed(runs, named=False), "tsl, family": informed(runs, named=True), **BASELINES}
    models = {name: forecaster for name, forecaster in every.items() if not (asked.reported and name == SLOW)}
    scores = backtest(
        bt.LossTable.from_frame(losses.frame[losses.frame["run"].isin(chosen)]),
        plans,
        prefixes=PREFIXES[::3] if asked.quick else PREFIXES[::2] if asked.reported else PREFIXES,
        forecasters=models,
        store=asked.out / "cells",
        workers=asked.workers,
    )
    out = diverged(losses)
    tables = [averaged(part, kinds, out).assign(half=half) for half, part in scores.groupby(scores["run"].map(halves))]
    table = asked.table.with_name("prefix_reported.csv") if asked.reported and not asked.quick else asked.table
    keep(pd.concat(tables), table)
    print(f"without {', '.join(out)} in the rows of all; {unconverged(scores)}")
    draw(scores[scores["run"].isin(order[half:])], asked.out)


def draw(scores: pd.DataFrame, out) -> None:
    mpl.use("agg")
    bt.plot_errors(scores).figure.savefig(out / "prefix_errors.png", dpi=110)
    shown = scores[scores["model"].isin(["tsl", "annealing-law", "multi-power-law", "power-law"])]
    bt.plot_calibration(shown)[0].figure.savefig(out / "prefix_calibration.png", dpi=110)


if __name__ == "__main__":
    main()
