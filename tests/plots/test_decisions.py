"""Pictures of decisions show the tables that they are made of."""

from __future__ import annotations

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
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["40%", "mean", "target 3.5, 40% sure: 53.33"]
    np.testing.assert_allclose(ax.lines[-1].get_xdata(), 10 + 2 * (20 + 10 * 0.2 / 0.3 - 5))
    ax = bt.plot_budget(TEN, PRICE, target=3.5, prob=0.6, ax=Figure().subplots())
    assert ax.get_legend().get_texts()[-1].get_text() == "target 3.5, 60% sure: beyond 30"


def test_the_picture_of_stopping() -> None:
    stopping = bt.stop_or_continue(example_fit(), bt.Cost(per_step=0.01), value=1000.0, steps=[1500, 2500])
    upper, lower = Figure().subplots(2, 1)
    assert bt.plot_stopping(stopping, ax=[upper, lower]) == [upper, lower]
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], stopping.to_frame()["prob_best"])
    assert upper.get_title().endswith(f"best to stop at step {stopping.recommended:g}")
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
