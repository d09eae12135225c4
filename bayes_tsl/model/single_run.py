r"""The model of one run: sites and laws, nothing else.

Latent at each checkpoint are log gap, log rate and floor, each around its temporal law. Log gap and log rate have noise of
their own; so has the mean loss over positions, ``floor + gap * mean (1 + rate i)^-1``, which carries the learning-rate response
and the drift. One checkpoint's gap and rate are estimated far less well than its mean loss, so their noise leaves the mean loss
alone and the floor makes up for it. The noise of the mean loss is Student-t: a normal with a Gamma weight per checkpoint. The
positions enter through their estimates (``position_law``), with covariance ``V_t``. All of this is Gaussian given the global
parameters, so the coefficients are integrated out exactly and the estimates are observed one after the other,

    p(log gap^) p(log rate^ | log gap^) p(mean^ | log gap^, log rate^),

the first two independent over checkpoints and the last with one covariance over all of them (the drift). NUTS moves in
the global parameters and the weights only; ``coefficients`` draws the coefficients given these. Forecasts use the same
functions at later steps: ``trend``, ``with_checkpoint_noise`` and ``drift.draw_path``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.typing import ArrayLike

from bayes_tsl._common.arrays import AnyArray
from bayes_tsl.model import laws
from bayes_tsl.model.design import Design
from bayes_tsl.model.drift_density import DriftingNormal
from bayes_tsl.model.lr_response import excess_loss
from bayes_tsl.model.position_law import mean_shape, reciprocal_loss
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.repetition import overfitting
from bayes_tsl.model.time_axis import TimeAxis

TAIL = 4.0  # degrees of freedom of the noise of a checkpoint
EFFECT = 1.0  # prior scale of a position effect [nats]: wide
JITTER = 1e-10  # on variances [nats^2]: far below any noise, far above rounding


Sites = dict[str, Any]  # values of sample sites


class Trend(NamedTuple):
    """Coefficients of checkpoints: log gap, log rate, floor (..., step)."""

    log_gap: AnyArray
    log_rate: AnyArray
    floor: AnyArray


class Variances(NamedTuple):
    """Variances of the coefficients around their trend.

    Attributes:
        gap, rate: of log gap and of log rate (step).
        noise: of the mean loss from checkpoint to checkpoint (step).
        drift: covariance of the floor's drift (step, step).
    """

    gap: Array
    rate: Array
    noise: Array
    drift: Array


def model(design: Design, priors: Priors, *, observe: bool = True) -> None:
    """Bayesian temporal scaling law of one run on one test set.

    Args:
        design: estimated coefficients and the time axis.
        priors: one distribution per global parameter.
        observe: condition on the design's estimates; else draw them.
    """
    sites = _sample_globals(design, priors)
    law, variance = trend(design.axis, sites), variances(design, sites)
    gap, rate, mean = conditionals(design, variance)
    mean_loss = mean_over_positions(law, design.mean_polynomial)

    observed = design.estimates.coefficients if observe else None
    off_gap = off_rate = 0.0
    if design.by_position:
        log_gap = numpyro.sample(
            "log_gap_estimate", dist.Normal(law.log_gap, gap.scale), obs=None if observed is None else observed[:, 0]
        )
        off_gap = log_gap - law.log_gap
        expected = law.log_rate + rate.gap * off_gap
        log_rate = numpyro.sample(
            "log_rate_estimate", dist.Normal(expected, rate.scale), obs=None if observed is None else observed[:, 1]
        )
        off_rate = log_rate - law.log_rate
    expected = mean_loss + mean.gap * off_gap + mean.rate * off_rate
    drifting = DriftingNormal(expected, design.drift, power=sites["drift_scale"] ** 2, noise=mean.scale**2)
    numpyro.sample("mean_estimate", drifting, obs=None if observed is None else observed[:, 2])


def unreduced_model(design: Design, priors: Priors, basis: ArrayLike) -> None:
    """The same model with a loss at every position and every coefficient sampled: slow, and the reference for ``model``.

    Args:
        design: losses and the time axis.
        priors: one distribution per global parameter.
        basis: directions in which position effects are free, outside the span of the law (``position_law.effect_basis``), so
            that they do not trade off with the coefficients (position, direction).
    """
    sites = _sample_globals(design, priors)
    with numpyro.plate("step", len(design.step)):
        for name in ("gap", "rate", "mean"):
            sites[f"{name}_departure"] = numpyro.sample(f"{name}_departure", dist.Normal(0.0, 1.0))
    basis = jnp.asarray(basis)
    with numpyro.plate("direction", basis.shape[1]):
        effect = basis @ numpyro.sample("effect_along", dist.Normal(0.0, EFFECT))
    latent = latent_coefficients(design, {}, sites)
    gap, rate, floor = (each[:, None] for each in (jnp.exp(latent.log_gap), jnp.exp(latent.log_rate), latent.floor))
    exponent = design.estimates.exponent
    expected = reciprocal_loss(design.position, gap=gap, rate=rate, floor=floor, exponent=exponent) + effect
    present = jnp.isfinite(design.losses)
    numpyro.sample(
        "loss", dist.Normal(expected, design.estimates.noise).mask(present), obs=jnp.where(present, design.losses, 0.0)
    )


def latent_coefficients(design: Design, fixed: Sites, drawn: Sites) -> Trend:
    """Coefficients of each checkpoint in ``unreduced_model``: their laws, and standard departures scaled (step)."""
    sites = {**fixed, **drawn}
    variance = variances(design, sites)
    root = jnp.linalg.cholesky(variance.drift + jnp.diag(variance.noise + JITTER))
    return with_checkpoint_noise(
        trend(design.axis, sites),
        design.mean_polynomial,
        log_gap=jnp.sqrt(variance.gap) * sites["gap_departure"],
        log_rate=jnp.sqrt(variance.rate) * sites["rate_departure"],
        mean_loss=root @ sites["mean_departure"],
    )


def with_checkpoint_noise(
    law: Trend, polynomial: ArrayLike, *, log_gap: AnyArray, log_rate: AnyArray, mean_loss: AnyArray
) -> Trend:
    """Coefficients with noise (..., step): gap and rate move, the mean loss has noise of its own, the floor makes up for both.

    Args:
        law: coefficients without noise.
        polynomial: mean over positions of the law's falling part (``position_law.mean_polynomial``).
        log_gap: noise of log gap.
        log_rate: noise of log rate.
        mean_loss: noise of the mean loss over positions, drift included if there is any.  [nats]
    """
    noisy = Trend(law.log_gap + log_gap, law.log_rate + log_rate, law.floor)
    mean = mean_over_positions(law, polynomial) + mean_loss
    return noisy._replace(floor=mean - _above_floor(noisy, polynomial))


def mean_over_positions(law: Trend, polynomial: ArrayLike) -> AnyArray:
    """Mean loss over positions; without positions the floor is the mean loss itself (..., step).

    Args:
        law: coefficients.
        polynomial: mean over positions of the law's falling part (``position_law.mean_polynomial``); empty without positions.
    """
    return law.floor + _above_floor(law, polynomial)


def _above_floor(law: Trend, polynomial: ArrayLike) -> AnyArray | float:
    """Mean loss over positions above the floor (..., step)."""
    return jnp.exp(law.log_gap) * mean_shape(jnp.exp(law.log_rate), polynomial) if jnp.size(polynomial) else 0.0


def _sample_globals(design: Design, priors: Priors) -> Sites:
    sites: Sites = dict(priors.fixed())
    for name in parameters(design, priors):
        sites[name] = numpyro.sample(name, priors.distribution(name, design.centre))
    with numpyro.plate("step", len(design.step)):
        sites["weight"] = numpyro.sample("weight", dist.Gamma(TAIL / 2.0, TAIL / 2.0))
    return sites


def parameters(design: Design, priors: Priors) -> list[str]:
    """Names of the global parameters to sample: without positions there is no gap and no rate, and some may be fixed."""
    names = [name for name in Priors.__dataclass_fields__ if name not in priors.fixed()]
    return names if design.by_position else [name for name in names if not name.startswith(_OF_POSITIONS)]


_OF_POSITIONS = ("gap_", "rate_", "convergence")


def trend(axis: TimeAxis, sites: Sites) -> Trend:
    """Coefficients by their laws, at every step of a time axis whose last row is the origin (step).

    ``floor_slope`` is how the floor moves at the origin with the learning rate held, so the decay of the excess loss is in it.
    """
    heat = excess_loss(axis, sites)
    return trend_with_excess(heat, axis, sites, slope=sites["floor_slope"] + sites["heat_decay"] * heat[-1])


def trend_with_excess(heat: AnyArray, axis: TimeAxis, sites: Sites, *, slope: AnyArray) -> Trend:
    """The same with a known excess loss (step + 1), and a floor that has ``slope`` at the origin beside it (step)."""
    u, excess = axis.u[:-1], heat + overfitting(axis, sites)

    def law(name: str, time: AnyArray, slope: AnyArray) -> Array:
        return laws.temporal_law(time, level=sites[f"{name}_level"], slope=slope, curvature=sites[f"{name}_curvature"])

    floor = law("floor", u, slope) + excess[:-1] - excess[-1]
    if "gap_level" not in sites:
        return Trend(jnp.full_like(u, -jnp.inf), jnp.zeros_like(u), floor)
    moving = jnp.minimum(u, sites["convergence"]) - jnp.minimum(0.0, sites["convergence"])
    return Trend(law("gap", moving, sites["gap_slope"]), law("rate", moving, sites["rate_slope"]), floor)


def variances(design: Design, sites: Sites) -> Variances:
    """Variances around the trend at the design's steps; averaged checkpoints have less noise."""
    count, zero = design.count, jnp.zeros(len(design.step))
    return Variances(
        gap=zero + sites["gap_noise"] ** 2 / count if design.by_position else zero,
        rate=zero + sites["rate_noise"] ** 2 / count if design.by_position else zero,
        noise=sites["noise_scale"] ** 2 / (count * sites["weight"]),
        drift=sites["drift_scale"] ** 2 * jnp.asarray(design.drift),
    )


