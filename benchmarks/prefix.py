"""Public runs cut at several prefixes, planned schedule known: the model beside every baseline.

    python benchmarks/prefix.py [--quick] [--workers N] [--out FOLDER]

Every complete run of lr_scheduling and multipowerlaw; --quick takes four runs and two prefixes. Runs come in the order of a
hash of their names, and the first half of them may be used to choose a model: the table tells the halves apart. Started
again with the same --out it goes on where it stopped.
"""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from common import by_hash, by_kind, keep, lr_scheduling, multipowerlaw, options, plan, tsl

import bayes_tsl as bt
from bayes_tsl.backtest import backtest
from bayes_tsl.baselines import BASELINES

PREFIXES = (0.2, 0.35, 0.5, 0.65, 0.8)
SCORES = ["endpoint_mae", "endpoint_bias", "crps", "coverage_50", "coverage_90", "width_90"]


def load() -> tuple[bt.LossTable, dict[str, bt.Schedule], pd.Series]:
    tables, plans, kinds = [], {}, []
    for source in (lr_scheduling, multipowerlaw):
        curves, kind = source()
        for run, rows in curves.groupby("run"):
            rows.attrs["kind"] = source.__name__
            plans[str(run)] = plan(rows)
        tables.append(curves)
        kinds.append(kind)
    return bt.LossTable.from_frame(pd.concat(tables).drop(columns="split")), plans, pd.concat(kinds)


def unconverged(scores: pd.DataFrame) -> str:
    fits = scores[scores["model"] == "tsl"].drop_duplicates(["run", "test_set", "prefix"])
    few = fits["notes"].str.contains("effective sample size must")
    other = fits["notes"].str.contains("must") & ~few
    return f"fits of tsl: {len(fits)}; with too few effective draws {few.sum()}, with another failed check {other.sum()}"


def main() -> None:
    asked = options(__doc__, "prefix")
    losses, plans, kinds = load()
    order = by_hash(losses.runs)
    parts = []
    for run in order[:4] if asked.quick else order:
        parts.append(
            backtest(
                losses.select(run=run),
                plans,
                prefixes=PREFIXES[::3] if asked.quick else PREFIXES,
                forecasters={"tsl": tsl, **BASELINES},
                store=asked.out / "cells",
                workers=asked.workers,
                progress=False,
            )
        )
        print(f"{len(parts)} of {len(order)}: {run}", flush=True)
    scores = pd.concat(parts)
    halves = pd.Series({run: "chosen on" if i < len(order) // 2 else "held out" for i, run in enumerate(order)})
    tables = [by_kind(part, kinds, SCORES).assign(half=half) for half, part in scores.groupby(scores["run"].map(halves))]
    keep(pd.concat(tables), asked.table)
    print(unconverged(scores))
    draw(scores, asked.out)


def draw(scores: pd.DataFrame, out) -> None:
    mpl.use("agg")
    bt.plot_errors(scores).figure.savefig(out / "prefix_errors.png", dpi=110)
    shown = scores[scores["model"].isin(["tsl", "annealing-law", "multi-power-law", "power-law"])]
    bt.plot_calibration(shown)[0].figure.savefig(out / "prefix_calibration.png", dpi=110)


if __name__ == "__main__":
    main()
