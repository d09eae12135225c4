"""Stop or go on: a decision by hand, and those of a short fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import bayes_tsl as bt
from tests.by_hand import DIMS
from tests.conftest import ORIGIN, refusal

FINE = bt.Cost(per_step=0.01, fixed=1.0)
STOPS = (4400.0, 5000.0, 6000.0, 8000.0)


@pytest.fixture(scope="module")
def stopping(short_fit: bt.Fit) -> bt.Stopping:
    return bt.stop_or_continue(short_fit, FINE, value=100.0, steps=STOPS)


def by_hand(*utility: list[float]) -> bt.Stopping:
    """Stopping at 10, 20 or 30 with these draws of utility."""
    draws = xr.DataArray([list(utility)], {"step": [10.0, 20.0, 30.0]}, DIMS)
    return bt.Stopping(losses=4.0 - 0.1 * draws, utility=draws, cost=bt.Cost(per_step=2.0, fixed=10.0), plans=bt.WhatIf({}, {}))


def test_regret_is_counted_draw_by_draw() -> None:
    one = by_hand([0.0, 5.0, 3.0], [0.0, -1.0, 2.0])
    table = one.to_frame()
    np.testing.assert_allclose(table["utility"], [0.0, 2.0, 2.5])
    np.testing.assert_allclose(table["prob_best"], [0.0, 0.5, 0.5])
    np.testing.assert_allclose(table["regret"], [3.5, 1.5, 1.0])
    np.testing.assert_allclose(table["cost"], [0.0, 30.0, 50.0])
    assert one.recommended == 30.0
    assert one.evpi == pytest.approx(1.0)
    assert (
        str(one)
        == one.reason
        == (
            "go on to step 30, the last one considered, which is worth 2.5 (2.05 to 2.95, 90% interval) against stopping now; "
            "50% likely to be the best of 3 steps, expected regret 1"
        )
    )
    assert by_hand([0.0, -1.0, -2.0]).reason == (
        "stop now: going on to step 20 is worth -1 (-1 to -1, 90% interval) against stopping now; "
        "over 99% likely to be the best of 3 steps, expected regret 0"
    )


def test_the_act_names_the_decay_that_was_compared() -> None:
    one = by_hand([0.0, 5.0, 3.0])
    assert one.act == "decay from step 18 to 0 by step 20, then stop"
    assert replace(one, decay=1.0, final=2e-4).act == "decay now to 0.0002 by step 20, then stop"
    assert by_hand([0.0, -1.0, -2.0]).act == "stop now, at step 10"


def test_stopping_now_is_what_all_is_measured_by(stopping: bt.Stopping) -> None:
    table = stopping.to_frame()
    assert list(table["step"]) == [ORIGIN, *STOPS]
    assert (table.loc[0, ["cost", "utility", "utility_lower", "utility_upper"]] == 0.0).all()
    gained = 100.0 * (stopping.losses[..., 0] - stopping.losses)
    np.testing.assert_allclose(stopping.utility, gained - table["cost"].to_numpy(), atol=1e-9)
    assert table["prob_best"].sum() == pytest.approx(1.0)
    assert stopping.evpi == pytest.approx(table.set_index("step").loc[stopping.recommended, "regret"])


def test_a_checkpoint_is_worth_what_a_choice_by_its_reading_earns() -> None:
    rng = np.random.default_rng(0)
    sign = rng.choice([-1.0, 1.0], 4000)
    one = by_hand(*np.column_stack([np.zeros(4000), sign, -sign]).tolist())

    def after(reading: np.ndarray, *still_open: float) -> bt.Stopping:
        return replace(one, reading=xr.DataArray([reading], dims=DIMS[:2]), still_open=still_open)

    assert after(sign + rng.normal(0.0, 0.1, 4000), 20.0, 30.0).value_of_waiting == pytest.approx(one.evpi, abs=0.05)
    best = float(one.utility.mean(("chain", "draw")).max())
    assert after(rng.normal(size=4000), 20.0, 30.0).value_of_waiting == pytest.approx(-best, abs=0.05)
    assert after(sign, 30.0).value_of_waiting == pytest.approx(float(one.utility[..., 2].mean()) - best)
    with refusal("checkpoint must be named; got None. Give stop_or_continue(checkpoint=...)."):
        _ = one.value_of_waiting


def test_old_names_warn() -> None:
    one = by_hand([0.0, 5.0, 3.0], [0.0, -1.0, 2.0])
    message = r"^perfect_information is now called evpi; the old name goes with the next version\.$"
    with pytest.warns(DeprecationWarning, match=message):
        assert one.perfect_information == one.evpi
    one = replace(one, reading=xr.DataArray([[0.0, 1.0]], dims=DIMS[:2]), still_open=(20.0, 30.0))
    message = r"^waiting is now called value_of_waiting; the old name goes with the next version\.$"
    with pytest.warns(DeprecationWarning, match=message):
        assert one.waiting == one.value_of_waiting


def test_waiting_for_a_checkpoint(short_fit: bt.Fit, stopping: bt.Stopping) -> None:
    informed = bt.stop_or_continue(short_fit, FINE, value=100.0, steps=STOPS, checkpoint=4400.0)
    assert informed.still_open == STOPS[1:]  # a decay to 4400 has begun at 4320
    assert -FINE.money(400) - 100.0 < informed.value_of_waiting <= informed.evpi + 0.1
    ahead = bt.forecast(short_fit, steps=[4400.0]).observed
    assert informed.reading is not None
    assert float(informed.reading.std()) == pytest.approx(float(ahead.std()), rel=0.2)
    assert informed.to_frame().shape == stopping.to_frame().shape


def test_each_stop_has_a_decay_of_its_own(short_fit: bt.Fit, stopping: bt.Stopping) -> None:
    schedule = bt.schedules.decayed(short_fit.schedule, start=5600.0, total=6000.0)
    alone = bt.forecast(short_fit, steps=[6000.0], schedule=schedule).expected
    assert float(alone.mean()) == pytest.approx(float(stopping.losses.sel(step=6000.0).mean()), abs=3e-3)
    ends = stopping.plans.ends()
    assert list(ends.index) == ["as planned", "recommended", "decay now", "decay at 80 %"]
    assert (ends["step"] == stopping.plans.forecasts["as planned"].steps[-1]).all()
    assert ends.loc["decay at 80 %", "gain"] > 0
    best = stopping.losses.sel(step=stopping.recommended).mean()
    assert float(ends.loc["recommended", "mean"]) == pytest.approx(float(best), abs=1e-3)  # the drift is drawn at other steps
    now = bt.stop_or_continue(short_fit, FINE, value=100.0, steps=STOPS, decay=1)
    assert float((now.losses - stopping.losses).sel(step=6000.0).std()) > 0


def test_a_loss_worth_more_is_trained_for_longer(short_fit: bt.Fit) -> None:
    values = (0.1, 20.0, 60.0, 200.0, 1e5)
    steps = [bt.stop_or_continue(short_fit, FINE, value=value, steps=STOPS).recommended for value in values]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (ORIGIN, STOPS[-1])


def test_a_value_may_be_a_function_of_the_loss(short_fit: bt.Fit, stopping: bt.Stopping) -> None:
    same = bt.stop_or_continue(short_fit, FINE, value=lambda loss: 1e3 - 100.0 * loss, steps=STOPS)
    xr.testing.assert_allclose(same.utility, stopping.utility)
    prize = bt.stop_or_continue(short_fit, FINE, value=lambda loss: 1e6 * (loss < 0.1), steps=STOPS)
    assert prize.recommended == ORIGIN


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": -1}, "value must be a number above 0; got -1. It is money per nat per token, or a function of the loss."),
        (
            {"value": lambda loss: loss[:1, :1] * np.nan},
            "value must give a finite number for every loss; got nan. It maps an array of losses to money.",
        ),
        (
            {"decay": 0},
            "decay must lie between 0 and 1; got 0. It is the share of the way that the decay takes; 1 is now.",
        ),
        ({"steps": [4000]}, "steps must lie after the origin 4000; got 4000. Use Fit.coefficients() for the past."),
        (
            {"steps": [9000]},
            "schedule must reach the last forecast step 9000; got 8000. "
            "Give a schedule for the whole forecast, or forecast fewer steps.",
        ),
        (
            {"cost": bt.Cost(per_step=1.0, seconds_per_step=3.6, deadline=1.5)},
            "steps must come before the deadline, 1.5 hours after step 4000; got 6000, 8000. Leave them out.",
        ),
        (
            {"checkpoint": 8000},
            "checkpoint must come before the last decay begins, at step 7200; got 8000. Name an earlier one, or decay later.",
        ),
        (
            {"checkpoint": 4000},
            "checkpoint must be a number above 4000; got 4000. It is the step at which the loss will be measured next.",
        ),
        ({"seed": -1}, "seed must be a whole number from 0 to 9223372036854775807; got -1. Any such number will do, e.g. 0."),
        (
            {"schedule": 1e-3},
            "schedule must be a Schedule; got 'float'. "
            "Make one with schedules.cosine(...), schedules.parse('cosine:...') or schedules.from_frame(table).",
        ),
    ],
)
def test_what_cannot_be_decided_is_refused(short_fit: bt.Fit, arguments: dict, message: str) -> None:
    usual = {"cost": FINE, "value": 100.0, "steps": STOPS}
    with refusal(message):
        bt.stop_or_continue(short_fit, **(usual | arguments))
