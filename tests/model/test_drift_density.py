"""The density of losses that drift, against the textbook's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from bayes_tsl.model import drift
from bayes_tsl.model.drift_density import DriftingNormal, log_density


@pytest.mark.parametrize("power", [1e-12, 1e-4, 1.0])
def test_density_and_gradient_are_those_of_the_covariance(power: float) -> None:
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        covariance = drift.covariance(np.linspace(-2.0, 0.0, 20))
        residual, noise = jnp.asarray(rng.normal(0.0, 0.01, 20)), jnp.asarray(rng.uniform(1e-6, 1e-4, 20))

        def textbook(residual: jax.Array, log_power: jax.Array, log_noise: jax.Array) -> jax.Array:
            whole = jnp.exp(log_power) * covariance + jnp.diag(jnp.exp(log_noise))
            return dist.MultivariateNormal(0.0, whole).log_prob(residual)

        def ours(residual: jax.Array, log_power: jax.Array, log_noise: jax.Array) -> jax.Array:
            return log_density(residual, covariance, jnp.exp(log_power), jnp.exp(log_noise))

        at = residual, jnp.log(power), jnp.log(noise)
        expected, by_each = jax.value_and_grad(textbook, (0, 1, 2))(*at)
        found, gradient = jax.value_and_grad(ours, (0, 1, 2))(*at)
        assert float(found) == pytest.approx(float(expected), rel=1e-12)
        for mine, theirs in zip(gradient, by_each):
            np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-9)


def test_draws_have_the_covariance_of_the_density() -> None:
    covariance = drift.covariance(np.array([-1.0, -0.5, -0.1]))
    normal = DriftingNormal(jnp.ones(3), covariance, power=2.0, noise=jnp.array([0.1, 0.2, 0.3]))
    drawn = normal.sample(jax.random.key(0), (20_000,))
    np.testing.assert_allclose(np.cov(drawn.T), 2.0 * covariance + np.diag([0.1, 0.2, 0.3]), atol=0.03)
