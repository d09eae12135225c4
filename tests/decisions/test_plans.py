"""The best rest of a run."""

from __future__ import annotations

import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl._common.intervals import draws_last
from bayes_tsl.decisions.plans import AS_PLANNED, NEAR
from bayes_tsl.forecasting.predict import losses_at_ends
from bayes_tsl.inference.posterior import example_fit
from tests.conftest import refusal

STANDARD = ["decay now", "cosine to a tenth", "decay over the last fifth"]  # in the order of the grid
FEW = {"starts": (0.0, 0.5, 0.8), "finals": (0.0, 0.1), "shapes": ("linear", "cosine")}


@pytest.fixture(scope="module")
def best() -> bt.BestPlan:
    return bt.best_plan(example_fit(), end=2500, **FEW)


def test_every_plan_holds_the_rate_and_then_decays(best: bt.BestPlan) -> None:
    fit = example_fit()
    now = float(fit.schedule.lr(fit.origin))
    assert len(best.candidates) == 1 + 3 * 2 * 2
    for name, row in best.candidates.drop(index=AS_PLANNED).iterrows():
        schedule = best.schedules[str(name)]
        np.testing.assert_allclose(schedule.lr([800, 1200]), fit.schedule.lr([800, 1200]))
        np.testing.assert_allclose(schedule.lr([max(row["start"], 1201)]), now, rtol=2e-3)
        assert schedule.lr(2500) == pytest.approx(row["final"], abs=1e-12)
    assert best.schedules[AS_PLANNED].text == fit.schedule.text


def test_ends_are_those_of_forecasts(best: bt.BestPlan) -> None:
    """Whose time axis is made step by step; drift ahead is drawn on another grid."""
    plans = {str(name): best.schedules[str(name)] for name in best.candidates.index}
    ends = bt.what_if(example_fit(), plans, steps=[2500]).ends()
    np.testing.assert_allclose(best.to_frame().loc[list(plans), "mean"], ends["mean"], atol=0.005)


def test_the_same_plan_twice_has_the_same_draws() -> None:
    plan = bt.schedules.decayed(example_fit().schedule, start=1500, total=2500)
    draws = losses_at_ends(example_fit(), [plan, plan], [2500, 2500], seed=1)
    np.testing.assert_array_equal(draws[..., 0], draws[..., 1])


def test_best_has_the_lowest_mean_and_no_plan_is_behind_itself(best: bt.BestPlan) -> None:
    table = best.to_frame(target=3.5)
    assert table.index[0] == best.name == table["mean"].idxmin()
    assert table.loc[best.name, ["behind", "behind_lower", "behind_upper"]].tolist() == [0.0] * 3
    assert table.loc[best.name, "near"] == 1.0
    assert (table["lower"] < table["mean"]).all()
    assert (table["worst"] > table["mean"]).all()
    assert table["prob_lowest"].sum() == pytest.approx(1.0)
    np.testing.assert_allclose(table["prob_below"], (draws_last(best.losses.sel(plan=list(table.index))) < 3.5).mean(axis=1))
    assert best.near(10.0).eq(1.0).all()
    np.testing.assert_allclose(best.near(NEAR).loc[table.index], table["near"])


def test_best_is_compared_with_what_people_do(best: bt.BestPlan) -> None:
    table = best.against()
    assert list(table.index) == [AS_PLANNED, *STANDARD]
    means = best.to_frame()["mean"]
    np.testing.assert_allclose(table["gain"], means.loc[table.index] - means[best.name])


def test_objectives_differ_in_what_they_ask() -> None:
    fit = example_fit()
    by_mean, by_tail = bt.best_plan(fit, end=2500, **FEW), bt.best_plan(fit, end=2500, tail=0.1, **FEW)
    by_target = bt.best_plan(fit, end=2500, target=3.4, **FEW)
    assert by_tail.to_frame()["worst"].idxmin() == by_tail.name
    assert by_target.to_frame(target=3.4)["prob_below"].idxmax() == by_target.name
    assert [one.objective for one in (by_mean, by_tail, by_target)] == [
        "expected loss",
        "mean loss in the worst 10% of draws",
        "probability to end below 3.4",
    ]


def test_a_target_out_of_reach_is_said_and_one_that_is_sure_leaves_the_lowest_loss() -> None:
    by_mean = bt.best_plan(example_fit(), end=2500, **FEW)
    never, always = (bt.best_plan(example_fit(), end=2500, target=target, **FEW) for target in (1.0, 5.0))
    assert never.name == always.name == by_mean.name
    assert "No plan ends below 1 in any draw: the one with the lowest expected loss is given." in never.notices
    assert not any("in any draw" in notice for notice in always.notices)


def test_money_ends_a_run_early_where_steps_are_dear() -> None:
    ends = {}
    for price in (1e-6, 100.0):
        found = bt.best_plan(example_fit(), end=2500, cost=bt.Cost(per_step=price), value=100.0, **FEW)
        ends[price] = found.candidates.loc[found.name, "end"]
        assert set(found.candidates["end"]) == {1460.0, 1720.0, 1980.0, 2240.0, 2500.0}
    assert ends[100.0] == 1460.0
    assert ends[1e-6] > ends[100.0]
    assert [name.partition(",")[0] for name in found.against().index] == [AS_PLANNED, *STANDARD]


def test_a_plan_says_what_to_do(best: bt.BestPlan) -> None:
    assert not best.converged
    assert str(best) == f"NOT CONVERGED, do not act on this: {best.reason}"
    assert "and end at step 2500" in best.reason
    assert f"expected within {NEAR} nats of it" in best.reason


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"end": 1000}, "end must be a number above 1200; got 1000. It is the last step that the budget allows."),
        (
            {"target": 3.5, "tail": 0.1},
            "objective must be one of target, tail and value; got 'target', 'tail'. Leave the others out.",
        ),
        ({"value": 10.0}, "cost must be given with value; got None. Give bt.Cost(...)."),
        ({"starts": ()}, "starts must be shares from 0 to 1; got none. 0.8 is four fifths; a start lies below 1."),
        ({"starts": (1.0,)}, "starts must be shares from 0 to 1; got 1. 0.8 is four fifths; a start lies below 1."),
        ({"shapes": ()}, "shapes must name at least one; got 'none'. linear is usual."),
        ({"shapes": ("step",)}, "shape must be one of 'linear', 'cosine', '1-sqrt'; got 'step'."),
        (
            {"cost": bt.Cost(per_hour=1.0, seconds_per_step=3600.0, deadline=10.0)},
            "end must come before the deadline, at step 1210; got 2500. End earlier, or raise the deadline.",
        ),
        ({"target": -1.0}, "target must be a number above 0; got -1. It is a loss in nats per token."),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments: dict[str, object], message: str) -> None:
    with refusal(message):
        bt.best_plan(example_fit(), **{"end": 2500} | FEW | arguments)
