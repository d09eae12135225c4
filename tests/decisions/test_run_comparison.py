"""Which run ends lowest, against counts made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from tests.by_hand import forecast_of
from tests.conftest import refusal

STEPS = (10.0, 20.0)
LAST = {"a": [3.0, 3.1, 3.2, 3.3], "b": [3.1, 3.0, 3.1, 3.3], "c": [4.0, 4.0, 3.0, 4.0]}  # losses at step 20, by draw


def forecast_by_run(run: str) -> bt.Forecast:
    return forecast_of([[4.0, loss] for loss in LAST[run]], STEPS, run=run)


@pytest.fixture
def comparison() -> bt.Comparison:
    return bt.compare_runs([forecast_by_run(run) for run in LAST])


def test_a_tie_counts_in_equal_parts(comparison: bt.Comparison) -> None:
    assert comparison.prob_lowest().to_dict() == {"a": 0.375, "b": 0.375, "c": 0.25}
    below = comparison.prob_below()
    assert np.isnan(np.diag(below)).all()
    assert below.loc["a", ["b", "c"]].tolist() == [0.375, 0.75]
    np.testing.assert_allclose((below + below.T).to_numpy()[~np.eye(3, dtype=bool)], 1.0)


def test_regret_is_the_loss_above_the_lowest_of_each_draw(comparison: bt.Comparison) -> None:
    lowest = np.min(list(LAST.values()), axis=0)
    expected = {run: float(np.mean(losses - lowest)) for run, losses in LAST.items()}
    assert comparison.regret().to_dict() == pytest.approx(expected)
    np.testing.assert_allclose(comparison.difference("a", "b"), [np.subtract(LAST["a"], LAST["b"])])


def test_the_likeliest_comes_first(comparison: bt.Comparison) -> None:
    table = comparison.to_frame(prob=0.5)
    assert table["run"].tolist() == ["b", "a", "c"]  # b is as likely as a, and is regretted less
    assert (table["step"] == 20.0).all()
    np.testing.assert_allclose(table["mean"], [np.mean(LAST[run]) for run in table["run"]])
    np.testing.assert_allclose(table["upper"], [np.quantile(LAST[run], 0.75) for run in table["run"]])
    behind = np.subtract(LAST["a"], LAST["b"])
    expected = [behind.mean(), *np.quantile(behind, [0.25, 0.75])]
    np.testing.assert_allclose(table.loc[1, ["gap", "gap_lower", "gap_upper"]].astype(float), expected, atol=1e-12)
    assert table.loc[0, ["gap", "gap_lower", "gap_upper"]].tolist() == [0.0, 0.0, 0.0]


def test_of_a_run_with_more_draws_some_are_left_out() -> None:
    more = forecast_of([[4.0, loss] for loss in (1.0, 9.0, 2.0, 9.0, 3.0, 9.0, 4.0)], STEPS, run="more")
    compared = bt.compare_runs([forecast_by_run("a"), more])
    assert compared.losses.sel(run="more").to_numpy().tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert compared.losses.sel(run="a").to_numpy().tolist() == [list(LAST["a"])]


def test_runs_are_compared_at_the_step_that_is_asked_for() -> None:
    early = bt.compare_runs([forecast_by_run(run) for run in LAST], at=10)
    assert (early.step, early.test_set, early.converged) == (10.0, "test", True)
    pd.testing.assert_series_equal(early.prob_lowest(), pd.Series(1 / 3, pd.Index(LAST, name="run"), name="prob_lowest"))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda a, b: bt.compare_runs(a),
            "forecast must be of several runs; got 'a'. "
            "Fit several with fit(losses, schedules={run: schedule}) and forecast that.",
        ),
        (lambda a, b: bt.compare_runs([a]), "forecasts must be two or more; got 1. Pass one of each run."),
        (lambda a, b: bt.compare_runs([a, a]), "forecasts must be of different runs; got 'a', 'a'. Pass one of each run."),
        (
            lambda a, b: bt.compare_runs([a, replace(b, test_set="other")]),
            "forecasts must be on one test set; got 'other', 'test'. Compare those of one test set.",
        ),
        (
            lambda a, b: bt.compare_runs([a, forecast_of([[4.0]] * 4, [10.0], run="b")]),
            "forecasts must be at the same steps; got '2 lists of them'. Forecast equal steps.",
        ),
        (
            lambda a, b: bt.compare_runs([a, replace(b, expected=b.expected.isel(chain=[0, 0]))]),
            "forecasts must have equally many chains; got 1, 2. Fit all with the same chains.",
        ),
        (
            lambda a, b: bt.compare_runs([a, b], at=15),
            "at must be a step of the forecast (10, 20); got 15. Forecast that step.",
        ),
        (
            lambda a, b: bt.compare_runs([a, b]).difference("a", "d"),
            "run must be one of 'a', 'b'; got 'd'. Choose one of these.",
        ),
        (
            lambda a, b: bt.compare_runs([a, b]).to_frame(prob=90),
            "prob must lie between 0 and 1; got 90. 0.9 is a 90 % interval.",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(ask: Callable[[bt.Forecast, bt.Forecast], object], message: str) -> None:
    with refusal(message):
        ask(forecast_by_run("a"), forecast_by_run("b"))
