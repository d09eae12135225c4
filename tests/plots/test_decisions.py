"""Pictures of decisions show the tables that they are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

import bayes_tsl as bt
from bayes_tsl.forecasting.distribution import side_by_side
from bayes_tsl.inference.posterior import example_fit
from tests.by_hand import TEN, forecast_of
from tests.conftest import refusal

PRICE = bt.Cost(per_step=2.0, fixed=10.0)


def test_the_picture_of_budgets() -> None:
    ax = Figure().subplots()
    assert bt.plot_budget(TEN, PRICE, target=3.5, prob=0.4, ax=ax) is ax
    assert ax.get_title() == "a, test\n40% sure of 3.5 with 53.33, at step 27"
    labels = [text.get_text() for text in ax.texts]
    assert {"53.33", "target 3.5"} < set(labels)
    np.testing.assert_allclose(ax.lines[-1].get_xdata(), 10 + 2 * (20 + 10 * 0.2 / 0.3 - 5))
    ax = bt.plot_budget(TEN, PRICE, target=3.5, prob=0.6, ax=Figure().subplots())
    assert ax.get_title() == "a, test\n60% sure of 3.5: beyond 30"


def test_the_picture_of_a_frontier() -> None:
    frontier = bt.budget_frontier(example_fit(), PRICE, ends=[1500, 2000, 2500], target=3.5)
    ax = Figure().subplots()
    assert bt.plot_frontier(frontier, prob=0.5, ax=ax) is ax
    for line, name in zip(ax.lines, ("loss_0.5", "loss_0.9")):
        np.testing.assert_allclose(line.get_ydata(), frontier.table[name])
        np.testing.assert_allclose(line.get_xdata(), frontier.table["cost"])
    enough = frontier.smallest(0.5)
    np.testing.assert_allclose(ax.lines[-1].get_xdata(), enough.cost)
    assert ax.get_title().strip() == f"50% sure of 3.5 with {enough.cost:.10g}, at step 2000"
    never = bt.plot_frontier(replace(frontier, target=2.0, table=frontier.table.assign(prob_below=0.0)), ax=Figure().subplots())
    assert never.get_title().strip() == "90% sure of 2: beyond 2500"
    with refusal("prob must lie between 0 and 1; got 90. 0.9 is a 90 % interval."):
        bt.plot_frontier(frontier, prob=90)


def test_the_picture_of_stopping() -> None:
    stopping = bt.stop_or_continue(example_fit(), bt.Cost(per_step=0.01), value=1000.0, steps=[1500, 2500])
    upper, lower = Figure().subplots(2, 1)
    assert bt.plot_stopping(stopping, ax=[upper, lower]) == [upper, lower]
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], stopping.to_frame()["prob_best"])
    assert stopping.act == "decay from step 2240 to 0 by step 2500, then stop"
    assert upper.get_title() == f"mix50_cosine, prose\n{stopping.act}\n"
    with refusal("ax must hold 2 axes, for utility and probability; got 1. Or leave it out."):
        bt.plot_stopping(stopping, ax=[upper])


def test_the_picture_of_several_runs() -> None:
    comparison = bt.compare_runs(side_by_side([TEN, forecast_of(TEN.expected[0] - 0.3, run="b")]))
    losses, chances = Figure().subplots(1, 2)
    assert bt.plot_comparison(comparison, ax=[losses, chances]) == [losses, chances]
    assert [label.get_text() for label in losses.get_yticklabels()] == ["b", "a"]
    np.testing.assert_allclose([bar.get_width() for bar in chances.patches], [1.0, 0.0])
    with refusal("ax must hold 2 axes, for losses and probabilities; got 1. Or leave it out."):
        bt.plot_comparison(comparison, ax=[losses])
