"""How the loss of a test set goes with the mean over all: the posterior against direct computation and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bayes_tsl.model import several_test_sets
from bayes_tsl.model.drift import covariance
from bayes_tsl.model.several_test_sets import SetLosses, SetParameters, draw_set_parameters, draw_shape, losses_by_law

STEPS = 20


def sets(losses: np.ndarray) -> SetLosses:
    u = np.linspace(-2.0, 0.0, STEPS)
    excess = 0.2 * np.sin(2.0 * u)
    return SetLosses(losses, 3.0 - 0.3 * u + excess, u, excess, np.ones(STEPS), slope=0.3, drift_scale=0.05)


def past(known: SetLosses) -> np.ndarray:
    """What level, loading, heat loading and slope multiply (step, 4)."""
    slow = known.mean - known.mean[-1] - known.excess
    return np.stack([np.ones(STEPS), slow, known.excess, known.u], axis=1)


def test_posterior_is_that_of_normals_at_every_point_of_the_grid(monkeypatch: pytest.MonkeyPatch):
    """With a single point of the grid: the mean and covariance of a Gaussian regression, computed from joint covariances."""
    monkeypatch.setattr(several_test_sets, "_SIZES", (1, 1, 1))
    monkeypatch.setattr(several_test_sets, "_REACH", (0.0, 0.0, 0.0))
    rng = np.random.default_rng(0)
    known = sets(2.5 + 0.02 * rng.standard_normal((1, STEPS)))
    columns, scale = past(known), np.array([1.0, 0.7, 0.3, 0.3 * 0.3])
    noise = (0.2 * 0.05) ** 2 * covariance(known.u) + 0.004**2 * np.eye(STEPS)
    joint = columns @ np.diag(scale**2)
    centre = np.array([0.0, 1.0, 1.0, 0.0])
    gain = np.linalg.solve(joint @ columns.T + noise, joint).T
    expected = centre + gain @ (known.losses[0] - known.mean[-1] - columns @ centre)
    variance = np.diag(scale**2) - gain @ joint
    drawn = np.stack(draw_set_parameters(rng, known, 40_000)[:4])[:, 0]
    error = np.sqrt(np.diag(variance))
    np.testing.assert_array_less(np.abs(drawn.mean(axis=1) - expected), 0.03 * error)
    np.testing.assert_allclose(np.cov(drawn) / np.outer(error, error), variance / np.outer(error, error), atol=0.03)


def test_points_of_the_grid_are_weighted_by_their_density(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(several_test_sets, "_SIZES", (2, 2, 2))
    rng = np.random.default_rng(1)
    known = sets(2.5 + 0.01 * rng.standard_normal((1, STEPS)))
    columns, off = past(known), known.losses[0] - known.mean[-1]
    density = {}
    for a in (-2.4, 2.4):
        for b in (-2.4, 2.4):
            drift, noise = 0.2 * 0.05 * np.exp(1.2 * a), 0.004 * np.exp(0.8 * b)
            for c in (-1.6, 1.6):
                scale = np.array([1.0, 0.7, 0.3 * np.exp(0.7 * c), 0.09])
                whole = columns @ np.diag(scale**2) @ columns.T + drift**2 * covariance(known.u) + noise**2 * np.eye(STEPS)
                density[drift, noise, c] = multivariate_normal(columns @ [0, 1, 1, 0], whole).logpdf(off)
    logs = np.array(list(density.values()))
    weights = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
    drawn = draw_set_parameters(rng, known, 40_000)
    for number, (drift, noise, _) in enumerate(density):
        if number % 2 == 0:
            share = np.isclose(drawn.drift_scale, drift) & np.isclose(drawn.noise_scale, noise)
            assert share.mean() == pytest.approx(weights[number : number + 2].sum(), abs=0.01)


def test_parameters_are_found_again():
    """Of simulated sets 90 % intervals cover the truth as often."""
    rng, many = np.random.default_rng(2), 200
    known = sets(np.zeros((many, STEPS)))
    level, loading = rng.normal(0.0, 0.5, many), rng.normal(1.0, 0.5, many)
    heat, slope = rng.normal(1.0, 0.15, many), 0.09 * rng.standard_normal(many)
    root = np.linalg.cholesky(0.01**2 * covariance(known.u) + 1e-12 * np.eye(STEPS))
    truth = np.stack([level, loading, heat, slope])
    losses = known.mean[-1] + truth.T @ past(known).T + rng.standard_normal((many, STEPS)) @ root.T
    drawn = draw_set_parameters(rng, known._replace(losses=losses + 0.004 * rng.standard_normal(losses.shape)), 1000)
    for values, right in zip(drawn, truth):
        lower, upper = np.quantile(values, [0.05, 0.95], axis=1)
        assert 0.84 < np.mean((lower < right) & (right < upper)) < 0.98


def test_losses_by_law_are_the_sum_of_its_parts():
    parameters = SetParameters(*(np.full((1, 1), value) for value in (0.5, 2.0, 1.1, 0.3, 0.0, 0.0)))
    mean, excess, u = np.full((1, 1, 1), -0.4), np.full((1, 1, 1), -0.1), np.array([0.7])
    assert losses_by_law(parameters, mean, excess, u)[0, 0, 0] == pytest.approx(0.5 + 2.0 * -0.3 + 1.1 * -0.1 + 0.3 * 0.7)


def test_shape_is_a_regression_that_leans_on_its_prior_where_data_say_little():
    rng, u = np.random.default_rng(3), np.linspace(-1.0, 0.0, 30)
    offset, slope = draw_shape(rng, 0.4 + 0.1 * u, np.full(30, 1e-6), u, 2000)
    assert offset.mean() == pytest.approx(0.4, abs=1e-3)
    assert slope.mean() == pytest.approx(0.1, abs=2e-3)
    offset, slope = draw_shape(rng, 0.4 + 0.1 * u, np.full(30, 1e6), u, 20_000)
    assert offset.std() == pytest.approx(1.0, abs=0.02)
    assert slope.std() == pytest.approx(0.2, abs=0.005)
