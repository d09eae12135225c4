"""Leave-one-out densities against refits, stacking weights, and averages of forecasts."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy import stats

import bayes_tsl as bt
from bayes_tsl.model.densities import WEIGHTS, leave_one_out
from bayes_tsl.model.single_run import JITTER, trend, variances
from tests.conftest import ORIGIN, SETTLED, means

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")


@pytest.fixture(scope="module")
def paper_fit(simulation: bt.Simulation, schedule: bt.Schedule) -> bt.Fit:
    return bt.fit(simulation.losses.until(ORIGIN), schedule=schedule, law="paper", throw=False, **SETTLED)


@pytest.mark.slow
def test_the_law_that_made_the_run_wins(fit: bt.Fit, paper_fit: bt.Fit) -> None:
    table = bt.compare_laws({"paper": paper_fit, "general": fit})
    assert table.index[0] == "general"
    assert table.loc["general", "diff"] == 0.0
    assert table["weight"].sum() == pytest.approx(1.0)


def test_leave_one_out_is_the_conditional_density(mean_fit: bt.Fit) -> None:
    """Of one draw, by partitioned covariances: the others given as they are, the checkpoint's own weight averaged over."""
    design, posterior = mean_fit.design, mean_fit.data["posterior"].to_dataset().isel(chain=0, draw=0)
    drawn = {str(name): values.to_numpy() for name, values in posterior.items() if values.attrs.get("sampled")}
    fixed = mean_fit.priors.fixed()
    with jax.enable_x64(True):
        found = np.asarray(leave_one_out(design, fixed, drawn))
        law, spread = trend(design.axis, fixed | drawn), variances(design, fixed | drawn)
    off = design.estimates.coefficients[:, 2] - np.asarray(law.floor)
    noise, drift = np.asarray(spread.noise) + JITTER, np.asarray(spread.drift)
    for t in (0, 7, len(off) - 1):
        others = np.arange(len(off)) != t
        known = drift[np.ix_(others, others)] + np.diag(noise[others])
        pull = np.linalg.solve(known, drift[others, t])
        variance = drift[t, t] - pull @ drift[others, t] + spread.noise[t] * drawn["weight"][t] / WEIGHTS + JITTER
        density = stats.norm(pull @ off[others], np.sqrt(variance)).pdf(off[t])
        assert found[t] == pytest.approx(np.log(density.mean()), abs=1e-4)


@pytest.mark.slow
def test_the_reduction_to_coefficients_keeps_the_density_of_all_losses(
    fit: bt.Fit, simulation: bt.Simulation, schedule: bt.Schedule
) -> None:
    """A position law with a wrong exponent fits the positions worse, and says so."""
    free = bt.fit(simulation.losses.until(ORIGIN), schedule=schedule, law="free-exponent", throw=False, **SETTLED)
    exponent = free.positions.exponent
    assert exponent == pytest.approx(1.0, abs=0.3)
    elpd = bt.compare_laws({"general": fit, "free": free})["elpd"]
    assert abs(elpd["general"] - elpd["free"]) < 10.0


def test_an_average_has_draws_in_proportion_to_the_weights(ahead: bt.Forecast) -> None:
    shifted = replace(ahead, expected=ahead.expected + 10.0, observed=ahead.observed + 10.0)
    mixed = bt.average({"here": ahead, "there": shifted}, {"here": 3.0, "there": 1.0})
    assert float((mixed.observed[..., -1] > 8.0).mean()) == pytest.approx(0.25, abs=0.03)
    assert mixed.notices[0] == "Averaged over here 0.75, there 0.25."
    alone = bt.average({"here": ahead, "there": shifted}, {"here": 1.0, "there": 0.0})
    np.testing.assert_allclose(alone.observed.mean(), ahead.observed.mean(), atol=0.01)


@pytest.mark.slow
def test_laws_of_means_are_compared_too(mean_fit: bt.Fit, simulation: bt.Simulation, schedule: bt.Schedule) -> None:
    paper = bt.fit(means(simulation).until(ORIGIN), schedule=schedule, law="paper", throw=False, **SETTLED)
    assert paper.law == "paper"
    assert "heat_power" not in paper.data["posterior"]
    assert np.isfinite(bt.compare_laws({"general": mean_fit, "paper": paper})["elpd"]).all()
    assert np.isfinite(bt.forecast(paper, steps=[8000.0]).observed).all()


def test_what_cannot_be_compared_is_refused(fit: bt.Fit, mean_fit: bt.Fit, ahead: bt.Forecast) -> None:
    with pytest.raises(bt.DataError, match="fits must be of the same losses as 'a'; got 'b'"):
        bt.compare_laws({"a": fit, "b": mean_fit})
    with pytest.raises(bt.DataError, match="fits must name at least two fits; got 1"):
        bt.compare_laws({"a": fit})
    with pytest.raises(bt.DataError, match="weights must name every forecast; got 'b' without one"):
        bt.average({"a": ahead, "b": ahead}, {"a": 1.0})
    with pytest.raises(bt.DataError, match="law must be one of 'general', 'free-exponent', 'paper'; got 'linear'"):
        bt.fit(bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose"), law="linear")
