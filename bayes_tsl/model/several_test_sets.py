r"""Test sets of one run: how the loss of each goes with the mean over all.

A run is fitted to the mean over its test sets, ``M``, whose law, drift and checkpoint noise all sets share. With ``H`` the
excess loss of the learning rate (``lr_response``) and all else counted from the origin, test set ``k`` reads

    L_k = level_k + loading_k (M - H) + heat_loading_k H + slope_k u + drift_k(u) + noise_k.

What a set gains by slow learning differs from set to set, and ``loading`` says by how much; what the decay of the learning rate
takes off is nearly the same on all of them (docs/modelling.md, Test sets), so its loading has a prior of its own. Each set has
drift and noise of its own beside. Given the scales of these two and the prior scale of the heat loading, everything is linear
and normal: the posterior is a sum over a grid of the three scales, and costs no sampling.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_tsl.model.drift import covariance
from bayes_tsl.model.priors import lognormal, normal

Array = NDArray[np.float64]

LEVEL = normal(0.0, 1.0)  # loss of a set at the origin, less that of the mean  [nats]
LOADING = normal(1.0, 0.7)
SLOPE = normal(0.0, 0.3)  # in slopes of the mean's floor
HEAT_LOADING = lognormal(0.3, 0.7)  # standard deviation of the heat loading around one
DRIFT = lognormal(0.2, 1.2)  # scale of a set's own drift, in that of the mean
NOISE = lognormal(0.004, 0.8)  # of one checkpoint  [nats]
SHAPE = normal(0.0, 1.0), normal(0.0, 0.2)  # log gap or log rate of a set less that of the mean: at the origin, and its slope
_SIZES = (9, 7, 5)  # of the grid: own drift, own noise, heat loading
_REACH = (2.4, 2.4, 1.6)  # of the grid in standard deviations of the log


class SetLosses(NamedTuple):
    """What is known of all test sets at the fitted checkpoints.

    Attributes:
        losses: mean loss over positions (test_set, step).  [nats]
        mean: that of the mean over test sets (step).  [nats]
        u: log progress since the origin (step).
        excess: excess loss of the learning rate, less that at the origin (step).  [nats]
        count: number of checkpoints averaged in each (step).
        slope: of the mean's floor per unit of log progress.  [nats]
        drift_scale: of the mean.
    """

    losses: Array
    mean: Array
    u: Array
    excess: Array
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]  # as in Design
    slope: float
    drift_scale: float


class SetParameters(NamedTuple):
    """Parameters of the equation above, and scales of drift and noise; each (test_set, draw)."""

    level: Array
    loading: Array
    heat_loading: Array
    slope: Array
    drift_scale: Array
    noise_scale: Array


class _Scales(NamedTuple):
    """Points of the grid: scales of own drift and noise, and prior scale of the heat loading (point)."""

    drift: Array
    noise: Array
    heat: Array


def draw_set_parameters(rng: np.random.Generator, sets: SetLosses, many: int) -> SetParameters:
    """Draws from the posterior of every test set's parameters: a point of the grid each, and a normal given it."""
    axes = [np.linspace(-reach, reach, size) for reach, size in zip(_REACH, _SIZES)]
    standard = np.stack([each.ravel() for each in np.meshgrid(*axes, indexing="ij")])
    drift, noise, heat = (prior.centre * np.exp(prior.sd * z) for prior, z in zip((DRIFT, NOISE, HEAT_LOADING), standard))
    scales = _Scales(sets.drift_scale * drift, noise, heat)
    density, mean, root = _given(sets, scales)
    density = density - 0.5 * (standard**2).sum(axis=0)[:, None]
    drawn = []
    for own, centre in zip(density.T, np.moveaxis(mean, 2, 0)):
        weight = np.exp(own - own.max())
        point = rng.choice(len(weight), size=many, p=weight / weight.sum())
        away = np.einsum("di,dij->dj", rng.standard_normal((many, centre.shape[1])), root[point])
        drawn.append((*(centre[point] + away).T, scales.drift[point], scales.noise[point]))
    return SetParameters(*(np.stack(values) for values in zip(*drawn)))


