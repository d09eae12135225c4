"""What one finished cooldown of a run says of the end of a later decay.

    python -m benchmarks.public.branches [--quick] [--workers N] [--out FOLDER]

Every constant-rate run of lr_scheduling with several branches: seen are the one that ended first, and the run until then;
forecast is each that left later, whose decay is planned. *curve* is without the branch, *branch* with it, both
under priors from all other families, *own family* with it under priors that other runs of lr_scheduling taught, all at the
defaults of ``fit``; scores are of the last checkpoint. --quick: two decays.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.scoring import score
from bayes_tsl.model.priors import LearnedPriors, family
from benchmarks.common import RESULTS, judged_rows, keep, options
from benchmarks.public.curves import lr_scheduling, plan, read_public
from benchmarks.public.learned_priors import learn

TWIN = ["base_lr", "n_layer", "n_embd", "tokens_per_step", "corpus"]
STUDY = "ann124"  # branches of the runs called stable-124m; the others are of a study of scaling
COLUMNS = ["run", "step", "loss", "lr"]


@dataclass(frozen=True)
class Case:
    """A run, a branch that has ended, and one that is to come; each with columns run, step, loss, lr."""

    trunk: pd.DataFrame
    seen: pd.DataFrame
    later: pd.DataFrame
    known: dict[str, float]

    def judged(self, priors: LearnedPriors) -> list[dict[str, object]]:
        """Scores of the end of the later branch, with the one that was seen and without; ``priors`` are from other families."""
        end, left = float(self.seen["step"].max()), float(self.seen["step"].min())
        past = pd.concat([self.trunk[self.trunk["step"] <= end].assign(run="trunk"), self.seen.assign(run="seen")])
        table = bt.LossTable.from_frame(past[["run", "step", "loss"]])
        planned, tried = (self._plan(branch) for branch in (self.later, self.seen))
        shared = {**self.known, "num_draws": "auto", "progress": False, "throw": False}
        both = {"schedules": {"trunk": planned, "seen": tried}, "branches": {"seen": ("trunk", left)}, **shared}
        fits = {
            "curve": bt.fit(table.select(run="trunk"), schedule=planned, priors=priors, **shared),
            "branch": bt.fit(table, priors=priors, **both),
            "own family": bt.fit(table, priors=family("lr_scheduling"), **both),
        }
        observed = self.later.set_index("step")["loss"]
        ahead = [float(step) for step in observed.index if step > end]
        return [self._row(model, fit, bt.forecast(fit, steps=ahead), observed) for model, fit in fits.items()]

    def _plan(self, branch: pd.DataFrame) -> bt.Schedule:
        return plan(pd.concat([self.trunk[self.trunk["step"] < branch["step"].min()], branch]))

    def _row(self, model: str, fit: bt.Fit, ahead: bt.Forecast, observed: pd.Series) -> dict[str, object]:
        last = score(ahead, observed).iloc[-1]
        return {
            "model": model,
            "trunk": self.trunk["run"].iloc[0],
            "later": self.later["run"].iloc[0],
            "share": self.seen["step"].max() / self.later["step"].max(),
            "converged": fit.converged,
            "error": last["mean"] - last["observed"],
            **{name: last[name] for name in ("crps", "covered_50", "covered_90", "width_90")},
            **{
                name: float(fit.parameters()[name].mean())
                for name in ("heat", "heat_decay", "heat_slow_time", "heat_fast_time")
            },
        }


def cases() -> list[Case]:
    """All of them, in the order of the runs."""
    runs = read_public("lr_scheduling", "runs.csv").set_index("run")
    runs["corpus"] = runs["dataset"].str.split("_").str[0]
    stems = runs[(runs["resumed"] != "yes") & (runs["scheduler"] == "wsd") & (runs["wsd_fract_decay"] == 0)]
    whole, branches = lr_scheduling()[0], dict(list(lr_scheduling(resumed=True)[0].groupby("run")))
    found = []
    for name, settings in stems.iterrows():
        trunk, of_study = whole[whole["run"] == name], str(name).startswith("stable-124m")
        alike = [run for run in branches if (runs.loc[run, TWIN] == settings[TWIN]).all() and (STUDY in run) == of_study]
        left = [branches[run] for run in sorted(alike) if 0 < branches[run]["step"].min() <= trunk["step"].max()]
        left.sort(key=lambda rows: rows["step"].max())
        known = {"batch_tokens": float(settings["tokens_per_step"]), "parameters": float(settings["parameters"])}
        found += [Case(trunk, left[0], later, known) for later in left[1:] if later["step"].min() > left[0]["step"].max()]
    return found


def judge(case: Case) -> list[dict[str, object]]:
    """Scores of one case, under priors from all other families."""
    table = pd.read_csv(RESULTS / "learned_priors.csv", comment="#")
    with warnings.catch_warnings(action="ignore"):
        return case.judged(LearnedPriors(levels=learn(table, without=("lr_scheduling",))))


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means of the scores by model."""
    size = rows.assign(size=rows["error"].abs())
    columns = {
        "cases": ("error", "size"),
        "converged": ("converged", "sum"),
        "endpoint_mae": ("size", "mean"),
        "endpoint_bias": ("error", "mean"),
        "crps": ("crps", "mean"),
        "coverage_50": ("covered_50", "mean"),
        "coverage_90": ("covered_90", "mean"),
        "width_90": ("width_90", "mean"),
        "widest_90": ("width_90", "max"),
    }
    return size.groupby("model", as_index=False).agg(**columns)


def main() -> None:
    asked = options(__doc__, "branches")
    keep(summary(judged_rows(judge, cases()[:2] if asked.quick else cases(), asked=asked)), asked.table)


if __name__ == "__main__":
    main()
