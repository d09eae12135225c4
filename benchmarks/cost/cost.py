"""What a fit costs: against checkpoints, positions and draws; and how often a fit of usual size converges.

    python -m benchmarks.cost.cost [--quick]

Simulated runs of an 8,000-step cosine, 4 chains: levels and slopes as real runs have them, all else drawn from the default
priors. The first fit of all compiles; a warm one is the median of three. Then FITS runs of 40 checkpoints and 1,024
positions, 4 chains of 1,000 draws, under each of ACCEPTANCES: the share (good) with R-hat at most 1.01, 400 effective draws
and no divergence. Memory is the peak of the process so far. --quick: one fit of each size, and three of these.
"""

from __future__ import annotations

import resource
import time
import warnings

import numpy as np
import pandas as pd

import bayes_tsl as bt
from bayes_tsl.inference.nuts import TARGET_ACCEPT
from bayes_tsl.model.priors import family
from benchmarks.common import keep, options

ORIGIN = 4000.0
SCHEDULE = bt.schedules.cosine(peak=1e-3, warmup=150, total=8000, final=1e-4)
USUAL = {"checkpoints": 40, "positions": 1024, "draws": 1000}
SIZES = [
    *({**USUAL, "checkpoints": count} for count in (10, 20, 40, 80)),
    *({**USUAL, "positions": count} for count in (0, 64, 4096)),
    *({**USUAL, "draws": count} for count in (250, 4000)),
]
FITS = 40
ACCEPTANCES = (TARGET_ACCEPT, 0.95)  # the default, and a faster one
TYPICAL = {"gap_level": 0.3, "gap_slope": 0.1, "rate_level": -1.0, "rate_slope": -0.2, "floor_level": 3.0, "floor_slope": -0.15}


def past(checkpoints: int, positions: int, seed: int) -> bt.LossTable:
    """A simulated run up to the origin."""
    steps = np.linspace(400.0, ORIGIN, checkpoints)
    parameters = TYPICAL if positions else {name: value for name, value in TYPICAL.items() if name.startswith("floor")}
    run = bt.simulate(
        steps=steps,
        schedule=SCHEDULE,
        origin=ORIGIN,
        positions=range(positions),
        parameters=parameters,
        priors=family("lr_scheduling").priors(SCHEDULE, origin=ORIGIN),
        seed=seed,
    )
    return run.losses


def peak_memory() -> float:
    """Of this process, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(losses: bt.LossTable, draws: int, seed: int, accept: float = TARGET_ACCEPT) -> tuple[float, bt.Fit]:
    settings = {"num_draws": draws, "target_accept": accept, "progress": False, "throw": False}
    start = time.perf_counter()
    fit = bt.fit(losses, schedule=SCHEDULE, seed=seed, **settings)
    return time.perf_counter() - start, fit


def worst(runs: int, accept: float) -> dict[str, object]:
    """Convergence and time of so many runs of usual size, the worst of each, and the share that passed."""
    fits = []
    for seed in range(runs):
        seconds, fit = timed(past(USUAL["checkpoints"], USUAL["positions"], seed), USUAL["draws"], seed, accept)
        found = fit.diagnostics
        fits.append((seconds, found.max_r_hat, found.min_ess, found.divergences))
        print(fits[-1], flush=True)
    seconds, r_hat, ess, divergences = np.array(fits).T
    return {
        "what": f"worst of {runs} runs, target_accept {accept:g}",
        **USUAL,
        "seconds": seconds.max(),
        "GiB": peak_memory(),
        "r_hat": r_hat.max(),
        "ess": ess.min(),
        "divergences": divergences.max(),
        "good": np.mean((r_hat <= 1.01) & (ess >= 400) & (divergences == 0)),
    }


def main() -> None:
    asked = options(__doc__, "cost")
    warnings.simplefilter("ignore", bt.Notice)
    usual = past(USUAL["checkpoints"], USUAL["positions"], 0)
    rows = [{"what": "first fit, compiled", **USUAL, "seconds": timed(usual, USUAL["draws"], 0)[0], "GiB": peak_memory()}]
    for size in SIZES:
        losses = past(size["checkpoints"], size["positions"], 0)
        timed(losses, size["draws"], 0)
        seconds = [timed(losses, size["draws"], 0)[0] for _ in range(1 if asked.quick else 3)]
        rows.append({"what": "warm", **size, "seconds": np.median(seconds), "GiB": peak_memory()})
        print(rows[-1], flush=True)
    rows += [worst(3 if asked.quick else FITS, accept) for accept in ACCEPTANCES]
    keep(pd.DataFrame(rows), asked.table)


if __name__ == "__main__":
    main()
