"""Scores against closed forms and identities."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayes_tsl.evaluation import scoring
from tests.by_hand import forecast_of
from tests.conftest import refusal

NORMAL = np.random.default_rng(0).normal(3.0, 0.1, (1, 40_000))
TRUTHS = np.array([2.8, 3.0, 3.05])


@pytest.mark.parametrize("truth", TRUTHS)
def test_crps_of_a_normal(truth: float) -> None:
    z = (truth - 3.0) / 0.1
    closed = 0.1 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert scoring.crps([truth], NORMAL)[0] == pytest.approx(closed, abs=5e-4)


@pytest.mark.parametrize("truth", TRUTHS)
def test_log_score_of_a_normal(truth: float) -> None:
    assert scoring.log_score([truth], NORMAL)[0] == pytest.approx(-stats.norm.logpdf(truth, 3.0, 0.1), abs=0.05)
    assert np.isfinite(scoring.log_score([truth + 100.0], NORMAL)).all()
    assert np.isfinite(scoring.log_score([truth], np.full((1, 5), 3.0))).all()


@pytest.mark.parametrize("truth", TRUTHS)
def test_crps_is_twice_the_pinball_loss_over_all_quantiles(truth: float) -> None:
    levels = (np.arange(400) + 0.5) / 400
    mean = np.mean([scoring.pinball(truth, value, q=q) for q, value in zip(levels, np.quantile(NORMAL, levels))])
    assert 2.0 * mean == pytest.approx(scoring.crps([truth], NORMAL)[0], rel=0.01)


def test_crps_of_a_single_draw_is_its_error() -> None:
    np.testing.assert_allclose(scoring.crps(TRUTHS, np.full((3, 1), 3.0)), np.abs(TRUTHS - 3.0), atol=1e-12)


def test_interval_score_is_pinball_at_both_ends() -> None:
    for truth in (0.5, 1.5, 2.5):
        ends = scoring.pinball(truth, 1.0, q=0.05) + scoring.pinball(truth, 2.0, q=0.95)
        assert scoring.interval_score(truth, 1.0, 2.0, prob=0.9) == pytest.approx(ends * 2 / 0.1)


def test_pit_is_uniform_when_calibrated() -> None:
    rng = np.random.default_rng(1)
    values = scoring.pit(rng.standard_normal(1000), rng.standard_normal((1000, 500)))
    assert stats.kstest(values, "uniform").pvalue > 0.01


def test_time_to_counts_what_lies_beyond_as_the_horizon() -> None:
    times = np.array([50.0, 150.0, np.inf])
    assert scoring.time_to_score(np.inf, times, horizon=100.0) == scoring.crps(100.0, np.array([50.0, 100.0, 100.0]))
    assert scoring.time_to_score(200.0, times, horizon=100.0) == scoring.time_to_score(np.inf, times, horizon=100.0)
    assert scoring.time_to_score(60.0, [60.0, 60.0], horizon=100.0) == 0.0


def test_r2_and_mse() -> None:
    assert scoring.r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1.0
    assert scoring.r2([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]) == 0.0
    assert np.isnan(scoring.r2([2.0, 2.0], [2.0, 2.0]))
    assert scoring.mse([1.0, 3.0], [2.0, 1.0]) == 2.5


def test_a_forecast_is_scored_at_every_step_measured_later() -> None:
    rng = np.random.default_rng(2)
    ahead = forecast_of(rng.normal([3.0, 2.9, 2.8], 0.1, (4000, 3)), [10.0, 20.0, 30.0])
    frame = scoring.score(ahead, pd.Series([3.0, 2.6], index=[10.0, 30.0]))
    assert frame["step"].tolist() == [10.0, 30.0]
    assert frame["covered_90"].tolist() == [True, False]
    assert frame["width_90"].to_numpy() == pytest.approx(2 * 1.645 * 0.1, rel=0.05)
    assert frame["pit"].to_numpy() == pytest.approx([0.5, 0.023], abs=0.03)
    assert frame["crps"][0] < frame["crps"][1]
    summary = scoring.summarise(frame)
    assert summary["endpoint_error"] == pytest.approx(0.2, abs=0.01)
    assert summary["coverage_90"] == 0.5
    assert summary["crps"] == frame["crps"].mean()


def test_a_target_is_scored_by_its_probability_and_its_time() -> None:
    draws = np.array([[3.0, 2.8, 2.6], [3.0, 2.9, 2.8], [3.0, 2.7, 2.4], [3.0, 3.0, 3.0]])
    later = pd.Series([3.0, 2.8, 2.6], index=[10.0, 20.0, 30.0])
    frame = scoring.score(forecast_of(draws, [10.0, 20.0, 30.0]), later, target=2.7)
    assert frame["prob_below"].tolist() == [0.0, 0.0, 0.5]
    assert frame["brier"].tolist() == [0.0, 0.0, 0.25]
    assert frame["time_score"].tolist() == pytest.approx([float(scoring.crps(25.0, [25.0, 30.0, 20.0, 30.0]))] * 3)
    assert scoring.summarise(frame)[["endpoint_brier", "time_score"]].tolist() == pytest.approx([0.25, frame["time_score"][0]])


def test_a_forecast_of_other_steps_is_refused() -> None:
    message = "forecast must have a step that was measured; got 10 with 1 later measurements. "
    cure = "Forecast the steps of losses.after(origin)."
    with refusal(message + cure):
        scoring.score(forecast_of(np.ones((4, 1)), [10.0]), pd.Series([3.0], index=[20.0]))
