"""The rest of a young run, by itself and with finished siblings: a larger model, and another schedule.

    python -m benchmarks.public.siblings [--quick] [--workers N]

*Size*: runs of 24 layers of lr_scheduling cut at 20 %, alone and with finished runs of fewer parameters, of which size and peak
learning rate are covariates or not. *Schedule*: runs of multipowerlaw from their first 6,000 steps, alone and with the three of
their size that the transfer protocol fits. A run that diverges is left out.
"""

from __future__ import annotations

import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

import bayes_tsl as bt
from benchmarks.common import SHORT, keep, options
from benchmarks.public.curves import by_hash, public_runs, sized
from benchmarks.public.transfer import FITTED

ELDERS = 10  # finished smaller runs that a larger one is fitted with
SEEN = 6000.0  # steps of a run that is fitted with others of other schedules


class Task(NamedTuple):
    """A run to forecast from its beginning, by itself and with finished ones.

    Attributes:
        kind: of question.
        run: name of the run.
        share: of its steps that is seen, or of 24,000 where runs of several lengths are seen until one step.
        until: last step seen of it.
        losses: of all runs, whole.
        plans: of all runs.
        ways: covariates of each way of fitting it with the others.
        known: a table with the covariates.
    """

    kind: str
    run: str
    share: float
    until: float
    losses: bt.LossTable
    plans: dict[str, bt.Schedule]
    ways: dict[str, list[str]]
    known: pd.DataFrame | None = None


def grow(task: Task) -> pd.DataFrame:
    """The rest of a run, alone and together."""
    warnings.simplefilter("ignore", bt.Notice)
    frame, own = task.losses.frame, task.plans[task.run]
    truth = task.losses.select(run=task.run).mean_losses()
    past = bt.LossTable.from_frame(frame[(frame["run"] != task.run) | (frame["step"] <= task.until)])
    fits = {"alone": lambda: bt.fit(past.select(run=task.run), schedule=own, **SHORT)}
    for way, covariates in task.ways.items():
        settings = {"runs": task.known, "covariates": covariates} if covariates else {}
        fits[way] = lambda settings=settings: bt.fit(past, schedules=task.plans, **settings, **SHORT).select(run=task.run)
    rows = []
    for way, made in fits.items():
        ahead = bt.forecast(made(), steps=truth.index[truth.index > task.until])
        table = bt.scoring.score(ahead, truth)
        end, off = table.iloc[-1], table["mean"] - table["observed"]
        row = {"kind": task.kind, "run": task.run, "share": task.share, "way": way, "runs": len(task.plans)}
        row |= {"mae": off.iloc[-1:].abs().mean(), "bias": off.iloc[-1], "mae_all": off.abs().mean()}
        row |= {
            "coverage_50": table["covered_50"].mean(),
            "coverage_90": table["covered_90"].mean(),
            "crps": table["crps"].mean(),
        }
        rows.append(row | {"end_held": end["covered_90"], "width_90": end["width_90"]})
    return pd.DataFrame(rows)


def larger() -> list[Task]:
    """Each run of 24 layers at a fifth, with finished ones that have fewer parameters."""
    losses, plans, table = sized()
    size = np.log(table["n_layer"] * table["n_embd"] ** 2)
    known = pd.DataFrame({"run": table.index, "log_parameters": size, "log_peak": np.log(table["base_lr"])})
    tasks = []
    for name in by_hash(table.index[table["n_layer"] == 24]):
        runs = [*by_hash(table.index[size < size[name]])[:ELDERS], name]
        chosen = bt.LossTable.from_frame(losses.frame[losses.frame["run"].isin(runs)])
        until = 0.2 * float(losses.select(run=name).steps[-1])
        ways = {"together": [], "with size and peak": ["log_parameters", "log_peak"]}
        tasks.append(Task("size", name, 0.2, until, chosen, {run: plans[run] for run in runs}, ways, known))
    return tasks


def scheduled() -> list[Task]:
    """Each run of multipowerlaw at step ``SEEN``, with the three of its size that the transfer protocol fits."""
    losses, plans, _ = public_runs()
    tasks = []
    for size in ("25M", "100M"):
        finished = [f"{size}_{name}" for name in FITTED]
        for name in (run for run in losses.runs if run.startswith(f"{size}_") and run not in finished):
            runs = [*finished, name]
            chosen = bt.LossTable.from_frame(losses.frame[losses.frame["run"].isin(runs)])
            tasks.append(
                Task(
                    f"schedule, {size}", name, SEEN / 24000.0, SEEN, chosen, {run: plans[run] for run in runs}, {"together": []}
                )
            )
    return tasks


def main() -> None:
    asked = options(__doc__, "siblings")
    warnings.simplefilter("ignore", bt.Notice)
    tasks = scheduled()[-1:] if asked.quick else [*larger(), *scheduled()]
    done = []
    with ProcessPoolExecutor(asked.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in tqdm([pool.submit(grow, task) for task in tasks], desc="siblings", unit="run"):
            done.append(future.result())
            print(done[-1].round(4).to_string(index=False), flush=True)
    table = pd.concat(done, ignore_index=True)
    means = table.drop(columns=["run", "runs"]).groupby(["kind", "share", "way"], sort=False).mean().reset_index()
    keep(pd.concat([means.assign(run="mean"), table])[list(table.columns)], asked.table)


if __name__ == "__main__":
    main()
