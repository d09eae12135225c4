"""What-if on schedules: paired forecasts under several plans."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

import bayes_tsl as bt
from tests.conftest import ORIGIN, STEPS

AHEAD = STEPS[STEPS > ORIGIN]


@pytest.fixture(scope="module")
def plans(mean_fit: bt.Fit) -> bt.WhatIf:
    now = bt.schedules.decayed(mean_fit.schedule, start=ORIGIN, total=6000)
    late = bt.schedules.decayed(mean_fit.schedule, start=7000, total=8000)
    return bt.what_if(mean_fit, {"planned": None, "now": now, "late": late}, steps=AHEAD)


def test_each_plan_is_forecast_where_it_leads(plans: bt.WhatIf) -> None:
    frame = plans.to_frame()
    assert set(frame.groupby("plan")["step"].max().items()) == {("planned", 8000.0), ("now", 6000.0), ("late", 8000.0)}
    assert frame.loc[frame["plan"] == "now", "lr"].iloc[-1] == 0.0


def test_one_plan_alone_is_the_forecast(mean_fit: bt.Fit, plans: bt.WhatIf) -> None:
    alone = bt.what_if(mean_fit, {"planned": None}, steps=AHEAD).forecasts["planned"]
    xr.testing.assert_identical(alone.observed, bt.forecast(mean_fit, steps=AHEAD).observed)
    np.testing.assert_allclose(alone.expected.mean(), plans.forecasts["planned"].expected.mean(), atol=3e-3)


def test_a_decay_pays_at_once_and_plans_agree_before_they_part(plans: bt.WhatIf) -> None:
    planned, now, late = (plans.forecasts[name].expected for name in ("planned", "now", "late"))
    at_6000 = {name: draws.sel(step=6000.0) for name, draws in (("planned", planned), ("now", now))}
    assert float((at_6000["now"] < at_6000["planned"]).mean()) > 0.9
    xr.testing.assert_allclose(planned.sel(step=slice(0, 7000)), late.sel(step=slice(0, 7000)), atol=1e-6)


def test_ends_are_paired(plans: bt.WhatIf) -> None:
    ends = plans.ends(prob=0.9)
    assert list(ends.loc["planned", ["gain", "prob_lower"]]) == [0.0, 0.0]
    assert ends["prob_lowest"].sum() == pytest.approx(1.0)
    paired = ends.loc["late", "gain_upper"] - ends.loc["late", "gain_lower"]
    alone = ends.loc["late", "upper"] - ends.loc["late", "lower"]
    assert paired < 0.8 * alone


def test_the_picture_shows_every_plan(plans: bt.WhatIf) -> None:
    mpl.use("agg")
    upper, gain, lower = bt.plot_what_if(plans)
    ends = plans.ends(prob=0.9)
    assert {text.get_text().partition("\n")[0] for text in upper.texts} == {"planned", "now", "late"}
    late = next(line for line in gain.lines if line.get_linestyle() == "-.")
    assert late.get_ydata()[-1] == pytest.approx(ends.loc["late", "gain"], abs=0.2 * ends.loc["late", "gain_upper"])
    assert len(lower.get_lines()) == 4  # three plans and the origin
    assert bt.plot_what_if(plans, ax=[upper, lower]) == [upper, lower]
    with pytest.raises(bt.DataError, match="ax must hold 2 axes"):
        bt.plot_what_if(plans, ax=[upper])


def test_plans_that_cannot_be_compared_are_refused(mean_fit: bt.Fit) -> None:
    short = bt.schedules.decayed(mean_fit.schedule, start=ORIGIN, total=ORIGIN + 10)
    with pytest.raises(bt.DataError, match="plan 'short' must reach the first forecast step 4200; got 4010"):
        bt.what_if(mean_fit, {"short": short}, steps=AHEAD)
    with pytest.raises(bt.DataError, match="plans must name at least one plan"):
        bt.what_if(mean_fit, {}, steps=AHEAD)


@pytest.mark.parametrize(
    ("start", "total", "final", "said"),
    [
        (500, 400, 0.0, "total must exceed the start 500; got 400"),
        (3000, 4000, 0.0, "start must lie before the end of the plan 2500; got 3000"),
        (500, 1000, 1.0, "final must lie between 0 and the peak 0.002; got 1"),
    ],
)
def test_a_decay_that_cannot_be_is_refused(start: float, total: float, final: float, said: str) -> None:
    plan = bt.schedules.cosine(peak=2e-3, total=2500)
    with pytest.raises(bt.DataError, match=said):
        bt.schedules.decayed(plan, start=start, total=total, final=final)
