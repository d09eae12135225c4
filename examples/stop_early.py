"""Train several runs side by side, and stop those that will hardly end lowest.

python examples/stop_early.py

Successive elimination: at every rung the runs that are left are fitted together, and those whose probability to end lowest
has fallen below a level are stopped. What is saved is training; what it costs is the regret of the run that is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

import bayes_tsl as bt

RUNGS = (0.3, 0.5, 0.7)  # shares of the horizon at which to look
LEVEL = 0.05  # probability to end lowest below which a run is stopped


def eliminate(
    losses: bt.LossTable,
    schedules: Mapping[str, bt.Schedule],
    *,
    end: float,
    rungs: Sequence[float] = RUNGS,
    level: float = LEVEL,
    **settings: object,
) -> pd.Series:
    """Step at which each run is stopped, or ``end`` where it goes on; ``settings`` are those of ``bt.fit``."""
    stopped = pd.Series(end, index=losses.runs)
    for step in (rung * end for rung in rungs):
        left = list(stopped.index[stopped == end])
        if len(left) == 1:
            break
        seen = losses.frame[losses.frame["run"].isin(left) & (losses.frame["step"] <= step)]
        fit = bt.fit(bt.LossTable.from_frame(seen), schedules={run: schedules[run] for run in left}, **settings)
        chance = bt.compare_runs(bt.forecast(fit, steps=[end])).prob_lowest()
        stopped[chance.index[(chance < level) & (chance < chance.max())]] = step
    return stopped


if __name__ == "__main__":
    mixtures = bt.datasets.load("small_lm").select(test_set="prose")
    plan = bt.schedules.cosine(peak=2e-3, warmup=100, total=2500, final=2e-4)
    stops = eliminate(mixtures, dict.fromkeys(mixtures.runs, plan), end=2500, num_draws=500)
    print(stops.rename("trained until").to_string())
    print(f"steps saved: {1 - stops.mean() / 2500:.0%}")
