"""Test sets of one run, fitted together and apart.

    python -m benchmarks.public.test_sets [--quick] [--workers N] [--out FOLDER]

Runs of the OLMo ladder (11 test sets), OLMo-1B (23) and small_lm (3, by mean losses), seen until 20 and 50 %: *together* is one
fit to all test sets, *apart* one of each of a few of them, in the order of a hash of their names; priors are from other
families, batch and size are known. Scores are over all later checkpoints, and of the last one; seconds are of one test set,
compiled before. --quick: one run.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.scoring import score
from bayes_tsl.model.priors import LearnedPriors
from benchmarks.common import RESULTS, SHORT, judged_rows, keep, options
from benchmarks.public.curves import by_hash, plan, read_public
from benchmarks.public.families import small_lm
from benchmarks.public.learned_priors import learn

PREFIXES = (0.2, 0.5)
APART = 3  # test sets of a run that are fitted by themselves as well
LADDER = 6  # runs
LABORATORY = {"olmo_ladder": "olmo_1b", "olmo_1b": "olmo_ladder"}  # families that are left out together


@dataclass(frozen=True)
class Case:
    """A run on all of its test sets, and what is known of it."""

    family: str
    losses: bt.LossTable
    schedule: bt.Schedule
    known: dict[str, float]
    prefix: float

    def judged(self, priors: LearnedPriors) -> list[dict[str, object]]:
        """Scores on a few of the test sets, fitted together and apart."""
        origin = self.prefix * float(self.losses.steps[-1])
        past, later = self.losses.until(origin), self.losses.after(origin)
        chosen = list(by_hash(self.losses.test_sets))[:APART]
        steps = later.select(test_set=chosen[0]).steps
        self._forecast(past, steps, priors)  # compiles
        whole, seconds = self._forecast(past, steps, priors)
        rows = []
        for name in chosen:
            alone, own = self._forecast(past.select(test_set=name), steps, priors)
            observed = later.select(test_set=name).mean_losses()
            shares = {"together": (whole.select(test_set=name), seconds / len(past.test_sets)), "apart": (alone, own)}
            rows += [self._row(model, ahead, observed, took) for model, (ahead, took) in shares.items()]
        return rows

    def _forecast(self, past: bt.LossTable, steps: object, priors: LearnedPriors) -> tuple[bt.Forecast, float]:
        started = time.perf_counter()
        fit = bt.fit(past, schedule=self.schedule, priors=priors, **self.known, **SHORT)
        return bt.forecast(fit, steps=steps), time.perf_counter() - started

    def _row(self, model: str, ahead: bt.Forecast, observed: pd.Series, seconds: float) -> dict[str, object]:
        scores = score(ahead, observed)
        last = scores.iloc[-1]
        return {
            "family": self.family,
            "run": ahead.run,
            "test_set": ahead.test_set,
            "prefix": self.prefix,
            "model": model,
            "crps": scores["crps"].mean(),
            "coverage_90": scores["covered_90"].mean(),
            "error": last["mean"] - last["observed"],
            "end_crps": last["crps"],
            "end_covered_90": last["covered_90"],
            "width_90": last["width_90"],
            "seconds": seconds,
        }


def cases() -> list[Case]:
    """Every run at every prefix."""
    found = [*_ladder(), _olmo_1b(), *_small_lm()]
    return [Case(*one, prefix=prefix) for prefix in PREFIXES for one in found]


def _ladder() -> list[tuple[str, bt.LossTable, bt.Schedule, dict[str, float]]]:
    frame = read_public("olmo_ladder", "val_losses.csv.gz")
    made = []
    for run in list(by_hash(frame["run"].unique()))[:LADDER]:
        rows = frame[frame["run"] == run]
        of_run = {name: float(rows[name].iloc[0]) for name in ("batch_tokens", "parameters")}
        losses = bt.LossTable.from_frame(rows[["run", "test_set", "step", "loss"]])
        made.append(("olmo_ladder", losses, plan(rows.drop_duplicates("step")), of_run))
    return made


def _olmo_1b() -> tuple[str, bt.LossTable, bt.Schedule, dict[str, float]]:
    frame = read_public("olmo", "olmo_1b_val.csv.gz")
    schedule = bt.schedules.cosine(peak=4e-4, warmup=2000, total=738_000, final=4e-5)
    return "olmo_1b", bt.LossTable.from_frame(frame), schedule, {"batch_tokens": 4_194_304.0, "parameters": 1.18e9}


def _small_lm() -> list[tuple[str, bt.LossTable, bt.Schedule, dict[str, float]]]:
    family = small_lm()
    of_run = family.known[["batch_tokens", "parameters"]].astype(float)
    return [("small_lm", family.losses.select(run=run), plan, dict(of_run.loc[run])) for run, plan in family.schedules.items()]


def judge(case: Case, priors: LearnedPriors) -> list[dict[str, object]]:
    """Scores of one run from one prefix."""
    with warnings.catch_warnings(action="ignore"):
        return case.judged(priors)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means by family, prefix and model; families count the same in the mean over them."""
    made = rows.assign(size=rows["error"].abs())
    columns = {
        "cells": ("size", "size"),
        "endpoint_mae": ("size", "mean"),
        "endpoint_bias": ("error", "mean"),
        "crps": ("crps", "mean"),
        "end_crps": ("end_crps", "mean"),
        "coverage_90": ("coverage_90", "mean"),
        "end_coverage_90": ("end_covered_90", "mean"),
        "width_90": ("width_90", "mean"),
        "seconds": ("seconds", "median"),
    }
    each = made.groupby(["family", "prefix", "model"], as_index=False).agg(**columns)
    ood = made[made["test_set"] == "ood"].groupby(["prefix", "model"], as_index=False).agg(**columns)
    return pd.concat([each, ood.assign(family="small_lm, ood")])


def main() -> None:
    asked = options(__doc__, "test_sets")
    found = cases()[:1] if asked.quick else cases()
    table, names = pd.read_csv(RESULTS / "learned_priors.csv", comment="#"), sorted({case.family for case in found})
    left_out = {name: tuple({name, LABORATORY.get(name, name)}) for name in names}
    priors = {name: LearnedPriors(levels=learn(table, without=others)) for name, others in left_out.items()}
    keep(summary(judged_rows(judge, found, [priors[case.family] for case in found], asked=asked)), asked.table)


if __name__ == "__main__":
    main()
