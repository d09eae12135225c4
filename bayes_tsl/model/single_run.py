r"""The model: sites and laws, nothing else.

Latent at each checkpoint are log gap, log rate and floor, each around its temporal law. Log gap and log rate have noise of
their own; so has the mean loss over positions, ``floor + gap * mean (1 + rate i)^-1``, which carries the floor's heat and drift
(one checkpoint's gap and rate are told far less well than its mean, and what they wobble the floor makes up for). The
noise of the mean is Student-t (a normal with a weight per checkpoint, so that an outlier can be told by its weight).
The positions inform them through the estimates of ``summaries``, with covariance ``V_t``. All of this is Gaussian given the
global parameters, so the coefficients are integrated out exactly and the estimates are observed one after the other,

    p(log gap^) p(log rate^ | log gap^) p(mean^ | log gap^, log rate^),

the first two independent over checkpoints and the last with one covariance over all of them (the drift). NUTS moves in
the global parameters and the weights only; ``conditioning`` puts the coefficients back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.typing import ArrayLike

from bayes_tsl.model import laws
from bayes_tsl.model.design import Design
from bayes_tsl.model.priors import Priors

TAIL = 4.0  # degrees of freedom of the noise of a checkpoint
EFFECT = 1.0  # prior scale of a position effect [nats]: wide
JITTER = 1e-10  # on variances [nats^2]: far below any noise, far above rounding


Sites = dict[str, Any]  # values of sample sites


class Trend(NamedTuple):
    """Coefficients as the laws have them, drift aside: log gap, log rate, floor (step)."""

    log_gap: Array
    log_rate: Array
    floor: Array


class Spread(NamedTuple):
    """What spreads the coefficients around their trend.

    Attributes:
        gap, rate: variance of log gap and of log rate (step).
        noise: variance of the mean loss from checkpoint to checkpoint (step).
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
    law, spread = trend(design.path, sites), spread_of(design, sites)
    first, second, third = chain(design, spread)
    mean_loss = mean_over_positions(design, law)

    seen = design.summary.coefficients if observe else None
    off_gap = off_rate = 0.0
    if design.by_position:
        log_gap = numpyro.sample(
            "log_gap_estimate", dist.Normal(law.log_gap, first.scale), obs=None if seen is None else seen[:, 0]
        )
        off_gap = log_gap - law.log_gap
        expected = law.log_rate + second.gap * off_gap
        log_rate = numpyro.sample(
            "log_rate_estimate", dist.Normal(expected, second.scale), obs=None if seen is None else seen[:, 1]
        )
        off_rate = log_rate - law.log_rate
    covariance = spread.drift + jnp.diag(third.scale**2)
    expected = mean_loss + third.gap * off_gap + third.rate * off_rate
    numpyro.sample("mean_estimate", dist.MultivariateNormal(expected, covariance), obs=None if seen is None else seen[:, 2])


