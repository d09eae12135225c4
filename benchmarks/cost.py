"""What a fit costs: against checkpoints, positions and draws; and how often a fit of usual size converges.

    python benchmarks/cost.py [--quick]

Simulated runs under the default priors of an 8,000-step cosine, 4 chains. The first fit of all compiles; a warm one is the
median of three. Then FITS runs of 40 checkpoints and 1,024 positions, 4 chains of 1,000 draws: the share with R-hat at most
1.01, 400 effective draws and no divergence. --quick: one fit of each size, and three of these.
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import pandas as pd
from common import keep, options

import bayes_tsl as bt
from bayes_tsl.priors import default_priors

ORIGIN = 4000.0
SCHEDULE = bt.schedules.cosine(peak=1e-3, warmup=150, total=8000, final=1e-4)
USUAL = {"checkpoints": 40, "positions": 1024, "draws": 1000}
SIZES = [
    *({**USUAL, "checkpoints": count} for count in (10, 20, 40, 80)),
    *({**USUAL, "positions": count} for count in (0, 64, 4096)),
    *({**USUAL, "draws": count} for count in (250, 4000)),
]
FITS = 40


def past(checkpoints: int, positions: int, seed: int) -> bt.LossTable:
    """A simulated run up to the origin."""
    steps = np.linspace(400.0, ORIGIN, checkpoints)
    priors = default_priors(SCHEDULE, origin=ORIGIN)
    run = bt.simulate(steps=steps, schedule=SCHEDULE, origin=ORIGIN, positions=range(positions), priors=priors, seed=seed)
    return run.losses


def timed(losses: bt.LossTable, draws: int, seed: int) -> tuple[float, bt.Fit]:
    start = time.perf_counter()
    fit = bt.fit(losses, schedule=SCHEDULE, seed=seed, num_draws=draws, progress=False, throw=False)
    return time.perf_counter() - start, fit


def main() -> None:
    asked = options(__doc__, "cost")
    warnings.simplefilter("ignore", bt.Notice)
    usual = past(USUAL["checkpoints"], USUAL["positions"], 0)
    rows = [{"what": "first fit, compiled", **USUAL, "seconds": timed(usual, USUAL["draws"], 0)[0]}]
    for size in SIZES:
        losses = past(size["checkpoints"], size["positions"], 0)
        timed(losses, size["draws"], 0)
        seconds = [timed(losses, size["draws"], 0)[0] for _ in range(1 if asked.quick else 3)]
        rows.append({"what": "warm", **size, "seconds": np.median(seconds)})
        print(rows[-1], flush=True)
    fits = []
    for seed in range(3 if asked.quick else FITS):
        seconds, fit = timed(past(USUAL["checkpoints"], USUAL["positions"], seed), USUAL["draws"], seed)
        found = fit.diagnostics
        fits.append((seconds, found.max_r_hat, found.min_ess, found.divergences))
    table = pd.DataFrame(fits, columns=["seconds", "r_hat", "ess", "divergences"])
    good = (table["r_hat"] <= 1.01) & (table["ess"] >= 400) & (table["divergences"] == 0)
    every = {"seconds": table["seconds"].max(), "r_hat": table["r_hat"].max(), "ess": table["ess"].min(), "good": good.mean()}
    rows.append({"what": f"worst of {len(table)} runs", **USUAL, **every, "divergences": table["divergences"].max()})
    keep(pd.DataFrame(rows), asked.table)


if __name__ == "__main__":
    main()
