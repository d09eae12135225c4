r"""The model of several runs: each has its own parameters, drawn from a population that all of them inform.

A trait is a standardised parameter: a global parameter of the single-run model, or its logarithm, less the centre of that run's
prior and in units of that prior's standard deviation. Trait ``k`` of run ``r`` with covariates ``x_r`` is drawn around the
population mean,

    trait_rk ~ StudentT(4, mean_k + x_r effect_k, spread_k),

so a run of another length or peak learning rate differs by what its prior says, and by as much again as the population does; an
outlying run keeps its own traits. The floor's slope is normal, so that it can be integrated out with the floor's level. Levels
are each run's own. Slopes are those at one progress, common to all, from which each run's law carries them to its origin. The
spread of a trait is its standard deviation among runs, between 0 and 1 by its prior: no two runs are known beforehand to be
alike, and no population to vary by more than the prior of one run allows. Only the decay of the learning-rate response is
nearly the same in all runs of a population.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.distributions.transforms import SigmoidTransform
from numpyro.infer.reparam import LocScaleReparam

from bayes_tsl._common.arrays import AnyArray
from bayes_tsl.model import drift, laws
from bayes_tsl.model.design import Design, padded
from bayes_tsl.model.lr_response import excess_loss
from bayes_tsl.model.priors import LEVELS, Priors
from bayes_tsl.model.single_run import (
    TAIL,
    Sites,
    conditionals,
    parameters,
    residuals,
    successive,
    trend_with_excess,
    variances,
)

MEAN_SD = float(np.sqrt(0.5))  # prior sd of a trait's mean: half of the variance that the prior of one run has
SPREAD_MEDIAN = 0.4  # prior median of a trait's spread, in units of the prior of one run ...
CLOSE = {"floor_slope": 0.02, "gap_slope": 0.05, "rate_slope": 0.05, "noise_scale": 0.2, "gap_noise": 0.2, "rate_noise": 0.2}
# ... but for those whose prior for one run is wide because it knows nothing: spread of slopes [nats], of logs of noise
NEARLY_CONSTANT = {"heat_decay": 0.01}  # ... and for the decay: else it can explain what slopes differ by, a second mode
OUTLYING = 4.0  # degrees of freedom of traits: an outlying run widens their spread little
SPREAD_SD = 1.0  # standard deviation of the log odds of a spread, which lies between 0 and 1
EFFECT_SD = 0.5  # prior sd of what one standard deviation of a covariate does to a trait
FLOOR_LINE = ("floor_level", "floor_slope")  # in which the estimates are linear, so that they are integrated out


class PopulationParameters(NamedTuple):
    """What runs have in common: of each trait the mean (trait), the spread (trait) and the effects (covariate, trait)."""

    mean: AnyArray
    spread: AnyArray
    effect: AnyArray


POPULATION = {"trait_mean": ("trait",), "trait_spread": ("trait",), "trait_effect": ("covariate", "trait")}
"""Sample sites of the population, and their axes; without covariates there is no effect."""


class HierarchicalDesign(NamedTuple):
    """Everything that the model of several runs conditions on.

    Attributes:
        design: designs of all runs, padded to one length (run, ...).
        priors: of each run by itself (run).
        prior_sd: largest standard deviation of each trait's prior among the runs, the unit of the trait (trait).
        covariates: centred, in standard deviations (run, covariate).
        progress_offset: log progress of each origin over that at which slopes are compared (run).
        centered: how far each trait is centred (NumPyro's ``LocScaleReparam``): 1 samples the trait itself, 0 its departure
            from the mean in spreads, and else something between the two (run, trait).
    """

    design: Design
    priors: Priors
    prior_sd: AnyArray
    covariates: AnyArray
    progress_offset: AnyArray
    centered: AnyArray

    @property
    def traits(self) -> list[str]:
        """Names of the traits."""
        return [name for name in self.parameters if name not in LEVELS]

    @property
    def levels(self) -> list[str]:
        """Names of the parameters that are each run's own."""
        return [name for name in self.parameters if name in LEVELS]

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters of each run."""
        return parameters(self.design, self.priors)

    @property
    def is_floor_slope(self) -> np.ndarray:
        """Which trait is the floor's slope (trait)."""
        return np.array([name in FLOOR_LINE for name in self.traits])

    @property
    def sampled(self) -> np.ndarray:
        """Indices of the traits that NUTS moves in (sampled)."""
        return np.flatnonzero(~self.is_floor_slope)

    @property
    def variance(self) -> np.ndarray:
        """Variance of each trait among runs, in spreads squared (trait)."""
        return np.where(self.is_floor_slope, 1.0, OUTLYING / (OUTLYING - 2.0))

    def one(self, run: int) -> HierarchicalDesign:
        """The design of one of the runs alone."""
        alone = jax.tree.map(lambda values: values[run : run + 1], self)
        return alone._replace(prior_sd=self.prior_sd)


def make_hierarchical_design(designs: Sequence[Design], priors: Sequence[Priors], covariates: np.ndarray) -> HierarchicalDesign:
    """Runs side by side; ``covariates`` (run, covariate) in their own units."""
    longest = max(len(design.step) for design in designs)
    stacked = _stack([padded(design, to=longest) for design in designs])
    own = _stack(priors)
    offset = np.array([design.log_progress for design in designs]) - reference_progress(designs)
    scale = np.where(covariates.std(axis=0) > 0, covariates.std(axis=0), 1.0)
    centred = (covariates - covariates.mean(axis=0)) / scale
    made = HierarchicalDesign(stacked, own, np.zeros(0), centred, offset, np.zeros(0))
    prior_sd = np.array([np.max(getattr(own, name).sd) for name in made.traits])
    return made._replace(prior_sd=prior_sd, centered=np.tile(1.0 - made.is_floor_slope, (len(designs), 1)))


def reference_progress(designs: Sequence[Design]) -> float:
    """Log progress at which slopes are compared: the mean of that at the origins."""
    return float(np.mean([design.log_progress for design in designs]))


def _stack(values: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *parts: np.stack([np.asarray(part, float) for part in parts]), *values)


def hierarchical_model(runs: HierarchicalDesign, population: PopulationParameters | None = None) -> None:
    """Bayesian temporal scaling laws of several runs on one test set, and of the population that they are from.

    Args:
        runs: estimated coefficients and the time axis of every run.
        population: what the runs have in common, if it is to be taken as known.
    """
    common = _sample_population(runs) if population is None else population
    with numpyro.plate("run", len(runs.progress_offset)):
        sites = {}
        for name in runs.levels:
            if name not in FLOOR_LINE:
                prior = getattr(runs.priors, name)
                sites[name] = numpyro.sample(name, dist.Normal(level_centre(runs, name), prior.sd))
        sites["trait"] = numpyro.sample("trait", dist.StudentT(OUTLYING, *sampled_traits(runs, common)).to_event(1))
        noise = dist.Gamma(TAIL / 2.0, TAIL / 2.0).expand([runs.design.step.shape[1]]).to_event(1)
        sites["weight"] = numpyro.sample("weight", noise)
    numpyro.factor("estimates", floor_line(runs, common, sites).log_density.sum())


def partially_centered_model(runs: HierarchicalDesign, population: PopulationParameters | None = None) -> None:
    """``hierarchical_model`` in the coordinates that NUTS moves in: each trait centred as far as ``runs.centered`` says.

    The site ``trait_decentered`` stands for ``trait`` (Gorinova, Moore & Hoffman, arXiv 1906.03028).
    """
    with handlers.reparam(config={"trait": LocScaleReparam(runs.centered[:, runs.sampled], shape_params=("df",))}):
        hierarchical_model(runs, population)


def _sample_population(runs: HierarchicalDesign) -> PopulationParameters:
    traits, covariates = len(runs.prior_sd), runs.covariates.shape[1]
    mean = numpyro.sample("trait_mean", dist.Normal(0.0, MEAN_SD).expand([traits]).to_event(1))
    median = spread_medians(runs)
    odds = dist.Normal(jnp.log(median / (1.0 - median)), SPREAD_SD)
    spread = numpyro.sample("trait_spread", dist.TransformedDistribution(odds, SigmoidTransform()).to_event(1))
    effect = jnp.zeros((0, traits))
    if covariates:
        effect = numpyro.sample("trait_effect", dist.Normal(0.0, EFFECT_SD).expand([covariates, traits]).to_event(2))
    return PopulationParameters(*map(jnp.asarray, (mean, spread, effect)))


def population_parameters(runs: HierarchicalDesign, sites: Sites) -> PopulationParameters:
    """Values of the population's sample sites, put together (..., trait)."""
    mean, spread = sites["trait_mean"], sites["trait_spread"]
    nothing = np.zeros((*mean.shape[:-1], runs.covariates.shape[1], mean.shape[-1]))
    return PopulationParameters(mean, spread, sites.get("trait_effect", nothing))


def spread_medians(runs: HierarchicalDesign) -> Array:
    """Median of the prior of each trait's spread (trait)."""
    medians = [
        jnp.minimum(CLOSE[name] / sd, SPREAD_MEDIAN) if name in CLOSE else NEARLY_CONSTANT.get(name, SPREAD_MEDIAN)
        for name, sd in zip(runs.traits, runs.prior_sd)
    ]
    return jnp.array(medians)


def level_centre(runs: HierarchicalDesign, name: str) -> AnyArray:
    """Prior mean of a level of each run (run)."""
    return getattr(runs.priors, name).centre + runs.design.centre[:, LEVELS[name]]


def trait_means(runs: HierarchicalDesign, population: PopulationParameters) -> AnyArray:
    """Population mean of each trait in runs of these covariates (run, trait)."""
    return population.mean[..., None, :] + runs.covariates @ population.effect


def sampled_traits(runs: HierarchicalDesign, population: PopulationParameters) -> tuple[AnyArray, AnyArray]:
    """Mean and spread of the traits that NUTS moves in (run, sampled)."""
    k = runs.sampled
    mean = trait_means(runs, population)[..., k]
    return mean, jnp.broadcast_to(population.spread[..., None, k], jnp.shape(mean))


def all_traits(
    runs: HierarchicalDesign, population: PopulationParameters, sampled: AnyArray, slope: AnyArray | float = 0.0
) -> AnyArray:
    """Traits of the runs (run, trait): those sampled (run, sampled), and the floor's slope in spreads off its mean (run)."""
    of_slope = (trait_means(runs, population) + population.spread * jnp.asarray(slope)[..., None])[:, runs.is_floor_slope]
    return insert_floor_slope(runs, sampled, of_slope[:, 0]) if of_slope.shape[1] else sampled


def insert_floor_slope(runs: HierarchicalDesign, sampled: AnyArray, slope: AnyArray | float) -> AnyArray:
    """A value per trait (run, trait): one for each that is sampled (run, sampled), and one for the floor's slope (run)."""
    at = np.flatnonzero(runs.is_floor_slope)
    return jnp.insert(jnp.asarray(sampled), at, jnp.asarray(slope)[..., None], axis=1) if at.size else sampled


def run_parameters(runs: HierarchicalDesign, trait: AnyArray) -> Sites:
    """Parameters of the single-run model that have these traits (run, trait), and those that are fixed; each (run)."""
    sites: Sites = {name: jnp.zeros_like(runs.progress_offset) + value for name, value in runs.priors.fixed().items()}
    for k, name in enumerate(runs.traits):
        prior, departure = getattr(runs.priors, name), runs.prior_sd[k] * trait[:, k]
        sites[name] = prior.centre + departure if prior.family == "normal" else prior.centre * jnp.exp(departure)
    for name in ("gap", "rate", "floor"):
        if {f"{name}_slope", f"{name}_curvature"} <= set(sites):
            sites[f"{name}_slope"] = sites[f"{name}_slope"] * jnp.exp(-sites[f"{name}_curvature"] * runs.progress_offset)
    return sites


def named_parameters(runs: HierarchicalDesign, population: PopulationParameters, own: Sites, line: AnyArray) -> Sites:
    """Every parameter of each run (run), from what is sampled of it, and its floor's level and slope in prior sds (run, 2)."""
    sites = own | {"floor_level": level_centre(runs, "floor_level") + runs.priors.floor_level.sd * line[:, 0]}
    sites |= run_parameters(runs, all_traits(runs, population, own["trait"], line[:, 1]))
    sites = single_run_sites(runs, sites)
    return {name: sites[name] for name in runs.parameters}


def single_run_sites(runs: HierarchicalDesign, sites: Sites) -> Sites:
    """Sites as the single-run model has them: its floor slope at the origin includes the decay of the excess loss there."""
    axis = runs.design.axis
    at_origin = axis._replace(u=axis.u[:, -1:], lag=axis.lag[:, -1:], gone=axis.gone[:, -1:])
    excess = jax.vmap(excess_loss)(at_origin, sites)[:, 0]
    return sites | {"floor_slope": sites["floor_slope"] - sites["heat_decay"] * excess}


class FloorLine(NamedTuple):
    """Density of a run's estimates with the floor's level and slope integrated out, and the normal of these two given all else.

    Attributes:
        log_density: of the estimates.
        mean: of level and slope, in standard deviations of their priors (2).
        precision: of the two (2, 2).
    """

    log_density: AnyArray
    mean: AnyArray
    precision: AnyArray


def floor_line(runs: HierarchicalDesign, population: PopulationParameters, sampled: Sites) -> FloorLine:
    """The marginal density of each run's estimates, given all that is sampled of it (run, ...)."""
    sites = sampled | {"floor_level": level_centre(runs, "floor_level")}
    sites |= run_parameters(runs, all_traits(runs, population, sampled["trait"]))
    level, slope = runs.priors.floor_level.sd, 0.0 * runs.progress_offset
    if "floor_slope" in runs.traits:
        k = runs.traits.index("floor_slope")
        slope = runs.prior_sd[k] * population.spread[k] * jnp.exp(-sites["floor_curvature"] * runs.progress_offset)
    return jax.vmap(_floor_line)(runs.design, sites, level, slope)


def _floor_line(design: Design, sites: Sites, level: AnyArray | float, slope: AnyArray) -> FloorLine:
    r"""The same of one run.

    With ``y`` the residual of the mean losses at the prior means of level and slope, ``H = [level, slope * phi(u)]`` (step, 2)
    and ``C`` the covariance of drift and noise, the estimates are ``y ~ Normal(H z, C)``, ``z ~ Normal(0, I)``. So (Rasmussen &
    Williams 2006, section 2.7), with ``A = I + H' C^-1 H`` and ``m = A^-1 H' C^-1 y``,

        log p(y) = -1/2 (y' C^-1 y - m' A m + log det A + log det C + T log 2 pi),      z | y ~ Normal(m, A^-1).

    Args:
        design: of the run.
        sites: with the prior means of level and slope.
        level: prior standard deviation of the floor's level.  [nats]
        slope: that of its slope.  [nats]
    """
    u, heat, variance = design.axis.u[:-1], excess_loss(design.axis, sites), variances(design, sites)
    law = trend_with_excess(heat, design.axis, sites, slope=sites["floor_slope"])
    given = conditionals(design, variance)
    off = successive(residuals(design, law), given)
    density = 0.0
    if design.by_position:
        density = _normal(off.gap, given[0].scale) + _normal(off.rate, given[1].scale)
    noise = given[2].scale ** 2
    columns = jnp.stack([off.mean, level + 0.0 * u, slope * laws.relaxation(u, sites["floor_curvature"])], axis=1)
    white, log_det = drift.whiten(u, columns, noise=noise, scale=sites["drift_scale"])
    products = white.T @ white
    precision, pull = products[1:, 1:] + jnp.eye(2), products[1:, 0]
    determinant = precision[0, 0] * precision[1, 1] - precision[0, 1] ** 2
    adjugate = jnp.array([[precision[1, 1], -precision[0, 1]], [-precision[0, 1], precision[0, 0]]])
    mean = adjugate @ pull / determinant
    deviance = products[0, 0] - pull @ mean + jnp.log(determinant) + log_det + len(u) * jnp.log(2.0 * jnp.pi)
    return FloorLine(density - 0.5 * deviance, mean, precision)


def _normal(off: AnyArray | float, scale: AnyArray) -> AnyArray:
    return dist.Normal(0.0, scale).log_prob(off).sum()


def draw_floor_line(line: FloorLine, standard: AnyArray) -> AnyArray:
    """Level and slope of each run, in standard deviations of their priors, from standard normal numbers (run, 2)."""
    a, b, c = line.precision[:, 0, 0], line.precision[:, 0, 1], line.precision[:, 1, 1]
    corner = jnp.sqrt(c - b**2 / a)
    slope = standard[:, 1] / corner
    return line.mean + jnp.stack([standard[:, 0] / jnp.sqrt(a) - b / a * slope, slope], axis=1)
