"""Parameters and tokens for a compute budget."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

import bayes_tsl as bt
from tests.conftest import refusal
from tests.finished_runs import scaling_law


@pytest.fixture(scope="module")
def allocation(scaling: bt.ScalingFit) -> bt.Allocation:
    return bt.allocate(scaling, flops=1e20)


def test_the_best_size_is_that_of_the_law(allocation: bt.Allocation) -> None:
    losses = scaling_law(allocation.parameters, allocation.tokens)
    low, high = allocation.interval(0.9)
    best = allocation.parameters[losses.argmin()]
    assert low <= best <= high
    assert low <= allocation.best <= high
    assert scaling_law(allocation.best, allocation.best_tokens) - losses.min() < 0.01
    np.testing.assert_allclose(6.0 * allocation.parameters * allocation.tokens, 1e20)


def test_another_size_costs_loss(allocation: bt.Allocation) -> None:
    assert np.all(allocation.costs(1.0) == 0.0)
    for factor in (0.25, 4.0):
        right = scaling_law(factor * allocation.best, allocation.best_tokens / factor)
        right -= scaling_law(allocation.best, allocation.best_tokens)
        cost = allocation.costs(factor)
        assert cost.mean() > allocation.costs(factor**0.5).mean() > 0.0
        assert abs(cost.mean() - right) < 2.5 * cost.std()


def test_the_table_has_regret_and_chances(allocation: bt.Allocation) -> None:
    table = allocation.to_frame()
    assert table["prob_lowest"].sum() == pytest.approx(1.0)
    assert table.loc[table["regret"].idxmin(), "parameters"] == pytest.approx(allocation.best)
    assert (table["tokens_per_parameter"].iloc[[0, -1]].round(6) == [3000.0, 0.3]).all()
    assert ((table["lower"] < table["mean"]) & (table["mean"] < table["upper"])).all()


def test_what_cannot_be_spent_is_refused(allocation: bt.Allocation, scaling: bt.ScalingFit) -> None:
    with pytest.raises(bt.DataError, match=r"^factor must lie between 0\.\d+ and \d\.\d; got 1000\. Choose one of these\.$"):
        allocation.costs(1000.0)
    with refusal("flops must be a number above 0; got -1. Give e.g. 1e21."):
        bt.allocate(scaling, flops=-1.0)


def test_the_picture_names_the_best_size(allocation: bt.Allocation) -> None:
    mpl.use("agg")
    ax = bt.plot_allocation(allocation)
    assert ax.get_title(loc="left").startswith(f"1e+20 FLOPs: {allocation.best:.2g} parameters")
    assert len(ax.get_lines()[0].get_xdata()) == len(allocation.parameters)
