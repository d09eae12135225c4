"""A forecast has the moments of the NumPyro model itself: the two are one, whatever the run."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import xarray as xr
from numpyro.infer import Predictive

import bayes_tsl as bt
from bayes_tsl.inference.nuts import Draws
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.inference.schema import COEFFICIENTS, run_tree, tree_of_runs
from bayes_tsl.model.design import Design, make_design
from bayes_tsl.model.drift import covariance
from bayes_tsl.model.lr_response import make_time_axis
from bayes_tsl.model.priors import Priors, fixed
from bayes_tsl.model.single_run import model
from tests.conftest import ORIGIN, TRUTH, means

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
AHEAD = np.array([4010.0, 6000.0, 8000.0])  # at the first there is noise alone, at the last mostly drift
CHAINS, DRAWS = 4, 3000


def known(**parameters: float) -> Priors:
    return Priors(**{name: fixed(value) for name, value in (TRUTH | parameters).items()})


def tree_at(design: Design, priors: Priors, schedule: bt.Schedule) -> xr.DataTree:
    """The tree of a fit that knows every parameter to a billionth, where positions are measured without error."""
    rng, shape = np.random.default_rng(0), (CHAINS, DRAWS)
    exact = design._replace(estimates=design.estimates._replace(noise=0.0, effect_scale=0.0 * design.estimates.effect_scale))
    names = [name for name in TRUTH if design.by_position or not name.startswith(("gap", "rate"))]
    sites = {name: getattr(priors, name).centre + 1e-9 * rng.standard_normal(shape) for name in names}
    stats = {"diverging": np.zeros(shape), "energy": rng.standard_normal(shape)}
    coefficients = {
        name: np.zeros((*shape, len(design.step))) for name in COEFFICIENTS if design.by_position or name == "floor"
    }
    draws = Draws(sites, stats)
    made = run_tree(exact, Priors(), schedule, draws, coefficients=coefficients, densities={}, seed=0)
    made.attrs |= {"run": "run", "test_set": "test", "law": "general", "notices": "[]"}
    return made


def moments_of_the_model(design: Design, priors: Priors, schedule: bt.Schedule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, quartiles and step-to-step correlation of mean losses that the model draws at the steps ahead."""
    axis = make_time_axis(np.append(AHEAD, design.anchor.origin), schedule, design.anchor)
    ahead = design._replace(
        step=AHEAD,
        count=np.ones_like(AHEAD),
        axis=axis,
        drift=covariance(axis.u[:-1]),
        estimates=design.estimates._replace(
            coefficients=np.zeros((len(AHEAD), 3)), covariance=np.zeros((len(AHEAD), 3, 3)), log_density=np.zeros(0)
        ),
    )
    with jax.enable_x64(True):
        drawn = Predictive(model, num_samples=CHAINS * DRAWS)(jax.random.key(1), ahead, priors, observe=False)
    return moments(np.asarray(drawn["mean_estimate"]))


def moments(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return losses.mean(axis=0), np.quantile(losses, [0.25, 0.75], axis=0), np.corrcoef(losses.T)


def agree(ahead: bt.Forecast, expected: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Within five Monte Carlo errors."""
    losses = ahead.observed.to_numpy().reshape(-1, len(AHEAD))
    error = losses.std(axis=0) / np.sqrt(CHAINS * DRAWS / 2)
    mean, quartiles, correlation = moments(losses)
    assert (np.abs(mean - expected[0]) < 5 * error).all(), (mean - expected[0]) / error
    assert (np.abs(quartiles - expected[1]) < 10 * error).all(), (quartiles - expected[1]) / error
    assert np.abs(correlation - expected[2]).max() < 0.03


@pytest.mark.parametrize("by_position", [True, False], ids=["positions", "means"])
def test_one_run(by_position: bool, simulation: bt.Simulation, schedule: bt.Schedule) -> None:
    losses = simulation.losses if by_position else means(simulation)
    design, _ = make_design(losses.until(ORIGIN), schedule)
    fit = Fit(tree_at(design, known(), schedule))
    agree(bt.forecast(fit, steps=AHEAD), moments_of_the_model(design, known(), schedule))


@pytest.mark.parametrize("by_position", [True, False], ids=["positions", "means"])
def test_several_runs(by_position: bool, simulation: bt.Simulation, schedule: bt.Schedule) -> None:
    """Each run of a hierarchical fit is forecast by the single-run model with its own parameters."""
    losses = simulation.losses if by_position else means(simulation)
    other = bt.schedules.wsd(peak=2e-3, warmup=150, total=8000, final=2e-4, decay=0.3)
    runs = {"cosine": (schedule, known()), "wsd": (other, known(heat=0.4, floor_slope=-0.2, drift_scale=0.05))}
    designs = {run: make_design(losses.until(ORIGIN), plan)[0] for run, (plan, _) in runs.items()}
    trees = {run: tree_at(designs[run], priors, plan) for run, (plan, priors) in runs.items()}
    for run, tree in trees.items():
        tree.attrs["run"] = run
    data = tree_of_runs(trees, trees["wsd"]["sample_stats"].to_dataset(), seed=0)
    data.attrs |= {name: trees["wsd"].attrs[name] for name in ("test_set", "law", "notices")}
    ahead = bt.forecast(Fit(data), steps=AHEAD)
    for run, (plan, priors) in runs.items():
        agree(ahead.select(run=run), moments_of_the_model(designs[run], priors, plan))


def test_replicated_measurements_scatter_around_the_losses(fit: bt.Fit) -> None:
    replicated = fit.data["posterior_predictive"]["mean_loss"]
    lower, upper = (replicated.quantile(q, ("chain", "draw")) for q in (0.05, 0.95))
    inside = float(((lower < fit.observed["mean_loss"]) & (fit.observed["mean_loss"] < upper)).mean())
    assert inside >= 0.75, f"90 % intervals cover {inside:.2f} of the fitted losses"
    assert float((upper - lower).max()) < 0.1
