r"""Several runs at once: each has its own laws, drawn from a population that all of them tell about.

A trait is a global parameter of the single-run model, or its logarithm, less the centre of that run's prior and in units of
the prior's spread. Trait ``k`` of run ``r`` with covariates ``x_r`` is drawn around what the family has in common,

    trait_rk ~ StudentT(4, mean_k + x_r effect_k, spread_k),

so a run of another length or peak learning rate differs by what its prior says, and by as much again as the family does; a run
unlike the others keeps its own. The floor's slope is normal, so that it can be integrated out with the floor's level.
Levels are each run's own. Slopes are those at one progress, common to all, from which each run's law carries them to its
origin. Spreads lie between 0 and 1 by their prior: no two runs are known beforehand to be alike, and no family to vary by
more than the prior of a run allows. Only how the heat fades is nearly the same in all runs of a family.
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
from numpyro.distributions.transforms import SigmoidTransform

from bayes_tsl.model import laws
from bayes_tsl.model.design import Design, padded
from bayes_tsl.model.priors import LEVELS, Priors
from bayes_tsl.model.single_run import TAIL, Sites, chain, heat_at, mean_over_positions, parameters, spread_of, trend_under

COMMON = float(np.sqrt(0.5))  # prior scale of a trait's mean: half of the variance that the prior of one run has
BETWEEN = 0.4  # median of the prior of a trait's spread, in units of the prior of one run ...
CLOSE = {"floor_slope": 0.02, "gap_slope": 0.05, "rate_slope": 0.05, "noise_scale": 0.2, "gap_noise": 0.2, "rate_noise": 0.2}
# ... but for those of which the prior of one run is wide since it knows nothing: spread of slopes [nats], of logs of noise
ALIKE = {"heat_fade": 0.01}  # ... and for the fade, nearly one constant: else it can say what slopes differ by, a second mode
OUTLYING = 4.0  # degrees of freedom of traits: a run unlike the others widens their spread little
DOUBT = 1.0  # standard deviation of the log odds of a spread, which lies between 0 and 1
EFFECT = 0.5  # prior scale of what one standard deviation of a covariate does to a trait
LINE = ("floor_level", "floor_slope")  # in which the estimates are linear, so that they are integrated out


class Common(NamedTuple):
    """What runs have in common: of each trait the mean (trait), the spread (trait) and the effects (covariate, trait)."""

    mean: Any
    spread: Any
    effect: Any


class Family(NamedTuple):
    """Everything that the model of several runs conditions on.

    Attributes:
        design: designs of all runs, padded to one length (run, ...).
        priors: of each run by itself (run).
        unit: one spread of each trait's prior (trait).
        covariates: centred, in standard deviations (run, covariate).
        lead: log progress of each origin over that at which slopes are compared (run).
        told: how much of a trait's variance in the population a run takes away, from 0 to 1: with 1 the trait is sampled as it
            is, with 0 its departure in spreads, and else something between the two (run, trait).
    """

    design: Design
    priors: Priors
    unit: Any
    covariates: Any
    lead: Any
    told: Any

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
    def steep(self) -> np.ndarray:
        """Which trait is the floor's slope (trait)."""
        return np.array([name in LINE for name in self.traits])

    @property
    def sampled(self) -> np.ndarray:
        """Numbers of the traits that NUTS moves in (sampled)."""
        return np.flatnonzero(~self.steep)

    @property
    def variance(self) -> np.ndarray:
        """Variance of each trait among runs, in spreads squared (trait)."""
        return np.where(self.steep, 1.0, OUTLYING / (OUTLYING - 2.0))

    def one(self, run: int) -> Family:
        """A family of one of the runs."""
        alone = jax.tree.map(lambda values: values[run : run + 1], self)
        return alone._replace(unit=self.unit)


def make_family(designs: Sequence[Design], priors: Sequence[Priors], covariates: np.ndarray) -> Family:
    """Runs side by side; ``covariates`` (run, covariate) as they are meant."""
    longest = max(len(design.step) for design in designs)
    stacked = _stack([padded(design, to=longest) for design in designs])
    own = _stack(priors)
    lead = np.array([design.log_progress for design in designs]) - reference(designs)
    scale = np.where(covariates.std(axis=0) > 0, covariates.std(axis=0), 1.0)
    centred = (covariates - covariates.mean(axis=0)) / scale
    family = Family(stacked, own, np.zeros(0), centred, lead, np.zeros(0))
    unit = np.array([np.max(getattr(own, name).spread) for name in family.traits])
    return family._replace(unit=unit, told=np.tile(1.0 - family.steep, (len(designs), 1)))


