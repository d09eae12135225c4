"""Which decay of the learning rate is best, asked early, against cooldowns of equal length that were all tried.

    python -m benchmarks.public.best_plan [--quick] [--workers N] [--out FOLDER]

Groups of cooldowns of lr_scheduling that left one constant-rate run and end at the same step, three or more of them: the run is
seen until .1, .2 and .4 of its steps, and plans are the cooldowns that leave it later (two at least). *chosen* is the one with
the lowest expected end, *a fifth* always the decay over the last fifth (or what is nearest to it). Priors are from all other
families, at the defaults of ``fit``. Regret is the measured end of a choice less that of the best. --quick: one group.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

import bayes_tsl as bt
from bayes_tsl._common.intervals import draws_last, interval_along
from bayes_tsl.forecasting.predict import losses_at_ends
from bayes_tsl.model.priors import LearnedPriors
from benchmarks.common import RESULTS, judged_rows, keep, options
from benchmarks.public.curves import decayed, read_public
from benchmarks.public.learned_priors import learn

GROUP = ["base_lr", "n_layer", "n_embd", "tokens_per_step", "dataset", "iterations", "decay_type"]
SEEN = (0.1, 0.2, 0.4)
WARMUP = 300  # steps
SHAPES = {"linear": "linear", "sqrt": "1-sqrt"}  # of the decays, as they are called here
USUAL = 0.2  # share of the steps that a decay takes, where nobody asks


@dataclass(frozen=True)
class Case:
    """A run at a constant rate until its origin, and cooldowns that leave it later: schedules, measured ends, shares."""

    past: pd.DataFrame
    plans: dict[str, bt.Schedule]
    ends: dict[str, float]
    shares: dict[str, float]
    known: dict[str, float]
    last: float
    seen: float

    def judged(self, priors: LearnedPriors) -> list[dict[str, object]]:
        """Regret of both choices, how sure the first was, and how many differences between plans were covered."""
        first = next(iter(self.plans.values()))
        losses = bt.LossTable.from_frame(self.past[["run", "step", "loss"]])
        fit = bt.fit(losses, schedule=first, priors=priors, num_draws="auto", progress=False, throw=False, **self.known)
        made = draws_last(losses_at_ends(fit, list(self.plans.values()), [self.last] * len(self.plans), seed=0))
        measured, shares = np.array(list(self.ends.values())), np.array(list(self.shares.values()))
        choice = {"chosen": int(made.mean(axis=1).argmin()), "a fifth": int(np.abs(shares - USUAL).argmin())}
        lowest = np.bincount(made.argmin(axis=0), minlength=len(made)) / made.shape[1]
        lower, upper = interval_along(made[1:] - made[0], 0.9, axis=1)
        apart = measured[1:] - measured[0]
        common = {
            "seen": self.seen,
            "run": str(self.past["run"].iloc[0]),
            "plans": len(made),
            "converged": fit.converged,
            "covered": float(np.mean((lower < apart) & (apart < upper))),
            "width": float(np.mean(upper - lower)),
        }
        return [
            common
            | {
                "choice": name,
                "share": float(shares[at]),
                "best_share": float(shares[measured.argmin()]),
                "regret": float(measured[at] - measured.min()),
                "spread": float(measured.max() - measured.min()),
                "prob_lowest": float(lowest[at]),
                "was_lowest": bool(at == measured.argmin()),
            }
            for name, at in choice.items()
        ]


def cases() -> list[Case]:
    """Every group at every share seen that leaves two plans to choose from."""
    runs = read_public("lr_scheduling", "runs.csv").set_index("run")
    curves = dict(list(decayed()[0].groupby("run")))
    found = []
    for _, group in runs.loc[[run for run in curves if run in runs.index]].groupby(GROUP):
        unlike = group.drop_duplicates("wsd_fract_decay").sort_values("wsd_fract_decay")
        last = float(unlike["iterations"].iloc[0])
        for seen in SEEN:
            later = unlike[(1.0 - unlike["wsd_fract_decay"]) >= seen]
            if len(unlike) < 3 or len(later) < 2:
                continue
            longest = curves[later.index[0]]
            past = longest[(longest["step"] <= seen * last) & (longest["step"] > 0)]
            shares = {str(run): float(share) for run, share in later["wsd_fract_decay"].items()}
            known = {"batch_tokens": float(later["tokens_per_step"].iloc[0]), "parameters": float(later["parameters"].iloc[0])}
            ends = {run: float(later.loc[run, "final_val_loss"]) for run in shares}
            trunk = bt.schedules.constant(peak=float(later["base_lr"].iloc[0]), warmup=WARMUP, total=last)
            shape = SHAPES[str(later["decay_type"].iloc[0])]
            plans = {
                run: bt.schedules.decayed(trunk, start=(1.0 - share) * last, total=last, shape=shape)
                for run, share in shares.items()
            }
            found.append(Case(past, plans, ends, shares, known, last, seen))
    return found


def judge(case: Case) -> list[dict[str, object]]:
    """Both choices of one case, under priors from all other families."""
    table = pd.read_csv(RESULTS / "learned_priors.csv", comment="#")
    with warnings.catch_warnings(action="ignore"):
        return case.judged(LearnedPriors(levels=learn(table, without=("lr_scheduling",))))


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means by share seen and choice."""
    columns = {
        "cases": ("regret", "size"),
        "converged": ("converged", "sum"),
        "plans": ("plans", "mean"),
        "regret": ("regret", "mean"),
        "worst": ("regret", "max"),
        "spread": ("spread", "mean"),
        "prob_lowest": ("prob_lowest", "mean"),
        "was_lowest": ("was_lowest", "mean"),
        "covered": ("covered", "mean"),
        "width": ("width", "mean"),
    }
    return rows.groupby(["seen", "choice"], as_index=False).agg(**columns)


def main() -> None:
    asked = options(__doc__, "best_plan")
    keep(summary(judged_rows(judge, cases()[:1] if asked.quick else cases(), asked=asked)), asked.table)


if __name__ == "__main__":
    main()