class Conditional(NamedTuple):
    """One estimate given those before it: regression on their departures from trend, and residual scale (step)."""

    gap: Array
    rate: Array
    scale: Array


def conditionals(design: Design, variance: Variances) -> tuple[Conditional, Conditional, Conditional]:
    """The estimates of one checkpoint, factorised in the order log gap, log rate, mean loss (drift aside).

    With ``C = V_t + diag(variances)`` this is the factorisation ``C = L D L'`` of each 3 x 3 matrix: rows of the unit lower
    triangular ``L`` give the regressions (through its inverse), the diagonal ``D`` the squared scales.
    """
    v = jnp.asarray(design.estimates.covariance)
    gap, cross, rate = v[:, 0, 0] + variance.gap + JITTER, v[:, 0, 1], v[:, 1, 1] + variance.rate + JITTER
    mean = v[:, 2, 2] + variance.noise + JITTER
    zero = jnp.zeros_like(gap)
    slope = cross / gap
    rate_left = rate - slope * cross
    on_rate = (v[:, 1, 2] - slope * v[:, 0, 2]) / rate_left
    on_gap = v[:, 0, 2] / gap - on_rate * slope
    mean_left = mean - on_gap * v[:, 0, 2] - on_rate * v[:, 1, 2]
    return (
        Conditional(zero, zero, jnp.sqrt(gap)),
        Conditional(slope, zero, jnp.sqrt(rate_left)),
        Conditional(on_gap, on_rate, jnp.sqrt(mean_left)),
    )


class Residuals(NamedTuple):
    """Estimates less what is expected of them, each given those before it (step): log gap, log rate, mean loss."""

    gap: AnyArray | float
    rate: AnyArray | float
    mean: AnyArray


def residuals(design: Design, law: Trend) -> tuple[AnyArray | float, AnyArray | float, AnyArray]:
    """Estimates less the laws, drift aside (step): log gap, log rate, mean loss; zero for the first two without positions."""
    estimates = jnp.asarray(design.estimates.coefficients)
    mean = estimates[:, 2] - mean_over_positions(law, design.mean_polynomial)
    return (estimates[:, 0] - law.log_gap, estimates[:, 1] - law.log_rate, mean) if design.by_position else (0.0, 0.0, mean)


def successive(
    off: tuple[AnyArray | float, AnyArray | float, AnyArray], given: tuple[Conditional, Conditional, Conditional]
) -> Residuals:
    """Residuals of the estimates, each less its regression on those before it (step)."""
    gap, rate, mean = off
    return Residuals(gap, rate - given[1].gap * gap, mean - given[2].gap * gap - given[2].rate * rate)
