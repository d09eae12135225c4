"""Names of runs and test sets are text in every picture, whatever they hold."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bayes_tsl as bt
from bayes_tsl.inference.posterior import example_fit

NAME = "$A_$B <b>&"


@pytest.fixture
def ahead() -> bt.Forecast:
    return replace(bt.forecast(example_fit(), steps=[1500, 2000], seed=0), run=NAME, test_set=NAME)


def drawn(ax: Axes) -> str:
    """The title that a picture shows, after it was drawn."""
    assert ax.figure is not None
    ax.figure.savefig(BytesIO(), format="svg")
    return ax.get_title()


def test_a_name_is_no_formula(ahead: bt.Forecast) -> None:
    assert drawn(bt.plot_forecast(ahead, ax=Figure().subplots())) == r"\$A_\$B <b>&, \$A_\$B <b>&"


def test_runs_of_a_comparison_are_no_formulas(ahead: bt.Forecast) -> None:
    axes = bt.plot_comparison(bt.compare_runs([ahead, replace(ahead, run="$C^$D")]), ax=Figure().subplots(1, 2))
    drawn(axes[0])
    assert sorted(label.get_text() for label in axes[0].get_yticklabels()) == [r"\$A_\$B <b>&", r"\$C^\$D"]