def _given(sets: SetLosses, scales: _Scales) -> tuple[Array, Array, Array]:
    r"""The regression at every point of the grid.

    With ``y`` the losses less their prior mean, ``X`` the columns of level, loadings and slope, ``N`` the covariance of own
    drift and noise and ``V`` the prior variances, ``P = V^-1 + X' N^-1 X`` and ``m = P^-1 X' N^-1 y`` give (Rasmussen &
    Williams 2006, section 2.7)

        log p(y) = -1/2 (y' N^-1 y - m' P m + log det N + log det P + log det V) + ...,      z | y ~ Normal(m, P^-1).

    Returns:
        Log density of each set, up to a constant (point, test_set); mean of the coefficients (point, coefficient, test_set);
        and a matrix ``R`` with ``R' R`` their covariance (point, coefficient, coefficient).
    """
    one, centre = np.ones_like(scales.heat), np.array([LEVEL.centre, LOADING.centre, 1.0, SLOPE.centre])
    past = _columns(sets.mean - sets.mean[-1], sets.excess, sets.u)
    off = (sets.losses - sets.mean[-1]).T - (past @ centre)[:, None]
    sd = np.stack([LEVEL.sd * one, LOADING.sd * one, scales.heat, SLOPE.sd * sets.slope * one], axis=1)
    drift, noise = scales.drift[:, None, None] ** 2, scales.noise[:, None, None] ** 2
    beside = drift * covariance(sets.u) + noise * np.diag(1.0 / sets.count)
    solved = np.linalg.inv(beside) @ np.hstack([past, off])
    by_columns, by_losses = solved[:, :, : len(centre)], solved[:, :, len(centre) :]
    precision = past.T @ by_columns + np.eye(len(centre)) / sd[:, :, None] ** 2
    pull = past.T @ by_losses
    mean = np.linalg.solve(precision, pull)
    misfit = np.einsum("ts,gts->gs", off, by_losses) - np.einsum("gks,gks->gs", pull, mean)
    volume = np.linalg.slogdet(beside)[1] + np.linalg.slogdet(precision)[1] + 2.0 * np.log(sd).sum(axis=1)
    root = np.linalg.inv(np.linalg.cholesky(precision))
    return -0.5 * (misfit + volume[:, None]), np.asarray(centre[:, None] + mean, float), np.asarray(root, float)


def losses_by_law(parameters: SetParameters, mean: Array, excess: Array, u: Array) -> Array:
    """Losses of a test set, less what the mean had at the origin, drift and noise aside (chain, draw, step).

    Args:
        parameters: of the set (chain, draw).
        mean: losses of the mean over test sets, less that at the origin (chain, draw, step).
        excess: excess loss of the learning rate, less that at the origin (chain, draw, step).
        u: log progress since the origin (step).
    """
    return np.einsum("cdtk,kcd->cdt", _columns(mean, excess, u), np.stack(parameters[:4]))


def _columns(mean: Array, excess: Array, u: Array) -> Array:
    """What level, loading, heat loading and slope multiply (..., 4): mean and excess loss are counted from the origin."""
    return np.stack([np.ones_like(mean), mean - excess, excess, np.broadcast_to(u, np.shape(mean))], axis=-1)


def draw_shape(rng: np.random.Generator, off: Array, variance: Array, u: Array, many: int) -> tuple[Array, Array]:
    """Offset at the origin and slope of a set's log gap or log rate, less those of the mean: draws (draw), (draw).

    Args:
        rng: where the draws come from.
        off: estimates of a set less those of the mean (step).
        variance: of each (step).
        u: log progress since the origin (step).
        many: number of draws.
    """
    past = np.stack([np.ones_like(u), u], axis=1)
    precision = (past.T / variance) @ past + np.diag([prior.sd**-2 for prior in SHAPE])
    mean = np.linalg.solve(precision, past.T @ (off / variance))
    drawn = mean + rng.standard_normal((many, 2)) @ np.linalg.inv(np.linalg.cholesky(precision))
    return drawn[:, 0], drawn[:, 1]
