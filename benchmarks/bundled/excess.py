"""How large the excess loss is beside the gradient's noise, and how much of it averaging the weights takes off.

    python -m benchmarks.bundled.excess [--quick] [--workers N] [--out FOLDER]

Every run of ``measured_runs`` is fitted whole, with its two cooldowns. *noise* is the excess loss over learning rate times
gradient noise at .15, .4 and .7 of the steps (where the rate is half the peak or more), without averaged weights; *averaging*
is the factor by which averages take off more than the relaxation times say, under a wide prior (log-normal, sd 1).
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

import bayes_tsl as bt
from bayes_tsl._common.jax_settings import float64
from bayes_tsl.data.recipe import Recipe
from bayes_tsl.inference.nuts import over_draws
from bayes_tsl.model import gradient_noise
from bayes_tsl.model.lr_response import excess_loss
from bayes_tsl.model.priors import default_priors, lognormal
from benchmarks.bundled.measured_runs import SETTINGS, MeasuredRun, measured_runs, plain
from benchmarks.common import judged_rows, keep, options

SHARES = (0.15, 0.4, 0.7)


def judged(run: MeasuredRun) -> list[dict[str, object]]:
    """What one run says of each."""
    schedules, losses = run.schedules, run.losses
    plan = schedules[run.name]
    wide = replace(
        default_priors(plan, origin=run.total, recipe=Recipe(((0.0, run.known["batch_tokens"]),), run.known["parameters"])),
        averaging=lognormal(1.0, 1.0),
    )
    with warnings.catch_warnings(action="ignore"):
        fit = bt.fit(plain(losses), schedules=schedules, priors=replace(wide, averaging=bt.Priors().averaging), **SETTINGS)
        averaged = bt.fit(replace(losses, gradient_noise=None), schedules=schedules, priors=wide, **SETTINGS)
    rows = [{"measured": "averaging", **_moments(np.log(averaged.parameters()["averaging"])), "converged": averaged.converged}]
    noise = losses.gradient_noise
    noise = noise[noise["run"] == run.name]
    for share in SHARES:
        step = share * run.total
        lr = float(plan.lr(step))
        if lr >= gradient_noise.HIGH * plan.peak:
            axis = fit.time_axis([step])
            with float64():
                excess = over_draws(excess_loss, (axis,), fit.parameters())[..., 0]
            over = np.log(np.asarray(excess) / (lr * np.interp(step, noise["step"], noise["gradient_noise"])))
            rows.append({"measured": f"noise at {share:g}", **_moments(over), "converged": fit.converged})
    size, kind, batch = run.name.split("_")[:3]
    return [{"run": run.name, "size": size, "kind": kind, "batch": int(batch[1:]), "peak": plan.peak, **row} for row in rows]


def _moments(log: np.ndarray) -> dict[str, float]:
    return {"mean_log": float(np.mean(log)), "sd_log": float(np.std(log))}


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Median over runs, their spread, and what is left of it beyond the doubt about each run."""
    made = []
    for measured, own in rows.groupby("measured"):
        spread, doubt = float(own["mean_log"].std()), float(np.sqrt(np.mean(own["sd_log"] ** 2)))
        among = float(np.sqrt(max(spread**2 - doubt**2, 0.0)))
        row = {"measured": measured, "cases": len(own), "converged": int(own["converged"].sum())}
        made.append(row | {"median": float(np.exp(own["mean_log"].median())), "spread": spread, "doubt": doubt, "among": among})
    return pd.DataFrame(made)


def main() -> None:
    asked = options(__doc__, "excess")
    runs = measured_runs()[:2] if asked.quick else measured_runs()
    keep(summary(judged_rows(judged, runs, asked=asked)), asked.table)


if __name__ == "__main__":
    main()
