r"""The law over token positions, its mean over them, and its fit to every checkpoint.

The loss of one checkpoint at position ``i`` is reciprocal (Xiong et al., arXiv 2404.17785), with a free exponent as an option,

    L_i = gap / (1 + rate * i)^exponent + floor.

Measured losses of checkpoint ``t`` are ``y_ti = L_i(c_t) + e_i + noise`` with coefficients ``c = (log gap, log rate, floor)``
and a position effect ``e_i`` that belongs to the test set and is the same at every checkpoint. Effects are orthogonal to the
law (to the span of ``{1, dL/dlog gap, dL/dlog rate}`` at the last checkpoint), else they trade off with the coefficients.
Alternating least squares gives both. Under the linearised law the estimates and their covariance ``sigma^2 (J'J)^-1`` are
sufficient for all that
follows, which therefore never sees a position again: cost does not grow with context length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from bayes_tsl.model.polynomials import basis, interpolant, nodes

Array = NDArray[np.float64]

RATES = (1e-3, 30.0)  # bounds of the rate, between which the mean over positions is tabulated
EXPONENTS = (0.2, 2.0)  # bounds of the exponent, where it is free
_OF_CHECKPOINTS = ("coefficients", "covariance", "log_density")  # fields of estimates that have a row for every checkpoint
_SWEEPS = 100
_TOLERANCE = 1e-8
# A loose prior of log gap, log rate and floor: holds a coefficient that the positions leave open, moves no other.
_CENTRE, _SCALE = np.array([0.0, -1.0, 0.0]), np.array([1.5, 1.5, np.inf])


def reciprocal_loss(
    position: ArrayLike, *, gap: ArrayLike, rate: ArrayLike, floor: ArrayLike, exponent: ArrayLike = 1.0
) -> jax.Array:
    """Loss at a token position [nats/token]: ``floor + gap / (1 + rate * position)^exponent``.

    Shapes broadcast: coefficients (..., 1) against positions (position).

    >>> float(reciprocal_loss(0, gap=1.5, rate=0.3, floor=3.0))
    4.5
    """
    return jnp.asarray(floor) + jnp.asarray(gap) * reciprocal_shape(position, rate, exponent)


def reciprocal_shape(position: ArrayLike, rate: ArrayLike, exponent: ArrayLike = 1.0) -> jax.Array:
    """The falling part of the position law, one at position zero: ``1 / (1 + rate * position)^exponent``.

    >>> float(reciprocal_shape(10, 0.1))
    0.5
    """
    return (1.0 + jnp.asarray(rate) * jnp.asarray(position)) ** -jnp.asarray(exponent)


def mean_polynomial(position: Array, exponent: float, weight: Array | None = None) -> Array:
    """Log of the mean over positions of the falling part, as a polynomial in log rate that ``mean_shape`` reads (order).

    Args:
        position: token positions (position).
        exponent: of the law.
        weight: of each position in the mean; they sum to one. By default all count the same (position).
    """
    falling = (1.0 + nodes(RATES)[:, None] * position) ** -exponent
    return interpolant() @ np.log(falling.mean(axis=1) if weight is None else falling @ weight)


def mean_shape(rate: ArrayLike, polynomial: ArrayLike) -> jax.Array:
    """Mean over positions of the falling part, from the ``mean_polynomial`` of these positions (shape of ``rate``)."""
    return jnp.exp(basis(rate, RATES) @ jnp.asarray(polynomial))


class CoefficientEstimates(NamedTuple):
    """Estimates of the coefficients of each checkpoint, and what all checkpoints share.

    Attributes:
        coefficients: log gap, log rate and floor (step, 3).
        covariance: of these estimates, from the noise at positions (step, 3, 3).
        effect: position effects (position).  [nats]
        effect_scale: standard error of the position effects (position).  [nats]
        noise: standard deviation of one position's loss around law and effect.  [nats]
        exponent: of the position law.
        log_density: of a checkpoint's losses, less that of its estimates: what the reduction to coefficients leaves out (step).
    """

    coefficients: Array
    covariance: Array
    effect: Array
    effect_scale: Array
    noise: float
    exponent: float = 1.0
    log_density: Array = np.zeros(0)


class PositionEffects(NamedTuple):
    """What a fit knows of single positions (position); all empty where it has seen mean losses only.

    Attributes:
        position: token positions.
        effect: what each position adds to the law at every checkpoint.  [nats]
        effect_scale: standard error of the effects.  [nats]
        noise: standard deviation of one position's loss around law and effect.  [nats]
        exponent: of the position law.
    """

    position: Array
    effect: Array
    effect_scale: Array
    noise: float
    exponent: float


class PositionGrid(NamedTuple):
    """Where the law is read: token positions (position), and the exponent over them."""

    position: Array
    exponent: float


def estimate_coefficients(
    losses: Array, positions: Array, *, exponent: float | None = 1.0, starts: Sequence[int] | NDArray[Any] = (0,)
) -> CoefficientEstimates:
    """Fit the position law to every checkpoint, with position effects shared by all.

    Args:
        losses: mean loss (step, position); NaN where none was measured.
        positions: token positions (position).
        exponent: of the law; None for that with the smallest residuals.
        starts: rows at which a run begins.
    """
    begins = np.isin(np.arange(len(losses)), starts)
    if exponent is None:

        def misfit(log_exponent: float) -> float:
            tried = _sweep(losses, PositionGrid(positions, float(np.exp(log_exponent))), begins)
            return float(np.nansum(tried.residual**2))

        found = minimize_scalar(misfit, bounds=np.log(EXPONENTS), method="bounded", options={"xatol": 0.01})
        exponent = float(np.exp(found.x))
    grid, present = PositionGrid(positions, exponent), np.isfinite(losses)
    coefficients, effect, noise, residual = _sweep(losses, grid, begins)
    information = _information(_slopes(coefficients, grid), present, noise)
    effect_scale = noise / np.sqrt(present.sum(axis=0))
    covariance = np.asarray(noise**2 * np.linalg.inv(information), float)
    scatter = -0.5 * np.nansum((residual / noise) ** 2, axis=1) - present.sum(axis=1) * np.log(noise * np.sqrt(2.0 * np.pi))
    of_estimates = -0.5 * np.linalg.slogdet(2.0 * np.pi * covariance)[1]
    return CoefficientEstimates(coefficients, covariance, effect, effect_scale, noise, exponent, scatter - of_estimates)


class _Swept(NamedTuple):
    """Coefficients (step, 3), effects (position), noise, and what they leave of the losses (step, position)."""

    coefficients: Array
    effect: Array
    noise: float
    residual: Array


def _sweep(losses: Array, grid: PositionGrid, begins: NDArray[np.bool_]) -> _Swept:
    """Coefficients and effects in turn, until they settle."""
    coefficients, effect, noise = _start(losses), np.zeros(len(grid.position)), 0.1
    residual = losses
    for _ in range(_SWEEPS):
        before = coefficients
        coefficients = _gauss_newton(coefficients, losses - effect, grid, noise)
        residual = losses - law_curves(coefficients, grid)
        effect = _shared_effect(residual, coefficients[-1], grid)
        noise = _short_term_noise(residual, begins)
        if np.abs(coefficients - before).max() < _TOLERANCE:
            break
    return _Swept(coefficients, effect, noise, residual - effect)


def rows(estimates: CoefficientEstimates, which: slice) -> CoefficientEstimates:
    """Estimates of some of the checkpoints."""
    own = {name: getattr(estimates, name)[which] for name in _OF_CHECKPOINTS}
    return estimates._replace(**own)


def joined(estimates: Sequence[CoefficientEstimates]) -> CoefficientEstimates:
    """Estimates of several groups of checkpoints, one after the other."""
    own = {name: np.concatenate([getattr(each, name) for each in estimates]) for name in _OF_CHECKPOINTS}
    return estimates[0]._replace(**own)


def with_mean_loss(estimates: CoefficientEstimates, positions: Array) -> CoefficientEstimates:
    """The same estimates with the mean loss in place of the floor: what one checkpoint says best, whatever its gap and rate."""
    gap, rate = np.exp(estimates.coefficients[:, :2]).T
    slopes = _slopes(estimates.coefficients, PositionGrid(positions, estimates.exponent)).mean(axis=1)
    mean = estimates.coefficients[:, 2] + gap * mean_falling(rate, positions, estimates.exponent)
    turn = np.tile(np.eye(3), (len(mean), 1, 1))
    turn[:, 2] = slopes
    coefficients = np.column_stack([estimates.coefficients[:, :2], mean])
    return estimates._replace(coefficients=coefficients, covariance=turn @ estimates.covariance @ np.swapaxes(turn, 1, 2))


def mean_falling(rate: Array, positions: Array, exponent: float) -> Array:
    """Mean over positions of ``(1 + rate * position)^-exponent`` (step)."""
    return ((1.0 + rate[:, None] * positions) ** -exponent).mean(axis=1)


def estimates_of_means(losses: Array) -> CoefficientEstimates:
    """Mean losses (step) stand for the floor alone; there is no position curve to summarise."""
    coefficients = np.stack([np.full(len(losses), -np.inf), np.zeros(len(losses)), losses], axis=1)
    return CoefficientEstimates(coefficients, np.zeros((len(losses), 3, 3)), np.zeros(1), np.zeros(1), 0.0)


def law_tangent(coefficient: Array, positions: Array, exponent: float = 1.0) -> Array:
    """Orthonormal basis of ``{1, dL/dlog gap, dL/dlog rate}`` at one checkpoint's coefficients (position, 3)."""
    return np.linalg.qr(_slopes(coefficient[None], PositionGrid(positions, exponent))[0])[0]


