"""What money buys, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayes_tsl as bt
from bayes_tsl.decisions.budgets import cvar
from tests.by_hand import TEN, WILD, forecast_of
from tests.conftest import refusal

PRICE = bt.Cost(per_step=2.0, fixed=10.0)
HOURLY = bt.Cost(per_hour=3.0, seconds_per_step=3600.0, deadline=20.0)  # an hour a step: until step 25


def test_the_curve_of_budgets() -> None:
    curve = bt.budget_curve(TEN, PRICE, target=3.5, prob=0.8)
    assert list(curve) == ["step", "tokens", "hours", "cost", "mean", "lower", "upper", "prob_reached"]
    np.testing.assert_allclose(curve["cost"], [20.0, 40.0, 60.0])
    np.testing.assert_allclose(curve["mean"], [4.0, 3.775, 3.55])
    np.testing.assert_allclose(curve["upper"], TEN.interval(prob=0.8)["upper"])
    np.testing.assert_allclose(curve["prob_reached"], [0.0, 0.0, 0.5])
    assert "prob_reached" not in bt.budget_curve(TEN, PRICE)


def test_a_deadline_ends_the_curve() -> None:
    curve = bt.budget_curve(TEN, HOURLY)
    np.testing.assert_allclose(curve[["step", "hours", "cost"]], [[10, 5, 15], [20, 15, 45], [25, 20, 60]])
    assert curve["mean"].iloc[-1] == pytest.approx(3.6625)  # half way between the means at 20 and 30


def test_the_smallest_budget() -> None:
    enough = bt.smallest_budget(TEN, PRICE, target=3.5, prob=0.4)
    assert enough.step == pytest.approx(20 + 10 * 0.2 / 0.3)  # the fourth draw falls from 3.7 to 3.4
    assert enough.cost == pytest.approx(10 + 2 * (enough.step - 5))
    assert bt.at_budget(TEN, PRICE, enough.cost).step == pytest.approx(enough.step)
    beyond = bt.smallest_budget(TEN, PRICE, target=3.5, prob=0.6)
    assert (beyond.cost, beyond.step, beyond.hours) == (np.inf, np.inf, np.inf)
    cure = "Consider later ends, or a lower probability"
    assert str(beyond) == f"no budget that ends by step 30 is enough. {cure}"
    assert str(bt.smallest_budget(TEN, HOURLY, target=3.5, prob=0.5)) == f"no budget that ends by step 25 is enough. {cure}"


def test_what_a_budget_buys() -> None:
    bought = bt.at_budget(TEN, PRICE, 60.0, tail=0.2)
    assert (bought.step, bought.mean, bought.cvar) == (30.0, pytest.approx(3.55), pytest.approx(3.95))
    assert bt.at_budget(TEN, PRICE, 60.0, tail=0.25).cvar == pytest.approx((4.0 + 3.9 + 0.5 * 3.8) / 2.5)
    assert bt.at_budget(TEN, PRICE, 50.0).mean == pytest.approx(3.6625)
    assert str(bought) == "a budget of 60 buys step 30: expected loss 3.5500, 3.9500 on average in the worst 20%"
    assert str(bt.at_budget(TEN, HOURLY, 45.0)).startswith("a budget of 45 buys step 20, 15 hours: expected loss 3.7750, ")


@given(st.lists(st.floats(1.0, 10.0), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_cvar_is_the_minimum_of_rockafellar_and_uryasev(losses: list[float], tail: float) -> None:
    draws = np.array(losses)
    reached = [at + np.maximum(draws - at, 0.0).mean() / tail for at in draws]  # piecewise straight, with corners at draws
    assert cvar(draws, tail=tail) == pytest.approx(min(reached))


@given(st.lists(st.floats(2.0, 4.0), min_size=2, max_size=8), st.floats(0.05, 0.95))
def test_an_easier_target_costs_no_more(targets: list[float], prob: float) -> None:
    costs = np.array([bt.smallest_budget(WILD, PRICE, target=target, prob=prob).cost for target in sorted(targets)])
    assert (costs[1:] <= costs[:-1] + 1e-9).all()
    curve = bt.budget_curve(WILD, PRICE, target=targets[0])
    enough = bt.smallest_budget(WILD, PRICE, target=targets[0], prob=prob).cost
    assert (np.diff(curve["prob_reached"]) >= 0).all()
    assert (curve["prob_reached"][curve["cost"] >= enough] >= prob - 1e-9).all()
    assert (curve["prob_reached"][curve["cost"] < enough - 1e-9] < prob).all()


def test_the_gain_of_the_next_steps_is_paired() -> None:
    gain = bt.marginal_gain(TEN, PRICE, share=0.5, prob=0.8)
    assert list(gain) == ["start", "step", "cost", "drop", "gain", "lower", "upper", "prob_gain"]
    np.testing.assert_allclose(gain[["start", "step", "cost"]], [[10, 20, 20], [20, 30, 20]])
    np.testing.assert_allclose(gain["drop"], [0.225, 0.225])
    np.testing.assert_allclose(gain["gain"], 0.225 / 20)
    drops = 0.5 - 0.05 * np.arange(1, 11)
    np.testing.assert_allclose(gain["lower"], np.quantile(drops, 0.1) / 20)
    np.testing.assert_allclose(gain["prob_gain"], 0.9)  # the tenth draw stays where it is
    uneven = bt.marginal_gain(TEN, PRICE, share=0.3)
    np.testing.assert_allclose(uneven["step"], [16, 22, 28, 30])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda ahead: bt.budget_curve(ahead, replace(HOURLY, deadline=4.0)),
            "deadline must allow for the first forecast step 10, 5 hours away; got 4. Forecast earlier steps.",
        ),
        (
            lambda ahead: bt.at_budget(ahead, PRICE, 70),
            "budget must lie between 20 and 60, which buy steps 10 and 30; got 70. "
            "Forecast earlier or later steps, or spend another amount.",
        ),
        (
            lambda ahead: bt.at_budget(ahead, PRICE, "all"),
            "budget must be a number above 0; got 'all'. It is an amount of money.",
        ),
        (
            lambda ahead: bt.at_budget(ahead, PRICE, 50, tail=10),
            "tail must lie between 0 and 1; got 10. 0.1 is the worst tenth.",
        ),
        (
            lambda ahead: bt.smallest_budget(ahead, PRICE, target=1.0, tail=10),
            "tail must lie between 0 and 1; got 10. 0.1 is the worst tenth.",
        ),
        (
            lambda ahead: bt.budget_curve(ahead, PRICE, prob=90),
            "prob must lie between 0 and 1; got 90. 0.9 is a 90 % interval.",
        ),
        (lambda ahead: bt.marginal_gain(ahead, PRICE, share=10), "share must lie between 0 and 1; got 10. 0.1 is a tenth."),
        (
            lambda ahead: bt.marginal_gain(forecast_of([[3.0]], [10.0]), PRICE),
            "forecast must have two steps or more; got 10 alone. Forecast the steps between too.",
        ),
    ],
)
def test_a_budget_that_cannot_be_is_refused(ask, message: str) -> None:
    with refusal(message):
        ask(TEN)


def test_a_cost_shows_what_was_given() -> None:
    cost = bt.Cost(per_hour=24.0, seconds_per_step=6.0, deadline=2.0)
    assert repr(cost) == "Cost(per_hour=24.0, seconds_per_step=6.0, deadline=2.0)"
    assert eval(repr(cost), {"Cost": bt.Cost}) == cost