def reference(designs: Sequence[Design]) -> float:
    """Log progress at which slopes are compared: the mean of that at the origins."""
    return float(np.mean([design.log_progress for design in designs]))


def _stack(values: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *parts: np.stack([np.asarray(part, float) for part in parts]), *values)


def family_model(family: Family, population: Common | None = None) -> None:
    """Bayesian temporal scaling laws of several runs on one test set, and of the population that they are from.

    Args:
        family: estimated coefficients and the time axis of every run.
        population: what the runs have in common, if it is to be taken as known.
    """
    common = _sample_population(family) if population is None else population
    with numpyro.plate("run", len(family.lead)):
        sites = {}
        for name in family.levels:
            if name not in LINE:
                prior = getattr(family.priors, name)
                sites[name] = numpyro.sample(name, dist.Normal(level_centre(family, name), prior.spread))
        expected, spread, told = coordinates(family, common)
        sites["trait"] = numpyro.sample("trait", dist.StudentT(OUTLYING, told * expected, spread**told).to_event(1))
        noise = dist.Gamma(TAIL / 2.0, TAIL / 2.0).expand([family.design.step.shape[1]]).to_event(1)
        sites["weight"] = numpyro.sample("weight", noise)
    numpyro.factor("estimates", seen_through(family, common, sites).log_density.sum())


def _sample_population(family: Family) -> Common:
    traits, covariates = len(family.unit), family.covariates.shape[1]
    mean = numpyro.sample("trait_mean", dist.Normal(0.0, COMMON).expand([traits]).to_event(1))
    likely = likely_spread(family)
    odds = dist.Normal(jnp.log(likely / (1.0 - likely)), DOUBT)
    spread = numpyro.sample("trait_spread", dist.TransformedDistribution(odds, SigmoidTransform()).to_event(1))
    if not covariates:
        return Common(mean, spread, jnp.zeros((0, traits)))
    return Common(
        mean, spread, numpyro.sample("trait_effect", dist.Normal(0.0, EFFECT).expand([covariates, traits]).to_event(2))
    )


def likely_spread(family: Family) -> Array:
    """Median of the prior of each trait's spread (trait)."""
    known = [
        jnp.minimum(CLOSE[name] / unit, BETWEEN) if name in CLOSE else ALIKE.get(name, BETWEEN)
        for name, unit in zip(family.traits, family.unit)
    ]
    return jnp.array(known)


def level_centre(family: Family, name: str) -> Any:
    """Prior mean of a level of each run (run)."""
    return getattr(family.priors, name).centre + family.design.centre[:, LEVELS[name]]


def expected_of(family: Family, population: Common) -> Any:
    """Mean of each trait in runs of these covariates (run, trait)."""
    return population.mean[..., None, :] + family.covariates @ population.effect


def coordinates(family: Family, population: Common) -> tuple[Any, Any, Any]:
    """Mean and spread of the traits that NUTS moves in, and how much runs tell of them (run, sampled).

    What is sampled of a trait is normal around ``told * mean`` with ``spread**told``.
    """
    k = family.sampled
    return expected_of(family, population)[..., k], population.spread[..., None, k], family.told[:, k]


def traits_of(family: Family, population: Common, drawn: Any, slope: Any = 0.0) -> Any:
    """Traits of the runs (run, trait): those sampled (run, sampled), and the floor's slope in spreads off its mean (run)."""
    expected, told = expected_of(family, population), family.told
    return expected + population.spread ** (1.0 - told) * (with_slope(family, drawn, slope) - told * expected)


def with_slope(family: Family, sampled: Any, slope: Any) -> Any:
    """A value per trait (run, trait): one for each that is sampled (run, sampled), and one for the floor's slope (run)."""
    at = np.flatnonzero(family.steep)
    return jnp.insert(jnp.asarray(sampled), at, jnp.asarray(slope)[..., None], axis=1) if at.size else sampled