def effect_basis(coefficient: Array, positions: Array, exponent: float = 1.0) -> Array:
    """Orthonormal basis of the position effects, all that ``law_tangent`` leaves (position, position - 3)."""
    return np.linalg.qr(_slopes(coefficient[None], PositionGrid(positions, exponent))[0], mode="complete")[0][:, 3:]


def _start(losses: Array) -> Array:
    """One gap for all, since a checkpoint may lack the first positions; each its own level."""
    level = np.nanmean(losses, axis=1)
    gap = max(float(np.nanmean((losses - level[:, None])[:, : max(losses.shape[1] // 64, 1)])), 0.1)
    return np.stack([np.full_like(level, np.log(gap)), np.full_like(level, np.log(0.3)), level], axis=1)


def law_curves(coefficients: Array, grid: PositionGrid) -> Array:
    """The law at every checkpoint, from log gap, log rate and floor (step, position)."""
    gap, rate, floor = np.exp(coefficients[:, :1]), np.exp(coefficients[:, 1:2]), coefficients[:, 2:]
    return gap * (1.0 + rate * grid.position) ** -grid.exponent + floor


def _slopes(coefficients: Array, grid: PositionGrid) -> Array:
    """Derivatives of the law with respect to log gap, log rate and floor (step, position, 3)."""
    gap, reach = np.exp(coefficients[:, :1]), np.exp(coefficients[:, 1:2]) * grid.position
    falling = gap * (1.0 + reach) ** -grid.exponent
    return np.stack([falling, -grid.exponent * falling * reach / (1.0 + reach), np.ones_like(falling)], axis=-1)


def _information(slopes: Array, present: Array, noise: float) -> Array:
    weighted = slopes * present[..., None]
    return np.swapaxes(weighted, 1, 2) @ slopes + np.diag((noise / _SCALE) ** 2)


def _gauss_newton(coefficients: Array, losses: Array, grid: PositionGrid, noise: float) -> Array:
    """One Gauss-Newton step of every checkpoint at once, as long as it helps; log coefficients move by one at most."""
    slopes = _slopes(coefficients, grid)
    residual = np.nan_to_num(losses - law_curves(coefficients, grid))
    pull = (_CENTRE - coefficients) * (noise / _SCALE) ** 2
    gradient = np.einsum("tik,ti->tk", slopes, residual) + pull
    move = np.linalg.solve(_information(slopes, np.isfinite(losses), noise), gradient[..., None])[..., 0]
    move = move / np.maximum(np.abs(move[:, :2]).max(axis=1, keepdims=True), 1.0)
    start = _misfit(coefficients, losses, grid, noise)
    for share in (0.25, 0.25, 0.25, 0.0):
        worse = _misfit(coefficients + move, losses, grid, noise) > start
        move = np.where(worse[:, None], share * move, move)
    return coefficients + move


def _misfit(coefficients: Array, losses: Array, grid: PositionGrid, noise: float) -> Array:
    prior = noise**2 * (((coefficients - _CENTRE) / _SCALE) ** 2).sum(axis=1)
    return np.nansum((losses - law_curves(coefficients, grid)) ** 2, axis=1) + prior


def _short_term_noise(residual: Array, begins: NDArray[np.bool_]) -> float:
    """Noise of one position from one checkpoint to the next: what moves slowly belongs to the coefficients' own noise."""
    change = np.diff(residual, axis=0)[~begins[1:]]
    freedom = max(np.isfinite(change).sum() - 3 * len(change), 1)
    return float(np.sqrt(0.5 * np.nansum(change**2) / freedom))


def _shared_effect(residual: Array, reference: Array, grid: PositionGrid) -> Array:
    effect = np.nanmean(residual, axis=0)
    tangent = law_tangent(reference, *grid)
    return effect - tangent @ (tangent.T @ effect)
