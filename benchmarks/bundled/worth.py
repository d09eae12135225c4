"""What ``worth_measuring`` promises of a cooldown or of averaged weights, beside what refitting with it then gave.

    python -m benchmarks.bundled.worth [--quick] [--workers N] [--out FOLDER]

Every third run of ``measured_runs``, seen until .15 and .4 of its steps, where its two cooldowns left. *promised* is the share
by which ``worth_measuring`` says, before it is made, that the 90 % interval of the run's end would narrow; *refit* that by
which it did in a fit with the measurement. Priors are those of ``benchmarks.bundled.knowledge``; batch and size are known.
--quick: two runs.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import pandas as pd

import bayes_tsl as bt
from benchmarks.bundled.knowledge import PREFIXES, left_out_priors
from benchmarks.bundled.measured_runs import SETTINGS, MeasuredRun, measured_runs
from benchmarks.common import judged_rows, keep, options

WINDOW = 20  # the average is over a share of one in so many of the steps


def judged(run: MeasuredRun) -> list[dict[str, object]]:
    """Both shares of both measurements, at both times."""
    made, plans = [], run.schedules
    for share in PREFIXES.values():
        origin, tried = share * run.total, f"{run.name}@{share:g}"
        every = replace(run.losses, gradient_noise=None)
        alone, branch = every.select(run=run.name).until(origin), every.select(run=tried)
        window = min(every.averaged, key=lambda span: abs(span - run.total / WINDOW))
        averaged = replace(alone, averaged={window: alone.averaged[window]})
        plain = replace(alone, averaged={})
        of_branch = pd.concat([plain.frame, branch.frame])
        measured = {
            "cooldown": replace(bt.LossTable.from_frame(of_branch), branches={tried: (run.name, origin)}),
            "averaged": averaged,
        }
        now = _fitted(plain, run)
        readings = {
            "cooldown": bt.Measurement(branch.steps, branch=plans[tried]),
            "averaged": bt.Measurement(averaged.averaged[window].after(window).steps, averaged=window),
        }
        promised = bt.worth_measuring(now, readings, end=run.total).to_frame()["narrower"]
        before = _width(now, run.total)
        for name, losses in measured.items():
            after = _fitted(losses, run)
            row = {"run": run.name, "seen": share, "measurement": name, "promised": promised[name]}
            refit = 1.0 - _width(after, run.total) / before
            made.append(row | {"refit": refit, "converged": now.converged and after.converged})
    return made


def _fitted(losses: bt.LossTable, run: MeasuredRun) -> bt.Fit:
    plans = {name: plan for name, plan in run.schedules.items() if name in losses.runs}
    with warnings.catch_warnings(action="ignore"):
        return bt.fit(losses, schedules=plans, priors=left_out_priors(), **run.known, **SETTINGS)


def _width(fit: bt.Fit, end: float) -> float:
    lower, upper = (float(bt.forecast(fit, steps=[end]).expected.quantile(q)) for q in (0.05, 0.95))
    return upper - lower


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means by measurement and time, and how far a promise is from what came."""
    rows = rows.assign(apart=(rows["refit"] - rows["promised"]).abs())
    columns = {
        "cases": ("promised", "size"),
        "converged": ("converged", "sum"),
        "promised": ("promised", "mean"),
        "refit": ("refit", "mean"),
        "apart": ("apart", "mean"),
    }
    return rows.groupby(["measurement", "seen"], as_index=False).agg(**columns)


def main() -> None:
    asked = options(__doc__, "worth")
    runs = measured_runs()[:2] if asked.quick else measured_runs()[::3]
    keep(summary(judged_rows(judged, runs, asked=asked)), asked.table)


if __name__ == "__main__":
    main()
