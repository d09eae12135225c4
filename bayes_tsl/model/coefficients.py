"""Coefficients drawn given the global parameters, after they were integrated out: exact Gaussian draws.

Pathwise conditioning (Matheron's rule; Wilson et al., arXiv 2011.04026, eq. 5): draw everything from its prior, then correct
the draw by the estimates' residual against it. It needs one solve with the covariance that the model already factorised.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from bayes_tsl._common.arrays import AnyArray
from bayes_tsl.model.design import Design
from bayes_tsl.model.single_run import (
    JITTER,
    Conditional,
    Sites,
    Variances,
    conditionals,
    mean_over_positions,
    successive,
    trend,
    variances,
    with_checkpoint_noise,
)


class Coefficients(NamedTuple):
    """Latent coefficients of each checkpoint, its own noise included, and the drift within its mean loss (step)."""

    gap: Array
    rate: Array
    floor: AnyArray
    drift: Array


NORMALS = 7
"""Standard normals that a draw takes for each checkpoint: three of its own, one of the drift, three of its estimates."""


def draw_coefficients(design: Design, fixed: Sites, drawn: Sites, normals: Array) -> Coefficients:
    """One draw of the coefficients, given fixed parameters and one draw of the others and of the weights.

    Args:
        design: what was conditioned on.
        fixed: parameters that are not sampled.
        drawn: one draw of the others, and of the weights.
        normals: standard normals, drawn outside of what is compiled (``NORMALS``, step).
    """
    sites = {**fixed, **drawn}
    law, variance = trend(design.axis, sites), variances(design, sites)
    gap, rate, noise, drift, estimate = _draw_prior(normals, design, variance)
    departures = design.estimates.coefficients - jnp.stack(
        [law.log_gap, law.log_rate, mean_over_positions(law, design.mean_polynomial)], axis=1
    )
    informed = jnp.array([design.by_position, design.by_position, True])
    pull = _solve(jnp.where(informed, departures - estimate, 0.0), conditionals(design, variance), variance.drift)
    drift = drift + variance.drift @ pull[:, 2]
    latent = with_checkpoint_noise(
        law,
        design.mean_polynomial,
        log_gap=gap + variance.gap * pull[:, 0],
        log_rate=rate + variance.rate * pull[:, 1],
        mean_loss=noise + variance.noise * pull[:, 2] + drift,
    )
    return Coefficients(gap=jnp.exp(latent.log_gap), rate=jnp.exp(latent.log_rate), floor=latent.floor, drift=drift)


def _draw_prior(normals: Array, design: Design, variance: Variances) -> tuple[Array, Array, Array, Array, Array]:
    """Departures from trend before any data, and the estimates (step, 3) that they would have given."""
    steps = len(design.step)
    gap, rate, noise = normals[:3] * jnp.sqrt(jnp.stack([variance.gap, variance.rate, variance.noise]))
    tiny = JITTER * jnp.eye(steps)
    drift = jnp.linalg.cholesky(variance.drift + tiny) @ normals[3]
    root = jnp.linalg.cholesky(design.estimates.covariance + JITTER * jnp.eye(3))
    measured = jnp.einsum("tij,jt->ti", root, normals[4:])
    return gap, rate, noise, drift, jnp.stack([gap, rate, noise + drift], axis=1) + measured


def _solve(off: Array, given: tuple[Conditional, Conditional, Conditional], drift: Array) -> Array:
    """Inverse covariance of the estimates times ``off`` (step, 3), through the factors of ``conditionals``."""
    gap, rate, mean = given
    left = successive((off[:, 0], off[:, 1], off[:, 2]), given)
    first, second = left.gap / gap.scale**2, left.rate / rate.scale**2
    third = jnp.linalg.solve(drift + jnp.diag(mean.scale**2), left.mean)
    return jnp.stack([first - rate.gap * second - mean.gap * third, second - mean.rate * third, third], axis=1)
