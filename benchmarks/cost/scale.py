"""How time and memory grow with the runs of one hierarchical fit, and what a fleet of independent fits costs.

    python -m benchmarks.cost.scale [--quick]

*Together*: the first 5, 10, 25 and 50 runs of lr_scheduling in the order of a hash of their names, 40 checkpoints each, every
second run cut at half of its steps, at the defaults of ``fit``. Each fit is a process of its own, whose peak memory is taken.
*Fleet*: the first ten of them one by one through ``fit_each`` in two processes, at the defaults. Seconds are of a shared
machine of two cores: their ratios are what to read.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd

import bayes_tsl as bt
from bayes_tsl.model.checkpoints import after_warmup
from benchmarks.common import keep, options
from benchmarks.public.curves import by_hash, sized

SIZES = (5, 10, 25, 50)
CHECKPOINTS = 40
FLEET = 10


def first_runs(count: int) -> tuple[bt.LossTable, dict[str, bt.Schedule]]:
    """Losses of so many runs, every second one young, and their plans."""
    losses, plans, table = sized()
    names, parts = by_hash(table.index)[:count], []
    for place, name in enumerate(names):
        whole = losses.select(run=name)
        usable = after_warmup(whole.until(float(whole.steps[-1]) * (0.5 if place % 2 else 1.0)), plans[name])[0].frame
        parts.append(usable.iloc[spread_out(usable["step"].to_numpy(float))])
    return bt.LossTable.from_frame(pd.concat(parts)), {name: plans[name] for name in names}


def spread_out(step: np.ndarray) -> np.ndarray:
    """Places of ``CHECKPOINTS`` steps, or of all if there are no more, as evenly in log step as they come."""
    chosen = np.arange(len(step))
    while len(chosen) > CHECKPOINTS:
        gaps = np.diff(np.log(step[chosen]))
        chosen = np.delete(chosen, 1 + np.argmin(gaps[:-1] + gaps[1:]))
    return chosen


def together(count: int, size: dict[str, int]) -> dict[str, float]:
    warnings.simplefilter("ignore", bt.Notice)
    losses, plans = first_runs(count)
    start = time.perf_counter()
    fit = bt.fit(losses, schedules=plans, throw=False, progress=False, **size)
    seconds, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    stats, table = fit.select(run=fit.runs[0]).data["sample_stats"], fit.diagnostics.table
    shared = table[table.index.str.startswith("trait_")]
    return {
        "runs": count,
        "checkpoints": losses.frame.groupby("run").size().mean(),
        "seconds": seconds,
        "seconds_per_run": seconds / count,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "leapfrogs": float(stats["n_steps"].mean()),
        "divergences": int(stats["diverging"].sum()),
        "min_ess": table["ess_bulk"].min(),
        "max_r_hat": table["r_hat"].max(),
        "population_min_ess": shared["ess_bulk"].min(),
        "population_max_r_hat": shared["r_hat"].max(),
        "peak_gib": used.ru_maxrss / 2**20,
    }


def main() -> None:
    asked = options(__doc__, "scale")
    size = {"num_warmup": 100, "num_draws": 100} if asked.quick else {}
    rows = []
    for count in SIZES[:2] if asked.quick else SIZES:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            rows.append({"way": "together"} | alone.submit(together, count, size).result())
        print(rows[-1], flush=True)
    losses, plans = first_runs(FLEET)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        bt.fit_each(losses, plans, folder=folder, workers=asked.workers, **size)
        seconds = time.perf_counter() - start
    rows.append({"way": "fleet", "runs": FLEET, "seconds": seconds, "seconds_per_run": seconds / FLEET})
    keep(pd.DataFrame(rows), asked.table)


if __name__ == "__main__":
    main()
