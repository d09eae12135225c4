"""Families of runs, each forecast under priors that were learned from others: what a user with a new kind of run may expect.

    python -m benchmarks.public.unseen [--quick] [--learned] [--workers N] [--out FOLDER]

Families are those of ``benchmarks.public.families``, MOST runs of each in the order of a hash of their names; schedules are
known. Models: *tsl* with the default priors, which were learned from half of lr_scheduling and multipowerlaw, so that these two
are not unseen to it; the power law and the annealing law. --learned adds *three-level*, an experiment: the same model under
priors learned from all families but the one judged, tokens a step and parameters known (``learned_priors``, whose estimates it
reads), for FEW runs of a family. --quick: one run of each family from half. Started again with the same --out it goes on where
it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import backtest
from bayes_tsl.forecasting.baselines import BASELINES
from benchmarks.common import RESULTS, by_kind, keep, options, tsl
from benchmarks.public.families import Family, families
from benchmarks.public.learned_priors import covariates, learn, priors_of_new_family

MOST, FEW = 8, 2  # runs of a family
PREFIXES = (0.2, 0.5, 0.8)
SEEN_BY_DEFAULTS = ("lr_scheduling", "multipowerlaw")
SAME_RUNS = {"repeated": "datablations"}  # families of one laboratory, left out together
SCORES = ["endpoint_mae", "endpoint_bias", "crps", "coverage_50", "coverage_90", "width_90"]


@dataclass(frozen=True)
class ThreeLevel:
    """A forecaster with priors for every run."""

    priors: Mapping[str, bt.Priors]

    def __call__(self, losses: bt.LossTable, *, steps, schedule=None, seed=0) -> bt.Forecast:
        return tsl(losses, steps=steps, schedule=schedule, seed=seed, priors=self.priors[losses.runs[0]])


def learned(by_name: Mapping[str, Family]) -> dict[str, bt.Priors]:
    """Priors of every run, from whole runs of all families but its own."""
    table = pd.read_csv(RESULTS / "learned_priors.csv", comment="#")
    priors = {}
    for name, family in by_name.items():
        draws = learn(table, without=(name, SAME_RUNS.get(name, name)))
        for run, schedule in family.schedules.items():
            at = covariates(schedule, family.known.loc[run].to_dict())
            priors[f"{name}/{run}"] = priors_of_new_family(draws, at)
    return priors


def main() -> None:
    asked = options(__doc__, "unseen", learned="judge priors learned from the other families as well; hours")
    by_name = families(1 if asked.quick else FEW if asked.learned else MOST)
    models = {"tsl": tsl, **{name: BASELINES[name] for name in ("power-law", "annealing-law")}}
    if asked.learned:
        models |= {"three-level": ThreeLevel(learned(by_name))}
    frames = [family.losses.frame.assign(run=f"{name}/" + family.losses.frame["run"]) for name, family in by_name.items()]
    schedules = {f"{name}/{run}": plan for name, family in by_name.items() for run, plan in family.schedules.items()}
    scores = backtest(
        bt.LossTable.from_frame(pd.concat(frames)),
        schedules,
        prefixes=PREFIXES[1:2] if asked.quick else PREFIXES,
        forecasters=models,
        store=asked.out / "cells",
        workers=asked.workers,
    )
    kinds = pd.Series({run: run.split("/")[0] for run in schedules})
    unseen = scores[~scores["run"].map(kinds).isin(SEEN_BY_DEFAULTS)]
    every = by_kind(unseen, pd.Series("unseen by the defaults", index=kinds.index), SCORES)
    table = asked.table.with_name("unseen_learned.csv") if asked.learned else asked.table
    keep(pd.concat([every, by_kind(scores, kinds, SCORES)]), table)


if __name__ == "__main__":
    main()
