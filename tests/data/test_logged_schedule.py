"""Learning rates in the losses are the schedule of the past where none is given, and what follows is assumed and stated."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.data.logged_schedule import schedule_so_far
from bayes_tsl.data.schedules import assumptions
from bayes_tsl.inference.posterior import example_fit
from bayes_tsl.inference.run_inputs import schedules_of
from bayes_tsl.model.design import make_design

STEPS = np.arange(100.0, 1001.0, 100.0)
NOTICE = (
    "The learning rate is the one that was logged (column lr) until step 1000, and assumed constant at 0.0005 after it: "
    "a decay ahead is not foreseen."
)


def table(lr: object, **columns: object) -> bt.LossTable:
    return bt.LossTable.from_frame(pd.DataFrame({"step": STEPS, "loss": 3.0 + 90.0 / STEPS, "lr": lr, **columns}))


def falling() -> bt.LossTable:
    return table(np.linspace(1e-3, 5e-4, len(STEPS)))


def test_logged_rates_are_the_past_and_the_last_one_stays() -> None:
    [schedule] = schedules_of(falling(), None).values()
    assert schedule.lr([100, 550, 1000, 5000]).round(9).tolist() == [1e-3, 7.5e-4, 5e-4, 5e-4]
    assert (schedule.known, schedule.end, schedule.assumed_after) == (True, np.inf, 1000.0)
    assert assumptions(schedule) == (NOTICE,)
    assert make_design(falling(), schedule)[1][0] == NOTICE


def test_a_schedule_that_is_given_counts() -> None:
    [schedule] = schedules_of(falling(), "constant:peak=1e-3").values()
    assert schedule.lr(1000) == 1e-3
    assert assumptions(schedule) == ()


def test_each_run_has_its_own_logged_rates() -> None:
    parts = [falling().frame.assign(run=run, lr=lr) for run, lr in (("a", 1e-3), ("b", 2e-3))]
    found = schedules_of(bt.LossTable.from_frame(pd.concat(parts)), None)
    assert {run: float(plan.lr(2000)) for run, plan in found.items()} == {"a": 1e-3, "b": 2e-3}


def test_rates_after_the_last_loss_are_not_used() -> None:
    rates = pd.DataFrame({"run": "run", "step": [0.0, 500.0, 1000.0], "lr": [1e-3, 1e-3, 0.0]})
    early = replace(falling().until(500), rates=rates)
    assert schedule_so_far(early).lr([500, 900]).tolist() == [1e-3, 1e-3]


def test_without_logged_rates_the_schedule_is_unknown() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not schedule_so_far(table(np.nan)).known


@pytest.mark.parametrize(
    ("lr", "reason"),
    [
        ([1e-3, *[np.nan] * 9], "column lr must have at least two rows; got 1. Give the first and the last step."),
        (0.0, "column lr must have a positive lr somewhere; got 0. Check the unit."),
        ([1e-3] * 5 + [np.nan] * 5, "column lr must reach the last loss at step 1000; got 500."),
    ],
)
def test_logged_rates_that_cannot_be_used_are_named(lr: object, reason: str) -> None:
    with pytest.warns(bt.Notice) as caught:
        assert not schedule_so_far(table(lr)).known
    assert [str(one.message) for one in caught] == [f"Learning rates were logged and are not used: {reason}"]


def test_a_backtest_uses_no_rates_that_were_logged() -> None:
    scores = bt.backtest(falling(), prefixes=[0.6], forecasters=["last-value"], progress=False)
    assert bt.schedules.UNKNOWN in scores["notes"].iloc[0]


def test_a_forecast_drops_the_assumption_where_a_plan_is_given() -> None:
    fit = example_fit()
    [notice] = assumptions(replace(fit.schedule, assumed_after=1200.0))
    data = fit.data.copy()
    data.attrs |= {"schedule_assumed_after": 1200.0, "notices": json.dumps(["first", notice])}
    assumed = bt.Fit(data)
    assert bt.forecast(assumed, [2000]).notices[:2] == ("first", notice)
    planned = bt.forecast(assumed, [2000], schedule="linear:peak=2e-3,total=2500").notices
    assert planned[0] == "first"
    assert notice not in planned
