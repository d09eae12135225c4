"""Prices turn steps into money and back."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

import bayes_tsl as bt
from bayes_tsl.reporting.content import _gain_text
from tests.by_hand import TEN
from tests.conftest import refusal


@pytest.mark.parametrize(
    "cost",
    [
        bt.Cost(per_step=2.0, fixed=10.0),
        bt.Cost(per_token=0.002, tokens_per_step=1000.0, fixed=10.0),
        bt.Cost(per_hour=4.0, seconds_per_step=1800.0, fixed=10.0),
        bt.Cost(per_gpu_hour=0.5, gpus=8, seconds_per_step=1800.0, fixed=10.0),
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
            "cost must have exactly one price of 'per_step', 'per_token', 'per_hour', 'per_gpu_hour'; got none. "
            "Give one of them.",
        ),
        (
            lambda: bt.Cost(per_step=1.0, per_hour=1.0),
            "cost must have exactly one price of 'per_step', 'per_token', 'per_hour', 'per_gpu_hour'; "
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
        (
            lambda: bt.Cost(per_gpu_hour=1.0, seconds_per_step=1.0),
            "gpus must be given with per_gpu_hour; got None. It is how many of them train.",
        ),
        (lambda: bt.Cost(per_step=1.0, currency=" "), "currency must be the name of one; got ' '. Give e.g. 'USD'."),
        (lambda: bt.Cost(per_step=1.0, fixed=-1), "fixed must be a number above 0; got -1. Leave it out if there is none."),
    ],
)
def test_a_cost_that_cannot_be_is_refused(ask, message: str) -> None:
    with refusal(message):
        ask()


def test_money_is_printed_with_its_currency() -> None:
    cost = bt.Cost(per_step=0.01, currency="USD")
    assert str(bt.at_budget(TEN, cost, 0.15)).startswith("a budget of 0.15 USD buys step 20: ")
    assert bt.smallest_budget(TEN, cost, target=1.0).currency == "USD"
    losses = TEN.expected.isel(step=[0, 2])
    utility = (100.0 * (losses.isel(step=0) - losses)).transpose(*losses.dims)
    stopping = bt.Stopping(losses, utility, cost, bt.WhatIf({"as planned": TEN}, {}))
    worth = r"worth [\d.]+ USD \([\d.]+ to [\d.]+, 90% interval\) against stopping now; .*, expected regret [\d.]+ USD"
    assert re.fullmatch(f"go on to step 30, .* {worth}", str(stopping))
    assert bt.plot_budget(TEN, cost, ax=Figure().subplots()).get_xlabel() == "budget from now on [USD]"
    upper, _ = bt.plot_stopping(stopping, ax=Figure().subplots(2, 1))
    assert upper.get_ylabel() == "worth above stopping now [USD]"
    gained = bt.marginal_gain(TEN, cost).to_dict("records")[0]
    assert re.search(r", for [\d.]+ USD, the expected loss falls", _gain_text(gained, cost, 0.9))
