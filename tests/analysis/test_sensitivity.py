"""What the prior does: drawn before any data, and felt in the forecast after them."""

from __future__ import annotations

import time

import matplotlib as mpl
import numpy as np
import pytest
from scipy.stats import norm

import bayes_tsl as bt
from bayes_tsl.analysis.sensitivity import POWERS, power_scaled
from bayes_tsl.inference.arviz_versions import power_sensitivity
from bayes_tsl.inference.fitting import refit
from bayes_tsl.reporting.content import priors_text
from tests.conftest import ORIGIN, STEPS, means, refusal

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


SEEN, MEAN = 4, 1.5  # measurements of a normal with variance one, and their mean; its own mean has prior Normal(0, 1)


@pytest.fixture(scope="module")
def conjugate() -> np.ndarray:
    """Quantiles of the posterior of that mean, in a random order (draw)."""
    quantiles = norm.ppf((np.arange(4000) + 0.5) / 4000, SEEN * MEAN / (SEEN + 1), 1 / np.sqrt(SEEN + 1))
    return np.random.default_rng(0).permutation(quantiles)


def test_medians_move_as_those_of_a_conjugate_normal_do(conjugate: np.ndarray) -> None:
    """Under a power of the prior its mean is ``n m / (n + alpha)``, under one of the likelihood ``n m / (n + 1 / alpha)``."""
    draws = np.column_stack([conjugate, 1.0 - 2.0 * conjugate])
    doublings = np.log2(POWERS[1] / POWERS[0])
    for log_density, given in ((-0.5 * conjugate**2, POWERS), (-0.5 * SEEN * (conjugate - MEAN) ** 2, 1 / np.array(POWERS))):
        low, high = (SEEN * MEAN / (SEEN + alpha) for alpha in given)
        found = power_scaled(draws, log_density, relative_ess=1.0)
        np.testing.assert_allclose(found.slope, np.array([1.0, -2.0]) * (high - low) / doublings, atol=0.002)
        assert found.pareto_k < 0.3


def test_power_sensitivity_of_what_depends_on_a_factor_and_of_what_does_not(conjugate: np.ndarray) -> None:
    other = np.random.default_rng(1).permutation(conjugate)
    draws = {"of it": conjugate.reshape(4, 1000), "of nothing": other.reshape(4, 1000)}
    weak, strong = (power_sensitivity(draws, -0.5 * (draws["of it"] / spread) ** 2) for spread in (1.0, 0.5))
    assert strong["of it"] > 2.0 * weak["of it"] > 0.1
    assert max(weak["of nothing"], strong["of nothing"]) < 0.02


@pytest.mark.parametrize("name", ["floor_level", "floor_slope", "heat", "noise_scale"])
def test_a_power_of_a_prior_is_a_wider_one(name: str) -> None:
    """Spread doubled is the power 1/4: their ratio is ``z^2 (1 - 1/4) / 2`` in logs, up to a constant."""
    centre, narrow, wide = np.array([0.3, -1.0, 3.0]), bt.Priors(), bt.Priors().widened(2.0)
    at = np.linspace(0.2, 3.5, 9)
    ratio = wide.distribution(name, centre).log_prob(at) - narrow.distribution(name, centre).log_prob(at)
    off = np.asarray(ratio) - 0.375 * narrow.standardised(name, at, centre) ** 2
    np.testing.assert_allclose(off, off[0], atol=1e-4)


def test_wider_priors_are_felt_within_a_second(mean_fit: bt.Fit) -> None:
    first = bt.prior_sensitivity(mean_fit, steps=AHEAD)
    begin = time.perf_counter()
    moved = bt.prior_sensitivity(mean_fit, steps=AHEAD, widen=4.0)
    assert time.perf_counter() - begin < 3.0
    assert list(moved) == ["median", "wider", "shift", "share", "prior_decides", "pareto_k", "trusted"]
    assert first["trusted"].all()
    assert abs(first["share"].iloc[0]) < 0.2
    np.testing.assert_allclose(moved["shift"], 2.0 * first["shift"])
    np.testing.assert_allclose(moved["wider"], moved["median"] + moved["shift"])
    interval = bt.forecast(mean_fit, steps=AHEAD).interval()
    np.testing.assert_allclose(moved["shift"], moved["share"] * (interval["upper"] - interval["lower"]))


def test_parameters_are_decided_by_losses_or_by_priors(mean_fit: bt.Fit) -> None:
    table = bt.parameter_sensitivity(mean_fit)
    assert list(table) == ["prior", "likelihood", "decided_by"]
    assert set(table.index) == set(mean_fit.sampled()) - {"weight"}
    assert table.loc["floor_level", "decided_by"] == "data"
    assert table.loc["heat_power", "decided_by"] == "prior"


def test_weights_that_cannot_be_trusted_are_named(mean_fit: bt.Fit) -> None:
    """Draws of a posterior whose priors are taken to be twenty times as narrow as they were."""
    data = mean_fit.data.copy()
    data.attrs["priors"] = mean_fit.priors.widened(0.05).to_json()
    moved = bt.prior_sensitivity(bt.Fit(data), steps=AHEAD)
    assert not moved["trusted"].any()
    k = moved["pareto_k"].iloc[0]
    assert k > 0.7
    assert priors_text(moved).endswith(
        f" (not to be trusted, since Pareto k is {k:.2f}; --refit-wider, in Python refit=True, fits again)."
    )


def test_what_cannot_be_asked(mean_fit: bt.Fit) -> None:
    data = mean_fit.data.copy()
    data.attrs["pooled"] = 1
    message = "fit must be of a run fitted by itself; got 'run' that others have informed. "
    with refusal(message + "Fit it with fit(losses.select(run=...), schedule=...)."):
        bt.parameter_sensitivity(bt.Fit(data))
    with refusal("widen must be a number above 0; got -2. 2 doubles every spread."):
        bt.prior_sensitivity(mean_fit, steps=AHEAD, widen=-2.0)


@pytest.mark.slow
def test_weights_and_a_second_fit_agree(mean_fit: bt.Fit) -> None:
    weights, again = (bt.prior_sensitivity(mean_fit, steps=AHEAD, refit=refit) for refit in (False, True))
    assert list(weights) == list(again)
    assert again["pareto_k"].isna().all()
    assert again["trusted"].all()
    assert (weights["prior_decides"] == again["prior_decides"]).all()
    np.testing.assert_allclose(weights["share"], again["share"], atol=0.12)


@pytest.mark.slow
def test_a_prior_that_decides_is_found_out(mean_fit: bt.Fit) -> None:
    """A heat fixed far from the truth by a tight prior: let loose, the forecast moves."""
    stubborn = refit(mean_fit, bt.Priors(heat=bt.priors.lognormal(0.8, 0.02), drift_scale=bt.priors.lognormal(0.001, 0.1)))
    assert bt.parameter_sensitivity(stubborn).loc["heat", "decided_by"] != "data"
    for again in (False, True):
        moved = bt.prior_sensitivity(stubborn, steps=AHEAD, widen=20.0, refit=again)
        assert moved["prior_decides"].any()
        assert priors_text(moved).startswith("note: the prior decides: ")


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
