"""Plots draw what they say, on the axes they are given."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

import bayes_tsl as bt
from tests.conftest import ORIGIN


@pytest.fixture(autouse=True)
def _no_screen() -> None:
    mpl.use("agg")


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


def test_coefficient_plot_has_one_panel_each(fit: bt.Fit, ahead: bt.Forecast) -> None:
    panels = Figure().subplots(1, 3)
    drawn = bt.plot_coefficients(fit, ahead, ax=panels)
    assert list(drawn) == list(panels)
    assert [panel.get_title() for panel in drawn] == ["gap [nats]", "rate [1/position]", "floor [nats]"]
    assert all(len(panel.collections) == 4 for panel in drawn)


def test_a_figure_is_made_where_none_is_given(ahead: bt.Forecast, mean_fit: bt.Fit) -> None:
    import matplotlib.pyplot as plt

    assert bt.plot_forecast(ahead, kind="expected").figure is plt.gcf()
    assert len(bt.plot_coefficients(mean_fit)) == 1
    plt.close("all")


def test_the_wrong_number_of_axes_is_refused(fit: bt.Fit) -> None:
    with pytest.raises(bt.DataError, match=r"^ax must hold 3 axes, for gap, rate, floor; got 1\.$"):
        bt.plot_coefficients(fit, ax=[Figure().subplots()])
