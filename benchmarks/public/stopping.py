"""What stopping runs early saves, and what it costs: the recipe of examples/stop_early.py on finished runs.

    python -m benchmarks.public.stopping [--quick] [--workers N]

The groups of pooling.py. *Saved* is the share of the group's steps that was not trained, *regret* by how much the best run
that is left ends above the best of all.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor

import pandas as pd

import bayes_tsl as bt
from benchmarks.common import SHORT, keep, options
from benchmarks.public.pooling import groups
from examples.stop_early import eliminate

LEVELS = (0.02, 0.1)


def stopping(name: str, level: float, losses: bt.LossTable, plans: Mapping[str, bt.Schedule]) -> dict[str, object]:
    warnings.simplefilter("ignore", bt.Notice)
    end = float(min(losses.select(run=run).steps[-1] for run in losses.runs))
    truth = pd.Series({run: losses.select(run=run).mean_losses().loc[:end].iloc[-1] for run in losses.runs})
    stopped = eliminate(losses, plans, end=end, level=level, **SHORT)
    kept = truth[stopped == end]
    row = {"group": name, "level": level, "runs": len(truth), "left": len(kept), "saved": 1.0 - stopped.mean() / end}
    return row | {"regret": kept.min() - truth.min(), "best_kept": float(truth.idxmin() in kept.index)}


def main() -> None:
    asked = options(__doc__, "stopping")
    tasks = [(name, level, *group) for name, group in groups().items() for level in LEVELS]
    tasks = [task for task in tasks if task[:2] == ("mixtures, prose", LEVELS[-1])] if asked.quick else tasks
    with ProcessPoolExecutor(asked.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        table = pd.DataFrame([future.result() for future in [pool.submit(stopping, *task) for task in tasks]])
    mean = table.drop(columns="group").groupby("level").mean().reset_index().assign(group="mean")
    keep(pd.concat([mean[table.columns], table]), asked.table)


if __name__ == "__main__":
    main()
