"""Pictures of a forecast draw what they say, on the axes they are given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

import bayes_tsl as bt
from bayes_tsl.inference.posterior import example_fit
from bayes_tsl.plots.style import interval_text
from tests.conftest import ORIGIN, refusal


def test_forecast_plot_uses_ax_and_shows_all_parts(ahead: bt.Forecast, simulation: bt.Simulation) -> None:
    ax = Figure().subplots()
    later = simulation.losses.after(ORIGIN).mean_losses()
    assert bt.plot_forecast(ahead, observed=later, target=3.2, ax=ax) is ax
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["measured", "90% interval", "50% interval", "median", "measured later"]
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(lines["median"].get_ydata()[1:], ahead.quantile(0.5))
    np.testing.assert_allclose(lines["measured later"].get_ydata(), later)
    middle, lower, upper = ahead.quantile(0.5)[-1], *(float(ahead.interval(prob=0.9)[name][-1]) for name in ("lower", "upper"))
    end = f"step 8000\n{interval_text(middle, lower, upper)}\nmedian, 90% interval".replace(" [", "\n[")
    assert {text.get_text() for text in ax.texts} == {"now", "target 3.2", end}
    assert len(ax.collections) == 2


def test_a_forecast_plot_says_what_the_forecast_says(ahead: bt.Forecast) -> None:
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    said = (bt.schedules.UNKNOWN, " ".join(["chains must agree"] * 20))
    ax = bt.plot_forecast(replace(ahead, notices=said, converged=False), ax=figure.subplots())
    assert ax.get_title(loc="right") == "NOT CONVERGED"
    note = ax.texts[-1]
    assert note.get_text().replace("\n", " ") == " ".join(said)
    figure.draw_without_rendering()
    box = note.get_window_extent()
    assert box.y1 < ax.xaxis.label.get_window_extent().y0, "the note covers the label"
    assert box.y0 >= 0, "the note is cut off"
    assert box.x1 <= figure.bbox.x1, "the note is cut off"
    assert bt.plot_forecast(ahead, ax=Figure().subplots()).get_title(loc="right") == ""


def test_what_is_forecast_fills_the_picture_and_the_whole_run_is_an_inset() -> None:
    ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    ax, rate = Figure().subplots(2, 1)
    assert bt.plot_forecast(ahead, schedule=example_fit().schedule, ax=[ax, rate]) is ax
    low, high = ax.get_ylim()
    lower, upper = (ahead.interval(prob=0.9)[name].to_numpy() for name in ("lower", "upper"))
    assert upper[-1] - lower[-1] > 0.25 * (high - low)
    (inset,) = ax.child_axes
    np.testing.assert_allclose(inset.lines[0].get_xdata(), ahead.history["step"])
    assert rate.get_ylabel() == "learning rate"
    np.testing.assert_allclose(rate.lines[0].get_ydata(), example_fit().schedule.lr(rate.lines[0].get_xdata()))
    with refusal("ax must hold 2 axes, for loss and learning rate; got 1. Or leave it out."):
        bt.plot_forecast(ahead, schedule=example_fit().schedule, ax=ax)


def test_draws_of_no_kind_are_refused(ahead: bt.Forecast) -> None:
    message = (
        "kind must be one of 'observed', 'expected'; got 'foo'. "
        "Ask for the next measurements, or for the curve that they scatter around."
    )
    with refusal(message):
        bt.plot_forecast(ahead, kind="foo")  # type: ignore[arg-type]


def test_a_figure_is_made_where_none_is_given(ahead: bt.Forecast) -> None:
    import matplotlib.pyplot as plt

    assert bt.plot_forecast(ahead, kind="expected").figure is plt.gcf()
