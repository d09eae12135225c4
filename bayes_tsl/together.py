"""NUTS on the model of several runs: where it starts, in which coordinates it moves, and what it brings back for each run.

The start is an estimate of the population by expectation-maximisation, each run taken by its mode and curvature (Laplace's
approximation). Given the population runs are independent, so the curvature is an arrow; in coordinates that know it
the sampler has about as much work with ten runs as with one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_tsl.families import (
    COMMON,
    DOUBT,
    EFFECT,
    LINE,
    Common,
    Family,
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
from bayes_tsl.sampling import Draws, Values, arrow, laplace, over_draws, sample

Array = NDArray[np.float64]

_ROUNDS = 4  # of expectation-maximisation
_UNTOLD = 0.2  # share of a trait's variance that a run leaves, above which it is sampled as a departure
_SPREADS = np.exp(np.linspace(np.log(1e-3), np.log(10.0), 500))  # on which the spread of a trait is looked for


def sample_family(family: Family, *, seed: int, **settings: Any) -> tuple[list[Draws], Draws]:
    """Draws of every run's parameters and weights, and of the population.  Call inside ``jax.enable_x64(True)``.

    Args:
        family: the runs.
        seed: the same seed gives the same draws on the same machine.
        settings: of ``sampling.sample``.
    """
    population, start, doubt = _pilot(family)
    family = family._replace(told=family.told & (doubt < _UNTOLD * population.spread**2))
    expected, spread, told = (
        part[..., family.sampled] for part in (expected_of(family, population), population.spread, family.told)
    )
    start["trait"] = np.where(told, start["trait"], (start["trait"] - expected) / spread)
    shared = {f"trait_{name}": value for name, value in population._asdict().items() if value.size}
    start |= shared
    frame = arrow(family_model, family, start=start, shared=list(shared))
    drawn = sample(family_model, family, start=start, dense=list(shared), frame=frame, seed=seed, **settings)
    effect = drawn.sites.get("trait_effect", np.zeros((*drawn.sites["trait_mean"].shape[:2], *population.effect.shape)))
    common = Common(drawn.sites["trait_mean"], drawn.sites["trait_spread"], effect)
    own = {name: values for name, values in drawn.sites.items() if name not in shared}
    standard = np.random.default_rng(seed).standard_normal((*effect.shape[:2], len(family.lead), len(LINE)))
    named = over_draws(_parameters, (family,), common, own, standard) | {"weight": drawn.sites["weight"]}
    each = [Draws({name: values[:, :, run] for name, values in named.items()}, drawn.stats) for run in range(len(family.lead))]
    return each, Draws({name: drawn.sites[name] for name in shared}, drawn.stats)


def _parameters(family: Family, population: Common, own: Values, standard: Array) -> Values:
    """Every parameter of each run (run), level and slope of the floor among them."""
    level, slope = draw_line(seen_through(family, population, own), standard).T
    sites = own | {"floor_level": level_centre(family, "floor_level") + family.priors.floor_level.spread * level}
    sites |= run_sites(family, traits_of(family, population, own["trait"], slope))
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
    """The population that traits (run, trait), known with a variance, make most likely beside its priors."""
    known = np.column_stack([np.ones(len(seen)), family.covariates])
    ridge = np.diag([COMMON**-2, *[EFFECT**-2] * family.covariates.shape[1]])
    weights = [
        np.linalg.solve(known.T @ known / spread**2 + ridge, known.T @ values / spread**2)
        for spread, values in zip(before.spread, seen.T)
    ]
    mean, *effect = np.transpose(weights)
    scatter = ((seen - known @ np.transpose(weights)) ** 2 + doubt).sum(axis=0)
    grid = _SPREADS[:, None]
    surprise = (np.log(grid) - np.log(likely_spread(family))) ** 2 / (2.0 * DOUBT**2)
    spread = _SPREADS[np.argmin(len(seen) * np.log(grid) + scatter / (2.0 * grid**2) + surprise, axis=0)]
    return Common(mean, spread, np.reshape(effect, before.effect.shape))
