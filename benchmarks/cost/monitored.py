"""What it takes to monitor a run, and from that what 10,000 take.

    python -m benchmarks.cost.monitored

Mean losses of the bundled run of half code, prose, are looked at after every checkpoint as the worker of ``Monitor`` looks at
them, in one process. CPU seconds are medians; a few of the later fits compile too, for more checkpoints. Then arithmetic: RUNS
runs of CHECKPOINTS checkpoints each over DAYS days.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import bayes_tsl as bt
from bayes_tsl.live.journal import Journal
from bayes_tsl.live.tracking import GROWTH, Plan
from bayes_tsl.live.worker import look
from bayes_tsl.model.checkpoints import FEW_CHECKPOINTS
from benchmarks.common import RESULTS, SMALL_LM, keep

RUNS, CHECKPOINTS, DAYS = 10_000, 200, 10.0
GIB = 2**30


def looks(folder: Path) -> pd.DataFrame:
    """CPU seconds of every look, and whether it made a fit."""
    means = bt.datasets.load().select(run="mix50_cosine", test_set="prose").mean_losses()
    journal, rows = Journal(folder), []
    journal.begin(Plan(SMALL_LM, target=3.5, known={"parameters": 1.1e6, "num_draws": "auto"}))
    for step, loss in list(means.items())[:-1]:
        journal.append([{"test_set": "test", "step": step, "loss": loss}])
        start = time.process_time()
        [outlook] = look(journal).values()
        made = outlook.fitted == step
        rows.append({"step": step, "waiting": bool(outlook.waiting), "made": made, "cpu": time.process_time() - start})
    return pd.DataFrame(rows)


def measured() -> dict[str, float]:
    """Figures of one run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = looks(folder)
        table = table[~table["waiting"]]
        files = {path.name: path.stat().st_size for path in folder.iterdir()}
        lines = len((folder / "losses.jsonl").read_text().splitlines())
    fits, weighed = table[table["made"]]["cpu"], table[~table["made"]]["cpu"]
    return {
        "fits": len(fits),
        "updates": len(weighed),
        "first fit, CPU seconds": fits.iloc[0],
        "later fit, CPU seconds": fits.iloc[1:].median(),
        "update, CPU seconds": weighed.median(),
        "bytes a checkpoint": files["losses.jsonl"] / lines,
        "bytes of results": sum(size for path, size in files.items() if path != "losses.jsonl"),
        "worker, GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def fleet(one: dict[str, float]) -> dict[str, float]:
    """The same for many runs, whose workers are alive all the time, or are tasks of a few processes."""
    fits = 1 + int(np.ceil(np.log(CHECKPOINTS / FEW_CHECKPOINTS) / np.log(GROWTH)))
    updates = CHECKPOINTS - FEW_CHECKPOINTS - fits
    seconds = fits * one["later fit, CPU seconds"] + updates * one["update, CPU seconds"]
    return {
        "checkpoints a day": RUNS * CHECKPOINTS / DAYS,
        "fits a run": fits,
        "fits a day": RUNS * fits / DAYS,
        "CPU seconds a run": seconds,
        "cores busy": RUNS * seconds / (DAYS * 86_400),
        "GiB of a worker each": RUNS * one["worker, GiB"],
        "GiB of a process a core": np.ceil(RUNS * seconds / (DAYS * 86_400)) * one["worker, GiB"],
        "GiB on disk": RUNS * (CHECKPOINTS * one["bytes a checkpoint"] + one["bytes of results"]) / GIB,
    }


def main() -> None:
    one = measured()
    many = fleet(one)
    rows = [("one run", *item) for item in one.items()] + [(f"{RUNS:,} runs", *item) for item in many.items()]
    keep(pd.DataFrame(rows, columns=["of", "what", "value"]), RESULTS / "monitored.csv")


if __name__ == "__main__":
    main()
