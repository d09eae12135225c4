"""Pictures by position have a panel for each coefficient."""

from __future__ import annotations

from dataclasses import replace

import xarray as xr
from matplotlib.figure import Figure

import bayes_tsl as bt
from tests.conftest import refusal


def test_coefficient_plot_has_one_panel_each(fit: bt.Fit, ahead: bt.Forecast) -> None:
    panels = Figure().subplots(1, 3)
    drawn = bt.plot_coefficients(fit, ahead, ax=panels)
    assert list(drawn) == list(panels)
    assert [panel.get_title() for panel in drawn] == ["gap [nats]", "rate [1/position]", "floor [nats]"]
    assert all(len(panel.collections) == 4 for panel in drawn)


def test_mean_losses_have_one_coefficient(mean_fit: bt.Fit) -> None:
    assert [panel.get_title() for panel in bt.plot_coefficients(mean_fit)] == ["floor [nats]"]


def test_a_forecast_without_coefficients_is_refused(fit: bt.Fit, ahead: bt.Forecast) -> None:
    with refusal("ahead must forecast the coefficients gap, rate, floor; got none. Make it with forecast(fit, ...)."):
        bt.plot_coefficients(fit, replace(ahead, coefficients=xr.Dataset()), ax=Figure().subplots(1, 3))


def test_the_wrong_number_of_axes_is_refused(fit: bt.Fit) -> None:
    with refusal("ax must hold 3 axes, for gap, rate, floor; got 1. Or leave it out."):
        bt.plot_coefficients(fit, ax=[Figure().subplots()])
