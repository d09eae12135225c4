"""NUTS on the model of several runs: where it starts, in which coordinates it moves, and what it brings back for each run.

The start is an estimate of the population by expectation-maximisation, each run taken by its mode and curvature (Laplace's
approximation). Given the population runs are independent, so the curvature is an arrow; in coordinates that know it
the sampler has about as much work with ten runs as with one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_tsl.families import COMMON, DOUBT, EFFECT, Common, Family, family_model, likely_spread, run_sites, traits_of
from bayes_tsl.sampling import Draws, Values, arrow, laplace, over_draws, sample

Array = NDArray[np.float64]

_ROUNDS = 4  # of expectation-maximisation
_UNTOLD = 0.9  # of a trait's variance in the population: a run that leaves as much of it tells nothing
_SPREADS = np.exp(np.linspace(np.log(1e-3), np.log(10.0), 500))  # on which the spread of a trait is looked for


def sample_family(family: Family, *, seed: int, **settings: Any) -> tuple[list[Draws], Draws]:
    """Draws of every run's parameters and weights, and of the population.  Call inside ``jax.enable_x64(True)``.

    Args:
        family: the runs.
        seed: the same seed gives the same draws on the same machine.
        settings: of ``sampling.sample``.
    """
    population, start, doubt = _pilot(family)
    family = family._replace(told=doubt < _UNTOLD * population.spread**2)
    departure = (start["trait"] - population.mean - family.covariates @ population.effect) / population.spread
    start["trait"] = np.where(family.told, start["trait"], departure)
    shared = {f"trait_{name}": value for name, value in population._asdict().items() if value.size}
    start |= shared
    frame = arrow(family_model, family, start=start, shared=list(shared))
    drawn = sample(family_model, family, start=start, dense=list(shared), frame=frame, seed=seed, **settings)
    effect = drawn.sites.get("trait_effect", np.zeros((*drawn.sites["trait_mean"].shape[:2], *population.effect.shape)))
    common = Common(drawn.sites["trait_mean"], drawn.sites["trait_spread"], effect)
    parameters = over_draws(_run_sites, (family,), common, drawn.sites["trait"])
    named = {name: values for name, values in parameters.items() if name in family.traits}
    named |= {name: drawn.sites[name] for name in [*family.levels, "weight"]}
    each = [Draws({name: values[:, :, run] for name, values in named.items()}, drawn.stats) for run in range(len(family.lead))]
    return each, Draws({name: drawn.sites[name] for name in shared}, drawn.stats)


def _run_sites(family: Family, population: Common, drawn: Array) -> Values:
    return run_sites(family, traits_of(family, population, drawn))


def _pilot(family: Family) -> tuple[Common, Values, Array]:
    """An estimate of the population, the modes of all runs under it, and how uncertain each trait is (run, trait)."""
    runs, traits, covariates = len(family.lead), len(family.unit), family.covariates.shape[1]
    population = Common(np.zeros(traits), np.ones(traits), np.zeros((covariates, traits)))
    modes = [_start(family.one(run)) for run in range(runs)]
    doubt = np.zeros((runs, traits))
    for _ in range(_ROUNDS):
        found = [laplace(family_model, family.one(run), population, start=mode) for run, mode in enumerate(modes)]
        modes = [mode for mode, _ in found]
        seen, doubt = (np.concatenate([each[i]["trait"] for each in found]) for i in (0, 1))
        population = _most_likely(family, population, seen, doubt)
    return population, {name: np.concatenate([mode[name] for mode in modes]) for name in modes[0]}, doubt


def _start(alone: Family) -> Values:
    """Medians of the priors, and no outlier."""
    levels = {name: alone.priors.typical(name, alone.design.centre[0]) for name in alone.levels}
    flat = {name: np.atleast_1d(np.asarray(value, float)) for name, value in levels.items()}
    return flat | {"trait": np.zeros((1, len(alone.unit))), "weight": np.ones(alone.design.step.shape)}


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
