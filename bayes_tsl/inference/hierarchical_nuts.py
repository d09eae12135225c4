r"""NUTS on the model of several runs: where it starts, how it is preconditioned, and what it returns for each run.

The start is an estimate of the population by expectation-maximisation, with Laplace's approximation for each run. Given the
population runs are independent, so the Hessian is a block arrow, and so is the preconditioner. How far a trait is centred goes
by how much its run informs it (Gorinova, Moore & Hoffman, arXiv 1906.03028): by the curvature at first, and then by a short
trial, which sees more than one mode.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from bayes_tsl.inference.nuts import Draws, over_draws, sample
from bayes_tsl.inference.preconditioning import Values, block_arrow, laplace
from bayes_tsl.model.hierarchical import (
    EFFECT_SD,
    FLOOR_LINE,
    MEAN_SD,
    OUTLYING,
    POPULATION,
    SPREAD_SD,
    HierarchicalDesign,
    PopulationParameters,
    all_traits,
    draw_floor_line,
    floor_line,
    hierarchical_model,
    insert_floor_slope,
    named_parameters,
    partially_centered_model,
    population_parameters,
    sampled_traits,
    spread_medians,
    trait_means,
)

Array = NDArray[np.float64]
_floor_line = jax.jit(floor_line)

HIERARCHICAL_ACCEPT = 0.95
"""Target acceptance for mean losses: no divergence in 50 runs, at two thirds of the work of .98 (docs/modelling.md)."""
_TRIAL = 150  # transitions thrown away, and as many kept, before the centring is settled
_DECENTERED = "trait_decentered"  # the site that LocScaleReparam samples in place of a trait
_ROUNDS = 4  # of expectation-maximisation
_SPREADS = expit(np.linspace(-7.0, 5.0, 500))  # grid on which the spread of a trait is maximised


def sample_runs(runs: HierarchicalDesign, *, seed: int, **settings: Any) -> tuple[list[Draws], Draws]:
    """Draws of every run's parameters and weights, and of the population.  Call inside ``float64()``.

    Args:
        runs: what to condition on.
        seed: the same seed gives the same draws on the same machine.
        settings: of ``nuts.sample``.
    """
    population, start, variance = _pilot(runs)
    runs = _with_centering(runs, 1.0 - variance / population.spread**2)
    trial = settings | {"discarded": _TRIAL, "num_draws": _TRIAL}
    left = _departures(runs, _draw(runs, population, start, seed=seed, **trial).sites).var(axis=(0, 1))
    runs = _with_centering(runs, 1.0 - np.asarray(insert_floor_slope(runs, left, 1.0)))
    drawn = _draw(runs, population, start, seed=seed, **settings)
    own = {name: values for name, values in drawn.sites.items() if name not in POPULATION}
    size = (*drawn.stats["lp"].shape, len(runs.progress_offset), len(FLOOR_LINE))
    standard = np.random.default_rng(seed).standard_normal(size)
    named = over_draws(_parameters, (runs,), population_parameters(runs, drawn.sites), own, standard) | {
        "weight": drawn.sites["weight"]
    }
    each = [
        Draws({name: values[:, :, run] for name, values in named.items()}, drawn.stats)
        for run in range(len(runs.progress_offset))
    ]
    return each, Draws({name: values for name, values in drawn.sites.items() if name in POPULATION}, drawn.stats)


def _with_centering(runs: HierarchicalDesign, centered: Array) -> HierarchicalDesign:
    """The same runs, each trait centred as far as this says (run, trait)."""
    return runs._replace(centered=np.where(runs.is_floor_slope, 0.0, np.clip(centered, 0.0, 1.0)))


def _draw(runs: HierarchicalDesign, population: PopulationParameters, start: Values, **settings: Any) -> Draws:
    """Draws that start from an estimate of the population and of the traits, which ``start`` has fully centred."""
    mean, spread = sampled_traits(runs, population)
    centered = runs.centered[:, runs.sampled]
    shared = {f"trait_{name}": value for name, value in population._asdict().items() if value.size}
    own = {name: value for name, value in start.items() if name != "trait"}
    own[_DECENTERED] = centered * mean + (start["trait"] - mean) / spread ** (1.0 - centered)
    begun = own | shared
    whitening = block_arrow(partially_centered_model, runs, start=begun, shared=list(shared))
    draws = sample(partially_centered_model, runs, coordinates=whitening, **settings)
    return draws._replace(sites=_with_traits(runs, draws.sites))


def _with_traits(runs: HierarchicalDesign, sites: Values) -> Values:
    """Draws with the traits themselves in place of what was sampled of them (chain, draw, ...)."""
    mean, spread = (np.asarray(one) for one in sampled_traits(runs, population_parameters(runs, sites)))
    centered, sampled = runs.centered[:, runs.sampled], sites[_DECENTERED]
    trait = mean + spread ** (1.0 - centered) * (sampled - centered * mean)
    return {name: values for name, values in sites.items() if name != _DECENTERED} | {"trait": trait}


def _departures(runs: HierarchicalDesign, sites: Values) -> Array:
    """Departures of traits from the population mean, in spreads (chain, draw, run, sampled)."""
    mean, spread = sampled_traits(runs, population_parameters(runs, sites))
    return (sites["trait"] - mean) / spread


def _parameters(runs: HierarchicalDesign, population: PopulationParameters, own: Values, standard: Array) -> Values:
    """Every parameter of each run (run), level and slope of the floor among them."""
    return named_parameters(runs, population, own, draw_floor_line(floor_line(runs, population, own), standard))


def _pilot(runs: HierarchicalDesign) -> tuple[PopulationParameters, Values, Array]:
    r"""An estimate of the population, the modes of all runs under it, and the variance of each trait (run, trait).

    Expectation-maximisation (Dempster, Laird & Rubin 1977). With ``x_rk`` the traits and ``theta`` the population, each round
    maximises

        Q(theta) = sum_rk E[log p(x_rk | theta)] + log p(theta),

    the expectation under the normal with the mode of run ``r`` and its inverse Hessian (Laplace).
    """
    count, traits, covariates = len(runs.progress_offset), len(runs.prior_sd), runs.covariates.shape[1]
    population = PopulationParameters(np.zeros(traits), np.ones(traits), np.zeros((covariates, traits)))
    modes = [_start(runs.one(run)) for run in range(count)]
    most_likely, of_traits = {}, np.zeros((count, traits))
    for _ in range(_ROUNDS):
        found = [laplace(hierarchical_model, runs.one(run), population, start=mode) for run, mode in enumerate(modes)]
        modes = [mode for mode, _ in found]
        most_likely, variance = (
            {name: np.concatenate([one[name] for one in each]) for name in each[0]} for each in zip(*found)
        )
        line = _floor_line(runs, population, most_likely)
        mean = np.asarray(all_traits(runs, population, most_likely["trait"], line.mean[:, 1]))
        of_slope = population.spread**2 * np.linalg.inv(line.precision)[:, 1:, 1]
        of_traits = np.where(runs.is_floor_slope, of_slope, insert_floor_slope(runs, variance["trait"], 0.0))
        population = _maximised(runs, population, mean, of_traits)
    return population, most_likely, of_traits


def _start(alone: HierarchicalDesign) -> Values:
    """Medians of the priors, and no outlier."""
    levels = {name: alone.priors.typical(name, alone.design.centre[0]) for name in alone.levels if name not in FLOOR_LINE}
    flat = {name: np.atleast_1d(np.asarray(value, float)) for name, value in levels.items()}
    return flat | {"trait": np.zeros((1, len(alone.sampled))), "weight": np.ones(alone.design.step.shape)}


def _maximised(runs: HierarchicalDesign, before: PopulationParameters, mean: Array, variance: Array) -> PopulationParameters:
    r"""The population that maximises ``Q``, given mean and variance of each trait (run, trait).

    The Student-t is a normal whose precision is weighted by ``w = 5 / (4 + E[d^2] / spread^2)`` at the last estimate (Lange,
    Little & Taylor, JASA 84:881, 1989). Means and effects are then a ridge regression, and the spread of each trait maximises

        -R log spread - sum_r w_r E[d_r^2] / (2 spread^2) + log p(spread)

    on a grid, ``d_r`` the departure of run ``r``.
    """
    predictors = np.column_stack([np.ones(len(mean)), runs.covariates])
    ridge = np.diag([MEAN_SD**-2, *[EFFECT_SD**-2] * runs.covariates.shape[1]])
    distance = ((mean - trait_means(runs, before)) ** 2 + variance) / before.spread**2
    weight = np.where(runs.is_floor_slope, 1.0, (OUTLYING + 1.0) / (OUTLYING + distance))
    found = [
        np.linalg.solve((predictors.T * each) @ predictors + ridge, (predictors.T * each) @ values)
        for each, values in zip((weight / before.spread**2).T, mean.T)
    ]
    intercept, *effect = np.transpose(found)
    scatter = (weight * ((mean - predictors @ np.transpose(found)) ** 2 + variance)).sum(axis=0)
    grid = _SPREADS[:, None]
    penalty = (logit(grid) - logit(np.asarray(spread_medians(runs)))) ** 2 / (2.0 * SPREAD_SD**2)
    spread = _SPREADS[np.argmin(len(mean) * np.log(grid) + scatter / (2.0 * grid**2) + penalty, axis=0)]
    return PopulationParameters(intercept, spread, np.reshape(effect, before.effect.shape))
