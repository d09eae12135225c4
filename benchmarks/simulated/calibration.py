"""Simulation-based calibration: runs drawn from the priors, fitted and forecast, and the ranks of what was true.

    python -m benchmarks.simulated.calibration [--quick] [--workers N]

Two hundred and forty runs of mean losses under the default priors of an 8,000-step cosine, seen for half of it (--quick: 60);
the slope alone has a narrower one, since the default's tail has runs with negative losses.
Ranks must be uniform for every global parameter, and central intervals must hold later losses as often as they say. Exit
code 1 where a corrected p is below .01. Runs whose chains did not converge are kept.
"""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from tqdm import tqdm

import bayes_tsl as bt
from bayes_tsl.evaluation.calibration import simulated_ranks, uniformity
from bayes_tsl.model.priors import family, normal
from benchmarks.common import keep, options

ORIGIN = 4000.0
STEPS = np.arange(400.0, 8001.0, 200.0)
SCHEDULE = bt.schedules.cosine(peak=1e-3, warmup=150, total=8000, final=1e-4)
SURE = 0.01


def ranks(runs: int, workers: int) -> pd.DataFrame:
    """Ranks of so many runs, spread over processes."""
    priors = replace(family("lr_scheduling").priors(SCHEDULE, origin=ORIGIN), floor_slope=normal(-0.15, 0.05))
    one = partial(simulated_ranks, schedule=SCHEDULE, steps=STEPS, origin=ORIGIN, priors=priors)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(one, [seed]) for seed in range(runs)]
        done = [future.result() for future in tqdm(as_completed(futures), total=runs, desc="simulating", unit="run")]
    return pd.concat(done)


def main() -> None:
    asked = options(__doc__, "calibration")
    found = ranks(60 if asked.quick else 240, asked.workers)
    table = uniformity(found).reset_index()
    keep(table, asked.table)
    print(f"fits whose chains agreed: {found.drop_duplicates('seed')['converged'].mean():.2f}")
    failed = table.loc[(table["p_corrected"] < SURE) & ~table["quantity"].str.startswith("loss at"), "quantity"]
    if len(failed):
        print(f"not uniform: {', '.join(failed)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
