"""Three sentences, where it lands, when it is there and whether to go on: against numbers worked out by hand."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import bayes_tsl as bt
from bayes_tsl.decisions.budgets import _cvar
from bayes_tsl.forecasting.distribution import side_by_side
from tests.conftest import ORIGIN, means

DIMS = ("chain", "draw", "step")


def made(*draws: list[float], steps: tuple[float, ...] = (10.0, 20.0, 30.0), origin: float = 5.0) -> bt.Forecast:
    """A forecast whose draws are given; one chain."""
    losses = xr.DataArray([list(draws)], {"step": list(steps)}, DIMS)
    history = xr.DataArray([3.4], {"step": [origin]}, "step")
    return bt.Forecast(run="a", test_set="test", origin=origin, expected=losses, observed=losses, history=history)


@pytest.fixture(scope="module")
def ten() -> bt.Forecast:
    """Ten straight draws from 4 down to 3.1, 3.2, ... 4 at the end."""
    return made(*([4.0, 3.5 + 0.05 * k, 3.0 + 0.1 * k] for k in range(1, 11)))


PRICE = bt.Cost(per_step=2.0, fixed=10.0)
HOURLY = bt.Cost(per_hour=3.0, seconds_per_step=3600.0, deadline=20.0)  # an hour a step: until step 25


@pytest.fixture(scope="module")
def wild() -> bt.Forecast:
    """Draws that rise and fall."""
    walk = np.cumsum(np.random.default_rng(0).normal(-0.05, 0.2, (200, 12)), axis=1)
    return made(*(3.5 + walk).tolist(), steps=tuple(np.arange(10.0, 130.0, 10.0)))


# --- when


def test_the_arrival_at_a_target(ten: bt.Forecast) -> None:
    arrival = ten.time_to(3.5, prob=0.8)
    xr.testing.assert_identical(arrival.draws, ten.time_to(3.5))
    assert arrival.prob_within == 0.5
    assert arrival.lower == pytest.approx(10 + 20 * 0.5 / 0.9)  # the first draw falls by .9 within 20 steps
    assert arrival.median == pytest.approx(30.0)
    assert arrival.upper == np.inf
    assert str(arrival) == (
        "target 3.5: 50% likely to be reached by step 30; first step there: 30 (median), 21.1 to beyond 30 (80% interval)"
    )
    row = arrival.to_frame()
    assert list(row) == ["target", "prob_within", "median", "lower", "upper", "prob"]
    assert row.loc[0, "upper"] == "beyond 30"
    assert row.loc[0, "lower"] == arrival.lower


def test_a_target_that_no_draw_reaches_lies_beyond(ten: bt.Forecast) -> None:
    arrival = ten.time_to(2.0, prob=0.9)
    assert (arrival.prob_within, arrival.lower, arrival.median) == (0.0, np.inf, np.inf)
    assert str(arrival) == (
        "target 2: under 1% likely to be reached by step 30; "
        "first step there: beyond 30 (median), beyond 30 to beyond 30 (90% interval)"
    )


def test_by_is_the_first_step_that_is_sure_enough(ten: bt.Forecast) -> None:
    arrival = ten.time_to(3.75, prob=0.9)
    steps = np.sort(arrival.draws.to_numpy().ravel())
    for chance in np.arange(0.05, 1.0, 0.05):
        step = arrival.by(chance)
        assert np.mean(steps <= step) >= chance - 1e-9
        assert np.mean(steps < step) < chance - 1e-9
    with pytest.raises(bt.DataError, match=r"^chance must lie between 0 and 1; got 90\. 0\.9 is to be 90 % sure\.$"):
        arrival.by(90)


@given(st.lists(st.floats(2.0, 5.0), min_size=2, max_size=12))
def test_an_easier_target_is_nowhere_later_nor_less_likely(wild: bt.Forecast, targets: list[float]) -> None:
    arrivals = [wild.time_to(target, prob=0.9) for target in sorted(targets)]
    for name in ("median", "lower", "upper"):
        steps = np.array([getattr(arrival, name) for arrival in arrivals])
        assert (steps[1:] <= steps[:-1] + 1e-9).all(), name
    assert all(bool((easier.draws <= harder.draws + 1e-9).all()) for harder, easier in pairwise(arrivals))
    assert (np.diff([arrival.prob_within for arrival in arrivals]) >= 0).all()
    below = np.array([wild.prob_below(target).to_numpy() for target in sorted(targets)])
    assert (np.diff(below, axis=0) >= 0).all()


def test_the_probability_at_one_step(ten: bt.Forecast) -> None:
    assert float(ten.prob_below(3.55, at=30)) == 0.5
    xr.testing.assert_identical(ten.prob_below(3.55, at=30), ten.prob_below(3.55).sel(step=30))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda ahead: ahead.time_to(3.0, prob=90), "prob must lie between 0 and 1; got 90. 0.9 is a 90 % interval."),
        (lambda ahead: ahead.time_to(-1, prob=0.9), "target must be a number above 0; got -1. It is a loss in nats per token."),
        (
            lambda ahead: ahead.prob_below(3.0, at=7),
            "at must be a step of the forecast (10, 20, 30); got 7. Forecast that step.",
        ),
    ],
)
def test_a_wrong_question_is_refused(ten: bt.Forecast, ask, message: str) -> None:
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}$"):
        ask(ten)


def test_the_arrival_is_of_one_run(ten: bt.Forecast) -> None:
    several = side_by_side([ten, replace(ten, run="b")])  # neither has coefficients
    assert several.time_to(3.5).dims == ("chain", "draw", "run")
    message = r"^forecast must be of a single run; got 'a', 'b'\. Choose one with forecast\.select\(run=\.\.\.\)\.$"
    with pytest.raises(bt.DataError, match=message):
        several.time_to(3.5, prob=0.9)
    assert several.select(run="b").time_to(3.5, prob=0.9).prob_within == 0.5


# --- for how much


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
    assert np.isnan([PRICE.hours(3.0), PRICE.tokens(3.0)]).all()
    assert HOURLY.most_steps == 20.0


def test_the_curve_of_budgets(ten: bt.Forecast) -> None:
    curve = bt.budget_curve(ten, PRICE, target=3.5, prob=0.8)
    assert list(curve) == ["step", "tokens", "hours", "cost", "mean", "lower", "upper", "prob_reached"]
    np.testing.assert_allclose(curve["cost"], [20.0, 40.0, 60.0])
    np.testing.assert_allclose(curve["mean"], [4.0, 3.775, 3.55])
    np.testing.assert_allclose(curve["upper"], ten.interval(prob=0.8)["upper"])
    np.testing.assert_allclose(curve["prob_reached"], [0.0, 0.0, 0.5])
    assert "prob_reached" not in bt.budget_curve(ten, PRICE)


def test_a_deadline_ends_the_curve(ten: bt.Forecast) -> None:
    curve = bt.budget_curve(ten, HOURLY)
    np.testing.assert_allclose(curve[["step", "hours", "cost"]], [[10, 5, 15], [20, 15, 45], [25, 20, 60]])
    assert curve["mean"].iloc[-1] == pytest.approx(3.6625)  # half way between the means at 20 and 30


def test_the_smallest_budget(ten: bt.Forecast) -> None:
    enough = bt.smallest_budget(ten, PRICE, target=3.5, prob=0.4)
    assert enough.step == pytest.approx(20 + 10 * 0.2 / 0.3)  # the fourth draw falls from 3.7 to 3.4
    assert enough.cost == pytest.approx(10 + 2 * (enough.step - 5))
    assert bt.at_budget(ten, PRICE, enough.cost).step == pytest.approx(enough.step)
    beyond = bt.smallest_budget(ten, PRICE, target=3.5, prob=0.6)
    assert (beyond.cost, beyond.step, beyond.hours) == (np.inf, np.inf, np.inf)
    assert str(beyond) == "no budget is enough: beyond 30"
    assert str(bt.smallest_budget(ten, HOURLY, target=3.5, prob=0.5)) == "no budget is enough: beyond 25"


def test_what_a_budget_buys(ten: bt.Forecast) -> None:
    bought = bt.at_budget(ten, PRICE, 60.0, tail=0.2)
    assert (bought.step, bought.mean, bought.cvar) == (30.0, pytest.approx(3.55), pytest.approx(3.95))
    assert bt.at_budget(ten, PRICE, 60.0, tail=0.25).cvar == pytest.approx((4.0 + 3.9 + 0.5 * 3.8) / 2.5)
    assert bt.at_budget(ten, PRICE, 50.0).mean == pytest.approx(3.6625)
    assert str(bought) == "a budget of 60 buys step 30: expected loss 3.5500, 3.9500 on average in the worst 20%"
    assert str(bt.at_budget(ten, HOURLY, 45.0)).startswith("a budget of 45 buys step 20, 15 hours: expected loss 3.7750, ")


@given(st.lists(st.floats(1.0, 10.0), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_cvar_is_the_minimum_of_rockafellar_and_uryasev(losses: list[float], tail: float) -> None:
    draws = np.array(losses)
    reached = [at + np.maximum(draws - at, 0.0).mean() / tail for at in draws]  # piecewise straight, with corners at draws
    assert _cvar(draws, tail) == pytest.approx(min(reached))


@given(st.lists(st.floats(2.0, 4.0), min_size=2, max_size=8), st.floats(0.05, 0.95))
def test_an_easier_target_costs_no_more(wild: bt.Forecast, targets: list[float], prob: float) -> None:
    costs = np.array([bt.smallest_budget(wild, PRICE, target=target, prob=prob).cost for target in sorted(targets)])
    assert (costs[1:] <= costs[:-1] + 1e-9).all()
    curve = bt.budget_curve(wild, PRICE, target=targets[0])
    enough = bt.smallest_budget(wild, PRICE, target=targets[0], prob=prob).cost
    assert (np.diff(curve["prob_reached"]) >= 0).all()
    assert (curve["prob_reached"][curve["cost"] >= enough] >= prob - 1e-9).all()
    assert (curve["prob_reached"][curve["cost"] < enough - 1e-9] < prob).all()


def test_the_gain_of_the_next_steps_is_paired(ten: bt.Forecast) -> None:
    gain = bt.marginal_gain(ten, PRICE, share=0.5, prob=0.8)
    assert list(gain) == ["start", "step", "cost", "drop", "gain", "lower", "upper", "prob_gain"]
    np.testing.assert_allclose(gain[["start", "step", "cost"]], [[10, 20, 20], [20, 30, 20]])
    np.testing.assert_allclose(gain["drop"], [0.225, 0.225])
    np.testing.assert_allclose(gain["gain"], 0.225 / 20)
    drops = 0.5 - 0.05 * np.arange(1, 11)
    np.testing.assert_allclose(gain["lower"], np.quantile(drops, 0.1) / 20)
    np.testing.assert_allclose(gain["prob_gain"], 0.9)  # the tenth draw stays where it is
    uneven = bt.marginal_gain(ten, PRICE, share=0.3)
    np.testing.assert_allclose(uneven["step"], [16, 22, 28, 30])


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
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}$"):
        ask()


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
            lambda ahead: bt.marginal_gain(made([3.0], steps=(10.0,)), PRICE),
            "forecast must have two steps or more; got 10 alone. Forecast the steps between too.",
        ),
    ],
)
def test_a_budget_that_cannot_be_is_refused(ten: bt.Forecast, ask, message: str) -> None:
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}$"):
        ask(ten)


def test_the_picture_of_budgets(ten: bt.Forecast) -> None:
    ax = Figure().subplots()
    assert bt.plot_budget(ten, PRICE, target=3.5, prob=0.4, ax=ax) is ax
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["40%", "mean", "target 3.5, 40% sure: 53.33"]
    np.testing.assert_allclose(ax.lines[-1].get_xdata(), 10 + 2 * (20 + 10 * 0.2 / 0.3 - 5))
    ax = bt.plot_budget(ten, PRICE, target=3.5, prob=0.6, ax=Figure().subplots())
    assert ax.get_legend().get_texts()[-1].get_text() == "target 3.5, 60% sure: beyond 30"


# --- stop or go on

FINE = bt.Cost(per_step=0.01, fixed=1.0)
STOPS = (4400.0, 5000.0, 6000.0, 8000.0)


@pytest.fixture(scope="module")
def short_fit(simulation: bt.Simulation, schedule: bt.Schedule) -> bt.Fit:
    few = {"chains": 2, "num_warmup": 200, "num_draws": 200}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        return bt.fit(means(simulation).until(ORIGIN), schedule=schedule, progress=False, throw=False, **few)


@pytest.fixture(scope="module")
def stopping(short_fit: bt.Fit) -> bt.Stopping:
    return bt.stop_or_continue(short_fit, FINE, value=100.0, steps=STOPS)


def by_hand(*utility: list[float]) -> bt.Stopping:
    """Stopping at 10, 20 or 30 with these draws of utility."""
    draws = xr.DataArray([list(utility)], {"step": [10.0, 20.0, 30.0]}, DIMS)
    return bt.Stopping(losses=4.0 - 0.1 * draws, utility=draws, cost=PRICE, plans=bt.WhatIf({}, {}))


def test_regret_is_counted_draw_by_draw() -> None:
    one = by_hand([0.0, 5.0, 3.0], [0.0, -1.0, 2.0])
    table = one.to_frame()
    np.testing.assert_allclose(table["utility"], [0.0, 2.0, 2.5])
    np.testing.assert_allclose(table["prob_best"], [0.0, 0.5, 0.5])
    np.testing.assert_allclose(table["regret"], [3.5, 1.5, 1.0])
    np.testing.assert_allclose(table["cost"], [0.0, 30.0, 50.0])
    assert one.recommended == 30.0
    assert one.perfect_information == pytest.approx(1.0)
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


def test_stopping_now_is_what_all_is_measured_by(stopping: bt.Stopping) -> None:
    table = stopping.to_frame()
    assert list(table["step"]) == [ORIGIN, *STOPS]
    assert (table.loc[0, ["cost", "utility", "utility_lower", "utility_upper"]] == 0.0).all()
    gained = 100.0 * (stopping.losses[..., 0] - stopping.losses)
    np.testing.assert_allclose(stopping.utility, gained - table["cost"].to_numpy(), atol=1e-9)
    assert table["prob_best"].sum() == pytest.approx(1.0)
    assert stopping.perfect_information == pytest.approx(table.set_index("step").loc[stopping.recommended, "regret"])


def test_a_checkpoint_is_worth_what_a_choice_by_its_reading_earns() -> None:
    rng = np.random.default_rng(0)
    sign = rng.choice([-1.0, 1.0], 4000)
    one = by_hand(*np.column_stack([np.zeros(4000), sign, -sign]).tolist())

    def after(reading: np.ndarray, *still_open: float) -> bt.Stopping:
        return replace(one, reading=xr.DataArray([reading], dims=DIMS[:2]), still_open=still_open)

    assert after(sign + rng.normal(0.0, 0.1, 4000), 20.0, 30.0).waiting == pytest.approx(one.perfect_information, abs=0.05)
    best = float(one.utility.mean(("chain", "draw")).max())
    assert after(rng.normal(size=4000), 20.0, 30.0).waiting == pytest.approx(-best, abs=0.05)
    assert after(sign, 30.0).waiting == pytest.approx(float(one.utility[..., 2].mean()) - best)
    with pytest.raises(
        bt.DataError, match=r"^checkpoint must be named; got None\. Give stop_or_continue\(checkpoint=\.\.\.\)\.$"
    ):
        _ = one.waiting


def test_waiting_for_a_checkpoint(short_fit: bt.Fit, stopping: bt.Stopping) -> None:
    asked = bt.stop_or_continue(short_fit, FINE, value=100.0, steps=STOPS, checkpoint=4400.0)
    assert asked.still_open == STOPS[1:]  # a decay to 4400 has begun at 4320
    assert -FINE.money(400) - 100.0 < asked.waiting <= asked.perfect_information + 0.1
    ahead = bt.forecast(short_fit, steps=[4400.0]).observed
    assert asked.reading is not None
    assert float(asked.reading.std()) == pytest.approx(float(ahead.std()), rel=0.2)
    assert asked.to_frame().shape == stopping.to_frame().shape


def test_each_stop_has_a_decay_of_its_own(short_fit: bt.Fit, stopping: bt.Stopping) -> None:
    plan = bt.schedules.decayed(short_fit.schedule, start=5600.0, total=6000.0)
    alone = bt.forecast(short_fit, steps=[6000.0], schedule=plan).expected
    assert float(alone.mean()) == pytest.approx(float(stopping.losses.sel(step=6000.0).mean()), abs=3e-3)
    ends = stopping.plans.ends()
    assert list(ends.index) == ["as planned", "decay now", "decay at 80 %"]
    assert (ends["step"] == stopping.plans.forecasts["as planned"].steps[-1]).all()
    assert ends.loc["decay at 80 %", "gain"] > 0
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
            {"schedule": "constant"},
            "schedule must be a Schedule; got 'str'. "
            "Make one with schedules.cosine(...), schedules.parse('cosine:...') or schedules.from_frame(table).",
        ),
    ],
)
def test_what_cannot_be_decided_is_refused(short_fit: bt.Fit, arguments: dict, message: str) -> None:
    asked = {"cost": FINE, "value": 100.0, "steps": STOPS} | arguments
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}$"):
        bt.stop_or_continue(short_fit, **asked)


def test_the_picture_of_stopping(stopping: bt.Stopping) -> None:
    mpl.use("agg")
    upper, lower = Figure().subplots(2, 1)
    assert bt.plot_stopping(stopping, ax=[upper, lower]) == [upper, lower]
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], stopping.to_frame()["prob_best"])
    assert upper.get_title().endswith(f"best to stop at step {stopping.recommended:g}")
    message = r"^ax must hold 2 axes, for utility and probability; got 1\. Or leave it out\.$"
    with pytest.raises(bt.DataError, match=message):
        bt.plot_stopping(stopping, ax=[upper])
