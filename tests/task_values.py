"""Checkpoints of three runs whose task follows a known link from their loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import bayes_tsl as bt


def link_by_hand(loss: Any) -> Any:
    """Bits per byte at a loss."""
    return 0.5 + 0.2 * (loss - 1.5) ** 1.4


def checkpoints() -> pd.DataFrame:
    """Columns run, step, loss, bpb; runs lie .01 above, on, and .01 below the link, and a checkpoint .003 about that."""
    rng, steps = np.random.default_rng(3), np.arange(500.0, 20_500.0, 500.0)
    rows = []
    for run, floor, off in (("small", 3.0, 0.01), ("medium", 2.8, 0.0), ("large", 2.6, -0.01)):
        loss = floor + 12.0 * steps**-0.35
        value = link_by_hand(loss) + off + 0.003 * rng.standard_normal(len(steps))
        rows.append(pd.DataFrame({"run": run, "step": steps, "loss": loss, "bpb": value}))
    return pd.concat(rows, ignore_index=True)


def loss_table(rows: pd.DataFrame) -> bt.LossTable:
    return bt.LossTable.from_frame(rows[["run", "step", "loss"]])
