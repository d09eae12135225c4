"""What each measurement beside the losses says of the end of a run.

    python -m benchmarks.bundled.knowledge [--quick] [--workers N] [--out FOLDER]

Every second run of ``measured_runs``, seen until .2 and .5 of its steps, and every one whose rate decays from .8 on, seen until
.75, its own end forecast. *curve* knows its losses and schedule; *recipe* its batch and size too; *noise* the noise of its
gradient beside these, *averaged* the losses of averaged weights, *branch* a cooldown that has ended (of a twentieth of the
steps at .2, of a tenth later), *all* each of them. Priors are of families other than those of small models (small_lm,
gpt_positions). --quick: every twentieth of these.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.scoring import score
from bayes_tsl.model.priors import LearnedPriors
from benchmarks.bundled.measured_runs import SETTINGS, MeasuredRun, measured_runs, plain
from benchmarks.common import RESULTS, judged_rows, keep, options
from benchmarks.public.learned_priors import learn

PREFIXES = {0.2: 0.15, 0.5: 0.4}  # share that is seen, and where the cooldown left that has ended then
BEFORE_DECAY = 0.75  # share that is seen of runs whose rate decays from .8 on
WITHOUT = ("small_lm", "gpt_positions")


def judged(run: MeasuredRun, share: float) -> list[dict[str, object]]:
    """Scores of the end of one run from this share on, with each thing known."""
    alone, with_branch = seen_of(run, share)
    known = {
        "curve": (plain(alone), {}),
        "recipe": (plain(alone), run.known),
        "noise": (replace(alone, averaged={}), run.known),
        "averaged": (replace(alone, gradient_noise=None), run.known),
        "branch": (plain(with_branch), run.known),
        "all": (with_branch, run.known),
    }
    settings = {"schedules": run.schedules, "priors": left_out_priors(), **SETTINGS}
    rows = {name: scored(run, {"losses": losses, **recipe, **settings}) for name, (losses, recipe) in known.items()}
    return [row | {"seen": share, "knows": name} for name, row in rows.items()]


def seen_of(run: MeasuredRun, share: float) -> tuple[bt.LossTable, bt.LossTable]:
    """What is known of a run from this share on: by itself, and with the cooldown that has ended then."""
    past, left = run.losses.until(share * run.total), PREFIXES.get(share, max(PREFIXES.values()))
    return past.select(run=run.name), past.select(run=[run.name, f"{run.name}@{left:g}"])


@cache
def left_out_priors() -> LearnedPriors:
    """Priors that families other than those of small models taught."""
    return LearnedPriors(levels=learn(pd.read_csv(RESULTS / "learned_priors.csv", comment="#"), without=WITHOUT))


def scored(run: MeasuredRun, asked: dict[str, Any]) -> dict[str, object]:
    """Scores of the end of one run, by the fit that is asked for: of the run, or of others beside it."""
    with warnings.catch_warnings(action="ignore"):
        fit = bt.fit(**asked)
        fit = fit.select(run=run.name) if len(fit.runs) > 1 else fit
        ahead = bt.forecast(fit, steps=[run.total])
        ahead = ahead.select(test_set="prose") if len(ahead.test_sets) > 1 else ahead
        last = score(ahead, run.losses.select(run=run.name).mean_losses()).iloc[-1]
    heat = np.log(fit.parameters()["heat"])
    error = float(last["mean"] - last["observed"])
    scores = {name: float(last[name]) for name in ("crps", "covered_50", "covered_90", "width_90")}
    return {"run": run.name, "converged": fit.converged, "error": error, **scores, "heat_sd": float(np.std(heat))}


def summary(rows: pd.DataFrame, by: Sequence[str] = ("seen", "knows")) -> pd.DataFrame:
    """Means by share seen and by what is known."""
    rows = rows.assign(size=rows["error"].abs())
    columns = {
        "cases": ("error", "size"),
        "converged": ("converged", "sum"),
        "endpoint_mae": ("size", "mean"),
        "median_error": ("size", "median"),
        "endpoint_bias": ("error", "mean"),
        "crps": ("crps", "mean"),
        "coverage_50": ("covered_50", "mean"),
        "coverage_90": ("covered_90", "mean"),
        "width_90": ("width_90", "mean"),
        "heat_sd": ("heat_sd", "mean"),
    }
    return rows.groupby(list(by), sort=False, as_index=False).agg(**columns)


def cells(runs: list[MeasuredRun]) -> list[tuple[MeasuredRun, float]]:
    """Which run is forecast from which share on."""
    return [
        *((run, share) for run in runs[::2] for share in PREFIXES),
        *((run, BEFORE_DECAY) for run in runs if "_wsd_" in run.name),
    ]


def main() -> None:
    asked = options(__doc__, "knowledge")
    todo = cells(measured_runs())[:: 20 if asked.quick else 1]
    keep(summary(judged_rows(judged, *zip(*todo), asked=asked)), asked.table)


if __name__ == "__main__":
    main()
