"""Public runs cut at several prefixes, planned schedule known: the model beside every baseline.

    python benchmarks/prefix.py [--quick] [--half] [--out FOLDER] [--workers N]

Every complete run of lr_scheduling and multipowerlaw. ``--half`` takes the half of them whose names hash lowest, ``--quick``
four of those at two prefixes. Started again with the same --out it goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from curves import by_hash, lr_scheduling, multipowerlaw, plan, versions

import bayes_tsl as bt
from bayes_tsl.backtest import backtest, summarise
from bayes_tsl.baselines import BASELINES

PREFIXES = (0.2, 0.35, 0.5, 0.65, 0.8)
SCORES = ["endpoint_mae", "endpoint_bias", "crps", "coverage_50", "coverage_90", "width_90"]


def tsl(losses: bt.LossTable, *, steps, schedule=None, seed=0) -> bt.Forecast:
    """The default model on two short chains: a thousand draws are enough to score."""
    fit = bt.fit(losses, schedule=schedule, seed=seed, chains=2, num_warmup=300, num_draws=500, progress=False, throw=False)
    return bt.forecast(fit, steps=steps, seed=seed)


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


def table_of(scores: pd.DataFrame, kinds: pd.Series) -> pd.DataFrame:
    parts = [summarise(part).assign(runs=kind) for kind, part in scores.groupby(scores["run"].map(kinds))]
    return pd.concat(parts)[["runs", "model", "prefix", "cells", "failed", *SCORES]].round(4)


def unconverged(scores: pd.DataFrame) -> str:
    fits = scores[scores["model"] == "tsl"].drop_duplicates(["run", "test_set", "prefix"])
    few = fits["notes"].str.contains("effective sample size must")
    other = fits["notes"].str.contains("must") & ~few
    return f"fits of tsl: {len(fits)}; with too few effective draws {few.sum()}, with another failed check {other.sum()}"


def options(
    doc: str | None, name: str, more: Callable[[argparse.ArgumentParser], object] = lambda _: None
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out") / name)
    parser.add_argument("--workers", type=int, default=2)
    more(parser)
    return parser.parse_args()


def main() -> None:
    asked = options(__doc__, "prefix", lambda parser: parser.add_argument("--half", action="store_true"))
    losses, plans, kinds = load()
    order = by_hash(losses.runs)
    chosen = order[:4] if asked.quick else order[: len(order) // 2] if asked.half else order
    parts = []
    for run in chosen:
        one = losses.select(run=run)
        parts.append(
            backtest(
                one,
                plans,
                prefixes=PREFIXES[::3] if asked.quick else PREFIXES,
                forecasters={"tsl": tsl, **BASELINES},
                store=asked.out / "cells",
                workers=asked.workers,
                progress=False,
            )
        )
        print(f"{len(parts)} of {len(chosen)}: {run}", flush=True)
    scores = pd.concat(parts)
    table = table_of(scores, kinds)
    table.to_csv(asked.out / "summary.csv", index=False)
    print(table.to_string(index=False))
    print(unconverged(scores))
    print(versions())


if __name__ == "__main__":
    main()
