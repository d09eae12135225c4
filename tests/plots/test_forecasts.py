"""Pictures of a forecast draw what they say, on the axes they are given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

import bayes_tsl as bt
from tests.conftest import ORIGIN, refusal


def test_forecast_plot_uses_ax_and_shows_all_parts(ahead: bt.Forecast, simulation: bt.Simulation) -> None:
    ax = Figure().subplots()
    later = simulation.losses.after(ORIGIN).mean_losses()
    assert bt.plot_forecast(ahead, observed=later, target=3.2, ax=ax) is ax
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["observed", "90%", "50%", "median", "observed later", "target 3.2"]
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(lines["median"].get_ydata()[1:], ahead.quantile(0.5))
    np.testing.assert_allclose(lines["observed later"].get_ydata(), later)
    assert [text.get_text() for text in ax.texts] == ["origin"]
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
