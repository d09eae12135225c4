"""Fit the bundled runs one by one in two processes, and print the seconds as JSON on the last line.

    python benchmarks/cost/timed_fleet.py

By whichever ``bayes_tsl`` is imported, at the defaults of ``fit_each``: mean losses of every run and test set of small_lm, up
to each of SHARES of the run.
"""

from __future__ import annotations

import json
import tempfile
import time

import pandas as pd

import bayes_tsl as bt

SHARES = (0.3, 0.5, 0.7)


def main() -> None:
    losses, plans, parts, schedules = bt.datasets.load(), bt.datasets.schedules(), [], {}
    means = losses.frame.groupby(["run", "test_set", "step"], as_index=False)["loss"].mean()
    for run, share in ((run, share) for run in losses.runs for share in SHARES):
        name = f"{run}, {share:g}"
        parts.append(means[(means["run"] == run) & (means["step"] <= share * means["step"].max())].assign(run=name))
        schedules[name] = plans[run]
    table = bt.LossTable.from_frame(pd.concat(parts))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = bt.fit_each(table, schedules, folder=folder, workers=2, progress=False)
        seconds = time.perf_counter() - start
    print(json.dumps({"fits": len(done), "converged": int(done["converged"].sum()), "seconds": seconds}))


if __name__ == "__main__":
    main()
