r"""The laws, as pure functions of JAX arrays.

Over token positions, the loss of one checkpoint is reciprocal (Xiong et al., arXiv 2404.17785):

    L_i = gap / (1 + rate * i) + floor

Over training, each coefficient follows one temporal law in log progress ``u = log(S / S_origin)``:

    c(u) = level + slope * phi(u, curvature),    phi(u, k) = (1 - exp(-k u)) / k

which is logarithmic in ``S`` as ``k -> 0``, hyperbolic at ``k = 1`` and a power law for any ``k``. The learning
rate heats the floor by ``heat * [fast lag(h) + (1 - fast) lag'(h)] (S / S_end)^-fade``, where ``h`` is about the power ``p``
of ``lr / peak`` (``schedules.heating``) and the lags are a quick and a slow relaxation, and what no parametric law foresees
is drift, an integrated Wiener process in ``u``. Both are counted from the origin (``u = 0``), so that level and slope are
the coefficient and its velocity there, and the future is independent of the past given them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

POWERS = (0.2, 2.0)
RATES = (1e-3, 30.0)
MEMORIES = (1e-3, 1.0)
ORDER = 16


class Path(NamedTuple):
    """What a schedule says at a set of steps: everything that the laws need to know of time.

    Attributes:
        u: log progress since the origin (step).
        lag: the lagged relative learning rate, as a polynomial in log memory and log power (step, memory, power).
        end: log progress of the end of the schedule since the origin, where the heat has its stated strength.
    """

    u: np.ndarray
    lag: np.ndarray
    end: float


def reciprocal_loss(
    position: ArrayLike, *, gap: ArrayLike, rate: ArrayLike, floor: ArrayLike, exponent: ArrayLike = 1.0
) -> Array:
    """Loss at a token position [nats/token]: ``floor + gap / (1 + rate * position)^exponent``.

    Shapes broadcast: coefficients (..., 1) against positions (position).

    >>> float(reciprocal_loss(0, gap=1.5, rate=0.3, floor=3.0))
    4.5
    """
    return jnp.asarray(floor) + jnp.asarray(gap) * reciprocal_shape(position, rate, exponent)


def reciprocal_shape(position: ArrayLike, rate: ArrayLike, exponent: ArrayLike = 1.0) -> Array:
    """The falling part of the position law, one at position zero: ``1 / (1 + rate * position)^exponent``."""
    return (1.0 + jnp.asarray(rate) * jnp.asarray(position)) ** -jnp.asarray(exponent)


def mean_shape(rate: ArrayLike, polynomial: ArrayLike) -> Array:
    """Mean of the falling part over positions, of which ``polynomial`` has the logarithm in log rate (order)."""
    return jnp.exp(monomials(rate, RATES) @ jnp.asarray(polynomial))


def relaxation(u: ArrayLike, curvature: ArrayLike) -> Array:
    """``phi(u, k) = (1 - exp(-k u)) / k``, and its limit ``u`` at ``k = 0``.  Slope one at ``u = 0``.

    >>> float(relaxation(2.0, 0.0))
    2.0
    """
    u, k = jnp.asarray(u), jnp.asarray(curvature)
    small = jnp.abs(k) < 1e-5
    safe = jnp.where(small, 1.0, k)
    series = u * (1.0 - 0.5 * k * u)
    return jnp.where(small, series, -jnp.expm1(-safe * u) / safe)


def temporal_law(u: ArrayLike, *, level: ArrayLike, slope: ArrayLike, curvature: ArrayLike) -> Array:
    """A coefficient over log progress: ``level + slope * phi(u, curvature)``."""
    return jnp.asarray(level) + jnp.asarray(slope) * relaxation(u, curvature)


def heat_shape(path: Path, *, power: ArrayLike, delay: ArrayLike, memory: ArrayLike, fast: ArrayLike, fade: ArrayLike) -> Array:
    """How hot each step is (step), 0 annealed and 1 at peak at the end of the schedule.

    ``[fast lag(h; delay) + (1 - fast) lag(h; memory)] (S / S_end)^-fade``, ``h = schedules.heating(lr / peak, power)``: the
    same learning rate heats less, later.

    Each lag is a first-order relaxation in lr-weighted steps whose time is a share of the schedule's whole progress. Its
    unit matters where the learning rate goes to zero: there hardly any progress is left to cool down in. Both are read off a
    polynomial in ``log power`` and ``log memory``, within 0.0004 and 0.0001 on average; beyond ``POWERS`` and ``MEMORIES``
    the value at the edge is used.
    """
    fast = jnp.asarray(fast)
    over_time = jnp.asarray(path.lag) @ monomials(power, POWERS)
    hot = fast * (over_time @ monomials(delay, MEMORIES)) + (1.0 - fast) * (over_time @ monomials(memory, MEMORIES))
    return hot * jnp.exp(-jnp.asarray(fade) * (jnp.asarray(path.u) - path.end))


def monomials(value: ArrayLike, bounds: tuple[float, float]) -> Array:
    """Powers ``1, x, x^2, ...`` of ``log value``, scaled so that ``bounds`` is the interval from -1 to 1 (..., order)."""
    low, high = np.log(bounds[0]), np.log(bounds[1])
    x = jnp.clip(2.0 * (jnp.log(value) - low) / (high - low) - 1.0, -1.0, 1.0)
    return x[..., None] ** np.arange(ORDER)


def drift_covariance(u: ArrayLike) -> Array:
    """Covariance of an integrated Wiener process that starts at the origin with no value and no velocity (step, step).

    ``cov(s, t) = s^2 (3 t - s) / 6`` for ``0 <= s <= t`` (Rasmussen & Williams 2006, eq. 6.28). The process runs both
    ways from the origin, independently, so past and future have covariance zero.
    """
    u = jnp.asarray(u)
    near = jnp.minimum(jnp.abs(u)[:, None], jnp.abs(u)[None, :])
    far = jnp.maximum(jnp.abs(u)[:, None], jnp.abs(u)[None, :])
    same_side = u[:, None] * u[None, :] > 0
    return jnp.where(same_side, near**2 * (3.0 * far - near) / 6.0, 0.0)


def drift_ahead(state: tuple[Any, ...], width: Any, power: Any) -> tuple[Any, ...]:
    """The drift a ``width`` of log progress later, by its scale squared; NumPy or JAX.

    A state is the mean of value and of speed, and the covariances value-value, value-speed and speed-speed.
    """
    value, speed, vv, vs, ss = state
    return (
        value + width * speed,
        speed,
        vv + 2.0 * width * vs + width**2 * ss + power * width**3 / 3.0,
        vs + width * ss + power * width**2 / 2.0,
        ss + power * width,
    )


def drift_given(state: tuple[Any, ...], surprise: Any, total: Any) -> tuple[Any, ...]:
    """The drift given a measurement that lies ``surprise`` from its value, with variance ``total``; NumPy or JAX."""
    value, speed, vv, vs, ss = state
    by_value, by_speed = vv / total, vs / total
    return (
        value + by_value * surprise,
        speed + by_speed * surprise,
        vv - by_value * vv,
        vs - by_value * vs,
        ss - by_speed * vs,
    )


def whitened(u: ArrayLike, columns: ArrayLike, *, noise: ArrayLike, scale: ArrayLike) -> tuple[Array, Array]:
    """What is seen under drift and independent noise, made independent of variance one; and the log of the volume lost.

    With ``C = scale^2 drift_covariance(u) + diag(noise)``: columns times a root of the inverse of ``C`` (step, column), and
    ``log det C``. By a Kalman filter from the origin backwards (value and velocity; Rauch, Tung & Striebel 1965), whose cost
    grows with the steps and not with their cube, and which many runs at once (``jax.vmap``) share.

    Args:
        u: log progress up to the origin: increasing, none above zero (step).
        columns: what is seen (step, column).
        noise: variance beside the drift (step).
        scale: of the drift.
    """
    u, columns, noise = (jnp.asarray(values)[::-1] for values in (u, columns, noise))
    power = jnp.asarray(scale) ** 2

    def update(state: tuple[Array, ...], seen: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, Array]]:
        width, measured, error = seen
        ahead = drift_ahead(state, width, power)
        total, surprise = ahead[2] + error, measured - ahead[0]
        return drift_given(ahead, surprise, total), (surprise / jnp.sqrt(total), jnp.log(total))

    still, nothing = jnp.zeros(columns.shape[1]), jnp.zeros_like(power)
    start = (still, still, nothing, nothing, nothing)
    white, volume = lax.scan(update, start, (jnp.diff(-u, prepend=0.0), columns, noise))[1]
    return white[::-1], volume.sum()
