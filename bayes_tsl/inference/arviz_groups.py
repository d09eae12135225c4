"""Groups that ArviZ needs beside a posterior: densities of the draws, and measurements replicated from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayes_tsl._common.jax_settings import float64
from bayes_tsl.inference.nuts import over_draws
from bayes_tsl.model.densities import leave_one_out, log_likelihood, log_prior, normal_log_density
from bayes_tsl.model.design import SILENT, Design
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.single_run import TAIL, Sites, mean_over_positions, trend

Groups = dict[str, dict[str, np.ndarray]]


def arviz_groups(
    design: Design, padded_design: Design, priors: Priors, draws: Mapping[str, Any], drift: Any, rng: np.random.Generator
) -> Groups:
    """Variables of log_likelihood, log_prior and posterior_predictive, by group.  Call inside ``float64()``.

    Args:
        design: what was conditioned on.
        padded_design: the same, padded as the sampler had it.
        priors: of the parameters.
        draws: every sampled site, noise weights at the padded steps (chain, draw, ...).
        drift: drawn given these, at the padded steps (chain, draw, step).
        rng: of the replicated noise.
    """
    steps, fixed = len(design.step), priors.fixed()
    informed = steps + (0 if design.branches is None else len(design.branches.step))
    silent = (len(padded_design.step) - informed) * (3 if design.by_position else 1) * float(normal_log_density(0.0, SILENT))
    single, joint, expected = over_draws(_of_draw, (padded_design, fixed), dict(draws), drift)
    return {
        "log_likelihood": {"mean_loss": single[..., :steps] + _of_positions(design), "joint": joint - silent},
        "log_prior": {name: np.asarray(values) for name, values in log_prior(design, priors, dict(draws)).items()},
        "posterior_predictive": {"mean_loss": _replicated(design, fixed | dict(draws), expected[..., :steps], rng)},
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


def _of_draw(design: Design, fixed: Sites, drawn: Sites, drift: Any) -> tuple[Any, Any, Any]:
    """Densities of each checkpoint (step) and of all together, and expected mean losses with that drift (step), of one draw."""
    expected = mean_over_positions(trend(design.axis, {**fixed, **drawn}), design.mean_polynomial) + drift
    return leave_one_out(design, fixed, drawn), log_likelihood(design, fixed, drawn), expected


def _replicated(design: Design, sites: Sites, expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean losses measured again at the same checkpoints, with the drift that they had, in nats (chain, draw, step)."""
    scale = np.asarray(sites["noise_scale"])[..., None] / np.sqrt(design.count)
    error = np.sqrt(np.asarray(design.estimates.covariance)[:, 2, 2])
    return expected + scale * rng.standard_t(TAIL, expected.shape) + error * rng.standard_normal(expected.shape)
