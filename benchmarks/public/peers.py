"""What an analyst would grab: time-series tools, published laws and short Bayesian models beside the package, on public runs.

    python -m benchmarks.public.peers [--quick] [--workers N] [--out FOLDER]

Models are those of ``benchmarks.forecasters``, baselines of the package, and *tsl*, which knows tokens a step and parameters.
Curves are CURVES of the held-out half of ``benchmarks.public.prefix``, and FEW runs of each family of
``benchmarks.public.unseen``, where the priors of tsl are learned from the other families. Schedules are known. --quick: one
run of each, from half. Every model keeps its cells in a folder of its own: started again with the same --out it goes on where
it stopped, and a model whose folders are deleted is run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import CELL, backtest
from bayes_tsl.forecasting.baselines import BASELINES, Forecaster
from benchmarks.common import by_kind, keep, mean_of_kinds, options
from benchmarks.forecasters import bayesian, laws, mixture, series
from benchmarks.public import prefix, unseen
from benchmarks.public.curves import by_hash, public_runs
from benchmarks.public.families import families

CURVES = 12  # of the held-out half
FEW = 1  # run of a family
PREFIXES = (0.2, 0.5, 0.8)
EXTRA = ("statsforecast", "prophet", "emcee")
SCORES = ["endpoint_mae", "endpoint_median", "crps", "coverage_90", "width_90"]
PEERS: dict[str, Forecaster] = {
    **{name: BASELINES[name] for name in ("power-law", "annealing-law", "multi-power-law")},
    "AutoETS": series.auto_ets,
    "AutoTheta": series.auto_theta,
    "Prophet": series.prophet,
    "broken power law": laws.broken_power_law,
    "forward-momentum": laws.forward_momentum,
    "mixture of curves": mixture.mixture,
    "NumPyro power law": bayesian.power_law,
    "NumPyro annealing": bayesian.annealing_law,
}


class Task(NamedTuple):
    """Finished runs to forecast, their schedules and kinds by name, and what forecasts them by the package."""

    losses: bt.LossTable
    schedules: Mapping[str, bt.Schedule]
    kinds: pd.Series
    tsl: Forecaster


def held_out(most: int) -> Task:
    """Runs of lr_scheduling and multipowerlaw that no model or prior was chosen on, but for those that diverge."""
    losses, plans, _ = public_runs()
    order = by_hash(losses.runs)
    apart = prefix.diverged(losses)
    chosen = [run for run in order[len(order) // 2 :] if run not in apart][:most]
    table = bt.LossTable.from_frame(losses.frame[losses.frame["run"].isin(chosen)])
    return Task(table, plans, pd.Series("held out", index=chosen), prefix.informed(chosen, named=False))


def left_out(most: int) -> Task:
    """Runs of every family, as ``unseen`` judges them."""
    by_name = families(most)
    losses, plans = unseen.together(by_name)
    kinds = pd.Series({run: run.split("/")[0] for run in plans})
    return Task(losses, plans, kinds, unseen.informed(by_name, unseen.without(by_name), *unseen.KNOWN))


def score(task: Task, *, prefixes: tuple[float, ...], cells: Path, workers: int) -> pd.DataFrame:
    """Scores of all models at every later step; the cells of each are kept in a folder of its name."""
    parts = [
        backtest(
            task.losses,
            task.schedules,
            prefixes=prefixes,
            forecasters={name: forecaster},
            store=cells / name,
            workers=workers,
        )
        for name, forecaster in {**PEERS, "tsl": task.tsl}.items()
    ]
    return pd.concat(parts, ignore_index=True)


def summarised(scores: pd.DataFrame, kinds: pd.Series) -> pd.DataFrame:
    """Mean scores by model, prefix and kind of run, and the worst error at the end of any curve."""
    ends = scores[scores["reason"] == ""].groupby(CELL).last()
    ends = ends.assign(runs=ends.index.get_level_values("run").map(kinds), worst=(ends["mean"] - ends["observed"]).abs())
    worst = ends.groupby(["runs", "model", "prefix"])["worst"].max()
    return by_kind(scores, kinds, SCORES).join(worst, on=["runs", "model", "prefix"])


def require_extra() -> None:
    """End with one line where a library of a peer is missing."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise SystemExit(f"{', '.join(missing)} must be installed for the peers. Run pip install -e '.[peers]'.")


def main() -> None:
    asked = options(__doc__, "peers")
    require_extra()
    tasks = {"held-out": held_out(1 if asked.quick else CURVES), "left-out": left_out(1 if asked.quick else FEW)}
    tables = {}
    for name, task in tasks.items():
        prefixes = PREFIXES[1:2] if asked.quick else PREFIXES
        scores = score(task, prefixes=prefixes, cells=asked.out / "cells" / name, workers=asked.workers)
        tables[name] = summarised(scores, task.kinds)
    keep(
        pd.concat([tables["held-out"], mean_of_kinds(tables["left-out"], SCORES, worst="max"), tables["left-out"]]), asked.table
    )


if __name__ == "__main__":
    main()
