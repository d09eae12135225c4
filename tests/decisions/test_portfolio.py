"""One budget for several unfinished runs."""

from __future__ import annotations

import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl.decisions.share_table import ShareTable, improved, knowledge_gradient
from bayes_tsl.inference import example_fit
from tests.conftest import refusal


def named(run: str, *, above: float = 0.0, seed: int | None = None) -> bt.Fit:
    """The bundled fit under another name, its losses higher by so much; its draws in another order are those of a run apart."""
    data = example_fit().data.copy(deep=True)
    if seed is not None:
        order = np.random.default_rng(seed).permutation(data["posterior"].sizes["draw"])
        data["posterior"] = data["posterior"].to_dataset().isel(draw=order).assign_coords(draw=np.arange(len(order)))
    data.attrs["run"] = run
    data["posterior"]["floor_level"].values[:] += above
    return bt.Fit(data)


@pytest.fixture(scope="module")
def portfolio() -> bt.Portfolio:
    return bt.best_portfolio([named("a"), named("b"), named("far", above=1.0)], budget=1200.0, parts=4)


def test_a_hopeless_run_stops_and_the_budget_is_spent(portfolio: bt.Portfolio) -> None:
    table = portfolio.to_frame().set_index("run")
    assert table.loc["far", "plan"] == "stop"
    assert table.loc["far", "end"] == 1200.0
    assert table["price"].sum() == pytest.approx(1200.0)
    assert set(portfolio.schedules) <= {"a", "b"}
    for run, schedule in portfolio.schedules.items():
        assert schedule.end == table.loc[run, "end"] == 1200.0 + table.loc[run, "price"]
        assert float(schedule.lr(schedule.end)) < 0.1 * float(schedule.lr(1200.0))


def test_it_is_no_worse_than_simpler_ones(portfolio: bt.Portfolio) -> None:
    gains = portfolio.gains().set_index("than")
    assert set(gains.index) >= {"equal shares"}
    assert (gains["gain"] >= 0.0).all()
    assert portfolio.regret >= 0.0
    assert portfolio.losses.mean() < 3.7
    assert str(portfolio).count(": ") >= 3


def test_as_planned_runs_go_to_their_end_or_stop() -> None:
    runs = [named("a"), named("b", above=0.02), named("c", above=0.04)]
    one = bt.best_portfolio(runs, budget=1300.0, as_planned=True)
    assert sorted(one.to_frame()["plan"]) == ["as planned", "stop", "stop"]
    assert one.to_frame().set_index("run").loc["a", "plan"] == "as planned"
    two = bt.best_portfolio(runs, budget=2600.0, as_planned=True)
    assert two.to_frame()["end"].tolist() == [2500.0, 2500.0, 1200.0]
    assert two.losses.mean() < one.losses.mean()
    dear = bt.best_portfolio(runs, budget=1300.0, per_step={"a": 2.0, "b": 1.0, "c": 1.0}, as_planned=True)
    assert dear.to_frame().set_index("run").loc["b", "plan"] == "as planned"


def test_a_second_run_is_worth_a_share_where_the_first_may_disappoint() -> None:
    """By hand: either run ends at 0 or 2 with its whole share, independently, and at 1 or 2 with half of it."""
    first, second = (each.ravel() for each in np.meshgrid([0.0, 2.0], [0.0, 2.0]))
    still = np.full(4, 3.0)
    losses = np.array([[still, np.maximum(x, 0.2), x] for x in (first, second)])
    table = ShareTable(np.array([[0.0, 5.0, 10.0]] * 2), losses)
    best = improved(np.array([2, 0]), table, 10.0)
    assert best.tolist() == [1, 1]
    assert table.value(best) == pytest.approx((0.2 + 0.2 + 0.2 + 2.0) / 4.0)


def test_fits_need_not_have_equally_many_draws() -> None:
    short = bt.Fit(named("b", above=1.0).data.copy(deep=True))
    short.data["posterior"] = short.data["posterior"].to_dataset().isel(draw=slice(0, 30))
    made = bt.best_portfolio([named("a"), short], budget=1300.0, as_planned=True)
    assert {len(share.losses) for share in made.shares.values()} == {60}
    assert made.to_frame()["plan"].tolist() == ["as planned", "stop"]


def test_a_sentence_states_that_chains_did_not_converge(portfolio: bt.Portfolio) -> None:
    assert not portfolio.converged
    assert str(portfolio).startswith("NOT CONVERGED, do not act on this: a: ")


def test_what_cannot_be_spent_is_refused() -> None:
    with refusal("fits must be of two runs or more; got 'a'. best_plan is for one run."):
        bt.best_portfolio([named("a")], budget=100.0)
    with refusal("fits must be of different runs; got 'a', 'a'. Give one of each run."):
        bt.best_portfolio([named("a"), named("a")], budget=100.0)
    with refusal("budget must pay for a share of some run; got 100. Raise it."):
        bt.best_portfolio([named("a"), named("b")], budget=100.0, as_planned=True)
    with refusal("per_step must name every run; got 'b' without a price. Add them."):
        bt.best_portfolio([named("a"), named("b")], budget=100.0, per_step={"a": 1.0})


def test_a_look_is_worth_what_it_may_tell() -> None:
    runs = [named("a"), named("b", seed=1), named("far", above=1.0, seed=2)]
    looked = bt.best_portfolio(runs, budget=1500.0, as_planned=True, look=200.0)
    gradient = looked.to_frame().set_index("run")["gradient"]
    assert min(gradient["a"], gradient["b"]) > 0.005, "either may be best"
    assert gradient["far"] == pytest.approx(0.0, abs=0.004), "it tells nothing of the others, which can still be paid for"
    assert max(gradient["a"], gradient["b"]) < looked.regret


def test_a_look_that_leaves_too_little_costs_more_than_it_tells() -> None:
    looked = bt.best_portfolio([named("a"), named("b", above=0.02)], budget=1300.0, as_planned=True, look=200.0)
    assert looked.gradient["b"] < 0.0, "the better run could not be finished any more"
    assert looked.gradient["a"] >= -1e-9, "its steps are on the way to its end"


def test_the_gain_of_a_look_by_hand() -> None:
    """One run ends at 0 or 2, the other at 1; the look tells which, and costs nothing that is missed later."""
    coin = np.random.default_rng(0).permutation(np.repeat([0.0, 2.0], 500))
    losses = np.array([[np.full(1000, 3.0), coin], [np.full(1000, 3.0), np.full(1000, 1.0)]])
    table = ShareTable(np.array([[0.0, 10.0], [0.0, 10.0]]), losses)
    reading = coin[:, None] + 1e-6 * np.arange(1000)[:, None]
    assert knowledge_gradient(table, np.array([0, 1]), 12.0, 0, 2.0, reading) == pytest.approx(0.5, abs=0.01)
    assert knowledge_gradient(table, np.array([0, 1]), 10.0, 0, 2.0, reading) <= 0.0, "the other cannot be paid for after it"
