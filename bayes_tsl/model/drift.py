r"""Drift: what no parametric law foresees, as an integrated Wiener process in log progress.

The drift ``d(u)`` has speed ``d'(u) = scale * W(u)`` and starts at the origin ``u = 0`` with no value and no speed. It runs
both ways from there, independently: given level and slope at the origin the future is independent of the past, so a forecast
needs no refit, and its uncertainty grows with the horizon as ``scale * u^1.5 / sqrt(3)``. The same process is here as a
covariance (the likelihood), as a Kalman filter (many runs at once, new checkpoints), and as a path to draw (forecasts).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayes_tsl._common.arrays import AnyArray

Matrix = NDArray[np.float64]


class DriftState(NamedTuple):
    """Value and speed of the drift at one place, as a Gaussian; NumPy or JAX arrays of one shape.

    Attributes:
        value, speed: means.  [nats], [nats per unit of log progress]
        value_value, value_speed, speed_speed: covariances.
    """

    value: AnyArray
    speed: AnyArray
    value_value: AnyArray
    value_speed: AnyArray
    speed_speed: AnyArray


def covariance(u: ArrayLike) -> Matrix:
    """Covariance of drift of scale one (step, step); zero between past and future.

    >>> covariance([1.0, 2.0]).round(3).tolist()
    [[0.333, 0.833], [0.833, 2.667]]
    """
    u = np.asarray(u, float)
    return covariance_along(np.maximum([-u, u], 0.0), np.zeros((2, len(u))))


def covariance_along(time: ArrayLike, beyond: ArrayLike) -> Matrix:
    r"""Covariance of sums over independent integrated Wiener processes of scale one (step, step).

    Each step is ``sum_p x_p(time_p) + beyond_p x_p'(time_p)``: where a branch leaves a process, it goes on from its value
    with its speed. With ``s <= t``, for one process (Rasmussen & Williams 2006, eq. 6.28, and its derivatives),

        cov(x(s), x(t)) = s^2 (3 t - s) / 6,    cov(x(s), x'(t)) = s^2 / 2,    cov(x'(s), x(t)) = s (2 t - s) / 2,
        cov(x'(s), x'(t)) = s.

    Args:
        time: log progress along each process since it was at rest, zero where a step has no part in it (process, step).
        beyond: log progress since the process was left (process, step).

    >>> covariance_along([[1.0, 1.0]], [[0.0, 2.0]]).round(3).tolist()
    [[0.333, 1.333], [1.333, 6.333]]
    """
    time, beyond = np.asarray(time, float), np.asarray(beyond, float)
    one, other = time[:, :, None], time[:, None, :]
    near, far = np.minimum(one, other), np.maximum(one, other)
    by_speed = np.where(one <= other, one**2 / 2.0, other * (2.0 * one - other) / 2.0) * beyond[:, None, :]
    by_speeds = near * beyond[:, :, None] * beyond[:, None, :]
    return np.sum(near**2 * (3.0 * far - near) / 6.0 + by_speed + np.swapaxes(by_speed, 1, 2) + by_speeds, axis=0)


def draw_path(rng: np.random.Generator, u: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Drift of scale one from rest at ``u = 0``, drawn by its exact increments (..., step).

    Args:
        rng: where the draws come from.
        u: log progress, increasing from above zero (step).
        shape: of what is drawn, e.g. (chain, draw).
    """
    value, speed, drawn = np.zeros(shape), np.zeros(shape), []
    for width in np.diff(u, prepend=0.0):
        kick, shift = rng.standard_normal((2, *shape))
        value = value + speed * width + width**1.5 * (0.5 * kick + shift / np.sqrt(12.0))
        speed = speed + np.sqrt(width) * kick
        drawn.append(value)
    return np.stack(drawn, axis=-1)


def draw_path_at(rng: np.random.Generator, u: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The same at log progress in any order; where it repeats, so does the drift (..., step)."""
    places, place = np.unique(u, return_inverse=True)
    return draw_path(rng, places, shape)[..., place]


def predict(state: DriftState, width: AnyArray, power: AnyArray) -> DriftState:
    """The drift a ``width`` of log progress later, where ``power`` is its scale squared (Kalman prediction)."""
    value, speed, vv, vs, ss = state
    return DriftState(
        value + width * speed,
        speed,
        vv + 2.0 * width * vs + width**2 * ss + power * width**3 / 3.0,
        vs + width * ss + power * width**2 / 2.0,
        ss + power * width,
    )


def condition(state: DriftState, residual: AnyArray, variance: AnyArray) -> DriftState:
    """The drift given a measurement that lies ``residual`` from its value, with total ``variance`` (Kalman update)."""
    value, speed, vv, vs, ss = state
    by_value, by_speed = vv / variance, vs / variance
    return DriftState(
        value + by_value * residual,
        speed + by_speed * residual,
        vv - by_value * vv,
        vs - by_value * vs,
        ss - by_speed * vs,
    )


def whiten(u: ArrayLike, columns: ArrayLike, *, noise: ArrayLike, scale: ArrayLike) -> tuple[Array, Array]:
    """Columns times an inverse root of ``C = scale^2 covariance(u) + diag(noise)`` (step, column), and ``log det C``.

    By a Kalman filter from the origin backwards (Rauch, Tung & Striebel 1965), whose cost grows with the steps and not with
    their cube, and which many runs at once (``jax.vmap``) share.

    Args:
        u: log progress up to the origin: increasing, none above zero (step).
        columns: what is whitened (step, column).
        noise: variance beside the drift (step).
        scale: of the drift.
    """
    u, columns, noise = (jnp.asarray(values)[::-1] for values in (u, columns, noise))
    power = jnp.asarray(scale) ** 2

    def step(state: DriftState, interval: tuple[Array, ...]) -> tuple[DriftState, tuple[Array, Array]]:
        width, measured, error = interval
        ahead = predict(state, width, power)
        variance, residual = ahead.value_value + error, measured - ahead.value
        return condition(ahead, residual, variance), (residual / jnp.sqrt(variance), jnp.log(variance))

    still, nothing = jnp.zeros(columns.shape[1]), jnp.zeros_like(power)
    start = DriftState(still, still, nothing, nothing, nothing)
    white, log_variance = lax.scan(step, start, (jnp.diff(-u, prepend=0.0), columns, noise))[1]
    return white[::-1], log_variance.sum()
