"""Public runs cut at several prefixes, planned schedule known: the model beside every baseline.

    python benchmarks/prefix.py [--quick] [--out FOLDER] [--workers N]

Reads lr_scheduling from the folder BAYES_TSL_DATA, by default ../shared/data beside the repository. ``--quick`` takes the four
runs whose names hash lowest, at two prefixes. Started again with the same --out it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import zlib
from importlib.metadata import version
from pathlib import Path

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.backtest import FORECASTERS, backtest, summarise

DATA = Path(os.environ.get("BAYES_TSL_DATA", Path(__file__).parents[2] / "shared" / "data"))
PREFIXES = (0.2, 0.35, 0.5, 0.65, 0.8)
SHOWN = [
    "scheduler",
    "model",
    "prefix",
    "cells",
    "failed",
    "endpoint_mae",
    "endpoint_bias",
    "crps",
    "coverage_50",
    "coverage_90",
    "width_90",
]


def load() -> tuple[pd.DataFrame, pd.Series]:
    """Validation losses of complete runs, the last of a repeated step, and each run's kind of schedule."""
    runs = pd.read_csv(DATA / "lr_scheduling" / "runs.csv").set_index("run")
    curves = pd.read_csv(DATA / "lr_scheduling" / "val_curves.csv.gz").drop(columns="position")
    curves = curves.drop_duplicates(["run", "step"], keep="last")
    complete = runs.index[runs["resumed"] != "yes"]
    return curves[curves["run"].isin(complete)], runs.loc[complete, "scheduler"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out") / "prefix")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    curves, kinds = load()
    if options.quick:
        first = sorted(kinds.index, key=lambda run: zlib.crc32(run.encode()))[:4]
        curves = curves[curves["run"].isin(first)]
    losses = bt.LossTable.from_frame(curves)
    plans = {run: bt.schedules.from_frame(losses.select(run=run).frame.dropna(subset="lr")) for run in losses.runs}
    scores = backtest(
        losses,
        plans,
        prefixes=PREFIXES[::3] if options.quick else PREFIXES,
        forecasters=list(FORECASTERS),
        store=options.out / "cells",
        workers=options.workers,
    )
    of_kind = scores["run"].map(kinds)
    table = pd.concat([summarise(part).assign(scheduler=kind) for kind, part in scores.groupby(of_kind)])
    table.to_csv(options.out / "summary.csv", index=False)
    print(table.reindex(columns=SHOWN).round(4).to_string(index=False))
    fits = scores[scores["model"] == "tsl"].drop_duplicates(["run", "prefix"])
    print(f"fits of tsl that did not converge: {fits['notes'].str.contains('must').sum()} of {len(fits)}")
    print({name: version(name) for name in ("bayes_tsl", "numpyro", "jax", "scipy")})


if __name__ == "__main__":
    main()
