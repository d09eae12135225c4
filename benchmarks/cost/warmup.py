"""How long a warm-up a fit needs: convergence and work of real runs for several numbers of transitions.

    python -m benchmarks.cost.warmup [--quick]

RUNS run of each family of ``benchmarks.public.families``, seen for a fifth and for half, fitted by ``num_draws="auto"`` after
each of WARMUPS. *leapfrog steps* are of a draw; *work* is that of a chain in all, relative to the longest warm-up of the same
run; *ESS* is the smallest of any parameter. --quick: from half.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

import bayes_tsl as bt
from benchmarks.common import keep, options
from benchmarks.public.families import families

RUNS, SHARES, WARMUPS = 1, (0.2, 0.5), (500, 300, 200)


def fitted(past: bt.LossTable, schedule: bt.Schedule, warmup: int, seed: int) -> dict[str, object]:
    """What one fit took, and what came out."""
    with warnings.catch_warnings(action="ignore"):
        fit = bt.fit(past, schedule=schedule, num_warmup=warmup, num_draws="auto", seed=seed, progress=False, throw=False)
    stats = fit.data["sample_stats"]
    draws, leapfrogs = stats.sizes["draw"], float(stats["n_steps"].mean())
    return {
        "warmup": warmup,
        "good": fit.converged,
        "draws": draws,
        "leapfrogs": leapfrogs,
        "work": (warmup + draws) * leapfrogs,
        "divergences": int(stats["diverging"].sum()),
        "min_ess": float(fit.diagnostics.table["ess_bulk"].min()),
        "max_r_hat": float(fit.diagnostics.table["r_hat"].max()),
    }


def main() -> None:
    asked, rows = options(__doc__, "warmup"), []
    for family in families(RUNS).values():
        for seed, run in enumerate(family.losses.runs):
            curve = family.losses.select(run=run)
            curve = curve.select(test_set=curve.test_sets[0])
            for share in SHARES[1:] if asked.quick else SHARES:
                past = curve.until(share * float(curve.steps[-1]))
                found = pd.DataFrame([fitted(past, family.schedules[run], warmup, seed) for warmup in WARMUPS])
                rows.append(found.assign(work=found["work"] / found["work"].iloc[0]))
    means = pd.concat(rows).groupby("warmup", as_index=False)
    table = means.agg(dict.fromkeys(("good", "draws", "leapfrogs", "work", "divergences", "min_ess", "max_r_hat"), np.mean))
    keep(table.assign(fits=len(rows)), asked.table)


if __name__ == "__main__":
    main()
