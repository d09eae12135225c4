"""NUTS on the model of several runs: where it starts, in which coordinates it moves, and what it brings back for each run.

The start is an estimate of the population by expectation-maximisation, each run taken by its mode and curvature (Laplace's
approximation). Given the population runs are independent, so the curvature is an arrow, and so are the coordinates. How
far a trait is sampled as it is, and how far as a departure from the population, goes by what its run tells of it (Gorinova,
Moore & Hoffman, arXiv 1906.03028): by the curvature at first, and then by a short trial, which sees more than one mode.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from bayes_tsl.inference.nuts import Draws, over_draws, sample
from bayes_tsl.inference.preconditioning import Values, arrow, laplace
from bayes_tsl.model.hierarchical import (
    COMMON,
    DOUBT,
    EFFECT,
    LINE,
    OUTLYING,
    Common,
    Family,
    as_alone,
    coordinates,
    draw_line,
    expected_of,
    family_model,
    level_centre,
    likely_spread,
    run_sites,
    seen_through,
    traits_of,
    with_slope,
)

Array = NDArray[np.float64]

TOGETHER_ACCEPT = (
    0.95  # of mean losses: no divergence in 50 runs, at two thirds of the work of .98 (docs/modelling.md, several runs)
)
_TRIAL = 150  # transitions thrown away, and as many kept, before the coordinates are settled
_SHARED = tuple(f"trait_{name}" for name in Common._fields)
_ROUNDS = 4  # of expectation-maximisation
_SPREADS = expit(np.linspace(-7.0, 5.0, 500))  # on which the spread of a trait is looked for


def sample_family(family: Family, *, seed: int, **settings: Any) -> tuple[list[Draws], Draws]:
    """Draws of every run's parameters and weights, and of the population.  Call inside ``jax.enable_x64(True)``.

    Args:
        family: the runs.
        seed: the same seed gives the same draws on the same machine.
        settings: of ``sampling.sample``.
    """
    population, start, doubt = _pilot(family)
    family = _centred(family, 1.0 - doubt / population.spread**2)
    trial = settings | {"thrown": _TRIAL, "num_draws": _TRIAL}
    left = _departures(family, _draw(family, population, start, seed=seed, **trial).sites).var(axis=(0, 1))
    family = _centred(family, 1.0 - np.asarray(with_slope(family, left, 1.0)))
    drawn = _draw(family, population, start, seed=seed, **settings)
    own = {name: values for name, values in drawn.sites.items() if name not in _SHARED}
    standard = np.random.default_rng(seed).standard_normal((*drawn.stats["lp"].shape, len(family.lead), len(LINE)))
    named = over_draws(_parameters, (family,), _common(family, drawn.sites), own, standard) | {"weight": drawn.sites["weight"]}
    each = [Draws({name: values[:, :, run] for name, values in named.items()}, drawn.stats) for run in range(len(family.lead))]
    return each, Draws({name: values for name, values in drawn.sites.items() if name in _SHARED}, drawn.stats)


def _centred(family: Family, told: Array) -> Family:
    """The family in coordinates that go by what each run is thought to tell of each trait (run, trait)."""
    return family._replace(told=np.where(family.steep, 0.0, np.clip(told, 0.0, 1.0)))


def _draw(family: Family, population: Common, start: Values, **settings: Any) -> Draws:
    """Draws from around an estimate of the population and of what is sampled of the runs, the traits as they are."""
    expected, spread, told = coordinates(family, population)
    shared = {f"trait_{name}": value for name, value in population._asdict().items() if value.size}
    begun = start | shared | {"trait": told * expected + (start["trait"] - expected) / spread ** (1.0 - told)}
    frame = arrow(family_model, family, start=begun, shared=list(shared))
    return sample(family_model, family, start=begun, dense=list(shared), frame=frame, **settings)


def _departures(family: Family, sites: Values) -> Array:
    """How far traits lie from what the population has, in its spreads (chain, draw, run, sampled)."""
    expected, spread, told = coordinates(family, _common(family, sites))
    return (sites["trait"] - told * expected) / spread**told


def _common(family: Family, sites: Values) -> Common:
    """What is drawn of the population (chain, draw, ...)."""
    mean, spread = sites["trait_mean"], sites["trait_spread"]
    nothing = np.zeros((*mean.shape[:-1], family.covariates.shape[1], mean.shape[-1]))
    return Common(mean, spread, sites.get("trait_effect", nothing))


def _parameters(family: Family, population: Common, own: Values, standard: Array) -> Values:
    """Every parameter of each run (run), level and slope of the floor among them."""
    level, slope = draw_line(seen_through(family, population, own), standard).T
    sites = own | {"floor_level": level_centre(family, "floor_level") + family.priors.floor_level.spread * level}
    sites = as_alone(family, sites | run_sites(family, traits_of(family, population, own["trait"], slope)))
    return {name: sites[name] for name in family.parameters}


def _pilot(family: Family) -> tuple[Common, Values, Array]:
    """An estimate of the population, the modes of all runs under it, and how uncertain each trait is (run, trait)."""
    runs, traits, covariates = len(family.lead), len(family.unit), family.covariates.shape[1]
    population = Common(np.zeros(traits), np.ones(traits), np.zeros((covariates, traits)))
    modes = [_start(family.one(run)) for run in range(runs)]
    most_likely, doubt = {}, np.zeros((runs, traits))
    for _ in range(_ROUNDS):
        found = [laplace(family_model, family.one(run), population, start=mode) for run, mode in enumerate(modes)]
        modes = [mode for mode, _ in found]
        most_likely, variance = (
            {name: np.concatenate([one[name] for one in each]) for name in each[0]} for each in zip(*found)
        )
        line = seen_through(family, population, most_likely)
        seen = np.asarray(traits_of(family, population, most_likely["trait"], line.mean[:, 1]))
        of_slope = population.spread**2 * np.linalg.inv(line.precision)[:, 1:, 1]
        doubt = np.where(family.steep, of_slope, with_slope(family, variance["trait"], 0.0))
        population = _most_likely(family, population, seen, doubt)
    return population, most_likely, doubt


def _start(alone: Family) -> Values:
    """Medians of the priors, and no outlier."""
    levels = {name: alone.priors.typical(name, alone.design.centre[0]) for name in alone.levels if name not in LINE}
    flat = {name: np.atleast_1d(np.asarray(value, float)) for name, value in levels.items()}
    return flat | {"trait": np.zeros((1, len(alone.sampled))), "weight": np.ones(alone.design.step.shape)}


def _most_likely(family: Family, before: Common, seen: Array, doubt: Array) -> Common:
    """The population that traits (run, trait), known with a variance, make likeliest; outlying ones weigh less."""
    known = np.column_stack([np.ones(len(seen)), family.covariates])
    ridge = np.diag([COMMON**-2, *[EFFECT**-2] * family.covariates.shape[1]])
    distance = ((seen - expected_of(family, before)) ** 2 + doubt) / before.spread**2
    weight = np.where(family.steep, 1.0, (OUTLYING + 1.0) / (OUTLYING + distance))
    found = [
        np.linalg.solve((known.T * each) @ known + ridge, (known.T * each) @ values)
        for each, values in zip((weight / before.spread**2).T, seen.T)
    ]
    mean, *effect = np.transpose(found)
    scatter = (weight * ((seen - known @ np.transpose(found)) ** 2 + doubt)).sum(axis=0)
    grid = _SPREADS[:, None]
    surprise = (logit(grid) - logit(np.asarray(likely_spread(family)))) ** 2 / (2.0 * DOUBT**2)
    spread = _SPREADS[np.argmin(len(seen) * np.log(grid) + scatter / (2.0 * grid**2) + surprise, axis=0)]
    return Common(mean, spread, np.reshape(effect, before.effect.shape))
