"""Prices turn steps into money and back."""

from __future__ import annotations

import numpy as np
import pytest

import bayes_tsl as bt
from tests.conftest import refusal


@pytest.mark.parametrize(
    "cost",
    [
        bt.Cost(per_step=2.0, fixed=10.0),
        bt.Cost(per_token=0.002, tokens_per_step=1000.0, fixed=10.0),
        bt.Cost(per_hour=4.0, seconds_per_step=1800.0, fixed=10.0),
    ],
)
def test_a_price_turns_steps_into_money_and_back(cost: bt.Cost) -> None:
    assert cost.step_price == pytest.approx(2.0)
    np.testing.assert_allclose(cost.money([0.0, 1.0, 25.0]), [0.0, 12.0, 60.0])
    np.testing.assert_allclose(cost.steps([0.0, 10.0, 60.0]), [0.0, 0.0, 25.0])
    steps = np.linspace(1.0, 1e6, 50)
    np.testing.assert_allclose(cost.steps(cost.money(steps)), steps)


def test_other_units_are_known_where_they_were_given() -> None:
    both = bt.Cost(per_step=1.0, seconds_per_step=1800.0, tokens_per_step=512.0)
    assert (both.hours(3.0), both.tokens(3.0), both.most_steps) == (1.5, 1536.0, np.inf)
    neither = bt.Cost(per_step=2.0)
    assert np.isnan([neither.hours(3.0), neither.tokens(3.0)]).all()
    assert bt.Cost(per_hour=3.0, seconds_per_step=3600.0, deadline=20.0).most_steps == 20.0


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: bt.Cost(),
            "cost must have exactly one price of 'per_step', 'per_token', 'per_hour'; got none. Give one of them.",
        ),
        (
            lambda: bt.Cost(per_step=1.0, per_hour=1.0),
            "cost must have exactly one price of 'per_step', 'per_token', 'per_hour'; "
            "got 'per_step', 'per_hour'. Give one of them.",
        ),
        (lambda: bt.Cost(per_step=-1), "per_step must be a number above 0; got -1. Leave it out, or give what it is."),
        (
            lambda: bt.Cost(per_token=1.0),
            "tokens_per_step must be given with per_token; got None. It turns steps into tokens or hours.",
        ),
        (
            lambda: bt.Cost(per_hour=1.0),
            "seconds_per_step must be given with per_hour; got None. It turns steps into tokens or hours.",
        ),
        (
            lambda: bt.Cost(per_step=1.0, deadline=2.0),
            "seconds_per_step must be given with deadline; got None. It turns steps into tokens or hours.",
        ),
        (lambda: bt.Cost(per_step=1.0, fixed=-1), "fixed must be a number above 0; got -1. Leave it out if there is none."),
    ],
)
def test_a_cost_that_cannot_be_is_refused(ask, message: str) -> None:
    with refusal(message):
        ask()
