"""What budgets buy where each is planned anew."""

from __future__ import annotations

import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl.inference.posterior import example_fit
from tests.conftest import refusal

COST = bt.Cost(per_hour=24.0, seconds_per_step=6.0)
ENDS = [1500, 1750, 2000, 2250, 2500]


@pytest.fixture(scope="module")
def frontier() -> bt.Frontier:
    return bt.budget_frontier(example_fit(), COST, ends=ENDS, target=3.5)


def test_larger_budgets_buy_lower_losses_and_more_assurance_costs_more(frontier: bt.Frontier) -> None:
    table = frontier.table
    assert table["end"].tolist() == ENDS
    np.testing.assert_allclose(table["cost"], COST.money(np.array(ENDS) - 1200.0))
    assert (np.diff(table["loss_0.5"]) < 0).all()
    assert (table["loss_0.9"] > table["loss_0.5"]).all()
    assert (np.diff(table["prob_below"]) >= 0).all()


def test_a_planned_end_is_lower_than_that_of_the_fixed_schedule(frontier: bt.Frontier) -> None:
    fixed = bt.forecast(example_fit(), steps=ENDS).quantile(0.5, kind="expected").to_numpy()
    assert (frontier.table["loss_0.5"] < fixed).all()


def test_losses_are_those_of_the_plans(frontier: bt.Frontier) -> None:
    row = frontier.table.iloc[-1]
    assert np.quantile(frontier.losses[row["plan_0.9"]], 0.9) == row["loss_0.9"]
    assert np.mean(frontier.losses[row["plan_target"]] < 3.5) == row["prob_below"]
    assert frontier.schedules[row["plan_0.9"]].end == 2500


def test_smallest_budget_is_the_first_that_is_sure_enough(frontier: bt.Frontier) -> None:
    table = frontier.table
    for prob in (0.3, 0.6):
        budget = frontier.smallest(prob)
        enough = table[table["prob_below"] >= prob]
        assert budget.step == enough["end"].iloc[0]
        assert budget.cost == enough["cost"].iloc[0]
        assert budget.cvar >= budget.mean
    none = "no budget that ends by step 2500 is enough. Consider later ends, or a lower probability"
    assert str(frontier.smallest(0.9999)) == f"NOT CONVERGED, do not act on this: {none}"


def test_a_deadline_and_bad_input_are_said() -> None:
    hurried = bt.Cost(per_step=1.0, seconds_per_step=3600.0, deadline=10.0)
    with refusal("end must come before the deadline, at step 1210; got 2500. End earlier, or raise the deadline."):
        bt.budget_frontier(example_fit(), hurried, ends=ENDS)
    with refusal("steps must lie after the origin 1200; got 1000. Use Fit.coefficients() for the past."):
        bt.budget_frontier(example_fit(), COST, ends=[1000, 2000])
    with refusal("probs must lie between 0 and 1; got 2. 0.9 is a 90 % interval."):
        bt.budget_frontier(example_fit(), COST, ends=ENDS, probs=(2.0,))
    with refusal("target must be given; got None. Give budget_frontier(target=...)."):
        bt.budget_frontier(example_fit(), COST, ends=[2000]).smallest()
