"""Groups that ArviZ needs beside a posterior: densities of the draws, and measurements replicated from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayes_tsl._common.jax_settings import float64
from bayes_tsl.inference.nuts import over_draws
from bayes_tsl.model.densities import leave_one_out, log_likelihood, log_prior, normal_log_density
from bayes_tsl.model.design import SILENT, Design
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.single_run import TAIL, Sites, mean_over_positions, trend

Groups = dict[str, dict[str, np.ndarray]]


def arviz_groups(
    design: Design, padded_design: Design, priors: Priors, draws: Mapping[str, Any], drift: Any, *, seed: int
) -> Groups:
    """Variables of log_likelihood, log_prior and posterior_predictive, by group.  Call inside ``float64()``.

    Args:
        design: what was conditioned on.
        padded_design: the same, padded as the sampler had it.
        priors: of the parameters.
        draws: every sampled site, noise weights at the padded steps (chain, draw, ...).
        drift: drawn given these, at the padded steps (chain, draw, step).
        seed: of the replicated noise.
    """
    steps, fixed = len(design.step), priors.fixed()
    silent = (len(padded_design.step) - steps) * (3 if design.by_position else 1) * float(normal_log_density(0.0, SILENT))
    key = jax.random.fold_in(jax.random.key(seed), 2)
    keys = jax.random.split(key, np.shape(drift)[:2])
    single, joint, replicated = over_draws(_of_draw, (padded_design, fixed), dict(draws), drift, keys)
    return {
        "log_likelihood": {"mean_loss": single[..., :steps] + _of_positions(design), "joint": joint - silent},
        "log_prior": {name: np.asarray(values) for name, values in log_prior(design, priors, dict(draws)).items()},
        "posterior_predictive": {"mean_loss": replicated[..., :steps]},
    }


def pointwise_log_likelihood(design: Design, priors: Priors, draws: Mapping[str, Any]) -> np.ndarray:
    """Log density of each checkpoint given the others (chain, draw, step), from every sampled site (chain, draw, ...)."""
    with float64():
        return over_draws(leave_one_out, (design, priors.fixed()), dict(draws)) + _of_positions(design)


def joint_log_likelihood(design: Design, priors: Priors, draws: Mapping[str, Any]) -> np.ndarray:
    """Log density of all checkpoints together (chain, draw), from every sampled site (chain, draw, ...)."""
    with float64():
        return over_draws(log_likelihood, (design, priors.fixed()), dict(draws))


def _of_positions(design: Design) -> Any:
    """What the reduction to coefficients leaves of the log density of a checkpoint's positions (step)."""
    return design.estimates.log_density if design.by_position else 0.0


def _of_draw(design: Design, fixed: Sites, drawn: Sites, drift: Any, key: Any) -> tuple[Any, Any, Any]:
    """Densities of each checkpoint (step) and of all together, and replicated mean losses (step), of one draw."""
    replicated = _replicate(design, fixed, drawn, drift, key)
    return leave_one_out(design, fixed, drawn), log_likelihood(design, fixed, drawn), replicated


def _replicate(design: Design, fixed: Sites, drawn: Sites, drift: Any, key: Any) -> Any:
    """Mean losses measured again at the same checkpoints, with the drift that they had, in nats (step)."""
    sites = {**fixed, **drawn}
    noise, error = jax.random.split(key)
    scale = sites["noise_scale"] / jnp.sqrt(design.count)
    measured = jnp.sqrt(jnp.asarray(design.estimates.covariance)[:, 2, 2]) * jax.random.normal(error, design.step.shape)
    expected = mean_over_positions(trend(design.axis, sites), design.mean_polynomial) + drift
    return expected + scale * jax.random.t(noise, TAIL, design.step.shape) + measured
