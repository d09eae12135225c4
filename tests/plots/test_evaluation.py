"""Pictures of a backtest, against scores written down by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import bayes_tsl as bt
from tests.conftest import refusal


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """Two models, from .3 and .6 of a run; the PIT of ``even`` is uniform, the other's intervals are all missed."""
    pit = (np.arange(20) + 0.5) / 20
    cells = pd.MultiIndex.from_product([["even", "wrong"], [0.3, 0.6], pit], names=["model", "prefix", "pit"]).to_frame(
        index=False
    )
    wrong = cells["model"] == "wrong"
    error = np.where(wrong, 0.5, 0.1) / cells["prefix"]
    return cells.assign(run="a", test_set="test", reason="", observed=3.0, mean=3.0 - error, pit=cells["pit"].mask(wrong, 1.0))


def test_the_picture_of_calibration(scores: pd.DataFrame) -> None:
    panels = list(Figure().subplots(1, 2))
    assert bt.plot_calibration(scores, ax=panels) == panels
    _, even, wrong = panels[1].lines
    np.testing.assert_allclose(even.get_ydata(), np.arange(1, 10) / 10)
    np.testing.assert_allclose(wrong.get_ydata(), 0.0)
    flat, high = (patch.get_data().values for patch in panels[0].patches)
    np.testing.assert_allclose(flat, 1.0)
    np.testing.assert_allclose(high, [0.0] * 9 + [10.0])
    with refusal("ax must hold 2 axes, for PIT and coverage; got 1. Or leave it out."):
        bt.plot_calibration(scores, ax=panels[:1])


def test_the_picture_of_errors(scores: pd.DataFrame) -> None:
    ax = Figure().subplots()
    assert bt.plot_errors(scores, ax=ax) is ax
    assert [line.get_label() for line in ax.lines] == ["even", "wrong"]
    for line, error in zip(ax.lines, (0.1, 0.5)):
        np.testing.assert_allclose(line.get_xdata(), [0.3, 0.6])
        np.testing.assert_allclose(line.get_ydata(), [error / 0.3, error / 0.6])


def test_without_a_score_there_is_nothing_to_draw(scores: pd.DataFrame) -> None:
    message = "scores must hold a forecast that did not fail; got 0 of 80 rows. The column reason says what went wrong."
    for plot in (bt.plot_calibration, bt.plot_errors):
        with refusal(message):
            plot(scores.assign(reason="bad"))
