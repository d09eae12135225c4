"""Coefficients put back after they were integrated out: exact Gaussian draws given the global parameters.

Pathwise conditioning (Matheron's rule; Wilson et al., arXiv 2011.04026, eq. 5): draw everything from its prior, then move
it by what the estimates say against that draw. It needs one solve with the covariance that the model already factorised.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from bayes_tsl.model.design import Design
from bayes_tsl.model.single_run import JITTER, Link, Sites, Spread, chain, floor_below, mean_over_positions, spread_of, trend


class Coefficients(NamedTuple):
    """Latent coefficients of each checkpoint, its own noise included, and the drift within its mean loss (step)."""

    gap: Array
    rate: Array
    floor: Array
    drift: Array


def draw_coefficients(design: Design, fixed: Sites, drawn: Sites, key: Array) -> Coefficients:
    """One draw of the coefficients, given fixed parameters and one draw of the others and of the weights."""
    sites = {**fixed, **drawn}
    law, spread = trend(design.path, sites), spread_of(design, sites)
    gap, rate, noise, drift, estimate = _draw_prior(key, design, spread)
    mean_loss = mean_over_positions(design, law)
    seen = design.summary.coefficients - jnp.stack([law.log_gap, law.log_rate, mean_loss], axis=1)
    informed = jnp.array([design.by_position, design.by_position, True])
    pull = _solve(jnp.where(informed, seen - estimate, 0.0), chain(design, spread), spread.drift)
    log_gap = law.log_gap + gap + spread.gap * pull[:, 0]
    log_rate = law.log_rate + rate + spread.rate * pull[:, 1]
    drift = drift + spread.drift @ pull[:, 2]
    mean_loss = mean_loss + noise + spread.noise * pull[:, 2] + drift
    floor = floor_below(design, mean_loss, log_gap, log_rate)
    return Coefficients(gap=jnp.exp(log_gap), rate=jnp.exp(log_rate), floor=floor, drift=drift)


def _draw_prior(key: Array, design: Design, spread: Spread) -> tuple[Array, Array, Array, Array, Array]:
    """Departures from trend before any data, and the estimates (step, 3) that they would have given."""
    steps = len(design.step)
    own, common, error = jax.random.split(key, 3)
    white = jax.random.normal(own, (3, steps))
    gap, rate, noise = white * jnp.sqrt(jnp.stack([spread.gap, spread.rate, spread.noise]))
    tiny = JITTER * jnp.eye(steps)
    drift = jnp.linalg.cholesky(spread.drift + tiny) @ jax.random.normal(common, (steps,))
    root = jnp.linalg.cholesky(design.summary.covariance + JITTER * jnp.eye(3))
    measured = jnp.einsum("tij,tj->ti", root, jax.random.normal(error, (steps, 3)))
    return gap, rate, noise, drift, jnp.stack([gap, rate, noise + drift], axis=1) + measured


def _solve(off: Array, links: tuple[Link, Link, Link], drift: Array) -> Array:
    """Inverse covariance of the estimates times ``off`` (step, 3), through the factors of ``chain``."""
    gap, rate, mean = links
    first = off[:, 0] / gap.scale**2
    second = (off[:, 1] - rate.gap * off[:, 0]) / rate.scale**2
    left = off[:, 2] - mean.gap * off[:, 0] - mean.rate * off[:, 1]
    third = jnp.linalg.solve(drift + jnp.diag(mean.scale**2), left)
    return jnp.stack([first - rate.gap * second - mean.gap * third, second - mean.rate * third, third], axis=1)
