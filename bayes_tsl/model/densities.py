"""Log densities of a fit's draws: each checkpoint given the others, all checkpoints together, and the prior.

Drift ties checkpoints together, so the density of one checkpoint for leave-one-out is conditional on the others within a draw
(Burkner, Gabry & Vehtari, arXiv 1810.10559, eq. 5); its own noise weight, which no other checkpoint informs, is integrated out.
The sum of these is not the density of all checkpoints, which power-scaling needs (Kallioinen et al., arXiv 2107.14054).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from scipy.special import gammaincinv

from bayes_tsl._common.arrays import AnyArray
from bayes_tsl.model import drift_density
from bayes_tsl.model.design import Design
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.single_run import (
    TAIL,
    Conditional,
    Residuals,
    Sites,
    conditionals,
    parameters,
    residuals,
    successive,
    trend,
    variances,
)

WEIGHTS = gammaincinv(TAIL / 2.0, [(i + 0.5) / 24 for i in range(24)]) * 2.0 / TAIL
"""Quantiles of a noise weight's prior, over which the weight of a checkpoint left out is averaged."""


def leave_one_out(design: Design, fixed: Sites, drawn: Sites) -> AnyArray:
    """Log density of the estimates of each checkpoint given those of the others and one draw (step)."""
    sites = {**fixed, **drawn}
    variance = variances(design, sites)
    given = conditionals(design, variance)
    off = _residuals(design, sites, given)
    precision = jnp.linalg.inv(variance.drift + jnp.diag(given[2].scale ** 2))
    total = 1.0 / jnp.diag(precision)
    other_variance = total - variance.noise
    each = other_variance + variance.noise * sites["weight"] / jnp.asarray(WEIGHTS)[:, None]
    by_weight = normal_log_density(precision @ off.mean * total, each)
    averaged = jax.nn.logsumexp(by_weight, axis=0) - jnp.log(len(WEIGHTS))
    return _of_gap_and_rate(design, off, given) + averaged


def log_likelihood(design: Design, fixed: Sites, drawn: Sites) -> jax.Array:
    """Log density of the estimates of all checkpoints together, given one draw of parameters and weights."""
    sites = {**fixed, **drawn}
    variance = variances(design, sites)
    given = conditionals(design, variance)
    off = _residuals(design, sites, given)
    mean = drift_density.log_density(off.mean, variance.drift, 1.0, given[2].scale ** 2)
    return _of_gap_and_rate(design, off, given).sum() + mean


def log_prior(design: Design, priors: Priors, drawn: Sites) -> dict[str, Any]:
    """Log prior density of each global parameter (as ``drawn``)."""
    names = parameters(design, priors)
    return {name: priors.distribution(name, design.centre).log_prob(drawn[name]) for name in names}


def normal_log_density(off: AnyArray | float, variance: AnyArray | float) -> AnyArray:
    """Log density of a normal of this variance, at ``off`` from its mean (shapes broadcast)."""
    return -0.5 * (off**2 / variance + jnp.log(2.0 * jnp.pi * variance))


def _residuals(design: Design, sites: Sites, given: tuple[Conditional, Conditional, Conditional]) -> Residuals:
    return successive(residuals(design, trend(design.axis, sites)), given)


def _of_gap_and_rate(design: Design, off: Residuals, given: tuple[Conditional, Conditional, Conditional]) -> AnyArray:
    """Log density of the estimates of log gap, and of log rate given it (step)."""
    if not design.by_position:
        return jnp.zeros(len(design.step))
    return normal_log_density(off.gap, given[0].scale ** 2) + normal_log_density(off.rate, given[1].scale ** 2)
