"""The check of the judge: endpoint errors of a schedule-blind power law, of which much is known.

    python -m benchmarks.public.blind [--quick]

Every run of ten rows or more of multipowerlaw, lr_scheduling and modded_nanogpt (--quick: four of each kind), cut at 20, 50
and 80 % of its rows. Of lr_scheduling the cooldown branches of other runs are shown too, and each run with its last row, which
the other benchmarks leave out.
"""

from __future__ import annotations

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import backtest
from benchmarks.common import by_kind, keep, options
from benchmarks.public.curves import LEAST, by_hash, lr_scheduling, modded_nanogpt, multipowerlaw

PREFIXES = (0.2, 0.5, 0.8)


def sources() -> list[tuple[pd.DataFrame, pd.Series, int]]:
    """Curves, the kind of each run, and the warm-up of all."""
    nano = modded_nanogpt()
    parts = [(*multipowerlaw(), 0), (nano, pd.Series("modded_nanogpt", index=nano["run"].unique()), 0)]
    for resumed in (False, True):
        for last in (False, True):
            curves, kinds = lr_scheduling(resumed=resumed, last=last)
            parts.append((curves, kinds + " branch" * resumed + ", last row kept" * last, 300))
    return parts


def judge(losses: bt.LossTable, warmup: int) -> pd.DataFrame:
    """One run cut at shares of its rows, wherever it starts."""
    plan = bt.schedules.constant(peak=1.0, warmup=warmup)  # the law sees the warm-up alone
    steps = losses.steps
    shares = {float(steps[round(p * len(steps)) - 1] / steps[-1]): p for p in PREFIXES}
    scores = backtest(losses, plan, prefixes=list(shares), forecasters=["power-law"], progress=False)
    return scores.assign(prefix=scores["prefix"].map(shares))


def main() -> None:
    asked = options(__doc__, "blind")
    tables = []
    for curves, kinds, warmup in sources():
        for kind, runs in kinds.groupby(kinds).groups.items():
            rows = curves.groupby("run").size()
            chosen = [run for run in by_hash(runs) if rows[run] >= LEAST][: 4 if asked.quick else None]
            losses = [bt.LossTable.from_frame(curves.loc[curves["run"] == run, ["run", "step", "loss"]]) for run in chosen]
            scores = pd.concat([judge(one, warmup) for one in losses])
            tables.append(by_kind(scores, kinds, ["endpoint_mae", "endpoint_bias"]))
            print(f"{kind}: {len(chosen)} runs of {len(runs)}", flush=True)
    keep(pd.concat(tables).drop(columns="model"), asked.table)


if __name__ == "__main__":
    main()
