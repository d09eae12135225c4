"""Accuracy on the bundled runs: coverage of the 90 % interval and endpoint error, beside a schedule-blind power law.

    python -m benchmarks.bundled.accuracy [--quick]

small_lm on prose and code, fitted at 30, 50 and 80 % with the default settings; --quick: one curve.
"""

from __future__ import annotations

import warnings

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.forecasting.baselines import power_law
from benchmarks.common import SMALL_LM, keep, options

PREFIXES = (0.3, 0.5, 0.8)


def row(losses: bt.LossTable, prefix: float) -> dict[str, object]:
    until = 2500 * prefix
    past, later = losses.until(until), losses.after(until).mean_losses()
    steps = later.index.to_numpy(float)
    posterior = bt.fit(past, schedule=SMALL_LM, progress=False, throw=False)
    frame = bt.forecast(posterior, steps=steps).to_frame(prob=0.9)
    blind = power_law(past, steps=steps, schedule=SMALL_LM)  # takes no more than the warm-up from it
    inside = later.between(frame["lower"].to_numpy(), frame["upper"].to_numpy())
    return {
        "run": losses.runs[0],
        "test_set": losses.test_sets[0],
        "prefix": prefix,
        "covered": inside.mean(),
        "width_at_end": frame["upper"].iloc[-1] - frame["lower"].iloc[-1],
        "error": frame["mean"].iloc[-1] - later.iloc[-1],
        "power_law_error": blind.to_frame()["mean"].iloc[-1] - later.iloc[-1],
        "max_r_hat": posterior.diagnostics.max_r_hat,
        "min_ess": posterior.diagnostics.min_ess,
        "divergences": posterior.diagnostics.divergences,
    }


def main() -> None:
    asked = options(__doc__, "accuracy")
    warnings.simplefilter("ignore", bt.Notice)
    table = bt.datasets.load("small_lm")
    curves = [(run, test_set) for run in table.runs for test_set in ("prose", "code")][: 1 if asked.quick else None]
    rows = []
    for run, test_set in curves:
        for prefix in PREFIXES:
            rows.append(row(table.select(run=run, test_set=test_set), prefix))
            print(rows[-1], flush=True)
    keep(pd.DataFrame(rows), asked.table)


if __name__ == "__main__":
    main()
