"""Choosing the best of several runs early, by fits of all together and by other ways.

    python -m benchmarks.public.pooling [--quick] [--workers N]

Runs of one size and horizon that differ in peak learning rate (lr_scheduling, 12 layers of width 768: cosines, and decayed
runs, one per peak), and the two bundled mixtures on each test set, cut at 10, 20 and 50 %. Which is lowest at the end, by a fit
of all together, by fits of each alone, by the power law, and by the lowest loss so far. A run that diverges is left out.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd
from tqdm import tqdm

import bayes_tsl as bt
from bayes_tsl.forecasting.baselines import BASELINES
from benchmarks.common import SHORT, SMALL_LM, keep, options
from benchmarks.public.curves import by_hash, sized

PREFIXES = (0.1, 0.2, 0.5)


def groups() -> dict[str, tuple[bt.LossTable, dict[str, bt.Schedule]]]:
    """Runs to choose among, by the name of the group."""
    losses, plans, table = sized()
    table = table[(table["n_layer"] == 12) & (table["n_embd"] == 768) & ~table["kind"].str.endswith("wsd")]
    found = {}
    for (kind, last), part in table.groupby(["kind", "step"]):
        runs = part.loc[by_hash(part.index)].drop_duplicates("base_lr").index
        if len(runs) > 1:
            chosen = losses.frame[losses.frame["run"].isin(runs)]
            found[f"{kind}, {last:g} steps"] = bt.LossTable.from_frame(chosen), {run: plans[run] for run in runs}
    small = bt.datasets.load("small_lm")
    for test_set in small.test_sets:
        found[f"mixtures, {test_set}"] = small.select(test_set=test_set), dict.fromkeys(small.runs, SMALL_LM)
    return found


def cut(losses: bt.LossTable, prefix: float) -> bt.LossTable:
    """Every run up to a share of its last step."""
    frame = losses.frame
    return bt.LossTable.from_frame(frame[frame["step"] <= prefix * frame.groupby("run")["step"].transform("max")])


def choose(name: str, prefix: float, losses: bt.LossTable, plans: Mapping[str, bt.Schedule]) -> pd.DataFrame:
    """Probability of each run to be lowest, by every way, and what each choice costs."""
    warnings.simplefilter("ignore", bt.Notice)
    past, runs = cut(losses, prefix), losses.runs
    truth = pd.Series({run: losses.select(run=run).mean_losses().iloc[-1] for run in runs})
    last = float(min(losses.select(run=run).steps[-1] for run in runs))

    def alone(run: str) -> np.ndarray:
        fit = bt.fit(past.select(run=run), schedule=plans[run], **SHORT)
        return bt.forecast(fit, steps=[last]).expected.to_numpy().ravel()

    def by_power_law(run: str) -> np.ndarray:
        return (
            BASELINES["power-law"](past.select(run=run), steps=[last], schedule=plans[run], seed=0).expected.to_numpy().ravel()
        )

    def together() -> np.ndarray:
        ahead = bt.forecast(bt.fit(past, schedules=plans, **SHORT), steps=[last])
        return ahead.expected.sel(step=last).transpose("run", ...).sel(run=runs).to_numpy().reshape(len(runs), -1)

    ways = {
        "together": together,
        "alone": lambda: np.stack([alone(run) for run in runs]),
        "power-law": lambda: np.stack([by_power_law(run) for run in runs]),
        "lowest so far": lambda: np.stack([past.select(run=run).mean_losses().iloc[[-1]] for run in runs]),
    }
    rows = []
    for way, forecast in ways.items():
        label = {"group": name, "prefix": prefix, "way": way}
        try:
            ends = forecast()
        except (bt.DataError, bt.ConvergenceError) as error:
            rows.append(label | {"reason": str(error)})
            continue
        chance = np.bincount(ends.argmin(axis=0), minlength=len(runs)) / ends.shape[1]
        best = np.arange(len(runs)) == truth.to_numpy().argmin()
        chosen = chance.argmax() if way != "lowest so far" else ends[:, 0].argmin()
        error, (low, high) = ends.mean(axis=1) - truth.to_numpy(), np.quantile(ends, [0.05, 0.95], axis=1)
        rows.append(
            label
            | {
                "runs": len(runs),
                "right": float(best[chosen]),
                "regret": truth.iloc[chosen] - truth.min(),
                "prob_of_chosen": chance[chosen],
                "brier": np.mean((chance - best) ** 2),
                "mae": np.abs(error).mean(),
                "coverage_90": np.mean((truth >= low) & (truth <= high)),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    asked = options(__doc__, "pooling")
    warnings.simplefilter("ignore", bt.Notice)
    choices = [(name, prefix, *group) for name, group in groups().items() for prefix in PREFIXES]
    if asked.quick:
        choices = [choice for choice in choices if choice[:2] == ("mixtures, prose", 0.5)]
    done = []
    with ProcessPoolExecutor(asked.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in tqdm([pool.submit(choose, *choice) for choice in choices], desc="pooling", unit="choice"):
            done.append(future.result())
            print(done[-1].round(4).to_string(index=False), flush=True)
    table = pd.concat(done, ignore_index=True)
    means = table.drop(columns=["group", "runs", "reason"], errors="ignore").groupby(["prefix", "way"], sort=False).mean()
    keep(pd.concat([means.reset_index().assign(group="mean"), table])[list(table.columns)], asked.table)


if __name__ == "__main__":
    main()
