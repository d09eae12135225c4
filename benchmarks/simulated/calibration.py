"""Simulation-based calibration: runs drawn from the priors, fitted and forecast, and the ranks of what was true.

    python -m benchmarks.simulated.calibration [--quick] [--together] [--workers N]

Two hundred and forty runs of mean losses under the default priors of an 8,000-step cosine, seen for half of it (--quick: 60);
the slope alone has a narrower one, since the default's tail has runs with negative losses. --together: two hundred populations
of three runs each under the same priors, one finished after 4,000 steps, one after 8,000 and one seen for 3,200 of 8,000,
with a covariate; those of a population are fitted together.
Ranks must be uniform for every parameter, and central intervals must hold later losses as often as they say. Exit
code 1 where a corrected p is below .01. Runs whose chains did not converge are kept.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from tqdm import tqdm

import bayes_tsl as bt
from bayes_tsl.evaluation.calibration import simulated_population_ranks, simulated_ranks, uniformity
from bayes_tsl.model.priors import family, normal
from bayes_tsl.model.simulated_population import Plan
from benchmarks.common import keep, options

ORIGIN = 4000.0
STEPS = np.arange(400.0, 8001.0, 200.0)
SCHEDULE = bt.schedules.cosine(peak=1e-3, warmup=150, total=8000, final=1e-4)
PRIORS = replace(family("lr_scheduling").priors(SCHEDULE, origin=ORIGIN), floor_slope=normal(-0.15, 0.05))
HALF_AS_LONG = bt.schedules.cosine(peak=1e-3, warmup=150, total=4000, final=1e-4)
PLANS = {
    "short": Plan(HALF_AS_LONG, STEPS[STEPS <= 4000.0], origin=4000.0, covariates={"size": 17.0}),
    "whole": Plan(SCHEDULE, STEPS[::2], origin=8000.0, covariates={"size": 18.0}),
    "young": Plan(SCHEDULE, STEPS[::2], origin=3200.0, covariates={"size": 19.0}),
}
SURE = 0.01


def ranks(one: Callable[[list[int]], pd.DataFrame], seeds: int, workers: int) -> pd.DataFrame:
    """Ranks of so many seeds, spread over processes."""
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(one, [seed]) for seed in range(seeds)]
        done = [future.result() for future in tqdm(as_completed(futures), total=seeds, desc="simulating", unit="fit")]
    return pd.concat(done)


def main() -> None:
    asked = options(__doc__, "calibration", together="runs of one population, fitted together")
    if asked.together:
        one, seeds = partial(simulated_population_ranks, plans=PLANS, priors=PRIORS), 200
        asked.table = asked.table.with_name("calibration_together.csv")
    else:
        one, seeds = partial(simulated_ranks, schedule=SCHEDULE, steps=STEPS, origin=ORIGIN, priors=PRIORS), 240
    found = ranks(one, 60 if asked.quick else seeds, asked.workers)
    asked.out.mkdir(parents=True, exist_ok=True)
    found.to_csv(asked.out / asked.table.name.replace("calibration", "ranks"), index=False)
    table = uniformity(found).reset_index()
    keep(table, asked.table)
    print(f"fits whose chains agreed: {found.drop_duplicates('seed')['converged'].mean():.2f}")
    failed = table.loc[(table["p_corrected"] < SURE) & ~table["quantity"].str.contains("loss at"), "quantity"]
    if len(failed):
        print(f"not uniform: {', '.join(failed)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
