"""An early bend, before which the laws do not hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.model.checkpoints import after_warmup
from bayes_tsl.model.early_phase import after_bend

PLAN = bt.schedules.constant(peak=1e-3)
STEP = np.arange(60.0, 1201.0, 60.0)
LAW = 3.0 + 2.0 * (STEP / 60.0) ** -0.4
BENT = LAW - 1.5 / (1.0 + np.exp(-(STEP - 450.0) / 40.0))
NOISE = 0.01 * np.random.default_rng(0).standard_normal(len(STEP))


def table(loss: np.ndarray, step: np.ndarray = STEP) -> bt.LossTable:
    return bt.LossTable.from_frame(pd.DataFrame({"step": step, "loss": loss}))


def test_checkpoints_before_a_bend_are_left_out_and_said() -> None:
    kept, [notice] = after_warmup(table(BENT + NOISE), PLAN)
    assert 420.0 <= kept.steps[0] <= 600.0
    assert "the loss fell ever faster, which the laws do not describe" in notice


def test_a_bend_that_is_not_over_is_said() -> None:
    past = table(BENT + NOISE).until(540.0)
    kept, [notice] = after_warmup(past, PLAN)
    assert len(kept.steps) == len(past.steps)
    assert notice.endswith("too few checkpoints follow: forecast again later.")


@pytest.mark.parametrize(
    ("step", "loss"),
    [
        (STEP, LAW + NOISE),
        (STEP, LAW + 10.0 * NOISE),
        (100.0 * STEP, BENT + NOISE),
        (STEP, LAW + NOISE + 0.3 * (STEP == 480.0)),
        (STEP[:3], LAW[:3]),
    ],
    ids=["law", "noisy", "late", "outlier", "short"],
)
def test_no_bend_where_there_is_none(step: np.ndarray, loss: np.ndarray) -> None:
    assert after_bend(step, loss, PLAN) == 0


def test_annealing_is_no_bend() -> None:
    plan = bt.schedules.wsd(peak=1e-3, total=1200, decay=0.5)
    loss = LAW - 0.4 * (1.0 - plan.lr(STEP) / plan.peak) ** 0.7
    assert after_bend(STEP, loss, plan) == 0
