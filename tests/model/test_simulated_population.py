"""A simulated population against its description in NumPy, line by line."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import ks_2samp

import bayes_tsl as bt
from bayes_tsl.model.hierarchical import EFFECT_SD, MEAN_SD, OUTLYING, SPREAD_MEDIAN, make_hierarchical_design
from bayes_tsl.model.priors import fixed, lognormal, normal
from bayes_tsl.model.simulated_population import Plan, draw_population, simulate_population
from bayes_tsl.model.simulation import unseen_design
from tests.conftest import STEPS, refusal

DRAWS, LEVEL, CURVATURE = 4000, 3.5, 0.4
PLAN = bt.schedules.cosine(peak=1e-3, warmup=150, total=8000, final=1e-4)
ORIGINS = np.array([8000.0, 3200.0])
PRIORS = bt.Priors(floor_slope=normal(-0.15, 0.05), floor_curvature=fixed(CURVATURE), heat=lognormal(1e-6, 0.4))  # hardly hot


@pytest.fixture(scope="module")
def drawn() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Sites of populations (draw, ...), and parameters of their two runs (draw, run)."""
    designs = [unseen_design(STEPS[::2], np.array([]), PLAN, origin, np.array([0.0, 0.0, LEVEL])) for origin in ORIGINS]
    runs = make_hierarchical_design(designs, [PRIORS] * 2, np.array([[17.0], [19.0]]))
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), DRAWS)
        return jax.tree.map(np.asarray, jax.vmap(draw_population, (None, 0))(runs, keys))


@pytest.fixture(scope="module")
def trait() -> dict[str, np.ndarray]:
    """Traits of the two runs by the tail that these have (draw, run)."""
    rng = np.random.default_rng(0)
    mean, effect = rng.normal(0.0, MEAN_SD, (DRAWS, 1)), rng.normal(0.0, EFFECT_SD, (DRAWS, 1))
    spread = expit(rng.normal(logit(SPREAD_MEDIAN), 1.0, (DRAWS, 1)))
    tails = {"normal": rng.standard_normal((DRAWS, 2)), "heavy": rng.standard_t(OUTLYING, (DRAWS, 2))}
    return {tail: mean + effect * np.array([-1.0, 1.0]) + spread * departure for tail, departure in tails.items()}


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two runs have the same distribution in both samples, and so has their difference."""
    return all(ks_2samp(np.asarray(a), np.asarray(b)).pvalue > 1e-3 for a, b in zip(_views(one), _views(other)))


def _views(runs: np.ndarray) -> tuple[np.ndarray, ...]:
    return runs[:, 0], runs[:, 1], runs[:, 1] - runs[:, 0]


def test_logs_of_positive_parameters_are_heavy_tailed_around_the_population(drawn, trait) -> None:
    heat = np.log(drawn[1]["heat"] / PRIORS.heat.centre) / PRIORS.heat.sd
    assert alike(heat, trait["heavy"])
    assert not alike(heat, 1.2 * trait["heavy"])


def test_slopes_are_normal_at_one_progress_and_carried_to_each_origin(drawn, trait) -> None:
    progress = np.log(PLAN.progress(ORIGINS))
    there = drawn[1]["floor_slope"] * np.exp(CURVATURE * (progress - progress.mean()))
    assert alike((there - PRIORS.floor_slope.centre) / PRIORS.floor_slope.sd, trait["normal"])


def test_levels_are_each_run_s_own(drawn) -> None:
    off = (drawn[1]["floor_level"] - LEVEL) / PRIORS.floor_level.sd
    assert alike(off, np.random.default_rng(1).standard_normal((DRAWS, 2)))


def test_a_single_run_is_no_population() -> None:
    with refusal("plans must be of several runs; got 'a'. One run is drawn by simulate."):
        simulate_population({"a": Plan(PLAN, STEPS, 8000.0)}, priors=PRIORS)
