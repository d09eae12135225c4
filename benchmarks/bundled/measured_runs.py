"""Own small runs whose averaged weights, gradient noise and two early cooldowns were measured beside their losses.

``benchmarks/data/small_lm_measured.csv.gz`` has mean losses over 256 positions of 33 runs of four sizes, four batches and
rates from 5e-4 to 4e-3 (``examples/train_small_lm``, --average and --branch): the run itself, weights averaged over an
eightieth, a twentieth and an eighth of its steps, and cooldowns to a tenth of the peak that leave it at .15 and .4 of its
steps and end at .2 and .5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

import bayes_tsl as bt
from benchmarks.common import ROOT

SETTINGS = {"num_draws": "auto", "progress": False, "throw": False}  # of every fit
DATA = ROOT / "benchmarks" / "data" / "small_lm_measured.csv.gz"


@dataclass(frozen=True)
class MeasuredRun:
    """A run with all that was measured of it on one test set."""

    name: str
    rows: pd.DataFrame

    @property
    def losses(self) -> bt.LossTable:
        """Its losses and those of its branches, and what was measured beside them."""
        return bt.LossTable.from_frame(self.rows)

    @property
    def schedules(self) -> dict[str, bt.Schedule]:
        """Its plan, and that of each branch."""
        return {str(run): self._plan(rows) for run, rows in self.rows.groupby("run")}

    @property
    def known(self) -> dict[str, float]:
        """Batch and size."""
        return {name: float(self.rows[name].iloc[0]) for name in ("batch_tokens", "parameters")}

    @property
    def total(self) -> float:
        """Its last step."""
        return float(self.rows.loc[self.rows["run"] == self.name, "step"].max())

    def _plan(self, rows: pd.DataFrame) -> bt.Schedule:
        kind, own = self.name.split("_")[1], self.rows[self.rows["run"] == self.name]
        peak, total = float(own["lr"].max()), self.total
        whole = bt.schedules.parse(f"{kind}:peak={peak:.6g},warmup={total / 40:g},total={total:g},final={peak / 10:.6g}")
        if rows["run"].iloc[0] == self.name:
            return whole
        start, end = float(np.max(rows["branch_step"])), float(rows["step"].max())
        return bt.schedules.decayed(whole, start=start, total=end, final=peak / 10)


def plain(losses: bt.LossTable) -> bt.LossTable:
    """Without what was measured beside the losses."""
    return replace(losses, averaged={}, gradient_noise=None)


def measured_runs(*test_sets: str) -> list[MeasuredRun]:
    """All of them on these test sets, by default on prose, by name."""
    rows = pd.read_csv(DATA, dtype={"run": str, "parent": str})
    rows = rows[rows["test_set"].isin(test_sets or ["prose"])]
    return [MeasuredRun(str(name), own) for name, own in rows.groupby(rows["parent"].fillna(rows["run"]))]
