"""``fit``: from losses to a posterior.

Losses and schedules become designs and priors. NUTS draws parameters and weights, of one run or of several. Given these the
coefficients of every checkpoint are drawn, and all of it is kept as a ``Fit``.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._common.jax_settings import float64
from bayes_tsl._common.validation import require, require_choice
from bayes_tsl.data.branches import make_branches
from bayes_tsl.data.loss_table import LossTable, require_losses
from bayes_tsl.data.recipe import Recipe
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.data.several_test_sets import over_test_sets
from bayes_tsl.errors import Notice
from bayes_tsl.inference.arviz_groups import arviz_groups
from bayes_tsl.inference.hierarchical_nuts import HIERARCHICAL_ACCEPT, sample_runs
from bayes_tsl.inference.misfit import misfits, planned_otherwise
from bayes_tsl.inference.nuts import TARGET_ACCEPT, Draws, Settings, over_draws, sample
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.inference.preconditioning import whitening
from bayes_tsl.inference.run_inputs import covariates_of, informed, priors_of, recipes_of, repeats, schedules_of
from bayes_tsl.inference.schema import TEST_SETS, parameters_of, population_dataset, run_tree, run_trees, tree_of_runs
from bayes_tsl.inference.schema import priors_of as priors_in
from bayes_tsl.inference.set_groups import dataset_of_test_sets
from bayes_tsl.model.coefficients import NORMALS, draw_coefficients
from bayes_tsl.model.design import Design, make_designs, padded
from bayes_tsl.model.hierarchical import make_hierarchical_design, reference_progress
from bayes_tsl.model.population import Population, base_of
from bayes_tsl.model.position_law import effect_basis
from bayes_tsl.model.priors import LAWS, LearnedPriors, Priors
from bayes_tsl.model.single_run import latent_coefficients, model, parameters, unreduced_model


def fit(
    losses: LossTable,
    *,
    schedule: Schedule | str | None = None,
    schedules: Mapping[str, Schedule | str] | None = None,
    branches: Mapping[str, tuple[str, float]] | None = None,
    runs: pd.DataFrame | None = None,
    covariates: Sequence[str] = (),
    batch_tokens: float | Mapping[float, float] | pd.DataFrame | None = None,
    parameters: float | None = None,
    optimizer: str | None = None,
    unique_tokens: float | None = None,
    priors: Priors | Population | LearnedPriors | None = None,
    law: str = "general",
    seed: int = 0,
    chains: int = 4,
    num_warmup: int | None = None,
    num_draws: int | Literal["auto"] = 1000,
    target_accept: float | None = None,
    reduce_positions: bool = True,
    progress: bool = True,
    throw: bool = True,
) -> Fit:
    """Posterior of the temporal scaling law of one run, or of several runs together, by NUTS.

    Several runs, finished or not, are a population: each learns from the others what they have in common, and position
    effects belong to the test set. A run that was measured on several test sets is fitted to their mean, and each set to that
    (``model.several_test_sets``): one fit for all, at the cost of one.

    Args:
        losses: up to the origin of each run; ``losses.before(step)`` cuts a table. Several runs have one test set.
        schedule: planned learning rate of the whole run, or its text, e.g. "cosine:peak=1e-3,total=10000". Without one the
            column lr of ``losses`` is that of the past, and its last value is assumed to stay; without the column it is
            treated as constant throughout. Every output states either.
        schedules: that of every run by name, to fit several together, or one with its branches.
        branches: runs that left another: parent, and the last step that the two share, by name; by default those of the table
            (columns parent and branch_step). They share the parameters of the one run that is fitted: a finished cooldown
            narrows its forecast most.
        runs: a table of what is known of each run, with a column ``run``: covariates and recipes.
        covariates: columns of ``runs`` that the population mean of every parameter follows, linearly, e.g. log parameters.
        batch_tokens: tokens a step: a number, or a ramp as a mapping of step to tokens or a table with columns step and
            batch_tokens, joined by straight lines. By default read off a column tokens of ``losses``. This, parameters,
            optimizer and unique_tokens may be columns of ``runs``; whatever is not given is integrated over, so that intervals
            are wider.
        parameters: of the model.
        optimizer: one of ``recipe.OPTIMIZERS``; by default the learning rate is taken for one of AdamW.
        unique_tokens: in the training data, before any is repeated.
        priors: by default ``priors.default_priors``, those of a new family of runs; ``priors.family(name)`` for a run of a
            bundled one. A ``Population``, of ``Fit.population`` or ``load_population``, is a family of your own.
        law: one of ``priors.LAWS``: "general", "free-exponent" or "paper" (of a single run).
        seed: the same seed gives the same draws on the same machine.
        chains: number of chains, at least 2.
        num_warmup: adaptation, per chain; by default 500, and 300 where num_draws is "auto".
        num_draws: draws kept, per chain; "auto" for as few of 300, 500, 750 and 1000 as pass the checks.
        target_accept: acceptance that the step size aims at, by default .98, and .95 for several runs by their mean losses;
            raise it if trajectories diverge.
        reduce_positions: reduce the positions of a checkpoint to its coefficients first; if not, every loss at every
            position is in the likelihood and every coefficient is sampled, at many times the cost (of a single run).
        progress: show a bar on stderr.
        throw: raise if the chains did not converge; else the fit says so itself (``fit.converged``).

    Raises:
        DataError: losses, schedule or covariates cannot be used.
        ConvergenceError: carrying ``.diagnostics``, unless ``throw`` is False.

    Example::

        import bayes_tsl as bt

        losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
        fit = bt.fit(losses.before(1250), schedule=bt.datasets.schedules()["mix50_cosine"])
        fit.save("fit.nc")
    """
    require_losses(losses)
    by_run = _schedules(losses, schedule, schedules)
    branches, by_test_set = losses.branches if branches is None else branches, losses
    if branches or len(by_run) == 1:
        losses = over_test_sets(losses)
    everything, left = losses, []
    if branches:
        trunk, left = make_branches(losses, branches, by_run)
        losses, by_run = losses.select(run=trunk), {trunk: by_run[trunk]}
    usual = HIERARCHICAL_ACCEPT if len(by_run) > 1 and not losses.by_position else TARGET_ACCEPT
    accept = usual if target_accept is None else target_accept
    settings = Settings(
        seed=seed, chains=chains, num_warmup=num_warmup, num_draws=num_draws, target_accept=accept, progress=progress
    )
    require_choice(law, "law", LAWS, cure="Choose one of these.")
    given = {"batch_tokens": batch_tokens, "parameters": parameters, "optimizer": optimizer, "unique_tokens": unique_tokens}
    recipes = recipes_of(losses, given, runs)
    effective = {run: recipes[run].effective(plan) for run, plan in by_run.items()}
    covariate_table = covariates_of(list(by_run), covariates, runs)
    left = [replace(one, schedule=recipe.effective(one.schedule)) for recipe in recipes.values() for one in left]
    designs, notices = make_designs(everything, effective, exponent=LAWS[law].exponent, branches=left)
    if designs[0].branches is not None:
        where, cure = "with branches or averaged weights", "Leave it out."
        require(reduce_positions, "reduce_positions", "be True", False, where=where, cure=cure)
    origins = [design.anchor.origin for design in designs]
    made, prior_notices = priors_of(effective, origins, recipes, priors, runs)
    made = [informed(own, design, losses, run, by_run[run], effective[run]) for own, design, run in zip(made, designs, by_run)]
    run_priors = [replace(own, **LAWS[law].priors) for own in made]
    notices = (*notices, *prior_notices, *repeats(effective, recipes))
    attrs = {"test_set": losses.test_sets[0], "law": law, "notices": json.dumps(notices)}
    if len(by_run) == 1:
        [run] = by_run
        data = _fit_one(designs[0], run_priors[0], by_run[run], settings, reduce=reduce_positions)
        data.attrs |= {"run": run, **attrs}
    else:
        cure = "Fit one run with losses.select(run=...)."
        require(law != "paper", "law", "be general or free-exponent", law, where="for several runs", cure=cure)
        require(reduce_positions, "reduce_positions", "be True", False, where="for several runs", cure=cure)
        base = base_of(priors if isinstance(priors, Priors) else None)
        data = _fit_several(designs, run_priors, by_run, covariate_table, base, attrs, settings)
    _look_back(data, losses, by_run, effective, recipes, measured=designs[0].branches is not None)
    result = Fit(data)
    if len(by_test_set.test_sets) > 1:
        data[TEST_SETS] = xr.DataTree(dataset_of_test_sets(result, by_test_set, losses, seed=seed))
    if throw:
        result.diagnostics.require()
    for notice in (*notices[len(losses.notices) :], *result.misfits, *result.diagnostics.problems):
        with suppress(Notice):  # raised where the user has made errors of warnings: the fit was made, and has them
            warnings.warn(notice, Notice, stacklevel=2)
    return result


def refit(fit: Fit, priors: Priors, *, progress: bool = False) -> Fit:
    """The same losses under other priors, with as many chains and draws; it says itself whether it converged.

    Example::

        from bayes_tsl.inference import load_fit

        fit = load_fit("fit.nc")
        wider = refit(fit, fit.priors.widened(2.0))
    """
    chains, draws = fit.chains_and_draws
    settings = Settings(seed=fit.seed, chains=chains, num_draws=draws, progress=progress)
    data = _fit_one(fit.design, priors, fit.schedule, settings, reduce=True)
    data.attrs = fit.data.attrs | data.attrs
    return Fit(data)


def _look_back(
    data: xr.DataTree,
    losses: LossTable,
    schedules: Mapping[str, Schedule],
    effective: Mapping[str, Schedule],
    recipes: Mapping[str, Recipe],
    *,
    measured: bool,
) -> None:
    """Keep with every run what is known of it, and what in its fitted past contradicts the model or the plan."""
    for run, tree in run_trees(data).items():
        past = losses.select(run=run)
        shape = misfits(past, effective[run], priors_in(tree), parameters_of(tree), measured=measured)
        tree.attrs["recipe"] = recipes[run].to_json()
        tree.attrs["misfits"] = json.dumps([*planned_otherwise(past, schedules[run]), *shape])


def _schedules(
    losses: LossTable, schedule: Schedule | str | None, schedules: Mapping[str, Schedule | str] | None
) -> dict[str, Schedule]:
    """The schedule of every run; several are fitted together where each has its own by name."""
    if schedules is None:
        cure = "Choose one with losses.select(run=...), or fit them together with schedules={run: schedule}."
        require(len(losses.runs) == 1, "losses", "hold a single run", losses.runs, cure=cure)
        return schedules_of(losses, schedule)
    require(schedule is None, "one of schedule and schedules", "be given", "both", cure="Name every run in schedules.")
    kind, cure = type(schedules).__name__, "Give {run: schedule}."
    require(isinstance(schedules, Mapping), "schedules", "be a mapping", kind, cure=cure)
    return schedules_of(losses, schedules)


def _fit_one(design: Design, priors: Priors, schedule: Schedule, settings: Settings, *, reduce: bool) -> xr.DataTree:
    """The tree of a fit of one run, but for its names and notices."""
    draw = _draw_reduced if reduce or not design.by_position else _draw_unreduced
    with float64():
        return draw(design, priors, schedule, settings)


def _fit_several(
    designs: list[Design],
    priors: list[Priors],
    schedules: Mapping[str, Schedule],
    covariates: pd.DataFrame,
    base: dict[str, Any],
    attrs: dict[str, Any],
    settings: Settings,
) -> xr.DataTree:
    """The tree of a fit of several runs: one of each, and the population."""
    runs, seed = make_hierarchical_design(designs, priors, covariates.to_numpy(float)), settings.seed
    with float64():
        drawn, population = sample_runs(runs, **asdict(settings))
        trees = {}
        for number, (run, design, own, draws) in enumerate(zip(schedules, designs, priors, drawn)):
            padded_design = padded(design, to=runs.design.step.shape[1])
            trees[run] = _reduced_tree(draws, design, padded_design, own, schedules[run], key_seed=seed + number, seed=seed)
            trees[run].attrs |= {"run": run, **attrs}
    progress = float(np.exp(reference_progress(designs)))
    shared = population_dataset(population, runs=runs, covariates=covariates, progress=progress, base=base)
    data = tree_of_runs(trees, shared, seed=seed)
    data.attrs |= attrs
    return data


def _draw_reduced(design: Design, priors: Priors, schedule: Schedule, settings: Settings) -> xr.DataTree:
    """Parameters and weights by NUTS, coefficients drawn given these."""
    padded_design = padded(design)
    start, dense = typical_values(padded_design, priors), parameters(padded_design, priors)
    coordinates = whitening(model, padded_design, priors, start=start, dense=dense)
    draws = sample(model, padded_design, priors, coordinates=coordinates, **asdict(settings))
    return _reduced_tree(draws, design, padded_design, priors, schedule, key_seed=settings.seed, seed=settings.seed)


def _reduced_tree(
    draws: Draws, design: Design, padded_design: Design, priors: Priors, schedule: Schedule, *, key_seed: int, seed: int
) -> xr.DataTree:
    """The tree of draws under a padded design, with coefficients, without the steps that were padded."""
    steps = len(design.step)
    rng = np.random.default_rng([key_seed, 1])
    normals = rng.standard_normal((*draws.stats["lp"].shape, NORMALS, len(padded_design.step)))
    named = over_draws(draw_coefficients, (padded_design, priors.fixed()), draws.sites, normals)._asdict()
    groups = arviz_groups(design, padded_design, priors, draws.sites, named["drift"], rng)
    kept = {name: named[name][..., :steps] for name in (named if design.by_position else ("floor", "drift"))}
    cut = draws._replace(sites=draws.sites | {"weight": draws.sites["weight"][..., :steps]})
    return run_tree(design, priors, schedule, cut, coefficients=kept, densities=groups, seed=seed)


def _draw_unreduced(design: Design, priors: Priors, schedule: Schedule, settings: Settings) -> xr.DataTree:
    """Parameters, weights, every coefficient and the position effects by NUTS; no densities, which are of the reduced model."""
    basis = effect_basis(design.centre, design.position, design.estimates.exponent)
    departures = {f"{name}_departure": np.zeros(len(design.step)) for name in ("gap", "rate", "mean")}
    start = typical_values(design, priors) | departures | {"effect_along": np.zeros(basis.shape[1])}
    coordinates = whitening(unreduced_model, design, priors, basis, start=start, dense=parameters(design, priors))
    draws = sample(unreduced_model, design, priors, basis, coordinates=coordinates, **asdict(settings))
    latent = over_draws(latent_coefficients, (design, priors.fixed()), draws.sites)
    kept = {"gap": np.exp(latent.log_gap), "rate": np.exp(latent.log_rate), "floor": latent.floor}
    return run_tree(design, priors, schedule, draws, coefficients=kept, densities={}, seed=settings.seed)


def typical_values(design: Design, priors: Priors) -> dict[str, Any]:
    """Where the search for the mode begins: medians of the priors, and no outlier."""
    typical = {name: priors.typical(name, design.centre) for name in parameters(design, priors)}
    return typical | {"weight": np.ones(len(design.step))}