def run_sites(family: Family, trait: Any) -> Sites:
    """Parameters of the single-run model that have these traits (run, trait), and those that are fixed; each (run)."""
    sites: Sites = {name: jnp.zeros_like(family.lead) + value for name, value in family.priors.fixed().items()}
    for k, name in enumerate(family.traits):
        prior, departure = getattr(family.priors, name), family.unit[k] * trait[:, k]
        sites[name] = prior.centre + departure if prior.family == "normal" else prior.centre * jnp.exp(departure)
    for name in ("gap", "rate", "floor"):
        if {f"{name}_slope", f"{name}_curvature"} <= set(sites):
            sites[f"{name}_slope"] = sites[f"{name}_slope"] * jnp.exp(-sites[f"{name}_curvature"] * family.lead)
    return sites


def as_alone(family: Family, sites: Sites) -> Sites:
    """Parameters as the single-run model has them: what fades of the heat at the origin is in the floor's slope there."""
    path = family.design.path
    hot = jax.vmap(heat_at)(laws.Path(path.u[:, -1:], path.lag[:, -1:], path.end), sites)[:, 0]
    return sites | {"floor_slope": sites["floor_slope"] - sites["heat_fade"] * hot}


class Line(NamedTuple):
    """What the estimates of a run say, its floor's level and slope integrated out, and what they say of these two.

    Attributes:
        log_density: of the estimates.
        mean: of level and slope, in spreads of their priors (2).
        precision: of the two (2, 2).
    """

    log_density: Any
    mean: Any
    precision: Any


def seen_through(family: Family, population: Common, sampled: Sites) -> Line:
    """The estimates of each run, given all that is sampled of it (run, ...)."""
    sites = sampled | {"floor_level": level_centre(family, "floor_level")}
    sites |= run_sites(family, traits_of(family, population, sampled["trait"]))
    level, slope = family.priors.floor_level.spread, 0.0 * family.lead
    if "floor_slope" in family.traits:
        k = family.traits.index("floor_slope")
        slope = family.unit[k] * population.spread[k] * jnp.exp(-sites["floor_curvature"] * family.lead)
    return jax.vmap(_line)(family.design, sites, level, slope)


def _line(design: Design, sites: Sites, level: Any, slope: Any) -> Line:
    """The same of one run; ``sites`` have the prior means of level and slope, which spread by ``level`` and ``slope``."""
    u, hot, spread = design.path.u[:-1], heat_at(design.path, sites), spread_of(design, sites)
    law = trend_under(hot, u, sites, slope=sites["floor_slope"])
    gap, rate, mean = chain(design, spread)
    seen = jnp.asarray(design.summary.coefficients)
    density, off_gap, off_rate = 0.0, 0.0, 0.0
    if design.by_position:
        off_gap, off_rate = seen[:, 0] - law.log_gap, seen[:, 1] - law.log_rate
        density = _normal(off_gap, gap.scale) + _normal(off_rate - rate.gap * off_gap, rate.scale)
    off = seen[:, 2] - mean_over_positions(design, law) - mean.gap * off_gap - mean.rate * off_rate
    columns = jnp.stack([off, level + 0.0 * u, slope * laws.relaxation(u, sites["floor_curvature"])], axis=1)
    white, volume = laws.whitened(u, columns, noise=mean.scale**2, scale=sites["drift_scale"])
    products = white.T @ white
    precision, pull = products[1:, 1:] + jnp.eye(2), products[1:, 0]
    determinant = precision[0, 0] * precision[1, 1] - precision[0, 1] ** 2
    swapped = jnp.array([[precision[1, 1], -precision[0, 1]], [-precision[0, 1], precision[0, 0]]])
    best = swapped @ pull / determinant
    surprise = products[0, 0] - pull @ best + jnp.log(determinant) + volume + len(u) * jnp.log(2.0 * jnp.pi)
    return Line(density - 0.5 * surprise, best, precision)


def _normal(off: Any, scale: Any) -> Any:
    return dist.Normal(0.0, scale).log_prob(off).sum()


def draw_line(line: Line, standard: Any) -> Any:
    """Level and slope of each run, in spreads of their priors, from standard normal numbers (run, 2)."""
    a, b, c = line.precision[:, 0, 0], line.precision[:, 0, 1], line.precision[:, 1, 1]
    corner = jnp.sqrt(c - b**2 / a)
    slope = standard[:, 1] / corner
    return line.mean + jnp.stack([standard[:, 0] / jnp.sqrt(a) - b / a * slope, slope], axis=1)
