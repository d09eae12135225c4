"""What the prior does: drawn before any data, and felt in the forecast after them."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl.inference.fitting import refit
from tests.conftest import ORIGIN, STEPS, means

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
AHEAD = STEPS[STEPS > ORIGIN]


@pytest.fixture(scope="module", params=["means", pytest.param("positions", marks=pytest.mark.slow)])
def short_fit(request: pytest.FixtureRequest, simulation: bt.Simulation, schedule: bt.Schedule) -> bt.Fit:
    losses = means(simulation) if request.param == "means" else simulation.losses
    return bt.fit(losses.until(ORIGIN), schedule=schedule, chains=2, num_draws=150, throw=False, progress=False)


def test_a_refit_under_the_same_priors_is_the_same_fit(short_fit: bt.Fit) -> None:
    again = refit(short_fit, short_fit.priors)
    np.testing.assert_allclose(again.parameters()["heat"], short_fit.parameters()["heat"], rtol=1e-6)
    assert again.data.attrs.keys() == short_fit.data.attrs.keys()
    assert again.by_position == short_fit.by_position


@pytest.mark.slow
def test_data_overrule_the_prior_early_and_it_says_where_they_do_not(mean_fit: bt.Fit) -> None:
    moved = bt.prior_sensitivity(mean_fit, steps=AHEAD)
    assert list(moved) == ["median", "wider", "shift", "share", "prior_decides", "converged"]
    assert abs(moved["share"].iloc[0]) < 0.2
    np.testing.assert_allclose(moved["shift"], moved["wider"] - moved["median"])


@pytest.mark.slow
def test_a_prior_that_decides_is_found_out(mean_fit: bt.Fit) -> None:
    """A heat fixed far from the truth by a tight prior: let loose, the forecast moves."""
    stubborn = refit(mean_fit, bt.Priors(heat=bt.priors.lognormal(0.8, 0.02), drift_scale=bt.priors.lognormal(0.001, 0.1)))
    moved = bt.prior_sensitivity(stubborn, steps=AHEAD, widen=20.0)
    assert moved["prior_decides"].any()


def test_prior_predictive_holds_the_run_and_is_wider_than_the_posterior(
    schedule: bt.Schedule, simulation: bt.Simulation, mean_fit: bt.Fit
) -> None:
    truth = simulation.losses.mean_losses()
    drawn = bt.prior_predictive(schedule=schedule, steps=STEPS, origin=ORIGIN, loss=float(truth.loc[ORIGIN]), draws=300)
    lower, upper = drawn["observed"].quantile([0.025, 0.975], dim="draw").to_numpy()
    assert ((truth >= lower) & (truth <= upper)).all()
    after = bt.forecast(mean_fit, steps=AHEAD).observed.std(("chain", "draw"))
    assert bool((drawn["observed"].std("draw").sel(step=AHEAD) > 2.0 * after).all())
    assert drawn["heat"].shape == (300,)


def test_prior_predictive_is_drawn(schedule: bt.Schedule) -> None:
    mpl.use("agg")
    drawn = bt.prior_predictive(schedule=schedule, steps=STEPS, origin=ORIGIN, loss=3.5, draws=20)
    ax = bt.plot_prior_predictive(drawn, runs=5)
    assert ax.get_xlabel() == "step"
    assert len(ax.get_lines()) == 7  # five runs, the median and the origin


def test_prior_predictive_refuses_what_cannot_be(schedule: bt.Schedule) -> None:
    with pytest.raises(bt.DataError, match="schedule must reach the last forecast step 9000; got 8000"):
        bt.prior_predictive(schedule=schedule, steps=[9000], origin=ORIGIN, loss=3.5)
    with pytest.raises(bt.DataError, match="draws must be 1 or more; got 0"):
        bt.prior_predictive(schedule=schedule, steps=[5000], origin=ORIGIN, loss=3.5, draws=0)


def test_priors_widened() -> None:
    wide = bt.Priors().widened(2.0)
    assert wide.heat.sd == 2.0 * bt.Priors().heat.sd
    assert wide.heat.centre == bt.Priors().heat.centre
    assert wide.fixed() == bt.Priors().fixed()
    with pytest.raises(bt.DataError, match="factor must be a number above 0; got -1"):
        bt.Priors().widened(-1.0)
