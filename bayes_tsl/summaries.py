r"""From a loss at every position to three coefficients a checkpoint, so that cost does not grow with context length.

The losses of checkpoint ``t`` are ``y_ti = L_i(c_t) + e_i + noise`` with coefficients ``c = (log gap, log rate, floor)``
and a position effect ``e_i`` that belongs to the test set and is the same at every checkpoint. The effects are kept
orthogonal to the law (to the span of ``{1, dL/dlog gap, dL/dlog rate}`` at the last checkpoint), else they trade off with the
coefficients. Alternating least squares gives both; under the linearised law the estimates and their covariance
``sigma^2 (J'J)^-1`` are sufficient for everything above, which therefore never sees a position again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SWEEPS = 100
_TOLERANCE = 1e-8
# A loose prior of log gap, log rate and floor: holds a coefficient that the positions leave open, moves no other.
_CENTRE, _SPREAD = np.array([0.0, -1.0, 0.0]), np.array([1.5, 1.5, np.inf])


class Summary(NamedTuple):
    """Estimates of the coefficients of each checkpoint, and what all checkpoints share.

    Attributes:
        coefficients: log gap, log rate and floor (step, 3).
        covariance: of these estimates, from the noise at positions (step, 3, 3).
        effect: position effects (position).  [nats]
        effect_scale: standard error of the position effects (position).  [nats]
        noise: standard deviation of one position's loss around law and effect.  [nats]
    """

    coefficients: Array
    covariance: Array
    effect: Array
    effect_scale: Array
    noise: float


def summarise_positions(losses: Array, positions: Array) -> Summary:
    """Fit the position law to every checkpoint, with position effects shared by all.

    Args:
        losses: mean loss (step, position); NaN where none was measured.
        positions: token positions (position).
    """
    present = np.isfinite(losses)
    coefficients, effect, noise = _start(losses), np.zeros(len(positions)), 0.1
    for _ in range(_SWEEPS):
        before = coefficients
        coefficients = _gauss_newton(coefficients, losses - effect, positions, noise)
        residual = losses - _law(coefficients, positions)
        effect = _shared_effect(residual, coefficients[-1], positions)
        noise = _short_term_noise(residual)
        if np.abs(coefficients - before).max() < _TOLERANCE:
            break
    information = _information(_slopes(coefficients, positions), present, noise)
    effect_scale = noise / np.sqrt(present.sum(axis=0))
    covariance = np.asarray(noise**2 * np.linalg.inv(information), float)
    return Summary(coefficients, covariance, effect, effect_scale, noise)


def summarise_means(losses: Array) -> Summary:
    """Mean losses (step) stand for the floor alone; there is no position curve to summarise."""
    coefficients = np.stack([np.full(len(losses), -np.inf), np.zeros(len(losses)), losses], axis=1)
    return Summary(coefficients, np.zeros((len(losses), 3, 3)), np.zeros(1), np.zeros(1), 0.0)


def law_tangent(coefficient: Array, positions: Array) -> Array:
    """Orthonormal basis of ``{1, dL/dlog gap, dL/dlog rate}`` at one checkpoint's coefficients (position, 3)."""
    return np.linalg.qr(_slopes(coefficient[None], positions)[0])[0]


def effect_basis(coefficient: Array, positions: Array) -> Array:
    """Orthonormal basis of the position effects, all that ``law_tangent`` leaves (position, position - 3)."""
    return np.linalg.qr(_slopes(coefficient[None], positions)[0], mode="complete")[0][:, 3:]


def _start(losses: Array) -> Array:
    """One gap for all, since a checkpoint may lack the first positions; each its own level."""
    level = np.nanmean(losses, axis=1)
    gap = max(float(np.nanmean((losses - level[:, None])[:, : max(losses.shape[1] // 64, 1)])), 0.1)
    return np.stack([np.full_like(level, np.log(gap)), np.full_like(level, np.log(0.3)), level], axis=1)


def _law(coefficients: Array, positions: Array) -> Array:
    gap, rate, floor = np.exp(coefficients[:, :1]), np.exp(coefficients[:, 1:2]), coefficients[:, 2:]
    return gap / (1.0 + rate * positions) + floor


def _slopes(coefficients: Array, positions: Array) -> Array:
    """Derivatives of the law with respect to log gap, log rate and floor (step, position, 3)."""
    gap, rate = np.exp(coefficients[:, :1]), np.exp(coefficients[:, 1:2])
    shape = 1.0 / (1.0 + rate * positions)
    return np.stack([gap * shape, -gap * rate * positions * shape**2, np.ones_like(shape)], axis=-1)


def _information(slopes: Array, present: Array, noise: float) -> Array:
    weighted = slopes * present[..., None]
    return np.swapaxes(weighted, 1, 2) @ slopes + np.diag((noise / _SPREAD) ** 2)


def _gauss_newton(coefficients: Array, losses: Array, positions: Array, noise: float) -> Array:
    """One Gauss-Newton step of every checkpoint at once, as long as it helps; log coefficients move by one at most."""
    slopes = _slopes(coefficients, positions)
    residual = np.nan_to_num(losses - _law(coefficients, positions))
    pull = (_CENTRE - coefficients) * (noise / _SPREAD) ** 2
    gradient = np.einsum("tik,ti->tk", slopes, residual) + pull
    move = np.linalg.solve(_information(slopes, np.isfinite(losses), noise), gradient[..., None])[..., 0]
    move = move / np.maximum(np.abs(move[:, :2]).max(axis=1, keepdims=True), 1.0)
    start = _misfit(coefficients, losses, positions, noise)
    for share in (0.25, 0.25, 0.25, 0.0):
        worse = _misfit(coefficients + move, losses, positions, noise) > start
        move = np.where(worse[:, None], share * move, move)
    return coefficients + move


def _misfit(coefficients: Array, losses: Array, positions: Array, noise: float) -> Array:
    prior = noise**2 * (((coefficients - _CENTRE) / _SPREAD) ** 2).sum(axis=1)
    return np.nansum((losses - _law(coefficients, positions)) ** 2, axis=1) + prior


def _short_term_noise(residual: Array) -> float:
    """Noise of one position from one checkpoint to the next: what moves slowly belongs to the coefficients' own noise."""
    change = np.diff(residual, axis=0)
    freedom = max(np.isfinite(change).sum() - 3 * len(change), 1)
    return float(np.sqrt(0.5 * np.nansum(change**2) / freedom))


def _shared_effect(residual: Array, reference: Array, positions: Array) -> Array:
    effect = np.nanmean(residual, axis=0)
    tangent = law_tangent(reference, positions)
    return effect - tangent @ (tangent.T @ effect)
