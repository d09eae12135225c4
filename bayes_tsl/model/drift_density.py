r"""The normal density of losses that drift: covariance ``K = power C + diag(noise)``, where ``C`` is known.

NUTS spends most of a fit on this density and its gradient. Differentiating a Cholesky factor takes several triangular solves
with matrices; here one inverse of the factor gives all of the gradient. With ``a = K^-1 r`` for residuals ``r`` (Rasmussen &
Williams 2006, eq. 5.9),

    d log p / d noise_i = (a_i^2 - (K^-1)_ii) / 2,
    d log p / d power   = (a' C a - tr K^-1 C) / 2,    tr K^-1 C = (n - sum_i noise_i (K^-1)_ii) / power,

and the diagonal of ``K^-1`` is the sum of squares down each column of the inverse factor.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.scipy.linalg import solve_triangular


class DriftingNormal(dist.Distribution):
    """A multivariate normal with this density.

    Args:
        mean: of each step (step).
        covariance: that of drift of scale one, through which no gradient goes (step, step).
        power: scale of the drift, squared.
        noise: variance beside the drift (step).

    >>> import jax.numpy as jnp
    >>> losses = DriftingNormal(jnp.zeros(2), jnp.eye(2), power=0.5, noise=jnp.array([0.5, 3.5]))
    >>> round(float(losses.log_prob(jnp.array([1.0, 2.0]))), 4)
    -3.531
    """

    pytree_data_fields = ("mean_loss", "covariance", "power", "noise")

    def __init__(self, mean: Any, covariance: Any, *, power: Any, noise: Any) -> None:
        self.mean_loss, self.covariance, self.power, self.noise = mean, covariance, power, noise
        super().__init__(event_shape=jnp.shape(mean), validate_args=False)

    @property
    def support(self) -> dist.constraints.Constraint:
        """Vectors of real numbers."""
        return dist.constraints.real_vector

    def log_prob(self, value: Any, intermediates: Any = None) -> Array:
        """Log density of losses (step)."""
        return log_density(value - self.mean_loss, self.covariance, self.power, self.noise)

    def sample(self, key: Array | None, sample_shape: tuple[int, ...] = ()) -> Array:
        """Losses (sample, step)."""
        assert key is not None
        root = jnp.linalg.cholesky(self.power * self.covariance + jnp.diag(self.noise))
        return self.mean_loss + jax.random.normal(key, (*sample_shape, len(root))) @ root.T


@jax.custom_vjp
def log_density(residual: Array, covariance: Array, power: Array, noise: Array) -> Array:
    """Log density of residuals (step), whose gradient costs one inverse."""
    return _forward(residual, covariance, power, noise)[0]


def _forward(residual: Array, covariance: Array, power: Array, noise: Array) -> tuple[Array, tuple[Array, ...]]:
    size = len(residual)
    root = jnp.linalg.cholesky(power * covariance + jnp.diag(noise))
    inverse = solve_triangular(root, jnp.eye(size), lower=True)
    white = inverse @ residual
    density = -0.5 * (white @ white + size * jnp.log(2.0 * jnp.pi)) - jnp.log(jnp.diag(root)).sum()
    return density, (inverse.T @ white, jnp.sum(inverse**2, axis=0), covariance, power, noise)


def _backward(kept: tuple[Array, ...], slope: Array) -> tuple[Array, None, Array, Array]:
    pulled, precision, covariance, power, noise = kept
    trace = (len(noise) - noise @ precision) / power
    by_power = 0.5 * (pulled @ covariance @ pulled - trace)
    return -slope * pulled, None, slope * by_power, slope * 0.5 * (pulled**2 - precision)


log_density.defvjp(_forward, _backward)
