"""Families of runs, each forecast under priors that were learned from others: what a user with a new kind of run may expect.

    python -m benchmarks.public.unseen [--quick] [--knowledge] [--workers N] [--out FOLDER]

Families are those of ``benchmarks.public.families``, MOST runs of each in the order of a hash of their names; schedules are
known. Models: *tsl*, whose priors are learned from all families but the one judged and those of its laboratory, tokens a step,
parameters and unique tokens known; the power law and the annealing law. --knowledge judges what knowledge is worth, on FEW runs
of a family: *all*, *no size*, *no batch*, *neither*, and *family*, the bundled priors of the family itself (where there are
none, as *all*). --quick: one run of each family from half. Started again with the same --out it goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import backtest
from bayes_tsl.forecasting.baselines import BASELINES
from bayes_tsl.model.learned import learned
from bayes_tsl.model.priors import LearnedPriors
from benchmarks.common import RESULTS, Informed, by_kind, keep, mean_of_kinds, options
from benchmarks.public.families import Family, families
from benchmarks.public.learned_priors import learn

MOST, FEW = 8, 2  # runs of a family
PREFIXES = (0.2, 0.5, 0.8)
SAME_RUNS = {"repeated": "datablations"}  # families of one laboratory, left out together
SCORES = ["endpoint_mae", "endpoint_bias", "crps", "coverage_50", "coverage_90", "width_90"]
KNOWN = ("batch_tokens", "parameters", "unique_tokens")


def together(by_name: Mapping[str, Family]) -> tuple[bt.LossTable, dict[str, bt.Schedule]]:
    """Losses and schedules of all runs, each named FAMILY/RUN."""
    frames = [family.losses.frame.assign(run=f"{name}/" + family.losses.frame["run"]) for name, family in by_name.items()]
    schedules = {f"{name}/{run}": plan for name, family in by_name.items() for run, plan in family.schedules.items()}
    return bt.LossTable.from_frame(pd.concat(frames)), schedules


def without(by_name: Mapping[str, Family]) -> dict[str, LearnedPriors]:
    """Priors of every family, from whole runs of all others."""
    table = pd.read_csv(RESULTS / "learned_priors.csv", comment="#")
    left_out = {name: tuple({name, SAME_RUNS.get(name, name)}) for name in by_name}
    return {name: LearnedPriors(levels=learn(table, without=names)) for name, names in left_out.items()}


def informed(by_name: Mapping[str, Family], priors: Mapping[str, LearnedPriors], *names: str) -> Informed:
    """The model with these priors of every family, and what is known of its runs under these names."""
    known = {
        f"{name}/{run}": family.known.loc[run, list(names)].dropna().to_dict() | {"priors": priors[name]}
        for name, family in by_name.items()
        for run in family.known.index
    }
    return Informed(known)


def own_families(by_name: Mapping[str, Family]) -> dict[str, LearnedPriors]:
    """The bundled priors of families that have some."""
    same = {name: SAME_RUNS.get(name, name) for name in by_name}
    return {name: bt.priors.family(own) for name, own in same.items() if own in learned()["families"]}


def by_knowledge(by_name: Mapping[str, Family]) -> dict[str, Informed]:
    """The model with more and less knowledge of the runs."""
    priors = without(by_name)
    return {
        "all": informed(by_name, priors, *KNOWN),
        "no size": informed(by_name, priors, "batch_tokens"),
        "no batch": informed(by_name, priors, "parameters"),
        "neither": informed(by_name, priors),
        "family": informed(by_name, priors | own_families(by_name), *KNOWN),
    }


def main() -> None:
    asked = options(__doc__, "unseen", knowledge="judge what batch, size and family are worth, on few runs")
    by_name = families(1 if asked.quick else FEW if asked.knowledge else MOST)
    models = by_knowledge(by_name) if asked.knowledge else {"tsl": informed(by_name, without(by_name), *KNOWN)}
    models |= {} if asked.knowledge else {name: BASELINES[name] for name in ("power-law", "annealing-law")}
    losses, schedules = together(by_name)
    scores = backtest(
        losses,
        schedules,
        prefixes=PREFIXES[1:2] if asked.quick else PREFIXES,
        forecasters=models,
        store=asked.out / "cells",
        workers=asked.workers,
    )
    kinds = pd.Series({run: run.split("/")[0] for run in schedules})
    each = by_kind(scores, kinds, SCORES)
    table = asked.table.with_name("unseen_knowledge.csv") if asked.knowledge else asked.table
    keep(pd.concat([mean_of_kinds(each, SCORES), each]), table)


if __name__ == "__main__":
    main()