def unreduced_model(design: Design, priors: Priors, basis: ArrayLike) -> None:
    """The same model with a loss at every position and every coefficient sampled: slow, and what ``model`` is held against.

    Args:
        design: losses and the time axis.
        priors: one distribution per global parameter.
        basis: directions in which position effects are free, outside the span of the law (``summaries.effect_basis``), so
            that they and the coefficients say different things (position, direction).
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
    exponent = design.summary.exponent
    expected = laws.reciprocal_loss(design.position, gap=gap, rate=rate, floor=floor, exponent=exponent) + effect
    present = jnp.isfinite(design.losses)
    numpyro.sample(
        "loss", dist.Normal(expected, design.summary.noise).mask(present), obs=jnp.where(present, design.losses, 0.0)
    )


def latent_coefficients(design: Design, fixed: Sites, drawn: Sites) -> Trend:
    """Coefficients of each checkpoint in ``unreduced_model``: their laws, and standard departures scaled (step)."""
    sites = {**fixed, **drawn}
    law, spread = trend(design.path, sites), spread_of(design, sites)
    root = jnp.linalg.cholesky(spread.drift + jnp.diag(spread.noise + JITTER))
    log_gap = law.log_gap + jnp.sqrt(spread.gap) * sites["gap_departure"]
    log_rate = law.log_rate + jnp.sqrt(spread.rate) * sites["rate_departure"]
    mean_loss = mean_over_positions(design, law) + root @ sites["mean_departure"]
    return Trend(log_gap, log_rate, floor_below(design, mean_loss, log_gap, log_rate))


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


def trend(path: laws.Path, sites: Sites) -> Trend:
    """Coefficients by their laws, at every step of a path whose last row is the origin (step).

    ``floor_slope`` is how the floor moves at the origin with the learning rate held, so what fades of the heat is in it.
    """
    hot = heat_at(path, sites)
    return trend_under(hot, path.u[:-1], sites, slope=sites["floor_slope"] + sites["heat_fade"] * hot[-1])


def trend_under(hot: Any, u: Any, sites: Sites, *, slope: Any) -> Trend:
    """The same under known heat (step + 1), the origin last, with a floor that has ``slope`` there beside the heat (step)."""

    def law(name: str, time: Any, slope: Any) -> Array:
        return laws.temporal_law(time, level=sites[f"{name}_level"], slope=slope, curvature=sites[f"{name}_curvature"])

    floor = law("floor", u, slope) + hot[:-1] - hot[-1]
    if "gap_level" not in sites:
        return Trend(jnp.full_like(u, -jnp.inf), jnp.zeros_like(u), floor)
    moving = jnp.minimum(u, sites["convergence"]) - jnp.minimum(0.0, sites["convergence"])
    return Trend(law("gap", moving, sites["gap_slope"]), law("rate", moving, sites["rate_slope"]), floor)


def heat_at(path: laws.Path, sites: Sites) -> Any:
    """What the learning rate adds to the floor at every row of a path (row), in nats."""
    shape = {name: sites[f"heat_{name}"] for name in ("power", "delay", "memory", "fade")}
    return sites["heat"] * laws.heat_shape(path, fast=HEAT_FAST, **shape)


def mean_over_positions(design: Design, law: Trend) -> Array:
    """Mean loss over positions of a curve of coefficients; without positions the floor is the mean loss (step)."""
    return law.floor + _above(design, law.log_gap, law.log_rate)


def floor_below(design: Design, mean_loss: Array, log_gap: Array, log_rate: Array) -> Array:
    """The floor that has this mean loss over positions (step)."""
    return mean_loss - _above(design, log_gap, log_rate)


def _above(design: Design, log_gap: Array, log_rate: Array) -> Any:
    """Mean loss over positions above the floor (step)."""
    return jnp.exp(log_gap) * laws.mean_shape(jnp.exp(log_rate), design.shape) if design.by_position else 0.0


HEAT_FAST = 0.7  # share of the heat that follows the learning rate quickly; published step drops want .6 to .8


def spread_of(design: Design, sites: Sites) -> Spread:
    """Variances around the trend at the design's steps; averaged checkpoints have less noise."""
    count, zero = design.count, jnp.zeros(len(design.step))
    return Spread(
        gap=zero + sites["gap_noise"] ** 2 / count if design.by_position else zero,
        rate=zero + sites["rate_noise"] ** 2 / count if design.by_position else zero,
        noise=sites["noise_scale"] ** 2 / (count * sites["weight"]),
        drift=sites["drift_scale"] ** 2 * laws.drift_covariance(design.path.u[:-1]),
    )


class Link(NamedTuple):
    """One estimate given those before it: regression on their departures from trend, and residual scale (step)."""

    gap: Array
    rate: Array
    scale: Array


def chain(design: Design, spread: Spread) -> tuple[Link, Link, Link]:
    """The estimates of one checkpoint, factorised in the order log gap, log rate, mean loss (drift aside)."""
    v = jnp.asarray(design.summary.covariance)
    gap, cross, rate = v[:, 0, 0] + spread.gap + JITTER, v[:, 0, 1], v[:, 1, 1] + spread.rate + JITTER
    mean = v[:, 2, 2] + spread.noise + JITTER
    zero = jnp.zeros_like(gap)
    slope = cross / gap
    rate_left = rate - slope * cross
    cover = (v[:, 1, 2] - slope * v[:, 0, 2]) / rate_left
    on_gap = v[:, 0, 2] / gap - cover * slope
    mean_left = mean - on_gap * v[:, 0, 2] - cover * v[:, 1, 2]
    return (
        Link(zero, zero, jnp.sqrt(gap)),
        Link(slope, zero, jnp.sqrt(rate_left)),
        Link(on_gap, cover, jnp.sqrt(mean_left)),
    )
